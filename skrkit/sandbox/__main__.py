"""The sandbox's process: `python -m skrkit.sandbox --home DIR`. Started by `skrkit sandbox up`, not by people."""

from __future__ import annotations

import argparse
import asyncio
import logging
import logging.handlers
import os
import secrets
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from skrkit.errors import SkrkitError
from skrkit.sandbox import chance
from skrkit.sandbox.endpoint import (
    CA_FILE,
    ENDPOINT_FILE,
    LOCK_FILE,
    LOG_FILE,
    STATE_FILE,
    Endpoint,
    write_endpoint,
)
from skrkit.sandbox.lock import ProcessLock
from skrkit.sandbox.process import ALREADY_RUNNING

IDLE_VARIABLE = "SKRKIT_SANDBOX_IDLE_S"
IDLE_S = 8 * 3600
MAX_LOG_BYTES = 1 << 20
_LOG = logging.getLogger("skrkit.sandbox")


class Server:
    """One sandbox, from lock to shutdown."""

    def __init__(self, home: Path, lock: ProcessLock, asked: chance.Asked) -> None:
        from skrkit import __version__
        from skrkit.sandbox.app import HostRouter
        from skrkit.sandbox.cast import ensure_cast
        from skrkit.sandbox.doors import Doors
        from skrkit.sandbox.machines import Machines
        from skrkit.sandbox.silicon import Silicon
        from skrkit.sandbox.store import Store
        from skrkit.sandbox.tls import TlsAuthority
        from skrkit.sandbox.world import World, utc_now

        self._lock = lock
        self._stopped = asyncio.Event()
        store = Store(home / STATE_FILE)
        made = chance.settle(store, asked)  # before anything is drawn
        cast = ensure_cast(store, utc_now())
        tls, silicon = TlsAuthority(store, lambda: datetime.now(UTC)), Silicon(store, utc_now)
        machines = Machines(store, silicon, utc_now, lambda: self.world.faults.on)
        self.world = World(home=home, store=store, tls=tls, silicon=silicon, machines=machines)
        self.world.cache["server"] = self
        self.router = HostRouter(self.world, self._after_change)
        self.doors = Doors(self.world, self.router.used)
        (home / CA_FILE).write_bytes(tls.root_pem)
        self.endpoint = Endpoint(
            home=home,
            pid=os.getpid(),
            port=0,
            version=__version__,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            secret=secrets.token_urlsafe(24),
            tenant=str(cast["tenant"]),
            subscription=str(cast["subscription"]),
            client_id=str(cast["client_id"]),
            client_secret=str(cast["client_secret"]),
            operator_oid=str(cast["operator_oid"]),
            seed=made.seed or "",
            clock=made.clock_text,
        )

    def stop(self) -> None:
        """Ask the process to end. What was acknowledged is in the store already."""
        self._stopped.set()

    async def run(self, port: int | None) -> None:
        """Serve until stopped or idle for long."""
        from functools import partial

        from skrkit.sandbox.door import Doorway
        from skrkit.sandbox.faults import network

        trouble = partial(network.tunnel_trouble, self.world)
        foreign = partial(network.foreign_context, self.world)
        self.doors.way = Doorway(self.router, self.world.tls, trouble=trouble, foreign=foreign)
        before = (self.world.store.get("settings", "door") or {}).get("port", 0)
        outer = await self.doors.open_outer(before if port is None else port, fixed=port is not None)
        if outer != before:
            self.world.store.put("settings", "door", {"port": outer})
        self.endpoint = replace(self.endpoint, port=outer)
        await self.doors.sync()
        self._publish()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # Windows has no handlers in its loop; shutdown comes by request there
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
        threading.Thread(target=self._prepare, name="silicon", daemon=True).start()
        await self._until_stopped()
        (self.endpoint.home / ENDPOINT_FILE).unlink(missing_ok=True)
        await self.doors.shut_all()
        self.world.store.close()

    def _prepare(self) -> None:
        from skrkit.sandbox.entra_keys import signing_key

        try:
            signing_key(self.world)  # a tenth of a second that the first token need not wait for
            self.world.silicon.prepare()  # two RSA-4096 keys: a second of work that nobody should wait for
        except SkrkitError as cause:
            _LOG.warning("%s", cause)  # made when first needed instead, where the failure is answered

    async def _until_stopped(self) -> None:
        idle = float(os.environ.get(IDLE_VARIABLE, IDLE_S))
        while not self._stopped.is_set():
            left = self.router.last_request + idle - time.monotonic()
            if left <= 0:
                _LOG.info("idle for %.0f s: the end", idle)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), min(left, 60.0) + 0.01)

    async def _after_change(self) -> None:
        if await self.doors.sync():
            self._publish()

    def _publish(self) -> None:
        self.endpoint = replace(self.endpoint, vms=self.doors.list())
        write_endpoint(self.endpoint)


def main(argv: list[str] | None = None) -> int:
    """Run the process and return its exit code: 75 if another one has the lock, an error's own otherwise."""
    parser = argparse.ArgumentParser(prog="python -m skrkit.sandbox")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--seed", default="")
    parser.add_argument("--clock", default="")
    arguments = parser.parse_args(argv)
    lock = ProcessLock(arguments.home / LOCK_FILE)
    if not lock.acquire():
        return ALREADY_RUNNING
    _log_to(arguments.home / LOG_FILE)
    try:
        asyncio.run(_serve(arguments, lock))
    except SkrkitError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 7
    finally:
        lock.release()
    return 0


async def _serve(arguments: argparse.Namespace, lock: ProcessLock) -> None:
    asked = chance.asked(arguments.seed, arguments.clock)
    await Server(arguments.home, lock, asked).run(arguments.port)


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    _code = main()
    logging.shutdown()
    os._exit(_code)  # a request that still computes has no state any more: nobody waits for it
