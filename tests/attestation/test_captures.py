"""Every capture gets the verdict that its README states, step by step as an independent verifier found it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skrkit.attestation.steps import STEPS
from skrkit.attestation.verifier import ReferenceValues, verify_evidence
from tests.attestation.captured import NAMES, evaluated_at, evidence_of, expected_of

VERDICTS = {
    "azure-snp-hcl-vcek-mismatch": "failed",
    "azure-tdx-hcl": "tdx-report",
    "snp-milan-v2-debug": "failed",
    "snp-vlek-milan-v3": "failed",
}
# What is a fact to the other verifier and no rejection: a note here, or a step that provisional firmware may pass.
INFORMATIONAL = {"tcb.committed_eq_current", "tcb.reported_le_committed", "tcb.launch_le_current"}


@pytest.mark.parametrize("name", NAMES)
def test_verdict_and_steps(captures: Path, name: str) -> None:
    expected = expected_of(captures, name)
    result = verify_evidence(evidence_of(captures, name), now=evaluated_at(captures, name))
    assert result.verdict == VERDICTS.get(name, "verified")
    theirs = {check["check"]: check["ok"] for check in expected["checks"] if check["check"] not in INFORMATIONAL}
    ours = {step.id: step.verdict == "ok" for step in result.steps}
    assert {step: ours[step] for step in theirs} == theirs
    failed = [step.id for step in result.failed if step.id not in theirs]
    assert failed == (["hcl.report_type_snp"] if name == "azure-tdx-hcl" else [])
    assert not result.not_checked


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_stable_and_unique(captures: Path, name: str) -> None:
    result = verify_evidence(evidence_of(captures, name), now=evaluated_at(captures, name))
    ids = [step.id for step in result.steps]
    assert len(ids) == len(set(ids))
    assert set(ids) <= set(STEPS)


def test_quote_is_optional_and_said(captures: Path) -> None:
    evidence = replace(
        evidence_of(captures, "azure-snp-milan-v3"), quote=None, quote_signature=None, pcrs=None, nonce=None
    )
    result = verify_evidence(evidence, now=evaluated_at(captures, "azure-snp-milan-v3"))
    assert result.verdict == "verified"
    assert any("No quote was given" in note for note in result.notes)


def test_debug_guest_when_debug_is_allowed(captures: Path) -> None:
    result = verify_evidence(
        evidence_of(captures, "snp-milan-v2-debug"),
        now=evaluated_at(captures, "snp-milan-v2-debug"),
        reference=ReferenceValues(debug_allowed=True),
    )
    assert result.verdict == "verified"
    step = result.step("report.debug_off")
    assert step is not None
    assert step.detail == "set, which the reference values allow"


def test_vlek_report_at_its_own_level(captures: Path) -> None:
    result = verify_evidence(
        evidence_of(captures, "snp-vlek-milan-v3"),
        now=evaluated_at(captures, "snp-vlek-milan-v3"),
        reference=ReferenceValues(vmpl=1, csp_id="CN=cc-us-east-2.amazonaws.com"),
    )
    assert result.verdict == "verified"


def test_tdx_report_shows_what_can_be_said(captures: Path) -> None:
    result = verify_evidence(evidence_of(captures, "azure-tdx-hcl"), now=evaluated_at(captures, "azure-tdx-hcl"))
    assert (result.verdict, result.exit_code, result.report) == ("tdx-report", 3, None)
    error = result.failed[0].error
    assert error is not None
    assert (error.expected, error.found) == ("2 (SNP)", "4 (TDX)")
    assert error.where == "byte 0x4C8, 4 bytes"
