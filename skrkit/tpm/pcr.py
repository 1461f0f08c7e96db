"""PCR selections, and the two digests made of PCR values: the quote's and the policy's. Big-endian, no trust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skrkit.errors import ParseError, UsageError
from skrkit.tpm.algorithms import HASHES, SOURCE, Alg, TpmCursor, alg_name, digest_size, hash_bytes
from skrkit.wire import Json

PCR_COUNT = 24  # a PC client TPM has PCR 0 to 23
SELECT_BYTES = 3  # bit i of byte i // 8 stands for PCR i
MAX_SELECTIONS = 16  # libtpms has HASH_COUNT 4; a wide bound
CC_POLICY_PCR = 0x0000017F


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """The PCRs of one bank (TPMS_PCR_SELECTION): `alg` is the bank's TPM_ALG_ID, `pcrs` ascending indices 0 to 23."""

    alg: int
    pcrs: tuple[int, ...]

    @classmethod
    def of(cls, pcrs: Iterable[int], alg: int = Alg.SHA256) -> PcrSelection:
        """Return the selection of these PCRs, sorted. Raises `UsageError` for none, or one outside 0 to 23."""
        ordered = tuple(sorted(set(pcrs)))
        if not ordered or not set(ordered) <= set(range(PCR_COUNT)):
            raise UsageError(
                what="PCR list",
                where="the list of PCRs",
                expected="one or more of 0 to 23",
                found=", ".join(map(str, ordered)) or "none",
                fix="Name PCRs that the TPM has; Azure attests 0-7 on Linux, 0-7 and 11-14 on Windows.",
            )
        return cls(int(alg), ordered)

    def marshal(self) -> bytes:
        """Return the 6 bytes of the TPMS_PCR_SELECTION: hash u16, sizeofSelect u8 = 3, three bytes of bits."""
        bits = sum(1 << index for index in self.pcrs)
        return self.alg.to_bytes(2, "big") + bytes([SELECT_BYTES]) + bits.to_bytes(SELECT_BYTES, "little")

    def to_json(self) -> dict[str, Json]:
        """Return the selection as JSON: `alg` as four hex digits, `pcrs` as indices."""
        return {"alg": f"{self.alg:04x}", "pcrs": list(self.pcrs)}


def marshal_selections(selections: Iterable[PcrSelection]) -> bytes:
    """Return the TPML_PCR_SELECTION: count u32, then each selection."""
    parts = [selection.marshal() for selection in selections]
    return len(parts).to_bytes(4, "big") + b"".join(parts)


def read_selections(cursor: TpmCursor, name: str = "pcr_select") -> tuple[PcrSelection, ...]:
    """Return the TPML_PCR_SELECTION at the cursor. Raises `ParseError`: unknown bank, odd size, too many."""
    start = cursor.at
    count = int.from_bytes(cursor.take(4, f"{name} count"), "big")
    if count > MAX_SELECTIONS:
        raise cursor.refuse(4, f"{name} count", expected=f"at most {MAX_SELECTIONS}", found=str(count))
    selections: list[PcrSelection] = []
    for _ in range(count):
        alg = int.from_bytes(cursor.take(2, f"{name} hash"), "big")
        if alg not in HASHES:
            raise cursor.refuse(2, f"{name} hash", expected="a hash algorithm", found=alg_name(alg))
        size = cursor.take(1, f"{name} sizeofSelect")[0]
        if size != SELECT_BYTES:
            raise cursor.refuse(1, f"{name} sizeofSelect", expected=str(SELECT_BYTES), found=str(size))
        bits = int.from_bytes(cursor.take(SELECT_BYTES, f"{name} pcrSelect"), "little")
        selections.append(PcrSelection(alg, tuple(i for i in range(PCR_COUNT) if bits >> i & 1)))
    cursor.record(cursor.at - start, name, [s.to_json() for s in selections], "which PCRs of which bank")
    return tuple(selections)


def parse_selections(data: bytes) -> tuple[PcrSelection, ...]:
    """Return the selections of a whole TPML_PCR_SELECTION. Raises `ParseError`, also for trailing bytes."""
    cursor = TpmCursor(data, "TPML_PCR_SELECTION")
    selections = read_selections(cursor)
    cursor.end()
    return selections


def pcr_digest(pcrs: Mapping[int, bytes], selection: PcrSelection, *, hash_alg: int = Alg.SHA256) -> bytes:
    """Return the digest over the selected PCR values, concatenated in ascending order of index.

    `hash_alg` is the signing scheme's hash for a quote, the session's for PolicyPCR; both are SHA-256 on Azure.
    Raises `ParseError`: no PCR is selected, a selected one is missing, or its value is not a digest of the bank.
    Source: TPM 2.0 Library, Part 1, "Attesting to PCR", and Part 3, TPM2_Quote.
    """
    size = digest_size(selection.alg)
    if not selection.pcrs:
        raise ParseError(
            what="PCR selection",
            where=f"the {alg_name(selection.alg)} bank",
            expected="one PCR or more",
            found="none",
            fix="Quote PCRs: a digest over none says nothing of the boot.",
            source=SOURCE,
        )
    values = []
    for index in selection.pcrs:
        value = pcrs.get(index)
        if value is None or len(value) != size:
            raise ParseError(
                what=f"PCR {index}",
                where=f"the {alg_name(selection.alg)} PCR values",
                expected=f"{size} bytes",
                found="nothing" if value is None else f"{len(value)} bytes",
                fix="Pass the value of every selected PCR, from the bank that the selection names.",
                source=SOURCE,
            )
        values.append(value)
    return hash_bytes(hash_alg, b"".join(values))


def policy_pcr_digest(selection: PcrSelection, digest: bytes, *, hash_alg: int = Alg.SHA256) -> bytes:
    """Return the policyDigest of a fresh policy session after one TPM2_PolicyPCR: 32 bytes with SHA-256.

    H(zeros ‖ TPM_CC_PolicyPCR ‖ TPML_PCR_SELECTION ‖ `digest`), where `digest` is `pcr_digest(...)`.
    Source: TPM 2.0 Library, Part 3, TPM2_PolicyPCR.
    """
    zeros = bytes(digest_size(hash_alg))
    return hash_bytes(hash_alg, zeros + CC_POLICY_PCR.to_bytes(4, "big") + marshal_selections((selection,)) + digest)
