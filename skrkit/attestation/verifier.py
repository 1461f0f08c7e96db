"""The local verifier: evidence and endorsements in, a result with named steps out. Pure: bytes and a time.

The protocol. Each id is stable and stands in `skrkit.attestation.steps`.

(1) container   `hcl.*`: the blob's headers agree with each other and with its size; it holds an SNP report and claims
(2) form        `report.*`: version, reserved bits and bytes, signer, a signature that can be one
(3) chain       `vek.*`, `chain.*`: the VEK under the intermediate under a root whose key is pinned; names, dates
(4) signature   `report.signature`: over bytes 0x000-0x29F as received, by the VEK's key
(5) binding     `bind.*`, `tcb.*`, `version.*`: product line, each TCB component, the chip
(6) claims      `hcl.report_data_*`: the runtime claims, and with them the attestation key, hash to REPORT_DATA
(7) quote       `quote.*`: signed by that attestation key, over the nonce and over the PCR values given
(8) event log   `eventlog.*`: replays to those PCR values
(9) appraisal   `report.debug_off`, `report.vmpl_0`, `appraise.*`...: against the reference values

Signature checks stop at the first that fails: what depends on it is "not-checked", with the reason. Field checks are
independent of each other, and all are reported. What is missing is "not-checked" and makes the verdict "incomplete":
the VEK, the chain, the root; a signature, a key or PCR values for a quote that is there; PCR values for an event log.
A quote, a nonce and an event log are evidence that one may have or not: without them their steps are not part of the
run, and a note says what is not shown. Not checked at all, and noted: revocation (no CRL is taken).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from skrkit.attestation.appraise import appraise_report
from skrkit.attestation.binding import (
    check_chip,
    check_levels_match,
    check_lines,
    check_report_data,
    check_signature,
    identify,
)
from skrkit.attestation.chain import check_certificates
from skrkit.attestation.form import check_form, check_levels
from skrkit.attestation.quote import check_event_log, check_quote
from skrkit.attestation.reference import Evidence, ReferenceValues
from skrkit.attestation.result import AttestationResult, Run, StepResult
from skrkit.endorsements.roots import AMD_ROOTS
from skrkit.errors import ParseError, UsageError
from skrkit.evidence.hcl import HEADER_BYTES, SIGNATURE, HashType, HclReport, ReportType, parse_hcl_report
from skrkit.evidence.runtime import RuntimeClaims, parse_runtime_claims
from skrkit.evidence.snp import REPORT_BYTES, SnpReport, parse_snp_report
from skrkit.evidence.td_report import TD_REPORT_BYTES
from skrkit.wire import is_zero, where

if TYPE_CHECKING:
    from skrkit.endorsements.roots import TrustRoots

__all__ = ["AttestationResult", "Evidence", "ReferenceValues", "StepResult", "verify_evidence"]

REPORT_DATA_OFFSET = 0x050
_DEFAULTS = ReferenceValues()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """What the container held: the report, and the runtime data with its hash and its claims, if there are any."""

    report: SnpReport | None = None
    runtime_data: bytes | None = None
    hash_type: HashType = HashType.SHA256
    claims: RuntimeClaims | None = None
    offset: int = 0


def verify_evidence(
    evidence: Evidence,
    *,
    now: datetime,
    roots: TrustRoots = AMD_ROOTS,
    reference: ReferenceValues = _DEFAULTS,
) -> AttestationResult:
    """Return what every step says that the given evidence allows. The protocol stands at the top of this module.

    `now` (aware) is the time that certificates are held against. Bad evidence never raises: it is a failed step.
    Raises `UsageError` for a `now` without a time zone.
    Sources: AMD 56860 and 57230; what binds an Azure VM's vTPM to the report, github.com/kinvolk/azure-cvm-tooling.
    """
    if now.tzinfo is None:
        raise UsageError(
            what="time of verification",
            where="argument `now`",
            expected="a datetime with a time zone",
            found=now.isoformat(),
            fix="Pass datetime.now(timezone.utc), or the time that the evidence is of.",
        )
    run = Run()
    raw = evidence.hcl if evidence.hcl is not None else evidence.snp or b""
    contents = _open_hcl(run, raw) if evidence.hcl is not None else _open_snp(run, raw, evidence.runtime_data)  # (1)
    report = contents.report
    if report is not None:
        report = _verify_report(run, report, evidence, contents, now=now, roots=roots, reference=reference)
    return run.result(report=report, root=roots.name, raw=raw)


def _verify_report(
    run: Run,
    report: SnpReport,
    evidence: Evidence,
    contents: _Contents,
    *,
    now: datetime,
    roots: TrustRoots,
    reference: ReferenceValues,
) -> SnpReport:
    check_form(run, report)  # (2)
    endorsed = check_certificates(run, evidence, report, now=now, roots=roots)  # (3)
    vek = endorsed.vek
    check_signature(run, report, vek)  # (4)
    check_lines(run, report, endorsed)  # (5)
    report = identify(report, vek)
    check_levels_match(run, report, vek)
    check_chip(run, report, vek, reference)
    check_levels(run, report)
    if contents.runtime_data is not None:  # (6)
        at = contents.offset + REPORT_DATA_OFFSET
        check_report_data(run, report.report_data, contents.runtime_data, contents.hash_type, at=at)
    elif evidence.nonce is not None and evidence.quote is None:
        _check_report_nonce(run, report, evidence.nonce)
    check_quote(run, evidence, contents.claims)  # (7)
    check_event_log(run, evidence)  # (8)
    appraise_report(run, report, reference, vek=vek, claims=contents.claims)  # (9)
    run.notes.append("Revocation was not checked: no CRL is taken.")
    return report


def _open_hcl(run: Run, data: bytes) -> _Contents:
    try:
        hcl = parse_hcl_report(data)
    except ParseError as error:
        run.error("hcl.parse", error)
        if data[:4] != SIGNATURE:
            run.verdict = "wrong-kind"
        return _Contents()
    run.ok("hcl.parse", f"{len(data)} bytes")
    run.ok("hcl.header_version_known", f"version {hcl.version}")
    run.ok("hcl.data_size_consistent", f"{hcl.report_size} bytes used, {len(hcl.runtime_data)} of them claims")
    run.check(
        "hcl.status_zero",
        hcl.status == 0,
        where=where(0x010, 4),
        expected="0",
        found=f"0x{hcl.status:x}",
        fix="The paravisor could not make this report: read NV index 0x01400001 again.",
    )
    claims = _open_claims(run, hcl.runtime_data)
    report = _open_hardware_report(run, hcl)
    if not is_zero(hcl.padding):
        run.notes.append("The bytes after the claims are not zero; nothing covers them, and they are ignored.")
    return _Contents(
        report=report,
        runtime_data=hcl.runtime_data,
        hash_type=hcl.hash_type,
        claims=claims,
        offset=HEADER_BYTES,
    )


def _open_claims(run: Run, data: bytes) -> RuntimeClaims | None:
    try:
        claims = parse_runtime_claims(data)
    except ParseError as error:
        run.error("hcl.runtime_claims", error)
        return None
    run.ok("hcl.runtime_claims", ", ".join(key.kid for key in claims.keys))
    return claims


def _open_hardware_report(run: Run, hcl: HclReport) -> SnpReport | None:
    try:
        if hcl.report_type is ReportType.SNP:
            run.ok("hcl.report_type_snp")
            return _parse_report(run, hcl.hardware_report)
        hcl.snp()
    except ParseError as error:
        run.error("hcl.report_type_snp", error)
        run.verdict = "tdx-report" if hcl.report_type is ReportType.TDX else "wrong-kind"
    if hcl.report_type is ReportType.TDX:
        _check_td_report(run, hcl)
    return None


def _parse_report(run: Run, data: bytes) -> SnpReport | None:
    try:
        return parse_snp_report(data)
    except ParseError as error:
        is_sized = len(data) == REPORT_BYTES
        run.error("report.version_known" if is_sized else "report.parse", error)
        run.verdict = "unknown-version" if is_sized else "wrong-kind"
        return None


def _open_snp(run: Run, data: bytes, runtime_data: bytes | None) -> _Contents:
    report = _parse_report(run, data)
    claims = None
    if runtime_data is not None and report is not None:
        try:
            claims = parse_runtime_claims(runtime_data)
        except ParseError:  # a plain guest binds what it likes; only an HCL report promises claims
            run.notes.append("The runtime data are not Azure's runtime claims: no attestation key is taken from them.")
    return _Contents(report=report, runtime_data=runtime_data, claims=claims)


def _check_td_report(run: Run, hcl: HclReport) -> None:
    """Add what can be said of a TDREPORT without Intel's certificates: its own hashes and the binding of the claims."""
    try:
        report = hcl.td_report()
    except ParseError as error:
        run.error("report.parse", error)
        return
    fix = "The blob was changed. Read NV index 0x01400001 again."
    for step, holds, at, size, expected in (
        ("tdx.tee_tcb_info_hash", report.holds_tcb_info_hash, 0x40, 48, "SHA-384 of TEE_TCB_INFO"),
        ("tdx.tee_info_hash", report.holds_info_hash, 0x70, 48, "SHA-384 of TDINFO"),
        ("tdx.debug_off", not report.is_debug, 0x220, 8, "bit 0 of TD attributes not set"),
        ("tdx.padding_zero", is_zero(hcl.hardware_report[TD_REPORT_BYTES:]), 0x420, 160, "zeros"),
    ):
        run.check(step, holds, detail="", where=where(at, size), expected=expected, found="something else", fix=fix)
    check_report_data(run, report.report_data, hcl.runtime_data, hcl.hash_type, at=HEADER_BYTES + 0x80)


def _check_report_nonce(run: Run, report: SnpReport, nonce: bytes) -> None:
    size = len(report.report_data)
    run.check(
        "report.nonce",
        0 < len(nonce) <= size and report.report_data == nonce.ljust(size, b"\0"),
        detail=f"{len(nonce)} bytes",
        where=where(REPORT_DATA_OFFSET, size),
        expected=f"{nonce.hex() or 'a nonce of 1 to 64 bytes'}, then zeros",
        found=report.report_data.hex(),
        fix="Ask the guest for a fresh report over the nonce that you chose.",
    )
