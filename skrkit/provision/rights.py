"""What a step takes and who has it: one right, all of them together, and their view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from skrkit.artefact import STEP_TITLES

if TYPE_CHECKING:
    from skrkit.render.view import View
    from skrkit.wire import Json

Verdict: TypeAlias = Literal["ok", "failed", "not-checked"]
Who: TypeAlias = Literal["you", "the VM's identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One permission that a step takes. `action` is a role's action or, in access policies, a key permission.

    `scope` is where it is needed: a resource id or, for a local role, a scope of the Managed HSM. `found` says what
    there is in its place; `command` grants it.
    """

    step: int
    who: Who
    action: str
    scope: str
    why: str
    verdict: Verdict
    found: str
    command: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the right as JSON members."""
        return {
            "step": self.step,
            "who": self.who,
            "action": self.action,
            "scope": self.scope,
            "why": self.why,
            "verdict": self.verdict,
            "found": self.found,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """Every right that was asked about. `mode` is how what holds the keys decides; empty if it could not be read.

    The modes are "roles" and "access policies" of a vault, and "local roles" of a Managed HSM; `holder` says which of
    the two it is. `caller` and `identity` are object ids; `identity` is empty where the VM has none, or could not be
    read. `beyond` is what the identity may do with the key besides releasing it, which should be nothing.
    """

    caller: str
    identity: str
    mode: str
    holder: str = "vault"
    rights: tuple[Right, ...]
    beyond: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing is unknown."""
        return bool(self.rights) and all(right.verdict == "ok" for right in self.rights)

    @property
    def exit_code(self) -> int:
        """0 if it is complete, 6 if not: the release would be refused, or nobody can tell."""
        return 0 if self.complete else 6

    def fields(self) -> dict[str, Json]:
        """Return all of it as JSON members."""
        return {
            "complete": self.complete,
            "caller": self.caller,
            "identity": self.identity,
            "mode": self.mode,
            "beyond_release": list(self.beyond),
            "rights": [right.to_json() for right in self.rights],
        }


def unread(step: int, who: Who, action: str, scope: str, why: str, what: str) -> Right:
    """Return a right that nobody can tell of, because `what` was not to be read."""
    return Right(
        step=step,
        who=who,
        action=action,
        scope=scope,
        why=why,
        verdict="not-checked",
        found=f"{what} could not be read.",
    )


def view_of_preflight(found: Preflight) -> View:
    """Return the view of a preflight: step by step each right, and for one that is missing what grants it."""
    from skrkit.render.view import Step, Steps, View

    blocks = []
    for step in dict.fromkeys(right.step for right in found.rights):
        shown = tuple(
            Step(
                id=right.action,
                verdict=right.verdict,
                detail=f"{right.who}, {right.why}. {right.found}",
                fix=right.command,
            )
            for right in found.rights
            if right.step == step
        )
        blocks.append(Steps(title=f"Step {step}: {STEP_TITLES[step]}", steps=shown))
    missing = sum(right.verdict == "failed" for right in found.rights)
    unknown = sum(right.verdict == "not-checked" for right in found.rights)
    facts = [f"the {found.holder} goes by {found.mode}" if found.mode else f"the {found.holder} could not be read"]
    facts += [f"{missing} missing"] * bool(missing) + [f"{unknown} not checked"] * bool(unknown)
    words = "Nothing is missing." if found.complete else "Not yet. Each line above says what grants what is missing."
    more = f"The VM's identity may also do this, which no release needs: {', '.join(found.beyond)}."
    return View(
        heading="May this identity release this key?",
        facts=tuple(facts),
        blocks=(*blocks, *([more] if found.beyond else []), words),
    )
