"""From a step that failed to its cause: the local verifier's ids, and those that the sandbox's MAA adds to them."""

from __future__ import annotations

# The longest beginning of a step's id that stands here decides.
CAUSE_OF_STEP = {
    "hcl.": "evidence.hcl-form",
    "hcl.report_type_snp": "machine.trusted-launch",
    "hcl.runtime_claims": "evidence.runtime-claims",
    "hcl.report_data_": "evidence.runtime-claims",
    "hcl.user_data": "evidence.report-stale",
    "tdx.": "machine.tdx",
    "report.": "evidence.report-form",
    "report.version_known": "evidence.report-version",
    "report.chip_key_not_masked": "evidence.report-unsigned",
    "report.signing_key_known": "evidence.report-unsigned",
    "report.signature_present": "evidence.report-unsigned",
    "report.signature": "evidence.report-tampered",
    "report.product_known": "evidence.report-version",
    "report.nonce": "evidence.report-stale",
    "report.user_data": "evidence.report-stale",
    "report.debug_off": "evidence.debug-vm",
    "report.vmpl_0": "evidence.vmpl",
    "report.vmpl_in_range": "evidence.report-form",
    "report.migrate_ma_off": "evidence.migration",
    "report.no_migration_agent": "evidence.migration",
    "vek.": "evidence.vek-form",
    "vek.cn_matches_signing_key": "evidence.vcek-for-vlek",
    "vek.validity": "evidence.vlek-expired",
    "chain.": "evidence.chain-other-line",
    "chain.intermediate_validity": "evidence.vlek-expired",
    "chain.root_validity": "evidence.vlek-expired",
    "chain.intermediate_is_ca": "evidence.chain-order",
    "chain.root_is_ca": "evidence.chain-order",
    "chain.intermediate_signed_by_root": "evidence.chain-order",
    "chain.root_self_signed": "evidence.root-not-pinned",
    "chain.root_pinned": "evidence.root-not-pinned",
    "bind.": "evidence.vcek-old-tcb",
    "bind.productName_line": "evidence.chain-other-line",
    "bind.hwID_eq_chip_id": "evidence.vcek-other-chip",
    "bind.no_cspID_on_vcek": "evidence.vcek-for-vlek",
    "bind.vlek_": "evidence.vcek-for-vlek",
    "bind.init_time_data": "policy.host-data",
    "tcb.": "evidence.tcb-impossible",
    "tcb.committed_le_reported": "evidence.firmware-rollback",
    "tcb.committed_eq_current": "evidence.provisional-firmware",
    "tcb.reserved_bytes_zero": "evidence.report-form",
    "version.": "evidence.tcb-impossible",
    "quote.": "evidence.quote-form",
    "quote.ak_eq_runtime_claims": "evidence.ak-not-in-report",
    "quote.signature_by_ak": "evidence.ak-not-in-report",
    "quote.nonce": "evidence.quote-nonce",
    "quote.pcr_digest": "evidence.quote-pcrs",
    "quote.pcr_set": "evidence.quote-pcrs",
    "eventlog.": "evidence.event-log",
    "appraise.": "evidence.appraisal",
    "appraise.minimum_tcb": "evidence.firmware-rollback",
    "appraise.host_data": "policy.host-data",
    "appraise.vm_unique_id": "evidence.report-other-vm",
    # what the sandbox's MAA checks besides; the real service names no step
    "ak.": "evidence.ak-certificate",
    "ak.public": "evidence.request",
    "key.": "evidence.key-outside-vtpm",
    "request.": "evidence.request",
}


def cause_of_step(step: str) -> str:
    """Return the id of the cause that a failed step of evidence is evidence for; empty for a step that is none."""
    known = [begin for begin in CAUSE_OF_STEP if step.startswith(begin)]
    return CAUSE_OF_STEP[max(known, key=len)] if known else ""
