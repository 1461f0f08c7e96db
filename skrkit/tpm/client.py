"""A small TPM 2.0 client: the commands that attestation and key release need, over any byte transport.

Stdlib only and cheap to import. Every exchange can be observed: a command and its response are artefacts to show.
Source: TPM 2.0 Library, Part 3; the calls follow Azure's guest attestation clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

from skrkit.errors import ParseError, ServiceError, UsageError, VerificationError
from skrkit.tpm import commands
from skrkit.tpm.algorithms import MAX_DIGEST_BYTES, MAX_RSA_BYTES, Alg, TpmCursor, digest_size
from skrkit.tpm.attest import MAX_ATTEST_BYTES, parse_attest
from skrkit.tpm.commands import Command, sized, u16, u32
from skrkit.tpm.exchange import Channel, Exchange, odd
from skrkit.tpm.nvpublic import GUEST_ATTRIBUTES, NvPublic, marshal_nv_public, parse_nv_public
from skrkit.tpm.pcr import (
    PcrSelection,
    marshal_selections,
    pcr_digest,
    policy_pcr_digest,
    read_selections,
)
from skrkit.tpm.public import Public, parse_public
from skrkit.tpm.signature import parse_signature
from skrkit.tpm.templates import KeyHierarchy, ephemeral_template
from skrkit.tpm.transport import Transport

DecryptScheme: TypeAlias = Literal["rsaes", "oaep-sha1", "oaep-sha256", "oaep-sha384"]
Hierarchy: TypeAlias = Literal["null", "owner", "endorsement"]

NV_CHUNK_BYTES = 1024  # MAX_NV_BUFFER of Azure's vTPM and of libtpms
MAX_NV_BYTES = 16384  # the HCL report has 2600; a legacy AK certificate index has 16384
PCRS_PER_READ = 8  # TPML_DIGEST holds eight
MAX_PUBLIC_BYTES = 1024  # an RSA-2048 key with a policy has 314
MAX_TPM2B_BYTES = 4096
NONCE_BYTES = 32
HANDLES_PER_READ = 64
_CAP_HANDLES = 1  # TPM_CAP_HANDLES

_HIERARCHIES = {"null": commands.RH_NULL, "owner": commands.RH_OWNER, "endorsement": commands.RH_ENDORSEMENT}
_SCHEMES = {
    "rsaes": u16(Alg.RSAES),
    "oaep-sha1": u16(Alg.OAEP) + u16(Alg.SHA1),
    "oaep-sha256": u16(Alg.OAEP) + u16(Alg.SHA256),
    "oaep-sha384": u16(Alg.OAEP) + u16(Alg.SHA384),
}
_NULL_SCHEME = u16(Alg.NULL)
_SESSION_POLICY = 0x01  # TPM_SE_POLICY


@dataclass(frozen=True, slots=True, kw_only=True)
class TransientKey:
    """A key in the TPM's memory: gone with `Tpm.flush(handle)`, a reset, or (resource manager) the connection."""

    handle: int
    public: Public


__all__ = ["DecryptScheme", "Exchange", "Hierarchy", "KeyHierarchy", "Tpm", "TransientKey"]


