"""Strict decoding: what RFC 4648 and RFC 8259 say, and a named error for the rest."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrkit.encoding import any_b64_bytes, b64url, b64url_bytes, json_object, member
from skrkit.errors import ParseError

RFC_4648_SECTION_10 = [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]


@pytest.mark.parametrize(("plain", "padded"), RFC_4648_SECTION_10)
def test_rfc_4648_vectors(plain: str, padded: str) -> None:
    assert b64url(plain.encode()) == padded.rstrip("=")
    assert b64url_bytes(padded.rstrip("="), what="t", where="t") == plain.encode()
    assert any_b64_bytes(padded, what="t", where="t") == plain.encode()


@given(st.binary(max_size=64))
def test_all_four_alphabets_that_clients_send_are_taken(data: bytes) -> None:
    standard, url = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    for text in (standard, url, standard.rstrip("="), url.rstrip("=")):
        assert any_b64_bytes(text, what="t", where="t") == data


@pytest.mark.parametrize("text", ["Zg==", "+/+/", "Zm9v\n", "Z", "Zm 9v", "Zmé="])
def test_strict_base64url_takes_nothing_else(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        b64url_bytes(text, what="JWT header", where="part 1")
    assert (caught.value.what, caught.value.where) == ("JWT header", "part 1")
    assert caught.value.expected == "base64url without padding"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":1,"a":2}', "member 'a' twice in one object"),
        ('{"a":NaN}', "NaN is not JSON"),
        ('{"a":', "bytes that are not"),
        ("[1]", "a JSON array"),
        ('"x"', "a JSON string"),
        ("[" * 200_000, "bytes that are not"),
    ],
)
def test_what_is_not_one_json_object_is_named(text: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        json_object(text, what="document", where="the whole text")
    assert found in caught.value.found


def test_a_large_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(ParseError, match="11 bytes, above the limit of 10"):
        json_object(b'{"a":"bcd"}', what="document", where="x", limit=10)


def test_a_member_of_another_type_is_named_by_its_pointer() -> None:
    with pytest.raises(ParseError) as caught:
        member({"n": True}, "n", int, what="JWK", at="/keys/0")
    assert (caught.value.what, caught.value.where) == ("JWK n", "/keys/0/n")
    assert (caught.value.expected, caught.value.found) == ("an integer", "a JSON boolean")
