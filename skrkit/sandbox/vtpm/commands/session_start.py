"""TPM2_StartAuthSession."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrkit.sandbox import chance
from skrkit.sandbox.vtpm.algorithms import digest_size, kdfa
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b
from skrkit.sandbox.vtpm.codes import (
    DECRYPT,
    HT_PERSISTENT,
    HT_TRANSIENT,
    MAX_DIGEST,
    MAX_RSA_BYTES,
    Alg,
    Cc,
    Rc,
    Rh,
    TpmError,
    handle_error,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.keys import HASHES
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.sessions import SE_HMAC, SE_POLICY, SE_TRIAL, Session
from skrkit.sandbox.vtpm.structures import Symmetric, read_hash, read_symmetric

MIN_NONCE = 16


def _session_type(reader: Reader) -> int:
    kind = reader.u8()
    if kind not in (SE_HMAC, SE_POLICY, SE_TRIAL):
        raise TpmError(Rc.VALUE)
    return kind


@command(
    Cc.StartAuthSession,
    lambda reader: reader.sized(MAX_DIGEST),
    lambda reader: reader.sized(MAX_RSA_BYTES),
    _session_type,
    lambda reader: read_symmetric(reader, xor=True),
    read_hash,
    handles=((Handles.OBJECT_OR_NULL, Role.NONE), (Handles.ENTITY_OR_NULL, Role.NONE)),
    first_sized=True,
    answer_sized=True,
    answers_handle=True,
)
def start_auth_session(
    core: Core,
    tpm_key: int,
    bind: int,
    nonce_caller: bytes,
    encrypted_salt: bytes,
    kind: int,
    symmetric: Symmetric,
    hash_alg: int,
) -> Reply:
    """TPM2_StartAuthSession: the session's key comes from the salt and from the value of the entity it is bound to."""
    if not MIN_NONCE <= len(nonce_caller) <= digest_size(hash_alg):
        raise parameter_error(1, Rc.SIZE)
    salt = _salt(core, tpm_key, encrypted_salt)
    if bind >> 24 in (HT_TRANSIENT, HT_PERSISTENT) and core.key(bind).public_only:
        raise handle_error(2, Rc.HANDLE)
    if symmetric.alg == Alg.AES and symmetric.mode != Alg.CFB:
        raise parameter_error(4, Rc.MODE)
    core.sessions.check_room()
    nonce_tpm = chance.token_bytes("vtpm/nonce", len(nonce_caller))
    bound_value = b"" if bind == Rh.NULL else core.auth_value(bind)
    key = b""
    if bind != Rh.NULL or salt:
        key = kdfa(hash_alg, bound_value + salt, b"ATH", nonce_tpm, nonce_caller, digest_size(hash_alg) * 8)
    da_bound = bind != Rh.NULL and not core.da_exempt(bind)
    session = Session(
        kind=kind,
        hash_alg=hash_alg,
        nonce_tpm=nonce_tpm,
        symmetric=symmetric,
        key=key,
        bound=(core.entity_name(bind), bound_value) if bind != Rh.NULL and kind == SE_HMAC else None,
        da_bound=da_bound,
        lockout_bound=da_bound and bind == Rh.LOCKOUT,
        start_ms=core.state.clock_ms(),
    )
    return Reply(handle=core.sessions.add(session), parameters=tpm2b(nonce_tpm))


def _salt(core: Core, handle: int, encrypted: bytes) -> bytes:
    if handle == Rh.NULL:
        if encrypted:
            raise parameter_error(2, Rc.VALUE)
        return b""
    key = core.key(handle)
    if not encrypted:
        raise parameter_error(2, Rc.VALUE)
    if key.public_only:
        raise handle_error(1, Rc.HANDLE)
    if not key.public.has(DECRYPT):
        raise handle_error(1, Rc.ATTRIBUTES)
    private = key.private_key
    if not isinstance(private, rsa.RSAPrivateKey):  # a salt by ECDH is not implemented
        raise handle_error(1, Rc.KEY)
    algorithm = HASHES[key.public.name_alg]
    oaep = padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=b"SECRET\x00")
    try:
        return private.decrypt(encrypted, oaep)
    except ValueError:
        raise parameter_error(2, Rc.VALUE) from None
