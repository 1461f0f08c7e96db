"""TPM2_Hash, TPM2_Sign, TPM2_VerifySignature."""

from __future__ import annotations

import hmac

from skrkit.sandbox.vtpm.algorithms import digest, digest_size
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u16, u32
from skrkit.sandbox.vtpm.codes import (
    GENERATED,
    MAX_DIGEST,
    RESTRICTED,
    SIGN,
    ST_HASHCHECK,
    ST_VERIFIED,
    X509_SIGN,
    Cc,
    Rc,
    Rh,
    TpmError,
    handle_error,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.signatures import Signature, may_sign, read_signature, sign, signing_scheme, verify
from skrkit.sandbox.vtpm.structures import Scheme, Ticket, read_hash, read_signing_scheme

MAX_BUFFER = 1024


def _hashcheck(reader: Reader) -> Ticket:
    tag = reader.u16()
    if tag != ST_HASHCHECK:
        raise TpmError(Rc.TAG)
    hierarchy = Handles.HIERARCHY_OR_NULL.read(reader)
    return Ticket(tag=tag, hierarchy=hierarchy, digest=reader.sized(MAX_DIGEST))


@command(
    Cc.Hash,
    lambda reader: reader.sized(MAX_BUFFER),
    read_hash,
    Handles.HIERARCHY_OR_NULL.read,
    first_sized=True,
    answer_sized=True,
)
def hash_data(core: Core, data: bytes, alg: int, hierarchy: int) -> Reply:
    """TPM2_Hash: the digest, and a ticket that says the data did not look like the TPM's own statement."""
    value = digest(alg, data)
    if hierarchy == Rh.NULL or data[:4] == u32(GENERATED):
        ticket = Ticket(tag=ST_HASHCHECK, hierarchy=int(Rh.NULL))
    else:
        proof = core.ticket_digest(hierarchy, ST_HASHCHECK, u16(alg), value)
        ticket = Ticket(tag=ST_HASHCHECK, hierarchy=hierarchy, digest=proof)
    return Reply(parameters=tpm2b(value) + ticket.marshal())


@command(
    Cc.Sign,
    lambda reader: reader.sized(MAX_DIGEST),
    read_signing_scheme,
    _hashcheck,
    handles=((Handles.OBJECT, Role.USER),),
    first_sized=True,
)
def sign_digest(core: Core, handle: int, value: bytes, asked: Scheme, ticket: Ticket) -> Reply:
    """TPM2_Sign: a restricted key signs only what the TPM itself digested, by the ticket."""
    key = core.key(handle)
    if not may_sign(key):
        raise handle_error(1, Rc.KEY)
    if key.public.has(X509_SIGN):
        raise handle_error(1, Rc.ATTRIBUTES)
    scheme = signing_scheme(key, asked)
    if scheme is None:
        raise parameter_error(2, Rc.SCHEME)
    if key.public.has(RESTRICTED) or ticket.digest:
        proof = core.ticket_digest(ticket.hierarchy, ST_HASHCHECK, u16(scheme.hash_alg), value)
        if ticket.hierarchy == Rh.NULL or not hmac.compare_digest(proof, ticket.digest):
            raise parameter_error(3, Rc.TICKET)
    elif len(value) != digest_size(scheme.hash_alg):
        raise parameter_error(1, Rc.SIZE)
    return Reply(parameters=sign(key, scheme, value))


@command(
    Cc.VerifySignature,
    lambda reader: reader.sized(MAX_DIGEST),
    read_signature,
    handles=((Handles.OBJECT, Role.NONE),),
    first_sized=True,
)
def verify_signature(core: Core, handle: int, value: bytes, signature: Signature) -> Reply:
    """TPM2_VerifySignature: a ticket if the signature holds."""
    key = core.key(handle)
    if not key.public.has(SIGN):
        raise handle_error(1, Rc.ATTRIBUTES)
    try:
        holds = verify(key, value, signature)
    except TpmError as refused:
        raise refused.parameter(2) from None
    if not holds:
        raise parameter_error(2, Rc.SIGNATURE)
    if key.hierarchy == Rh.NULL or not key.name:
        return Reply(parameters=Ticket(tag=ST_VERIFIED, hierarchy=int(Rh.NULL)).marshal())
    proof = core.ticket_digest(key.hierarchy, ST_VERIFIED, value, key.name)
    return Reply(parameters=Ticket(tag=ST_VERIFIED, hierarchy=key.hierarchy, digest=proof).marshal())
