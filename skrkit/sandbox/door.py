"""A door of the sandbox: an HTTP proxy on loopback that answers everything itself and forwards nothing.

`CONNECT host:443` is answered 200, then TLS is spoken as that host with a certificate of the private CA, and the
sandbox's ASGI app serves what comes inside. A request in absolute form (`GET http://169.254.169.254/…`) is served as
it is. Each VM has a door of its own: what comes through it comes from that VM.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from skrkit.sandbox.faults.network import Trouble
    from skrkit.sandbox.tls import TlsAuthority

MAX_HEAD_BYTES = 64 << 10  # request line and headers; a token of Azure is 2 kB
HEAD_TIMEOUT_S = 30.0
HANDSHAKE_TIMEOUT_S = 15.0
MAX_TOLD = 200
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux alone has it
_CONNECT = b"CONNECT "
_TARGET = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}):([0-9]{1,5}) HTTP/1\.[01]")
_TOO_LONG = f"More than {MAX_HEAD_BYTES} bytes before a blank line."
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Doorway:
    """What every connection of every door shares: the app behind, the certificates, and who hears of requests.

    `trouble` says which named fault a connection to a host has, `foreign` is who speaks TLS where that is "tls".
    """

    app: Callable[..., Any]
    tls: TlsAuthority
    trouble: Callable[[str], Trouble] = lambda _host: ""
    foreign: Callable[[str], ssl.SSLContext] | None = None
    state: ServerState = field(default_factory=ServerState)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    told: set[tuple[str, str]] = field(default_factory=set)
    config: Config = field(init=False)

    def __post_init__(self) -> None:
        """Load uvicorn's configuration: HTTP alone, no logs of its own, connections kept for long."""
        self.config = Config(
            self.app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing stands before a door: what a client says of a proxy is not believed
            timeout_keep_alive=120,
        )
        self.config.load()

    def http(self, *, vm: str | None, connect_host: str | None) -> Http:
        """Return the HTTP side of one connection. The app sees `vm` and `connect_host` in its scope's state."""
        loop = asyncio.get_running_loop()
        made = Http(self.config, self.state, {"vm": vm, "connect_host": connect_host}, loop)
        made.trouble = self.trouble
        return made

    def tell_once(self, host: str, cause: Exception) -> None:
        """Log why TLS as a host failed, once for each reason: a client without the CA file tries again and again."""
        reason = getattr(cause, "reason", None) or type(cause).__name__
        if (host, reason) in self.told or len(self.told) >= MAX_TOLD:
            return
        self.told.add((host, reason))
        _LOG.warning("TLS as %s failed: %s. Does the client trust the sandbox's CA file?", host, cause)


class Http(HttpToolsProtocol):
    """uvicorn's HTTP, with bounds on a request's head, `target_host` in the scope's state, and no waiting for ACKs.

    `target_host` is the host of a request in absolute form, lower case, None of one that names a path alone. Clients
    of a proxy send head and body apart under Nagle's algorithm (urllib3 switches it on for proxies), so that a body
    waits for the head's acknowledgement: 40 ms on Linux, unless the kernel is asked to send it at once.
    """

    trouble: Callable[[str], Trouble]
    _head_bytes = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a first head, but not for ever: each connection that says nothing holds a descriptor."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_is_late(self) -> None:
        self._late = None
        before: Any = self.cycle  # the request before, or None, which its type does not say
        if before is not None and not before.response_complete:
            self._late = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)
            return
        if self._head_bytes and not self.transport.is_closing():
            self.transport.write(_answer(408, "Request Timeout", f"No whole head within {HEAD_TIMEOUT_S:.0f} s."))
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Acknowledge, feed the parser, and end the connection when a head grows without an end."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if _QUICK_ACK is not None and connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        self._head_bytes += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_answer(431, "Request Header Fields Too Large", _TOO_LONG))
            self.transport.close()
        if self._in_head and self._head_bytes and self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer, which comes after the body, is none: it authorises nothing and names no host."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Say which host the request line names, and start to serve."""
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("no HTTP/1.x")  # a fault of the parser's, and so a 400
        self._in_head, self._head_bytes = False, 0
        self._wait_no_more()
        state: dict[str, Any] = self.scope["state"]
        state["target_host"] = _named(self.url)
        if state["connect_host"] and self.trouble(state["connect_host"]):
            self.transport.abort()  # a connection of before the fault: the next one meets it
            return
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what was wrong in the shape of all other refusals, and end: what follows cannot be told apart."""
        self.transport.write(_answer(400, "Bad Request", f"{msg} Its head or its length is not as RFC 9112 has it."))
        self.transport.close()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._in_head = True
        super().on_message_complete()


class _Early(asyncio.Protocol):
    """What a client says inside TLS before the HTTP side is there: a request can come with the handshake's end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        """Note that nobody is left to answer."""
        self.lost = True


