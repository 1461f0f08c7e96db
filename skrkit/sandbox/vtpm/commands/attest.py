"""TPM2_Quote and TPM2_Certify: statements that the TPM signs. Source: part 1 clause 31, part 2 clause 10.12."""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import digest, kdfa
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u8, u16, u32, u64
from skrkit.sandbox.vtpm.codes import (
    CONTEXT_HASH_ALG,
    GENERATED,
    ST_ATTEST_CERTIFY,
    ST_ATTEST_QUOTE,
    Alg,
    Cc,
    Rc,
    Rh,
    handle_error,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import FIRMWARE_VERSION, Core
from skrkit.sandbox.vtpm.keys import Key
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.signatures import may_sign, sign, signing_scheme
from skrkit.sandbox.vtpm.structures import (
    Scheme,
    Selections,
    marshal_selections,
    read_selections,
    read_signing_scheme,
)

MAX_QUALIFYING = 66  # sizeof(TPMT_HA)
MASK_32, MASK_64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def _qualifying(reader: Reader) -> bytes:
    return reader.sized(MAX_QUALIFYING)


def _head(core: Core, signer: Key | None, kind: int, qualifying: bytes) -> bytes:
    """Return the members that every TPMS_ATTEST begins with.

    A key outside the endorsement and platform hierarchies gets counts and version blurred, so that two of them cannot
    be told to be of one TPM (part 1, 36.7).
    """
    clock, resets, restarts, safe = core.clock_info()
    version = FIRMWARE_VERSION
    qualified = u32(Rh.NULL) if signer is None else signer.qualified_name
    if signer is None or signer.hierarchy not in (Rh.ENDORSEMENT, Rh.PLATFORM):
        blur = kdfa(CONTEXT_HASH_ALG, core.state.proofs[Rh.OWNER], b"OBFUSCATE", qualified, b"", 128)
        version = version + int.from_bytes(blur[:8], "big") & MASK_64
        resets = resets + int.from_bytes(blur[8:12], "big") & MASK_32
        restarts = restarts + int.from_bytes(blur[12:], "big") & MASK_32
    return (
        u32(GENERATED)
        + u16(kind)
        + tpm2b(qualified)
        + tpm2b(qualifying)
        + u64(clock)
        + u32(resets)
        + u32(restarts)
        + u8(safe)
        + u64(version)
    )


def _signed(signer: Key | None, scheme: Scheme, statement: bytes) -> Reply:
    value = b"" if signer is None else digest(scheme.hash_alg, statement)
    return Reply(parameters=tpm2b(statement) + sign(signer, scheme, value))


def _signer(core: Core, handle: int) -> Key | None:
    return None if handle == Rh.NULL else core.key(handle)


@command(
    Cc.Quote,
    _qualifying,
    read_signing_scheme,
    read_selections,
    handles=((Handles.OBJECT_OR_NULL, Role.USER),),
    first_sized=True,
    answer_sized=True,
)
def quote(core: Core, handle: int, qualifying: bytes, asked: Scheme, selections: Selections) -> Reply:
    """TPM2_Quote: the digest of the selected PCRs, with the caller's bytes, signed."""
    signer = _signer(core, handle)
    if not may_sign(signer):
        raise handle_error(1, Rc.KEY)
    scheme = signing_scheme(signer, asked)
    if scheme is None or scheme.hash_alg == Alg.NULL:
        raise parameter_error(2, Rc.SCHEME)
    present = core.state.pcrs.present(selections)
    qualifying = qualifying if core.other_nonce is None else core.other_nonce
    statement = (
        _head(core, signer, ST_ATTEST_QUOTE, qualifying)
        + marshal_selections(present)
        + tpm2b(core.state.pcrs.digest(scheme.hash_alg, present))
    )
    return _signed(signer, scheme, statement)


@command(
    Cc.Certify,
    _qualifying,
    read_signing_scheme,
    handles=((Handles.OBJECT, Role.ADMIN), (Handles.OBJECT_OR_NULL, Role.USER)),
    first_sized=True,
    answer_sized=True,
)
def certify(core: Core, handle: int, sign_handle: int, qualifying: bytes, asked: Scheme) -> Reply:
    """TPM2_Certify: this object is loaded in this TPM, under this name."""
    signer = _signer(core, sign_handle)
    if not may_sign(signer):
        raise handle_error(2, Rc.KEY)
    scheme = signing_scheme(signer, asked)
    if scheme is None:
        raise parameter_error(2, Rc.SCHEME)
    key = core.key(handle if core.other_object is None else core.other_object)
    statement = _head(core, signer, ST_ATTEST_CERTIFY, qualifying) + tpm2b(key.name) + tpm2b(key.qualified_name)
    return _signed(signer, scheme, statement)
