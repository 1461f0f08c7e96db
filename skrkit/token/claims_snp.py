"""Claims of SEV-SNP evidence: at the top of a platform token, below x-ms-isolation-tee in a guest token.

Offsets are into the 1184-byte report. Source: Azure Attestation, SEV-SNP claims; AMD 56860; captured tokens.
"""

from __future__ import annotations

from skrkit.token.claim_fact import ClaimFact as F
from skrkit.token.claim_fact import ClaimType as T

SNP = (
    F("x-ms-sevsnpvm-authorkeydigest", T.HEX, "Digest of the key that signed the ID key; zeros on Azure.",
      "SNP report AUTHOR_KEY_DIGEST, 0x110, 48 bytes", 96),
    F("x-ms-sevsnpvm-bootloader-svn", T.INTEGER, "Security version of the AMD-SP boot loader.",
      "SNP report REPORTED_TCB, 0x180, byte 0 (Milan, Genoa)"),
    F("x-ms-sevsnpvm-tee-svn", T.INTEGER, "Security version of the AMD-SP operating system.",
      "SNP report REPORTED_TCB, 0x180, byte 1 (Milan, Genoa)"),
    F("x-ms-sevsnpvm-snpfw-svn", T.INTEGER, "Security version of the SNP firmware.",
      "SNP report REPORTED_TCB, 0x180, byte 6 (Milan, Genoa)"),
    F("x-ms-sevsnpvm-microcode-svn", T.INTEGER, "Security version of the CPU microcode.",
      "SNP report REPORTED_TCB, 0x180, byte 7 (Milan, Genoa)"),
    F("x-ms-sevsnpvm-familyId", T.HEX, "Family of the guest image, chosen at launch; 01 then zeros on Azure.",
      "SNP report FAMILY_ID, 0x10, 16 bytes", 32),
    F("x-ms-sevsnpvm-imageId", T.HEX, "Image within the family, chosen at launch; 02 then zeros on Azure.",
      "SNP report IMAGE_ID, 0x20, 16 bytes", 32),
    F("x-ms-sevsnpvm-guestsvn", T.INTEGER, "Security version of the guest's launch code, the paravisor.",
      "SNP report GUEST_SVN, 0x04, 4 bytes"),
    F("x-ms-sevsnpvm-hostdata", T.HEX,
      "What the host gave at launch: the policy's hash for a confidential container, zeros for a VM.",
      "SNP report HOST_DATA, 0xC0, 32 bytes", 64),
    F("x-ms-sevsnpvm-idkeydigest", T.HEX,
      "Digest of the key that signed the launch identity: who made the paravisor. Changes about once a year.",
      "SNP report ID_KEY_DIGEST, 0xE0, 48 bytes", 96),
    F("x-ms-sevsnpvm-is-debuggable", T.BOOLEAN, "Whether the host may read the guest's memory: must be false.",
      "SNP report POLICY, 0x08, bit 19"),
    F("x-ms-sevsnpvm-migration-allowed", T.BOOLEAN, "Whether a migration agent may be bound to the guest.",
      "SNP report POLICY, 0x08, bit 18"),
    F("x-ms-sevsnpvm-smt-allowed", T.BOOLEAN, "Whether the guest may run on a core with two threads.",
      "SNP report POLICY, 0x08, bit 16"),
    F("x-ms-sevsnpvm-launchmeasurement", T.HEX,
      "Digest of the guest's memory at launch: the paravisor's code. Changes with each of its releases.",
      "SNP report MEASUREMENT, 0x90, 48 bytes", 96),
    F("x-ms-sevsnpvm-reportdata", T.HEX,
      "What the guest had the report say: SHA-256 of the runtime data as the paravisor wrote it, then 32 zero bytes.",
      "SNP report REPORT_DATA, 0x50, 64 bytes", 128),
    F("x-ms-sevsnpvm-reportid", T.HEX, "The report id of this guest, random at launch.",
      "SNP report REPORT_ID, 0x140, 32 bytes", 64),
    F("x-ms-sevsnpvm-vmpl", T.INTEGER, "Privilege level that asked for the report: 0 is the paravisor.",
      "SNP report VMPL, 0x30, 4 bytes"),
)  # fmt: skip
