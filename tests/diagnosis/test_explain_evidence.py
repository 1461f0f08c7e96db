"""The evidence leg on evidence of real machines, good and bad."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.explain import explain

REFUSED = Exchange(
    service="maa",
    method="POST",
    url="https://sharedweu.weu.attest.azure.net/attest/AzureGuest?api-version=2020-10-01",
    status=400,
    response_body={"error": {"code": "InvalidParameter", "message": "The evidence is invalid."}},
)


def case_of(captures: Path, folder: str, **files: str) -> Case:
    evidence = {name.replace("_", "-"): (captures / folder / file).read_bytes() for name, file in files.items()}
    return Case(at=datetime(2025, 9, 1, tzinfo=UTC), exchanges=(REFUSED,), evidence=evidence)


def findings(case: Case) -> list[tuple[str, str]]:
    return [(finding.cause.id, finding.certainty) for finding in explain(case).findings]


@pytest.fixture
def whole(captures: Path) -> Case:
    """Everything of one real machine, and all of it holds."""
    case = case_of(
        captures,
        "azure-snp-milan-v3",
        hcl_report="hcl-report.bin",
        vcek="vcek.der",
        quote="quote-msg.bin",
        quote_signature="quote-sig.bin",
    )
    pcrs = json.loads((captures / "azure-snp-milan-v3" / "pcrs-sha256.json").read_text())
    values = {str(row["index"]): row["sha256"] for row in pcrs} if isinstance(pcrs[0], dict) else dict(enumerate(pcrs))
    case.evidence["chain"] = (captures / "amd-roots" / "milan.pem").read_bytes()  # type: ignore[index]  # a dict it is
    case.evidence["pcrs"] = json.dumps(values).encode()  # type: ignore[index]
    return case


def test_evidence_that_holds_is_not_blamed(whole: Case) -> None:
    assert findings(whole) == [("evidence.request", "possible")]


def test_a_certificate_of_another_chip(captures: Path) -> None:
    """A real mix-up: the report of one machine with the certificate of another."""
    folder = "azure-snp-hcl-vcek-mismatch"
    case = case_of(captures, folder, hcl_report="hcl-report.bin", vcek="vcek-chain.pem")
    case.evidence["chain"] = (captures / "amd-roots" / "milan.pem").read_bytes()  # type: ignore[index]
    assert findings(case)[0] == ("evidence.vcek-other-chip", "proved")


@pytest.mark.parametrize(
    ("name", "offset", "cause"),
    [
        ("hcl-report", 0x20 + 0x90, "evidence.report-tampered"),  # MEASUREMENT
        ("hcl-report", 0x4C0 + 0x30, "evidence.runtime-claims"),
        ("quote", 0x40, "evidence.ak-not-in-report"),
        ("quote-signature", 9, "evidence.ak-not-in-report"),
    ],
)
def test_a_changed_byte_is_named_by_what_it_breaks(whole: Case, name: str, offset: int, cause: str) -> None:
    data = bytearray(whole.evidence[name])
    data[offset] ^= 1
    whole.evidence[name] = bytes(data)  # type: ignore[index]
    assert findings(whole)[0] == (cause, "proved")


def test_a_pcr_that_was_not_quoted(whole: Case) -> None:
    values = json.loads(whole.evidence["pcrs"])
    values["7"] = "00" * 32
    whole.evidence["pcrs"] = json.dumps(values).encode()  # type: ignore[index]
    assert findings(whole)[0] == ("evidence.quote-pcrs", "proved")


def test_a_chain_of_another_line(whole: Case, captures: Path) -> None:
    whole.evidence["chain"] = (captures / "amd-roots" / "genoa.pem").read_bytes()  # type: ignore[index]
    assert findings(whole)[0] == ("evidence.chain-other-line", "proved")


def test_a_machine_that_is_no_snp_vm(captures: Path) -> None:
    assert findings(case_of(captures, "azure-tdx-hcl", hcl_report="hcl-report.bin"))[0] == ("machine.tdx", "proved")


def test_another_vms_report_is_told_by_the_vms_id(whole: Case) -> None:
    data = bytearray(whole.evidence["quote-signature"])
    data[9] ^= 1
    whole.evidence["quote-signature"] = bytes(data)  # type: ignore[index]
    other = {"vmId": "00000000-0000-0000-0000-000000000000"}
    mixed = Case(at=whole.at, exchanges=whole.exchanges, evidence=whole.evidence, instance=other)
    assert findings(mixed)[0] == ("evidence.report-other-vm", "proved")


@pytest.mark.parametrize("data", [b"", b"HCLA", b"\x00" * 2600, b"x" * 70000])
def test_bytes_that_are_no_report_are_a_finding_and_never_an_exception(data: bytes) -> None:
    case = Case(at=datetime(2025, 9, 1, tzinfo=UTC), exchanges=(REFUSED,), evidence={"hcl-report": data, "pcrs": b"{"})
    found = findings(case)
    assert found[0] == (("evidence.hcl-form", "proved") if data else ("evidence.request", "possible"))
