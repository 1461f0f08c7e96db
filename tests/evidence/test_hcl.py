"""The HCL report: headers that must agree, kinds that are named, and no size that is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.evidence.hcl import LAYOUT, VARIABLE_DATA, parse_hcl_report
from skrkit.evidence.td_report import LAYOUT as TD_LAYOUT
from skrkit.evidence.td_report import parse_td_report
from skrkit.wire import check_layout
from tests.conftest import CAPTURES
from tests.evidence.attempt import attempt, is_worded

KINDS = "1 (VBS) or 2 (SNP) or 3 (TVM) or 4 (TDX) or 5 (CCA)"
PAST = "4294967295, past the end"
needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"NO CAPTURES at {CAPTURES}")


def blob_of(name: str = "azure-snp-milan-v3") -> bytes:
    return (CAPTURES / name / "hcl-report.bin").read_bytes()


def test_layouts_have_neither_gap_nor_overlap() -> None:
    check_layout(LAYOUT, size=VARIABLE_DATA)
    check_layout(TD_LAYOUT, size=1024)


def test_padding_is_optional(captures: Path) -> None:
    data = blob_of()
    report = parse_hcl_report(data)
    bare = parse_hcl_report(data[: report.report_size])
    assert bare.runtime_data == report.runtime_data
    assert bare.padding == b""
    assert len(report.padding) == 2600 - 2346


@pytest.mark.parametrize(
    ("at", "value", "what", "where", "expected", "found"),
    [
        (0x000, b"HCLB", "signature", "byte 0x0, 4 bytes", "HCLA", "HCLB"),
        (0x000, b"\1\2\3\4", "signature", "byte 0x0, 4 bytes", "HCLA", "0x01020304"),
        (0x004, b"\3", "version", "byte 0x4, 4 bytes", "1 or 2", "3"),
        (0x008, b"\0\0", "report_size", "byte 0x8, 4 bytes", "2346", "0"),
        (0x4C0, b"\0\0", "data_size", "byte 0x4C0, 4 bytes", "1130", "0"),
        (0x4C4, b"\2", "request_data_version", "byte 0x4C4, 4 bytes", "1", "2"),
        (0x4C8, b"\0", "report_type", "byte 0x4C8, 4 bytes", KINDS, "0"),
        (0x4CC, b"\4", "hash_type", "byte 0x4CC, 4 bytes", "1 (SHA256) or 2 (SHA384) or 3 (SHA512)", "4"),
        (0x4D0, b"\xff\xff\xff\xff", "variable_data_size", "byte 0x4D0, 4 bytes", "at most 1364", PAST),
    ],
)  # fmt: skip
def test_refusals(captures: Path, at: int, value: bytes, what: str, where: str, expected: str, found: str) -> None:
    data = blob_of()
    with pytest.raises(ParseError) as caught:
        parse_hcl_report(data[:at] + value + data[at + len(value) :])
    error = caught.value
    assert error.what == f"HCL report {what}"
    assert (error.where, error.expected, error.found) == (where, expected, found)


@pytest.mark.parametrize("size", [0, 3, 4, 0x20, 0x4D3])
def test_truncated(captures: Path, size: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_hcl_report(blob_of()[:size])
    assert caught.value.found in ("no bytes", "HCL", f"{size} bytes")


def test_truncated_in_the_claims(captures: Path) -> None:
    with pytest.raises(ParseError) as caught:
        parse_hcl_report(blob_of()[:0x600])
    assert caught.value.found == "1110, past the end"


def test_oversized(captures: Path) -> None:
    with pytest.raises(ParseError) as caught:
        parse_hcl_report(blob_of() + bytes(4096))
    assert (caught.value.expected, caught.value.found) == ("1236 to 4096 bytes", "6696 bytes")


def test_tdx_is_refused_as_snp_and_snp_as_tdx(captures: Path) -> None:
    with pytest.raises(ParseError) as caught:
        parse_hcl_report(blob_of("azure-tdx-hcl")).snp()
    assert (caught.value.expected, caught.value.found) == ("2 (SNP)", "4 (TDX)")
    assert "This VM is TDX" in caught.value.fix
    with pytest.raises(ParseError) as caught:
        parse_hcl_report(blob_of()).td_report()
    assert (caught.value.expected, caught.value.found) == ("4 (TDX)", "2 (SNP)")


def test_trusted_launch_has_no_report(captures: Path) -> None:
    data = blob_of()
    report = parse_hcl_report(data[:0x4C8] + b"\3" + data[0x4C9:])
    with pytest.raises(ParseError) as caught:
        report.snp()
    assert "Trusted Launch" in caught.value.fix
    assert sum(span.size for span in report.spans()) == len(data)


def test_td_report_refusals(captures: Path) -> None:
    good = parse_hcl_report(blob_of("azure-tdx-hcl")).td_report().raw
    with pytest.raises(ParseError, match="1024 bytes, found 1023 bytes"):
        parse_td_report(good[:-1])
    with pytest.raises(ParseError, match=r"expected 0x81 \(TDX\), found 0x00"):
        parse_td_report(b"\0" + good[1:])


@needs_captures
@given(st.integers(0, 2599), st.integers(1, 255), st.integers(0, 2600))
@settings(max_examples=150, deadline=None)
def test_changed_and_cut_blobs_end_in_a_report_or_a_parse_error(at: int, mask: int, size: int) -> None:
    data = bytearray(blob_of())
    data[at] ^= mask
    for given_bytes in (bytes(data), bytes(data[:size])):
        assert is_worded(attempt(lambda data=given_bytes: parse_hcl_report(data)))  # type: ignore[misc]
        assert is_worded(attempt(lambda data=given_bytes: parse_hcl_report(data).fields()))  # type: ignore[misc]
        assert is_worded(attempt(lambda data=given_bytes: parse_hcl_report(data).spans()))  # type: ignore[misc]


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for made in (data, b"HCLA" + data):
        with pytest.raises(ParseError):
            parse_hcl_report(made)
    with pytest.raises(ParseError):
        parse_td_report(data)
