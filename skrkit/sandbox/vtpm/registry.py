"""The table of commands: for each its code, the handles it takes and who must authorise them, and its parameters.

The dispatcher reads handles and parameters by this table, so that every unmarshalling error carries the right number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from skrkit.sandbox.vtpm.buffer import Reader
from skrkit.sandbox.vtpm.codes import (
    ACTIVE_SESSIONS,
    HT_HMAC,
    HT_NV,
    HT_PERSISTENT,
    HT_POLICY,
    HT_TRANSIENT,
    PCR_COUNT,
    TRANSIENT_SLOTS,
    Cc,
    Rc,
    Rh,
    TpmError,
)


class Role(Enum):
    """Who may authorise a command for a handle."""

    NONE = 0
    USER = 1
    ADMIN = 2


def _transient(handle: int) -> bool:
    return 0 <= handle - (HT_TRANSIENT << 24) < TRANSIENT_SLOTS


def is_session(handle: int, kind: int) -> bool:
    """Return whether a handle is one that a session of the kind (HT_HMAC, HT_POLICY) can have."""
    return 0 <= handle - (kind << 24) < ACTIVE_SESSIONS


def _object(handle: int) -> bool:
    return _transient(handle) or handle >> 24 == HT_PERSISTENT


def _context(handle: int) -> bool:
    return _transient(handle) or is_session(handle, HT_HMAC) or is_session(handle, HT_POLICY)


def _hierarchy(handle: int) -> bool:
    return handle in (Rh.OWNER, Rh.ENDORSEMENT, Rh.PLATFORM)


class Handles(Enum):
    """The kinds of handle that a command takes (TPMI_DH_*, TPMI_RH_*, TPMI_SH_*): which numbers pass."""

    OBJECT = 0
    OBJECT_OR_NULL = 1
    ENTITY = 2
    ENTITY_OR_NULL = 3
    PCR = 4
    PCR_OR_NULL = 5
    NV_INDEX = 6
    NV_AUTH = 7
    PROVISION = 8
    HIERARCHY_OR_NULL = 9
    HIERARCHY_AUTH = 10
    POLICY_SESSION = 11
    CONTEXT = 12
    PERSISTENT = 13
    LOCKOUT = 14

    def passes(self, handle: int) -> bool:
        """Return whether a handle is of this kind, by its number alone."""
        return _PASSES[self](handle)

    def read(self, reader: Reader) -> int:
        """Return the next handle; TPM_RC_VALUE if it is of another kind."""
        handle = reader.u32()
        if not self.passes(handle):
            raise TpmError(Rc.VALUE)
        return handle


def _entity(handle: int) -> bool:
    return handle < PCR_COUNT or handle >> 24 == HT_NV or _object(handle) or _hierarchy(handle) or handle == Rh.LOCKOUT


_PASSES: dict[Handles, Callable[[int], bool]] = {
    Handles.OBJECT: _object,
    Handles.OBJECT_OR_NULL: lambda handle: _object(handle) or handle == Rh.NULL,
    Handles.ENTITY: _entity,
    Handles.ENTITY_OR_NULL: lambda handle: _entity(handle) or handle == Rh.NULL,
    Handles.PCR: lambda handle: handle < PCR_COUNT,
    Handles.PCR_OR_NULL: lambda handle: handle < PCR_COUNT or handle == Rh.NULL,
    Handles.NV_INDEX: lambda handle: handle >> 24 == HT_NV,
    Handles.NV_AUTH: lambda handle: handle >> 24 == HT_NV or handle in (Rh.OWNER, Rh.PLATFORM),
    Handles.PROVISION: lambda handle: handle in (Rh.OWNER, Rh.PLATFORM),
    Handles.HIERARCHY_OR_NULL: lambda handle: _hierarchy(handle) or handle == Rh.NULL,
    Handles.HIERARCHY_AUTH: lambda handle: _hierarchy(handle) or handle == Rh.LOCKOUT,
    Handles.POLICY_SESSION: lambda handle: is_session(handle, HT_POLICY),
    Handles.CONTEXT: _context,
    Handles.PERSISTENT: lambda handle: handle >> 24 == HT_PERSISTENT,
    Handles.LOCKOUT: lambda handle: handle == Rh.LOCKOUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a command answers: its parameters, and a handle if it makes one."""

    parameters: bytes = b""
    handle: int | None = None


Action = Callable[..., Reply]
Parameter = Callable[[Reader], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table."""

    code: int
    handles: tuple[tuple[Handles, Role], ...]
    parameters: tuple[Parameter, ...]
    action: Action
    sessions: bool  # whether a session may come with it
    first_sized: bool  # whether the first parameter is a TPM2B, which a session may encrypt
    answer_sized: bool  # the same of the response
    answers_handle: bool
    writes: bool  # an NV write: it needs AUTHWRITE, not AUTHREAD, of an index's own value


COMMANDS: dict[int, Command] = {}


def command(
    code: Cc,
    *parameters: Parameter,
    handles: tuple[tuple[Handles, Role], ...] = (),
    sessions: bool = True,
    first_sized: bool = False,
    answer_sized: bool = False,
    answers_handle: bool = False,
    writes: bool = False,
) -> Callable[[Action], Action]:
    """Return a decorator that puts the function into the table. It is called with core, handles, parameters."""

    def register(action: Action) -> Action:
        COMMANDS[code] = Command(
            code=int(code),
            handles=handles,
            parameters=parameters,
            action=action,
            sessions=sessions,
            first_sized=first_sized,
            answer_sized=answer_sized,
            answers_handle=answers_handle,
            writes=writes,
        )
        return action

    return register


@dataclass(slots=True, kw_only=True)
class Call:
    """One command as received, with what its authorisation needs."""

    command: Command
    handles: tuple[int, ...]
    names: tuple[bytes, ...]  # of the handles, as they were when the command came
    received: bytes  # the parameters as they came: what digests are computed over
    parameters: bytes  # the parameters in the clear

    def role(self, position: int) -> Role:
        """Return the role that the handle at `position`, from 0, needs authorised."""
        return self.command.handles[position][1] if position < len(self.command.handles) else Role.NONE
