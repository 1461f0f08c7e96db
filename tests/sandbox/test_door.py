"""The doors, from outside: what they serve, what they refuse and in which words, and that nonsense shuts none."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.sandbox import door
from skrkit.sandbox.endpoint import Endpoint, read_endpoint
from tests.sandbox import running
from tests.sandbox.running import IMDS, LOGIN, ask, bearer, connection, say, send

DISCOVERY = "/common/discovery/instance"
VERSIONS = f"{IMDS}/metadata/versions"


def vm_port(endpoint: Endpoint) -> int:
    return endpoint.vm("cvm-1").proxy_port


def error_of(answer: running.Answer) -> tuple[int, str, str]:
    said = answer.json()["error"]
    return answer.status, said["code"], said["message"]


def raw_error(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body)["error"]["message"]


def alive(endpoint: Endpoint) -> bool:
    return send(endpoint, "GET", LOGIN + DISCOVERY).status == 200


def test_imds_answers_through_the_door_of_a_vm_and_only_there(sandbox: Endpoint) -> None:
    assert send(sandbox, "GET", VERSIONS, Metadata="true", port=vm_port(sandbox)).status == 200
    refused = send(sandbox, "GET", VERSIONS, Metadata="true")
    assert (refused.status, refused.json()["error"]) == (403, "no_imds_here")
    assert "skrkit sandbox exec --vm NAME" in refused.json()["error_description"]


def test_other_services_answer_through_both_doors(sandbox: Endpoint) -> None:
    for port in (sandbox.port, vm_port(sandbox)):
        assert send(sandbox, "GET", LOGIN + DISCOVERY, port=port).status == 200
        certs = send(sandbox, "GET", "https://sharedweu.weu.attest.azure.net/certs", port=port)
        assert certs.json()["keys"][0]["kty"] == "RSA"


def test_every_answer_has_the_date_of_the_sandboxs_clock(sandbox: Endpoint) -> None:
    for url in (LOGIN + DISCOVERY, "https://sharedweu.weu.attest.azure.net/certs", "https://example.org/"):
        said = parsedate_to_datetime(send(sandbox, "GET", url).headers["date"])
        assert abs((datetime.now(UTC) - said).total_seconds()) < 60


@pytest.mark.parametrize("url", ["https://example.org/", "http://example.org/index.html", "https://vault.azure.net/"])
def test_an_unknown_host_is_told_so_and_nothing_is_forwarded(sandbox: Endpoint, url: str) -> None:
    host = url.split("/")[2]
    status, code, message = error_of(send(sandbox, "GET", url))
    assert (status, code) == (502, "HostNotInSandbox")
    assert message.startswith(f"The sandbox has no {host}, and forwards nothing. It has: login.microsoftonline.com")
    assert "*.vault.azure.net" in message
    assert "169.254.169.254" in message


def test_the_control_interface_is_for_who_has_the_secret(sandbox: Endpoint) -> None:
    url = "http://sandbox.skrkit/status"
    assert send(sandbox, "GET", url).status == 403
    assert send(sandbox, "GET", url, X_Skrkit_Secret="x" * len(sandbox.secret)).status == 403
    assert send(sandbox, "GET", url, X_Skrkit_Secret=sandbox.secret).json()["pid"] == sandbox.pid


def test_another_port_is_refused(sandbox: Endpoint) -> None:
    status, message = raw_error(say(sandbox.port, b"CONNECT management.azure.com:8443 HTTP/1.1\r\n\r\n"))
    assert status == 403
    assert message == "The sandbox answers on port 443 alone, not on 8443. Nothing is forwarded."


@pytest.mark.parametrize("target", ["management.azure.com", "a b:443", "[::1]:443", ":443", "x/y:443", "h:443443443"])
def test_a_connect_to_no_host_and_port_is_refused(sandbox: Endpoint, target: str) -> None:
    status, message = raw_error(say(sandbox.port, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode()))
    assert status == 400
    assert message == "CONNECT takes a host name and a port: CONNECT host:443 HTTP/1.1"


def test_a_host_header_that_is_not_the_tunnels_is_misdirected(sandbox: Endpoint) -> None:
    opened = connection(sandbox, "login.microsoftonline.com")
    status, code, message = error_of(ask(opened, "GET", DISCOVERY, Host="management.azure.com"))
    opened.close()
    assert (status, code) == (421, "MisdirectedRequest")
    assert "The tunnel is to login.microsoftonline.com" in message
    assert "management.azure.com" in message.partition("login.microsoftonline.com")[2]


def test_two_host_headers_are_no_host(sandbox: Endpoint) -> None:
    head = b"GET http://169.254.169.254/metadata/versions HTTP/1.1\r\nMetadata: true\r\n"
    twice = head + b"Host: 169.254.169.254\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n"
    once = head + b"Host: 169.254.169.254\r\nConnection: close\r\n\r\n"
    assert say(vm_port(sandbox), once, end=False).startswith(b"HTTP/1.1 200 ")
    assert raw_error(say(vm_port(sandbox), twice, end=False)) == (
        400,
        "A request has one Host header, which names one host.",
    )


def test_a_request_line_and_a_host_header_that_differ_are_refused(sandbox: Endpoint) -> None:
    url = "http://169.254.169.254/metadata/versions"
    differ = f"GET {url} HTTP/1.1\r\nMetadata: true\r\nHost: sandbox.skrkit\r\nConnection: close\r\n\r\n".encode()
    status, message = raw_error(say(vm_port(sandbox), differ, end=False))
    assert status == 400
    assert message == "The request line names 169.254.169.254, the Host header sandbox.skrkit."


def test_a_service_that_speaks_https_is_not_served_in_plain(sandbox: Endpoint) -> None:
    for host in ("management.azure.com", "skrkit-vault.vault.azure.net"):
        status, code, message = error_of(send(sandbox, "GET", f"http://{host}/keys?api-version=7.6"))
        assert (status, code, message) == (403, "HttpsRequired", f"{host} speaks https alone.")


def test_a_head_without_an_end_is_cut_off(sandbox: Endpoint) -> None:
    filler = b"X-Filler: " + b"a" * (door.MAX_HEAD_BYTES + 1)
    status, message = raw_error(say(sandbox.port, b"CONNECT management.azure.com:443 HTTP/1.1\r\n" + filler))
    assert status == 431
    assert str(door.MAX_HEAD_BYTES) in message
    status, message = raw_error(say(vm_port(sandbox), b"GET http://169.254.169.254/ HTTP/1.1\r\n" + filler))
    assert status == 431
    assert alive(sandbox)


def test_tls_before_the_answer_to_connect_is_refused(sandbox: Endpoint) -> None:
    status, message = raw_error(say(sandbox.port, b"CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n\x16\x03\x01"))
    assert status == 400
    assert "Wait for the answer to CONNECT" in message


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: b"CONNECT " + tail + b"\r\n\r\n")))
def test_nonsense_is_answered_or_ended(sandbox: Endpoint, noise: bytes) -> None:
    for port in (sandbox.port, vm_port(sandbox)):
        answer = say(port, noise)
        assert not answer or (answer.startswith(b"HTTP/1.1 ") and int(answer[9:12]) >= 400)
    status = send(sandbox, "GET", "http://sandbox.skrkit/health", X_Skrkit_Secret=sandbox.secret).status
    assert status == 200


def test_nonsense_inside_a_tunnel_is_answered(sandbox: Endpoint) -> None:
    opened = connection(sandbox, "management.azure.com")
    opened.connect()
    assert opened.sock is not None
    opened.sock.sendall(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
    assert opened.sock.recv(4096).startswith(b"HTTP/1.1 400 ")
    opened.close()
    assert alive(sandbox)


def test_a_client_that_does_not_trust_the_root_hurts_nobody(sandbox: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as opened:
        opened.sendall(b"CONNECT management.azure.com:443 HTTP/1.1\r\nHost: management.azure.com:443\r\n\r\n")
        assert opened.recv(4096).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(opened, server_hostname="management.azure.com")
    assert alive(sandbox)


def test_one_connection_serves_many_requests(sandbox: Endpoint) -> None:
    opened = connection(sandbox, "management.azure.com")
    opened.connect()
    socket_of_the_first = opened.sock
    token = bearer(running.operator_token(sandbox))
    for number in range(5):
        path = f"/subscriptions/{sandbox.subscription}/resourceGroups/kept-{number}?api-version=2025-04-01"
        made = ask(opened, "PUT", path, {"location": "westeurope"}, Authorization=token)
        assert (made.status, made.json()["name"]) == (201, f"kept-{number}")
        assert ask(opened, "GET", path, Authorization=token).json()["name"] == f"kept-{number}"
        assert opened.sock is socket_of_the_first
    opened.close()


def test_a_request_that_comes_with_the_handshakes_last_packet_is_served(sandbox: Endpoint) -> None:
    """With TLS 1.3 a client may say its Finished and its first request in one segment."""
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = running.trusting(sandbox).wrap_bio(inside, outside, server_hostname="login.microsoftonline.com")
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as opened:
        opened.sendall(b"CONNECT login.microsoftonline.com:443 HTTP/1.1\r\n\r\n")
        assert opened.recv(4096).startswith(b"HTTP/1.1 200 ")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                opened.sendall(outside.read())
                inside.write(opened.recv(65536))
        assert tls.version() == "TLSv1.3"
        tls.write(f"GET {DISCOVERY} HTTP/1.1\r\nHost: login.microsoftonline.com\r\nConnection: close\r\n\r\n".encode())
        opened.sendall(outside.read())
        while b"HTTP/1.1" not in (said := _read(tls)):
            inside.write(opened.recv(65536))
        assert said.startswith(b"HTTP/1.1 200 ")


def _read(tls: ssl.SSLObject) -> bytes:
    try:
        return tls.read(65536)
    except ssl.SSLWantReadError:
        return b""


def test_the_door_of_a_vm_opens_before_it_is_heard_of_and_shuts_with_it(sandbox: Endpoint) -> None:
    token = bearer(running.operator_token(sandbox))
    url = running.vm_url(sandbox, "cvm-door")
    made = send(sandbox, "PUT", url, running.vm_body(sandbox, "cvm-door"), Authorization=token)
    assert made.status == 201, made.body
    now = read_endpoint(sandbox.home)  # no wait: the answer came, so the door is there
    assert now is not None
    opened = now.vm("cvm-door")
    instance = f"{IMDS}/metadata/instance/compute?api-version=2021-12-13"
    seen = send(sandbox, "GET", instance, Metadata="true", port=opened.proxy_port).json()
    other = send(sandbox, "GET", instance, Metadata="true", port=now.vm("cvm-1").proxy_port).json()
    assert (seen["name"], other["name"]) == ("cvm-door", "cvm-1")
    assert seen["vmId"] == made.json()["properties"]["vmId"] != other["vmId"]
    with socket.create_connection(("127.0.0.1", opened.tpm_port), timeout=5) as tpm:
        tpm.sendall(bytes.fromhex("80010000000c0000017b0008"))  # TPM2_GetRandom(8)
        assert tpm.recv(64)[:10].hex() == "80010000001400000000"
    assert os.path.getsize(opened.event_log) > 1000

    assert send(sandbox, "DELETE", url, Authorization=token).status in (200, 202)
    after = read_endpoint(sandbox.home)
    assert after is not None
    assert [vm for vm in after.vms if vm.name == "cvm-door"] == []
    assert after.vm("cvm-1") == now.vm("cvm-1")
    for port in (opened.proxy_port, opened.tpm_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_head_that_never_ends_is_not_waited_for() -> None:
    """A client that says a byte now and then holds a connection, and with it one of the process's descriptors."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_slow_heads())
    finally:
        loop.close()


