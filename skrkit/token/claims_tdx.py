"""Claims of TDX evidence, for recognition: skrkit verifies SEV-SNP. Source: Azure Attestation, TDX claims."""

from __future__ import annotations

from skrkit.token.claim_fact import ClaimFact as F
from skrkit.token.claim_fact import ClaimType as T

_QUOTE = "TDX quote, "

TDX = (
    F("eat_profile", T.STRING, "Which profile of RFC 9711 the token follows."),
    F("dbgstat", T.STRING, "Debug status by RFC 9711, disabled or enabled.", _QUOTE + "TDATTRIBUTES"),
    F("intuse", T.STRING, "Intended use by RFC 9711, generic."),
    F("attester_tcb_status", T.STRING, "What Intel's TCB information says of the platform, such as UpToDate."),
    F("tdx_mrtd", T.HEX, "Measurement of the TD's initial contents.", _QUOTE + "MRTD", 96),
    F("tdx_mrseam", T.HEX, "Measurement of the TDX module.", _QUOTE + "MRSEAM", 96),
    F("tdx_mrsignerseam", T.HEX, "Signer of the TDX module; zeros for Intel's.", _QUOTE + "MRSIGNERSEAM", 96),
    F("tdx_mrconfigid", T.HEX, "Configuration that the owner gave.", _QUOTE + "MRCONFIGID", 96),
    F("tdx_mrowner", T.HEX, "Owner of the TD.", _QUOTE + "MROWNER", 96),
    F("tdx_mrownerconfig", T.HEX, "The owner's own configuration.", _QUOTE + "MROWNERCONFIG", 96),
    F("tdx_rtmr0", T.HEX, "Run-time measurement register 0.", _QUOTE + "RTMR0", 96),
    F("tdx_rtmr1", T.HEX, "Run-time measurement register 1.", _QUOTE + "RTMR1", 96),
    F("tdx_rtmr2", T.HEX, "Run-time measurement register 2.", _QUOTE + "RTMR2", 96),
    F("tdx_rtmr3", T.HEX, "Run-time measurement register 3.", _QUOTE + "RTMR3", 96),
    F("tdx_report_data", T.HEX, "What the guest had the report say.", _QUOTE + "REPORTDATA", 128),
    F("tdx_tee_tcb_svn", T.HEX, "Security versions of the TDX module and loader.", _QUOTE + "TEE_TCB_SVN", 32),
    F("tdx_seam_attributes", T.HEX, "Attributes of the TDX module.", _QUOTE + "SEAMATTRIBUTES", 16),
    F("tdx_td_attributes", T.HEX, "Attributes of the TD.", _QUOTE + "TDATTRIBUTES", 16),
    F("tdx_xfam", T.HEX, "Extended CPU features that the TD may use.", _QUOTE + "XFAM", 16),
    F("tdx_seamsvn", T.INTEGER, "Security version of the TDX module.", _QUOTE + "TEE_TCB_SVN"),
    F("tdx_td_attributes_debug", T.BOOLEAN, "Whether the TD can be debugged.", _QUOTE + "TDATTRIBUTES"),
    F("tdx_td_attributes_key_locker", T.BOOLEAN, "Whether the TD may use Key Locker.", _QUOTE + "TDATTRIBUTES"),
    F("tdx_td_attributes_perfmon", T.BOOLEAN, "Whether the TD may use performance counters.",
      _QUOTE + "TDATTRIBUTES"),
    F("tdx_td_attributes_protection_keys", T.BOOLEAN, "Whether the TD may use protection keys.",
      _QUOTE + "TDATTRIBUTES"),
    F("tdx_td_attributes_septve_disable", T.BOOLEAN, "Whether faults on private pages are not given to the TD.",
      _QUOTE + "TDATTRIBUTES"),
)  # fmt: skip
