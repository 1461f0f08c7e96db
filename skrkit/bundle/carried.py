"""What raw evidence gives away: identifiers in bytes that cannot be changed, since signatures and hashes cover them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from skrkit.bundle.contents import EVIDENCE
from skrkit.errors import SkrkitError
from skrkit.wire import Json, where


def carried_by(evidence: Mapping[str, bytes]) -> list[dict[str, Json]]:
    """Return each identifier that the evidence shows: file, what it is, and where it stands."""
    return [
        {"file": EVIDENCE[name][0], "identifier": identifier, "where": at}
        for name, identifier, at in _carried(evidence)
    ]


def shown_ids(evidence: Mapping[str, bytes]) -> dict[str, str]:
    """Return the ids that the HCL report shows as text, in lower case: "vm" and "chip", each where it can be read."""
    from skrkit.evidence.hcl import parse_hcl_report

    found: dict[str, str] = {}
    with suppress(SkrkitError):
        report = parse_hcl_report(evidence.get("hcl-report", b""))
        with suppress(SkrkitError):
            found["vm"] = report.runtime_claims.vm_unique_id.lower()
        found["chip"] = report.snp().chip_id.hex()
    return found


def _carried(evidence: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
    if "hcl-report" in evidence:
        if "vm" in shown_ids(evidence):
            yield "hcl-report", "vmUniqueId, the VM's id", "runtime claims /vm-configuration/vmUniqueId"
        yield "hcl-report", "CHIP_ID, the processor's id", where(0x1C0, 64)
        yield "hcl-report", "REPORT_ID, and the vTPM's public keys", f"{where(0x160, 32)}; runtime claims /keys"
    if "vcek" in evidence:
        yield "vcek", "hwID, the processor's id", "extension 1.3.6.1.4.1.3704.1.4"
    if "ak-certificate" in evidence:
        yield "ak-certificate", "serial number and subject of this VM's vTPM", "the certificate"
    if "ak-public" in evidence:
        yield "ak-public", "the vTPM's attestation key", "unique"
    if "event-log" in evidence:
        yield (
            "event-log",
            "ids of disks and partitions, boot paths, the kernel's command line",
            "the payloads of events",
        )
