"""Steps (2) and part of (5): what a genuine report looks like, whoever signed it. Field checks: each is reported."""

from __future__ import annotations

from functools import partial

from skrkit.attestation.result import Run
from skrkit.evidence import snp_bits
from skrkit.evidence.snp import SnpReport
from skrkit.evidence.tcb import Tcb
from skrkit.wire import where

# The order of the group of P-384. Source: SEC 2, section 2.5.1.
P384_ORDER = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
ECDSA_P384_SHA384 = 1
HIGHEST_VMPL = 3
_TAMPERED = "No genuine report looks like this: it was changed, or is of a newer format. Read it again."
_UNSIGNED = "The host chose not to sign: there is nothing to verify. Ask the cloud for a signed report."


def check_form(run: Run, report: SnpReport) -> None:
    """Add the steps that look at the report's own fields. Source: AMD 56860, Attestation Report."""
    run.ok("report.version_known", f"version {report.version}")
    policy, key_info = report.policy, report.key_info
    run.check(
        "report.policy_bit17_is_one",
        bool(policy & snp_bits.POLICY_RESERVED_ONE),
        detail=f"POLICY 0x{policy:x}",
        where=where(0x008, 8),
        expected="1",
        found="0",
        fix=_TAMPERED,
    )
    run.check(
        "report.policy_high_bits_zero",
        policy >> snp_bits.POLICY_RESERVED_SHIFT == 0,
        where=where(0x008, 8),
        expected="0",
        found=f"POLICY 0x{policy:x}",
        fix=_TAMPERED,
    )
    run.check(
        "report.vmpl_in_range",
        report.vmpl <= HIGHEST_VMPL,
        detail=f"VMPL {report.vmpl}",
        where=where(0x030, 4),
        expected="0 to 3",
        found=str(report.vmpl) if report.vmpl != 0xFFFFFFFF else "0xffffffff (asked for by the host)",
        fix="Ask for the report from inside the guest.",
    )
    _check_signer(run, report, key_info)
    reserved = report.reserved_set()
    run.check(
        "report.reserved_ranges_zero",
        not reserved,
        where=", ".join(where(row.offset, row.size) for row in reserved),
        expected="zeros",
        found="bytes that are not zero",
        fix=_TAMPERED,
    )
    run.check(
        "report.signature_present",
        0 < report.signature_r < P384_ORDER and 0 < report.signature_s < P384_ORDER,
        where=where(0x2A0, 144),
        expected="R and S from 1 to below the order of P-384",
        found=lambda: _signature_words(report),
        fix=_UNSIGNED if not report.signature_r or not report.signature_s else _TAMPERED,
    )


def _check_signer(run: Run, report: SnpReport, key_info: int) -> None:
    run.check(
        "report.signature_algo_1",
        report.signature_algo == ECDSA_P384_SHA384,
        detail="ECDSA P-384 with SHA-384",
        where=where(0x034, 4),
        expected="1 (ECDSA P-384 with SHA-384)",
        found=str(report.signature_algo),
        fix=_TAMPERED,
    )
    run.check(
        "report.key_info_reserved_zero",
        key_info >> snp_bits.KEY_INFO_RESERVED_SHIFT == 0,
        where=where(0x048, 4),
        expected="0",
        found=f"KEY_INFO 0x{key_info:x}",
        fix=_TAMPERED,
    )
    number = snp_bits.signing_key(key_info)
    run.check(
        "report.signing_key_known",
        number in (snp_bits.VCEK, snp_bits.VLEK),
        detail=report.signing_key,
        where=where(0x048, 4),
        expected="0 (VCEK) or 1 (VLEK)",
        found=f"{number} ({report.signing_key})",
        fix=_UNSIGNED if number == snp_bits.UNSIGNED else _TAMPERED,
    )
    run.check(
        "report.chip_key_not_masked",
        not key_info & snp_bits.MASK_CHIP_KEY,
        where=where(0x048, 4),
        expected="0",
        found="1: the host masks the chip's key, the report is not signed",
        fix=_UNSIGNED,
    )


def _signature_words(report: SnpReport) -> str:
    for name, value in (("R", report.signature_r), ("S", report.signature_s)):
        if value == 0:
            return f"{name} is zero: the report is not signed"
        if value >= P384_ORDER:
            return f"{name} is 0x{value:x}"
    return "both in range"


def check_levels(run: Run, report: SnpReport) -> None:
    """Add the steps that compare the report's TCB values and versions. Source: AMD 56860, TCB_VERSION."""
    current, committed, reported = (report.tcb(f"{name}_tcb") for name in ("current", "committed", "reported"))
    fix = "This is impossible on real hardware: the report was changed, or read with another product line's layout."
    for step, at, lower in (
        ("tcb.committed_le_current", 0x1E0, committed),
        ("tcb.reported_le_current", 0x180, reported),
    ):
        higher = lower.exceeds(current)
        run.check(
            step,
            not higher,
            detail=lower.hex,
            where=where(at, 8),
            expected=lambda: f"no component above CURRENT_TCB: {current.words()}",
            found=partial(_above, higher, lower),
            fix=fix,
        )
    launch = report.tcb("launch_tcb")
    if report.tcb_layout is None:
        run.skip("tcb.reserved_bytes_zero", "the product line is not known, and so neither is the layout")
    else:
        odd = [tcb.hex for tcb in (current, committed, reported, launch) if tcb.reserved_nonzero]
        run.check(
            "tcb.reserved_bytes_zero",
            not odd,
            where="the TCB values at 0x38, 0x180, 0x1E0 and 0x1F0",
            expected="zeros",
            found=", ".join(odd),
            fix=fix,
        )
    run.check(
        "version.committed_le_current",
        report.committed_version <= report.current_version,
        detail=_dotted(report.committed_version),
        where=where(0x1EC, 3),
        expected=f"at most the current {_dotted(report.current_version)}",
        found=_dotted(report.committed_version),
        fix=fix,
    )
    if reported.exceeds(committed):
        run.notes.append(f"REPORTED_TCB ({reported.words()}) is above COMMITTED_TCB ({committed.words()}).")
    if launch.exceeds(current):
        run.notes.append(f"LAUNCH_TCB ({launch.words()}) is above CURRENT_TCB ({current.words()}).")


def _above(higher: tuple[str, ...], lower: Tcb) -> str:
    return f"{', '.join(higher)} above it: {lower.words()}"


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
