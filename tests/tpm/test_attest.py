"""TPMS_ATTEST on quotes of real Azure vTPMs."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.tpm.attest import Attest, AttestType, parse_attest
from skrkit.tpm.pcr import PcrSelection, pcr_digest
from skrkit.wire import Described, Json

FIRMWARE = "2020031200120003"
# From the captures' READMEs; the two that have an expected.json are read from there
TRUSTED_LAUNCH: dict[str, Json] = {
    "magic": "ff544347",
    "type": "8018",
    "qualified_signer": "000b097a36ee7503d13aa7b830a72dd05a2fc131e7de0b46daae550f150d487fdcf3",
    "extra_data": "0efb4d54837cedf4f66dd77ffcb32a4d4bd315dffd6cbfa5977e4c018c1f372a",
    "clock": 1755682,
    "reset_count": 3,
    "restart_count": 0,
    "safe": 1,
    "firmware_version": "2020031200120004",
    "pcr_select": [{"alg": "000b", "pcrs": [0, 1, 2, 3, 4, 5, 6, 7]}],
    "pcr_digest": "461684441feb67717a22b7f43096ec2f92a6582f5987f82729b3749180fede61",
}
CVM: dict[str, Json] = {
    "magic": "ff544347",
    "type": "8018",
    "qualified_signer": "000bbf2498e2f2b96bee3a52db769ef9e9b8dc78fb75eb6a72550473ea3546f90590",
    "extra_data": "6368616c6c656e6765",
    "clock": 3131573,
    "reset_count": 3,
    "restart_count": 0,
    "safe": 1,
    "firmware_version": FIRMWARE,
    "pcr_select": [{"alg": "000b", "pcrs": list(range(24))}],
    "pcr_digest": "04fabd988106412e438c1b93ad3b4b046c760f8f99ec557d87adf2ab02b7a4a0",
}


def _quote(captures: Path, name: str) -> bytes:
    return (captures / name / "quote-msg.bin").read_bytes()


def _pcrs(captures: Path, name: str) -> dict[int, bytes]:
    values = json.loads((captures / name / "pcrs-sha256.json").read_text())
    return {index: bytes.fromhex(value) for index, value in enumerate(values)}


@pytest.mark.parametrize("name", ["azure-snp-milan-v2", "azure-snp-milan-v3"])
def test_fields_are_the_other_decoders(captures: Path, name: str) -> None:
    expected = json.loads((captures / name / "expected.json").read_text())["quote"]
    assert expected.pop("trailing") == 0
    del expected["pcrs"]  # the values are not in the quote
    assert parse_attest(_quote(captures, name)).fields() == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("azure-vtpm-quote", CVM), ("azure-trusted-launch-vtpm", TRUSTED_LAUNCH)]
)
def test_fields_are_the_readmes(captures: Path, name: str, expected: dict[str, Json]) -> None:
    assert parse_attest(_quote(captures, name)).fields() == expected


@pytest.mark.parametrize("name", ["azure-snp-milan-v2", "azure-snp-milan-v3", "azure-vtpm-quote"])
def test_pcr_digest_is_over_the_values(captures: Path, name: str) -> None:
    attest = parse_attest(_quote(captures, name))
    assert attest.pcr_select == (PcrSelection.of(range(24)),)
    assert pcr_digest(_pcrs(captures, name), attest.pcr_select[0]) == attest.pcr_digest


def test_pcr_digest_of_the_trusted_launch_quote(captures: Path) -> None:
    # tpm2-tools' file: TPML_PCR_SELECTION padded to 132 bytes, u32 count, TPML_DIGEST of 66 bytes each
    data = (captures / "azure-trusted-launch-vtpm" / "pcrs.bin").read_bytes()
    values = {index: data[142 + 66 * index : 174 + 66 * index] for index in range(8)}
    attest = parse_attest(_quote(captures, "azure-trusted-launch-vtpm"))
    assert pcr_digest(values, attest.pcr_select[0]) == attest.pcr_digest


@pytest.mark.parametrize("name", ["azure-vtpm-quote", "azure-trusted-launch-vtpm"])
def test_raw_is_what_the_key_signed(captures: Path, name: str) -> None:
    key = load_pem_public_key((captures / name / "ak.pem").read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    signature = (captures / name / "quote-sig.bin").read_bytes()
    attest = parse_attest(_quote(captures, name))
    key.verify(signature, attest.raw, padding.PKCS1v15(), hashes.SHA256())


def test_spans_cover_the_quote(captures: Path) -> None:
    attest = parse_attest(_quote(captures, "azure-snp-milan-v3"))
    assert isinstance(attest, Described)
    at = 0
    for span in attest.spans():
        assert span.offset == at, span.name
        at += span.size
    assert at == 161
    assert attest.spans()[0].to_json()["value"] == "ff544347"


@pytest.mark.parametrize(
    ("offset", "patch", "words"),
    [
        (0, b"\0", "TPMS_ATTEST magic at byte 0x0, 4 bytes: expected 0xff544347, found 0x00544347"),
        (4, b"\x80\x19", "type at byte 0x4, 2 bytes: expected 0x8018 (quote) or 0x8017 (certify), found 0x8019 (time)"),
        (4, b"\x80\x1a", "found 0x801a (creation)"),
        (4, b"\x80\x14", "found 0x8014 (nv)"),
        (4, b"\x12\x34", "found 0x1234 (unknown)"),
        (6, b"\0\x43", "qualified_signer size at byte 0x6, 2 bytes: expected at most 66, found 67"),
        (42, b"\0\x41", "extra_data size at byte 0x2A, 2 bytes"),
        (69, b"\x02", "safe at byte 0x45, 1 byte: expected 0 or 1, found 2"),
        (78, b"\0\0\0\x11", "pcr_select count at byte 0x4E, 4 bytes: expected at most 16, found 17"),
        (82, b"\0\x10", "pcr_select hash at byte 0x52, 2 bytes: expected a hash algorithm, found null"),
        (84, b"\x04", "pcr_select sizeofSelect at byte 0x54, 1 byte: expected 3, found 4"),
    ],
)
def test_refusals_say_where(captures: Path, offset: int, patch: bytes, words: str) -> None:
    data = bytearray(_quote(captures, "azure-snp-milan-v2"))
    data[offset : offset + len(patch)] = patch
    with pytest.raises(ParseError) as refused:
        parse_attest(bytes(data))
    assert words in str(refused.value)


def test_a_tpm2b_is_recognised(captures: Path) -> None:
    data = _quote(captures, "azure-snp-milan-v2")
    with pytest.raises(ParseError, match="This is a TPM2B_ATTEST: leave out its first two bytes"):
        parse_attest(struct.pack(">H", len(data)) + data)


def test_trailing_and_oversized(captures: Path) -> None:
    data = _quote(captures, "azure-snp-milan-v2")
    with pytest.raises(ParseError, match="end at byte 0x7A, 1 byte: expected no more bytes, found 1 trailing"):
        parse_attest(data + b"\0")
    with pytest.raises(ParseError, match="expected at most 1024 bytes, found 1146"):
        parse_attest(data + bytes(1024))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.data())
def test_broken_quotes_raise_parse_errors_only(choice: st.DataObject, captures: Path) -> None:
    data = _quote(captures, choice.draw(st.sampled_from(["azure-snp-milan-v2", "azure-trusted-launch-vtpm"])))
    broken = bytearray(data[: choice.draw(st.integers(0, len(data)), label="length")])
    for _ in range(choice.draw(st.integers(0, 3), label="flips")):
        if broken:
            broken[choice.draw(st.integers(0, len(broken) - 1))] ^= 1 << choice.draw(st.integers(0, 7))
    try:
        attest = parse_attest(bytes(broken))
    except ParseError:
        return
    assert isinstance(attest, Attest)
    assert attest.type in (AttestType.QUOTE, AttestType.CERTIFY)
    assert sum(span.size for span in attest.spans()) == len(broken)
