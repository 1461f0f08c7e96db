"""What an order to take step 4 says: the walk's names, as members of an order, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from skrkit.cloud import IdentityChoice
from skrkit.errors import ParseError
from skrkit.provision.stage import Stage

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Step 4, as who is in the VM needs to know it. `steps` are those whose artefacts are wanted: 1 has the token."""

    world: str
    azure_cloud: str
    tenant: str
    subscription: str
    stage: Stage
    choice: IdentityChoice | None
    steps: tuple[int, ...]

    def members(self) -> dict[str, Json]:
        """Return the errand as the members of an order."""
        made: dict[str, Json] = {name: getattr(self, name) for name in _TEXTS}
        made |= {"stage": asdict(self.stage), "steps": list(self.steps)}
        made["choice"] = None if self.choice is None else asdict(self.choice)
        return made


_TEXTS = ("world", "azure_cloud", "tenant", "subscription")


def errand_of(cloud: Cloud, stage: Stage, choice: IdentityChoice | None, steps: Collection[int]) -> Errand:
    """Return the errand of a walk that is outside."""
    return Errand(
        world=cloud.world,
        azure_cloud=cloud.endpoints.name,
        tenant=cloud.tenant,
        subscription=cloud.subscription,
        stage=stage,
        choice=choice,
        steps=(1, 4) if 1 in steps else (4,),
    )


def parse_errand(members: Mapping[str, Any]) -> Errand:
    """Return the errand that an order has. Raises `ParseError`, and what `Stage` raises for names that it refuses."""
    try:
        choice = members["choice"]
        return Errand(
            stage=Stage(**members["stage"]),
            choice=None if choice is None else IdentityChoice(**choice),
            steps=tuple(int(step) for step in members["steps"]),
            **{name: str(members[name]) for name in _TEXTS},
        )
    except (KeyError, TypeError, ValueError) as cause:
        raise ParseError(
            what="order of a run command",
            where="its members",
            expected="those of a walk's step 4",
            found=f"{type(cause).__name__}: {cause}",
            fix="Send it with this version of skrkit: skrkit walkthrough --remote",
        ) from cause