async def _slow_heads() -> None:
    async def hello(scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.sleep(0.6 if scope["path"] == "/slow" else 0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(door, "HEAD_TIMEOUT_S", 0.3)
        way = door.Doorway(hello, None)  # type: ignore[arg-type]  # no TLS here
        server = await asyncio.get_running_loop().create_server(lambda: door.Door(way, None), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        whole = b"GET http://h/%s HTTP/1.1\r\nHost: h\r\n\r\n"
        for sent, statuses in (
            (b"GET http://h/ HTTP/1.1\r\nHost: h\r\nX: ", [408]),
            (whole % b"" + b"GET http://h/ HTTP", [200]),  # the second request's head is late
            (whole % b"slow" + b"GET http://h/ HTTP", [200]),  # and does not cut the first one's answer off
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for part in (sent[:-5], sent[-5:]):
                writer.write(part)
                await asyncio.sleep(0.05)
            said = await asyncio.wait_for(reader.read(), 5)
            assert [int(line.split()[1]) for line in said.split(b"\r\n") if line.startswith(b"HTTP/")][:1] == statuses
            writer.close()
            await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):  # who keeps a connection, and is silent between two requests, is not late
            writer.write(whole % b"")
            assert b"hi" in await asyncio.wait_for(reader.readuntil(b"hi"), 5)
            await asyncio.sleep(0.4)
        writer.close()
        await writer.wait_closed()
        server.close()
        await asyncio.sleep(0.1)  # the other ends hear of it
