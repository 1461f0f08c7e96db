"""The symmetric half of a TPM's cryptography: digests, HMAC, KDFa, CFB, XOR obfuscation."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from skrkit.sandbox.vtpm.buffer import u32
from skrkit.sandbox.vtpm.codes import Alg

HASH_NAMES: Final = {Alg.SHA1: "sha1", Alg.SHA256: "sha256", Alg.SHA384: "sha384", Alg.SHA512: "sha512"}
HASH_SIZES: Final = {Alg.SHA1: 20, Alg.SHA256: 32, Alg.SHA384: 48, Alg.SHA512: 64}
_NAMES: Final = {int(alg): name for alg, name in HASH_NAMES.items()}
_SIZES: Final = {int(alg): size for alg, size in HASH_SIZES.items()}


def is_hash(alg: int) -> bool:
    """Return whether `alg` is a digest that this vTPM has."""
    return alg in _SIZES


def digest_size(alg: int) -> int:
    """Return the size of the digest in bytes; 0 for TPM_ALG_NULL."""
    return _SIZES.get(alg, 0)


def digest(alg: int, *parts: bytes) -> bytes:
    """Return the digest over the parts, one after the other."""
    return hashlib.new(_NAMES[alg], b"".join(parts), usedforsecurity=False).digest()


def hmac_digest(alg: int, key: bytes, *parts: bytes) -> bytes:
    """Return the HMAC over the parts, one after the other."""
    return hmac.digest(key, b"".join(parts), _NAMES[alg])


def kdfa(alg: int, key: bytes, label: bytes, context_u: bytes, context_v: bytes, bits: int) -> bytes:
    """Return `bits` bits of SP 800-108 counter-mode output. Source: part 1, 11.4.10.2 KDFa.

    `label` is given without its terminating zero byte.
    """
    fixed = label + b"\x00" + context_u + context_v + u32(bits)
    out = b""
    counter = 0
    while len(out) * 8 < bits:
        counter += 1
        out += hmac_digest(alg, key, u32(counter), fixed)
    return out[: (bits + 7) // 8]


def cfb(key: bytes, iv: bytes, data: bytes, *, decrypt: bool) -> bytes:
    """Return `data` under AES in full-block CFB mode. Key 16, 24 or 32 bytes, iv 16; any length of data.

    Built on single blocks, since libraries are about to drop the mode that TPMs go on using.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 (the block cipher itself, not a mode)
    out = bytearray()
    feedback = iv
    for at in range(0, len(data), 16):
        chunk = data[at : at + 16]
        mixed = bytes(a ^ b for a, b in zip(chunk, block.update(feedback), strict=False))
        out += mixed
        feedback = chunk if decrypt else mixed
    return bytes(out)


def xor_obfuscation(alg: int, key: bytes, context_u: bytes, context_v: bytes, data: bytes) -> bytes:
    """Return `data` with KDFa's "XOR" stream laid over it; twice gives it back. Source: part 1, 11.4.6.3."""
    stream = kdfa(alg, key, b"XOR", context_u, context_v, len(data) * 8)
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))
