"""A service that is throttled, broken for a while, or not there: waited for as told, and then named."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from skrkit.errors import ServiceError
from skrkit.services.azure_errors import azure_call
from skrkit.services.rest import send_request
from tests.services.answering import Answering, answering, plain_cloud

Slept = list[float]
BUSY = b'{"error": {"code": "TooManyRequests", "message": "slow down"}}'


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Slept]:
    """Make the pipeline's sleeps calls of `meanwhile`, and return the list that their seconds go to."""

    def put(meanwhile: Callable[[], Any] = lambda: None) -> Slept:
        seconds: Slept = []

        def sleep(_transport: RequestsTransport, duration: float) -> None:
            seconds.append(duration)
            meanwhile()

        monkeypatch.setattr(RequestsTransport, "sleep", sleep)
        return seconds

    return put


def recover(server: Answering) -> None:
    server.status, server.body = 200, b'{"well": true}'


def test_retry_after_is_waited_for_and_no_more(sleeping: Callable[..., Slept]) -> None:
    with answering(429, BUSY, Retry_After="7") as server:
        slept = sleeping(lambda: recover(server))
        assert send_request(plain_cloud(), "GET", server.url) == b'{"well": true}'
    assert slept == [7.0]
    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_service_that_recovers_is_answered_by(sleeping: Callable[..., Slept], status: int) -> None:
    with answering(status, b"<html>gateway</html>", Retry_After="1") as server:
        slept = sleeping(lambda: recover(server))
        assert send_request(plain_cloud(), "GET", server.url) == b'{"well": true}'
    assert slept == [1.0]


@pytest.mark.parametrize("status", [429, 503])
def test_one_that_does_not_is_named_in_the_end(sleeping: Callable[..., Slept], status: int) -> None:
    slept = sleeping()
    with (
        answering(status, BUSY, Retry_After="2") as server,
        pytest.raises(ServiceError) as refused,
        azure_call("Key Vault get key"),
    ):
        send_request(plain_cloud(), "GET", f"{server.url}/keys/k?api-version=7.4")
    assert (refused.value.what, refused.value.where) == ("Key Vault get key", f"GET {server.url}/keys/k")
    assert refused.value.found == f"HTTP {status} TooManyRequests: slow down"
    assert set(slept) == {2.0}
    assert len(server.seen) == len(slept) + 1 > 2


def test_an_unreachable_host_is_the_networks_fault(sleeping: Callable[..., Slept]) -> None:
    slept = sleeping()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there once this block is left
    with pytest.raises(ServiceError) as refused, azure_call("IMDS instance"):
        send_request(plain_cloud(), "GET", f"http://127.0.0.1:{port}/metadata/instance")
    error = refused.value
    assert (error.what, error.where, error.expected, error.status) == ("IMDS instance", "the network", "an answer", 0)
    assert error.found.startswith("ServiceRequestError: ")
    assert "skrkit sandbox status" in error.fix
    assert slept


def test_a_connection_that_breaks_off_is_the_networks_fault(sleeping: Callable[..., Slept]) -> None:
    sleeping()
    server = socket.create_server(("127.0.0.1", 0))

    def half_an_answer() -> None:
        while True:
            try:
                opened, _ = server.accept()
            except OSError:
                return
            with opened:
                opened.recv(65536)
                opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")

    thread = threading.Thread(target=half_an_answer)
    thread.start()
    try:
        with pytest.raises(ServiceError) as refused, azure_call("THIM certificates"):
            send_request(plain_cloud(), "GET", f"http://127.0.0.1:{server.getsockname()[1]}/x")
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
    assert (refused.value.what, refused.value.where) == ("THIM certificates", "the network")