class Tpm:
    """A TPM 2.0 behind `transport`. `on_exchange` is called after every command, refused and retried ones too.

    Methods raise `ServiceError` when the TPM refuses (`code` is the TPM_RC's name) or the transport fails,
    and `ParseError` when its answer makes no sense. Authorisations use the empty password, as all of Azure's do.
    """

    def __init__(self, transport: Transport, *, on_exchange: Callable[[Exchange], None] | None = None) -> None:
        self._channel = Channel(transport, on_exchange)

    def __enter__(self) -> Tpm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the transport."""
        self._channel.transport.close()

    # NV indexes

    def nv_read_public(self, index: int) -> NvPublic:
        """Return the public area of an NV index: size, attributes, policy."""
        _, cursor = self._channel.run(Command.NV_ReadPublic, handles=(index,), where=_nv(index))
        return parse_nv_public(cursor.sized(2, "nvPublic", limit=MAX_TPM2B_BYTES))

    def nv_read(self, index: int) -> bytes:
        """Return the whole of an NV index, zero padding included, read through the owner hierarchy.

        It is read in chunks of 1024 bytes from offset 0; on Azure, the read at offset 0 of 0x01400001 makes a new
        report. Raises `ServiceError`, also for an index above 16 KiB or an answer of another length.
        """
        size = self.nv_read_public(index).data_size
        if size > MAX_NV_BYTES:
            raise odd(Command.NV_Read, _nv(index), expected=f"at most {MAX_NV_BYTES} bytes", found=f"{size} bytes")
        data = bytearray()
        while len(data) < size:
            wanted = min(NV_CHUNK_BYTES, size - len(data))
            handles, parameters = (commands.RH_OWNER, index), u16(wanted) + u16(len(data))
            where = f"{_nv(index)}, offset {len(data)}"
            _, cursor = self._channel.run(Command.NV_Read, handles=handles, auth=1, parameters=parameters, where=where)
            chunk = cursor.sized(2, "data", limit=NV_CHUNK_BYTES)
            if len(chunk) != wanted:
                raise odd(Command.NV_Read, where, expected=f"{wanted} bytes", found=f"{len(chunk)} bytes")
            data += chunk
        return bytes(data)

    def nv_define(self, index: int, size: int, *, attributes: int = GUEST_ATTRIBUTES) -> None:
        """Define an NV index of `size` bytes in the owner hierarchy, with an empty password and SHA-256 names."""
        if not 0 < size < 1 << 16:
            raise _usage("NV size", _nv(index), expected="1 to 65535 bytes", found=f"{size} bytes")
        parameters = sized(b"") + sized(marshal_nv_public(index, size, attributes))
        self._channel.run(
            Command.NV_DefineSpace,
            handles=(commands.RH_OWNER,),
            auth=1,
            parameters=parameters,
            where=f"{_nv(index)}, {size} bytes",
        )

    def nv_write(self, index: int, data: bytes) -> None:
        """Write `data` at offset 0 of an NV index through the owner hierarchy, in chunks of 1024 bytes."""
        for offset in range(0, len(data), NV_CHUNK_BYTES):
            chunk = data[offset : offset + NV_CHUNK_BYTES]
            self._channel.run(
                Command.NV_Write,
                handles=(commands.RH_OWNER, index),
                auth=1,
                parameters=sized(chunk) + u16(offset),
                where=f"{_nv(index)}, offset {offset}",
            )

    def nv_undefine(self, index: int) -> None:
        """Remove an NV index that the owner defined."""
        self._channel.run(Command.NV_UndefineSpace, handles=(commands.RH_OWNER, index), auth=1, where=_nv(index))

    # PCRs

    def pcr_read(self, pcrs: Iterable[int], *, alg: int = Alg.SHA256) -> dict[int, bytes]:
        """Return the values of these PCRs of one bank, by index, ascending.

        The TPM gives at most eight a command. If its update counter moves between two commands the values could be
        of two moments: reading starts again, three times at most. Raises `ServiceError` if the bank is not active.
        """
        selection = PcrSelection.of(pcrs, alg)
        for _ in range(3):
            counters: set[int] = set()
            values: dict[int, bytes] = {}
            left = selection.pcrs
            while left:
                counter, batch = self._pcr_read_once(PcrSelection(selection.alg, left))
                counters.add(counter)
                values |= batch
                left = tuple(index for index in left if index not in batch)
            if len(counters) <= 1:
                return dict(sorted(values.items()))
        raise odd(Command.PCR_Read, _pcrs(selection), expected="PCRs at rest", found="three updates while reading")

    def _pcr_read_once(self, selection: PcrSelection) -> tuple[int, dict[int, bytes]]:
        parameters, where = marshal_selections((selection,)), _pcrs(selection)
        _, cursor = self._channel.run(Command.PCR_Read, parameters=parameters, where=where)
        counter = cursor.uint(4, "pcrUpdateCounter")
        got = [index for part in read_selections(cursor) if part.alg == selection.alg for index in part.pcrs]
        count = cursor.uint(4, "digest count")
        if not got or not set(got) <= set(selection.pcrs) or count != len(got) or count > PCRS_PER_READ:
            found = f"{count} digests for {len(got)} PCRs"
            raise odd(Command.PCR_Read, where, expected="digests of an active bank", found=found)
        size = digest_size(selection.alg)
        values = [cursor.sized(2, "digest", limit=size) for _ in got]
        cursor.end()
        if any(len(value) != size for value in values):
            raise odd(Command.PCR_Read, where, expected=f"digests of {size} bytes", found="another size")
        return counter, dict(zip(got, values, strict=True))

    def pcr_extend(self, pcr: int, digest: bytes, *, alg: int = Alg.SHA256) -> None:
        """Extend a PCR of one bank with a digest (32 bytes for SHA-256)."""
        parameters = u32(1) + u16(alg) + digest
        self._channel.run(Command.PCR_Extend, handles=(pcr,), auth=1, parameters=parameters, where=f"PCR {pcr}")

    # Keys

    def read_public(self, handle: int) -> Public:
        """Return the public area of a loaded or persistent key, with the Name and qualified Name the TPM states."""
        _, cursor = self._channel.run(Command.ReadPublic, handles=(handle,), where=_key(handle))
        return parse_public(cursor.take(cursor.left, "outPublic"))

    def create_primary(
        self, template: bytes, *, hierarchy: Hierarchy, creation_pcrs: Sequence[PcrSelection] = ()
    ) -> TransientKey:
        """Return a primary key made from a TPMT_PUBLIC template. The same template gives the same key until a reset."""
        sensitive = sized(sized(b"") + sized(b""))  # no password, no data
        parameters = sensitive + sized(template) + sized(b"") + marshal_selections(creation_pcrs)
        root = _HIERARCHIES[hierarchy]
        handle, cursor = self._channel.run(
            Command.CreatePrimary,
            handles=(root,),
            auth=1,
            parameters=parameters,
            with_handle=True,
            where=f"the {hierarchy} hierarchy",
        )
        area = cursor.sized(2, "outPublic", limit=MAX_PUBLIC_BYTES)
        return TransientKey(handle=handle, public=parse_public(sized(area)))

    def create_ephemeral_key(
        self, pcrs: Iterable[int] | Mapping[int, bytes], *, hierarchy: KeyHierarchy = "null"
    ) -> TransientKey:
        """Return a new RSA-2048 decryption key that works only while these PCRs keep their values.

        `pcrs` are indices, read now, or a mapping of indices to values read before. "null" makes the key of Microsoft's
        C++ client (gone with a reset), "owner" that of its Python tool (with the PCRs in the creation data).
        """
        values = dict(pcrs) if isinstance(pcrs, Mapping) else self.pcr_read(pcrs)
        selection = PcrSelection.of(values)
        policy = policy_pcr_digest(selection, pcr_digest(values, selection))
        creation = (selection,) if hierarchy == "owner" else ()
        template = ephemeral_template(policy, hierarchy)
        return self.create_primary(template, hierarchy=hierarchy, creation_pcrs=creation)

    def evict_control(self, handle: int, persistent: int) -> None:
        """Make a transient key persistent at `persistent`; given twice the same persistent handle, remove that key."""
        handles = (commands.RH_OWNER, handle)
        where = f"{_key(handle)} to 0x{persistent:08X}"
        self._channel.run(Command.EvictControl, handles=handles, auth=1, parameters=u32(persistent), where=where)

    def flush(self, handle: int) -> None:
        """Remove a transient key or a session from the TPM's memory."""
        self._channel.run(Command.FlushContext, parameters=u32(handle), where=_key(handle))

    # Attestation

    def quote(self, handle: int, pcrs: Iterable[int], nonce: bytes = b"") -> tuple[bytes, bytes]:
        """Return a quote of SHA-256 PCRs by the key at `handle`: TPMS_ATTEST and the raw RSA signature (256 bytes).

        `nonce` becomes `extra_data`; Azure's clients leave it empty. The key's own scheme is used. Raises
        `VerificationError`, step `quote.nonce`, for a quote over another nonce: it is an old one, or somebody else's.
        """
        parameters = sized(nonce) + _NULL_SCHEME + marshal_selections((PcrSelection.of(pcrs),))
        _, cursor = self._channel.run(
            Command.Quote, handles=(handle,), auth=1, parameters=parameters, where=_key(handle)
        )
        quote, signature = _attest_and_signature(cursor)
        found = parse_attest(quote).extra_data
        if found != nonce:
            raise _replayed(handle, nonce, found)
        return quote, signature

    def certify(self, object_handle: int, signer: int, nonce: bytes = b"") -> tuple[bytes, bytes]:
        """Return `signer`'s word that `object_handle` is in this TPM: TPMS_ATTEST and the raw RSA signature."""
        parameters, where = sized(nonce) + _NULL_SCHEME, f"{_key(object_handle)} by {_key(signer)}"
        handles = (object_handle, signer)
        _, cursor = self._channel.run(Command.Certify, handles=handles, auth=2, parameters=parameters, where=where)
        return _attest_and_signature(cursor)

    def rsa_decrypt(
        self, handle: int, ciphertext: bytes, *, scheme: DecryptScheme, pcrs: Iterable[int] | Mapping[int, bytes]
    ) -> bytes:
        """Return the plaintext of an RSA ciphertext, authorised by a PolicyPCR session over `pcrs`. It is secret.

        Schemes: "rsaes" for MAA's envelope, "oaep-*" for key release; the label is empty. Given a mapping, its values
        go into the policy, and PolicyPCR refuses if a PCR has moved; given indices, the decryption itself refuses.
        The session is consumed; after a refusal it is flushed. A TPM may answer a wrong ciphertext with an error or
        with random bytes: authenticate the plaintext.
        """
        if scheme not in _SCHEMES:
            raise _usage("RSA scheme", "argument `scheme`", expected=", ".join(_SCHEMES), found=repr(scheme))
        session = self.start_policy_session()
        try:
            self.policy_pcr(session, pcrs)
            _, cursor = self._channel.run(
                Command.RSA_Decrypt,
                handles=(handle,),
                sessions=(commands.authorisation(session),),
                parameters=sized(ciphertext) + _SCHEMES[scheme] + sized(b""),
                where=_key(handle),
            )
        except BaseException:
            self._flush_quietly(session)
            raise
        return cursor.sized(2, "message", limit=MAX_RSA_BYTES)

    def start_policy_session(self) -> int:
        """Return the handle of a new policy session: SHA-256, unsalted, unbound, no parameter encryption."""
        parameters = b"".join(
            (
                sized(os.urandom(NONCE_BYTES)),
                sized(b""),  # no salt
                bytes([_SESSION_POLICY]),
                u16(Alg.NULL),
                u16(Alg.SHA256),
            )
        )
        handle, _ = self._channel.run(
            Command.StartAuthSession,
            handles=(commands.RH_NULL, commands.RH_NULL),
            parameters=parameters,
            with_handle=True,
            where="a policy session",
        )
        return handle

    def policy_pcr(self, session: int, pcrs: Iterable[int] | Mapping[int, bytes]) -> None:
        """Bind a policy session to PCRs: to the values of a mapping, or to the present values of indices."""
        selection = PcrSelection.of(pcrs)
        digest = pcr_digest(pcrs, selection) if isinstance(pcrs, Mapping) else b""
        parameters = sized(digest) + marshal_selections((selection,))
        self._channel.run(Command.PolicyPCR, handles=(session,), parameters=parameters, where=_pcrs(selection))

    def policy_digest(self, session: int) -> bytes:
        """Return the policyDigest that a session has reached: 32 bytes."""
        _, cursor = self._channel.run(Command.PolicyGetDigest, handles=(session,), where=f"session 0x{session:08X}")
        return cursor.sized(2, "policyDigest", limit=MAX_DIGEST_BYTES)

    # The TPM itself

    def get_random(self, count: int) -> bytes:
        """Return `count` random bytes from the TPM."""
        data = bytearray()
        while len(data) < count:
            _, cursor = self._channel.run(
                Command.GetRandom, parameters=u16(min(32, count - len(data))), where="the generator"
            )
            part = cursor.sized(2, "randomBytes", limit=64)
            if not part or len(part) > count - len(data):
                raise odd(Command.GetRandom, "the generator", expected="random bytes", found=f"{len(part)} bytes")
            data += part
        return bytes(data)

    def get_capability(self, capability: int, first: int, count: int) -> tuple[bool, bytes]:
        """Return whether there is more, and the TPMU_CAPABILITIES bytes, of one capability from property `first`."""
        parameters, where = u32(capability) + u32(first) + u32(count), f"capability {capability}, 0x{first:X}"
        _, cursor = self._channel.run(Command.GetCapability, parameters=parameters, where=where)
        more = cursor.yes_no("moreData")
        found = cursor.uint(4, "capability")
        if found != capability:
            raise odd(Command.GetCapability, where, expected=f"capability {capability}", found=str(found))
        return more, cursor.take(cursor.left, "capabilityData")

    def handles(self, first: int) -> tuple[int, ...]:
        """Return the handles in use of one kind, from `first`: 0x01000000 NV indexes, 0x81000000 persistent keys..."""
        found: list[int] = []
        more = True
        while more:
            start = found[-1] + 1 if found else first
            more, data = self.get_capability(_CAP_HANDLES, start, HANDLES_PER_READ)
            cursor = TpmCursor(data, "TPML_HANDLE")
            batch = [cursor.uint(4, "handle") for _ in range(min(cursor.uint(4, "count"), HANDLES_PER_READ))]
            cursor.end()
            if batch != sorted({handle for handle in batch if handle >= start}) or (more and not batch):
                raise odd(
                    Command.GetCapability, f"handle 0x{start:08X}", expected="ascending handles", found=data.hex()
                )
            found += batch
        return tuple(found)

    def _flush_quietly(self, session: int) -> None:
        # The error that led here is the one to tell; a session that will not flush is gone already.
        try:
            self.flush(session)
        except (ServiceError, ParseError):
            return


def _attest_and_signature(cursor: TpmCursor) -> tuple[bytes, bytes]:
    attest = cursor.sized(2, "attest", limit=MAX_ATTEST_BYTES)
    return attest, parse_signature(cursor.take(cursor.left, "signature")).rsa_bytes()


def _replayed(handle: int, nonce: bytes, found: bytes) -> VerificationError:
    return VerificationError(
        step="quote.nonce",
        what="TPM quote extraData",
        where=f"the answer to TPM2_Quote by {_key(handle)}",
        expected=nonce.hex() or "no bytes, since no nonce was sent",
        found=found.hex() or "no bytes",
        fix="Refuse the quote: it was made for another request. Look at what stands between this program and the TPM.",
        source=commands.SOURCE,
    )


def _nv(index: int) -> str:
    return f"NV index 0x{index:08X}"


def _key(handle: int) -> str:
    return f"handle 0x{handle:08X}"


def _pcrs(selection: PcrSelection) -> str:
    return f"PCR {', '.join(map(str, selection.pcrs)) or 'none'}"


def _usage(what: str, where: str, *, expected: str, found: str) -> UsageError:
    return UsageError(what=what, where=where, expected=expected, found=found, fix="Correct the argument.")
