"""The sandbox's confidential VMs, by resource id: made, found again in a new process, removed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Set
from datetime import datetime
from typing import Any

from skrkit.sandbox import akcert
from skrkit.sandbox.machine import KIND, Identity, Machine, no_faults
from skrkit.sandbox.silicon import Silicon
from skrkit.sandbox.store import Document, Store
from skrkit.sandbox.vtpm import VtpmState


class Machines:
    """The sandbox's machines, by resource id in any case. Safe from several threads."""

    def __init__(
        self,
        store: Store,
        silicon: Silicon,
        now: Callable[[], datetime],
        faults: Callable[[], Set[str]] = no_faults,
    ) -> None:
        self._store = store
        self._silicon = silicon
        self._now = now
        self._faults = faults
        self._lock = threading.RLock()
        self._awake: dict[str, Machine] = {}
        self.authority = akcert.VtpmAuthority(store, now)

    def create(self, resource_id: str, *, name: str, region: str, vm_id: str, secure_boot: bool = True) -> Machine:
        """Return a new machine, made and booted. One that has the id already is replaced, as a redeployed VM is."""
        identity = Identity(
            resource_id=resource_id.lower(), name=name, region=region, vm_id=vm_id.lower(), secure_boot=secure_boot
        )
        with self._lock:
            self.delete(resource_id)
            machine = Machine(identity, chip=self._silicon.make_chip(), state=VtpmState.fresh(), **self._around())
            machine.manufacture(self.authority)
            machine.save()
            self._awake[identity.resource_id] = machine
            return machine

    def get(self, resource_id: str) -> Machine | None:
        """Return the machine with this resource id, or None."""
        key = resource_id.lower()
        with self._lock:
            if key not in self._awake:
                document = self._store.get(KIND, key)
                if document is None:
                    return None
                self._awake[key] = self._wake(key, document)
            return self._awake[key]

    def all(self) -> list[Machine]:
        """Return every machine, in order of resource id."""
        machines = [self.get(key) for key, _ in self._store.list(KIND)]
        return [machine for machine in machines if machine is not None]

    def delete(self, resource_id: str) -> bool:
        """Remove a machine and its chip; return whether it was there."""
        key = resource_id.lower()
        with self._lock:
            awake = self._awake.pop(key, None)
            if awake is not None:
                awake.retire()
            document = self._store.get(KIND, key)
            if document is None:
                return False
            with self._store.transaction():
                self._silicon.scrap(bytes.fromhex(document["chip_id"]))
                return self._store.delete(KIND, key)

    def _wake(self, key: str, document: Document) -> Machine:
        """Return a machine from the store, in a new process."""
        chip = self._silicon.chip(bytes.fromhex(document["chip_id"]))
        assert chip is not None  # both documents are removed in one transaction
        machine = Machine.from_document(key, document, chip=chip, **self._around())
        machine.renew_ak_certificate(self.authority)
        return machine

    def _around(self) -> dict[str, Any]:
        """Return what every machine of this sandbox has around it."""
        return {"silicon": self._silicon, "store": self._store, "now": self._now, "faults": self._faults}
