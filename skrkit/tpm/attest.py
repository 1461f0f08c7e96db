"""TPMS_ATTEST: what a TPM signs. Quotes (PCRs) and certifications (another key). Big-endian, no trust."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from skrkit.tpm.algorithms import MAX_DIGEST_BYTES, MAX_NAME_BYTES, TpmCursor
from skrkit.tpm.pcr import PcrSelection, read_selections
from skrkit.wire import Json, Span

MAGIC = b"\xffTCG"  # TPM_GENERATED_VALUE: a restricted key signs no outside data that begins like this
MAX_ATTEST_BYTES = 1024  # the largest of the flow is 161: a quote with a 48-byte nonce


class AttestType(IntEnum):
    """A TPMI_ST_ATTEST. Only quotes and certifications are read; the others are refused by name."""

    NV = 0x8014
    COMMAND_AUDIT = 0x8015
    SESSION_AUDIT = 0x8016
    CERTIFY = 0x8017
    QUOTE = 0x8018
    TIME = 0x8019
    CREATION = 0x801A
    NV_DIGEST = 0x801C


@dataclass(frozen=True, slots=True, kw_only=True)
class Attest:
    """A parsed TPMS_ATTEST. A quote has `pcr_select` and `pcr_digest`; a certification has the two `certified_*` names.

    Names are nameAlg u16 and digest: 34 bytes with SHA-256. `clock` is in milliseconds.
    """

    kind: ClassVar[str] = "tpms-attest"
    title: ClassVar[str] = "TPM attestation structure"

    raw: bytes
    type: AttestType
    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    pcr_select: tuple[PcrSelection, ...] = ()
    pcr_digest: bytes = b""
    certified_name: bytes = b""
    certified_qualified_name: bytes = b""

    @property
    def is_quote(self) -> bool:
        """Whether PCRs were attested (TPM2_Quote)."""
        return self.type is AttestType.QUOTE

    @property
    def is_certify(self) -> bool:
        """Whether another object was attested (TPM2_Certify)."""
        return self.type is AttestType.CERTIFY

    def fields(self) -> dict[str, Json]:
        """Return the decoded values; bytes as hex, `type`, `magic` and `firmware_version` as hex digits."""
        members: dict[str, Json] = {
            "magic": MAGIC.hex(),
            "type": f"{self.type:04x}",
            "qualified_signer": self.qualified_signer.hex(),
            "extra_data": self.extra_data.hex(),
            "clock": self.clock,
            "reset_count": self.reset_count,
            "restart_count": self.restart_count,
            "safe": int(self.safe),
            "firmware_version": f"{self.firmware_version:016x}",
        }
        if self.is_quote:
            members["pcr_select"] = [selection.to_json() for selection in self.pcr_select]
            members["pcr_digest"] = self.pcr_digest.hex()
        else:
            members["certified_name"] = self.certified_name.hex()
            members["certified_qualified_name"] = self.certified_qualified_name.hex()
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return the annotated bytes, by reading them again."""
        cursor = TpmCursor(self.raw, "TPMS_ATTEST", silent=False)
        _read(cursor)
        return tuple(cursor.recorded)


def parse_attest(data: bytes) -> Attest:
    """Return the TPMS_ATTEST in `data`: a quote (0x8018) or a certification (0x8017).

    `data` is the structure without the two size bytes of a TPM2B_ATTEST: 113 bytes for a SHA-256 quote without a nonce.
    Raises `ParseError`: other magic, other type, truncated, trailing bytes.
    Source: TPM 2.0 Library, Part 2, "TPMS_ATTEST".
    """
    cursor = TpmCursor(data, "TPMS_ATTEST")
    if len(data) > MAX_ATTEST_BYTES:
        cursor.at = len(data)
        raise cursor.refuse(len(data), "size", expected=f"at most {MAX_ATTEST_BYTES} bytes", found=str(len(data)))
    return _read(cursor)


def _read(cursor: TpmCursor) -> Attest:
    fix = "Pass a TPMS_ATTEST, as TPM2_Quote or TPM2_Certify made it."
    if cursor.data[2:6] == MAGIC:
        fix = "This is a TPM2B_ATTEST: leave out its first two bytes, the size."
    cursor.literal(MAGIC, "magic", meaning="TPM_GENERATED: the TPM itself made what follows", fix=fix)
    kind = _read_type(cursor)
    signer = cursor.sized(2, "qualified_signer", limit=MAX_NAME_BYTES, meaning="qualified name of the signing key")
    extra = cursor.sized(2, "extra_data", limit=MAX_DIGEST_BYTES, meaning="qualifyingData: the caller's nonce")
    clock = cursor.uint(8, "clock", "milliseconds the TPM has been powered")
    resets = cursor.uint(4, "reset_count", "TPM resets since the last clear")
    restarts = cursor.uint(4, "restart_count", "restarts or resumes since the last reset")
    safe = cursor.yes_no("safe", "1: no higher clock value was ever reported")
    firmware = cursor.uint(8, "firmware_version", "the TPM's own firmware version, chosen by its maker")
    select: tuple[PcrSelection, ...] = ()
    digest = name = qualified = b""
    if kind is AttestType.QUOTE:
        select = read_selections(cursor)
        digest = cursor.sized(2, "pcr_digest", limit=MAX_DIGEST_BYTES, meaning="digest over the selected PCR values")
    else:
        name = cursor.sized(2, "certified_name", limit=MAX_NAME_BYTES, meaning="Name: hash of the key's public area")
        qualified = cursor.sized(2, "certified_qualified_name", limit=MAX_NAME_BYTES, meaning="Name below its parents")
    cursor.end()
    return Attest(
        raw=cursor.data,
        type=kind,
        qualified_signer=signer,
        extra_data=extra,
        clock=clock,
        reset_count=resets,
        restart_count=restarts,
        safe=safe,
        firmware_version=firmware,
        pcr_select=select,
        pcr_digest=digest,
        certified_name=name,
        certified_qualified_name=qualified,
    )


def _read_type(cursor: TpmCursor) -> AttestType:
    number = int.from_bytes(cursor.take(2, "type"), "big")
    if number not in (AttestType.QUOTE, AttestType.CERTIFY):
        known = {member.value: member.name.lower() for member in AttestType}
        found = f"0x{number:04x} ({known.get(number, 'unknown')})"
        raise cursor.refuse(2, "type", expected="0x8018 (quote) or 0x8017 (certify)", found=found)
    kind = AttestType(number)
    cursor.record(2, "type", f"{number:04x}", f"attests by TPM2_{kind.name.capitalize()}")
    return kind
