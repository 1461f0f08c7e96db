"""TPM2_CreatePrimary, Create, Load, LoadExternal, ReadPublic, EvictControl."""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import digest_size
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b
from skrkit.sandbox.vtpm.codes import (
    FIXED_PARENT,
    FIXED_TPM,
    HT_PERSISTENT,
    PLATFORM_PERSISTENT,
    RESTRICTED,
    Alg,
    Cc,
    Rc,
    Rh,
    TpmError,
    handle_error,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.creation import assemble, child, creation_data, primary, unwrap, wrap
from skrkit.sandbox.vtpm.keys import Key, qualified_name
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.structures import (
    PublicArea,
    Selections,
    Sensitive,
    read_optional_sensitive,
    read_public,
    read_public_or_null_name,
    read_selections,
    read_sensitive_create,
)
from skrkit.sandbox.vtpm.template import STORAGE, check_attributes, check_creation, check_schemes

MAX_OUTSIDE_INFO = 66  # sizeof(TPMT_HA)
MAX_PRIVATE = 1024
MAX_PERSISTENT = 64


def _outside_info(reader: Reader) -> bytes:
    return reader.sized(MAX_OUTSIDE_INFO)


def _checked(area: PublicArea, auth: bytes, data: bytes, parent: PublicArea | None) -> bytes:
    """Return the value as it is kept, template and value checked."""
    try:
        check_creation(area, data, parent)
    except TpmError as refused:
        raise refused.parameter(2) from None
    auth = auth.rstrip(b"\x00")
    if len(auth) > digest_size(area.name_alg):
        raise parameter_error(1, Rc.SIZE)
    return auth


@command(
    Cc.CreatePrimary,
    read_sensitive_create,
    read_public,
    _outside_info,
    read_selections,
    handles=((Handles.HIERARCHY_OR_NULL, Role.USER),),
    first_sized=True,
    answer_sized=True,
    answers_handle=True,
)
def create_primary(
    core: Core,
    hierarchy: int,
    sensitive: tuple[bytes, bytes],
    template: PublicArea,
    outside_info: bytes,
    selections: Selections,
) -> Reply:
    """TPM2_CreatePrimary: 27 ms for a template that is new, a lookup for one that was seen."""
    core.check_slot()
    auth = _checked(template, *sensitive, None)
    key = primary(core, hierarchy, template, auth, sensitive[1])
    data, creation_hash, ticket = creation_data(core, key, None, selections, outside_info)
    answer = tpm2b(key.public.marshal()) + tpm2b(data) + tpm2b(creation_hash) + ticket + tpm2b(key.name)
    return Reply(handle=core.load(key), parameters=answer)


@command(
    Cc.Create,
    read_sensitive_create,
    read_public,
    _outside_info,
    read_selections,
    handles=((Handles.OBJECT, Role.USER),),
    first_sized=True,
    answer_sized=True,
)
def create(
    core: Core,
    handle: int,
    sensitive: tuple[bytes, bytes],
    template: PublicArea,
    outside_info: bytes,
    selections: Selections,
) -> Reply:
    """TPM2_Create: a new key each time, wrapped by its parent."""
    core.check_slot(2 if handle >> 24 == HT_PERSISTENT else 1)
    parent = core.key(handle)
    if not parent.public.has(STORAGE):
        raise handle_error(1, Rc.TYPE)
    auth = _checked(template, *sensitive, parent.public)
    key = child(template, parent, auth)
    data, creation_hash, ticket = creation_data(core, key, parent, selections, outside_info)
    private = tpm2b(wrap(key, parent))
    return Reply(parameters=private + tpm2b(key.public.marshal()) + tpm2b(data) + tpm2b(creation_hash) + ticket)


@command(
    Cc.Load,
    lambda reader: reader.sized(MAX_PRIVATE),
    read_public,
    handles=((Handles.OBJECT, Role.USER),),
    first_sized=True,
    answer_sized=True,
    answers_handle=True,
)
def load(core: Core, handle: int, private: bytes, area: PublicArea) -> Reply:
    """TPM2_Load: a key that this parent wrapped."""
    if not private:
        raise parameter_error(1, Rc.SIZE)
    core.check_slot(2 if handle >> 24 == HT_PERSISTENT else 1)
    parent = core.key(handle)
    if not parent.public.has(STORAGE):
        raise handle_error(1, Rc.TYPE)
    try:
        check_attributes(area, parent.public)
    except TpmError as refused:
        raise refused.parameter(2) from None
    try:
        key = unwrap(private, area, parent)
    except TpmError as refused:
        raise refused.parameter(1) from None
    return Reply(handle=core.load(key), parameters=tpm2b(key.name))


@command(
    Cc.LoadExternal,
    read_optional_sensitive,
    read_public_or_null_name,
    Handles.HIERARCHY_OR_NULL.read,
    first_sized=True,
    answer_sized=True,
    answers_handle=True,
)
def load_external(core: Core, sensitive: Sensitive | None, area: PublicArea, hierarchy: int) -> Reply:
    """TPM2_LoadExternal: a key from outside, mostly a public one to verify or encrypt with."""
    core.check_slot()
    private = b""
    if sensitive is not None:
        if hierarchy != Rh.NULL:
            raise parameter_error(3, Rc.HIERARCHY)
        if area.attributes & (FIXED_TPM | FIXED_PARENT | RESTRICTED):
            raise parameter_error(2, Rc.ATTRIBUTES)
    try:
        if sensitive is not None and area.name_alg != Alg.NULL:
            check_attributes(area, None)
        else:
            check_schemes(area, None)
        probe = Key(public=area, hierarchy=hierarchy, qualified_name=b"")
        assert probe.public_key is not None  # raises TPM_RC_KEY for numbers that are no key
    except TpmError as refused:
        raise refused.parameter(2) from None
    if sensitive is not None:
        try:
            private = assemble(area, sensitive)
        except TpmError as refused:
            raise refused.parameter(1) from None
    name = area.name()
    key = Key(
        public=area,
        hierarchy=hierarchy,
        qualified_name=qualified_name(area.name_alg, hierarchy.to_bytes(4, "big"), name),
        auth=b"" if sensitive is None else sensitive.auth,
        seed=b"" if sensitive is None else sensitive.seed,
        private=private,
        external=True,
    )
    return Reply(handle=core.load(key), parameters=tpm2b(name))


@command(Cc.ReadPublic, handles=((Handles.OBJECT, Role.NONE),), answer_sized=True)
def read_public_of(core: Core, handle: int) -> Reply:
    """TPM2_ReadPublic: public area, name, qualified name."""
    key = core.key(handle)
    return Reply(parameters=tpm2b(key.public.marshal()) + tpm2b(key.name) + tpm2b(key.qualified_name))


@command(
    Cc.EvictControl,
    Handles.PERSISTENT.read,
    handles=((Handles.PROVISION, Role.USER), (Handles.OBJECT, Role.NONE)),
)
def evict_control(core: Core, authority: int, handle: int, persistent: int) -> Reply:
    """TPM2_EvictControl: make a loaded object persistent, or a persistent one go."""
    key = core.key(handle)
    stored = handle >> 24 == HT_PERSISTENT
    if key.external or key.st_clear or key.public_only or key.hierarchy == Rh.NULL:
        raise handle_error(2, Rc.ATTRIBUTES)
    if stored and handle != persistent:
        raise handle_error(2, Rc.HANDLE)
    in_platform = key.hierarchy == Rh.PLATFORM
    if authority == Rh.PLATFORM:
        if not stored and not in_platform:
            raise handle_error(2, Rc.HIERARCHY)
        if not stored and persistent < PLATFORM_PERSISTENT:
            raise parameter_error(1, Rc.RANGE)
    else:
        if in_platform:
            raise handle_error(2, Rc.HIERARCHY)
        if not stored and persistent >= PLATFORM_PERSISTENT:
            raise parameter_error(1, Rc.RANGE)
    _store(core, key, persistent, stored=stored)
    return Reply()


def _store(core: Core, key: Key, persistent: int, *, stored: bool) -> None:
    held = core.state.persistent
    if stored:
        del held[persistent]
    elif persistent in held:
        raise TpmError(Rc.NV_DEFINED)
    elif len(held) >= MAX_PERSISTENT:
        raise TpmError(Rc.NV_SPACE)
    else:
        held[persistent] = key
    core.dirty = True
