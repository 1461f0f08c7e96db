"""The vTPM: bytes in, bytes out, and the side of it that only the firmware has."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

import skrkit.sandbox.vtpm.commands  # noqa: F401 (fills the table of commands)
from skrkit.sandbox import chance
from skrkit.sandbox.vtpm.algorithms import digest_size
from skrkit.sandbox.vtpm.authorisation import answer, authorise
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u16, u32
from skrkit.sandbox.vtpm.codes import (
    ADMIN_WITH_POLICY,
    DECRYPT,
    FIXED_PARENT,
    FIXED_TPM,
    HT_HMAC,
    HT_NV,
    HT_PERSISTENT,
    HT_POLICY,
    HT_TRANSIENT,
    MAX_COMMAND,
    NO_DA,
    NV_INDEX_MAX,
    PCR_COUNT,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    ST_NO_SESSIONS,
    ST_RSP_COMMAND,
    ST_SESSIONS,
    USER_WITH_AUTH,
    Alg,
    Cc,
    Rc,
    Rh,
    TpmError,
)
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.creation import primary
from skrkit.sandbox.vtpm.keys import Key
from skrkit.sandbox.vtpm.nv import NvIndex, blank
from skrkit.sandbox.vtpm.pcr import BANKS
from skrkit.sandbox.vtpm.registry import COMMANDS, Call, Command, Role
from skrkit.sandbox.vtpm.state import VtpmState
from skrkit.sandbox.vtpm.structures import NvPublic, PublicArea, Scheme, Symmetric

logger = logging.getLogger(__name__)
T = TypeVar("T")

AK_HANDLE = 0x81000003
HEADER = 10
# Azure's AK: openvmm's ak_pub_template. Restricted, so that what it signs can only be the TPM's own statement.
AK_TEMPLATE = PublicArea(
    type=int(Alg.RSA),
    name_alg=int(Alg.SHA256),
    attributes=FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | NO_DA | RESTRICTED | SIGN,
    scheme=Scheme(alg=int(Alg.RSASSA), hash_alg=int(Alg.SHA256)),
    bits=2048,
    unique=bytes(256),
)
# The TCG's low-range EK for RSA-2048; its policy is PolicySecret over the endorsement hierarchy.
EK_TEMPLATE = PublicArea(
    type=int(Alg.RSA),
    name_alg=int(Alg.SHA256),
    attributes=FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT,
    policy=bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"),
    symmetric=Symmetric(alg=int(Alg.AES), bits=128, mode=int(Alg.CFB)),
    bits=2048,
    unique=bytes(256),
)


class Vtpm:
    """A TPM 2.0 in this process. It gives NO protection: its keys are in this process's memory and in its document.

    It checks what a TPM checks, so that a client that passes here has done the protocol right. `on_nv_read(index,
    offset)` is called after an NV_Read has been authorised and before its data is taken; it may call the platform
    methods. `dirty` is set by whatever changed the state that `VtpmState.to_document()` keeps; the owner clears it.
    Safe from several threads.
    """

    def __init__(self, state: VtpmState, *, on_nv_read: Callable[[int, int], None] | None = None) -> None:
        self._core = Core(state, on_nv_read)
        self._lock = threading.RLock()
        self.faults = 0  # commands that met a bug here and were answered with TPM_RC_FAILURE

    @property
    def dirty(self) -> bool:
        """Whether the state changed since this was last set to False."""
        return self._core.dirty

    @dirty.setter
    def dirty(self, value: bool) -> None:
        self._core.dirty = value

    def transceive(self, command: bytes) -> bytes:
        """Return the response to a command. Any bytes get a well-formed response; no exception leaves here."""
        with self._lock:
            try:
                return _execute(self._core, bytes(command))
            except TpmError as refused:
                tag = ST_RSP_COMMAND if refused.code == Rc.BAD_TAG else ST_NO_SESSIONS
                return u16(tag) + u32(HEADER) + u32(refused.code)
            except Exception:
                self.faults += 1
                logger.exception("vTPM fault on command %s", command[:HEADER].hex())
                return u16(ST_NO_SESSIONS) + u32(HEADER) + u32(Rc.FAILURE)

    # The platform's side: firmware and paravisor, without authorisation

    def startup(self, clear: bool) -> None:
        """Power on and start. `clear` is a reboot: PCRs reset, NULL hierarchy, sessions and transient objects gone."""
        with self._lock:
            self._core.start(clear=clear)

    def extend(self, pcr: int, digests: Mapping[str, bytes]) -> None:
        """Extend a PCR with digests by bank name ("sha256"). A bank that the TPM lacks is left out."""
        if not 0 <= pcr < PCR_COUNT:
            raise ValueError(f"PCR {pcr}, the last is {PCR_COUNT - 1}")
        for name, value in digests.items():
            if len(value) != digest_size(BANKS[name]):
                raise ValueError(f"{name} digest of {len(value)} bytes")
        with self._lock:
            for name, value in digests.items():
                self._core.state.pcrs.extend(pcr, BANKS[name], value)
            self._core.dirty = True

    def platform_nv_define(self, index: int, size: int, attributes: int) -> None:
        """Make an NV index with a SHA-256 name, in place of one that is there.

        Its own value is 8 random bytes that nobody learns, as the paravisor's are (openvmm, tpm_lib): with AUTHWRITE
        and an empty value the guest could write the report that is to vouch for it.
        """
        if index >> 24 != HT_NV or not 0 < size <= NV_INDEX_MAX:
            raise ValueError(f"NV index 0x{index:08x} of {size} bytes")
        public = NvPublic(index=index, name_alg=int(Alg.SHA256), attributes=attributes, policy=b"", size=size)
        with self._lock:
            self._core.state.nv[index] = blank(public, chance.token_bytes("vtpm/index", 8))
            self._core.dirty = True

    def platform_nv_write(self, index: int, data: bytes) -> None:
        """Write the index from its start, whatever its size and locks. Bytes beyond `data` become zero."""
        with self._lock:
            held = self._core.state.nv[index]
            if len(data) > held.public.size:
                raise ValueError(f"{len(data)} bytes for NV index 0x{index:08x} of {held.public.size}")
            held.write(0, data.ljust(held.public.size, b"\x00"))
            self._core.dirty = True

    def nv_data(self, index: int) -> bytes | None:
        """Return the whole content of an index, None if there is none."""
        with self._lock:
            held = self._core.state.nv.get(index)
            return None if held is None else bytes(held.data)

    def pcr(self, pcr: int, bank: str = "sha256") -> bytes:
        """Return the value of a PCR."""
        return self._core.state.pcrs.banks[BANKS[bank]][pcr]

    def create_ak(self) -> bytes:
        """Return the TPM2B_PUBLIC of the attestation key, made persistent at 0x81000003 as the HCL does at boot."""
        with self._lock:
            key = primary(self._core, int(Rh.ENDORSEMENT), AK_TEMPLATE)
            self._core.state.persistent[AK_HANDLE] = key
            self._core.dirty = True
            return tpm2b(key.public.marshal())

    def create_ek(self) -> bytes:
        """Return the TPM2B_PUBLIC of the endorsement key. It is not made persistent: Azure's HCL does not either."""
        with self._lock:
            return tpm2b(self._ek().public.marshal())

    def _ek(self) -> Key:
        return primary(self._core, int(Rh.ENDORSEMENT), EK_TEMPLATE)

    @contextmanager
    def standing_in(
        self,
        *,
        nv: Mapping[int, NvIndex | None] = MappingProxyType({}),
        keys: Mapping[int, Key] = MappingProxyType({}),
        nonce: bytes | None = None,
        certified: int | None = None,
    ) -> Iterator[None]:
        """Answer, inside, as if these NV indexes (None: not defined) and persistent keys were this TPM's own.

        What a command inside writes to them is forgotten. A quote has `nonce` in it, whatever was asked for, and a
        certification is about the object `certified`. For faults alone.
        """
        with self._lock:
            state = self._core.state
            before = dict(state.nv), dict(state.persistent)
            state.nv.update({index: held for index, held in nv.items() if held is not None})
            for index in (index for index, held in nv.items() if held is None):
                state.nv.pop(index, None)
            state.persistent.update(keys)
            self._core.other_nonce, self._core.other_object = nonce, certified
            try:
                yield
            finally:
                self._core.other_nonce = self._core.other_object = None
                _put_back(state.nv, before[0], nv)
                _put_back(state.persistent, before[1], keys)

    def other_attestation_key(self) -> Key:
        """Return another key of the AK's template than the AK, made on the first call: no report vouches for it."""
        with self._lock:
            return primary(self._core, int(Rh.ENDORSEMENT), replace(AK_TEMPLATE, unique=b"\x01" + bytes(255)))

    def nv_holding(self, index: int, data: bytes) -> NvIndex:
        """Return the NV index as it would be with this content, padded with zeros. Raises `LookupError` for none."""
        with self._lock:
            held = self._core.state.nv[index]
        return replace(held, data=bytearray(data.ljust(held.public.size, b"\0")))

    def ak_private_key(self) -> rsa.RSAPrivateKey:
        """Return the attestation key itself. Raises `LookupError` before `create_ak`."""
        key = self._core.state.persistent.get(AK_HANDLE)
        if key is None or not isinstance(key.private_key, rsa.RSAPrivateKey):
            raise LookupError("no attestation key at 0x81000003")
        return key.private_key

    def ak_public_key(self) -> rsa.RSAPublicKey:
        """Return the public half of the attestation key. Raises `LookupError` before `create_ak`."""
        return self.ak_private_key().public_key()

    def ek_public_key(self) -> rsa.RSAPublicKey:
        """Return the public half of the endorsement key, made if it was not yet."""
        with self._lock:
            public = self._ek().public_key
        assert isinstance(public, rsa.RSAPublicKey)
        return public


