"""Requests that nobody should send: each with the answer it has to get, in either lane.

Bodies are written byte by byte, since no JSON library writes most of them. In paths and bodies `{open}`,
`{ended}`, `{own}` … stand for what `Ground` has ready.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ORDER = {"outcome": '"Yes"', "side": '"buy"', "price": '"0.5000"', "quantity": "10"}
MALFORMED = (400, "invalid_request")
NOBODY = (401, "not_authenticated")
NOT_FOUND = (404, "not_found")
WRONG_TYPE = (415, "unsupported_media_type")
UNKNOWN_ID = "016f5e66-e800-7000-8000-000000000001"  # of the year 2020


@dataclass(frozen=True, slots=True)
class Hostile:
    """A request and its due. `may_log`: the log keeps this refusal; money and orders are untouched all the same."""

    what: str
    answer: tuple[int, str]
    method: str = "POST"
    path: str = "/markets/{open}/orders"
    body: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    may_log: bool = False


def written(**literals: str | None) -> bytes:
    """An order request whose values are the given JSON literals; None leaves a field out."""
    fields = {**ORDER, **literals}
    return (
        "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items() if text is not None) + "}"
    ).encode()


# ruff: noqa: RUF001  (digits of other scripts are the point)
PRICES = [
    "0", "1", "-1", "0.0", "1.0", "2", '"0"', '"1"', '"-1"', '"0.0000"', '"1.0000"', "-0.5", '"-0.5"', "NaN",
    "Infinity", "-Infinity", '"NaN"', '"Infinity"', "1e309", "1e-1", "5E-1", '"5e-1"', "0.12345", '"0.12345"',
    "0.50001", "0.1000000000000001", "0.30000000000000004", ".5", "0.", "00.5", '"00.5"', '".5"', '"0."',
    "+0.5", '"+0.5"', '" 0.5"', '"0.5 "', '"0.5\\n"', '"0,5"', '""', '"half"', '"0x1"', '"1/2"', '"½"', '"٠.٥"',
    '"０.５"', "٠.٥", "０.５", '"0.٥"', "true", "null", "[0.5]", '{"v": 0.5}', "0." + "5" * 50_000,
    '"0.5' + "0" * 50_000 + '"', "9" * 50_000, "0_5",
]  # fmt: skip
QUANTITIES = [
    "0", "-1", "1000001", str(2**63 - 1), str(2**63), str(2**64), str(-(2**63)), "1.5", "1.0", "10.0", "1e2",
    "true", "false", '"5"', '"٥"', "٥", "null", "[5]", "{}", "NaN", "9" * 50_000, "0x10", "1_0",
]  # fmt: skip
TIMES = [
    '"soon"', '""', "5", "0", "-1", "1.5e9", "true", "[]", "{}", '"2040-01-01"', '"2040-01-01T00:00:00"',
    '"2040-13-01T00:00:00Z"', '"2040-02-30T00:00:00Z"', '"2040-01-01T25:00:00Z"', '"0000-01-01T00:00:00Z"',
    '"1969-12-31T23:59:59Z"', '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', '"+12040-01-01T00:00:00Z"',
    '"2040-01-01T00:00:00 Z"', '"2040-W01-1T00:00:00Z"', '"20400101T000000Z"', '"2040-01-01 00:00:00Z"',
    '"2040-01-01T00Z"', '"2040-01-01T00:00:00,5Z"', '" 2040-01-01T00:00:00Z"', '"2040-01-01T00:00:00Z\\n"',
    '"٢٠٤٠-01-01T00:00:00Z"',
    f'"2040-01-01T00:00:00.{"0" * 50_000}Z"', '"now"', '"Infinity"', "NaN",
]  # fmt: skip
LATER = '"2040-01-01T00:00:00Z"'
TOGETHER: dict[str, dict[str, str | None]] = {
    "GTD without a time": {"time_in_force": '"GTD"'},
    "GTC with a time": {"expires_at": LATER},
    "IOC with a time": {"time_in_force": '"IOC"', "expires_at": LATER},
    "post-only IOC": {"time_in_force": '"IOC"', "post_only": "true"},
    "post-only FOK": {"time_in_force": '"FOK"', "post_only": "true"},
    "post-only market": {"type": '"market"', "post_only": "true"},
    "market GTD": {"type": '"market"', "time_in_force": '"GTD"', "expires_at": LATER},
    "limit with a cost": {"max_cost": '"5.0000"'},
    "sale with a cost": {"type": '"market"', "side": '"sell"', "max_cost": '"5.0000"'},
    "FOK with a cost": {"type": '"market"', "time_in_force": '"FOK"', "max_cost": '"5.0000"'},
    "cost without a quantity, at a limit": {"max_cost": '"5.0000"', "quantity": None},
    "market without a quantity": {"type": '"market"', "quantity": None},
}
OTHER_FIELDS = {
    "outcome": [
        '"Maybe"', '"yes"', '""', "0", "null", '["Yes"]', "true", f'"{"Y" * 100_000}"', '"Yes "', '"Yes\\u0000"',
    ],
    "side": ['"hold"', '"BUY"', '""', "null", "1", '["buy"]'],
    "type": ['"stop"', '"LIMIT"', "1", "[]"],
    "time_in_force": ['"GTX"', '"gtc"', "5", "{}"],
    "self_trade_prevention": ['"none"', "false", "[]", '"CANCEL_MAKER"', '""', "{}"],
    "on_suspend": ['"panic"', "0", "[]", '"Cancel"', "{}"],
    "post_only": ['"true"', "1", "null", "{}", '""'],
    "reduce_only": ['"false"', "[]", "0", "null"],
    "client_order_id": [
        '""', f'"{"x" * 65}"', '"a b"', '"ä"', '"a\\n"', '"a\\u0000b"', '"\\ud800"', "5", "[]", '"../../etc/passwd"',
        '"\'; DROP TABLE event; --"',
    ],
    "max_cost": [
        '"-1"', '"1e5"', '"lots"', "0", '"0.0000"', "0.00001", "true", "[]", "{}", '"20000000000.0001"', "9" * 50_000,
        '"٥"', '"5.0000"', "NaN",
    ],
    "expires_at": TIMES,
    "valid_until": TIMES,
    "colour": ['"red"'],
    "market_id": ['"{open}"'],
    "Price": ['"0.4000"'],
    "__proto__": ["{}"],
    "\\u0070rice": ['"0.4000"'],
}  # fmt: skip
WORN_OUT = "[" * 1000 + "]" * 1000
BODIES = {
    "empty": b"",
    "blank": b" \n ",
    "null": b"null",
    "an array": b"[]",
    "an array of an order": b"[" + written() + b"]",
    "a number": b"5",
    "a text": b'"buy"',
    "cut off": written()[:-1],
    "followed by more": written() + b"{}",
    "invalid UTF-8": written(outcome='"Yes\N{LATIN SMALL LETTER Y WITH DIAERESIS}"').replace(
        b"\xc3\xbf", b"\xff"
    ),
    "an overlong NUL": written().replace(b"Yes", b"Yes\xc0\x80"),
    "UTF-16": written().decode().encode("utf-16"),
    "after a byte order mark": b"\xef\xbb\xbf" + written(),
    "in single quotes": written().replace(b'"', b"'"),
    "with a comment": written() + b" // please",
    "with a trailing comma": written().replace(b"}", b",}"),
    "a raw newline in a text": written(outcome='"Yes\n"'),
    "a bad escape": written(outcome='"\\x59es"'),
    "1,000 deep": WORN_OUT.encode(),
    "100,000 deep": b"[" * 100_000,
    "deep in a field": written(outcome=WORN_OUT),
    "deep objects": b'{"a":' * 500 + b"1" + b"}" * 500,
    "a key twice": written().replace(b"}", b', "price": "0.4000"}'),
    "a key twice in other words": written().replace(b"}", b', "\\u0070rice": "0.4000"}'),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00",
    "a form": b"outcome=Yes&side=buy&price=0.5&quantity=10",
}
TOO_LARGE = {
    "just over a megabyte": b" " * 1_000_001,
    "10 MB of blanks": b" " * 10_000_000,
    "10 MB in one text": written(outcome=f'"{"Y" * 10_000_000}"'),
}


def bodies() -> Iterator[Hostile]:
    """What stands in an order request, and what else is sent in its place."""
    for literal in PRICES:
        yield Hostile(f"price {literal[:30]}", MALFORMED, body=written(price=literal))
    for literal in QUANTITIES:
        yield Hostile(f"quantity {literal[:30]}", MALFORMED, body=written(quantity=literal))
    for name, literals in OTHER_FIELDS.items():
        for literal in literals:
            yield Hostile(f"{name} {literal[:30]}", MALFORMED, body=written(**{name: literal}))
    for name in ORDER:
        yield Hostile(f"no {name}", MALFORMED, body=written(**{name: None}))
    yield Hostile("market order that stays", MALFORMED, body=written(type='"market"', time_in_force='"GTC"'))
    for what, body in BODIES.items():
        yield Hostile(f"body {what}", MALFORMED, body=body)
    for what, body in TOO_LARGE.items():
        yield Hostile(f"body {what}", (413, "invalid_request"), body=body)
    for tick in ("0.5050", "0.0001", "0.9999"):
        yield Hostile(f"off tick {tick}", (422, "off_tick"), body=written(price=f'"{tick}"'), may_log=True)
    yield Hostile("FOK of nothing", (422, "cannot_fill"), body=written(time_in_force='"FOK"'), may_log=True)
    # With GTD, so that nothing but the time itself is wrong.
    for literal in TIMES:
        body = written(time_in_force='"GTD"', expires_at=literal)
        yield Hostile(f"GTD until {literal[:30]}", MALFORMED, body=body)
    for what, literals in TOGETHER.items():
        yield Hostile(f"together: {what}", MALFORMED, body=written(**literals))
    for what, literals in {
        "valid until long ago": {"valid_until": '"2000-01-01T00:00:00Z"'},
        "GTD until long ago": {"time_in_force": '"GTD"', "expires_at": '"1970-01-02T00:00:00+14:00"'},
    }.items():
        yield Hostile(what, (422, "expired"), body=written(**literals), may_log=True)
    bare = written(side='"sell"', reduce_only="true")
    yield Hostile("reduce-only without shares", (422, "reduce_only"), body=bare, may_log=True)


def places() -> Iterator[Hostile]:
    """Orders for markets, and orders, that are not there or not the caller's."""
    good = written()
    for what, name in {
        "an unknown slug": "no-such-market", "an unknown id": UNKNOWN_ID, "NUL": "a%00b", "a quote": "'%20OR%201=1--",
        "no UTF-8": "%FF%FE", "a long name": "m" * 5_000, "dots": "..%2f..%2fadmin",
        "an id in braces": "%7B{open}%7D", "a wildcard": "%25", "an emoji": "%F0%9F%A6%84",
    }.items():  # fmt: skip
        yield Hostile(f"order for {what}", NOT_FOUND, path=f"/markets/{name}/orders", body=good)
    for ended in ("{ended}", "{suspended}"):
        answer = (422, "market_not_open")
        yield Hostile(
            f"order for a market {ended}", answer, path=f"/markets/{ended}/orders", body=good, may_log=True
        )
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", b'{"reduce_by": 1}')):
        for what, name in {
            "no id": "nonsense", "a number": "5", "an id in capitals": UNKNOWN_ID.upper(),
            "an id with more": UNKNOWN_ID + "0",
            "an id with digits of another script": UNKNOWN_ID.replace("0", "%D9%A0"),
            "an id with NUL": UNKNOWN_ID[:-1] + "%00",
            "an id with a newline": UNKNOWN_ID + "%0A", "dots": "%2e%2e",
            "a client id too long": "by-client-id/" + "x" * 65,
            "a client id with NUL": "by-client-id/a%00b", "a client id with a blank": "by-client-id/a%20b",
            "a client id that is no UTF-8": "by-client-id/%FF", "a client id with an umlaut": "by-client-id/%C3%A4",
        }.items():  # fmt: skip
            yield Hostile(f"{method} {what}", MALFORMED, method=method, path=f"/orders/{name}", body=body)
        yield Hostile(f"{method} unknown", NOT_FOUND, method=method, path=f"/orders/{UNKNOWN_ID}", body=body)
        for home in ("", "/markets/{open}"):
            path = home + "/orders/{foreign}"
            yield Hostile(
                f"{method} another's {path}", NOT_FOUND, method=method, path=path, body=body, may_log=True
            )
        yield Hostile(
            f"{method} out of place", NOT_FOUND, method=method, path="/markets/{elsewhere}/orders/{own}", body=body,
            may_log=True,
        )  # fmt: skip
    for path in (
        "/orders/%2e%2e/%2e%2e/admin",
        "/orders/{own}/fills",
        "/orders/{own}/%2e%2e",
        "/markets/{open}/orders/{own}/",
    ):
        yield Hostile(f"GET {path}", NOT_FOUND, method="GET", path=path)


