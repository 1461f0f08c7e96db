"""decode_jwt and parse_jwks: the captured token, the RFC's own example, and text that is none."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.encoding import b64url
from skrkit.errors import ParseError
from skrkit.token.decode import MAX_TOKEN_BYTES, decode_jwt
from skrkit.token.jwks import parse_jwks
from skrkit.wire import Described
from tests.token.keys import KID, claims, header, jwk, jwks, rsa_key, self_signed, sign, without

CAPTURE = "maa-token-and-akv-release"

# RFC 7515, appendix A.1.1: the header has a line break in it, and decodes all the same
RFC_7515_A1 = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)


def test_the_captured_token(captures: Path) -> None:
    raw = (captures / CAPTURE / "maa-token.jwt").read_bytes()
    token = decode_jwt(raw)
    assert isinstance(token, Described)
    assert (token.kind, token.raw, token.spans()) == ("jwt", raw, ())
    assert token.header["jku"] == "https://sharedweu.weu.attest.azure.net/certs"
    assert (token.claims["iat"], token.claims["exp"]) == (1671836418, 1671865218)
    assert list(token.fields()) == ["header", "claims", "signature_length"]
    assert token.fields()["signature_length"] == 256
    assert decode_jwt(raw.decode()) == token
    for shown in (repr(token), json.dumps(token.fields())):
        assert raw[:40].decode() not in shown
        assert raw[-40:].decode() not in shown


def test_the_rfcs_example() -> None:
    token = decode_jwt(RFC_7515_A1)
    assert token.header == {"typ": "JWT", "alg": "HS256"}
    assert token.claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    assert len(token.signature) == 32


def part(text: str) -> str:
    return b64url(text.encode())


DEEP = '{"a":' * 40 + "1" + "}" * 40
REFUSED: list[tuple[str, str | bytes, str, str, str]] = [
    ("empty", "", "the whole text", "three parts", "1 part"),
    ("two parts", "e30.e30", "the whole text", "three parts", "2 parts"),
    ("four parts", "e30.e30.e30.e30", "the whole text", "three parts", "4 parts"),
    ("five parts: JWE", "a.b.c.d.e", "the whole text", "three parts", "5 parts"),
    ("too large", "a" * (MAX_TOKEN_BYTES + 1), "the whole text", "at most 65536 bytes", "65537 bytes"),
    ("not ASCII", "é.e30.", "the whole text", "ASCII", "outside ASCII"),
    ("not UTF-8", b"\xff.e30.", "the whole text", "ASCII", "outside ASCII"),
    ("padded", "e30=.e30.", "part 1", "base64url without padding", "4 characters"),
    ("standard alphabet", "e30.e30.ab+/", "part 3", "base64url without padding", "4 characters"),
    ("line break at the end", "e30.e30.abcd\n", "part 3", "base64url without padding", "5 characters"),
    ("spare bits", "e30.e30.ab", "part 3", "canonical", "'b'"),
    ("header an array", f"{part('[]')}.e30.", "part 1", "a JSON object", "a JSON array"),
    ("payload text", f"e30.{part('x')}.", "part 2", "one JSON document", "1 bytes that are not"),
    ("alg twice", part('{"alg":"RS256","alg":"none"}') + ".e30.", "part 1", "no member twice", "'alg' twice"),
    ("claim twice below", "e30." + part('{"a":{"b":1,"b":2}}') + ".", "part 2", "no member twice", "'b' twice"),
    ("NaN", "e30." + part('{"a":NaN}') + ".", "part 2", "one JSON document", "NaN is not JSON"),
    ("deep", f"e30.{part(DEEP)}.", "part 2", "nested at most 32 deep", "deeper nesting"),
]


@pytest.mark.parametrize(
    ("text", "where", "expected", "found"), [pytest.param(*row, id=name) for name, *row in REFUSED]
)
def test_text_that_is_no_token(text: str | bytes, where: str, expected: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        decode_jwt(text)
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert found in caught.value.found


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80) | st.text(alphabet='eyJ0.=-_{}"[]', max_size=60))
def test_any_text_decodes_or_is_a_parse_error(data: bytes | str) -> None:
    for parse in (decode_jwt, parse_jwks):
        try:
            described = parse(data)
        except ParseError:
            continue
        json.dumps(described.fields())


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_flipped_bit_never_decodes_to_the_same_token(place: int, bit: int) -> None:
    raw = sign(header(), claims(), rsa_key("maa"))
    flipped = bytearray(raw)
    flipped[place % len(raw)] ^= 1 << bit
    try:
        token = decode_jwt(bytes(flipped))
    except ParseError:
        return
    before = decode_jwt(raw)
    assert (token.header, token.claims, token.signature) != (before.header, before.claims, before.signature)


def test_the_captured_key_set(captures: Path) -> None:
    raw = (captures / CAPTURE / "maa-jwks.json").read_bytes()
    keys = parse_jwks(raw)
    assert isinstance(keys, Described)
    assert (keys.kind, keys.raw, keys.spans()) == ("jwks", raw, ())
    (key,) = keys.with_kid("dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo=")
    assert (key.bits, key.exponent, key.use, key.alg, key.x5c) == (2048, 65537, "sig", "RS256", ())
    assert key.public_key().key_size == 2048
    assert keys.with_kid("drkh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo=") == ()


def certified(key: str, **members: Any) -> dict[str, Any]:
    entry = without(jwk(rsa_key(key)), "n", "e")
    return {**entry, "x5c": [base64.b64encode(self_signed(rsa_key(key))).decode()], **members}


def test_a_key_from_its_certificate_alone_as_maa_publishes_it() -> None:
    (key,) = parse_jwks(jwks(certified("maa"))).keys
    (same,) = parse_jwks(jwks(certified("maa", **{n: jwk(rsa_key("maa"))[n] for n in "ne"}))).keys
    (plain,) = parse_jwks(jwks(jwk(rsa_key("maa")))).keys
    assert key.modulus == same.modulus == plain.modulus
    assert key.x5c == (self_signed(rsa_key("maa")),)


def test_a_key_of_another_type_is_kept_and_has_no_modulus() -> None:
    keys = parse_jwks(jwks({"kid": "ec", "kty": "EC", "crv": "P-256"}, jwk(rsa_key("maa"))))
    assert [(key.kty, key.bits) for key in keys.keys] == [("EC", 0), ("RSA", 2048)]
    assert keys.keys[0].members["crv"] == "P-256"


BAD_SETS: list[tuple[str, bytes, str, str, str]] = [
    ("array", b"[]", "the whole document", "a JSON object", "a JSON array"),
    ("no keys", b"{}", "/keys", "an array", "nothing"),
    ("empty", b'{"keys":[]}', "/keys", "at least one key", "none"),
    ("text entry", b'{"keys":["a"]}', "/keys/0", "an object", "a JSON string"),
    ("no kid", jwks(without(jwk(rsa_key("maa")), "kid")), "/keys/0/kid", "a string", "nothing"),
    ("no kty", jwks(without(jwk(rsa_key("maa")), "kty")), "/keys/0/kty", "a string", "nothing"),
    ("no numbers", jwks({"kid": KID, "kty": "RSA"}), "/keys/0", "n and e, or x5c", "neither"),
    ("n alone", jwks(without(jwk(rsa_key("maa")), "e")), "/keys/0/e", "a string", "nothing"),
    ("n empty", jwks(jwk(rsa_key("maa"), n="")), "/keys/0/n", "a positive integer", "empty text"),
    ("n zero", jwks(jwk(rsa_key("maa"), n="AAAA")), "/keys/0/n", "a positive integer", "zero"),
    ("n padded", jwks(jwk(rsa_key("maa"), n="AQ==")), "/keys/0/n", "base64url without padding", "4 characters"),
    ("x5c empty", jwks(certified("maa", x5c=[])), "/keys/0/x5c", "at least one certificate", "none"),
    ("x5c number", jwks(certified("maa", x5c=[1])), "/keys/0/x5c/0", "a string", "a JSON number"),
    ("x5c no DER", jwks(certified("maa", x5c=["AAAA"])), "/keys/0/x5c/0", "a DER certificate", "3 bytes that are none"),
    (
        "x5c another key",
        jwks({**certified("own"), **jwk(rsa_key("maa"))}),
        "/keys/0",
        "x5c[0]",
        "another key: n",
    ),
    ("use a number", jwks(jwk(rsa_key("maa"), use=1)), "/keys/0/use", "a string", "a JSON number"),
]


@pytest.mark.parametrize(
    ("data", "where", "expected", "found"), [pytest.param(*row, id=name) for name, *row in BAD_SETS]
)
def test_a_set_that_is_none(data: bytes, where: str, expected: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_jwks(data)
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert found in caught.value.found


def test_numbers_that_make_no_key_are_a_parse_error() -> None:
    (key,) = parse_jwks(jwks(jwk(rsa_key("maa"), e="BA"))).keys
    with pytest.raises(ParseError) as caught:
        key.public_key()
    assert caught.value.where == "/n and /e"
