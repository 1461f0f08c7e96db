"""Authorisation sessions: HMAC, policy and trial. Three can be loaded; more can be saved outside."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from skrkit.sandbox.vtpm.algorithms import digest, digest_size
from skrkit.sandbox.vtpm.buffer import u32
from skrkit.sandbox.vtpm.codes import (
    ACTIVE_SESSIONS,
    HT_HMAC,
    HT_POLICY,
    LOADED_SESSIONS,
    Rc,
    TpmError,
)
from skrkit.sandbox.vtpm.structures import Symmetric

SE_HMAC, SE_POLICY, SE_TRIAL = 0x00, 0x01, 0x03
_OTHER_KIND = (HT_HMAC ^ HT_POLICY) << 24


@dataclass(kw_only=True)
class Session:
    """One session. The policy members are those that TPM2_Policy* commands collect and an authorisation checks."""

    kind: int
    hash_alg: int
    nonce_tpm: bytes
    symmetric: Symmetric
    key: bytes = field(default=b"", repr=False)
    bound: tuple[bytes, bytes] | None = field(default=None, repr=False)  # name and value of the entity it is bound to
    da_bound: bool = False
    lockout_bound: bool = False
    audit: bytes | None = None  # the digest, once the session has been used for audit
    start_ms: int = 0
    policy: bytes = b""
    pcr_counter: int = 0  # 0: no PolicyPCR yet
    command_code: int = 0
    cp_hash: bytes = b""
    timeout_ms: int = 0
    needs_auth: bool = False  # PolicyAuthValue: an HMAC with the object's value
    needs_password: bool = False

    def __post_init__(self) -> None:
        if not self.policy:
            self.policy = bytes(digest_size(self.hash_alg))

    @property
    def is_policy(self) -> bool:
        """Whether it is a policy or a trial session."""
        return self.kind != SE_HMAC

    @property
    def is_trial(self) -> bool:
        """Whether it only computes a digest and can authorise nothing."""
        return self.kind == SE_TRIAL

    def restart(self) -> None:
        """Forget what the policy commands collected."""
        self.policy = bytes(digest_size(self.hash_alg))
        self.pcr_counter = self.command_code = self.timeout_ms = 0
        self.cp_hash = b""
        self.needs_auth = self.needs_password = False

    def extend_policy(self, code: int, *parts: bytes) -> None:
        """Extend the policy digest with a command code and what follows it."""
        self.policy = digest(self.hash_alg, self.policy, u32(code), *parts)

    def to_document(self) -> dict[str, Any]:
        """Return the session as JSON members: the content of a saved context."""
        members = {name: getattr(self, name) for name in _PLAIN}
        members |= {name: _text(getattr(self, name)) for name in _BYTES}
        members["symmetric"] = [self.symmetric.alg, self.symmetric.bits, self.symmetric.mode]
        members["bound"] = None if self.bound is None else [_text(self.bound[0]), _text(self.bound[1])]
        members["audit"] = None if self.audit is None else _text(self.audit)
        return members

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Session:
        """Return the session that `to_document` wrote."""
        alg, bits, mode = document["symmetric"]
        bound, audit = document["bound"], document["audit"]
        return cls(
            **{name: document[name] for name in _PLAIN},
            nonce_tpm=base64.b64decode(document["nonce_tpm"]),
            key=base64.b64decode(document["key"]),
            policy=base64.b64decode(document["policy"]),
            cp_hash=base64.b64decode(document["cp_hash"]),
            symmetric=Symmetric(alg=alg, bits=bits, mode=mode),
            bound=None if bound is None else (base64.b64decode(bound[0]), base64.b64decode(bound[1])),
            audit=None if audit is None else base64.b64decode(audit),
        )


_PLAIN = (
    "kind",
    "hash_alg",
    "da_bound",
    "lockout_bound",
    "start_ms",
    "pcr_counter",
    "command_code",
    "timeout_ms",
    "needs_auth",
    "needs_password",
)
_BYTES = ("nonce_tpm", "key", "policy", "cp_hash")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class SessionTable:
    """The sessions by handle. A slot is the low three bytes of a handle, shared by both kinds of handle."""

    def __init__(self) -> None:
        self.loaded: dict[int, Session] = {}
        self.saved: dict[int, int] = {}  # handle of a session that is out, to the sequence number it went out with

    def _slots(self) -> set[int]:
        return {handle & 0xFFFFFF for handle in (*self.loaded, *self.saved)}

    def add(self, session: Session) -> int:
        """Return the handle of a new session; TPM_RC_SESSION_MEMORY, TPM_RC_SESSION_HANDLES if there is no room."""
        self.check_room()
        used = self._slots()
        slot = next((slot for slot in range(ACTIVE_SESSIONS) if slot not in used), None)
        if slot is None:
            raise TpmError(Rc.SESSION_HANDLES)
        handle = (HT_POLICY if session.is_policy else HT_HMAC) << 24 | slot
        self.loaded[handle] = session
        return handle

    def check_room(self) -> None:
        """Return nothing if a session can be loaded; raise TPM_RC_SESSION_MEMORY if not."""
        if len(self.loaded) >= LOADED_SESSIONS:
            raise TpmError(Rc.SESSION_MEMORY)

    def get(self, handle: int) -> Session | None:
        """Return the loaded session. Its slot's other kind of handle finds it too, for the caller to refuse."""
        return self.loaded.get(handle) or self.loaded.get(handle ^ _OTHER_KIND)

    def flush(self, handle: int) -> bool:
        """Remove the session in the handle's slot, loaded or saved; return whether there was one."""
        for each in (handle, handle ^ _OTHER_KIND):
            if self.loaded.pop(each, None) is not None or self.saved.pop(each, None) is not None:
                return True
        return False