def changes() -> Iterator[Hostile]:
    """Amends, cancels and batches that make no sense."""
    for body in (
        b"", b"{}", b"[]", b"null", b'{"quantity": 0}', b'{"quantity": -1}', b'{"quantity": 1.5}',
        b'{"quantity": "5"}',
        b'{"quantity": true}', b'{"quantity": null}', b'{"quantity": 9223372036854775808}', b'{"reduce_by": 0}',
        b'{"reduce_by": -5}', b'{"reduce_by": 1e1}', b'{"quantity": 5, "reduce_by": 1}', b'{"price": 0}',
        b'{"price": "1.0000"}',
        b'{"quantity": 5, "client_id": ""}', b'{"quantity": 5, "client_id": 7}', b'{"quantity": 5, "side": "sell"}',
        b'{"quantity": 5, "quantity": 6}', b'{"client_id": "x"}',
    ):  # fmt: skip
        yield Hostile(f"amend {body.decode()}", MALFORMED, method="PATCH", path="/orders/{own}", body=body)
    for body in (
        b'{"price": "0.4000", "reduce_by": 0}', b'{"price": null}', b'{"price": "half"}',
        b'{"price": true, "quantity": 5}',
        b'{"price": "0.40001"}', b'{"price": -0.4}', b'{"price": "0.4000", "post_only": true}',
        b'{"price": "0.4000", "expires_at": "2040-01-01T00:00:00Z"}', b'{"quantity": 1000001}',
    ):  # fmt: skip
        yield Hostile(f"amend {body.decode()}", MALFORMED, method="PATCH", path="/orders/{own}", body=body)
    off_tick = b'{"price": "0.1050"}'
    yield Hostile("amend off tick", (422, "off_tick"), "PATCH", "/orders/{own}", off_tick, may_log=True)
    for literal in (
        "0.5",
        "4",
        "301",
        "-5",
        "true",
        "null",
        '"30"',
        "[]",
        "{}",
        "1e1",
        "9" * 50_000,
        "NaN",
        "5.0",
    ):
        body = b'{"timeout_s": ' + literal.encode() + b"}"
        yield Hostile(f"heartbeat of {literal[:30]}", MALFORMED, path="/account/heartbeat", body=body)
    for body in (
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"timeout_s": 30, "key": "x"}',
        b'{"timeout_s": 30, "timeout_s": 0}',
    ):
        yield Hostile(f"heartbeat {body.decode()}", MALFORMED, path="/account/heartbeat", body=body)
    for query in ("side=both", "side=", "side=buy%00", "outcome=Maybe", "outcome=", "outcome=%FF"):
        yield Hostile(
            f"cancel all {query}", MALFORMED, method="DELETE", path=f"/markets/{{open}}/orders?{query}"
        )
    for query in ("side=both", "side=", "outcome="):
        yield Hostile(f"cancel everything {query}", MALFORMED, method="DELETE", path=f"/orders?{query}")
    for token in ("x", "1", "1-", "-1", "1.1", "99-1", "0-0-0", "1-" + "9" * 30, "%D9%A1-%D9%A1", "%00"):
        yield Hostile(
            f"GET as of {token}", MALFORMED, method="GET", path=f"/orders/{{own}}?min_as_of={token}"
        )
    for body in (
        b"", b"{}", b"[]", b'{"orders": []}', b'{"orders": null}', b'{"orders": {}}', b'{"orders": "all"}',
        b'{"orders": 5}',
        b'{"orders": [' + b",".join([b"{}"] * 501) + b"]}", b'{"orders": [{}], "atomic": true}',
        b'{"orders": [{}], "orders": [{}]}',
    ):  # fmt: skip
        yield Hostile(f"batch {body.decode()[:30]}", MALFORMED, path="/orders/batch", body=body)


