"""TPM2_ContextSave, ContextLoad, FlushContext: objects and sessions out of the TPM and back, as tpm2-tools needs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skrkit.sandbox import chance
from skrkit.sandbox.vtpm.algorithms import hmac_digest
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u32, u64
from skrkit.sandbox.vtpm.codes import (
    HT_HMAC,
    HT_POLICY,
    HT_TRANSIENT,
    Alg,
    Cc,
    Rc,
    Rh,
    TpmError,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.keys import Key
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command, is_session
from skrkit.sandbox.vtpm.sessions import Session

SAVED_OBJECT, SAVED_ST_CLEAR = 0x80000000, 0x80000002  # 0x80000001 is a sequence's: none is made here
MAX_BLOB = 4000
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedContext:
    """TPMS_CONTEXT: what stands outside the TPM for an object or a session."""

    sequence: int
    handle: int
    hierarchy: int
    blob: bytes

    def label(self) -> bytes:
        """Return the members in the clear, which the blob is bound to."""
        return u64(self.sequence) + u32(self.handle) + u32(self.hierarchy)


def _read_context(reader: Reader) -> SavedContext:
    sequence = int.from_bytes(reader.take(8), "big")
    handle = reader.u32()
    if not (is_session(handle, HT_HMAC) or is_session(handle, HT_POLICY) or SAVED_OBJECT <= handle <= SAVED_ST_CLEAR):
        raise TpmError(Rc.VALUE)
    hierarchy = Handles.HIERARCHY_OR_NULL.read(reader)
    return SavedContext(sequence=sequence, handle=handle, hierarchy=hierarchy, blob=reader.sized(MAX_BLOB))


def _cipher(core: Core, context: SavedContext) -> AESGCM:
    """Return the cipher for a context: bound to the hierarchy's proof, so that NULL contexts end with a reset."""
    state = core.state
    ends = u32(state.clear_count) if context.handle != SAVED_OBJECT else b""  # sessions and stClear objects end too
    return AESGCM(hmac_digest(Alg.SHA256, state.context_key, state.proofs[context.hierarchy], ends))


def _seal(core: Core, handle: int, hierarchy: int, document: dict[str, object]) -> SavedContext:
    core.state.context_counter += 1
    core.dirty = True
    clear = SavedContext(sequence=core.state.context_counter, handle=handle, hierarchy=hierarchy, blob=b"")
    nonce = chance.token_bytes("vtpm/context-nonce", NONCE_BYTES)
    text = json.dumps(document, separators=(",", ":")).encode()
    blob = nonce + _cipher(core, clear).encrypt(nonce, text, clear.label())
    return SavedContext(sequence=clear.sequence, handle=handle, hierarchy=hierarchy, blob=blob)


@command(Cc.ContextSave, handles=((Handles.CONTEXT, Role.NONE),), sessions=False)
def context_save(core: Core, handle: int) -> Reply:
    """TPM2_ContextSave: an object stays loaded, a session leaves its slot."""
    if handle >> 24 == HT_TRANSIENT:
        key = core.key(handle)
        saved = _seal(core, SAVED_ST_CLEAR if key.st_clear else SAVED_OBJECT, key.hierarchy, key.to_document())
    else:
        session = core.sessions.get(handle)
        if session is None:
            raise TpmError(Rc.REFERENCE_H0)
        saved = _seal(core, handle, int(Rh.NULL), session.to_document())
        core.sessions.flush(handle)
        core.sessions.saved[handle] = saved.sequence
    return Reply(parameters=saved.label() + tpm2b(saved.blob))


@command(Cc.ContextLoad, _read_context, sessions=False, answers_handle=True)
def context_load(core: Core, context: SavedContext) -> Reply:
    """TPM2_ContextLoad: what this TPM saved, unchanged, in the same hierarchy and not before the last reset."""
    try:
        opened = _cipher(core, context).decrypt(context.blob[:NONCE_BYTES], context.blob[NONCE_BYTES:], context.label())
    except (InvalidTag, ValueError):
        raise parameter_error(1, Rc.INTEGRITY) from None
    document = json.loads(opened)
    if context.handle >> 24 == HT_TRANSIENT:
        return Reply(handle=core.load(Key.from_document(document)))
    if core.sessions.saved.get(context.handle) != context.sequence:
        raise parameter_error(1, Rc.HANDLE)
    core.sessions.check_room()
    del core.sessions.saved[context.handle]
    core.sessions.loaded[context.handle] = Session.from_document(document)
    return Reply(handle=context.handle)


@command(Cc.FlushContext, Handles.CONTEXT.read, sessions=False)
def flush_context(core: Core, handle: int) -> Reply:
    """TPM2_FlushContext: forget a loaded object, or a session wherever it is."""
    found = core.objects.pop(handle, None) is not None if handle >> 24 == HT_TRANSIENT else core.sessions.flush(handle)
    if not found:
        raise parameter_error(1, Rc.HANDLE)
    return Reply()
