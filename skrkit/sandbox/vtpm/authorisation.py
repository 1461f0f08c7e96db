"""The session area of a command: parsed, checked, and answered.

A password is compared; an HMAC is computed over the command, the nonces and the attributes, with the session's key and
the object's value; a policy session must carry the object's own policy digest, over PCRs that have not changed since.
Source: TCG TPM 2.0 Library, part 1 clauses 17 and 19.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from skrkit.sandbox import chance
from skrkit.sandbox.vtpm.algorithms import digest, hmac_digest
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u8, u32
from skrkit.sandbox.vtpm.codes import (
    ADMIN_WITH_POLICY,
    AUDIT,
    AUDIT_EXCLUSIVE,
    AUDIT_RESET,
    CONTINUE_SESSION,
    HT_HMAC,
    HT_NV,
    HT_PERMANENT,
    HT_PERSISTENT,
    HT_POLICY,
    HT_TRANSIENT,
    MAX_DIGEST,
    NV_AUTHREAD,
    NV_AUTHWRITE,
    NV_POLICYREAD,
    NV_POLICYWRITE,
    SESSION_DECRYPT,
    SESSION_ENCRYPT,
    SESSION_RESERVED,
    USER_WITH_AUTH,
    Alg,
    Cc,
    Rc,
    Rh,
    TpmError,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.encryption import decrypt_parameter, encrypt_parameter
from skrkit.sandbox.vtpm.registry import Call, Role, is_session
from skrkit.sandbox.vtpm.sessions import Session

MAX_SESSIONS = 3


@dataclass(slots=True, kw_only=True)
class Authorisation:
    """One entry of a command's session area. `entity` is the handle it authorises, None if it only comes along."""

    number: int  # from 1, as errors count
    handle: int
    nonce_caller: bytes
    attributes: int
    value: bytes  # password or HMAC
    session: Session | None = None
    entity: int | None = None
    includes_value: bool = False  # whether the entity's value goes into the HMAC's key

    def has(self, attribute: int) -> bool:
        """Return whether the attribute bit is set."""
        return bool(self.attributes & attribute)


def authorise(core: Core, call: Call, area: Reader) -> list[Authorisation]:
    """Return the command's authorisations, all of them checked; raise `TpmError` for the first that does not hold."""
    if not call.command.sessions:
        raise TpmError(Rc.AUTH_CONTEXT)
    entries = _parse(core, call, area)
    for position, handle in enumerate(call.handles):
        if call.role(position) is not Role.NONE:
            if position >= len(entries):
                raise TpmError(Rc.AUTH_MISSING)
            entries[position].entity = handle
    for entry in entries:
        _check_entry(core, call, entry, entries)
    for entry in entries:
        if entry.has(SESSION_DECRYPT) and entry.session is not None:
            call.parameters = decrypt_parameter(entry.session, entry.nonce_caller, _extra(core, entry), call.parameters)
    return entries


def _extra(core: Core, entry: Authorisation) -> bytes:
    return b"" if entry.entity is None else core.auth_value(entry.entity)


def _parse(core: Core, call: Call, area: Reader) -> list[Authorisation]:
    entries: list[Authorisation] = []
    while area.left:
        number = len(entries) + 1
        try:
            if number > MAX_SESSIONS:
                raise TpmError(Rc.SIZE)
            entry = _parse_entry(area, number)
            _resolve(core, entry)
            _check_use(call, entry, entries)
        except TpmError as refused:
            raise refused.session(number) from None
        _check_audit(core, entry)
        entries.append(entry)
    return entries


def _parse_entry(area: Reader, number: int) -> Authorisation:
    handle = area.u32()
    if not (is_session(handle, HT_HMAC) or is_session(handle, HT_POLICY) or handle == Rh.PW):
        raise TpmError(Rc.VALUE)
    nonce = area.sized(MAX_DIGEST)
    attributes = area.u8()
    if attributes & SESSION_RESERVED:
        raise TpmError(Rc.RESERVED_BITS)
    return Authorisation(
        number=number, handle=handle, nonce_caller=nonce, attributes=attributes, value=area.sized(MAX_DIGEST)
    )


def _resolve(core: Core, entry: Authorisation) -> None:
    if entry.handle == Rh.PW:
        if entry.attributes & ~CONTINUE_SESSION:
            raise TpmError(Rc.ATTRIBUTES)
        if entry.nonce_caller:
            raise TpmError(Rc.NONCE)
        return
    entry.session = core.sessions.get(entry.handle)
    if entry.session is None:
        raise TpmError(Rc.REFERENCE_S0 + entry.number - 1)
    if entry.session.is_policy != (entry.handle >> 24 == HT_POLICY):
        raise TpmError(Rc.HANDLE)


def _check_use(call: Call, entry: Authorisation, before: list[Authorisation]) -> None:
    session = entry.session
    if session is None:
        return
    if any(other.handle == entry.handle for other in before):
        raise TpmError(Rc.HANDLE)
    for bit, possible in ((SESSION_DECRYPT, call.command.first_sized), (SESSION_ENCRYPT, call.command.answer_sized)):
        if entry.has(bit):
            if not possible or any(other.has(bit) for other in before):
                raise TpmError(Rc.ATTRIBUTES)
            if session.symmetric.alg == Alg.NULL:
                raise TpmError(Rc.SYMMETRIC)
    if entry.has(AUDIT) and (any(other.has(AUDIT) for other in before) or session.is_policy):
        raise TpmError(Rc.ATTRIBUTES)


