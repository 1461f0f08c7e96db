"""An HTTP server on loopback that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from skrkit.cloud import Cloud


@dataclass
class Answering:
    """The next answer, and the requests so far."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def answering(status: int = 200, body: bytes = b"{}", **headers: str) -> Iterator[Answering]:
    """Answer every request alike, until the end of the block. Underscores in header names are hyphens."""
    told = Answering(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.seen.append((self.command, self.path, dict(self.headers.items()), sent))
            self.send_response(told.status)
            for name, text in {"Content-Type": "application/json", **told.headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plain_cloud() -> Cloud:
    """The real cloud's settings: no proxy, no CA file. Only addresses on loopback are asked."""
    return Cloud.azure(tenant="t", subscription="s")
