"""What a vTPM says and what a check of skrkit's says: each return code and each step has its cause."""

from __future__ import annotations

import pytest

from skrkit.attestation.steps import STEPS as VERIFIER
from skrkit.diagnosis.case import Case
from skrkit.diagnosis.catalogue import is_cause
from skrkit.diagnosis.evidence_steps import cause_of_step
from skrkit.diagnosis.explain import explain
from skrkit.wire import Json


def first(case: Case) -> tuple[str, str]:
    found = explain(case).findings[0]
    return found.cause.id, found.certainty


@pytest.mark.parametrize(
    ("what", "where", "found", "cause"),
    [
        ("TPM2_NV_ReadPublic", "NV index 0x01400001", "TPM_RC_HANDLE (0x18B, handle 1)", "machine.no-nv-index"),
        ("TPM2_ReadPublic", "handle 0x81000003", "TPM_RC_HANDLE (0x18B, handle 1)", "machine.not-a-cvm"),
        ("TPM2_NV_Write", "NV index 0x01400002", "TPM_RC_LOCKOUT (0x921)", "machine.tpm-locked"),
        ("the vTPM", "/dev/tpmrm0", "Permission denied", "machine.tpm-permission"),
        ("the vTPM", "/dev/tpmrm0", "no such device: this machine is not the VM, or has no vTPM", "machine.not-a-cvm"),
        ("TPM2_NV_ReadPublic", "NV index 0x01C101D0", "TPM_RC_HANDLE (0x18B)", "evidence.ak-certificate"),
    ],
)
def test_what_the_vtpm_says_is_understood(what: str, where: str, found: str, cause: str) -> None:
    error: dict[str, Json] = {"error": "ServiceError", "what": what, "where": where, "expected": "", "found": found}
    assert first(Case(error=error))[0] == cause


STEPS = {
    "token.alg": "token.algorithm-confusion",
    "token.header": "token.brings-key",
    "token.jku": "token.jku-swap",
    "token.kid": "token.signing-key-rotated",
    "token.signature": "token.signature",
    "token.lifetime": "token.lifetime",
    "token.nonce": "token.replayed",
    "envelope.inner_key": "token.envelope",
    "envelope.tag": "token.envelope",
    "release.signature": "response.signature",
    "release.root": "response.chain",
    "release.host": "response.host",
    "release.nonce": "response.nonce",
    "release.kid": "response.other-key",
    "release.enc": "response.enc",
    "release.kek": "response.transfer-key",
    "release.transfer_key": "response.transfer-key",
    "release.unwrap": "response.ciphertext",
    "release.public_key": "response.key-substituted",
    "release.proof": "response.key-substituted",
    "hcl.user_data": "evidence.report-stale",
    "quote.nonce": "evidence.quote-nonce",
    "report.signature": "evidence.report-tampered",
    "bind.hwID_eq_chip_id": "evidence.vcek-other-chip",
    "chain.root_pinned": "evidence.root-not-pinned",
}


@pytest.mark.parametrize(("step", "cause"), STEPS.items())
def test_a_step_of_skrkit_has_its_cause(step: str, cause: str) -> None:
    error: dict[str, Json] = {"what": "x", "where": "y", "expected": "e", "found": "f", "step": step}
    assert first(Case(error=error)) == (cause, "proved")


def test_every_step_of_the_verifier_has_a_cause() -> None:
    assert [step for step in VERIFIER if not is_cause(cause_of_step(step))] == []
