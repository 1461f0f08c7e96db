"""What evidence is held against: the evidence itself as raw bytes, and the reference values. No trust, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skrkit.errors import UsageError
from skrkit.evidence.tcb import COMPONENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything there is to verify, as raw bytes. Give `hcl` (an Azure HCL report) or `snp` (a bare report).

    `vek`: VCEK or VLEK, PEM or DER. `chain`: the other certificates, PEM or DER, any number up to 16, in any order.
    `quote`: TPMS_ATTEST. `quote_signature`: 256 raw bytes or a TPMT_SIGNATURE. `ak`: the attestation key as PEM or DER
    SubjectPublicKeyInfo, TPM2B_PUBLIC or TPMT_PUBLIC; None takes HCLAkPub of the runtime claims. `pcrs`: SHA-256 PCR
    values by index. `nonce`: what the quote's extraData, or without HCL report REPORT_DATA, must be. `runtime_data`:
    with `snp`, the bytes whose SHA-256 REPORT_DATA must begin with; an HCL report brings its own.
    """

    hcl: bytes | None = None
    snp: bytes | None = None
    vek: bytes | None = None
    chain: bytes = b""
    quote: bytes | None = None
    quote_signature: bytes | None = None
    ak: bytes | None = None
    pcrs: Mapping[int, bytes] | None = None
    event_log: bytes | None = None
    nonce: bytes | None = None
    runtime_data: bytes | None = None

    def __post_init__(self) -> None:
        if (self.hcl is None) == (self.snp is None):
            raise UsageError(
                what="Evidence",
                where="arguments `hcl` and `snp`",
                expected="exactly one of them",
                found="neither" if self.hcl is None else "both",
                fix="Pass the HCL report, which holds its SNP report, or a bare SNP report.",
            )
        if self.hcl is not None and self.runtime_data is not None:
            raise UsageError(
                what="Evidence",
                where="argument `runtime_data`",
                expected="none beside `hcl`",
                found=f"{len(self.runtime_data)} bytes",
                fix="An HCL report brings its own runtime data: leave them out.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValues:
    """What the report is appraised against. The defaults are what an Azure confidential VM must show.

    A value that is None or empty is not looked at, and its step is not part of the run. `vmpl` None takes any level.
    `minimum_tcb` maps bootloader, tee, snp, microcode (and fmc, Turin) to levels 0-255. Digests are exact bytes: a
    value of the wrong length is the caller's mistake and raises `UsageError`, never "no match".
    `provisional_firmware_allowed`: COMMITTED_TCB below CURRENT_TCB, which clouds have between two updates.
    """

    debug_allowed: bool = False
    migration_allowed: bool = False
    masked_chip_allowed: bool = False
    provisional_firmware_allowed: bool = True
    vmpl: int | None = 0
    minimum_tcb: Mapping[str, int] = field(default_factory=dict)
    measurements: tuple[bytes, ...] = ()
    host_data: bytes | None = None
    report_data: bytes | None = None
    id_key_digests: tuple[bytes, ...] = ()
    chip_ids: tuple[bytes, ...] = ()
    minimum_guest_svn: int | None = None
    launch_mitigations: int = 0
    current_mitigations: int = 0
    csp_id: str | None = None
    vm_unique_id: str | None = None

    def __post_init__(self) -> None:
        for name, level in self.minimum_tcb.items():
            if name not in COMPONENTS or not 0 <= level <= 0xFF:
                raise _usage("minimum_tcb", f"{', '.join(COMPONENTS)}, each 0 to 255", f"{name}={level}")
        if self.vmpl is not None and not 0 <= self.vmpl <= 3:
            raise _usage("vmpl", "0 to 3", str(self.vmpl))
        sized = [("measurements", 48, value) for value in self.measurements]
        sized += [("id_key_digests", 48, value) for value in self.id_key_digests]
        sized += [("chip_ids", 64, value) for value in self.chip_ids]
        sized += [("host_data", 32, self.host_data)] if self.host_data is not None else []
        sized += [("report_data", 64, self.report_data)] if self.report_data is not None else []
        for name, size, value in sized:
            if len(value) != size:
                raise _usage(name, f"{size} bytes", f"{len(value)} bytes")


def _usage(name: str, expected: str, found: str) -> UsageError:
    return UsageError(
        what=f"reference value {name}",
        where=f"argument `{name}`",
        expected=expected,
        found=found,
        fix="Pass the whole value, as the report prints it.",
    )
