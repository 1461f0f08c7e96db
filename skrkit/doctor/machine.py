"""Am I in a confidential VM, and of which kind? The vTPM, and what must lie in it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from skrkit.doctor.check import Check, Outcome, failed, not_checked, ok, warning
from skrkit.errors import ParseError, ServiceError, SkrkitError

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit
    from skrkit.evidence.hcl import HclReport
    from skrkit.wire import Json

_PERMISSION_FIX = "Run it with sudo, or join the group tss: sudo usermod -aG tss $USER, then log in again."
_ABSENT = "TPM_RC_HANDLE"  # no such index, no such key
_KINDS = {
    "SNP": "an AMD SEV-SNP confidential VM",
    "TDX": "an Intel TDX confidential VM",
    "TVM": "a Trusted Launch VM, whose memory the host can read",
    "VBS": "a VM isolated by Hyper-V alone, whose report no processor signs",
    "CCA": "an Arm CCA confidential VM",
}


def read_report(visit: Visit) -> HclReport:
    """Return the HCL report, made over a nonce of this visit and read once. Raises what the vTPM and the parser raise.

    Nothing is written to a TPM that has no report: `check_paravisor` raises `UsageError` before.
    """
    if visit.hcl is None:
        import hashlib

        from skrkit.evidence.hcl import parse_hcl_report
        from skrkit.services.attester import HCL_REPORT_INDEX, check_paravisor, write_user_data

        tpm = visit.attester.tpm
        check_paravisor(tpm)
        visit.nonce = visit.vm_side.make_nonce()
        write_user_data(tpm, hashlib.sha512(visit.nonce.encode()).digest())
        visit.hcl = parse_hcl_report(tpm.nv_read(HCL_REPORT_INDEX))
    return visit.hcl


def _kind(visit: Visit) -> Outcome:
    if visit.inside is None:
        return _no_tpm(visit)
    try:
        has_report = _has_report(visit)
        kind = read_report(visit).report_type.name if has_report else ""
    except ParseError as odd:
        cause = "evidence.report-tampered"
        return failed(f"NV index 0x01400001 holds no HCL report: {odd.what}, found {odd.found}.", cause=cause)
    except SkrkitError as refused:
        return _tpm_silent(visit, refused)
    if not has_report:
        return _no_report(visit)
    said = f"This is {_KINDS[kind]}: NV index 0x01400001 holds a report of type {kind}."
    if kind == "SNP":
        return ok(said, {"kind": kind})
    if kind == "TDX":
        fix = "skrkit verifies AMD SEV-SNP; on TDX only the report's own hashes are checked (skrkit verify)."
        return failed(said, {"kind": kind}, fix=fix, cause="machine.tdx")
    return failed(said, {"kind": kind}, cause="machine.trusted-launch")


def _has_report(visit: Visit) -> bool:
    from skrkit.services.attester import HCL_REPORT_INDEX

    try:
        visit.attester.tpm.nv_read_public(HCL_REPORT_INDEX)
    except ServiceError as absent:
        if absent.code != _ABSENT:
            raise
        return False
    return True


def _no_tpm(visit: Visit) -> Outcome:
    said = f"This is no confidential VM: {visit.host.words}, without a TPM device."
    facts: dict[str, Json] = {"kind": "ordinary", "host": visit.host.to_json()}
    return ok(said, facts) if visit.calm else failed(said, facts, cause="machine.not-a-cvm")


def _tpm_silent(visit: Visit, refused: SkrkitError) -> Outcome:
    """Return what can be said without the TPM: a PC's, too, is for root alone, and is no reason to worry anybody."""
    said = f"{visit.host.words}. Its TPM cannot be asked ({refused.found})"
    facts: dict[str, Json] = {"host": visit.host.to_json()}
    if visit.calm and not visit.host.in_azure:
        words = f"This is {said}; its firmware does not call it a VM in Azure, so it is no confidential VM."
        return ok(words, facts | {"kind": "ordinary"})
    return not_checked(f"{said}, and only it can tell.", facts)


