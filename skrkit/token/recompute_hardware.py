"""The hardware's claims, recomputed from the report: SEV-SNP field by field, TDX as far as a TDREPORT goes.

Byte ranges are those of the file that was given: a report inside an HCL report begins at 0x20.
Source: Azure Attestation, SEV-SNP and TDX claims; AMD 56860, Attestation Report; Intel TDX Module ABI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skrkit.errors import SkrkitError
from skrkit.evidence import snp_bits
from skrkit.evidence.hcl import HEADER_BYTES, HashType, HclReport, ReportType
from skrkit.evidence.snp import SnpReport, layout, parse_snp_report
from skrkit.evidence.tcb import LAYOUTS, TcbLayout
from skrkit.evidence.td_report import LAYOUT as TD_LAYOUT
from skrkit.evidence.td_report import TdReport
from skrkit.token.claims_snp import SNP
from skrkit.token.claims_tdx import TDX
from skrkit.token.recomputed import Answer, ClaimEvidence, NotRecomputed, Recomputed, unreadable
from skrkit.wire import Json, where

TYPE = "x-ms-attestation-type"
_P = "x-ms-sevsnpvm-"
_HEX = {
    "authorkeydigest": "author_key_digest",
    "familyId": "family_id",
    "hostdata": "host_data",
    "idkeydigest": "id_key_digest",
    "imageId": "image_id",
    "launchmeasurement": "measurement",
    "reportdata": "report_data",
    "reportid": "report_id",
}
_NUMBERS = {"guestsvn": "guest_svn", "vmpl": "vmpl"}
_SVNS = {"bootloader-svn": "bootloader", "tee-svn": "tee", "snpfw-svn": "snp", "microcode-svn": "microcode"}
_POLICY = {
    "is-debuggable": ("debug_allowed", 19),
    "migration-allowed": ("migrate_ma_allowed", 18),
    "smt-allowed": ("smt_allowed", 16),
}
_REPORT_TYPES = {ReportType.SNP: "sevsnpvm", ReportType.TDX: "tdxvm"}

_TD_HEX = {
    "mrtd": "mrtd", "mrconfigid": "mrconfigid", "mrowner": "mrowner", "mrownerconfig": "mrownerconfig",
    "rtmr0": "rtmr0", "rtmr1": "rtmr1", "rtmr2": "rtmr2", "rtmr3": "rtmr3",
    "report_data": "report_data", "td_attributes": "td_attributes", "xfam": "xfam",
}  # fmt: skip
# Offset in TEE_TCB_INFO and size. Source: Intel TDX Module ABI, TEE_TCB_INFO.
_TCB_INFO = {"tee_tcb_svn": (8, 16), "mrseam": (24, 48), "mrsignerseam": (72, 48), "seam_attributes": (120, 8)}
_TD_BITS = {"debug": 0, "septve_disable": 28, "protection_keys": 30, "key_locker": 31, "perfmon": 63}


def hardware_claims(evidence: ClaimEvidence) -> dict[str, Answer]:
    """Return the claims of the hardware by name, each with its value or why it has none.

    Every SNP and TDX claim of the catalogue is there, and `x-ms-attestation-type`.
    """
    names = (TYPE, *(fact.path for fact in (*SNP, *TDX)))
    answers: dict[str, Answer] = dict.fromkeys(names, NotRecomputed("no hardware report was given"))
    if evidence.hcl:
        opened = evidence.opened()
        if isinstance(opened, NotRecomputed):
            return dict.fromkeys(answers, opened)
        return answers | _of_hcl(opened, answers)
    if evidence.snp:
        return answers | _of_snp(evidence.snp, 0, answers)
    if evidence.runtime_data:
        digest = HashType.SHA256.digest(evidence.runtime_data).hex()
        answers[f"{_P}reportdata"] = Recomputed(value=digest + "0" * 64, source="SHA-256 of the runtime data, zeros")
    return answers


def _of_hcl(hcl: HclReport, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    if hcl.report_type is ReportType.SNP:
        return _of_snp(hcl.hardware_report, HEADER_BYTES, answers)
    why: Answer = NotRecomputed(f"the HCL report holds a report of type {hcl.report_type.name}")
    made = dict.fromkeys(answers, why)
    if hcl.report_type in _REPORT_TYPES:
        made[TYPE] = Recomputed(value=_REPORT_TYPES[hcl.report_type], source=f"report_type, {where(0x4C8, 4)}")
    if hcl.report_type is ReportType.TDX:
        unread: Answer = NotRecomputed("no field of a TDREPORT is known to be it")
        made |= dict.fromkeys((fact.path for fact in TDX), unread)
        try:
            made |= _of_td(hcl.td_report())
        except SkrkitError as error:
            return dict.fromkeys(answers, unreadable(error))
    return made


def _of_snp(data: bytes, base: int, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    try:
        report = parse_snp_report(data)
    except SkrkitError as error:
        return dict.fromkeys(answers, unreadable(error))
    no_td = NotRecomputed("the report is SEV-SNP")
    made: dict[str, Answer] = {fact.path: no_td for fact in TDX}
    made[TYPE] = Recomputed(value="sevsnpvm", source="the kind of the hardware report")
    made.update(_plain(report, base))
    made.update(_levels(report, base))
    return made


def _plain(report: SnpReport, base: int) -> Iterator[tuple[str, Recomputed]]:
    rows = {row.name: row for row in layout(report.version)}

    def source(name: str, more: str = "") -> str:
        return f"SNP report {name.upper()}{more}, {where(base + rows[name].offset, rows[name].size)}"

    for claim, name in _HEX.items():
        value: bytes = getattr(report, name)
        yield _P + claim, Recomputed(value=value.hex(), source=source(name), any_case=True)
    for claim, name in _NUMBERS.items():
        yield _P + claim, Recomputed(value=getattr(report, name), source=source(name))
    policy = snp_bits.policy_members(report.policy)
    for claim, (name, bit) in _POLICY.items():
        yield _P + claim, Recomputed(value=policy[name], source=source("policy", f" bit {bit}"))


def _levels(report: SnpReport, base: int) -> Iterator[tuple[str, Answer]]:
    """Return the four levels of REPORTED_TCB. Turin's order differs, and how the service reads it is not published."""
    tcb = report.tcb("reported_tcb")
    for claim, component in _SVNS.items():
        if tcb.layout is TcbLayout.CLASSIC:
            at = LAYOUTS[tcb.layout][component]
            source = f"SNP report REPORTED_TCB {component}, {where(base + 0x180 + at, 1)}"
            yield _P + claim, Recomputed(value=tcb.components[component], source=source)
        elif tcb.layout is TcbLayout.TURIN:
            yield _P + claim, NotRecomputed("how the service reads a Turin REPORTED_TCB is not published")
        else:
            yield _P + claim, NotRecomputed("the report does not show its product line, and so not its TCB layout")


