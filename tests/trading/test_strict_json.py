"""What the request decoder takes and refuses; nothing here needs a database."""

import pytest

from trading.errors import BodyTooLarge, InvalidRequest, problem
from trading.strict_json import MAX_BODY_BYTES, JsonNumber, decode, decode_object


def test_plain_document_becomes_plain_python():
    assert decode(b'{"a": [1, -2, true, null, "x"], "b": {}}') == {"a": [1, -2, True, None, "x"], "b": {}}


def test_numbers_with_fraction_or_exponent_stay_text_and_are_told_from_strings():
    price, exponent, text = decode(b'[0.65, 1e309, "0.65"]')
    assert (type(price), price) == (JsonNumber, "0.65")
    assert (type(exponent), exponent) == (JsonNumber, "1e309")
    assert (type(text), text) == (str, "0.65")


def test_no_float_appears_for_any_spelling_of_a_number():
    for literal in (b"0.1", b"-0.0", b"1E5", b"1e-400", b"123456.7890"):
        assert type(decode(literal)) is JsonNumber


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} x',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"\\u0061": 1, "a": 2}',
        b"NaN",
        b"Infinity",
        b"[-Infinity]",
        b"01",
        b"1.",
        b".5",
        b"+1",
        "\uff11".encode(),
        b"9223372036854775808",
        b"-9223372036854775809",
        b"9" * 5000,
        b"0." + b"0" * 60,
        b"\xff",
        b'"\xed\xa0\x80"',
        b'{"a": "\xc3\x28"}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'["\\u0000"]',
        b'"a\nb"',
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[" * 1000 + b"]" * 1000,
        b"[" * 400_000,
    ],
)
def test_malformed_body_is_an_invalid_request(body):
    with pytest.raises(InvalidRequest) as caught:
        decode(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_request")


def test_nesting_of_thirty_two_is_still_taken():
    assert decode(b"[" * 32 + b"]" * 32)


def test_wide_shallow_body_is_not_taken_for_deep():
    assert len(decode(b"[" + b",".join([b"[]"] * 1000) + b"]")) == 1000


def test_paired_surrogates_are_a_character():
    assert decode(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_largest_integers_of_64_bits_are_taken():
    assert decode(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]


def test_body_over_one_megabyte_is_413_before_it_is_parsed():
    with pytest.raises(BodyTooLarge) as caught:
        decode(b"\xff" * (MAX_BODY_BYTES + 1))
    assert (caught.value.status, caught.value.code) == (413, "invalid_request")


def test_body_of_exactly_one_megabyte_is_parsed():
    assert decode(b'"' + b"x" * (MAX_BODY_BYTES - 2) + b'"') == "x" * (MAX_BODY_BYTES - 2)


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"0.5"])
def test_a_body_that_is_not_an_object_is_refused_where_one_is_needed(body):
    with pytest.raises(InvalidRequest):
        decode_object(body)


def test_problem_document_names_field_errors_and_the_request():
    error = InvalidRequest(errors={"price": ["must be above 0"]})
    assert problem(error, "r-1") == {
        "type": "urn:pmarket:problem:invalid_request",
        "title": "The request is malformed.",
        "status": 400,
        "code": "invalid_request",
        "detail": "The request is malformed.",
        "errors": {"price": ["must be above 0"]},
        "request_id": "r-1",
    }
