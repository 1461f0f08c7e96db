"""Steps (4) to (6): the report's signature, the report against the certificates, and the runtime claims against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.attestation.chain import SIGNATURE_STEPS, Endorsed, missing_vek
from skrkit.attestation.reference import ReferenceValues
from skrkit.attestation.result import Run
from skrkit.evidence.hcl import HashType
from skrkit.evidence.snp import SnpReport
from skrkit.evidence.tcb import LAYOUTS, Product
from skrkit.wire import is_zero, where

if TYPE_CHECKING:
    from skrkit.endorsements.vek import VekCertificate

_BEFORE_SIGNATURE = (
    "report.signature_algo_1",
    "report.signing_key_known",
    "report.chip_key_not_masked",
    "report.signature_present",
    "vek.cn_matches_signing_key",
    "vek.key_p384",
    *SIGNATURE_STEPS,
)
_TCB_STEPS = {
    "fmc": ("bind.fmcSPL_eq_reported_fmc", "fmcSPL"),
    "bootloader": ("bind.blSPL_eq_reported_bootloader", "blSPL"),
    "tee": ("bind.teeSPL_eq_reported_tee", "teeSPL"),
    "snp": ("bind.snpSPL_eq_reported_snp", "snpSPL"),
    "microcode": ("bind.ucodeSPL_eq_reported_microcode", "ucodeSPL"),
}


def check_signature(run: Run, report: SnpReport, vek: VekCertificate | None) -> None:
    """Add step (4): ECDSA P-384 with SHA-384 over bytes 0x000-0x29F as received, with the VEK's key (C14)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    failed = run.first_failed(_BEFORE_SIGNATURE)
    key = None if vek is None else vek.amd.ec_key()
    if failed is not None or key is None:
        why = f"{failed} failed" if failed is not None else _no_vek(run, report)
        run.skip("report.signature", why)
        return
    try:
        signature = encode_dss_signature(report.signature_r, report.signature_s)
        key.verify(signature, report.signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        run.fail(
            "report.signature",
            where=where(0x2A0, 144),
            expected="a signature over bytes 0x000-0x29F by the key of the certificate",
            found="a signature that this key did not make over these bytes",
            fix="If bind.hwID_eq_chip_id failed too, the certificate is of another machine: fetch this chip's. "
            "If not, the report was changed, or the key was issued anew.",
            source="AMD 56860, Attestation Report, SIGNATURE",
        )
    else:
        run.ok("report.signature", "ECDSA P-384 with SHA-384 over 672 bytes")


def _no_vek(run: Run, report: SnpReport) -> str:
    return "vek.parse failed" if run.first_failed(("vek.parse",)) else missing_vek(report)


def check_lines(run: Run, report: SnpReport, endorsed: Endorsed) -> None:
    """Add the steps that hold the product line of report, VEK, issuer and root against each other."""
    if report.cpuid is not None:
        run.check(
            "report.product_known",
            report.product is not None,
            detail=report.product.value if report.product is not None else "",
            where=where(0x188, 3),
            expected="a family and model of Milan, Genoa or Turin",
            found="family 0x{:02x}, model 0x{:02x}, stepping {}".format(*report.cpuid),
            fix="Update skrkit if this is a newer processor; its TCB values are not guessed.",
        )
    vek = endorsed.vek
    if vek is None:
        run.skip("bind.productName_line", _no_vek(run, report))
        return
    issuer_line = vek.amd.issuer_cn.removeprefix("SEV-").removeprefix("VLEK-")
    named = vek.product.value if vek.product is not None else ""
    shown = report.product.value if report.product is not None else named
    run.check(
        "bind.productName_line",
        bool(named) and named == issuer_line == shown,
        detail=f"{vek.product_name}, issued by {vek.amd.issuer_cn}",
        where="the VEK certificate, productName",
        expected=f"the line of the report ({shown or 'unknown'}) and of the issuer ({issuer_line})",
        found=vek.product_name,
        fix="Pass the certificate and the chain of this processor's line.",
    )
    if endorsed.line is None:
        run.skip("chain.root_product_eq_report_product", "no pinned root was reached")
    else:
        run.check(
            "chain.root_product_eq_report_product",
            endorsed.line == shown,
            detail=endorsed.line,
            where="the root certificate",
            expected=f"the root of {shown or 'the report line'}",
            found=f"the root of {endorsed.line}",
            fix="Pass the chain of this processor's line.",
        )


def identify(report: SnpReport, vek: VekCertificate | None) -> SnpReport:
    """Return the report with its product line, from the VEK where the report itself does not show it.

    A version 2 report shows Turin, or "Milan or Genoa", by the form of its chip id: a VEK cannot overrule that.
    """
    if report.product is not None or report.cpuid is not None or vek is None or vek.product is None:
        return report
    if vek.product is Product.TURIN and not report.is_chip_masked:
        return report
    return report.identified(vek.product, "vek_certificate")


def check_levels_match(run: Run, report: SnpReport, vek: VekCertificate | None) -> None:
    """Add a step for each component of REPORTED_TCB, which must equal the VEK's extension of it."""
    if vek is None or report.tcb_layout is None:
        why = _no_vek(run, report) if vek is None else "the TCB layout is not known"
        run.skip_all(tuple(step for name, (step, _) in _TCB_STEPS.items() if name != "fmc"), why)
        return
    reported = report.tcb("reported_tcb").components
    for name, at in LAYOUTS[report.tcb_layout].items():
        step, extension = _TCB_STEPS[name]
        level = vek.spl.get(extension)
        run.check(
            step,
            level == reported[name],
            detail=f"{level} / {reported[name]}",
            where=f"the VEK certificate, {extension}",
            expected=f"{reported[name]}, as REPORTED_TCB has it at byte 0x{0x180 + at:X}",
            found="no such extension" if level is None else str(level),
            fix="The certificate is of before or after a firmware update: fetch the one of REPORTED_TCB.",
        )


def check_chip(run: Run, report: SnpReport, vek: VekCertificate | None, reference: ReferenceValues) -> None:
    """Add the steps that bind a VCEK to the chip, or say what a VLEK is bound to."""
    if vek is None:
        run.skip("bind.hwID_eq_chip_id", _no_vek(run, report))
        return
    place = f"the {vek.signer} certificate"
    fix = "This certificate is of another kind or machine: fetch the VCEK of this chip."
    if vek.signer == "VLEK":
        run.check(
            "bind.vlek_has_cspID",
            vek.csp_id is not None,
            detail=vek.csp_id or "",
            where=f"{place}, cspID",
            expected="the name of the cloud",
            found="no such extension",
            fix=fix,
        )
        run.check(
            "bind.vlek_has_no_hwID",
            vek.hw_id is None,
            where=f"{place}, hwID",
            expected="no such extension",
            found="a chip id",
            fix=fix,
        )
        run.notes.append("A VLEK does not identify the machine, only the cloud that it was issued to.")
        return
    masked = report.is_chip_masked
    run.check(
        "bind.hwID_eq_chip_id",
        reference.masked_chip_allowed if masked else _is_chip(vek.hw_id, report.chip_id),
        detail="the chip id is masked, which the reference values allow" if masked else "",
        where=where(0x1A0, 64),
        expected=f"the chip of the certificate, hwID {_short(vek.hw_id)}",
        found="64 zero bytes: the host masks the chip id" if masked else f"CHIP_ID {_short(report.chip_id)}",
        fix="The VCEK is of another machine (a mixed-up cache, or a migrated VM): fetch the one of this CHIP_ID.",
    )
    run.check(
        "bind.no_cspID_on_vcek",
        vek.csp_id is None,
        where=f"{place}, cspID",
        expected="no such extension",
        found=vek.csp_id or "",
        fix=fix,
    )


def _is_chip(hw_id: bytes | None, chip_id: bytes) -> bool:
    return hw_id is not None and chip_id[: len(hw_id)] == hw_id and is_zero(chip_id[len(hw_id) :])


def _short(data: bytes | None) -> str:
    return "(none)" if data is None else data[:16].hex() + "..."


def check_report_data(run: Run, report_data: bytes, runtime_data: bytes, hash_type: HashType, *, at: int) -> None:
    """Add step (6): REPORT_DATA is the hash of the runtime data, then zeros. `at` is its offset in the file."""
    digest = hash_type.digest(runtime_data)
    run.check(
        "hcl.report_data_eq_hash_of_variable_data",
        report_data[: len(digest)] == digest,
        detail=f"{hash_type.name} of {len(runtime_data)} bytes",
        where=where(at, len(digest)),
        expected=f"{hash_type.name} of the runtime data, {digest.hex()}",
        found=report_data[: len(digest)].hex(),
        fix="The claims were changed or written anew, or are of another read: hash the bytes exactly as they stand.",
    )
    run.check(
        "hcl.report_data_tail_zero",
        is_zero(report_data[len(digest) :]),
        where=where(at + len(digest), len(report_data) - len(digest)),
        expected="zeros after the hash",
        found=report_data[len(digest) :].hex(),
        fix="The report was not made by Azure's paravisor.",
    )