def _check_audit(core: Core, entry: Authorisation) -> None:
    if entry.session is None or not entry.has(AUDIT) or entry.has(AUDIT_RESET) or entry.session.audit is None:
        return
    if entry.has(AUDIT_EXCLUSIVE) and core.exclusive_audit != entry.handle:
        raise TpmError(Rc.EXCLUSIVE)


def _check_entry(core: Core, call: Call, entry: Authorisation, entries: list[Authorisation]) -> None:
    session = entry.session
    if session is None:
        if entry.entity is None:
            raise TpmError(Rc.HANDLE).session(entry.number)
    else:
        if session.is_trial:
            raise TpmError(Rc.ATTRIBUTES).session(entry.number)
        if session.da_bound:
            core.check_lockout(lockout_auth=session.lockout_bound)
    try:
        if entry.entity is not None:
            _check_authorisation(core, call, entry, entries)
        else:
            if not entry.attributes & (AUDIT | SESSION_DECRYPT | SESSION_ENCRYPT):
                raise TpmError(Rc.ATTRIBUTES)
            _check_hmac(core, call, entry, entries)
    except TpmError as refused:
        raise refused.session(entry.number) from None


def _check_authorisation(core: Core, call: Call, entry: Authorisation, entries: list[Authorisation]) -> None:
    session, entity = entry.session, entry.entity
    assert entity is not None
    by_policy = session is not None and session.is_policy
    if session is not None:
        if session.is_policy:
            entry.includes_value = session.needs_auth or session.needs_password
        else:
            entry.includes_value = session.bound != (core.entity_name(entity), core.auth_value(entity))
    if (session is None or entry.includes_value) and not core.da_exempt(entity):
        core.check_lockout(lockout_auth=entity == Rh.LOCKOUT)
    position = entry.number - 1
    if by_policy:
        assert session is not None
        if not _policy_available(core, call, entity, position):
            raise TpmError(Rc.AUTH_UNAVAILABLE)
        _check_policy(core, call, entity, position, session)
    else:
        if _policy_required(core, call, entity, position):
            raise TpmError(Rc.AUTH_TYPE)
        if not _value_available(core, call, entity, position):
            raise TpmError(Rc.AUTH_UNAVAILABLE)
    if session is None or session.needs_password:
        if not hmac.compare_digest(entry.value.rstrip(b"\x00"), core.auth_value(entity)):
            raise _failure(core, entry)
    else:
        _check_hmac(core, call, entry, entries)


def _policy_required(core: Core, call: Call, entity: int, position: int) -> bool:
    """An ADMIN role needs a policy, save on an object that leaves ADMIN to its value."""
    if call.role(position) is not Role.ADMIN:
        return False
    found = core.find_object(entity)
    return found is None or found.public.has(ADMIN_WITH_POLICY)


def _value_available(core: Core, call: Call, entity: int, position: int) -> bool:
    kind = entity >> 24
    if kind in (HT_TRANSIENT, HT_PERSISTENT):
        key = core.key(entity)
        by_admin = call.role(position) is Role.ADMIN and not key.public.has(ADMIN_WITH_POLICY)
        return not key.public_only and (key.public.has(USER_WITH_AUTH) or by_admin)
    if kind == HT_NV:
        return core.index(entity).public.has(NV_AUTHWRITE if call.command.writes else NV_AUTHREAD)
    return True


def _policy_available(core: Core, call: Call, entity: int, position: int) -> bool:
    kind = entity >> 24
    if kind in (HT_TRANSIENT, HT_PERSISTENT):
        return not core.key(entity).public_only
    if kind == HT_NV:
        public = core.index(entity).public
        if not public.policy:
            return False
        needed = NV_POLICYWRITE if call.command.writes else NV_POLICYREAD
        return _policy_required(core, call, entity, position) or public.has(needed)
    return kind == HT_PERMANENT and bool(core.auth_policy(entity)[1])


def _check_policy(core: Core, call: Call, entity: int, position: int, session: Session) -> None:
    if call.command.code == Cc.PolicySecret and not (session.needs_auth or session.needs_password):
        raise TpmError(Rc.MODE)
    if session.pcr_counter not in (0, core.state.pcrs.counter):
        raise TpmError(Rc.PCR_CHANGED)
    alg, policy = core.auth_policy(entity)
    if session.policy != policy or session.hash_alg != alg:
        raise TpmError(Rc.POLICY_FAIL)
    if session.timeout_ms and session.timeout_ms < core.state.clock_ms():
        raise TpmError(Rc.EXPIRED)
    if session.command_code:
        if session.command_code != call.command.code:
            raise TpmError(Rc.POLICY_CC)
    elif call.role(position) is Role.ADMIN:
        raise TpmError(Rc.POLICY_FAIL)
    if session.cp_hash and session.cp_hash != cp_hash(call, session.hash_alg):
        raise TpmError(Rc.POLICY_FAIL)


