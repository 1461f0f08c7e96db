"""Step (9): the report against the reference values. Every finding is reported, whatever the others say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.attestation.reference import ReferenceValues
from skrkit.attestation.result import Run
from skrkit.errors import ParseError
from skrkit.evidence import snp_bits
from skrkit.evidence.runtime import RuntimeClaims
from skrkit.evidence.snp import SnpReport
from skrkit.evidence.tcb import Tcb
from skrkit.wire import where

if TYPE_CHECKING:
    from skrkit.endorsements.vek import VekCertificate

_ALLOWED = "set, which the reference values allow"


def appraise_report(
    run: Run,
    report: SnpReport,
    reference: ReferenceValues,
    *,
    vek: VekCertificate | None,
    claims: RuntimeClaims | None,
) -> None:
    """Add a step for each reference value. Source: AMD 56860, Attestation Report and Guest Policy."""
    _appraise_policy(run, report, reference)
    _appraise_vmpl(run, report, reference)
    _appraise_levels(run, report, reference)
    _appraise_identity(run, report, reference)
    _appraise_mitigations(run, report, reference)
    if reference.csp_id is not None:
        _appraise_text(run, "appraise.csp_id", reference.csp_id, None if vek is None else vek.csp_id, "the VLEK")
    if reference.vm_unique_id is not None:
        found: str | None = None
        try:
            found = claims.vm_unique_id.lower() if claims is not None else None
        except ParseError as error:
            run.error("appraise.vm_unique_id", error)
            return
        _appraise_text(run, "appraise.vm_unique_id", reference.vm_unique_id.lower(), found, "the runtime claims")


def _appraise_policy(run: Run, report: SnpReport, reference: ReferenceValues) -> None:
    debug = bool(report.policy & snp_bits.POLICY_DEBUG)
    run.check(
        "report.debug_off",
        not debug or reference.debug_allowed,
        detail=_ALLOWED if debug else "",
        where=f"{where(0x008, 8)}, bit 19",
        expected="0 (debugging is not allowed)",
        found="1: the host may decrypt the guest's memory",
        fix="Do not trust this guest with secrets; start it with a policy that forbids debugging.",
    )
    migrate = bool(report.policy & snp_bits.POLICY_MIGRATE_MA)
    run.check(
        "report.migrate_ma_off",
        not migrate or reference.migration_allowed,
        detail=_ALLOWED if migrate else "",
        where=f"{where(0x008, 8)}, bit 18",
        expected="0 (no migration agent)",
        found="1: a migration agent may be associated",
        fix="Start the guest with a policy that forbids migration agents, or allow migration if you trust the agent.",
    )
    agent = report.report_id_ma != b"\xff" * 32
    run.check(
        "report.no_migration_agent",
        not agent or reference.migration_allowed,
        detail="an agent is associated, which the reference values allow" if agent else "",
        where=where(0x160, 32),
        expected="32 bytes ff (no migration agent)",
        found=lambda: report.report_id_ma.hex(),
        fix="Allow migration only if you trust this agent.",
    )


def _appraise_vmpl(run: Run, report: SnpReport, reference: ReferenceValues) -> None:
    if reference.vmpl is None:
        run.notes.append(f"VMPL {report.vmpl} was not held against a reference value.")
        return
    run.check(
        "report.vmpl_0",
        report.vmpl == reference.vmpl,
        detail=f"VMPL {report.vmpl}",
        where=where(0x030, 4),
        expected=str(reference.vmpl),
        found=str(report.vmpl),
        fix="On Azure only the paravisor, at VMPL 0, makes reports; state the level if the guest asked for it itself.",
    )


def _appraise_levels(run: Run, report: SnpReport, reference: ReferenceValues) -> None:
    committed, current = report.tcb("committed_tcb"), report.tcb("current_tcb")
    provisional = committed.raw != current.raw or report.committed_version != report.current_version
    run.check(
        "tcb.committed_eq_current",
        not provisional or reference.provisional_firmware_allowed,
        detail="provisional firmware (committed below current), which is allowed" if provisional else "",
        where=where(0x1E0, 8),
        expected=lambda: f"CURRENT_TCB, {current.words()}, and the current version",
        found=lambda: f"{committed.words()}, version {'.'.join(map(str, report.committed_version))}",
        fix="Wait for the cloud to commit its firmware, or allow provisional firmware.",
    )
    if reference.minimum_tcb:
        _appraise_minimum(run, report.tcb("reported_tcb"), dict(reference.minimum_tcb))


def _appraise_minimum(run: Run, reported: Tcb, minimum: dict[str, int]) -> None:
    found = reported.components
    low = [name for name, level in minimum.items() if name not in found or found[name] < level]
    run.check(
        "appraise.minimum_tcb",
        not low,
        detail=reported.words(),
        where=where(0x180, 8),
        expected=", ".join(f"{name} {level}" for name, level in minimum.items()) + " or higher, each",
        found=", ".join(f"{name} {found[name]}" if name in found else f"no {name}" for name in low),
        fix="The host needs a firmware update, or the minimum is of another product line.",
    )


def _appraise_identity(run: Run, report: SnpReport, reference: ReferenceValues) -> None:
    host_data = () if reference.host_data is None else (reference.host_data,)
    report_data = () if reference.report_data is None else (reference.report_data,)
    for step, at, allowed, found in (
        ("appraise.measurement", 0x090, reference.measurements, report.measurement),
        ("appraise.host_data", 0x0C0, host_data, report.host_data),
        ("appraise.report_data", 0x050, report_data, report.report_data),
        ("appraise.id_key_digest", 0x0E0, reference.id_key_digests, report.id_key_digest),
        ("appraise.chip_id", 0x1A0, reference.chip_ids, report.chip_id),
    ):
        if allowed:
            run.check(
                step,
                found in allowed,
                detail=found.hex(),
                where=where(at, len(found)),
                expected=" or ".join(value.hex() for value in allowed),
                found=found.hex(),
                fix="This is not the guest, image or machine that the reference value is of; or the value is stale.",
            )
    if reference.minimum_guest_svn is not None:
        run.check(
            "appraise.guest_svn",
            report.guest_svn >= reference.minimum_guest_svn,
            detail=str(report.guest_svn),
            where=where(0x004, 4),
            expected=f"{reference.minimum_guest_svn} or higher",
            found=str(report.guest_svn),
            fix="The guest's image or paravisor is too old.",
        )


def _appraise_mitigations(run: Run, report: SnpReport, reference: ReferenceValues) -> None:
    vectors = report.mitigations
    for step, at, index, required in (
        ("appraise.launch_mitigations", 0x1F8, 0, reference.launch_mitigations),
        ("appraise.current_mitigations", 0x200, 1, reference.current_mitigations),
    ):
        if required:
            run.check(
                step,
                vectors is not None and vectors[index] & required == required,
                detail=f"0x{required:x}",
                where=where(at, 8),
                expected=f"bits 0x{required:x}",
                found="no such field below version 5" if vectors is None else f"0x{vectors[index]:x}",
                fix="The host's firmware does not vouch for these mitigations.",
            )


def _appraise_text(run: Run, step: str, expected: str, found: str | None, place: str) -> None:
    run.check(
        step,
        found == expected,
        detail=expected,
        where=place,
        expected=expected,
        found="nothing" if found is None else found,
        fix="This is not the machine or cloud that the reference value is of.",
    )
