"""Signing and verifying digests with the vTPM's keys: TPMT_SIGNATURE."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from skrkit.sandbox import keygen
from skrkit.sandbox.vtpm.algorithms import digest_size
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u16
from skrkit.sandbox.vtpm.codes import MAX_RSA_BYTES, SIGN, Alg, Rc, TpmError
from skrkit.sandbox.vtpm.keys import HASHES, Key
from skrkit.sandbox.vtpm.structures import MAX_COORDINATE, SIGN_SCHEMES, Scheme, read_hash


def signing_scheme(key: Key | None, asked: Scheme) -> Scheme | None:
    """Return the scheme to sign with; None if the key's own and the one asked for do not agree."""
    if key is None:
        return Scheme()
    own = key.public.scheme
    if own.alg == Alg.NULL:
        return asked if asked.alg != Alg.NULL else None
    if asked.alg == Alg.NULL:
        return own
    return own if own == asked else None


def may_sign(key: Key | None) -> bool:
    """Return whether the key may sign; no key at all may stand in a signing command."""
    return key is None or key.public.has(SIGN)


def sign(key: Key | None, scheme: Scheme, value: bytes) -> bytes:
    """Return the TPMT_SIGNATURE over a digest; 262 bytes for RSASSA with RSA-2048, 2 without a key."""
    if key is None:
        return u16(Alg.NULL)
    if scheme.alg not in SIGN_SCHEMES[Alg(key.public.type)]:
        raise TpmError(Rc.SCHEME)
    private, algorithm = key.private_key, HASHES[scheme.hash_alg]
    head = u16(scheme.alg) + u16(scheme.hash_alg)
    if isinstance(private, rsa.RSAPrivateKey):
        return head + tpm2b(private.sign(value, _padding(scheme), Prehashed(algorithm)))
    r, s = decode_dss_signature(private.sign(value, keygen.ecdsa(Prehashed(algorithm))))
    size = (private.key_size + 7) // 8
    return head + tpm2b(r.to_bytes(size, "big")) + tpm2b(s.to_bytes(size, "big"))


def _padding(scheme: Scheme) -> padding.AsymmetricPadding:
    if scheme.alg == Alg.RSASSA:
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(HASHES[scheme.hash_alg]), salt_length=digest_size(scheme.hash_alg))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """TPMT_SIGNATURE: RSA's one number in `r`, ECDSA's two in `r` and `s`."""

    scheme: Scheme
    r: bytes
    s: bytes = b""


def read_signature(reader: Reader) -> Signature:
    """Return a TPMT_SIGNATURE."""
    alg = reader.u16()
    if alg not in (Alg.RSASSA, Alg.RSAPSS, Alg.ECDSA):
        raise TpmError(Rc.SCHEME)
    scheme = Scheme(alg=alg, hash_alg=read_hash(reader))
    if alg == Alg.ECDSA:
        return Signature(scheme=scheme, r=reader.sized(MAX_COORDINATE), s=reader.sized(MAX_COORDINATE))
    return Signature(scheme=scheme, r=reader.sized(MAX_RSA_BYTES))


def verify(key: Key, value: bytes, signature: Signature) -> bool:
    """Return whether the signature over a digest is the key's. TPM_RC_SCHEME if it is not for this type of key."""
    if signature.scheme.alg not in SIGN_SCHEMES[Alg(key.public.type)]:
        raise TpmError(Rc.SCHEME)
    public, algorithm = key.public_key, Prehashed(HASHES[signature.scheme.hash_alg])
    if len(value) != digest_size(signature.scheme.hash_alg):
        return False
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature.r, value, _verifying(signature.scheme), algorithm)
        else:
            numbers = int.from_bytes(signature.r, "big"), int.from_bytes(signature.s, "big")
            public.verify(encode_dss_signature(*numbers), value, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def _verifying(scheme: Scheme) -> padding.AsymmetricPadding:
    if scheme.alg == Alg.RSASSA:
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(HASHES[scheme.hash_alg]), salt_length=padding.PSS.AUTO)