class Door(asyncio.Protocol):
    """One connection, until it is known what it wants. `vm` is the lower-case resource id of the VM it comes from."""

    def __init__(self, way: Doorway, vm: str | None) -> None:
        self._way = way
        self._vm = vm
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a first line, but not for ever."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, error: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        """Hand over to HTTP as soon as it is clear that this is no CONNECT; open a tunnel when it is a whole one."""
        self._head += data
        if not _CONNECT.startswith(bytes(self._head[: len(_CONNECT)])):
            self._serve_plain()
        elif b"\r\n\r\n" in self._head:
            self._open_tunnel()
        elif len(self._head) > MAX_HEAD_BYTES:
            self._refuse(431, "Request Header Fields Too Large", _TOO_LONG)

    def _serve_plain(self) -> None:
        assert self._transport is not None
        self._stop_timer()
        http = self._way.http(vm=self._vm, connect_host=None)
        self._transport.set_protocol(http)
        http.connection_made(self._transport)
        http.data_received(bytes(self._head))

    def _open_tunnel(self) -> None:
        head, _, early = bytes(self._head).partition(b"\r\n\r\n")
        target = _TARGET.fullmatch(head.split(b"\r\n", 1)[0])
        if target is None:
            self._refuse(400, "Bad Request", "CONNECT takes a host name and a port: CONNECT host:443 HTTP/1.1")
        elif target.group(2) != b"443":
            port = target.group(2).decode()
            self._refuse(
                403, "Forbidden", f"The sandbox answers on port 443 alone, not on {port}. Nothing is forwarded."
            )
        elif early:
            self._refuse(400, "Bad Request", "Wait for the answer to CONNECT before you speak TLS.")
        else:
            self._connect(target.group(1).decode().lower())

    def _connect(self, host: str) -> None:
        assert self._transport is not None
        trouble = self._way.trouble(host)
        if trouble == "name":
            self._refuse(502, "Host Not Found", f"{host} does not resolve.", proxy_status="dns_error; rcode=NXDOMAIN")
            return
        self._stop_timer()
        if trouble == "unreachable":
            self._transport.abort()
            return
        foreign = self._way.foreign if trouble == "tls" else None
        task = asyncio.get_running_loop().create_task(self._speak_tls(host, foreign or self._way.tls.server_context))
        self._way.tasks.add(task)
        task.add_done_callback(self._way.tasks.discard)

    async def _speak_tls(self, host: str, context_for: Callable[[str], ssl.SSLContext]) -> None:
        loop, transport = asyncio.get_running_loop(), self._transport
        assert transport is not None
        transport.pause_reading()
        early = _Early()
        try:
            context = await loop.run_in_executor(None, context_for, host)
            transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            inside = await loop.start_tls(
                transport, early, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except (ssl.SSLError, OSError, TimeoutError) as cause:
            self._way.tell_once(host, cause)
            transport.close()
            return
        except Exception:  # noqa: BLE001 - whatever it is, a client must not wait for it for ever
            _LOG.exception("TLS as %s failed", host)
            transport.close()
            return
        if inside is None or early.lost:
            return
        http = self._way.http(vm=self._vm, connect_host=host)
        inside.set_protocol(http)
        http.connection_made(inside)
        if early.data:
            http.data_received(bytes(early.data))

    def _refuse(self, status: int, reason: str, message: str, *, proxy_status: str = "") -> None:
        assert self._transport is not None
        self._stop_timer()
        self._transport.write(_answer(status, reason, message, proxy_status))
        self._transport.close()


def _named(target: bytes) -> str | None:
    """Return the host that a request line names, lower case; with a user or another port, which no host is, if any."""
    url = httptools.parse_url(target)
    if not url.host:
        return None
    user = f"{url.userinfo.decode('latin-1')}@" if url.userinfo else ""
    port = f":{url.port}" if url.port not in (None, 80, 443) else ""
    return f"{user}{url.host.decode('latin-1').lower()}{port}"


def _answer(status: int, reason: str, message: str, proxy_status: str = "") -> bytes:
    """Return a whole answer; `proxy_status` is the error of a Proxy-Status header (RFC 9209, section 2.3)."""
    body = json.dumps({"error": {"code": reason.replace(" ", ""), "message": message}}).encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    if proxy_status:
        head += f"Proxy-Status: skrkit-sandbox; error={proxy_status}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
