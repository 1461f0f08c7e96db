"""Intel TDX evidence: recognised, so that it can be refused by its name. The sandbox has no such machine."""

from __future__ import annotations

from skrkit.evidence.td_report import TD_REPORT_BYTES, TDX_TYPE
from skrkit.sandbox.maa.members import Members
from skrkit.sandbox.maa.refusal import refused
from skrkit.sandbox.web import AzureError
from skrkit.wire import Json

# Intel TDX DCAP quoting library, TD quote: version 4 or 5, two bytes of key type, TEE type, all little-endian.
_QUOTE_VERSIONS = (4, 5)
_SNP_REPORT_BYTES = 1184  # a quote with its certificates is longer; a report of version 4 may not be taken for one


def tdx_kind(evidence: bytes) -> str | None:
    """Return what Intel TDX evidence this is, as a message says it, or None for anything else."""
    if len(evidence) == TD_REPORT_BYTES and evidence[0] == TDX_TYPE:
        return "an Intel TDX TDREPORT (1024 bytes, type 0x81)"
    version = int.from_bytes(evidence[:2], "little")
    tee = int.from_bytes(evidence[4:8], "little")
    if len(evidence) > _SNP_REPORT_BYTES and version in _QUOTE_VERSIONS and tee == TDX_TYPE:
        return f"an Intel TDX quote (version {version}, TEE type 0x81)"
    return None


def refuse_tdx(body: dict[str, Json]) -> AzureError:
    """Return the refusal of a `TdxVm` request, which says what the quote is."""
    quote = Members(body, "body").bytes("quote")
    found = tdx_kind(quote) or f"no Intel TDX quote: its {len(quote)} bytes are something else"
    return refused(
        "request.body.quote",
        f"quote is {found}. The sandbox attests AMD SEV-SNP alone: AzureGuest and SevSnpVm. To verify TDX, ask a "
        "provider of Azure.",
    )
