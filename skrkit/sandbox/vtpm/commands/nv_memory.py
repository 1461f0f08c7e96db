"""TPM2_NV_*: defining, reading and writing indexes. Only ordinary indexes: no counters, bit fields, PINs, extends."""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import digest_size
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b
from skrkit.sandbox.vtpm.codes import (
    MAX_DIGEST,
    NV_AUTHREAD,
    NV_AUTHWRITE,
    NV_BUFFER_MAX,
    NV_CLEAR_STCLEAR,
    NV_OWNERREAD,
    NV_OWNERWRITE,
    NV_PLATFORMCREATE,
    NV_POLICY_DELETE,
    NV_POLICYREAD,
    NV_POLICYWRITE,
    NV_PPREAD,
    NV_PPWRITE,
    NV_READLOCKED,
    NV_TYPE,
    NV_WRITEALL,
    NV_WRITEDEFINE,
    NV_WRITELOCKED,
    NV_WRITTEN,
    Cc,
    Rc,
    Rh,
    TpmError,
    handle_error,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.nv import blank
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.structures import NvPublic, read_nv_public

READERS = NV_OWNERREAD | NV_PPREAD | NV_AUTHREAD | NV_POLICYREAD
WRITERS = NV_OWNERWRITE | NV_PPWRITE | NV_AUTHWRITE | NV_POLICYWRITE
MAX_INDEXES = 64  # all of them together stay well below what a store's document may weigh


@command(
    Cc.NV_DefineSpace,
    lambda reader: reader.sized(MAX_DIGEST),
    read_nv_public,
    handles=((Handles.PROVISION, Role.USER),),
    first_sized=True,
)
def nv_define_space(core: Core, authority: int, auth: bytes, public: NvPublic) -> Reply:
    """TPM2_NV_DefineSpace: make an index, if its attributes make sense together."""
    auth = auth.rstrip(b"\x00")
    if public.policy and len(public.policy) != digest_size(public.name_alg):
        raise parameter_error(2, Rc.SIZE)
    if len(auth) > digest_size(public.name_alg):
        raise parameter_error(1, Rc.SIZE)
    _check_attributes(public)
    if public.has(NV_PLATFORMCREATE) != (authority == Rh.PLATFORM):
        raise handle_error(1, Rc.ATTRIBUTES)
    if public.has(NV_POLICY_DELETE) and authority != Rh.PLATFORM:
        raise parameter_error(2, Rc.ATTRIBUTES)
    if public.size > NV_BUFFER_MAX and public.has(NV_WRITEALL):
        raise parameter_error(2, Rc.SIZE)
    if public.index in core.state.nv:
        raise TpmError(Rc.NV_DEFINED)
    if len(core.state.nv) >= MAX_INDEXES:
        raise TpmError(Rc.NV_SPACE)
    core.state.nv[public.index] = blank(public, auth)
    core.dirty = True
    return Reply()


def _check_attributes(public: NvPublic) -> None:
    attributes = public.attributes
    wrong = (
        attributes & NV_TYPE  # another type than ordinary: not implemented here
        or attributes & (NV_WRITTEN | NV_WRITELOCKED | NV_READLOCKED)
        or not attributes & READERS
        or not attributes & WRITERS
        or public.has(NV_CLEAR_STCLEAR | NV_WRITEDEFINE)
    )
    if wrong:
        raise parameter_error(2, Rc.ATTRIBUTES)


@command(Cc.NV_UndefineSpace, handles=((Handles.PROVISION, Role.USER), (Handles.NV_INDEX, Role.NONE)))
def nv_undefine_space(core: Core, authority: int, index: int) -> Reply:
    """TPM2_NV_UndefineSpace: remove an index; the owner cannot remove the platform's."""
    public = core.index(index).public
    if public.has(NV_POLICY_DELETE):
        raise handle_error(2, Rc.ATTRIBUTES)
    if authority == Rh.OWNER and public.has(NV_PLATFORMCREATE):
        raise TpmError(Rc.NV_AUTHORIZATION)
    del core.state.nv[index]
    core.dirty = True
    return Reply()


@command(Cc.NV_ReadPublic, handles=((Handles.NV_INDEX, Role.NONE),), answer_sized=True)
def nv_read_public(core: Core, index: int) -> Reply:
    """TPM2_NV_ReadPublic: the public area and the name."""
    public = core.index(index).public
    return Reply(parameters=tpm2b(public.marshal()) + tpm2b(public.name()))


@command(
    Cc.NV_Read,
    Reader.u16,
    Reader.u16,
    handles=((Handles.NV_AUTH, Role.USER), (Handles.NV_INDEX, Role.NONE)),
    answer_sized=True,
)
def nv_read(core: Core, authority: int, index: int, size: int, offset: int) -> Reply:
    """TPM2_NV_Read: at most 1024 bytes. The paravisor's hook runs after the checks and before the data is taken."""
    held = core.index(index)
    held.check_read(authority)
    if size > NV_BUFFER_MAX:
        raise parameter_error(1, Rc.VALUE)
    if offset > held.public.size:
        raise parameter_error(2, Rc.VALUE)
    if size > held.public.size - offset:
        raise TpmError(Rc.NV_RANGE)
    if core.on_nv_read is not None:
        core.on_nv_read(index, offset)
        held = core.index(index)
    return Reply(parameters=tpm2b(bytes(held.data[offset : offset + size])))


@command(
    Cc.NV_Write,
    lambda reader: reader.sized(NV_BUFFER_MAX),
    Reader.u16,
    handles=((Handles.NV_AUTH, Role.USER), (Handles.NV_INDEX, Role.NONE)),
    first_sized=True,
    writes=True,
)
def nv_write(core: Core, authority: int, index: int, data: bytes, offset: int) -> Reply:
    """TPM2_NV_Write: at most 1024 bytes."""
    held = core.index(index)
    held.check_write(authority)
    if offset > held.public.size:
        raise parameter_error(2, Rc.VALUE)
    if len(data) > held.public.size - offset or (held.public.has(NV_WRITEALL) and len(data) < held.public.size):
        raise TpmError(Rc.NV_RANGE)
    held.write(offset, data)
    core.dirty = True
    return Reply()
