"""libtpms by ctypes: a TPM 2.0 of other hands, in this process, with its NV memory in a dictionary.

There is one per process, since the library's state is global. `reset` makes a new TPM of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_U32 = ctypes.c_uint32
_P = ctypes.POINTER
_INIT = ctypes.CFUNCTYPE(_U32)
_LOAD = ctypes.CFUNCTYPE(_U32, _P(ctypes.c_void_p), _P(_U32), _U32, ctypes.c_char_p)
_STORE = ctypes.CFUNCTYPE(_U32, ctypes.c_void_p, _U32, _U32, ctypes.c_char_p)
_DELETE = ctypes.CFUNCTYPE(_U32, _U32, ctypes.c_char_p, ctypes.c_ubyte)
_LOCALITY = ctypes.CFUNCTYPE(_U32, _P(_U32), _U32)
TPM_RETRY = 0x800
VERSION_2 = 1


class _Callbacks(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_int),
        ("nvram_init", _INIT),
        ("nvram_load", _LOAD),
        ("nvram_store", _STORE),
        ("nvram_delete", _DELETE),
        ("io_init", _INIT),
        ("io_locality", _LOCALITY),
        ("io_presence", ctypes.c_void_p),
    )


class Libtpms:
    """The library, started. Raises `OSError` where it is not installed."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libtpms.so.0")
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self._memory: dict[bytes, bytes] = {}
        self._callbacks = self._make_callbacks()
        self._response, self._size, self._total = ctypes.c_void_p(), _U32(), _U32()
        self._check(self._library.TPMLIB_ChooseTPMVersion(VERSION_2))
        self._check(self._library.TPMLIB_RegisterCallbacks(ctypes.byref(self._callbacks)))
        self._check(self._library.TPMLIB_MainInit())

    def _make_callbacks(self) -> _Callbacks:
        def load(data: Any, length: Any, number: int, name: bytes) -> int:
            held = self._memory.get(name)
            if held is None:
                return TPM_RETRY
            place = self._libc.malloc(len(held))
            ctypes.memmove(place, held, len(held))
            data[0], length[0] = place, len(held)
            return 0

        def store(data: int, length: int, number: int, name: bytes) -> int:
            self._memory[name] = ctypes.string_at(data, length)
            return 0

        def delete(number: int, name: bytes, must_exist: int) -> int:
            self._memory.pop(name, None)
            return 0

        def locality(out: Any, number: int) -> int:
            out[0] = 0
            return 0

        ok: Callable[[], int] = lambda: 0  # noqa: E731
        return _Callbacks(
            ctypes.sizeof(_Callbacks),
            _INIT(ok),
            _LOAD(load),
            _STORE(store),
            _DELETE(delete),
            _INIT(ok),
            _LOCALITY(locality),
            None,
        )

    @staticmethod
    def _check(result: int) -> None:
        if result:
            raise OSError(f"libtpms: 0x{result:x}")

    def version(self) -> str:
        """Return the library's version, as in "0.9.2"."""
        self._library.TPMLIB_GetVersion.restype = _U32
        value = int(self._library.TPMLIB_GetVersion())
        return f"{value >> 16 & 0xFF}.{value >> 8 & 0xFF}.{value & 0xFF}"

    def reset(self) -> None:
        """Make a new TPM, not started."""
        self._library.TPMLIB_Terminate()
        self._memory.clear()
        self._check(self._library.TPMLIB_MainInit())

    def reboot(self) -> None:
        """Take the power from the TPM and give it back; it is then not started."""
        self._library.TPMLIB_Terminate()
        self._check(self._library.TPMLIB_MainInit())

    def transceive(self, command: bytes) -> bytes:
        """Return the response."""
        place = ctypes.create_string_buffer(command, max(1, len(command)))
        self._check(
            self._library.TPMLIB_Process(
                ctypes.byref(self._response),
                ctypes.byref(self._size),
                ctypes.byref(self._total),
                place,
                len(command),
            )
        )
        assert self._response.value is not None
        return ctypes.string_at(self._response.value, self._size.value)
