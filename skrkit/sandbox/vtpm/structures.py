"""Layouts with several members: public areas, schemes, PCR selections, NV public areas. Unmarshal and marshal.

A second statement of what `skrkit.tpm` states for the client: neither imports the other, so that each keeps the other
honest. Unmarshalling checks what the TPM checks there, in its order. Source: TCG TPM 2.0 Library, part 2.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from skrkit.sandbox.vtpm.algorithms import digest, is_hash
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u8, u16, u32
from skrkit.sandbox.vtpm.codes import (
    HT_NV,
    MAX_DIGEST,
    MAX_RSA_BYTES,
    NV_INDEX_MAX,
    NV_RESERVED,
    OBJECT_RESERVED,
    Alg,
    Rc,
    TpmError,
)

HASH_COUNT = 4
MAX_SENSITIVE_DATA = 128  # MAX_SYM_DATA
MAX_COORDINATE = 48  # P-384
ECC_P256, ECC_P384 = 0x0003, 0x0004
CURVE_BYTES: Final = {ECC_P256: 32, ECC_P384: 48}
RSA_BITS = (1024, 2048, 3072)
AES_BITS = (128, 256)

SIGN_SCHEMES: Final = {Alg.RSA: (Alg.RSASSA, Alg.RSAPSS), Alg.ECC: (Alg.ECDSA,)}
DECRYPT_SCHEMES: Final = {Alg.RSA: (Alg.RSAES, Alg.OAEP), Alg.ECC: ()}


def read_hash(reader: Reader, *, null: bool = False) -> int:
    """Return a digest algorithm (TPMI_ALG_HASH); TPM_RC_HASH if the TPM has none such."""
    alg = reader.u16()
    if not (is_hash(alg) or (null and alg == Alg.NULL)):
        raise TpmError(Rc.HASH)
    return alg


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """An asymmetric scheme and its digest: TPMT_RSA_SCHEME, TPMT_SIG_SCHEME, TPMT_RSA_DECRYPT alike."""

    alg: int = int(Alg.NULL)
    hash_alg: int = int(Alg.NULL)

    def marshal(self) -> bytes:
        """Return the scheme's bytes: 2, or 4 with a digest."""
        return u16(self.alg) + (b"" if self.alg in (Alg.NULL, Alg.RSAES) else u16(self.hash_alg))


def read_scheme(reader: Reader, allowed: Collection[int], unknown: Rc = Rc.VALUE) -> Scheme:
    """Return a scheme out of `allowed` or TPM_ALG_NULL; `unknown` for another one, TPM_RC_HASH for its digest."""
    alg = reader.u16()
    if alg == Alg.NULL:
        return Scheme()
    if alg not in allowed:
        raise TpmError(unknown)
    return Scheme(alg=alg) if alg == Alg.RSAES else Scheme(alg=alg, hash_alg=read_hash(reader))


def read_decrypt_scheme(reader: Reader) -> Scheme:
    """Return a TPMT_RSA_DECRYPT+."""
    return read_scheme(reader, DECRYPT_SCHEMES[Alg.RSA])


