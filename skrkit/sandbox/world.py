"""What every service of the sandbox shares: state, clock, certificates, machines. Handed to each `app(world)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrkit.sandbox import chance

if TYPE_CHECKING:
    from skrkit.sandbox.faults.switchboard import Switchboard
    from skrkit.sandbox.machines import Machines
    from skrkit.sandbox.silicon import Silicon
    from skrkit.sandbox.store import Store
    from skrkit.sandbox.tls import TlsAuthority

REGION = "westeurope"  # where a resource is when nobody says


def utc_now() -> datetime:
    """Return the time, aware, in UTC: the sandbox's clock unless a test brings its own."""
    return chance.utc_now()


@dataclass(slots=True)
class World:
    """One sandbox. Services keep all that must survive in `store`; `cache` is for what can be made again."""

    home: Path
    store: Store
    tls: TlsAuthority
    silicon: Silicon
    machines: Machines
    now: Callable[[], datetime] = utc_now
    cache: dict[str, Any] = field(default_factory=dict)
    faults: Switchboard = field(init=False)

    def __post_init__(self) -> None:
        from skrkit.sandbox.faults.machine import cloud_time
        from skrkit.sandbox.faults.switchboard import Switchboard

        self.faults = Switchboard(self.store)
        told = self.now
        self.now = lambda: cloud_time(self, told())

    def faulty(self, name: str) -> bool:
        """Return whether the fault of that name is on."""
        return self.faults.is_on(name)

    @property
    def tenant(self) -> str:
        """The tenant id, a lower-case GUID."""
        return self.setting("tenant")

    @property
    def subscription(self) -> str:
        """The subscription id, a lower-case GUID."""
        return self.setting("subscription")

    def setting(self, name: str) -> str:
        """Return a value of the document `settings/cast`, written once when the sandbox is made."""
        cast = self.store.look("settings", "cast") or {}
        return str(cast[name])
