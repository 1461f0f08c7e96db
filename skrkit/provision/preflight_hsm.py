"""What the steps take of a Managed HSM: Azure's roles for the HSM itself, and local roles for all that is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from skrkit.errors import ServiceError
from skrkit.provision import hsm
from skrkit.provision.rights import Right, Who, unread
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ACTION, RELEASE_ROLE, held_roles, local_roles

if TYPE_CHECKING:
    from skrkit.provision.preflight import Asking
    from skrkit.services.roles import HeldRole

_HSM = "Microsoft.KeyVault/managedHSMs"
_DATA = "Microsoft.KeyVault/managedHsm"
_ASSIGNING_ROLE = "Managed HSM Policy Administrator"
_PREPARES = (
    (f"{_DATA}/keys/read/action", "to see whether the key is there"),
    (f"{_DATA}/keys/create", "to create it"),
)


@dataclass(slots=True, kw_only=True)
class LocalRoles:
    """Asks a Managed HSM for its local roles, each principal's once, where it is active and the caller may read them.

    Only assignments to the principal itself are seen, not those to a group that it is in.
    """

    asking: Asking
    known: dict[str, tuple[HeldRole, ...] | None] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """The local scope of the stage's key, alone."""
        return f"/keys/{self.asking.stage.key}"

    @property
    def active(self) -> bool:
        """Whether the HSM could be read, and has its security domain: without one it has no roles to ask for."""
        return hsm.activation_of(self.asking.vault) == "Active"

    def held_by(self, object_id: str) -> tuple[HeldRole, ...] | None:
        """Return the local roles of a principal at the key and above; None where the caller may not read them."""
        if object_id not in self.known:
            cloud, stage = self.asking.reader.cloud, self.asking.stage
            try:
                with local_roles(cloud, stage.vault_url(cloud)) as client:
                    self.known[object_id] = held_roles(client, stage.key, object_id)
            except ServiceError as refused:
                if refused.status != HTTPStatus.FORBIDDEN:
                    raise
                self.known[object_id] = None
        return self.known[object_id]

    def step_2(self) -> Iterator[Right]:
        """Yield what the grant takes: the HSM as a resource, and the right to assign its local roles."""
        asking = self.asking
        why = "to see whether the HSM is active"
        yield asking.yours(2, f"{_HSM}/read", asking.vault_id, why=why, role="Managed HSM Contributor")
        why = "to see who has access, at every scope"
        yield self._yours(2, f"{_DATA}/roleAssignments/read/action", why, _ASSIGNING_ROLE, scope="/")
        yield self._yours(2, f"{_DATA}/roleAssignments/write/action", "to grant the release", _ASSIGNING_ROLE)

    def step_3(self) -> Iterator[Right]:
        """Yield what the making of the key takes."""
        for action, why in _PREPARES:
            yield self._yours(3, action, why, CRYPTO_USER_ROLE)

    def for_keys(self, action: str, why: str) -> Right:
        """Return the right of the caller to one more thing with the key."""
        return self._yours(3, action, why, CRYPTO_USER_ROLE)

    def step_4(self) -> Iterator[Right]:
        """Yield what the release takes: the release role, at the key, for the VM's identity."""
        asking, why = self.asking, "to release the key"
        who: Who = "the VM's identity"
        if not asking.vm:
            yield unread(4, who, RELEASE_ACTION, self.scope, why, "The VM")
        elif not asking.identity:
            yield asking.without_identity(RELEASE_ACTION, self.scope, why)
        else:
            yield self._judged(4, who, asking.identity, RELEASE_ACTION, why, RELEASE_ROLE)

    def beyond(self) -> tuple[str, ...]:
        """Return what the VM's identity may do with the key besides releasing it, as far as that can be read."""
        identity = self.asking.identity
        return hsm.beyond_release(self.held_by(identity) or ()) if self.active and identity else ()

    def _yours(self, step: int, action: str, why: str, role: str, *, scope: str = "") -> Right:
        return self._judged(step, "you", self.asking.caller, action, why, role, scope=scope)

    def _judged(
        self, step: int, who: Who, object_id: str, action: str, why: str, role: str, *, scope: str = ""
    ) -> Right:
        scope = scope or self.scope
        if not self.asking.vault:
            return unread(step, who, action, scope, why, "The Managed HSM")
        stage = self.asking.stage
        held = self.held_by(object_id) if self.active else None
        has = held is not None and any(
            each.allows(action, data=True) for each in held if scope != "/" or each.scope == "/"
        )
        if has:
            command = ""
        elif self.active:
            person = who == "you" and self.asking.person
            command = hsm.role_command(stage.hsm, role, scope, object_id, person=person)
        else:
            command = hsm.activation_command(stage.hsm)
        return Right(
            step=step,
            who=who,
            action=action,
            scope=scope,
            why=why,
            verdict="ok" if has else "not-checked" if held is None else "failed",
            found=self._said(held),
            command=command,
        )

    def _said(self, held: Sequence[HeldRole] | None) -> str:
        if not self.active:
            return "The Managed HSM is not activated, and has no roles and no keys until it is."
        if held is None:
            return "Its role assignments may not be read: Managed HSM Policy Administrator, or Crypto Auditor, may."
        if not held:
            return "No local role at the key, at /keys or at /."
        return f"Local roles: {', '.join(f'{each.role} at {each.scope}' for each in held)}."
