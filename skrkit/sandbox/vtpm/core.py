"""The running TPM that commands act on: the kept state, the loaded objects and sessions, and who is who by handle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skrkit.sandbox.vtpm.algorithms import hmac_digest
from skrkit.sandbox.vtpm.buffer import u16, u32
from skrkit.sandbox.vtpm.codes import (
    CONTEXT_HASH_ALG,
    HT_NV,
    HT_PCR,
    HT_PERMANENT,
    HT_PERSISTENT,
    HT_TRANSIENT,
    NO_DA,
    NV_NO_DA,
    TRANSIENT_SLOTS,
    Alg,
    Rc,
    Rh,
    TpmError,
)
from skrkit.sandbox.vtpm.keys import Key
from skrkit.sandbox.vtpm.nv import NvIndex
from skrkit.sandbox.vtpm.sessions import SessionTable
from skrkit.sandbox.vtpm.state import VtpmState

TRANSIENT_FIRST = 0x80000000
FIRMWARE_VERSION = 0x2026_1124_0000_0001  # this vTPM's own: it is not Azure's firmware and does not say that it is


@dataclass
class Core:
    """The state of one TPM between two commands."""

    state: VtpmState
    on_nv_read: Callable[[int, int], None] | None = None
    objects: dict[int, Key] = field(default_factory=dict)
    sessions: SessionTable = field(default_factory=SessionTable)
    exclusive_audit: int = int(Rh.UNASSIGNED)
    da_used: bool = False  # whether a value under dictionary-attack protection was used since the start
    dirty: bool = False
    # What a fault puts in place of the caller's nonce in a quote, and of the object that a certification is about.
    other_nonce: bytes | None = None
    other_object: int | None = None

    def start(self, *, clear: bool) -> None:
        """Do what power and TPM2_Startup do. `clear` is a TPM Reset; otherwise a Resume, with PCRs as they were."""
        state = self.state
        self.objects.clear()
        self.sessions = SessionTable()
        self.exclusive_audit = int(Rh.UNASSIGNED)
        self.da_used = False
        if clear:
            state.forget_null_hierarchy()
            state.pcrs.start()
            state.reset_count += 1
            state.restart_count = 0
            state.clear_count += 1
            state.auths[Rh.PLATFORM] = b""  # part 1, 13.3: platformAuth does not outlive a reset
        else:
            state.restart_count += 1
        for index in state.nv.values():
            index.start(clear=clear)
        state.started = True
        self.dirty = True

    # Who a handle is

    def find_object(self, handle: int) -> Key | None:
        """Return the loaded or persistent object of a handle, or None."""
        if handle >> 24 == HT_PERSISTENT:
            return self.state.persistent.get(handle)
        return self.objects.get(handle)

    def key(self, handle: int) -> Key:
        """Return the object of a handle that was already checked to be there."""
        found = self.find_object(handle)
        if found is None:
            raise TpmError(Rc.HANDLE)
        return found

    def index(self, handle: int) -> NvIndex:
        """Return the NV index of a handle that was already checked to be there."""
        return self.state.nv[handle]

    def entity_name(self, handle: int) -> bytes:
        """Return the name that authorisations bind: the object's or index's; for anything else the handle itself."""
        kind = handle >> 24
        if kind in (HT_TRANSIENT, HT_PERSISTENT):
            return self.key(handle).name
        return self.index(handle).public.name() if kind == HT_NV else u32(handle)

    def auth_value(self, handle: int) -> bytes:
        """Return the authorisation value, without trailing zeros."""
        kind = handle >> 24
        if kind in (HT_TRANSIENT, HT_PERSISTENT):
            value = self.key(handle).auth
        elif kind == HT_NV:
            value = self.index(handle).auth
        elif kind == HT_PERMANENT:
            value = self.state.auths.get(handle, b"")
        else:
            value = b""
        return value.rstrip(b"\x00")

    def auth_policy(self, handle: int) -> tuple[int, bytes]:
        """Return the policy's digest algorithm and digest; TPM_ALG_NULL and nothing without one."""
        kind = handle >> 24
        if kind in (HT_TRANSIENT, HT_PERSISTENT):
            area = self.key(handle).public
            return area.name_alg, area.policy
        if kind == HT_NV:
            public = self.index(handle).public
            return public.name_alg, public.policy
        return int(Alg.NULL), b""

    def da_exempt(self, handle: int) -> bool:
        """Return whether a wrong value for this handle does not count towards the lockout."""
        kind = handle >> 24
        if kind == HT_PERMANENT:
            return handle != Rh.LOCKOUT
        if kind in (HT_TRANSIENT, HT_PERSISTENT):
            return self.key(handle).public.has(NO_DA)
        if kind == HT_NV:
            return self.index(handle).public.has(NV_NO_DA)
        return kind == HT_PCR

    def hierarchy_of(self, handle: int) -> int:
        """Return the hierarchy that an entity belongs to: tickets carry it."""
        kind = handle >> 24
        if kind in (HT_TRANSIENT, HT_PERSISTENT):
            return self.key(handle).hierarchy
        if kind == HT_PERMANENT and handle in (Rh.ENDORSEMENT, Rh.PLATFORM, Rh.NULL):
            return handle
        return int(Rh.OWNER)

    # Slots

    def check_slot(self, count: int = 1) -> None:
        """Return nothing if `count` objects can be loaded; raise TPM_RC_OBJECT_MEMORY if not."""
        if len(self.objects) + count > TRANSIENT_SLOTS:
            raise TpmError(Rc.OBJECT_MEMORY)

    def load(self, key: Key) -> int:
        """Return the transient handle of an object that is now loaded."""
        self.check_slot()
        handle = next(h for h in range(TRANSIENT_FIRST, TRANSIENT_FIRST + TRANSIENT_SLOTS) if h not in self.objects)
        self.objects[handle] = key
        return handle

    # Dictionary attacks

    def check_lockout(self, *, lockout_auth: bool) -> None:
        """Return nothing if a protected value may be tried; raise TPM_RC_LOCKOUT, or once a start TPM_RC_RETRY."""
        attack = self.state.attack
        self._heal()
        if lockout_auth:
            if not attack.lockout_enabled:
                raise TpmError(Rc.LOCKOUT)
            return
        if attack.failed >= attack.MAX_TRIES:
            raise TpmError(Rc.LOCKOUT)
        if not self.da_used:  # part 1, 19.8.6: "used" is noted in NV first, and the caller tries again
            self.da_used = True
            raise TpmError(Rc.RETRY)

    def note_failure(self, handle: int) -> TpmError:
        """Return the refusal for a wrong protected value, having counted it."""
        attack = self.state.attack
        if handle == Rh.LOCKOUT:
            attack.lockout_enabled = False
        else:
            attack.failed += 1
        attack.last_failure_ms = self.state.clock_ms()
        self.dirty = True
        return TpmError(Rc.AUTH_FAIL)

    def _heal(self) -> None:
        attack = self.state.attack
        healed = (self.state.clock_ms() - attack.last_failure_ms) // (attack.RECOVERY_S * 1000)
        if attack.failed and healed > 0:
            attack.failed = max(0, attack.failed - healed)
            attack.last_failure_ms += healed * attack.RECOVERY_S * 1000
            self.dirty = True

    # Tickets

    def ticket_digest(self, hierarchy: int, tag: int, *parts: bytes) -> bytes:
        """Return the HMAC that makes a ticket the TPM's own: keyed by the hierarchy's proof."""
        return hmac_digest(CONTEXT_HASH_ALG, self.state.proofs[hierarchy], u16(tag), *parts)

    # Clock

    def clock_info(self) -> tuple[int, int, int, int]:
        """Return clock in ms, reset count, restart count, and 1 for "safe": the clock has never gone back."""
        state = self.state
        return state.clock_ms(), state.reset_count, state.restart_count, 1
