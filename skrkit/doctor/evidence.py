"""What the VM says of itself: report, certificates, attestation key, PCRs, event log. Verified here, by skrkit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skrkit.doctor.check import NETWORK_LIMIT_S, Check, Outcome, failed, not_checked, ok, warning
from skrkit.doctor.machine import read_report
from skrkit.doctor.remedy import cause_shown
from skrkit.errors import ParseError, ServiceError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from skrkit.attestation.result import AttestationResult, StepResult
    from skrkit.doctor.visit import Visit
    from skrkit.tpm.client import Tpm
    from skrkit.wire import Json

_REBUILT_AFTER_S = 2.2  # the paravisor makes a new report once in two seconds, and gives the old one in between
_PLACEHOLDER = "MICROSOFT AZURE TRUSTED VM RSA"  # the issuer of an AK certificate that is yet to come
_DEBUG = "report.debug_off"
_SHA256, _CAP_PCRS = 0x000B, 0x00000005
_BANK_NAMES = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}


def _fresh(visit: Visit) -> Outcome:
    from skrkit.evidence.hcl import parse_hcl_report
    from skrkit.services.attester import HCL_REPORT_INDEX

    hcl = read_report(visit)
    wanted = hashlib.sha512(visit.nonce.encode()).digest()
    waited = False
    if hcl.runtime_claims.user_data != wanted:  # it was read less than two seconds ago by somebody else
        time.sleep(_REBUILT_AFTER_S)
        hcl = visit.hcl = parse_hcl_report(visit.attester.tpm.nv_read(HCL_REPORT_INDEX))
        waited = True
    if hcl.runtime_claims.user_data != wanted:
        return failed(
            "The report does not carry the user data written before it was read: "
            f"{_prefix(hcl.runtime_claims.user_data)} and not {_prefix(wanted)}.",
            cause="evidence.report-stale",
        )
    after = f", after a wait of {_REBUILT_AFTER_S} s" if waited else ""
    return ok(f"The report carries the user data written just before ({_prefix(wanted)}){after}.")


def _prefix(data: bytes) -> str:
    return f"{data[:8].hex()}…" if data else "none"


def _verified(visit: Visit, **more: object) -> AttestationResult:
    """Return what the local verifier says of the report and its certificates, and of what else is given."""
    from skrkit.attestation.verifier import Evidence, verify_evidence

    assert visit.hcl is not None, "checks that come here need report.fresh"
    evidence = Evidence(
        hcl=visit.hcl.raw,
        vek=visit.certificates["vcekCert"].encode() if visit.certificates else None,
        chain=visit.certificates["certificateChain"].encode() if visit.certificates else b"",
        **more,  # type: ignore[arg-type]  # members of Evidence, given by name below
    )
    cloud = visit.vm_side
    return verify_evidence(evidence, now=cloud.now(), roots=cloud.amd_roots())


def _endorsed(visit: Visit) -> Outcome:
    from skrkit.services.imds import fetch_thim_certificates

    visit.certificates = fetch_thim_certificates(visit.heard(visit.vm_side))
    result = _verified(visit)
    wrong = _not_ok(visit, [step for step in result.steps if step.id != _DEBUG])  # whose own check is report.debug-off
    if wrong:
        return wrong
    report = result.report
    assert report is not None, "every step of it is ok"
    line = report.product.name if report.product else "unknown line"
    chip, tcb = report.chip_id.hex(), report.tcb("reported_tcb").hex
    said = f"The host's VCEK is of chip {chip[:16]}… ({line}) at TCB {tcb}, leads to the {result.root} root"
    facts: dict[str, Json] = {"product": line, "chip_id": chip, "reported_tcb": tcb, "root": result.root}
    return ok(f"{said}, and verifies the report.", facts)


def _debug_off(visit: Visit) -> Outcome:
    wrong = _not_ok(visit, _steps(_verified(visit), _DEBUG))
    return wrong or ok("POLICY of the report does not allow debugging: the host cannot read the guest's memory.")


def _not_ok(visit: Visit, steps: Sequence[StepResult]) -> Outcome | None:
    """Return what stands against these steps of the verifier: that one failed, that one could not be checked; or None.

    No step at all is no pass either.
    """
    wrong = [step for step in steps if step.verdict == "failed"]
    if not wrong:
        open_ones = [f"{step.id}: {step.detail}" for step in steps if step.verdict == "not-checked"]
        if open_ones or not steps:
            return not_checked(f"Could not be checked: {'; '.join(open_ones) or 'nothing was verified'}.")
        return None
    names = [step.id for step in wrong]
    visit.evidence = evidence_so_far(visit)
    cause, fix = cause_shown(visit)
    said = f"{', '.join(names)} failed. {names[0]}: {wrong[0].detail}."
    own = wrong[0].error.fix if wrong[0].error is not None else ""
    return failed(said, {"failed_steps": list(names)}, fix=fix or own, cause=cause)


def _steps(result: AttestationResult, prefix: str) -> list[StepResult]:
    return [step for step in result.steps if step.id.startswith(prefix)]


def _ak_certificate(visit: Visit) -> Outcome:
    from skrkit.services.attester import AK_CERTIFICATE_INDEX, AK_HANDLE

    tpm = visit.attester.tpm
    try:
        certificate = _der(tpm.nv_read(AK_CERTIFICATE_INDEX))
    except (ServiceError, ParseError) as absent:
        if isinstance(absent, ServiceError) and absent.code not in ("TPM_RC_HANDLE", "TPM_RC_NV_UNINITIALIZED"):
            raise
        said = f"NV index 0x01C101D0 holds no certificate: {absent.found}."
        return failed(said, cause="evidence.ak-certificate")
    issuer = certificate.issuer.rfc4514_string()
    if _PLACEHOLDER in issuer.upper():
        said = f"The AK certificate is a placeholder, issued by {issuer}: the real one is yet to come."
        return failed(said, cause="evidence.ak-certificate")
    wrong = _dates(certificate, visit.vm_side.now())
    if wrong:
        return failed(wrong, cause="evidence.ak-certificate")
    return _same_key(visit, tpm, certificate, AK_HANDLE)


def _der(data: bytes) -> x509.Certificate:
    """Return the certificate at the front of an NV index: zeros follow it in one of the platform's making."""
    from skrkit.endorsements.certificate import exact_certificate

    size = int.from_bytes(data[2:4], "big") + 4 if data[:2] == b"\x30\x82" else len(data)
    try:
        return exact_certificate(data[:size])
    except ValueError as cause:
        raise ParseError(
            what="AK certificate",
            where="NV index 0x01C101D0",
            expected="an X.509 certificate in DER",
            found="zeros" if not any(data) else f"{len(data)} bytes that are none",
            fix="Wait for the platform to write it, and reboot if it does not.",
        ) from cause