def _put_back(held: dict[int, T], before: Mapping[int, T], places: Iterable[int]) -> None:
    for place in places:
        held.pop(place, None)
        if place in before:
            held[place] = before[place]


def _execute(core: Core, data: bytes) -> bytes:
    """Return the response to a command; raise `TpmError` for a refusal. In the order of part 3, clause 5."""
    row, tag, reader = _header(core, data)
    handles = _handles(core, row, reader)
    names = tuple(core.entity_name(handle) for handle in handles)
    call = Call(command=row, handles=handles, names=names, received=b"", parameters=b"")
    entries = []
    if tag == ST_SESSIONS:
        area = _session_area(reader)
        call.received = call.parameters = reader.rest()
        entries = authorise(core, call, area)
    else:
        if any(role is not Role.NONE for _, role in row.handles):
            raise TpmError(Rc.AUTH_MISSING)
        call.received = call.parameters = reader.rest()
    reply = row.action(core, *handles, *_parameters(row, call.parameters))
    handle = b"" if reply.handle is None else u32(reply.handle)
    if tag != ST_SESSIONS:
        body = handle + reply.parameters
    else:
        parameters, area_out = answer(core, call, entries, reply.parameters)
        body = handle + u32(len(parameters)) + parameters + area_out
    return u16(tag) + u32(HEADER + len(body)) + u32(Rc.SUCCESS) + body


