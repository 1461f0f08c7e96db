"""What of the sandbox can be switched to be as strict as Azure, where that would be in the way of most lessons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.errors import UsageError

if TYPE_CHECKING:
    from skrkit.sandbox.world import World
    from skrkit.wire import Json

KIND = "setting"
VAULT_LIMITS = "vault-limits"
ROLE_DELAY = "role-delay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its name, and what the sandbox does while it is on. All are off in a new sandbox."""

    name: str
    does: str

    def to_json(self, *, on: bool | None) -> dict[str, Json]:
        """Return the setting as JSON members; `on` is None where no sandbox runs."""
        return {"name": self.name, "does": self.does, "on": on}


SETTINGS = (
    Setting(
        name=VAULT_LIMITS,
        does="Each vault takes 10 creates and releases of HSM keys in 10 seconds, or 20 of software keys.",
    ),
    Setting(
        name=ROLE_DELAY,
        does="A role assignment works two minutes after it was made, by the sandbox's clock; an owner's first at once.",
    ),
)


def setting_named(name: str) -> Setting:
    """Return the setting of that name. Raises `UsageError`."""
    for each in SETTINGS:
        if each.name == name:
            return each
    raise UsageError(
        what="setting of the sandbox",
        where=name,
        expected=" or ".join(each.name for each in SETTINGS),
        found=name,
        fix="skrkit sandbox setting",
    )


def is_on(world: World, name: str) -> bool:
    """Return whether a setting is on."""
    return world.store.get(KIND, name) is not None


def switch(world: World, name: str, *, on: bool) -> dict[str, Json]:
    """Return the setting after it was switched. It stays so until it is switched again. Raises `UsageError`."""
    found = setting_named(name)
    if on:
        world.store.put(KIND, name, {})
    else:
        world.store.delete(KIND, name)
    return found.to_json(on=on)


def all_settings(world: World) -> list[dict[str, Json]]:
    """Return every setting with whether it is on."""
    return [each.to_json(on=is_on(world, each.name)) for each in SETTINGS]