def callers() -> Iterator[Hostile]:
    """Credentials that do not count, and media nobody speaks here."""
    for what, value in {
        "no": None, "empty": "", "half a": "Bearer", "an unknown": "Bearer pm_" + "x" * 43,
        "a foreign": "Bearer sk_live_5",
        "basic": "Basic YWxpY2U6c2VjcmV0", "a long": "Bearer pm_" + "x" * 5_000, "a bare": "{key}",
        "two": "Bearer {key} {key}",
        "an accented": "Bearer pm_\xe9\xe9", "an expired": "Bearer {expired}", "a revoked": "Bearer {revoked}",
        "a quoted": 'Bearer "{key}"', "a cut": "Bearer {cut}",
    }.items():  # fmt: skip
        headers = {"Authorization": value}
        yield Hostile(f"{what} key", NOBODY, body=written(), headers=headers)
        yield Hostile(f"{what} key, cancel all", NOBODY, method="DELETE", path="/orders", headers=headers)
    denied = {"Authorization": "Bearer {reader}"}
    yield Hostile("key that may not trade", (403, "permission_denied"), body=written(), headers=denied)
    beat = b'{"timeout_s": 30}'
    yield Hostile(
        "key that may not trade, heartbeat",
        (403, "permission_denied"),
        "POST",
        "/account/heartbeat",
        beat,
        denied,
    )
    yield Hostile(
        "key that may not cancel", (403, "permission_denied"), "DELETE", "/orders/{own}", headers=denied
    )
    for kind in (
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
        "application/jsonp", "json", "application/json-patch+json",
    ):  # fmt: skip
        yield Hostile(f"sent as {kind}", WRONG_TYPE, body=written(), headers={"Content-Type": kind})
    yield Hostile("sent as nothing", WRONG_TYPE, body=written(), headers={"Content-Type": None})


