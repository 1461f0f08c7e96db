"""Faults of the evidence: what the VM's boot, vTPM, paravisor, host and chip certificates say is not as it should be.

The reports are `paravisor`'s, the vTPM's answers `interposer`'s; Azure Attestation checks all of them as ever.
"""

from __future__ import annotations

from skrkit.sandbox.faults.fault import Fault


def _fault(name: str, title: str, does: str, *, attack: bool = False) -> Fault:
    return Fault(name=f"evidence.{name}", group="evidence", title=title, does=does, attack=attack)


# In the order in which a release meets them: of two that are on, the one further up shows first.
FAULTS: tuple[Fault, ...] = (
    _fault(
        "quote-nonce",
        "The quote is an old one",
        "The vTPM answers with a quote that was made for somebody else's nonce.",
        attack=True,
    ),
    _fault(
        "report-stale",
        "The report is an old one",
        "The paravisor hands out the report of before: what the guest has written to 0x01400002 is not in it.",
        attack=True,
    ),
    _fault(
        "chain-other-line",
        "The chain is of another product line",
        "The host hands out AMD's certificates for Genoa, where the chip is a Milan.",
    ),
    _fault(
        "vcek-old-tcb",
        "The chip certificate is of older firmware",
        "The host hands out the VCEK certificate of before its last firmware update.",
    ),
    _fault(
        "vcek-other-chip",
        "The chip certificate is another chip's",
        "The host hands out the VCEK certificate of another processor, as after a migration or from a mixed-up cache.",
    ),
    _fault(
        "report-tampered",
        "The report was changed",
        "One bit of the report's MEASUREMENT is flipped after the chip has signed it.",
        attack=True,
    ),
    _fault(
        "runtime-claims",
        "The runtime claims were changed",
        "The runtime claims say something else than those whose hash the report holds.",
        attack=True,
    ),
    _fault(
        "report-other-vm",
        "The report is another VM's",
        "The vTPM holds the report of another confidential VM on the same host, with that one's runtime claims.",
        attack=True,
    ),
    _fault(
        "ak-not-in-report",
        "The quoting key is not in the report",
        "The key at 0x81000003 is another than the HCLAkPub that the report vouches for.",
        attack=True,
    ),
    _fault(
        "quote-pcrs",
        "The PCR values are not the quoted ones",
        "A PCR is read as another value than the vTPM quotes.",
    ),
    _fault(
        "ak-certificate",
        "The attestation key has no certificate yet",
        "NV index 0x01C101D0 holds the placeholder that is there before Azure's authority has issued a certificate.",
    ),
    _fault(
        "event-log",
        "The event log is of another boot",
        "The boot event log names another boot loader than the one that was measured.",
        attack=True,
    ),
    _fault(
        "key-outside-vtpm",
        "The transfer key is not certified",
        "The AK's certification names another object than the transfer key, which may be anybody's and anywhere.",
        attack=True,
    ),
    _fault(
        "secure-boot-off",
        "Secure boot is off",
        "The VM is started again with secure boot off, at its next TPM command: its boot measures that, and its "
        "runtime claims say so.",
    ),
    _fault(
        "dbx-not-validated",
        "The list of forbidden images is not known",
        "Azure Attestation does not know the content of the VM's dbx: it is too old, or newer than the service.",
    ),
    _fault(
        "maa-policy",
        "The provider's own policy denies",
        "The attestation provider has a policy of its owner's, which denies this VM and does not say why.",
    ),
    _fault(
        "debug-vm",
        "The VM may be debugged",
        "The VM was launched with debugging allowed (POLICY bit 19): the host may read its memory.",
        attack=True,
    ),
    _fault(
        "vmpl",
        "The report is not the paravisor's",
        "The report was asked for from VMPL 2, by a guest, and not by the paravisor at VMPL 0.",
        attack=True,
    ),
    _fault(
        "firmware-rollback",
        "The host's firmware is old",
        "The host reports a microcode below what it has committed, and below what Azure Attestation calls compliant.",
    ),
)
