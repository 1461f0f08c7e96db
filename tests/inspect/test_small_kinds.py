"""PCR lists, THIM answers and bare public keys: what their fields say, and what each refuses in which words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from skrkit.errors import ParseError
from skrkit.evidence import pcrs
from skrkit.evidence.pcrs import parse_pcrs
from skrkit.inspect import certificate, public_key, thim
from skrkit.inspect.certificate import parse_certificate, parse_certificate_list
from skrkit.inspect.public_key import parse_public_key
from skrkit.inspect.thim import parse_thim
from skrkit.wire import Json

ZERO = "00" * 32


def test_pcrs_of_a_quote_hash_to_its_digest(captures: Path) -> None:
    """SHA-256 over the PCRs in order is what the quote of the same VM attests: all 24, by its README."""
    values = parse_pcrs((captures / "azure-snp-milan-v3/pcrs-sha256.json").read_bytes())
    digest = hashlib.sha256(b"".join(values.values.values())).digest()
    assert (captures / "azure-snp-milan-v3/quote-msg.bin").read_bytes().endswith(digest)
    assert values.bank == "sha256"
    assert values.fields()["unset"] == [8, 11, 13, 15, 16, 23]


def test_pcrs_may_be_a_selection_by_number() -> None:
    values = parse_pcrs(json.dumps({"7": "ff" * 20, "0": "00" * 20}).encode())
    assert values.fields() == {"bank": "sha1", "pcr_0": "00" * 20, "pcr_7": "ff" * 20, "unset": [0]}


@pytest.mark.parametrize(
    ("document", "where", "expected", "found"),
    [
        ([], "the whole document", "1 to 24 values", "0"),
        ([ZERO] * 25, "the whole document", "1 to 24 values", "25"),
        ("x", "the whole document", "an array or an object", "a JSON string"),
        ([ZERO, "00" * 31], "/1", "40, 64 or 96 hex digits", "62 characters"),
        ([ZERO, "zz" * 32], "/1", "40, 64 or 96 hex digits", "64 characters"),
        ([ZERO, 7], "/1", "40, 64 or 96 hex digits", "a JSON number"),
        ({"24": ZERO}, "/24", "a PCR number from 0 to 23", "'24'"),
        ({"x": ZERO}, "/x", "a PCR number from 0 to 23", "'x'"),
        ({"1" * 5000: ZERO}, None, "a PCR number from 0 to 23", None),
        ({"1": ZERO, "01": ZERO}, "the whole document", "each PCR once", "2 members for 1 PCRs"),
        ([ZERO, "00" * 20], "the whole document", "values of one bank", "sizes of 20 bytes, 32 bytes"),
    ],
)
def test_pcrs_that_are_none_are_refused(document: Json, where: str | None, expected: str, found: str | None) -> None:
    with pytest.raises(ParseError) as caught:
        parse_pcrs(json.dumps(document).encode())
    error = caught.value
    assert error.expected == expected
    assert where is None or error.where == where
    assert found is None or error.found == found


def answer(**changes: Json) -> bytes:
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    members: dict[str, Json] = {"vcekCert": pem, "tcbm": "DB18000000000004", "certificateChain": pem}
    return json.dumps({**members, **changes}).encode()


def test_a_thim_answer_keeps_what_it_does_not_know_by_name() -> None:
    fields = parse_thim(answer(cacheControl="86400", newer=1)).fields()
    assert (fields["tcbm"], fields["cacheControl"]) == ("DB18000000000004", "86400")
    assert fields["not_recognised"] == ["newer"]
    assert "not_recognised" not in parse_thim(answer()).fields()


@pytest.mark.parametrize(
    ("changes", "where", "expected", "found"),
    [
        ({"tcbm": "DB18"}, "/tcbm", "16 hex digits", "'DB18'"),
        ({"tcbm": "ZB18000000000004"}, "/tcbm", "16 hex digits", "'ZB18000000000004'"),
        ({"tcbm": 1}, "/tcbm", "a string", "a JSON number"),
        ({"vcekCert": ""}, "/vcekCert", "certificates in PEM", "0 characters without a BEGIN CERTIFICATE line"),
        ({"certificateChain": None}, "/certificateChain", "a string", "a JSON null"),
    ],
)
def test_a_thim_answer_with_a_wrong_member_is_refused(
    changes: dict[str, Json], where: str, expected: str, found: str
) -> None:
    with pytest.raises(ParseError) as caught:
        parse_thim(answer(**changes))
    assert (caught.value.where, caught.value.expected, caught.value.found) == (where, expected, found)


def test_a_public_key_opens_the_signature_of_the_quote_beside_it(captures: Path) -> None:
    """RSA by hand: signature^e mod n ends in the SHA-256 of the quote, so n and e are the key's own."""
    folder = captures / "azure-vtpm-quote"
    fields = parse_public_key((folder / "ak.pem").read_bytes()).fields()
    assert fields["key"] == "RSA-2048"
    exponent = fields["e"]
    assert isinstance(exponent, int)
    opened = pow(int.from_bytes((folder / "quote-sig.bin").read_bytes(), "big"), exponent, int(str(fields["n"]), 16))
    assert opened.to_bytes(256, "big").endswith(hashlib.sha256((folder / "quote-msg.bin").read_bytes()).digest())


def test_a_public_key_of_an_elliptic_curve_has_its_point() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = ec.derive_private_key(5, ec.SECP256R1()).public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    fields = parse_public_key(key.public_bytes(*form)).fields()
    assert fields["key"] == "EC-secp256r1"
    # The x of 5G, as the published point multiplication vectors of P-256 have it.
    assert fields["x"] == "51590b7a515140d2d784c85608668fdfef8c82fd1f5be52421554a0dc3d033ed"
    other = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    assert parse_public_key(other.public_bytes(*form)).fields()["key"] == "Ed25519"


def test_a_public_key_that_is_none_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        parse_public_key(b"\x30\x03\x02\x01\x05")
    assert caught.value.expected == "a SubjectPublicKeyInfo in PEM or DER"
    assert caught.value.found.startswith("5 bytes that are not")


def test_several_certificates_are_not_one(captures: Path) -> None:
    data = (captures / "amd-roots/milan.pem").read_bytes()
    with pytest.raises(ParseError) as caught:
        parse_certificate(data)
    assert (caught.value.expected, caught.value.found) == ("one certificate", "2")
    assert "--as certificates" in caught.value.fix
    assert len(parse_certificate_list(data).certificates) == 2


def test_an_error_about_any_certificate_does_not_speak_of_amd() -> None:
    with pytest.raises(ParseError) as caught:
        parse_certificate(b"\x30\x03\x02\x01\x05")
    assert "AMD" not in str(caught.value)


def test_meanings_are_of_fields_that_exist(captures: Path) -> None:
    ak = (captures / "azure-trusted-launch-vtpm/akcert.der").read_bytes()
    assert set(certificate.meanings()) <= set(parse_certificate(ak).fields())
    assert set(thim.meanings()) <= set(parse_thim(answer(cacheControl="1")).fields())
    assert set(pcrs.meanings()) <= set(parse_pcrs(json.dumps([ZERO] * 24).encode()).fields())
    key = parse_public_key((captures / "azure-vtpm-quote/ak.pem").read_bytes())
    assert set(public_key.meanings()) <= set(key.fields())
