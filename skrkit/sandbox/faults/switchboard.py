"""Which faults are on. Kept in the store, so that a killed sandbox comes back with the same faults."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skrkit.errors import UsageError
from skrkit.sandbox.faults.fault import Fault, Undone

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

    @property
    def on(self) -> Set[str]:
        """The faults that are on, for whoever asks for several on a hot path: empty most of the time."""
        return self._on

    def names(self) -> list[str]:
        """Return the faults that are on, in order of name."""
        return sorted(self._on)

    def switch_on(self, world: World, fault: Fault) -> None:
        """Switch a fault on; one that is on stays as it is. A change of state and its undoing are written together."""
        with _nobody_writes(world):
            if fault.name in self._on:
                return
            self._apply(world, fault, 1 + max(self._orders().values(), default=0))
        self._on.add(fault.name)

    def switch_off(self, world: World, fault: Fault) -> str:
        """Switch a fault off, put back what is still as it left it, and return a sentence that says what it found.

        Changes of state that came later are taken back for that moment, and made again where they were still there.
        Raises `UsageError` for one that is not on.
        """
        from skrkit.sandbox.faults.table import fault_named

        with _nobody_writes(world):
            orders = self._orders()
            if fault.name not in orders:
                raise self._not_on(fault.name)
            later = [name for name, order in orders.items() if order > orders[fault.name]]
            later.sort(key=orders.__getitem__, reverse=True)
            above = [fault_named(name) for name in later] if fault.undo else []
            again = [each for each in above if self._undo(world, each).put_back]
            undone = self._undo(world, fault)
            self._store.delete(KIND, fault.name)
            for each in reversed(again):
                self._apply(world, each, orders[each.name])
        self._on.discard(fault.name)
        return str(undone)

    def switch_all_off(self, world: World) -> dict[str, str]:
        """Switch every fault off, the last one first, and return what each found, by name."""
        from skrkit.sandbox.faults.table import fault_named

        orders = self._orders()
        last_first = sorted(orders, key=orders.__getitem__, reverse=True)
        return {name: self.switch_off(world, fault_named(name)) for name in last_first}

    def _orders(self) -> dict[str, int]:
        return {name: int(document["order"]) for name, document in self._store.list(KIND)}

    def _apply(self, world: World, fault: Fault, order: int) -> None:
        before = fault.apply(world) if fault.apply else {}
        self._store.put(KIND, fault.name, {"order": order, "before": before})

    def _undo(self, world: World, fault: Fault) -> Undone:
        document = self._store.get(KIND, fault.name)
        return fault.undo(world, document["before"]) if fault.undo and document else Undone()

    def _not_on(self, name: str) -> UsageError:
        return UsageError(
            what="fault",
            where=name,
            expected="a fault that is on",
            found=f"on are: {', '.join(self.names()) or 'none'}",
            fix="skrkit sandbox fault --list",
        )


@contextmanager
def _nobody_writes(world: World) -> Iterator[None]:
    """Hold what resources and keys are written under, in the order in which Resource Manager takes it."""
    from skrkit.sandbox.arm.call import arm_lock
    from skrkit.sandbox.vault.call import vault_lock

    with arm_lock(world), vault_lock(world), world.store.transaction():
        yield
