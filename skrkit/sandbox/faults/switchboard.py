"""Which faults are on. Kept in the store, so that a killed sandbox comes back with the same faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        with _nobody_writes(world):
            if fault.name in self._on:
                return
            before = fault.apply(world) if fault.apply else {}
            self._store.put(KIND, fault.name, before)
        self._on.add(fault.name)

    def switch_off(self, world: World, fault: Fault) -> str:
        """Switch a fault off, put back what is still as it left it, and return a sentence that says what it found.

        Raises `UsageError` for one that is not on.
        """
        with _nobody_writes(world):
            before = self._store.get(KIND, fault.name)
            if before is None:
                raise UsageError(
                    what="fault",
                    where=fault.name,
                    expected="a fault that is on",
                    found=f"on are: {', '.join(self.names()) or 'none'}",
                    fix="skrkit sandbox fault --list",
                )
            found = fault.undo(world, before) if fault.undo else "It behaves as Azure again."
            self._store.delete(KIND, fault.name)
        self._on.discard(fault.name)
        return found

    def switch_all_off(self, world: World) -> dict[str, str]:
        """Switch every fault off, the last of the table first, and return what each found, by name."""
        from skrkit.sandbox.faults.table import all_faults

        on = [fault for fault in reversed(all_faults()) if fault.name in self._on]
        return {fault.name: self.switch_off(world, fault) for fault in on}


@contextmanager
def _nobody_writes(world: World) -> Iterator[None]:
    """Hold what resources and keys are written under, in the order in which Resource Manager takes it."""
    from skrkit.sandbox.arm.call import arm_lock
    from skrkit.sandbox.vault.call import vault_lock

    with arm_lock(world), vault_lock(world), world.store.transaction():
        yield
