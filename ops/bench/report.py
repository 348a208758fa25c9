"""Figures, the one table, and bench.json. Measures nothing and judges only whether an aim was met."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_MEASURED = "not measured"


@dataclass(slots=True)
class Figure:
    """One thing measured several times. Without samples it was not measured, and `note` says why.

    `target` must be met, `aim` is hoped for: least values, or most values where `smaller_is_better`. `also` are further
    yardsticks. `label` is what it is called as a yardstick.
    """

    name: str
    unit: str
    samples: list[float] = field(default_factory=list)
    yardstick: "Figure | None" = None
    target: float | None = None
    aim: float | None = None
    smaller_is_better: bool = False
    note: str = ""
    label: str = ""
    also: "list[Figure]" = field(default_factory=list)

    @property
    def is_measured(self) -> bool:
        return bool(self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """How many times the yardstick this is, by the medians."""
        return None if self.yardstick is None else self.times(self.yardstick)

    def times(self, other: "Figure") -> float | None:
        """This by the other, by the medians; None where either was not measured."""
        if not self.is_measured or not other.is_measured:
            return None
        return self.median / other.median

    @property
    def meets_target(self) -> bool | None:
        return self._reaches(self.target)

    @property
    def meets_aim(self) -> bool | None:
        return self._reaches(self.aim)

    def _reaches(self, wanted: float | None) -> bool | None:
        if wanted is None or not self.is_measured:
            return None
        return self.median <= wanted if self.smaller_is_better else self.median >= wanted

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
            "also_beside": [
                {
                    "yardstick": other.name,
                    "times": None if (by := self.times(other)) is None else round(by, 3),
                }
                for other in self.also
            ],
            "target": self.target,
            "target_met": self.meets_target,
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
        head = ["figure", "median", "range", "unit", "yardstick", "times", "target", "aim"]
        rows = [head, *(row for figure in self.figures for row in _rows(figure))]
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


def _rows(figure: Figure) -> list[list[str]]:
    """A row of the table, and one below it for each further yardstick."""
    further = []
    for other in figure.also:
        by = figure.times(other)
        times = NOT_MEASURED if by is None else f"{by:.2f}"
        further.append(["", "", "", "", other.label or other.name, times, "", ""])
    return [_row(figure), *further]


def _row(figure: Figure) -> list[str]:
    beside, times = "", ""
    if figure.yardstick is not None:
        beside = figure.yardstick.label or figure.yardstick.name
        times = NOT_MEASURED if figure.ratio is None else f"{figure.ratio:.2f}"
    wanted = [
        _verdict(figure, figure.target, figure.meets_target),
        _verdict(figure, figure.aim, figure.meets_aim),
    ]
    if not figure.is_measured:
        return [figure.name, NOT_MEASURED, "", figure.unit, beside, times, *wanted]
    spread = f"{_text(min(figure.samples))} to {_text(max(figure.samples))}"
    return [figure.name, _text(figure.median), spread, figure.unit, beside, times, *wanted]


def _verdict(figure: Figure, wanted: float | None, met: bool | None) -> str:
    if wanted is None:
        return ""
    bound = "≤" if figure.smaller_is_better else "≥"
    verdict = {True: "met", False: "missed", None: ""}[met]
    return f"{bound} {_text(wanted)} {verdict}".strip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = {0, 3, 4, 6, 7}
    cells = [
        text.ljust(width) if column in left else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _rounded(value: float) -> float | None:
    """None for what never came: JSON knows no infinity."""
    return round(value, 3) if math.isfinite(value) else None