def _dates(certificate: x509.Certificate, now: datetime) -> str:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if start <= now <= end:
        return ""
    return f"The AK certificate is valid from {start.date()} to {end.date()}, and it is {now.date()} here."


def _same_key(visit: Visit, tpm: Tpm, certificate: x509.Certificate, handle: int) -> Outcome:
    """Return whether the certificate, the key at the handle and HCLAkPub of the report are one key."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    in_tpm = tpm.read_public(handle).rsa_numbers()[0]
    assert visit.hcl is not None, "this check needs report.fresh"
    in_report = visit.hcl.runtime_claims.key("HCLAkPub").public_numbers()[0]
    public = certificate.public_key()
    certified = public.public_numbers().n if isinstance(public, rsa.RSAPublicKey) else 0
    if in_tpm != in_report:
        said = "The key at 0x81000003 is not HCLAkPub of the report"
        if certified == in_tpm:  # Azure has certified this vTPM's key, so it is the report that is not of here
            said += ", and Azure has certified it: the report is of another VM."
            return failed(said, cause="evidence.report-other-vm")
        return failed(f"{said}: nothing that it signs counts for this VM.", cause="evidence.ak-not-in-report")
    if certified != in_tpm:
        said = "The AK certificate is of another key than the one at 0x81000003."
        return failed(said, cause="evidence.ak-certificate")
    issuer = certificate.issuer.rfc4514_string()
    end = certificate.not_valid_after_utc.date().isoformat()
    said = f"Key 0x81000003, its certificate (by {issuer}, until {end}) and HCLAkPub of the report are one key."
    return ok(said, {"issuer": issuer, "not_after": end})


def _pcr_banks(visit: Visit) -> Outcome:
    tpm = visit.attester.tpm
    banks = active_banks(tpm.get_capability(_CAP_PCRS, 0, 16)[1])
    names = [_BANK_NAMES.get(bank, f"0x{bank:04x}") for bank in banks]
    if _SHA256 not in banks:
        fix = "Set the firmware to a SHA-256 PCR bank: Azure Attestation takes no other."
        return failed(f"Active banks: {', '.join(names) or 'none'}. SHA-256 is not among them.", fix=fix)
    visit.pcrs = tpm.pcr_read(visit.attester.pcrs)
    nothing = [index for index, value in visit.pcrs.items() if not any(value)]
    said = f"Active banks: {', '.join(names)}. Attested: PCR {', '.join(map(str, visit.pcrs))} of sha256."
    if 0 in nothing:
        return warning(f"{said} PCR 0 is zero: the firmware measured nothing.", {"banks": list(names)})
    return ok(said, {"banks": list(names)})


def active_banks(data: bytes) -> tuple[int, ...]:
    """Return the algorithm ids of the PCR banks with a PCR in them, out of a TPML_PCR_SELECTION."""
    from skrkit.tpm.pcr import parse_selections

    return tuple(selection.alg for selection in parse_selections(data) if selection.pcrs)


def _quote(visit: Visit) -> Outcome:
    from skrkit.services.attester import AK_HANDLE

    nonce = hashlib.sha256(visit.nonce.encode()).digest()
    attester = visit.attester
    quote, signature = visit.quote = attester.tpm.quote(AK_HANDLE, attester.pcrs, nonce)
    result = _verified(visit, quote=quote, quote_signature=signature, pcrs=visit.pcrs, nonce=nonce)
    wrong = _not_ok(visit, _steps(result, "quote."))
    return wrong or ok("A quote over a nonce of this visit holds: signed by HCLAkPub, over these PCR values.")


def _event_log(visit: Visit) -> Outcome:
    if visit.vm_side.event_log is None:
        said = "Where this system keeps its event log is not known to skrkit."
        return not_checked(said, fix="Save it, and hold it against the PCRs: skrkit verify … --event-log FILE")
    try:
        visit.event_log = visit.vm_side.read_event_log()
    except UsageError as unreadable:
        said = f"{unreadable.where}: {unreadable.found}. Azure Attestation gets no log then, and knows no secure boot."
        return not_checked(said, fix="Run it with sudo: the kernel shows this log to root alone.")
    quote, signature = visit.quote
    result = _verified(
        visit,
        quote=quote,
        quote_signature=signature,
        pcrs=visit.pcrs,
        event_log=visit.event_log,
        nonce=hashlib.sha256(visit.nonce.encode()).digest(),
    )
    wrong = _not_ok(visit, _steps(result, "eventlog."))
    if wrong:
        return wrong
    details = {step.id: step.detail for step in result.steps}
    counted, replayed = details["eventlog.parse"], details["eventlog.replay_eq_pcrs"]
    return ok(f"{counted}; they replay to {replayed}, the values that were quoted.")


def _secure_boot(visit: Visit) -> Outcome:
    from skrkit.evidence.eventlog import parse_event_log

    assert visit.hcl is not None, "this check needs report.fresh"
    claimed = visit.hcl.runtime_claims.vm_configuration.get("secure-boot")
    measured = parse_event_log(visit.event_log).secure_boot() if visit.event_log else None
    facts: dict[str, Json] = {"paravisor_says": claimed, "log_says": measured}
    said = f"Paravisor: secure-boot {_word(claimed)}. Event log: SecureBoot {_word(measured)}."
    if claimed is False or measured is False:
        return failed(said, facts, cause="evidence.secure-boot-off")
    if measured is None:
        return not_checked(f"{said} Without the log Azure Attestation does not take it for on.", facts)
    return ok(said, facts)


def _word(value: object) -> str:
    return {True: "on", False: "off"}.get(value, "not said") if isinstance(value, bool) else "not said"


def evidence_so_far(visit: Visit) -> dict[str, bytes]:
    """Return the evidence that the checks have read, by the names of a case."""
    from skrkit.doctor.kept import pcrs_json

    files = {
        "hcl-report": visit.hcl.raw if visit.hcl else b"",
        "vcek": visit.certificates.get("vcekCert", "").encode(),
        "chain": visit.certificates.get("certificateChain", "").encode(),
        "quote": visit.quote[0],
        "quote-signature": visit.quote[1],
        "pcrs": pcrs_json(visit.pcrs) if visit.pcrs else b"",
        "event-log": visit.event_log,
    }
    return {name: data for name, data in files.items() if data}


REPORT_CHECKS = (
    Check(
        id="report.fresh",
        title="The report is fresh",
        proves="Reading 0x01400001 makes a new report over what was written to 0x01400002: nobody plays an old one.",
        side="inside",
        needs=("machine.kind", "vtpm.nv-indexes"),
        run=_fresh,
    ),
)
ENDORSEMENT_CHECKS = (
    Check(
        id="report.endorsed",
        title="VCEK and chain match the report",
        proves="The host hands out the certificates of this very chip and firmware, and they verify the report.",
        side="inside",
        needs=("report.fresh", "imds.reachable"),
        limit_s=NETWORK_LIMIT_S,
        run=_endorsed,
    ),
)
DEBUG_CHECKS = (  # after the policy, which may have asked: then it is the policy that says no
    Check(
        id="report.debug-off",
        title="Nobody may debug this guest",
        proves="The processor keeps the guest's memory from the host: debugging is not allowed in its launch policy.",
        side="inside",
        needs=("report.endorsed",),
        run=_debug_off,
    ),
)
TPM_CHECKS = (
    Check(
        id="ak.certificate",
        title="The attestation key and its certificate",
        proves="The vTPM's attestation key is certified by Azure, and is the one that the report vouches for.",
        side="inside",
        needs=("report.fresh",),
        run=_ak_certificate,
    ),
    Check(
        id="pcr.banks",
        title="PCR banks",
        proves="The vTPM measures into SHA-256 PCRs, which attestation is about.",
        side="inside",
        needs=("vtpm.reachable",),
        run=_pcr_banks,
    ),
    Check(
        id="quote.holds",
        title="A quote holds",
        proves="The vTPM signs these PCR values with the key of the report, over a nonce that did not exist before.",
        side="inside",
        needs=("report.fresh", "pcr.banks"),
        run=_quote,
    ),
    Check(
        id="event-log.replays",
        title="The event log replays",
        proves="The boot event log is readable, and its events lead to exactly these PCR values.",
        side="inside",
        needs=("quote.holds",),
        run=_event_log,
    ),
    Check(
        id="secure-boot.on",
        title="Secure boot",
        proves="Firmware and paravisor both say that secure boot was on, as Microsoft's providers ask.",
        side="inside",
        needs=("report.fresh",),
        run=_secure_boot,
    ),
)
