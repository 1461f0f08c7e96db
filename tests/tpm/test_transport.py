"""Transports: what they open, what they refuse, and what they say."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from skrkit.errors import ServiceError, UsageError
from skrkit.tpm.client import Tpm
from skrkit.tpm.transport import DeviceTransport, SocketTransport, open_transport


def test_device_is_one_write_and_one_read(tmp_path: Path) -> None:
    # A FIFO hands back what is written to it, in one piece
    fifo = tmp_path / "tpmrm0"
    os.mkfifo(fifo)
    transport = open_transport(f"device:{fifo}")
    assert transport.transceive(b"\x80\x01whole command") == b"\x80\x01whole command"
    transport.close()
    transport.close()
    with pytest.raises(
        ServiceError, match=r"TPM transport at .*tpmrm0: expected a TPM 2\.0 that answers, found OSError"
    ):
        transport.transceive(b"\0")


def test_no_device_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as refused:
        DeviceTransport(str(tmp_path / "tpmrm0"))
    assert refused.value.where == str(tmp_path / "tpmrm0")
    assert refused.value.found == "FileNotFoundError: No such file or directory"
    assert "sandbox" in refused.value.fix


@pytest.mark.parametrize(
    ("number", "fix"), [(errno.EACCES, "sudo usermod -aG tss"), (errno.EBUSY, "/dev/tpm0 serves one process at a time")]
)
def test_refused_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch, number: int, fix: str) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ServiceError) as refused:
        open_transport("device:")
    assert refused.value.where == "/dev/tpmrm0"
    assert fix in refused.value.fix


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("", "found nothing"),
        ("mssim:host=x", "found mssim:host=x"),
        ("swtpm:path=/x", "found path"),
        ("swtpm:port=0", "found port '0'"),
        ("swtpm:port=65536", "found port '65536'"),
        ("swtpm:port=x", "found port 'x'"),
        ("tbs:x", "found tbs:x"),
    ],
)
def test_unknown_specifications_are_refused(spec: str, found: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_transport(spec)
    assert f"expected device:PATH, swtpm:host=HOST,port=PORT or tbs:, {found}." in str(refused.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has tbs.dll")
def test_tbs_is_for_windows() -> None:
    with pytest.raises(UsageError, match=r"expected Windows, found a system without tbs\.dll"):
        open_transport("tbs:")


def test_swtpm_by_its_tcti_spelling(swtpm_port: int) -> None:
    for _ in range(200):
        try:
            transport = open_transport(f"swtpm:host=127.0.0.1,port={swtpm_port}")
            break
        except ServiceError:
            threading.Event().wait(0.005)
    with Tpm(transport) as tpm:
        assert len(tpm.get_random(16)) == 16


def test_nothing_listening() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ServiceError) as refused:
            open_transport(f"swtpm:host=127.0.0.1,port={port}")
    assert refused.value.where == f"127.0.0.1:{port}"
    assert refused.value.found.startswith("ConnectionRefusedError")


def _answer(respond: bytes) -> tuple[SocketTransport, Callable[[], None]]:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            theirs.recv(4096)
            theirs.sendall(respond)

    thread = threading.Thread(target=serve)
    thread.start()
    return SocketTransport(ours, "a socket pair"), thread.join


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (b"", "expected a TPM 2.0 that answers, found the connection closed"),
        (b"\x80\x01\0\0\0\x0c\0\0\0\0", "found the connection closed"),
        (b"\x80\x01\0\0\0\x09\0\0\0\0", "expected a response of 10 to 4096 bytes, found 9"),
        (b"\x80\x01\xff\xff\xff\xff\0\0\0\0", "expected a response of 10 to 4096 bytes, found 4294967295"),
    ],
)
def test_broken_responses_are_named(response: bytes, words: str) -> None:
    transport, join = _answer(response)
    with pytest.raises(ServiceError) as refused:
        transport.transceive(b"\x80\x01\0\0\0\x0a\0\0\0\0")
    join()
    transport.close()
    assert words in str(refused.value)
    assert refused.value.where == "a socket pair"