def read_signing_scheme(reader: Reader) -> Scheme:
    """Return a TPMT_SIG_SCHEME+; an unknown one is TPM_RC_SCHEME."""
    return read_scheme(reader, (Alg.RSASSA, Alg.RSAPSS, Alg.ECDSA), Rc.SCHEME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Symmetric:
    """A symmetric algorithm: TPMT_SYM_DEF, TPMT_SYM_DEF_OBJECT. For XOR, `bits` is the digest algorithm."""

    alg: int = int(Alg.NULL)
    bits: int = 0
    mode: int = 0

    def marshal(self) -> bytes:
        """Return the definition's bytes: 2 for TPM_ALG_NULL, 4 for XOR, 6 for AES."""
        if self.alg == Alg.NULL:
            return u16(self.alg)
        return u16(self.alg) + u16(self.bits) + (b"" if self.alg == Alg.XOR else u16(self.mode))


def read_symmetric(reader: Reader, *, xor: bool) -> Symmetric:
    """Return a TPMT_SYM_DEF+ (`xor`: a session's) or TPMT_SYM_DEF_OBJECT+ (a key's)."""
    alg = reader.u16()
    if alg == Alg.NULL:
        return Symmetric()
    if alg == Alg.XOR and xor:
        return Symmetric(alg=alg, bits=read_hash(reader))
    if alg != Alg.AES:
        raise TpmError(Rc.SYMMETRIC)
    bits = reader.u16()
    if bits not in AES_BITS:
        raise TpmError(Rc.VALUE)
    mode = reader.u16()
    if mode not in (Alg.NULL, Alg.CFB):
        raise TpmError(Rc.MODE)
    return Symmetric(alg=alg, bits=bits, mode=mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicArea:
    """TPMT_PUBLIC of an RSA or ECC key. `unique` is the modulus, or x and y as two TPM2B in a row for ECC."""

    type: int
    name_alg: int
    attributes: int
    policy: bytes = b""
    symmetric: Symmetric = Symmetric()
    scheme: Scheme = Scheme()
    bits: int = 0  # RSA: the modulus; ECC: 0
    exponent: int = 0  # RSA: 0 is 65537
    curve: int = 0
    unique: bytes = b""

    def marshal(self) -> bytes:
        """Return the TPMT_PUBLIC; 280 bytes for an attestation key of RSA-2048."""
        head = u16(self.type) + u16(self.name_alg) + u32(self.attributes) + tpm2b(self.policy)
        head += self.symmetric.marshal() + self.scheme.marshal()
        if self.type == Alg.RSA:
            return head + u16(self.bits) + u32(self.exponent) + tpm2b(self.unique)
        return head + u16(self.curve) + u16(Alg.NULL) + (self.unique or bytes(4))

    def name(self) -> bytes:
        """Return the name: the digest algorithm's number and the digest of the TPMT_PUBLIC. 34 bytes for SHA-256."""
        if self.name_alg == Alg.NULL:
            return b""
        return u16(self.name_alg) + digest(self.name_alg, self.marshal())

    def has(self, attributes: int) -> bool:
        """Return whether all of the attribute bits are set."""
        return self.attributes & attributes == attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParameters:
    """TPMS_RSA_PARMS or TPMS_ECC_PARMS."""

    symmetric: Symmetric
    scheme: Scheme
    bits: int = 0
    exponent: int = 0
    curve: int = 0


def read_key_parameters(reader: Reader, kind: int) -> KeyParameters:
    """Return the parameters of an RSA or ECC key."""
    symmetric = read_symmetric(reader, xor=False)
    unknown = Rc.VALUE if kind == Alg.RSA else Rc.SCHEME
    scheme = read_scheme(reader, (*SIGN_SCHEMES[Alg(kind)], *DECRYPT_SCHEMES[Alg(kind)]), unknown)
    if kind == Alg.RSA:
        bits = reader.u16()
        if bits not in RSA_BITS:
            raise TpmError(Rc.VALUE)
        return KeyParameters(symmetric=symmetric, scheme=scheme, bits=bits, exponent=reader.u32())
    curve = reader.u16()
    if curve not in CURVE_BYTES:
        raise TpmError(Rc.CURVE)
    if reader.u16() != Alg.NULL:  # a key derivation scheme: none is implemented
        raise TpmError(Rc.KDF)
    return KeyParameters(symmetric=symmetric, scheme=scheme, curve=curve)


def read_public_area(reader: Reader, *, null_name: bool = False) -> PublicArea:
    """Return a TPMT_PUBLIC. TPM_RC_TYPE for another type than RSA and ECC."""
    kind = reader.u16()
    if kind not in (Alg.RSA, Alg.ECC):
        raise TpmError(Rc.TYPE)
    name_alg = read_hash(reader, null=null_name)
    attributes = reader.u32()
    if attributes & OBJECT_RESERVED:
        raise TpmError(Rc.RESERVED_BITS)
    policy = reader.sized(MAX_DIGEST)
    parameters = read_key_parameters(reader, kind)
    if kind == Alg.RSA:
        unique = reader.sized(MAX_RSA_BYTES)
    else:
        unique = tpm2b(reader.sized(MAX_COORDINATE)) + tpm2b(reader.sized(MAX_COORDINATE))
    return PublicArea(
        type=kind,
        name_alg=name_alg,
        attributes=attributes,
        policy=policy,
        symmetric=parameters.symmetric,
        scheme=parameters.scheme,
        bits=parameters.bits,
        exponent=parameters.exponent,
        curve=parameters.curve,
        unique=unique,
    )


def _inside(reader: Reader) -> int:
    """Return where a TPM2B with a structure in it must end; TPM_RC_SIZE for an empty one."""
    size = reader.u16()
    if size == 0:
        raise TpmError(Rc.SIZE)
    return reader.at + size


def _closed(reader: Reader, end: int) -> None:
    if reader.at != end:
        raise TpmError(Rc.SIZE)


def read_public(reader: Reader) -> PublicArea:
    """Return the content of a TPM2B_PUBLIC that names its digest."""
    end = _inside(reader)
    area = read_public_area(reader)
    _closed(reader, end)
    return area


def read_public_or_null_name(reader: Reader) -> PublicArea:
    """Return the content of a TPM2B_PUBLIC+, as TPM2_LoadExternal takes it."""
    end = _inside(reader)
    area = read_public_area(reader, null_name=True)
    _closed(reader, end)
    return area


def read_sensitive_create(reader: Reader) -> tuple[bytes, bytes]:
    """Return (userAuth, data) of a TPM2B_SENSITIVE_CREATE."""
    end = _inside(reader)
    values = reader.sized(MAX_DIGEST), reader.sized(MAX_SENSITIVE_DATA)
    _closed(reader, end)
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitive:
    """TPMT_SENSITIVE: `secret` is one prime of an RSA key, or the private number of an ECC key."""

    type: int
    auth: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    secret: bytes = field(repr=False)


def read_sensitive(reader: Reader) -> Sensitive:
    """Return a TPMT_SENSITIVE; TPM_RC_TYPE for another type than RSA and ECC."""
    kind = reader.u16()
    if kind not in (Alg.RSA, Alg.ECC):
        raise TpmError(Rc.TYPE)
    auth, seed = reader.sized(MAX_DIGEST), reader.sized(MAX_DIGEST)
    return Sensitive(type=kind, auth=auth.rstrip(b"\x00"), seed=seed, secret=reader.sized(MAX_RSA_BYTES // 2))


def read_optional_sensitive(reader: Reader) -> Sensitive | None:
    """Return the content of a TPM2B_SENSITIVE, None for an empty one, as TPM2_LoadExternal takes it."""
    size = reader.u16()
    if size == 0:
        return None
    end = reader.at + size
    sensitive = read_sensitive(reader)
    _closed(reader, end)
    return sensitive


@dataclass(frozen=True, slots=True, kw_only=True)
class PcrSelection:
    """TPMS_PCR_SELECTION: PCRs of one bank, as the bit map of `sizeofSelect` bytes that came in."""

    alg: int
    bitmap: bytes

    def pcrs(self) -> tuple[int, ...]:
        """Return the selected PCRs, ascending."""
        bits = int.from_bytes(self.bitmap, "little")
        return tuple(pcr for pcr in range(len(self.bitmap) * 8) if bits >> pcr & 1)

    def marshal(self) -> bytes:
        """Return the selection's bytes: 6 for a bit map of 3."""
        return u16(self.alg) + u8(len(self.bitmap)) + self.bitmap


Selections = tuple[PcrSelection, ...]


def read_selections(reader: Reader) -> Selections:
    """Return a TPML_PCR_SELECTION; TPM_RC_VALUE for a bit map that is not 3 bytes, TPM_RC_HASH for the bank."""
    count = reader.u32()
    if count > HASH_COUNT:
        raise TpmError(Rc.SIZE)
    selections = []
    for _ in range(count):
        alg = read_hash(reader)
        size = reader.u8()
        if size != 3:
            raise TpmError(Rc.VALUE)
        selections.append(PcrSelection(alg=alg, bitmap=reader.take(size)))
    return tuple(selections)


def marshal_selections(selections: Selections) -> bytes:
    """Return the TPML_PCR_SELECTION; 10 bytes for one bank."""
    return u32(len(selections)) + b"".join(each.marshal() for each in selections)


def read_digest_values(reader: Reader) -> tuple[tuple[int, bytes], ...]:
    """Return a TPML_DIGEST_VALUES: pairs of bank and digest."""
    count = reader.u32()
    if count > HASH_COUNT:
        raise TpmError(Rc.SIZE)
    values = []
    for _ in range(count):
        alg = read_hash(reader)
        values.append((alg, reader.take(len(digest(alg)))))
    return tuple(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class NvPublic:
    """TPMS_NV_PUBLIC: what an NV index says about itself."""

    index: int
    name_alg: int
    attributes: int
    policy: bytes
    size: int

    def marshal(self) -> bytes:
        """Return the TPMS_NV_PUBLIC; 14 bytes without a policy."""
        return u32(self.index) + u16(self.name_alg) + u32(self.attributes) + tpm2b(self.policy) + u16(self.size)

    def name(self) -> bytes:
        """Return the index's name; it changes when an attribute does (the first write sets TPMA_NV_WRITTEN)."""
        return u16(self.name_alg) + digest(self.name_alg, self.marshal())

    def has(self, attributes: int) -> bool:
        """Return whether all of the attribute bits are set."""
        return self.attributes & attributes == attributes


def read_nv_public(reader: Reader) -> NvPublic:
    """Return the content of a TPM2B_NV_PUBLIC."""
    end = _inside(reader)
    index = reader.u32()
    if index >> 24 != HT_NV:
        raise TpmError(Rc.VALUE)
    name_alg = read_hash(reader)
    attributes = reader.u32()
    if attributes & NV_RESERVED:
        raise TpmError(Rc.RESERVED_BITS)
    policy = reader.sized(MAX_DIGEST)
    size = reader.u16()
    if size > NV_INDEX_MAX:
        raise TpmError(Rc.SIZE)
    _closed(reader, end)
    return NvPublic(index=index, name_alg=name_alg, attributes=attributes, policy=policy, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """TPMT_TK_*: the TPM's own word for something that it saw before."""

    tag: int
    hierarchy: int
    digest: bytes = b""

    def marshal(self) -> bytes:
        """Return the ticket's bytes: 8 and the digest."""
        return u16(self.tag) + u32(self.hierarchy) + tpm2b(self.digest)


def read_test_parameters(reader: Reader) -> None:
    """Read the TPMT_PUBLIC_PARMS of a key: what TPM2_TestParms asks about. Raises as `read_public_area` does."""
    kind = reader.u16()
    if kind not in (Alg.RSA, Alg.ECC):
        raise TpmError(Rc.TYPE)
    read_key_parameters(reader, kind)
