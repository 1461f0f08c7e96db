"""TPM2_RSA_Decrypt and TPM2_RSA_Encrypt."""

from __future__ import annotations

from functools import lru_cache
from math import lcm

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from skrkit.sandbox.vtpm.buffer import tpm2b
from skrkit.sandbox.vtpm.codes import (
    DECRYPT,
    MAX_LABEL,
    MAX_RSA_BYTES,
    RESTRICTED,
    Alg,
    Cc,
    Rc,
    TpmError,
    handle_error,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.keys import HASHES, Key
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.structures import PublicArea, Scheme, read_decrypt_scheme


def select_scheme(key: PublicArea, asked: Scheme) -> Scheme | None:
    """Return the scheme to use: the key's own if it has one, else the one asked for; None if they contradict."""
    if key.scheme.alg == Alg.NULL:
        return asked
    if asked.alg == Alg.NULL or asked == key.scheme:
        return key.scheme
    return None


def _oaep(scheme: Scheme, label: bytes) -> padding.OAEP:
    algorithm = HASHES[scheme.hash_alg]
    return padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=label or None)


@command(
    Cc.RSA_Decrypt,
    lambda reader: reader.sized(MAX_RSA_BYTES),
    read_decrypt_scheme,
    lambda reader: reader.sized(MAX_LABEL),
    handles=((Handles.OBJECT, Role.USER),),
    first_sized=True,
    answer_sized=True,
)
def rsa_decrypt(core: Core, handle: int, ciphertext: bytes, asked: Scheme, label: bytes) -> Reply:
    """TPM2_RSA_Decrypt. What does not decrypt is TPM_RC_FAILURE whatever was wrong with it, as in libtpms."""
    key = core.key(handle)
    if key.public.type != Alg.RSA:
        raise handle_error(1, Rc.KEY)
    if key.public.has(RESTRICTED) or not key.public.has(DECRYPT):
        raise handle_error(1, Rc.ATTRIBUTES)
    if label and label[-1]:
        raise parameter_error(3, Rc.VALUE)
    scheme = select_scheme(key.public, asked)
    if scheme is None:
        raise parameter_error(2, Rc.SCHEME)
    if len(ciphertext) != key.public.bits // 8:
        raise TpmError(Rc.SIZE)
    return Reply(parameters=tpm2b(_decrypt(key, ciphertext, scheme, label)))


def _decrypt(key: Key, ciphertext: bytes, scheme: Scheme, label: bytes) -> bytes:
    private = key.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    if scheme.alg == Alg.NULL:
        return _raw(private, ciphertext)
    try:
        if scheme.alg == Alg.OAEP:
            return private.decrypt(ciphertext, _oaep(scheme, label))
        plaintext = private.decrypt(ciphertext, padding.PKCS1v15())
        twin = _twin(key.private).decrypt(ciphertext, padding.PKCS1v15())
    except ValueError:
        raise TpmError(Rc.FAILURE) from None
    if plaintext != twin:
        raise TpmError(Rc.FAILURE)
    return plaintext


@lru_cache(maxsize=32)
def _twin(private: bytes) -> rsa.RSAPrivateKey:
    """Return the same RSA key with another, equally right private exponent, d + lcm(p-1, q-1).

    OpenSSL answers bad PKCS #1 v1.5 padding with bytes made from the exponent and the ciphertext ("implicit
    rejection"), where a TPM refuses. Two exponents give the same plaintext if the padding is good, and different bytes
    if not.
    """
    key = load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = key.private_numbers()
    return rsa.RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d % lcm(numbers.p - 1, numbers.q - 1) + lcm(numbers.p - 1, numbers.q - 1),
        dmp1=numbers.dmp1,
        dmq1=numbers.dmq1,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)


def _raw(private: rsa.RSAPrivateKey, ciphertext: bytes) -> bytes:
    """Return the plain RSA operation's result: about 10 ms; no client here uses it."""
    numbers = private.private_numbers()
    value = int.from_bytes(ciphertext, "big")
    if value >= numbers.public_numbers.n:
        raise TpmError(Rc.FAILURE)
    by_p = pow(value, numbers.dmp1, numbers.p)
    by_q = pow(value, numbers.dmq1, numbers.q)
    result = by_q + numbers.q * ((by_p - by_q) * numbers.iqmp % numbers.p)
    return result.to_bytes(len(ciphertext), "big")


@command(
    Cc.RSA_Encrypt,
    lambda reader: reader.sized(MAX_RSA_BYTES),
    read_decrypt_scheme,
    lambda reader: reader.sized(MAX_LABEL),
    handles=((Handles.OBJECT, Role.NONE),),
    first_sized=True,
    answer_sized=True,
)
def rsa_encrypt(core: Core, handle: int, message: bytes, asked: Scheme, label: bytes) -> Reply:
    """TPM2_RSA_Encrypt: with the public half, which needs no authorisation."""
    key = core.key(handle)
    if key.public.type != Alg.RSA:
        raise handle_error(1, Rc.KEY)
    if not key.public.has(DECRYPT):
        raise handle_error(1, Rc.ATTRIBUTES)
    if label and label[-1]:
        raise parameter_error(3, Rc.VALUE)
    scheme = select_scheme(key.public, asked)
    if scheme is None:
        raise parameter_error(2, Rc.SCHEME)
    public = key.public_key
    assert isinstance(public, rsa.RSAPublicKey)
    return Reply(parameters=tpm2b(_encrypt(public, message, scheme, label)))


def _encrypt(public: rsa.RSAPublicKey, message: bytes, scheme: Scheme, label: bytes) -> bytes:
    size = public.key_size // 8
    if scheme.alg == Alg.NULL:
        numbers, value = public.public_numbers(), int.from_bytes(message, "big")
        if len(message) > size or value >= numbers.n:
            raise parameter_error(1, Rc.VALUE)
        return pow(value, numbers.e, numbers.n).to_bytes(size, "big")
    try:
        return public.encrypt(message, _oaep(scheme, label) if scheme.alg == Alg.OAEP else padding.PKCS1v15())
    except ValueError:  # too long for the padding
        raise TpmError(Rc.FAILURE) from None
