"""A vTPM on two TCP ports, as swtpm serves one: TPM commands on `port`, control messages on `port` + 1.

Enough for the `swtpm` TCTI of the TSS, and so for tpm2-tools and tpm2-pytss. Power is the platform's here, not the
client's: CMD_INIT, CMD_SHUTDOWN and CMD_STOP are refused, locality 0 is the only one, and there is nothing to cancel
since a command is answered before the next is read. Sources: swtpm's manual page swtpm_ioctls(3), swtpm's tpm_ioctl.h.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from skrkit.sandbox.vtpm.codes import MAX_COMMAND

HEADER = 10
CMD_GET_CAPABILITY, CMD_INIT, CMD_SHUTDOWN = 1, 2, 3
CMD_GET_TPMESTABLISHED, CMD_SET_LOCALITY, CMD_CANCEL_TPM_CMD = 4, 5, 9
CMD_RESET_TPMESTABLISHED, CMD_STOP, CMD_GET_CONFIG = 11, 14, 15
# What this port can do (PTM_CAP_*): established flag, its reset, locality, cancel, get-config.
CAPABILITIES = 0x2 | 0x80 | 0x8 | 0x20 | 0x1000
PAYLOAD = {CMD_SET_LOCALITY: 1, CMD_RESET_TPMESTABLISHED: 1, CMD_INIT: 4}  # bytes after the command's number
TPM_SUCCESS, TPM_BAD_ORDINAL, TPM_BAD_LOCALITY = 0, 0x0A, 0x3D
KEY_MAKING = frozenset({0x131, 0x153})  # TPM2_CreatePrimary, TPM2_Create: an RSA key takes tens of milliseconds


@dataclass(frozen=True, slots=True)
class VtpmServer:
    """The two listening sockets. `port` is the data port; the control port is the next one."""

    data: asyncio.Server
    control: asyncio.Server

    @property
    def port(self) -> int:
        """The port that TPM commands go to."""
        port: int = self.data.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening, and end the connections."""
        for server in (self.data, self.control):
            server.close()
        for server in (self.data, self.control):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), timeout=1)


async def serve(vtpm_transceive: Callable[[bytes], bytes], host: str, port: int) -> VtpmServer:
    """Return a running server. `port` 0 looks for a free pair of ports. Raises `OSError` if a port is taken.

    Commands of all connections are answered one after the other. Those that make a key do it in a thread, so that they
    do not stop the event loop; the others take less time than the way to a thread and back.
    """
    if port:
        return await _serve(vtpm_transceive, host, port)
    while True:
        probe = await asyncio.start_server(_refuse, host, 0)
        free = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
        with contextlib.suppress(OSError, OverflowError):
            return await _serve(vtpm_transceive, host, free)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _serve(vtpm_transceive: Callable[[bytes], bytes], host: str, port: int) -> VtpmServer:
    lock = asyncio.Lock()

    async def on_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _session(_commands(vtpm_transceive, lock, reader, writer), writer)

    async def on_control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _session(_controls(reader, writer), writer)

    data = await asyncio.start_server(on_data, host, port)
    try:
        control = await asyncio.start_server(on_control, host, port + 1)
    except (OSError, OverflowError):
        data.close()
        raise
    return VtpmServer(data, control)


async def _session(work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
    """Do a connection's work until the peer leaves, and close it."""
    try:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await work
    finally:
        writer.close()


async def _commands(
    vtpm_transceive: Callable[[bytes], bytes],
    lock: asyncio.Lock,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Answer TPM commands. One that claims more than 4096 bytes is not read: the connection ends after the answer."""
    loop = asyncio.get_running_loop()
    while True:
        header = await reader.readexactly(HEADER)
        size = int.from_bytes(header[2:6], "big")
        readable = HEADER <= size <= MAX_COMMAND
        command = header + await reader.readexactly(size - HEADER) if readable else header
        async with lock:
            if int.from_bytes(command[6:10], "big") in KEY_MAKING:
                response = await loop.run_in_executor(None, vtpm_transceive, command)
            else:
                response = vtpm_transceive(command)
        writer.write(response)
        await writer.drain()
        if not readable:
            return


async def _controls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer control messages; after an unknown one the connection ends, since its length is unknown too."""
    while True:
        number = int.from_bytes(await reader.readexactly(4), "big")
        payload = await reader.readexactly(PAYLOAD.get(number, 0))
        writer.write(_control(number, payload))
        await writer.drain()
        if number not in _ANSWERS and number not in PAYLOAD:
            return


_ANSWERS = {
    CMD_GET_CAPABILITY: CAPABILITIES.to_bytes(8, "big"),
    CMD_GET_TPMESTABLISHED: TPM_SUCCESS.to_bytes(4, "big") + bytes(4),
    CMD_CANCEL_TPM_CMD: TPM_SUCCESS.to_bytes(4, "big"),
    CMD_GET_CONFIG: TPM_SUCCESS.to_bytes(4, "big") + bytes(4),
    CMD_SHUTDOWN: TPM_BAD_ORDINAL.to_bytes(4, "big"),
    CMD_STOP: TPM_BAD_ORDINAL.to_bytes(4, "big"),
}


def _control(number: int, payload: bytes) -> bytes:
    if number in (CMD_SET_LOCALITY, CMD_RESET_TPMESTABLISHED):
        result = TPM_SUCCESS if payload == b"\x00" else TPM_BAD_LOCALITY
        return result.to_bytes(4, "big")
    return _ANSWERS.get(number, TPM_BAD_ORDINAL.to_bytes(4, "big"))
