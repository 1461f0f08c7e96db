"""A real TPM to talk to: swtpm, started for one test and ended with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.errors import ServiceError
from skrkit.tpm.transport import SocketTransport

START_S = 10.0


def _free_ports() -> int:
    """Return a port P such that P and P + 1 are free on loopback just now."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def _start(state: Path) -> tuple[subprocess.Popen[bytes], int]:
    program = shutil.which("swtpm")
    if program is None:
        pytest.skip("NO swtpm: the client is not held against another TPM. Install swtpm.")
    port = _free_ports()
    process = subprocess.Popen(
        [
            program,
            "socket",
            "--tpm2",
            "--server",
            f"type=tcp,port={port},bindaddr=127.0.0.1",
            "--ctrl",
            f"type=tcp,port={port + 1},bindaddr=127.0.0.1",
            "--flags",
            "not-need-init,startup-clear",
            "--tpmstate",
            f"dir={state}",
        ]
    )
    return process, port


@pytest.fixture
def swtpm_port(tmp_path: Path) -> Iterator[int]:
    """The data port of a fresh swtpm; the control port is the next one."""
    process, port = _start(tmp_path)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=START_S)


@pytest.fixture
def swtpm(swtpm_port: int) -> Iterator[SocketTransport]:
    """A transport to a fresh swtpm."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            transport = SocketTransport.tcp("127.0.0.1", swtpm_port)
            break
        except ServiceError:
            assert time.monotonic() < deadline, "swtpm did not start"
            time.sleep(0.005)
    try:
        yield transport
    finally:
        transport.close()