def _header(core: Core, data: bytes) -> tuple[Command, int, Reader]:
    reader = Reader(data)
    tag = reader.u16()
    if tag not in (ST_NO_SESSIONS, ST_SESSIONS):
        raise TpmError(Rc.BAD_TAG)
    size = reader.u32()
    if size != len(data) or size > MAX_COMMAND:
        raise TpmError(Rc.COMMAND_SIZE)
    code = reader.u32()
    row = COMMANDS.get(code)
    if row is None:
        raise TpmError(Rc.COMMAND_CODE)
    if core.state.started == (code == Cc.Startup):
        raise TpmError(Rc.INITIALIZE)
    return row, tag, reader


def _handles(core: Core, row: Command, reader: Reader) -> tuple[int, ...]:
    handles = []
    for number, (kind, _) in enumerate(row.handles, 1):
        try:
            handles.append(kind.read(reader))
        except TpmError as refused:
            raise refused.handle(number) from None
    persistent = 0
    for number, handle in enumerate(handles, 1):
        _check_loaded(core, number, handle)
        if handle >> 24 == HT_PERSISTENT:
            persistent += 1
            core.check_slot(persistent)  # a persistent object takes a slot while it is used
            if handle not in core.state.persistent:
                raise TpmError(Rc.HANDLE).handle(number)
    return tuple(handles)


def _check_loaded(core: Core, number: int, handle: int) -> None:
    kind = handle >> 24
    if kind == HT_TRANSIENT and handle not in core.objects:
        raise TpmError(Rc.REFERENCE_H0 + number - 1)
    if kind == HT_NV and handle not in core.state.nv:
        raise TpmError(Rc.HANDLE).handle(number)
    if kind in (HT_HMAC, HT_POLICY):
        session = core.sessions.get(handle)
        if session is None:
            raise TpmError(Rc.REFERENCE_H0 + number - 1)
        if session.is_policy != (kind == HT_POLICY):
            raise TpmError(Rc.HANDLE).handle(number)


def _session_area(reader: Reader) -> Reader:
    size = reader.u32()
    if size < 9 or size > reader.left:
        raise TpmError(Rc.SIZE)
    area = Reader(reader.data, reader.at, reader.at + size)
    reader.at += size
    return area


def _parameters(row: Command, data: bytes) -> list[object]:
    reader = Reader(data)
    values: list[object] = []
    for number, read in enumerate(row.parameters, 1):
        try:
            values.append(read(reader))
        except TpmError as refused:
            raise refused.parameter(number) from None
    if reader.left:
        raise TpmError(Rc.SIZE)
    return values
