"""TPM2_Policy*: what collects in a policy session until it authorises something.

Source: TCG TPM 2.0 Library, part 1 clause 19.7 and part 3 clause 23.
"""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import digest
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u32
from skrkit.sandbox.vtpm.codes import (
    MAX_DIGEST,
    ST_AUTH_SECRET,
    Cc,
    Rc,
    Rh,
    TpmError,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.registry import COMMANDS, Handles, Reply, Role, command
from skrkit.sandbox.vtpm.sessions import Session
from skrkit.sandbox.vtpm.structures import Selections, Ticket, marshal_selections, read_selections

_SESSION = ((Handles.POLICY_SESSION, Role.NONE),)


def _session(core: Core, handle: int) -> Session:
    session = core.sessions.get(handle)
    if session is None:
        raise TpmError(Rc.REFERENCE_H0)
    return session


@command(
    Cc.PolicyPCR,
    lambda reader: reader.sized(MAX_DIGEST),
    read_selections,
    handles=_SESSION,
    first_sized=True,
)
def policy_pcr(core: Core, handle: int, pcr_digest: bytes, selections: Selections) -> Reply:
    """TPM2_PolicyPCR: the PCRs have these values now, and must not change until the session is used."""
    session = _session(core, handle)
    pcrs = core.state.pcrs
    selections = pcrs.present(selections)
    current = pcrs.digest(session.hash_alg, selections)
    if session.is_trial:
        current = pcr_digest or current
    else:
        if session.pcr_counter not in (0, pcrs.counter):
            raise TpmError(Rc.PCR_CHANGED)
        if pcr_digest and pcr_digest != current:
            raise parameter_error(1, Rc.VALUE)
        session.pcr_counter = pcrs.counter
    session.extend_policy(Cc.PolicyPCR, marshal_selections(selections), current)
    return Reply()


@command(Cc.PolicyGetDigest, handles=_SESSION, answer_sized=True)
def policy_get_digest(core: Core, handle: int) -> Reply:
    """TPM2_PolicyGetDigest: what has been collected so far."""
    return Reply(parameters=tpm2b(_session(core, handle).policy))


@command(Cc.PolicyRestart, handles=_SESSION)
def policy_restart(core: Core, handle: int) -> Reply:
    """TPM2_PolicyRestart: begin again in the same session."""
    _session(core, handle).restart()
    return Reply()


@command(Cc.PolicyCommandCode, Reader.u32, handles=_SESSION)
def policy_command_code(core: Core, handle: int, code: int) -> Reply:
    """TPM2_PolicyCommandCode: the session may authorise this command only."""
    session = _session(core, handle)
    if session.command_code and session.command_code != code:
        raise parameter_error(1, Rc.VALUE)
    if code not in COMMANDS:
        raise parameter_error(1, Rc.POLICY_CC)
    session.extend_policy(Cc.PolicyCommandCode, u32(code))
    session.command_code = code
    return Reply()


@command(Cc.PolicyAuthValue, handles=_SESSION)
def policy_auth_value(core: Core, handle: int) -> Reply:
    """TPM2_PolicyAuthValue: the object's value must go into the HMAC of its use."""
    session = _session(core, handle)
    session.extend_policy(Cc.PolicyAuthValue)
    session.needs_auth, session.needs_password = True, False
    return Reply()


@command(Cc.PolicyPassword, handles=_SESSION)
def policy_password(core: Core, handle: int) -> Reply:
    """TPM2_PolicyPassword: the object's value must come as a password. The digest is that of PolicyAuthValue."""
    session = _session(core, handle)
    session.extend_policy(Cc.PolicyAuthValue)
    session.needs_auth, session.needs_password = False, True
    return Reply()


@command(
    Cc.PolicySecret,
    lambda reader: reader.sized(MAX_DIGEST),
    lambda reader: reader.sized(MAX_DIGEST),
    lambda reader: reader.sized(MAX_DIGEST),
    Reader.u32,
    handles=((Handles.ENTITY, Role.USER), (Handles.POLICY_SESSION, Role.NONE)),
    first_sized=True,
    answer_sized=True,
)
def policy_secret(
    core: Core, entity: int, handle: int, nonce_tpm: bytes, cp_hash_a: bytes, policy_ref: bytes, expiration: int
) -> Reply:
    """TPM2_PolicySecret: the caller knows the value of `entity`. No tickets: a negative expiration is refused."""
    session = core.sessions.get(handle)
    if session is None:
        raise TpmError(Rc.REFERENCE_H0 + 1)
    if expiration & 0x80000000:  # would ask for a ticket, which TPM2_PolicyTicket (absent here) would take
        raise parameter_error(4, Rc.EXPIRED)
    timeout = 0
    if expiration:
        timeout = (session.start_ms if nonce_tpm else core.state.clock_ms()) + expiration * 1000
    if not session.is_trial:
        _check_secret(core, session, nonce_tpm, cp_hash_a, timeout)
    session.extend_policy(Cc.PolicySecret, core.entity_name(entity))
    session.policy = digest(session.hash_alg, session.policy, policy_ref)
    session.cp_hash = cp_hash_a or session.cp_hash
    if timeout and (not session.timeout_ms or timeout < session.timeout_ms):
        session.timeout_ms = timeout
    return Reply(parameters=tpm2b(b"") + Ticket(tag=ST_AUTH_SECRET, hierarchy=int(Rh.NULL)).marshal())


def _check_secret(core: Core, session: Session, nonce_tpm: bytes, cp_hash_a: bytes, timeout: int) -> None:
    if nonce_tpm and nonce_tpm != session.nonce_tpm:
        raise parameter_error(1, Rc.NONCE)
    if timeout and timeout < core.state.clock_ms():
        raise parameter_error(4, Rc.EXPIRED)
    if cp_hash_a:
        if len(cp_hash_a) != len(session.policy):
            raise parameter_error(2, Rc.SIZE)
        if session.cp_hash and session.cp_hash != cp_hash_a:
            raise TpmError(Rc.CPHASH)
