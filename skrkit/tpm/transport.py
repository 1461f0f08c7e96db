"""Where TPM commands are sent: the Linux device, a socket, Windows TBS. One command in, one response out.

Sockets and ctypes are imported by the transport that needs them: a CVM only ever opens the device.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from skrkit.errors import ServiceError, UsageError

if TYPE_CHECKING:
    import socket

MAX_RESPONSE_BYTES = 4096  # TPM_PT_MAX_RESPONSE_SIZE of libtpms and of the Linux driver's buffer
HEADER_BYTES = 10  # tag u16, responseSize u32, responseCode u32
DEFAULT_DEVICE = "/dev/tpmrm0"
DEFAULT_PORT = 2321
TIMEOUT_S = 60.0  # CreatePrimary of RSA-2048 takes 20 to 75 ms on swtpm; a discrete TPM may take ten seconds


class Transport(Protocol):
    """Something that carries commands to a TPM 2.0."""

    def transceive(self, command: bytes) -> bytes:
        """Return the TPM's response to one whole command. Raises `ServiceError` if there is none."""
        ...

    def close(self) -> None:
        """Give the connection up. A second call does nothing."""
        ...


def _failed(where: str, cause: OSError | str, *, fix: str, expected: str = "a TPM 2.0 that answers") -> ServiceError:
    found = cause if isinstance(cause, str) else f"{type(cause).__name__}: {cause.strerror or cause}"
    return ServiceError(what="TPM transport", where=where, expected=expected, found=found, fix=fix)