def _no_report(visit: Visit) -> Outcome:
    said = "There is a TPM, and it has no NV index 0x01400001 (TPM_RC_HANDLE): no confidential VM."
    facts: dict[str, Json] = {"kind": "vtpm-without-report", "host": visit.host.to_json()}
    if visit.calm:
        return ok(f"{said} This is {visit.host.words}.", facts)
    azure = visit.vm_side.world == "azure" and visit.host.in_azure
    cause = "machine.trusted-launch" if azure else "machine.no-nv-index"
    return failed(said, facts, cause=cause)


def _reachable(visit: Visit) -> Outcome:
    if visit.inside is None:
        return failed(f"There is no TPM device ({visit.host.words}).", cause="machine.not-a-cvm")
    where = "The vTPM of the sandbox" if visit.inside.world == "sandbox" else visit.inside.tpm_spec
    try:
        tpm = visit.attester.tpm
        tpm.get_random(8)
    except ServiceError as refused:
        if "PermissionError" in refused.found:
            return failed(f"{where}: {refused.found}.", fix=_PERMISSION_FIX, cause="machine.tpm-permission")
        raise
    if _has_report(visit):
        with suppress(ParseError):  # what it holds is another check's
            read_report(visit)  # the first command with an authorisation: a vTPM that is locked out refuses it
    handles = [f"0x{handle:08X}" for handle in tpm.handles(0x81000000)]
    found = f"{where} answers; persistent keys: {', '.join(handles) or 'none'}."
    return ok(found, {"device": where, "persistent_keys": list(handles)})


def _nv_indexes(visit: Visit) -> Outcome:
    from skrkit.services.attester import AK_CERTIFICATE_INDEX, AK_HANDLE, HCL_REPORT_INDEX, USER_DATA_INDEX

    tpm = visit.attester.tpm
    names = {HCL_REPORT_INDEX: "HCL report", USER_DATA_INDEX: "user data", AK_CERTIFICATE_INDEX: "AK certificate"}
    sizes: dict[int, int] = {}
    for index in names:
        try:
            sizes[index] = tpm.nv_read_public(index).data_size
        except ServiceError as absent:
            if absent.code != _ABSENT:
                raise
    listed = [f"0x{index:08X} {names[index]}, {size} bytes" for index, size in sizes.items()]
    facts: dict[str, Json] = {f"0x{index:08X}": sizes.get(index) for index in names}
    said = f"Defined: {'; '.join(listed) or 'none of them'}."
    if HCL_REPORT_INDEX not in sizes:
        return failed(f"{said} 0x01400001 is missing: no report can be read.", facts, cause="machine.no-nv-index")
    if AK_HANDLE not in tpm.handles(AK_HANDLE):
        fix = "Reboot, since the paravisor makes this key at boot; then: tpm2_getcap handles-persistent"
        return failed(f"{said} There is no attestation key at 0x81000003.", facts, fix=fix)
    if AK_CERTIFICATE_INDEX not in sizes:
        return warning(f"{said} 0x01C101D0 is missing.", facts, cause="evidence.ak-certificate")
    return ok(said, facts)


CHECKS = (
    Check(
        id="machine.kind",
        title="Which kind of machine this is",
        proves="This is a confidential VM on AMD SEV-SNP: its vTPM holds a report that the processor signs.",
        side="inside",
        run=_kind,
    ),
    Check(
        id="vtpm.reachable",
        title="The vTPM answers",
        proves="There is a vTPM, this user may use it, and it executes commands.",
        side="inside",
        run=_reachable,
    ),
    Check(
        id="vtpm.nv-indexes",
        title="What must lie in the vTPM",
        proves="The paravisor has defined the index of the report, and made the attestation key.",
        side="inside",
        needs=("vtpm.reachable",),
        run=_nv_indexes,
    ),
)
