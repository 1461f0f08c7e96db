"""The SNP report parser: layouts, product lines, TCB layouts, bits, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.evidence import snp_bits
from skrkit.evidence.snp import KNOWN_VERSIONS, layout, parse_snp_report, product_of_cpuid
from skrkit.evidence.tcb import Product, Tcb, TcbLayout
from skrkit.wire import check_layout
from tests.attestation.captured import report_of
from tests.evidence.attempt import attempt, is_worded


@pytest.mark.parametrize("version", KNOWN_VERSIONS)
def test_layout_has_neither_gap_nor_overlap(version: int) -> None:
    check_layout(layout(version), size=1184)


def of_version(captures: Path, version: int) -> bytearray:
    data = bytearray(report_of(captures, "snp-genoa-v5"))
    data[0:4] = version.to_bytes(4, "little")
    return data


def test_version_4_is_read_as_3(captures: Path) -> None:
    report = parse_snp_report(bytes(of_version(captures, 4)))
    assert report.product is Product.GENOA
    assert report.mitigations is None
    assert [row.name for row in report.reserved_set()] == ["reserved_1f8"]  # v5's vectors stand there


@pytest.mark.parametrize("version", [0, 1, 6, 7, 0xFFFFFFFF])
def test_unknown_version(captures: Path, version: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_snp_report(bytes(of_version(captures, version)))
    error = caught.value
    assert (error.what, error.where) == ("SNP report version", "byte 0x0, 4 bytes")
    assert (error.expected, error.found) == ("2, 3, 4 or 5", str(version))


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x00, Product.MILAN),
        (0x19, 0x0F, Product.MILAN),
        (0x19, 0x10, Product.GENOA),
        (0x19, 0x1F, Product.GENOA),
        (0x19, 0x20, None),
        (0x19, 0x9F, None),
        (0x19, 0xA0, Product.GENOA),
        (0x19, 0xAF, Product.GENOA),
        (0x19, 0xB0, None),
        (0x1A, 0x00, Product.TURIN),
        (0x1A, 0x11, Product.TURIN),
        (0x1A, 0x12, None),
        (0x1A, 0x50, None),  # Venice: its layout is not known
        (0x17, 0x31, None),
    ],
)
def test_product_of_cpuid(family: int, model: int, product: Product | None) -> None:
    assert product_of_cpuid(family, model) is product


def test_turin_moves_every_component(captures: Path) -> None:
    data = of_version(captures, 5)
    data[0x188:0x18A] = b"\x1a\x02"
    data[0x180:0x188] = bytes([1, 2, 3, 4, 0, 0, 0, 9])
    report = parse_snp_report(bytes(data))
    assert report.product is Product.TURIN
    tcb = report.tcb("reported_tcb")
    assert tcb.components == {"fmc": 1, "bootloader": 2, "tee": 3, "snp": 4, "microcode": 9}
    assert not tcb.reserved_nonzero
    assert Tcb(tcb.raw, TcbLayout.CLASSIC).components == {"bootloader": 1, "tee": 2, "snp": 0, "microcode": 9}
    assert Tcb(tcb.raw, TcbLayout.CLASSIC).reserved_nonzero


def test_version_2_shows_turin_by_its_short_chip_id(captures: Path) -> None:
    data = bytearray(report_of(captures, "snp-milan-v2-baremetal"))
    assert parse_snp_report(bytes(data)).tcb_layout is TcbLayout.CLASSIC
    data[0x1A8:0x1E0] = bytes(56)
    report = parse_snp_report(bytes(data))
    assert (report.product, report.product_source, report.tcb_layout) == (Product.TURIN, "chip_id", TcbLayout.TURIN)
    data[0x1A0:0x1A8] = bytes(8)
    masked = parse_snp_report(bytes(data))
    assert (masked.product, masked.tcb_layout, masked.is_chip_masked) == (None, None, True)
    assert masked.tcb("current_tcb").to_json() == {"hex": "7308000000000003"}  # raw only: nothing is guessed


def test_tcb_order_is_by_component() -> None:
    low, high = (
        Tcb(bytes([4, 0, 0, 0, 0, 0, 24, 100]), TcbLayout.CLASSIC),
        Tcb(bytes([3, 0, 0, 0, 0, 0, 24, 219]), TcbLayout.CLASSIC),
    )
    assert low.exceeds(high) == ("bootloader",)  # though as a number it is smaller
    assert high.exceeds(low) == ("microcode",)
    assert low.exceeds(low) == ()


def test_bits_have_words() -> None:
    assert snp_bits.policy_words(0xB0000).startswith("ABI 0.0 or newer; simultaneous")
    assert "confidentiality is void" in snp_bits.policy_words(0xB0000)
    assert "bit 17 is 0" in snp_bits.policy_words(0)
    assert "above 25" in snp_bits.policy_words(1 << 26 | 1 << 17)
    assert snp_bits.platform_words(0x40) == "unknown bits 0x40"
    assert snp_bits.platform_members(0x40)["unknown_bits"] is True
    assert snp_bits.signing_key_name(0x1C) == "none"
    assert snp_bits.signing_key_name(0x08) == "reserved"
    assert "not signed" in snp_bits.key_info_words(0x1C)


def test_hcl_blob_is_told(captures: Path) -> None:
    with pytest.raises(ParseError) as caught:
        parse_snp_report((captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes())
    assert (caught.value.expected, caught.value.found) == ("1184 bytes", "2600 bytes")
    assert "HCLA" in caught.value.fix


def test_text_is_told(captures: Path) -> None:
    with pytest.raises(ParseError) as caught:
        parse_snp_report((captures / "snp-milan-v2-baremetal" / "report.hex").read_bytes())
    assert "decode the hex" in caught.value.fix


@given(st.binary(max_size=1400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_end_in_a_report_or_a_parse_error(data: bytes) -> None:
    assert is_worded(attempt(lambda: parse_snp_report(data).fields()))


@given(st.integers(0, 1183), st.integers(1, 255), st.sampled_from(KNOWN_VERSIONS))
@settings(max_examples=80, deadline=None)
def test_any_changed_byte_still_shows(at: int, mask: int, version: int) -> None:
    data = bytearray(1184)
    data[0:4] = version.to_bytes(4, "little")
    data[at] ^= mask
    error = attempt(lambda: parse_snp_report(bytes(data)))
    if error is not None:
        assert error.what == "SNP report version"
        return
    report = parse_snp_report(bytes(data))
    assert sum(span.size for span in report.spans()) == 1184
    assert report.fields()["version"] == report.version