ALL: list[Hostile] = [*bodies(), *places(), *changes(), *callers()]


def batch_items() -> list[tuple[Hostile, Any]]:
    """Every hostile order request that is JSON after all, as an item for a batch."""
    items = []
    for each in bodies():
        try:
            body = json.loads((each.body or b"").decode(), parse_constant=_refuse, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            continue
        # In a batch the market is named there, and rightly so.
        if (
            isinstance(body, dict)
            and "market_id" not in body
            and all(_can_be_carried(value) for value in body.values())
        ):
            items.append((each, body))
    return items


def frames(market_id: str) -> Iterator[tuple[Hostile, str]]:
    """Every hostile order request that begins as an object, letter by letter, as a frame that places an order."""
    head = '{"id": 5, "op": "place", "market_id": "' + market_id + '", '
    for each in bodies():
        body = each.body or b""
        if not body.startswith(b'{"') or len(body) > 900_000 or b'"market_id"' in body:
            continue
        try:
            yield each, head + body[1:].decode()
        except UnicodeDecodeError:
            continue  # A text frame is UTF-8, or the connection ends.


def _can_be_carried(value: Any) -> bool:
    """Whether a batch may hold it: nothing that ruins the whole batch, and no number Python would write otherwise."""
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**63):
        return False
    text = json.dumps(value)
    return len(text) < 1_000 and "\\u0000" not in text and "\\ud800" not in text


def _refuse(literal: str) -> None:
    raise ValueError(literal)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)
