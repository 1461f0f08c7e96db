"""AMD's certificates: real ones of three product lines, and DER that is not as AMD writes it."""

from __future__ import annotations

import base64
import hashlib
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skrkit.endorsements import der
from skrkit.endorsements.certificate import (
    is_amd_name,
    parse_amd_certificate,
    parse_amd_certificates,
    parse_certificates,
    split_certificates,
)
from skrkit.endorsements.roots import AMD_ROOTS
from skrkit.endorsements.vek import AMD_ARC, parse_vek
from skrkit.errors import ParseError
from skrkit.evidence.tcb import Product
from skrkit.sandbox import chipcerts
from tests.evidence.attempt import attempt, is_worded

LINES = ("milan", "milan_vlek", "genoa", "genoa_vlek", "turin", "turin_vlek")


@pytest.mark.parametrize("line", LINES)
def test_pinned_roots_are_amds(captures: Path, line: str) -> None:
    intermediate, root = parse_amd_certificates((captures / "amd-roots" / f"{line}.pem").read_bytes())
    product = line.partition("_")[0].capitalize()
    assert AMD_ROOTS.line_of(root.spki_sha256) == product
    assert root.subject_cn == f"ARK-{product}"
    assert intermediate.subject_cn == f"SEV-{'VLEK-' if 'vlek' in line else ''}{product}"
    assert intermediate.is_signed_by(root)
    assert root.is_signed_by(root)
    assert not root.is_signed_by(intermediate)
    assert AMD_ROOTS.line_of(intermediate.spki_sha256) is None
    assert is_amd_name(root.subject)
    # The readme's digests are those of another tool.
    readme = (captures / "amd-roots" / "README.md").read_text()
    for item in (intermediate, root):
        assert f'"der_sha256": "{hashlib.sha256(item.raw).hexdigest()}"' in readme
        assert f'"spki_sha256": "{item.spki_sha256}"' in readme
        assert f'"not_after": "{item.not_after.isoformat()}"' in readme


def test_turin_vcek(captures: Path) -> None:
    """As its README lists them: structVersion 1, fmcSPL, no spl_4, a chip id of 8 bytes."""
    vek = parse_vek((captures / "turin-vcek-only" / "vcek.der").read_bytes())
    assert vek.extensions() == {
        "structVersion": 1,
        "productName": "Turin",
        "fmcSPL": 0,
        "blSPL": 0,
        "teeSPL": 0,
        "snpSPL": 0,
        "spl_5": 0,
        "spl_6": 0,
        "spl_7": 0,
        "ucodeSPL": 9,
        "hwID": "1e550a8ee5cf9f4d",
    }
    assert vek.product is Product.TURIN
    intermediate, _ = parse_amd_certificates((captures / "amd-roots" / "turin.pem").read_bytes())
    assert vek.amd.is_signed_by(intermediate)


def test_serial_zero_warns_nobody(captures: Path) -> None:
    data = (captures / "azure-snp-milan-v3" / "vcek.der").read_bytes()
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vek = parse_vek(data)
        assert vek.amd.serial == 0
        exact = vek.certificate
        assert exact.public_bytes(Encoding.DER) == data
        assert parse_certificates(data) == (exact,)
    assert list(warnings.filters) == before


def test_spans_show_the_bytes_of_each_extension(captures: Path) -> None:
    data = (captures / "azure-snp-milan-v3" / "vcek.der").read_bytes()
    spans = {span.name: span for span in parse_vek(data).spans()}
    assert len(spans) == 11
    microcode = spans["ucodeSPL"]
    assert data[microcode.offset : microcode.offset + microcode.size] == bytes.fromhex("020200db")
    chip = spans["hwID"]
    assert data[chip.offset : chip.offset + chip.size].hex() == chip.value