def cp_hash(call: Call, alg: int) -> bytes:
    """Return the digest over the command: its code, the names of its handles, its parameters as they came."""
    return digest(alg, u32(call.command.code), *call.names, call.received)


def _key(core: Core, entry: Authorisation, session: Session) -> bytes:
    value = core.auth_value(entry.entity) if entry.includes_value and entry.entity is not None else b""
    return session.key + value


def _check_hmac(core: Core, call: Call, entry: Authorisation, entries: list[Authorisation]) -> None:
    session = entry.session
    assert session is not None
    key = _key(core, entry, session)
    expected = b""
    if key or entry.value:  # with no key at all, an empty HMAC is right, and so is one with an empty key
        expected = hmac_digest(
            session.hash_alg,
            key,
            cp_hash(call, session.hash_alg),
            entry.nonce_caller,
            session.nonce_tpm,
            *_other_nonces(entry, entries),
            u8(entry.attributes),
        )
    if not hmac.compare_digest(entry.value, expected):
        raise _failure(core, entry)


def _other_nonces(entry: Authorisation, entries: list[Authorisation]) -> list[bytes]:
    """Return the nonces that tie the first authorisation to the sessions that encrypt (part 1, 19.6.5)."""
    if entry.number != 1 or entry.entity is None:
        return []
    decrypting = next((other for other in entries if other.has(SESSION_DECRYPT)), None)
    encrypting = next((other for other in entries if other.has(SESSION_ENCRYPT)), None)
    others: list[Authorisation] = []
    for other in (decrypting, encrypting):
        if other is not None and other is not entry and other not in others:
            others.append(other)
    return [other.session.nonce_tpm for other in others if other.session is not None]


def _failure(core: Core, entry: Authorisation) -> TpmError:
    session, entity = entry.session, entry.entity
    if session is None:
        assert entity is not None
        return TpmError(Rc.BAD_AUTH) if core.da_exempt(entity) else core.note_failure(entity)
    exempt = entity is None or core.da_exempt(entity) or not entry.includes_value
    if not session.da_bound and exempt:
        return TpmError(Rc.BAD_AUTH)
    return core.note_failure(int(Rh.LOCKOUT) if session.lockout_bound or entity is None else entity)


def answer(core: Core, call: Call, entries: list[Authorisation], parameters: bytes) -> tuple[bytes, bytes]:
    """Return the response's parameters, encrypted if asked for, and its session area. Sessions move on."""
    for entry in entries:
        if entry.session is not None:
            entry.session.nonce_tpm = chance.token_bytes("vtpm/nonce", len(entry.session.nonce_tpm))
    for entry in entries:
        if entry.has(SESSION_ENCRYPT) and entry.session is not None:
            parameters = encrypt_parameter(entry.session, entry.nonce_caller, _extra(core, entry), parameters)
    _audit(core, call, entries, parameters)
    return parameters, b"".join(_answer_entry(core, call, entry, parameters) for entry in entries)


def _rp_hash(call: Call, alg: int, parameters: bytes) -> bytes:
    return digest(alg, u32(0), u32(call.command.code), parameters)


def _audit(core: Core, call: Call, entries: list[Authorisation], parameters: bytes) -> None:
    auditing = next((entry for entry in entries if entry.has(AUDIT)), None)
    if auditing is None or auditing.session is None:
        if call.command.sessions:
            core.exclusive_audit = int(Rh.UNASSIGNED)
        return
    session = auditing.session
    if session.audit is None or auditing.has(AUDIT_RESET):
        session.audit = bytes(len(digest(session.hash_alg)))
        session.bound = None
        core.exclusive_audit = auditing.handle
    elif core.exclusive_audit != auditing.handle:
        core.exclusive_audit = int(Rh.UNASSIGNED)
    auditing.attributes &= ~AUDIT_EXCLUSIVE
    if core.exclusive_audit == auditing.handle:
        auditing.attributes |= AUDIT_EXCLUSIVE
    alg = session.hash_alg
    session.audit = digest(alg, session.audit, cp_hash(call, alg), _rp_hash(call, alg, parameters))


def _answer_entry(core: Core, call: Call, entry: Authorisation, parameters: bytes) -> bytes:
    session = entry.session
    if session is None:
        return tpm2b(b"") + u8(CONTINUE_SESSION) + tpm2b(b"")
    value = b""
    key = _key(core, entry, session)
    if (key or entry.value) and not (session.is_policy and session.needs_password):
        value = hmac_digest(
            session.hash_alg,
            key,
            _rp_hash(call, session.hash_alg, parameters),
            session.nonce_tpm,
            entry.nonce_caller,
            u8(entry.attributes),
        )
    out = tpm2b(session.nonce_tpm) + u8(entry.attributes) + tpm2b(value)
    if not entry.has(CONTINUE_SESSION):
        core.sessions.flush(entry.handle)
    elif session.is_policy:
        session.restart()
        session.start_ms = core.state.clock_ms()
    return out
