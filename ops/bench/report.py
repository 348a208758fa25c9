"""Figures, the one table, and bench.json. Measures nothing and judges only whether an aim was met."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_MEASURED = "not measured"


@dataclass(slots=True)
class Figure:
    """One thing measured several times. Without samples it was not measured, and `note` says why.

    `aim` is a least value, or a most value where `smaller_is_better`. `label` is what it is called as a yardstick.
    """

    name: str
    unit: str
    samples: list[float] = field(default_factory=list)
    yardstick: "Figure | None" = None
    aim: float | None = None
    smaller_is_better: bool = False
    note: str = ""
    label: str = ""

    @property
    def is_measured(self) -> bool:
        return bool(self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """How many times the yardstick this is, by the medians."""
        if self.yardstick is None or not self.is_measured or not self.yardstick.is_measured:
            return None
        return self.median / self.yardstick.median

    @property
    def meets_aim(self) -> bool | None:
        if self.aim is None or not self.is_measured:
            return None
        return self.median <= self.aim if self.smaller_is_better else self.median >= self.aim

    def document(self) -> dict[str, Any]:
        """As bench.json has it."""
        measured: dict[str, Any] = {"value": NOT_MEASURED}
        if self.is_measured:
            measured = {
                "median": _rounded(self.median),
                "low": _rounded(min(self.samples)),
                "high": _rounded(max(self.samples)),
                "samples": [_rounded(sample) for sample in self.samples],
            }
        beside = self.yardstick.name if self.yardstick is not None else None
        ratio = None if self.ratio is None else round(self.ratio, 3)
        return {
            "name": self.name,
            "unit": self.unit,
            **measured,
            "yardstick": beside,
            "times_yardstick": ratio,
            "aim": self.aim,
            "aim_met": self.meets_aim,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Count:
    """Acknowledged orders of one part beside the rows that were committed for them.

    `in_flight` is how many may be committed without having been acknowledged, because the load ended meanwhile.
    """

    part: str
    acknowledged: int
    committed: int
    in_flight: int = 0

    @property
    def is_right(self) -> bool:
        return self.acknowledged <= self.committed <= self.acknowledged + self.in_flight

    def document(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "acknowledged": self.acknowledged,
            "committed": self.committed,
            "may_be_in_flight": self.in_flight,
            "right": self.is_right,
        }


@dataclass(slots=True)
class Report:
    """Everything one run has found."""

    conditions: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether every acknowledged order was committed."""
        return all(count.is_right for count in self.counts)

    def write(self, path: Path) -> None:
        document = {
            "conditions": self.conditions,
            "figures": [figure.document() for figure in self.figures],
            "acknowledged_and_committed": [count.document() for count in self.counts],
        }
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def table(self) -> str:
        """The table with the conditions above it and the counts below."""
        head = ["figure", "median", "range", "unit", "yardstick", "times", "aim"]
        rows = [head, *map(_row, self.figures)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [_line(row, widths) for row in rows]
        lines.insert(1, "-" * len(lines[0]))
        notes = [f"  {figure.name}: {figure.note}" for figure in self.figures if figure.note]
        conditions = [f"{name}: {value}" for name, value in self.conditions.items()]
        return "\n".join([*conditions, "", *lines, "", *notes, *self._count_lines()])

    def _count_lines(self) -> list[str]:
        texts = []
        for count in self.counts:
            flight = (
                f" (the load's end may leave {count.in_flight} unacknowledged)" if count.in_flight else ""
            )
            verdict = "right" if count.is_right else "WRONG"
            texts.append(
                f"  {count.part}: acknowledged {count.acknowledged:,}, committed {count.committed:,}"
                f"{flight}: {verdict}"
            )
        return texts


def _row(figure: Figure) -> list[str]:
    beside, times = "", ""
    if figure.yardstick is not None:
        beside = figure.yardstick.label or figure.yardstick.name
        times = NOT_MEASURED if figure.ratio is None else f"{figure.ratio:.2f}"
    if not figure.is_measured:
        return [figure.name, NOT_MEASURED, "", figure.unit, beside, times, _aim_text(figure)]
    spread = f"{_text(min(figure.samples))} to {_text(max(figure.samples))}"
    return [figure.name, _text(figure.median), spread, figure.unit, beside, times, _aim_text(figure)]


def _aim_text(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    verdict = {True: "met", False: "missed", None: ""}[figure.meets_aim]
    return f"{_text(figure.aim)} {verdict}".strip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = {0, 3, 4, 6}
    cells = [
        text.ljust(width) if column in left else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _rounded(value: float) -> float:
    return round(value, 3)
