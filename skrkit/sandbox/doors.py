"""The doors of one sandbox: the outer one, and a proxy and a vTPM port for each VM, which come and go with the VMs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from skrkit.sandbox.door import Door, Doorway
from skrkit.sandbox.endpoint import MACHINES_FOLDER, VmDoor
from skrkit.sandbox.vtpm.server import VtpmServer
from skrkit.sandbox.vtpm.server import serve as serve_vtpm

if TYPE_CHECKING:
    from collections.abc import Callable

    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.world import World

LOOPBACK = "127.0.0.1"
GRACE_S = 3.0
EVENT_LOG_FILE = "binary_bios_measurements"  # as Linux names it
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    door: VmDoor
    vm_id: str
    proxy: asyncio.Server
    tpm: VtpmServer


@dataclass(slots=True)
class Doors:
    """Every door that is open. `sync` makes them match the VMs there are."""

    world: World
    used: Callable[[], None]  # called for every command to a vTPM: who uses one alone is not idle
    way: Doorway | None = None
    outer: asyncio.Server | None = None
    _open: dict[str, _Open] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def list(self) -> tuple[VmDoor, ...]:
        """Return the VMs' doors, in order of name and resource group."""
        doors = (opened.door for opened in self._open.values())
        return tuple(sorted(doors, key=lambda door: (door.name, door.resource_id)))

    async def open_outer(self, port: int, *, fixed: bool) -> int:
        """Open the outer door and return its port: `port` if it is free or `fixed`, else any. Raises `OSError`."""
        self.outer = await self._listen(None, port, fixed=fixed)
        return _port_of(self.outer)

    async def sync(self) -> bool:
        """Open the doors of new VMs, shut those of VMs that are gone or off; return whether anything changed."""
        async with self._lock:
            machines = await asyncio.to_thread(self.world.machines.all)
            wanted = {machine.resource_id: machine for machine in machines if machine.power == "running"}
            # A VM that was made anew under its old id is another machine, with another log: it gets a door of its own.
            gone = [key for key, opened in self._open.items() if opened.vm_id != _vm_id(wanted.get(key))]
            for key in gone:
                await self._shut(self._open.pop(key))
            fresh = [machine for key, machine in wanted.items() if key not in self._open]
            for machine in fresh:
                self._open[machine.resource_id] = await self._open_machine(machine)
            return bool(gone or fresh)

    async def _open_machine(self, machine: Machine) -> _Open:
        proxy = await self._listen(machine.resource_id, machine.proxy_port or 0, fixed=False)
        machines, resource_id = self.world.machines, machine.resource_id
        written = machine.event_log

        def transceive(command: bytes) -> bytes:
            nonlocal written
            self.used()
            awake = machines.get(resource_id)
            if awake is None:
                return b""
            response = awake.transceive(command)
            if awake.event_log is not written:  # a fault was switched: the log is another one
                written = awake.event_log
                self._write_event_log(awake)
            return response

        tpm = await _serve_vtpm(transceive, machine.tpm_port)
        if machine.proxy_port != _port_of(proxy):
            machine.proxy_port = _port_of(proxy)
        if machine.tpm_port != tpm.port:
            machine.tpm_port = tpm.port
        event_log = await asyncio.to_thread(self._write_event_log, machine)
        door = VmDoor(
            name=machine.name,
            resource_id=machine.resource_id,
            proxy_port=_port_of(proxy),
            tpm_port=tpm.port,
            event_log=str(event_log),
        )
        return _Open(door=door, vm_id=machine.vm_id, proxy=proxy, tpm=tpm)

    def _write_event_log(self, machine: Machine) -> Path:
        folder = self.world.home / MACHINES_FOLDER / machine.vm_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / EVENT_LOG_FILE
        path.write_bytes(machine.event_log)
        return path

    async def _listen(self, vm: str | None, port: int, *, fixed: bool) -> asyncio.Server:
        loop, way = asyncio.get_running_loop(), self.way
        assert way is not None
        try:
            return await loop.create_server(lambda: Door(way, vm), LOOPBACK, port)
        except OSError:
            if fixed or port == 0:
                raise
            _LOG.warning("port %d is taken; another one is used", port)
            return await loop.create_server(lambda: Door(way, vm), LOOPBACK, 0)

    async def _shut(self, opened: _Open) -> None:
        opened.proxy.close()
        await opened.tpm.close()

    async def shut_all(self) -> None:
        """Shut every door; connections that are open end."""
        for opened in self._open.values():
            await self._shut(opened)
        self._open.clear()
        if self.outer is not None:
            self.outer.close()
        if self.way is not None:
            for connection in list(self.way.state.connections):
                with suppress(Exception):
                    connection.shutdown()
            if self.way.state.tasks:  # requests that are being answered: their writes come before the store's end
                await asyncio.wait(self.way.state.tasks, timeout=GRACE_S)


def _vm_id(machine: Machine | None) -> str | None:
    return machine.vm_id if machine else None


def _port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def _serve_vtpm(transceive: Callable[[bytes], bytes], wished: int | None) -> VtpmServer:
    """Return a vTPM server on the port it had before, or on any free pair of ports."""
    if wished:
        with suppress(OSError):  # this port or the next one is somebody else's by now
            return await serve_vtpm(transceive, LOOPBACK, wished)
    return await serve_vtpm(transceive, LOOPBACK, 0)
