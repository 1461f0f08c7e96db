"""Which host a request is for: tunnel, request line and Host header must all name the same, and one that is here."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

import pytest

from skrkit.sandbox.endpoint import LOG_FILE, Endpoint
from tests.sandbox.running import IMDS, LOGIN, ask, connection, say, send, trusting

ENTRA = "login.microsoftonline.com"
LONG = "a" * 63 + "." + "b" * 63 + ".example"  # longer than a certificate's common name may be


def opened(endpoint: Endpoint, host: str) -> socket.socket:
    """A tunnel to `host` in which nobody has spoken TLS yet."""
    made = socket.create_connection(("127.0.0.1", endpoint.port), timeout=10)
    made.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    assert made.recv(4096) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    return made


def raw(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body)["error"]["message"]


@pytest.mark.parametrize("host", ["vault.azure.net", "a.attest.azure.net", "x.management.azure.com", LONG])
def test_a_star_stands_for_its_labels_and_no_more_or_fewer(sandbox: Endpoint, host: str) -> None:
    answer = send(sandbox, "GET", f"https://{host}/")
    assert (answer.status, answer.json()["error"]["code"]) == (502, "HostNotInSandbox")
    assert answer.json()["error"]["message"].startswith(f"The sandbox has no {host}, and forwards nothing.")


def test_the_request_line_and_the_host_header_name_the_same(sandbox: Endpoint) -> None:
    for target, host in ((IMDS, "sandbox.skrkit"), ("http://sandbox.skrkit", "169.254.169.254")):
        sent = f"GET {target}/status HTTP/1.1\r\nHost: {host}\r\nMetadata: true\r\n\r\n".encode()
        status, message = raw(say(sandbox.vm("cvm-1").proxy_port, sent))
        assert (status, message) == (400, f"The request line names {target[7:]}, the Host header {host}.")


def test_an_absolute_request_in_a_tunnel_names_the_tunnels_host(sandbox: Endpoint) -> None:
    inside = connection(sandbox, ENTRA)
    path = "/common/discovery/instance"
    assert ask(inside, "GET", LOGIN + path).status == 200
    assert ask(inside, "GET", f"https://management.azure.com{path}", Host=ENTRA).status == 400
    both = ask(inside, "GET", f"https://management.azure.com{path}", Host="management.azure.com")
    assert both.status == 421
    inside.close()


@pytest.mark.parametrize("host", ["management.azure.com", "169.254.169.254", "sandbox.skrkit", "example.com"])
def test_no_other_host_is_reached_in_a_tunnel(sandbox: Endpoint, host: str) -> None:
    inside = connection(sandbox, ENTRA)
    answer = ask(inside, "GET", "/status", Host=host, X_Skrkit_Secret=sandbox.secret, Metadata="true")
    inside.close()
    assert answer.status == 421
    assert answer.json()["error"]["message"] == f"The tunnel is to {ENTRA}, the request is for {host}."


def test_a_host_has_one_port_at_most(sandbox: Endpoint) -> None:
    """What two readers could read in two ways: a host with two ports, or with another one."""
    inside = connection(sandbox, ENTRA)
    for port in (":443", ":80"):
        assert ask(inside, "GET", "/common/discovery/instance", Host=ENTRA + port).status == 200
    for port in (":80:443", ":443:443", ":443:80", ":8443"):
        assert ask(inside, "GET", "/common/discovery/instance", Host=ENTRA + port).status == 421
    inside.close()


def test_no_host_header_is_refused(sandbox: Endpoint) -> None:
    status, message = raw(say(sandbox.port, b"GET /metadata/instance HTTP/1.1\r\n\r\n"))
    assert (status, message) == (400, "A request has one Host header, which names one host.")


def test_imds_over_https_is_refused_by_name(sandbox: Endpoint) -> None:
    context = trusting(sandbox)
    context.check_hostname = False  # the certificate has a name, where an address would be needed
    with context.wrap_socket(opened(sandbox, "169.254.169.254")) as inside:
        inside.sendall(b"GET / HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n")
        said = b""
        while part := inside.recv(65536):
            said += part
    assert raw(said) == (403, "169.254.169.254 speaks http alone.")


def test_a_connect_that_comes_byte_by_byte_is_understood(sandbox: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"CONNECT {ENTRA}:443 HTTP/1.0\r\nUser-Agent: slow\r\n\r\n".encode():
            slow.sendall(bytes([byte]))
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")


def test_requests_in_one_packet_are_all_answered(sandbox: Endpoint) -> None:
    request = f"GET /common/discovery/instance HTTP/1.1\r\nHost: {ENTRA}\r\n\r\n".encode()
    with trusting(sandbox).wrap_socket(opened(sandbox, ENTRA), server_hostname=ENTRA) as inside:
        inside.sendall(request * 3)
        said = b""
        while said.count(b"preferred_network") < 3:
            part = inside.recv(65536)
            assert part, said
            said += part


def test_a_client_without_the_ca_is_logged_once_and_clearly(sandbox: Endpoint) -> None:
    host = "stranger.vault.azure.net"
    for _ in range(3):
        with opened(sandbox, host) as tunnel, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(tunnel, server_hostname=host)
    assert send(sandbox, "GET", f"https://{host}/keys?api-version=7.6").status in (401, 404)
    lines = [line for line in (sandbox.home / LOG_FILE).read_text().splitlines() if host in line]
    assert len(lines) == 1
    assert "Does the client trust the sandbox's CA file?" in lines[0]
