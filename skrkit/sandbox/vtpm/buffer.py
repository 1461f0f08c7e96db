"""Reading a command's bytes and writing a response's: big-endian, bounded, every shortage a return code."""

from __future__ import annotations

from skrkit.sandbox.vtpm.codes import Rc, TpmError


class Reader:
    """The bytes of a command that are still to be read. Each read raises `TpmError`, never another exception."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """The bytes that are left."""
        return self.end - self.at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; TPM_RC_INSUFFICIENT if there are fewer."""
        start = self.at
        if size > self.end - start:
            raise TpmError(Rc.INSUFFICIENT)
        self.at = start + size
        return self.data[start : self.at]

    def u8(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Return the next two bytes as a number."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Return the next four bytes as a number."""
        return int.from_bytes(self.take(4), "big")

    def sized(self, limit: int) -> bytes:
        """Return the content of a TPM2B; TPM_RC_SIZE if it says that it is longer than `limit`."""
        size = self.u16()
        if size > limit:
            raise TpmError(Rc.SIZE)
        return self.take(size)

    def rest(self) -> bytes:
        """Return all bytes that are left, without taking them."""
        return self.data[self.at : self.end]


def u8(value: int) -> bytes:
    """Return one byte."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Return two bytes, big-endian."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Return four bytes, big-endian."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Return eight bytes, big-endian."""
    return value.to_bytes(8, "big")


def tpm2b(value: bytes) -> bytes:
    """Return `value` with its length in two bytes before it."""
    return len(value).to_bytes(2, "big") + value
