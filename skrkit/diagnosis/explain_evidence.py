"""The evidence leg: what Azure Attestation refuses, and what the same evidence shows when it is verified here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skrkit.diagnosis.evidence_steps import cause_of_step
from skrkit.diagnosis.finding import Certainty, Finding
from skrkit.diagnosis.reading import Reading
from skrkit.errors import SkrkitError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.attestation.result import StepResult
    from skrkit.evidence.hcl import HclReport
    from skrkit.evidence.runtime import RuntimeClaims

_SECURE_BOOT = (
    "secureboot",
    "x-ms-azurevm-default-securebootkeysvalidated",
    "x-ms-azurevm-signingdisabled",
    "x-ms-azurevm-debuggersdisabled",
    "x-ms-azurevm-dbvalidated",
)
_DBX = "x-ms-azurevm-dbxvalidated"
_CLAIM = r"[Cc]laim '([A-Za-z0-9._-]{1,200})'"
_CLAIM_NAME = r"[A-Za-z0-9._-]{1,200}"
_REFUSED_STEP = r"refused at step ([A-Za-z0-9_.]{1,100}):"
_SPOILT_BY_CERTIFICATE = "report.signature"
_OTHER_KEY = ("quote.ak_eq_runtime_claims", "quote.signature_by_ak")
USER_DATA_BYTES = 64


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return why the evidence is refused: by MAA's code, by the step that it names, and by verifying it here."""
    refusal = reading.refusal
    if refusal.step:
        yield from _of_step(reading, refusal.step, "proved")
    elif refusal.service == "report":
        yield from shown_by_evidence(reading)
    elif refusal.code == "PolicyParsingError":
        yield reading.find(
            "evidence.maa-policy-syntax", "likely", expected="a policy that parses", found=str(refusal)[:300]
        )
    elif refusal.code == "PolicyEvaluationError" or "A Deny claim was issued" in refusal.words:
        yield from _denied(reading)
    elif "AK cert" in refusal.words and "delayed" in refusal.words:
        yield reading.find("evidence.ak-certificate", "likely", expected="a certificate", found=str(refusal)[:300])
    elif refusal.status == 400 and refusal.service in ("maa", ""):
        named = re.search(_REFUSED_STEP, refusal.words)
        if named is not None:
            yield from _of_step(reading, named.group(1), "likely")
        elif refusal.code in ("InvalidParameter", "InvalidOperation"):
            yield from shown_by_evidence(reading)
            yield reading.find(
                "evidence.request", "possible", expected="a request as MAA takes it", found=str(refusal)[:300]
            )


def foresee(reading: Reading) -> Iterator[Finding]:
    """Return what the evidence alone shows, whatever was refused."""
    yield from shown_by_evidence(reading)


def _denied(reading: Reading) -> Iterator[Finding]:
    """Return which rule of the provider's policy denied: the newer answers name the claim."""
    claim = _denied_claim(reading)
    cause = "evidence.secure-boot-off" if claim in _SECURE_BOOT else "evidence.maa-policy"
    if claim == _DBX:
        cause = "evidence.dbx-not-validated"
    off = cause == "evidence.secure-boot-off" and _secure_boot(reading) is False
    yield reading.find(
        cause,
        "proved" if off else "likely",
        expected=f"{claim} true" if claim else "a policy that permits",
        found="false" if claim else str(reading.refusal)[:300],
        evidence=("The runtime claims say secure-boot false.",) if off else (),
    )
    if not claim:
        yield reading.find(
            "evidence.secure-boot-off", "possible", expected="secure boot", found="a denial that names no claim"
        )


def _denied_claim(reading: Reading) -> str:
    exchange = reading.refusal.exchange
    body = exchange.response_body if exchange else None
    error = body.get("error") if isinstance(body, dict) else None
    inner = error.get("innererror") if isinstance(error, dict) else None
    details = inner.get("details") if isinstance(inner, dict) else None
    for detail in details if isinstance(details, list) else ():
        target = detail.get("target") if isinstance(detail, dict) else None
        if isinstance(target, str) and re.fullmatch(_CLAIM_NAME, target):  # a recorder may have put a digest there
            return target
    named = re.search(_CLAIM, reading.refusal.words)
    return named.group(1) if named else ""


def _of_step(reading: Reading, step: str, certainty: Certainty) -> Iterator[Finding]:
    """Return the cause of a failed step; "proved" where the evidence of the case fails the same step here."""
    local = _culprit(reading)
    proved = local is not None and _same_cause(local.id, step)
    if local is not None and proved:
        yield _of_result(reading, local)
        return
    cause = _refined(reading, step) or "evidence.request"
    error = reading.refusal.error
    yield reading.find(
        cause,
        certainty,
        expected=str(error.get("expected") or f"evidence that holds at step {step}"),
        found=str(error.get("found") or reading.refusal)[:300],
        where=str(error.get("where") or ""),
        evidence=(f"step {step}",),
    )