def _of_td(report: TdReport) -> dict[str, Answer]:
    rows = {row.name: row for row in TD_LAYOUT}

    def recomputed(value: Json, name: str, offset: int, size: int) -> Recomputed:
        return Recomputed(
            value=value, source=f"TDREPORT {name}, {where(HEADER_BYTES + offset, size)}", any_case=True, inferred=True
        )

    made: dict[str, Answer] = {}
    for claim, name in _TD_HEX.items():
        row = rows[name]
        made[f"tdx_{claim}"] = recomputed(report.value(name).hex(), name.upper(), row.offset, row.size)
    info, base = report.value("tee_tcb_info"), rows["tee_tcb_info"].offset
    for claim, (offset, size) in _TCB_INFO.items():
        value = info[offset : offset + size].hex()
        made[f"tdx_{claim}"] = recomputed(value, f"TEE_TCB_INFO {claim.upper()}", base + offset, size)
    attributes, at = int.from_bytes(report.value("td_attributes"), "little"), rows["td_attributes"].offset
    for claim, bit in _TD_BITS.items():
        made[f"tdx_td_attributes_{claim}"] = recomputed(bool(attributes >> bit & 1), f"TD_ATTRIBUTES bit {bit}", at, 8)
    made["dbgstat"] = recomputed("enabled" if report.is_debug else "disabled", "TD_ATTRIBUTES bit 0", at, 8)
    return made
