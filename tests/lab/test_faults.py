"""Each fault, on evidence of a real machine where there is some, is caught by the step that is there for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skrkit.attestation.steps import STEPS
from skrkit.attestation.verifier import Evidence, verify_evidence
from skrkit.endorsements.roots import AMD_ROOTS
from skrkit.errors import UsageError
from skrkit.lab.faults import FAULTS, tamper, tampered
from skrkit.lab.vouching import EVIDENCE, RELEASE, link_of, trust_chain
from tests.lab.test_display import words
from tests.render.test_html import Checked

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CAUGHT_BY = {
    "measurement": "report.signature",
    "debug": "report.debug_off",
    "vmpl": "report.vmpl_0",
    "report-data": "hcl.report_data_eq_hash_of_variable_data",
    "chip-id": "bind.hwID_eq_chip_id",
    "tcb": "bind.ucodeSPL_eq_reported_microcode",
    "runtime-claims": "hcl.report_data_eq_hash_of_variable_data",
    "vcek": "chain.vek_signed_by_intermediate",
    "other-attestation-key": "quote.ak_eq_runtime_claims",
    "quote": "quote.signature_by_ak",
    "quote-signature": "quote.signature_by_ak",
    "old-quote": "quote.nonce",
    "pcrs": "quote.pcr_digest",
    "truncated": "hcl.parse",
}


@pytest.fixture
def real(captures: Path) -> Evidence:
    """Evidence of an Azure VM, without an event log: none was captured with it."""
    folder = captures / "azure-snp-milan-v2"
    pcrs = json.loads((folder / "pcrs-sha256.json").read_text())
    values = pcrs.get("sha256", pcrs) if isinstance(pcrs, dict) else dict(enumerate(pcrs))
    pem = (folder / "vcek-chain.pem").read_bytes()
    vek, mark, chain = pem.partition(b"-----END CERTIFICATE-----\n")
    return Evidence(
        hcl=(folder / "hcl-report.bin").read_bytes(),
        vek=vek + mark,
        chain=chain,
        quote=(folder / "quote-msg.bin").read_bytes(),
        quote_signature=(folder / "quote-sig.bin").read_bytes(),
        pcrs={int(index): bytes.fromhex(value) for index, value in values.items()},
    )


def test_without_a_fault_nothing_fails(real: Evidence) -> None:
    assert verify_evidence(real, now=NOW).failed == ()


@pytest.mark.parametrize("fault", CAUGHT_BY)
def test_each_fault_is_caught_by_its_step(real: Evidence, fault: str) -> None:
    before = replace(real)
    changed, result = tampered(real, fault, now=NOW, roots=AMD_ROOTS)
    assert changed != real
    assert real == before
    assert CAUGHT_BY[fault] in [step.id for step in result.failed]


def test_a_missing_chain_is_no_pass(real: Evidence) -> None:
    _, result = tampered(real, "missing-chain", now=NOW, roots=AMD_ROOTS)
    assert result.verdict == "incomplete"
    assert "chain.root_pinned" in [step.id for step in result.not_checked]


def test_edited_claims_are_json_as_before_and_the_signature_holds(real: Evidence) -> None:
    _, result = tampered(real, "runtime-claims", now=NOW, roots=AMD_ROOTS)
    verdicts = {step.id: step.verdict for step in result.steps}
    assert verdicts["report.signature"] == "ok"
    assert verdicts["hcl.runtime_claims"] == "ok"


def test_a_fault_that_has_no_place_here_is_said(real: Evidence) -> None:
    with pytest.raises(UsageError, match="an event log"):
        tampered(real, "event-log", now=NOW, roots=AMD_ROOTS)
    with pytest.raises(UsageError, match="measurement"):
        tampered(real, "no-such-fault", now=NOW, roots=AMD_ROOTS)
    assert set(FAULTS) == {*CAUGHT_BY, "missing-chain", "event-log"}


def test_a_bare_report_has_faults_of_its_own(captures: Path) -> None:
    bare = Evidence(snp=(captures / "aci-snp-milan-v2" / "report.bin").read_bytes())
    changed, result = tampered(bare, "debug", now=NOW, roots=AMD_ROOTS)
    assert changed.snp is not None
    assert bare.snp is not None
    assert [at for at in range(1184) if changed.snp[at] != bare.snp[at]] == [0x00A]
    assert "report.debug_off" in [step.id for step in result.failed]
    with pytest.raises(UsageError, match="HCL report"):
        tampered(bare, "truncated", now=NOW, roots=AMD_ROOTS)


def test_the_panel_tells_all_faults(real: Evidence) -> None:
    shown = tamper(real, now=NOW, roots=AMD_ROOTS)
    for said in (words(shown), repr(shown)):
        for fault, step in CAUGHT_BY.items():
            assert fault in said
            assert step in said
        assert "not possible here" in said  # the event log
    with pytest.raises(UsageError, match="evidence_of"):
        tamper(b"")  # type: ignore[arg-type]


def test_the_panel_verifies_again(real: Evidence) -> None:
    pytest.importorskip("ipywidgets")
    widget: Any = tamper(real, now=NOW, roots=AMD_ROOTS).widget
    _, choice, shown = widget.children
    choice.children[0].value = 2 + list(FAULTS).index("debug")
    said = Checked(shown.value).words
    assert "Caught by report.signature" in said
    assert "the host may decrypt" in said
    choice.children[0].value = 2 + list(FAULTS).index("event-log")
    assert "an event log" in Checked(shown.value).words
    choice.children[0].value = 1
    assert "Nothing is changed." in Checked(shown.value).words


def test_every_step_of_the_verifier_belongs_to_a_link() -> None:
    assert [step for step in STEPS if link_of(step, EVIDENCE) is None] == []
    fitting = link_of("report.debug_off", EVIDENCE)
    assert fitting is not None
    assert fitting.voucher == "reference values"
    assert all(link_of(f"release.{name}", RELEASE) for name in ("x5c", "signature", "nonce", "root", "kid"))


def test_the_chain_shows_where_it_breaks(real: Evidence) -> None:
    whole = words(trust_chain(verify_evidence(real, now=NOW)))
    assert "✗ failed" not in whole
    assert "no token was given" in whole
    _, result = tampered(real, "vcek", now=NOW, roots=AMD_ROOTS)
    broken = trust_chain(result)
    item = re_item(broken._repr_html_(), "chip key (VCEK)</strong><br>")
    assert "✗ failed" in item
    assert "chain.vek_signed_by_intermediate" in repr(broken)


def re_item(html: str, mark: str) -> str:
    return next(part for part in html.split("<li>") if mark in part)


def test_a_chain_of_something_else() -> None:
    with pytest.raises(UsageError, match="verify_evidence"):
        trust_chain("result")  # type: ignore[arg-type]
