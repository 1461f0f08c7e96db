"""The two ports: commands in any slicing, control messages, limits."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.conftest import Served
from tests.sandbox.vtpm.raw import command, n, selection

RANDOM = command(0x17B, [], n(2, 8))


def receive(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := peer.recv(size - len(data))):
        data += more
    return data


def response(peer: socket.socket) -> bytes:
    head = receive(peer, 10)
    return head + receive(peer, int.from_bytes(head[2:6], "big") - 10)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def test_commands_one_after_the_other_and_in_slices(served: Served) -> None:
    with connect(served.port) as peer:
        peer.sendall(RANDOM + command(0x17E, [], selection(0)))
        assert len(response(peer)) == 20
        assert raw.code_of(response(peer)) == 0
        for at in range(len(RANDOM)):
            peer.sendall(RANDOM[at : at + 1])
        assert len(response(peer)) == 20


@pytest.mark.parametrize("size", [0, 9, 4097, 0xFFFFFFFF])
def test_a_command_of_an_impossible_size_is_refused_and_the_connection_ends(served: Served, size: int) -> None:
    with connect(served.port) as peer:
        peer.sendall(b"\x80\x01" + n(4, size) + n(4, 0x17B))
        assert raw.code_of(response(peer)) == 0x142
        assert peer.recv(1) == b""


def test_connections_do_not_mix_their_answers(served: Served) -> None:
    wrong: list[int] = []

    def ask(size: int) -> None:
        with connect(served.port) as peer:
            for _ in range(50):
                peer.sendall(command(0x17B, [], n(2, size)))
                if len(response(peer)) != 12 + size:
                    wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in (1, 8, 32, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert wrong == []


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (n(4, 5) + b"\0", n(4, 0)),  # locality 0
        (n(4, 5) + b"\3", n(4, 0x3D)),  # another locality
        (n(4, 9), n(4, 0)),  # cancel: nothing is under way
        (n(4, 4), n(4, 0) + bytes(4)),  # TPM established: no
        (n(4, 2) + bytes(4), n(4, 0x0A)),  # power is the platform's
        (n(4, 3), n(4, 0x0A)),
        (n(4, 14), n(4, 0x0A)),
        (n(4, 99), n(4, 0x0A)),
    ],
)
def test_control_messages(served: Served, message: bytes, answer: bytes) -> None:
    with connect(served.port + 1) as peer:
        peer.sendall(message)
        assert receive(peer, len(answer)) == answer


def test_two_control_messages_on_one_connection(served: Served) -> None:
    with connect(served.port + 1) as peer:
        peer.sendall(n(4, 5) + b"\0" + n(4, 9))
        assert receive(peer, 8) == bytes(8)


def test_a_peer_that_leaves_in_the_middle_harms_nobody(served: Served) -> None:
    with connect(served.port) as peer:
        peer.sendall(RANDOM[:7])
    with connect(served.port) as peer:
        peer.sendall(RANDOM)
        assert len(response(peer)) == 20
