"""TPMS_NV_PUBLIC: what a TPM says about an NV index. Big-endian, no trust."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar

from skrkit.tpm.algorithms import HASHES, MAX_DIGEST_BYTES, Alg, TpmCursor, hash_bytes
from skrkit.wire import Json, Span

NV_TYPES = {0: "ordinary", 1: "counter", 2: "bits", 4: "extend", 8: "pinFail", 9: "pinPass"}  # TPM_NT, bits 4 to 7


class NvAttributes(IntFlag):
    """TPMA_NV: who may read and write an NV index. Bits 4 to 7 are its type, a number (`NV_TYPES`).

    Source: TPM 2.0 Library, Part 2, "TPMA_NV".
    """

    PPWRITE = 1 << 0
    OWNERWRITE = 1 << 1
    AUTHWRITE = 1 << 2
    POLICYWRITE = 1 << 3
    POLICY_DELETE = 1 << 10
    WRITELOCKED = 1 << 11
    WRITEALL = 1 << 12
    WRITEDEFINE = 1 << 13
    WRITE_STCLEAR = 1 << 14
    GLOBALLOCK = 1 << 15
    PPREAD = 1 << 16
    OWNERREAD = 1 << 17
    AUTHREAD = 1 << 18
    POLICYREAD = 1 << 19
    NO_DA = 1 << 25
    ORDERLY = 1 << 26
    CLEAR_STCLEAR = 1 << 27
    READLOCKED = 1 << 28
    WRITTEN = 1 << 29
    PLATFORMCREATE = 1 << 30
    READ_STCLEAR = 1 << 31


# What Azure's clients define the user-data index with: anyone who holds the empty owner or index password.
GUEST_ATTRIBUTES = NvAttributes.OWNERREAD | NvAttributes.OWNERWRITE | NvAttributes.AUTHREAD | NvAttributes.AUTHWRITE
_TYPE_MASK = 0xF0
_KNOWN = int(sum(NvAttributes)) | _TYPE_MASK


@dataclass(frozen=True, slots=True, kw_only=True)
class NvPublic:
    """A parsed TPMS_NV_PUBLIC. `attributes` is the TPMA_NV as a number, type included; `data_size` is in bytes."""

    kind: ClassVar[str] = "tpms-nv-public"
    title: ClassVar[str] = "TPM NV index"

    raw: bytes
    nv_index: int
    name_alg: Alg
    attributes: int
    auth_policy: bytes
    data_size: int

    @property
    def nv_type(self) -> str:
        """The index type: "ordinary" for all that Azure uses."""
        return NV_TYPES[(self.attributes & _TYPE_MASK) >> 4]

    @property
    def written(self) -> bool:
        """Whether the index was ever written; reading one that was not is refused by the TPM."""
        return bool(self.attributes & NvAttributes.WRITTEN)

    def attribute_names(self) -> tuple[str, ...]:
        """Return the attributes that are set, in the specification's spelling, lowest bit first."""
        return tuple(str(bit.name) for bit in NvAttributes if self.attributes & bit)

    def name(self) -> bytes:
        """Return the index's Name: nameAlg u16 and the digest of the TPMS_NV_PUBLIC; 34 bytes with SHA-256."""
        return self.name_alg.to_bytes(2, "big") + hash_bytes(self.name_alg, self.raw)

    def fields(self) -> dict[str, Json]:
        """Return the decoded values; bytes as hex, attributes as hex and as names."""
        return {
            "nv_index": f"0x{self.nv_index:08x}",
            "name_alg": self.name_alg.name.lower(),
            "attributes": {"hex": f"0x{self.attributes:08x}", "set": list(self.attribute_names())},
            "nv_type": self.nv_type,
            "auth_policy": self.auth_policy.hex(),
            "data_size": self.data_size,
            "name": self.name().hex(),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return the annotated bytes, by reading them again."""
        cursor = TpmCursor(self.raw, "TPMS_NV_PUBLIC", silent=False)
        _read(cursor)
        return tuple(cursor.recorded)


def parse_nv_public(data: bytes) -> NvPublic:
    """Return the TPMS_NV_PUBLIC in `data`, without the size bytes of a TPM2B_NV_PUBLIC: 14 bytes without a policy.

    Raises `ParseError`: unknown hash, reserved attribute, unknown index type, truncated, trailing bytes.
    Source: TPM 2.0 Library, Part 2, "TPMS_NV_PUBLIC".
    """
    return _read(TpmCursor(data, "TPMS_NV_PUBLIC"))


def marshal_nv_public(index: int, size: int, attributes: int, *, name_alg: Alg = Alg.SHA256) -> bytes:
    """Return a TPMS_NV_PUBLIC without a policy: 14 bytes."""
    return b"".join(
        (
            index.to_bytes(4, "big"),
            name_alg.to_bytes(2, "big"),
            attributes.to_bytes(4, "big"),
            bytes(2),  # no policy
            size.to_bytes(2, "big"),
        )
    )


def _read(cursor: TpmCursor) -> NvPublic:
    index = cursor.uint(4, "nvIndex", "handle of the index")
    name_alg = cursor.alg("nameAlg", HASHES, "hash of the Name and of the policy")
    number = int.from_bytes(cursor.take(4, "attributes"), "big")
    if number & ~_KNOWN or (number & _TYPE_MASK) >> 4 not in NV_TYPES:
        raise cursor.refuse(4, "attributes", expected="no reserved bit and a known type", found=f"0x{number:08x}")
    names = " ".join(str(bit.name) for bit in NvAttributes if number & bit)
    cursor.record(4, "attributes", f"0x{number:08x}", names)
    policy = cursor.sized(2, "authPolicy", limit=MAX_DIGEST_BYTES)
    size = cursor.uint(2, "dataSize", "bytes of the index")
    cursor.end()
    return NvPublic(
        raw=cursor.data, nv_index=index, name_alg=name_alg, attributes=number, auth_policy=policy, data_size=size
    )
