"""Which faults are on. Kept in the store, so that a killed sandbox comes back with the same faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.errors import UsageError
from skrkit.sandbox.faults.fault import Fault

if TYPE_CHECKING:
    from skrkit.sandbox.store import Store
    from skrkit.sandbox.world import World

KIND = "fault"


class Switchboard:
    """The faults that are on. `is_on` is asked on hot paths and reads memory alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._on = {name for name, _ in store.list(KIND)}

    def is_on(self, name: str) -> bool:
        """Return whether this fault is on."""
        return name in self._on

    def names(self) -> list[str]:
        """Return the faults that are on, in order of name."""
        return sorted(self._on)

    def switch_on(self, world: World, fault: Fault) -> None:
        """Switch a fault on; one that is on stays as it is. A change of state and its undoing are written together."""
        if fault.name in self._on:
            return
        with self._store.transaction():
            before = fault.apply(world) if fault.apply else {}
            self._store.put(KIND, fault.name, before)
        self._on.add(fault.name)

    def switch_off(self, world: World, fault: Fault) -> None:
        """Switch a fault off, and put back what it changed. Raises `UsageError` for one that is not on."""
        before = self._store.get(KIND, fault.name)
        if before is None:
            raise UsageError(
                what="fault",
                where=fault.name,
                expected="a fault that is on",
                found=f"on are: {', '.join(self.names()) or 'none'}",
                fix="skrkit sandbox fault --list",
            )
        with self._store.transaction():
            if fault.undo:
                fault.undo(world, before)
            self._store.delete(KIND, fault.name)
        self._on.discard(fault.name)