def test_forms_of_a_chain(captures: Path) -> None:
    pem = (captures / "amd-roots" / "milan.pem").read_bytes()
    one, two = split_certificates(pem)
    assert split_certificates(one + two) == (one, two)
    assert split_certificates(b"# a comment\r\n" + pem.replace(b"\n", b"\r\n") + b"trailing text") == (one, two)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "0"),
        (b"-----BEGIN CERTIFICATE-----", "no END CERTIFICATE line"),
        (b"-----BEGIN PUBLIC KEY-----", "0"),
        (b"\x30\x82", "length at byte 0x1 is not minimal DER"),
        (b"\x31\x00", "tag 0x30 expected at byte 0x0, 0x31 found"),
        (b"\x30\x05\x00", "element at byte 0x0 runs 4 bytes past the end"),
        (b"\x30\x00" * 17, "17"),
    ],
)
def test_chains_that_are_none(data: bytes, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        split_certificates(data)
    assert caught.value.found == found


def test_pem_with_a_stray_character(captures: Path) -> None:
    pem = (captures / "amd-roots" / "milan.pem").read_bytes()
    with pytest.raises(ParseError) as caught:
        split_certificates(pem.replace(b"MIIG", b"MII!", 1))
    assert caught.value.where.startswith("byte 0x0, ")


@pytest.mark.parametrize(
    ("data", "value"),
    [("020100", 0), ("02017f", 127), ("02020080", 128), ("020200db", 219), ("020200ff", 255)],
)
def test_small_integers(data: str, value: int) -> None:
    assert der.small_integer(bytes.fromhex(data), what="x") == value


@pytest.mark.parametrize(
    "data",
    [
        "",
        "02",
        "0200",
        "0201",
        "020180",
        "0202007f",
        "02020100",
        "0203000001",
        "02010000",
        "040100",
        "02810100",
        "0280",
    ],
)
def test_integers_that_are_not_small_or_not_der(data: str) -> None:
    with pytest.raises(ParseError) as caught:
        der.small_integer(bytes.fromhex(data), what="VEK blSPL")
    assert caught.value.what == "VEK blSPL"


def made(changes: dict[str, bytes | None], *, common_name: str = "SEV-VCEK") -> bytes:
    """Return a certificate with AMD's extensions as changed. Self-signed: nothing is verified here."""
    key = ec.generate_private_key(ec.SECP384R1())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    values: dict[str, bytes | None] = dict(chipcerts.vcek_extensions(chip_id=bytes(range(64)), tcb=bytes(8)))
    values |= {AMD_ARC + suffix: value for suffix, value in changes.items()}
    builder = (
        x509.CertificateBuilder()
        .subject_name(chipcerts.amd_name(common_name))
        .issuer_name(chipcerts.amd_name("SEV-Milan"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    for oid, value in values.items():
        if value is not None:
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)


def test_hw_id_in_an_octet_string() -> None:
    assert parse_vek(made({"4": b"\x04\x40" + bytes(range(64))})).hw_id == bytes(range(64))
    assert parse_vek(made({"4": b"\x04\x08" + bytes(range(8))})).hw_id == bytes(range(8))
    assert parse_vek(made({"4": bytes(range(8))})).hw_id == bytes(range(8))


def test_vlek() -> None:
    vek = parse_vek(made({"4": None, "5": b"\x16\x04CN=x"}, common_name="SEV-VLEK"))
    assert (vek.signer, vek.hw_id, vek.csp_id) == ("VLEK", None, "CN=x")


@pytest.mark.parametrize(
    ("changes", "name", "expected", "found"),
    [
        ({"3.1": None}, "3.1", "each of AMD's extensions, 1.3.6.1.4.1.3704.1.3.1 too", "no such extension"),
        ({"3.8": None}, "3.8", "each of AMD's extensions, 1.3.6.1.4.1.3704.1.3.8 too", "no such extension"),
        ({"1": None}, "1", "each of AMD's extensions, 1.3.6.1.4.1.3704.1.1 too", "no such extension"),
        ({"4": None}, "4", "either hwID (VCEK) or cspID (VLEK)", "neither"),
        ({"5": b"\x16\x01x"}, "5", "either hwID (VCEK) or cspID (VLEK)", "both"),
        ({"4": bytes(63)}, "4", "64 or 8 bytes, raw or in an OCTET STRING", "63 bytes"),
        ({"4": b"\x04\x3f" + bytes(63)}, "4", "64 or 8 bytes, raw or in an OCTET STRING", "65 bytes"),
        ({"2": b"\x0c\x05Milan"}, "2", "a DER IA5String", "tag 0x16 expected at byte 0x0, 0x0c found"),
        ({"2": b"\x16\x01\x07"}, "2", "a DER IA5String", "no printable text"),
        ({"3.3": b"\x02\x02\x01\x00"}, "3.3", "a minimal DER INTEGER of 0 to 255", "02020100"),
    ],
)
def test_extensions_that_are_not_as_amd_writes_them(
    changes: dict[str, bytes | None], name: str, expected: str, found: str
) -> None:
    with pytest.raises(ParseError) as caught:
        parse_vek(made(changes))
    assert (caught.value.expected, caught.value.found) == (expected, found), name


def test_duplicate_extension(captures: Path) -> None:
    """One OID of a real VCEK is turned into another that is there already: .3.5 into .3.4."""
    data = (captures / "azure-snp-milan-v3" / "vcek.der").read_bytes()
    arc = bytes.fromhex("060a2b060104019c780103")
    assert data.count(arc + b"\5") == 1
    with pytest.raises(ParseError) as caught:
        parse_vek(data.replace(arc + b"\5", arc + b"\4"))
    assert (caught.value.expected, caught.value.found) == ("each extension once", "1.3.6.1.4.1.3704.1.3.4 twice")


def test_a_certificate_of_another_role(captures: Path) -> None:
    one, _ = split_certificates((captures / "amd-roots" / "milan.pem").read_bytes())
    with pytest.raises(ParseError) as caught:
        parse_vek(one)
    assert (caught.value.expected, caught.value.found) == ("CN SEV-VCEK or SEV-VLEK", "CN SEV-Milan")


def test_outer_algorithm_must_be_the_inner(captures: Path) -> None:
    """AMD's two spellings of one algorithm, one inside and the other outside: not the same, so refused."""
    data = (captures / "aci-snp-milan-v2" / "vcek-chain.pem").read_bytes()
    amd = parse_amd_certificates(data)[1]
    assert amd.has_amd_algorithm
    end = amd.raw.rindex(bytes.fromhex("a303020101"))
    changed = amd.raw[:end] + bytes.fromhex("a303020102") + amd.raw[end + 5 :]
    error = attempt(lambda: parse_amd_certificate(changed))
    assert error is not None or not parse_amd_certificate(changed).has_amd_algorithm


def test_a_negative_serial_number_is_refused_and_warned_of_to_nobody(captures: Path) -> None:
    data = bytearray((captures / "azure-snp-milan-v3" / "vcek.der").read_bytes())
    assert data[13:16] == b"\x02\x01\x00", "the serial number of a VCEK is one byte, 0"
    data[15] = 0x80
    with pytest.raises(ParseError) as refused:
        parse_amd_certificate(bytes(data))
    assert refused.value.found == "a negative serial number"


@given(st.integers(0, 1350), st.integers(1, 255), st.integers(0, 1351))
@example(15, 0x80, 0)
@settings(max_examples=150, deadline=None)
def test_changed_and_cut_certificates(at: int, mask: int, size: int) -> None:
    from tests.conftest import CAPTURES

    path = CAPTURES / "azure-snp-milan-v3" / "vcek.der"
    data = bytearray(path.read_bytes() if path.exists() else made({}).ljust(1351, b"\0"))
    data[at] ^= mask
    for given_bytes in (bytes(data), bytes(data[:size]), base64.b64encode(data)):
        assert is_worded(attempt(lambda item=given_bytes: parse_vek(item).fields()))  # type: ignore[misc]


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for item in (data, b"\x30\x82\x01\x00" + data, b"-----BEGIN CERTIFICATE-----" + data):
        with pytest.raises(ParseError):
            parse_vek(item)
