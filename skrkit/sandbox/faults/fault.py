"""A named fault of the sandbox: what it does, and how it is switched on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from skrkit.sandbox.world import World
    from skrkit.wire import Json

Apply: TypeAlias = Callable[["World"], dict[str, Any]]
"""Changes the sandbox's state and returns what `undo` needs, as JSON. Raises `UsageError` if nothing can be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What switching a fault off put back, and what it left alone because somebody changed it since, and how."""

    put_back: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return both as sentences."""
        said = [f"Put back: {', '.join(self.put_back)}."] if self.put_back else []
        said += [f"Left as it is: {', '.join(self.left)}."] if self.left else []
        return " ".join(said) or "It behaves as Azure again."


Undo: TypeAlias = Callable[["World", dict[str, Any]], Undone]
"""Puts back what is still as the fault left it: what an operator mended in the meantime stays mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. Its `name` is the id of the cause that explains it: "key.disabled".

    A fault is a change of state (`apply`, undone by `undo`: a permission taken away, a key disabled), which the command
    of its cause can mend; or a behaviour, asked for by name where it takes effect (`world.faulty("token.jku-swap")`),
    which lasts until it is switched off. `group` is what lists sort by; `step` is the step of the flow (1 to 4) that
    shows it first. `attack` marks what an adversary would do, and not an operator's mistake.
    """

    name: str
    group: str
    title: str
    does: str
    step: int = 4
    attack: bool = False
    apply: Apply | None = field(default=None, repr=False)
    undo: Undo | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """What it is: "state", which an operator can mend, or "behaviour", which lasts until it is switched off."""
        return "behaviour" if self.apply is None else "state"

    def to_json(self) -> dict[str, Json]:
        """Return the fault as JSON members, for lists."""
        return {
            "name": self.name,
            "group": self.group,
            "title": self.title,
            "does": self.does,
            "step": self.step,
            "kind": self.kind,
            "attack": self.attack,
        }
