"""Every capture decodes to what an independent decoder made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skrkit.endorsements.vek import parse_vek
from skrkit.evidence.hcl import HclReport, ReportType, parse_hcl_report
from skrkit.evidence.snp import SnpReport, parse_snp_report
from skrkit.evidence.tcb import Product
from skrkit.wire import Described, Json
from tests.attestation.captured import NAMES, certificates_of, expected_of, report_of

HCL = [name for name in NAMES if name.startswith("azure")]
SNP = [name for name in NAMES if name != "azure-tdx-hcl"]


def hcl_of(captures: Path, name: str) -> HclReport:
    return parse_hcl_report((captures / name / "hcl-report.bin").read_bytes())


def snp_of(captures: Path, name: str) -> SnpReport:
    return hcl_of(captures, name).snp() if name in HCL else parse_snp_report(report_of(captures, name))


def agrees(ours: Json, theirs: Any, at: str = "") -> None:
    """Compare recursively, so that a difference says where it is. A member that only we have is no difference."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), at
        for name, value in theirs.items():
            assert name in ours, f"{at}/{name}"
            agrees(ours[name], value, f"{at}/{name}")
    elif isinstance(theirs, list):
        assert isinstance(ours, list), at
        assert len(ours) == len(theirs), at
        for index, (mine, value) in enumerate(zip(ours, theirs, strict=True)):
            agrees(mine, value, f"{at}/{index}")
    else:
        assert ours == theirs, at
        assert type(ours) is type(theirs), at


@pytest.mark.parametrize("name", HCL)
def test_hcl(captures: Path, name: str) -> None:
    expected = expected_of(captures, name)["hcl"]
    fields = hcl_of(captures, name).fields()
    for member in ("header", "request_data", "runtime_claims", "variable_data_offset", "variable_data_sha256"):
        agrees(fields[member], expected[member], member)
    assert fields["blob_len"] == expected["blob_len"]
    assert fields["trailing_nonzero"] is expected["trailing_nonzero"]
    claims = hcl_of(captures, name).runtime_claims
    agrees(claims.fields(), expected["runtime_claims"])
    assert [key.kid for key in claims.keys] == expected["kids"]


@pytest.mark.parametrize("name", SNP)
def test_snp(captures: Path, name: str) -> None:
    expected = expected_of(captures, name)["report"]
    report = snp_of(captures, name)
    assert (report.product is None) == (expected["product_source"] == "vek_certificate")
    if report.product is None:
        report = report.identified(Product(expected["product"]), "vek_certificate")
    agrees(report.fields(), expected)
    assert set(report.fields()) == set(expected)


def test_td_report(captures: Path) -> None:
    report = hcl_of(captures, "azure-tdx-hcl").td_report()
    agrees(report.fields(), expected_of(captures, "azure-tdx-hcl")["td_report"])
    assert report.holds_info_hash
    assert report.holds_tcb_info_hash
    assert not report.is_debug


@pytest.mark.parametrize("name", SNP)
def test_vek(captures: Path, name: str) -> None:
    expected = expected_of(captures, name)["certificates"]
    vek, chain = certificates_of(captures, name)
    parsed = parse_vek(vek or chain)
    agrees(parsed.fields()["extensions"], expected["vek_extensions"])
    agrees(parsed.fields(), expected["vek"])
    assert set(parsed.extensions()) == set(expected["vek_extensions"])


def covers(described: Described, size: int) -> None:
    at = 0
    for span in described.spans():
        assert span.offset == at, span.name
        at += span.size
    assert at == size


@pytest.mark.parametrize("name", HCL)
def test_spans_cover_each_byte_of_a_blob(captures: Path, name: str) -> None:
    report = hcl_of(captures, name)
    covers(report, len(report.raw))
    assert all(span.meaning or span.name.startswith(("current_", "committed_")) for span in report.spans())


@pytest.mark.parametrize("name", SNP)
def test_spans_agree_with_fields(captures: Path, name: str) -> None:
    """The layout table and the parser state the offsets apart: they must show the same values."""
    report = snp_of(captures, name)
    covers(report, 1184)
    spans = {span.name: span.value for span in report.spans()}
    for field in ("report_data", "measurement", "host_data", "id_key_digest", "report_id", "chip_id", "family_id"):
        assert spans[field] == report.fields()[field]
    for field in ("version", "guest_svn", "vmpl", "signature_algo"):
        assert spans[field] == report.fields()[field]
    for field in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"):
        assert spans[field] == report.tcb(field).hex
    assert spans["policy"] == hex(report.policy)
    assert (spans["signature_r"], spans["signature_s"]) == (f"{report.signature_r:x}", f"{report.signature_s:x}")
    assert (spans["current_major"], spans["current_minor"], spans["current_build"]) == report.current_version
    assert (spans["committed_major"], spans["committed_minor"], spans["committed_build"]) == report.committed_version


def test_snp_inside_stands_at_its_place_in_the_blob(captures: Path) -> None:
    report = hcl_of(captures, "azure-snp-milan-v3")
    assert report.report_type is ReportType.SNP
    span = next(span for span in report.spans() if span.name == "report_data")
    assert (span.offset, span.size) == (0x70, 64)
    assert report.raw[0x70 : 0x70 + 64].hex() == span.value