class DeviceTransport:
    """A Linux TPM device: one write, one read. `/dev/tpmrm0` has the kernel's resource manager; tpm0 has not."""

    def __init__(self, path: str = DEFAULT_DEVICE) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR)
        except PermissionError as cause:
            fix = "Run it with sudo, or join the group that owns the device (sudo usermod -aG tss $USER, then log in)."
            raise _failed(path, cause, fix=fix) from cause
        except FileNotFoundError as cause:
            fix = "This machine has no TPM. Run inside the confidential VM, or against the sandbox."
            raise _failed(path, cause, fix=fix) from cause
        except OSError as cause:
            fix = "Use /dev/tpmrm0: /dev/tpm0 serves one process at a time."
            raise _failed(path, cause, fix=fix) from cause

    def transceive(self, command: bytes) -> bytes:
        """Return the device's response to one command."""
        try:
            written = os.write(self._fd, command)
            if written != len(command):
                found = f"{written} of {len(command)} bytes written"
                raise _failed(self.path, found, expected="one whole write", fix="Look at the command: it is too long.")
            return os.read(self._fd, MAX_RESPONSE_BYTES)
        except OSError as cause:
            raise _failed(self.path, cause, fix="Look at the kernel's log for the TPM driver (dmesg).") from cause

    def close(self) -> None:
        """Close the device."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class SocketTransport:
    """A TPM behind a stream socket that takes raw commands, as swtpm does. The response's header says its length."""

    def __init__(self, connection: socket.socket, where: str) -> None:
        self._socket = connection
        self.where = where

    @classmethod
    def tcp(cls, host: str, port: int) -> SocketTransport:
        """Return a connection to `host`:`port`. Raises `ServiceError` if nothing listens there."""
        import socket

        where = f"{host}:{port}"
        try:
            connection = socket.create_connection((host, port), timeout=TIMEOUT_S)
        except OSError as cause:
            fix = "Start the software TPM, or correct host and port; swtpm takes one client at a time."
            raise _failed(where, cause, fix=fix) from cause
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection, where)

    def transceive(self, command: bytes) -> bytes:
        """Return the response to one command."""
        try:
            self._socket.sendall(command)
            header = self._receive(HEADER_BYTES)
            size = int.from_bytes(header[2:6], "big")
            if not HEADER_BYTES <= size <= MAX_RESPONSE_BYTES:
                raise _failed(
                    self.where,
                    f"{size}",
                    fix="Check that the port is the TPM's data port, not its control port.",
                    expected=f"a response of {HEADER_BYTES} to {MAX_RESPONSE_BYTES} bytes",
                )
            return header + self._receive(size - HEADER_BYTES)
        except OSError as cause:
            raise _failed(self.where, cause, fix="Check that the software TPM is still running.") from cause

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                fix = "Check that the software TPM is still running; swtpm takes one client at a time."
                raise _failed(self.where, "the connection closed", fix=fix)
            data += part
        return bytes(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class TbsTransport:
    """Windows' TPM Base Services by ctypes. UNTESTED: written from the documentation, never run on Windows.

    Source: Microsoft Learn, tbs.h: Tbsi_Context_Create, Tbsip_Submit_Command, Tbsip_Context_Close.
    """

    _INCLUDE_TPM20 = 1 << 2  # TBS_CONTEXT_PARAMS2: requestRaw, includeTpm12, includeTpm20
    _VERSION_TWO = 2
    _LOCALITY_ZERO = 0
    _PRIORITY_NORMAL = 200

    def __init__(self) -> None:
        import ctypes

        loader: Any = getattr(ctypes, "WinDLL", None)
        if loader is None:
            raise UsageError(
                what="TPM transport",
                where="tbs:",
                expected="Windows",
                found="a system without tbs.dll",
                fix="Use device:/dev/tpmrm0 on Linux.",
            )
        self._tbs: Any = loader("tbs.dll")
        self._context = ctypes.c_void_p()
        parameters = (ctypes.c_uint32 * 2)(self._VERSION_TWO, self._INCLUDE_TPM20)
        self._check(self._tbs.Tbsi_Context_Create(parameters, ctypes.byref(self._context)), "Tbsi_Context_Create")

    @staticmethod
    def _check(result: int, call: str) -> None:
        if result & 0xFFFFFFFF:
            fix = "Run as administrator, and check the TPM in tpm.msc."
            raise _failed(call, f"0x{result & 0xFFFFFFFF:08X}", fix=fix, expected="TBS_SUCCESS")

    def transceive(self, command: bytes) -> bytes:
        """Return the response to one command."""
        import ctypes

        response = ctypes.create_string_buffer(MAX_RESPONSE_BYTES)
        size = ctypes.c_uint32(MAX_RESPONSE_BYTES)
        result = self._tbs.Tbsip_Submit_Command(
            self._context,
            ctypes.c_uint32(self._LOCALITY_ZERO),
            ctypes.c_uint32(self._PRIORITY_NORMAL),
            command,
            ctypes.c_uint32(len(command)),
            response,
            ctypes.byref(size),
        )
        self._check(result, "Tbsip_Submit_Command")
        return response.raw[: size.value]

    def close(self) -> None:
        """Close the TBS context."""
        if self._context.value:
            self._tbs.Tbsip_Context_Close(self._context)
            self._context.value = None


def open_transport(spec: str) -> Transport:
    """Return an open transport, named as TPM2TOOLS_TCTI does.

    "device:/dev/tpmrm0" (the path may be left out), "swtpm:host=127.0.0.1,port=2321" (raw commands on a TCP port),
    "tbs:" (Windows). Raises `UsageError` for another spelling, `ServiceError` if the TPM cannot be reached.
    """
    name, _, rest = spec.partition(":")
    if name == "device":
        return DeviceTransport(rest or DEFAULT_DEVICE)
    if name == "swtpm":
        options = _options(spec, rest)
        return SocketTransport.tcp(options.get("host", "127.0.0.1"), _port(spec, options))
    if name == "tbs" and not rest:
        return TbsTransport()
    raise _unknown(spec, found=spec or "nothing")


def _options(spec: str, text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    options = {name: value for name, _, value in pairs}
    unknown = set(options) - {"host", "port"}
    if unknown:
        raise _unknown(spec, found=", ".join(sorted(unknown)))
    return options


def _port(spec: str, options: dict[str, str]) -> int:
    text = options.get("port", str(DEFAULT_PORT))
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise _unknown(spec, found=f"port {text!r}")
    return int(text)


def _unknown(spec: str, *, found: str) -> UsageError:
    return UsageError(
        what="TPM transport",
        where=f"the specification {spec!r}",
        expected="device:PATH, swtpm:host=HOST,port=PORT or tbs:",
        found=found,
        fix="Write device:/dev/tpmrm0 inside a Linux CVM.",
    )
