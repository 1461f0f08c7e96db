"""key_hsm and its unwrapping: the captured envelope, RFC 5649's vectors, and everything that must fail by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.encoding import b64url
from skrkit.errors import ParseError, VerificationError
from skrkit.release.key_hsm import parse_key_hsm
from skrkit.release.response import parse_release_response
from skrkit.release.unwrap import Enc, ReleasedKey, _unwrapped, check_same_public_key, unwrap
from skrkit.wire import Described
from tests.release.wrapping import KEK, decrypt, ec_key, envelope, pkcs8, released_key, wrapped, wrapped_kek
from tests.token.keys import numbers, rsa_key

CAPTURE = "maa-token-and-akv-release"


def test_the_captured_envelope(captures: Path) -> None:
    response = parse_release_response((captures / CAPTURE / "release-response.json").read_bytes())
    text = str(response.key["key_hsm"])
    key_hsm = parse_key_hsm(text)
    assert isinstance(key_hsm, Described)
    assert (key_hsm.kind, key_hsm.raw, key_hsm.spans(), key_hsm.unknown) == ("key-hsm", text.encode(), (), ())
    assert (key_hsm.schema_version, key_hsm.kid, key_hsm.alg) == ("1.0", "TpmEphemeralEncryptionKey", "dir")
    assert key_hsm.enc is Enc.CKM_RSA_AES_KEY_WRAP
    assert len(key_hsm.ciphertext) == 2640
    assert [len(piece) for piece in key_hsm.split()] == [256, 2384]
    assert b"".join(key_hsm.split()) == key_hsm.ciphertext
    fields = key_hsm.fields()
    assert (fields["wrapped_kek_length"], fields["wrapped_key_length"]) == (256, 2384)
    assert parse_key_hsm(json.dumps(envelope(bytes(272)))).enc is Enc.RSA_AES_KEY_WRAP_256


RFC_KEK = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
KWP_VECTORS = [  # the first two are RFC 5649 section 6
    (RFC_KEK, "c37b7e6492584340bed12207808941155068f738",
     "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
    (RFC_KEK, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    (bytes(range(32)), bytes(range(0x20, 0x40)).hex(),
     "92f48c52045c08050ec796a5a91c5ddaf7c61cbdc940adc8d3dc8a144f6161a8c5d3299e325f1750"),
]  # fmt: skip


@pytest.mark.parametrize(("kek", "plain", "ciphertext"), KWP_VECTORS)
def test_rfc_5649_vectors(kek: bytes, plain: str, ciphertext: str) -> None:
    assert _unwrapped(kek, bytes.fromhex(ciphertext), 256).hex() == plain


def test_the_vector_of_aes_256_through_the_whole_unwrapping() -> None:
    kek, plain, ciphertext = KWP_VECTORS[2]
    key_hsm = parse_key_hsm(json.dumps(envelope(wrapped_kek("RSA_AES_KEY_WRAP_256", kek) + bytes.fromhex(ciphertext))))
    assert unwrap(key_hsm, decrypt, kty="oct-HSM").material.hex() == plain


@pytest.mark.parametrize("enc", list(Enc))
@pytest.mark.parametrize("kty", [None, "RSA-HSM"])
def test_an_rsa_key_in_each_wrapping(enc: Enc, kty: str | None) -> None:
    released = unwrap(parse_key_hsm(wrapped(enc=enc.value)), decrypt, kty=kty)
    assert (released.kty, released.size_bits) == ("RSA", 2048)
    assert released.material == pkcs8(released_key())
    jwk = {"kty": "RSA-HSM", **numbers(released_key())}
    assert check_same_public_key(released, jwk).verdict == "ok"


def ec_jwk(key: EllipticCurvePrivateKey, **members: str) -> dict[str, Any]:
    point = key.public_key().public_numbers()
    x, y = (b64url(value.to_bytes(32, "big")) for value in (point.x, point.y))
    return {"kty": "EC-HSM", "crv": "P-256", "x": x, "y": y, **members}


def test_an_ec_key_and_a_symmetric_one() -> None:
    released = unwrap(parse_key_hsm(wrapped(pkcs8(ec_key()))), decrypt)
    assert (released.kty, released.size_bits) == ("EC", 256)
    assert check_same_public_key(released, ec_jwk(ec_key())).verdict == "ok"
    symmetric = unwrap(parse_key_hsm(wrapped(bytes(32))), decrypt, kty="oct")
    assert (symmetric.material, symmetric.private_key, symmetric.public_key, symmetric.public_pem()) == (
        bytes(32), None, None, ""
    )  # fmt: skip
    check = check_same_public_key(symmetric, {"kty": "oct-HSM"})
    assert (check.id, check.verdict) == ("release.public_key", "not-checked")


def test_the_enc_names_its_hash_and_the_tpms_scheme() -> None:
    assert [(enc.value, enc.hash, enc.tpm_scheme) for enc in Enc] == [
        ("CKM_RSA_AES_KEY_WRAP", "sha1", "oaep-sha1"),
        ("RSA_AES_KEY_WRAP_256", "sha256", "oaep-sha256"),
        ("RSA_AES_KEY_WRAP_384", "sha384", "oaep-sha384"),
    ]


def test_a_released_key_never_shows() -> None:
    released = unwrap(parse_key_hsm(wrapped()), decrypt)
    assert repr(released) == f"ReleasedKey(RSA, 2048 bits, sha256 {released.sha256_prefix}…)"
    assert str(released) == f"{released}" == repr(released)
    assert len(released.sha256_prefix) == 8
    assert released.material.hex()[20:60] not in repr(released)
    assert released.public_pem().startswith("-----BEGIN PUBLIC KEY-----")


SUBSTITUTED: list[tuple[str, Callable[[], str], str, str, str]] = [
    ("another AES key", lambda: wrapped(wrap_with=bytes(32)), "release.unwrap", "A65959A6", "not its own"),
    ("AES-128", lambda: wrapped(kek=bytes(16)), "release.kek", "32 bytes (AES-256)", "16 bytes"),
]


@pytest.mark.parametrize(
    ("text", "step", "expected", "found"), [pytest.param(*row, id=name) for name, *row in SUBSTITUTED]
)
def test_parts_that_do_not_belong_together(text: Callable[[], str], step: str, expected: str, found: str) -> None:
    with pytest.raises(VerificationError) as caught:
        unwrap(parse_key_hsm(text()), decrypt)
    assert caught.value.step == step
    assert expected in caught.value.expected
    assert found in caught.value.found


@settings(max_examples=40, deadline=None)
@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_flipped_bit_of_the_wrapped_key_does_not_unwrap(place: int, bit: int) -> None:
    inner = bytearray(aes_key_wrap_with_padding(KEK, bytes(range(40))))
    inner[place % len(inner)] ^= 1 << bit
    with pytest.raises(VerificationError) as caught:
        unwrap(parse_key_hsm(json.dumps(envelope(bytes(256) + inner))), lambda ciphertext, enc: KEK, kty="oct")
    assert caught.value.step == "release.unwrap"


def released_rsa() -> ReleasedKey:
    return unwrap(parse_key_hsm(wrapped()), decrypt)


def released_ec() -> ReleasedKey:
    return unwrap(parse_key_hsm(wrapped(pkcs8(ec_key()))), decrypt)


def released_oct() -> ReleasedKey:
    return unwrap(parse_key_hsm(wrapped(bytes(16))), decrypt, kty="oct")


ANOTHER: list[tuple[str, Callable[[], ReleasedKey], Callable[[], dict[str, Any]], str]] = [
    ("wrapped key substituted", released_rsa, lambda: {"kty": "RSA", **numbers(rsa_key("own"))}, "/n"),
    ("exponent", released_rsa, lambda: {"kty": "RSA", **numbers(released_key()), "e": "Aw"}, "/e"),
    ("RSA for EC", released_rsa, lambda: ec_jwk(ec_key()), "/kty"),
    ("EC for RSA", released_ec, lambda: {"kty": "RSA", **numbers(released_key())}, "/kty"),
    ("oct for RSA", released_oct, lambda: {"kty": "RSA", **numbers(released_key())}, "/kty"),
    ("curve", released_ec, lambda: ec_jwk(ec_key(), crv="P-256K"), "/crv"),
    ("x", released_ec, lambda: ec_jwk(ec_key(), x="AQ"), "/x"),
    ("y", released_ec, lambda: ec_jwk(ec_key(), y="AQ"), "/y"),
]


@pytest.mark.parametrize(("released", "jwk", "where"), [pytest.param(*row, id=name) for name, *row in ANOTHER])
def test_another_public_key_is_refused(
    released: Callable[[], ReleasedKey], jwk: Callable[[], dict[str, Any]], where: str
) -> None:
    with pytest.raises(VerificationError) as caught:
        check_same_public_key(released(), jwk())
    error = caught.value
    assert (error.step, error.where) == ("release.public_key", where)
    assert error.expected.endswith("the key bundle's")


def test_the_bundle_is_expected_and_the_released_key_found() -> None:
    bundle, released = numbers(rsa_key("own")), released_key().public_key().public_numbers()
    with pytest.raises(VerificationError) as caught:
        check_same_public_key(released_rsa(), {"kty": "RSA", **bundle})
    assert caught.value.found == released.n.to_bytes(256, "big")[:8].hex() + "…"
    assert caught.value.found not in caught.value.expected


def test_an_incomplete_bundle_is_a_parse_error() -> None:
    for jwk in ({}, {"kty": "RSA"}, {"kty": "RSA", "n": "AQ=="}):
        with pytest.raises(ParseError):
            check_same_public_key(released_rsa(), jwk)


def ed25519_key() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("material", "found"),
    [(b"\x30\x03\x02\x01\x00", "5 bytes that are none"), (bytes(32), "32 bytes that are none"), (None, "Ed25519")],
)
def test_material_that_is_no_key(material: bytes | None, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        unwrap(parse_key_hsm(wrapped(material or ed25519_key())), decrypt)
    assert found in caught.value.found
    assert "PKCS#8" in caught.value.expected


def test_the_split_follows_the_wrapping_keys_size() -> None:
    key_hsm = parse_key_hsm(json.dumps(envelope(bytes(512 + 24))))
    assert [len(piece) for piece in key_hsm.split(512)] == [512, 24]
    for modulus_bytes in (528, 536, 600, 250):
        with pytest.raises(ParseError) as caught:
            key_hsm.split(modulus_bytes)
        assert caught.value.found == "536 bytes in all"
        assert str(modulus_bytes) in caught.value.expected


HEADER = envelope(bytes(272))["header"]
REFUSED: list[tuple[str, str, str, str, str]] = [
    ("empty", "", "the whole text", "one JSON document", "0 bytes"),
    ("padded", "e30=", "the whole text", "base64url", "4 characters"),
    ("array", b64url(b"[]"), "the whole text", "a JSON object", "a JSON array"),
    ("BYOK", json.dumps(envelope(bytes(272), schema_version="1.0.0")), "/schema_version", "1.0", "'1.0.0'"),
    ("no version", json.dumps({"header": HEADER}), "/schema_version", "a string", "nothing"),
    ("no header", json.dumps({"schema_version": "1.0"}), "/header", "an object", "nothing"),
    ("alg", json.dumps(envelope(bytes(272), header={**HEADER, "alg": "RSA"})), "/header/alg", "dir", "'RSA'"),
    ("enc", json.dumps(envelope(bytes(272), enc="RSA1_5")), "/header/enc", "RSA_AES_KEY_WRAP_384", "'RSA1_5'"),
    ("no kid", json.dumps(envelope(bytes(272), header={"alg": "dir"})), "/header/kid", "a string", "nothing"),
    ("cut", json.dumps(envelope(bytes(271))), "/ciphertext", "256 bytes and then a multiple of 8", "271 bytes"),
    ("one block", json.dumps(envelope(bytes(264))), "/ciphertext", "at least 16", "264 bytes"),
    ("no ciphertext", json.dumps(envelope(b"")), "/ciphertext", "at least 16", "0 bytes"),
    ("large", "{" + " " * 70000 + "}", "the whole text", "one JSON document", "above the limit"),
]


@pytest.mark.parametrize(
    ("text", "where", "expected", "found"), [pytest.param(*row, id=name) for name, *row in REFUSED]
)
def test_an_envelope_that_is_none(text: str, where: str, expected: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_key_hsm(text)
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert found in caught.value.found


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_anything_else_is_a_parse_error(data: bytes | str) -> None:
    with pytest.raises(ParseError):
        parse_key_hsm(data)