def _same_cause(local: str, step: str) -> bool:
    return cause_of_step(local) == cause_of_step(step)


def shown_by_evidence(reading: Reading) -> Iterator[Finding]:
    """Return what verifying the evidence here shows: the step that fails, or a report of before the request."""
    culprit = _culprit(reading)
    if culprit is not None:
        yield _of_result(reading, culprit)
    yield from _stale(reading)


def _of_result(reading: Reading, step: StepResult) -> Finding:
    error = step.error
    return reading.find(
        _refined(reading, step.id) or "evidence.appraisal",
        "proved",
        expected=error.expected if error else f"step {step.id} to hold",
        found=error.found[:300] if error else step.detail[:300],
        where=error.where if error else "the evidence",
        evidence=(
            f"step {step.id}: {step.detail}"[:300],
            f"verified here against the roots of: {_roots_name(reading)}",
        ),
    )


def _refined(reading: Reading, step: str) -> str:
    """Return the cause of a step, where the rest of the case tells two apart that fail the same one."""
    cause = cause_of_step(step)
    if step in _OTHER_KEY and _is_other_vm(reading):
        return "evidence.report-other-vm"
    if step == "hcl.report_type_snp":
        report = _hcl(reading)
        return "machine.tdx" if report is not None and report.report_type.name == "TDX" else cause
    return cause


def _culprit(reading: Reading) -> StepResult | None:
    """Return the step to name: the first that failed, but a wrong certificate before the signature that it spoils."""
    failed = reading.verified.failed if reading.verified is not None else ()
    if not failed:
        return None
    wrong = [step for step in failed if step.id.startswith("bind.")]
    return wrong[0] if wrong and failed[0].id == _SPOILT_BY_CERTIFICATE else failed[0]


def _roots_name(reading: Reading) -> str:
    return reading.verified.root if reading.verified is not None else "nobody"


def _hcl(reading: Reading) -> HclReport | None:
    from skrkit.evidence.hcl import parse_hcl_report

    try:
        return parse_hcl_report(reading.case.evidence.get("hcl-report", b""))
    except SkrkitError:
        return None


def _runtime(reading: Reading) -> RuntimeClaims | None:
    report = _hcl(reading)
    try:
        return report.runtime_claims if report is not None else None
    except SkrkitError:
        return None


def _secure_boot(reading: Reading) -> Json:
    runtime = _runtime(reading)
    return runtime.vm_configuration.get("secure-boot") if runtime is not None else None


def _is_other_vm(reading: Reading) -> bool:
    """Return whether the report's vmUniqueId is another than IMDS's or Resource Manager's, where one is known."""
    runtime = _runtime(reading)
    known = reading.case.instance.get("vmId") or reading.part(reading.case.vm, "properties", "vmId")
    claimed = runtime.vm_configuration.get("vmUniqueId") if runtime is not None else None
    return isinstance(known, str) and isinstance(claimed, str) and known.lower() != claimed.lower()


def _stale(reading: Reading) -> Iterator[Finding]:
    """Return that the report is of before this request: its user-data is not what the client wrote for its nonce."""
    nonce, runtime = reading.case.asked.get("nonce", ""), _runtime(reading)
    if not nonce or runtime is None or not runtime.user_data:
        return
    expected = hashlib.sha512(nonce.encode()).digest()
    found = runtime.user_data.ljust(USER_DATA_BYTES, b"\0")
    if found != expected:
        yield reading.find(
            "evidence.report-stale",
            "proved",
            expected=f"user-data {expected.hex()[:32]}…, the SHA-512 of this request's nonce",
            found="zeros" if not any(found) else f"{found.hex()[:32]}…",
            where="runtime claims /user-data",
        )


def rollback(reading: Reading, certainty: Certainty) -> Iterator[Finding]:
    """Return that the host reports less than it has committed: firmware that went back, or a host that is careful.

    Healthy hosts elsewhere report so too: alone it is no failure, and next to a compliance status that is missing it is
    the reason.
    """
    report = reading.verified.report if reading.verified is not None else None
    if report is None:
        return
    committed, reported = report.tcb("committed_tcb"), report.tcb("reported_tcb")
    lower = committed.exceeds(reported)
    if lower:
        yield reading.find(
            "evidence.firmware-rollback",
            certainty,
            expected=f"REPORTED_TCB not below COMMITTED_TCB: {committed.words()}",
            found=f"{reported.words()}: lower in {', '.join(lower)}",
            where="SNP report REPORTED_TCB",
        )
