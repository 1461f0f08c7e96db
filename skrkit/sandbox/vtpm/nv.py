"""NV indexes: small named memories with their own rules on who may read and write."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import Any

from skrkit.sandbox.vtpm.buffer import Reader, tpm2b
from skrkit.sandbox.vtpm.codes import (
    NV_CLEAR_STCLEAR,
    NV_OWNERREAD,
    NV_OWNERWRITE,
    NV_PPREAD,
    NV_PPWRITE,
    NV_READ_STCLEAR,
    NV_READLOCKED,
    NV_WRITE_STCLEAR,
    NV_WRITEDEFINE,
    NV_WRITELOCKED,
    NV_WRITTEN,
    Rc,
    Rh,
    TpmError,
)
from skrkit.sandbox.vtpm.structures import NvPublic, read_nv_public

ERASED = b"\xff"  # what a cell holds before it is written


@dataclass(kw_only=True)
class NvIndex:
    """One index: its public area, its own authorisation value, its data."""

    public: NvPublic
    auth: bytes = field(default=b"", repr=False)
    data: bytearray = field(default_factory=bytearray, repr=False)

    def check_read(self, authority: int) -> None:
        """Return nothing if `authority` may read; raise `TpmError` if not, or if there is nothing to read yet."""
        self._check(authority, lock=NV_READLOCKED, owner=NV_OWNERREAD, platform=NV_PPREAD)
        if not self.public.has(NV_WRITTEN):
            raise TpmError(Rc.NV_UNINITIALIZED)

    def check_write(self, authority: int) -> None:
        """Return nothing if `authority` may write; raise `TpmError` if not."""
        self._check(authority, lock=NV_WRITELOCKED, owner=NV_OWNERWRITE, platform=NV_PPWRITE)

    def _check(self, authority: int, *, lock: int, owner: int, platform: int) -> None:
        if self.public.has(lock):
            raise TpmError(Rc.NV_LOCKED)
        needed = {Rh.OWNER: owner, Rh.PLATFORM: platform}.get(Rh(authority)) if authority >> 24 == 0x40 else None
        if needed is None:
            if authority != self.public.index:
                raise TpmError(Rc.NV_AUTHORIZATION)
        elif not self.public.has(needed):
            raise TpmError(Rc.NV_AUTHORIZATION)

    def write(self, offset: int, data: bytes) -> None:
        """Store the data; the first write sets TPMA_NV_WRITTEN, and with it another name."""
        self.data[offset : offset + len(data)] = data
        if not self.public.has(NV_WRITTEN):
            self.public = replace(self.public, attributes=self.public.attributes | NV_WRITTEN)

    def start(self, *, clear: bool) -> None:
        """Do what a start of the TPM does to an index: unlock it, and empty it if its attributes say so."""
        attributes = self.public.attributes
        if attributes & NV_READ_STCLEAR:
            attributes &= ~NV_READLOCKED
        if clear and (attributes & NV_WRITE_STCLEAR or (not attributes & NV_WRITEDEFINE)):
            attributes &= ~NV_WRITELOCKED
        if clear and attributes & NV_CLEAR_STCLEAR:
            attributes &= ~NV_WRITTEN
        if attributes != self.public.attributes:
            self.public = replace(self.public, attributes=attributes)

    def to_document(self) -> dict[str, Any]:
        """Return the index as JSON members; bytes as base64."""
        return {
            "public": _text(self.public.marshal()),
            "auth": _text(self.auth),
            "data": _text(bytes(self.data)),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> NvIndex:
        """Return the index that `to_document` wrote."""
        public = read_nv_public(Reader(tpm2b(base64.b64decode(document["public"]))))
        return cls(
            public=public,
            auth=base64.b64decode(document["auth"]),
            data=bytearray(base64.b64decode(document["data"])),
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def blank(public: NvPublic, auth: bytes) -> NvIndex:
    """Return a new index that nothing has been written to."""
    return NvIndex(public=public, auth=auth, data=bytearray(ERASED * public.size))
