"""May this identity release this key? Every permission of each step: who has it, who lacks it, what grants it.

Nothing is changed, and nothing is tried out: the answer is Resource Manager's own record of roles and access policies,
or a Managed HSM's of its local roles. A grant that was made just now stands there before the service goes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from skrkit.errors import ServiceError
from skrkit.provision import access, roles
from skrkit.provision.rights import Preflight, Right, Verdict, Who, unread
from skrkit.services.identities import chosen_of, identities_of
from skrkit.services.roles import HeldRole, Permission, allowed_by, list_held, list_own

if TYPE_CHECKING:
    from skrkit.provision.stage import Stage
    from skrkit.services.reader import Reader

ALL_STEPS = (1, 2, 3, 4)
_VM = "Microsoft.Compute/virtualMachines"
_VAULT = "Microsoft.KeyVault/vaults"
_ASSIGN_ROLES = "Microsoft.Authorization/roleAssignments/write"
_ASSIGN_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
# Roles that assign only those that a condition of theirs names; the release role is not among them.
_CONDITIONAL = frozenset({"Key Vault Data Access Administrator"})


def check(reader: Reader, stage: Stage, *, steps: Collection[int] = ALL_STEPS) -> Preflight:
    """Return what the steps take and who has it. `reader` reads as the caller, who prepares the keys.

    Raises `ServiceError` for a VM, a vault or a Managed HSM that is not there, and where nobody is signed in.
    """
    asking = Asking.of(reader, stage)
    if stage.hsm:
        from skrkit.provision.preflight_hsm import LocalRoles

        pool = LocalRoles(asking=asking)
        made = {1: lambda: _step_1(asking), 2: pool.step_2, 3: pool.step_3, 4: pool.step_4}
        mode, beyond = "local roles", pool.beyond
    else:
        made = {
            number: partial(step, asking) for number, step in ((1, _step_1), (2, _step_2), (3, _step_3), (4, _step_4))
        }
        mode, beyond = "" if not asking.vault else "roles" if asking.by_roles else "access policies", asking.beyond
    rights = tuple(right for step in sorted(steps) for right in made[step]())
    return Preflight(
        caller=asking.caller,
        identity=asking.identity,
        mode=mode,
        holder=stage.holder_kind,
        rights=rights,
        beyond=beyond() if 4 in steps else (),
    )


@dataclass(slots=True, kw_only=True)
class Asking:
    """Who asks, what could be read of VM and vault (nothing of what the caller may not read), and roles read so far.

    `vault` is what holds the keys: it may be a Managed HSM.
    """

    reader: Reader
    stage: Stage
    caller: str
    person: bool
    vm: Mapping[str, Any]
    vault: Mapping[str, Any]
    own: dict[str, tuple[Permission, ...]] = field(default_factory=dict)
    held: dict[str, tuple[HeldRole, ...] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, reader: Reader, stage: Stage) -> Asking:
        """Return what can be read as the caller. Raises `ServiceError` for what is not there."""
        vm = stage.vm_id(reader.cloud)
        return replace(cls.without_machine(reader, stage), vm=_unless_forbidden(lambda: reader.vm(vm)))

    @classmethod
    def without_machine(cls, reader: Reader, stage: Stage) -> Asking:
        """Return the same where no VM matters. Raises `ServiceError` for what holds the keys and is not there."""
        from skrkit.token.decode import decode_jwt

        claims = decode_jwt(reader.token(reader.cloud.endpoints.management)).claims
        holder = stage.holder_id(reader.cloud)
        return cls(
            reader=reader,
            stage=stage,
            caller=str(claims.get("oid") or ""),
            person=claims.get("idtyp") != "app" and bool(claims.get("upn") or claims.get("unique_name")),
            vm={},
            vault=_unless_forbidden(lambda: reader.hsm(holder) if stage.hsm else reader.vault(holder)),
        )

    @property
    def vm_id(self) -> str:
        """The VM's resource id."""
        return self.stage.vm_id(self.reader.cloud)

    @property
    def vault_id(self) -> str:
        """The resource id of what holds the keys."""
        return self.stage.holder_id(self.reader.cloud)

    @property
    def key_id(self) -> str:
        """The resource id of the key in its vault."""
        return self.stage.key_ids(self.reader.cloud)[0]

    @property
    def by_roles(self) -> bool:
        """Whether the vault goes by Azure roles."""
        return access.uses_roles(self.vault)

    @property
    def identity(self) -> str:
        """The object id of the identity that the stage's programs act as: a user-assigned one where it asks for it."""
        found = identities_of(self.vm)
        wanted = self.stage.user_identity_id(self.reader.cloud).lower() if self.stage.identity != "system" else ""
        if wanted:
            return next((each.object_id for each in found if each.resource_id.lower() == wanted), "")
        chosen = chosen_of(found, None)
        return chosen.object_id if chosen else ""

    def own_at(self, scope: str) -> tuple[Permission, ...]:
        """Return what the caller's own roles allow at a scope."""
        if scope not in self.own:
            self.own[scope] = list_own(self.reader, scope)
        return self.own[scope]

    def held_by(self, object_id: str) -> tuple[HeldRole, ...] | None:
        """Return the roles that a principal holds at the key; None where the caller may not read them."""
        if object_id not in self.held:
            try:
                self.held[object_id] = list_held(self.reader, self.key_id, object_id)
            except ServiceError as refused:
                if refused.status != HTTPStatus.FORBIDDEN:
                    raise
                self.held[object_id] = None
        return self.held[object_id]

    def permissions_of(self, object_id: str) -> tuple[str, ...]:
        """Return the key permissions that the vault's access policies give a principal."""
        return access.key_permissions(self.vault, object_id)

    def beyond(self) -> tuple[str, ...]:
        """Return what the VM's identity may do with the key besides releasing it."""
        if not (self.identity and self.vault):
            return ()
        if self.by_roles:
            return access.beyond_release(self.held_by(self.identity) or ())
        return tuple(name for name in self.permissions_of(self.identity) if name != "release")

    def yours(self, step: int, action: str, scope: str, *, why: str, role: str, data: bool = False) -> Right:
        """Return a right of the caller, judged by what Resource Manager says of the caller's own roles."""
        has = allowed_by(self.own_at(scope), action, data=data)
        return Right(
            step=step,
            who="you",
            action=action,
            scope=scope,
            why=why,
            verdict="ok" if has else "failed",
            found="A role of yours covers it." if has else f"No role of yours at this scope covers it: {role} would.",
            command="" if has else roles.command(role, scope, self.caller, person=self.person),
        )

    def without_identity(self, action: str, scope: str, why: str) -> Right:
        """Return the right of an identity that the VM does not have."""
        stage = self.stage
        command = f"az vm identity assign --resource-group {stage.resource_group} --name {stage.vm}"
        if stage.identity != "system":
            command += f" --identities {stage.user_identity_id(self.reader.cloud)}"
        return Right(
            step=4,
            who="the VM's identity",
            action=action,
            scope=scope,
            why=why,
            verdict="failed",
            found="The VM has no identity that IMDS would choose: step 1 gives it one.",
            command=command,
        )

    def by_policy(self, step: int, who: Who, object_id: str, permission: str, *, why: str) -> Right:
        """Return a right that an access policy of the vault gives, or does not give."""
        has = self.permissions_of(object_id)
        ok = permission in has or ("all" in has and permission not in ("release", "purge"))
        wanted = " ".join(sorted({*has, permission}))  # set-policy replaces the permissions of its object id
        command = f"az keyvault set-policy --name {self.stage.vault} --object-id {object_id} --key-permissions {wanted}"
        return Right(
            step=step,
            who=who,
            action=f"keys {permission}",
            scope=self.vault_id,
            why=why,
            verdict="ok" if ok else "failed",
            found=f"Key permissions of {object_id}: {', '.join(has) or 'none'}.",
            command="" if ok else command,
        )


def _unless_forbidden(read: Any) -> Mapping[str, Any]:
    """Return a resource, or nothing where the caller may not read it. Raises what else goes wrong."""
    try:
        found: Mapping[str, Any] = read()
    except ServiceError as refused:
        if refused.status != HTTPStatus.FORBIDDEN:
            raise
        return {}
    return found


def _step_1(asking: Asking) -> Iterator[Right]:
    role = "Virtual Machine Contributor"
    yield asking.yours(1, f"{_VM}/read", asking.vm_id, why="to see which identities the VM has", role=role)
    yield asking.yours(1, f"{_VM}/write", asking.vm_id, why="to give the VM its identity", role=role)
    if asking.stage.identity != "system":
        user = asking.stage.user_identity_id(asking.reader.cloud)
        why = "to assign the user-assigned identity to the VM"
        yield asking.yours(1, _ASSIGN_IDENTITY, user, why=why, role="Managed Identity Operator")


def _step_2(asking: Asking) -> Iterator[Right]:
    vault, role = asking.vault_id, "Key Vault Contributor"
    yield asking.yours(2, f"{_VAULT}/read", vault, why="to see how the vault decides, and who has access", role=role)
    why = "to grant the release"
    if not asking.vault:
        yield unread(2, "you", "the grant", vault, why, "The vault")
    elif asking.by_roles:
        yield _assigning(asking, why)
    else:
        yield asking.yours(2, f"{_VAULT}/accessPolicies/write", vault, why=why, role=role)


def _assigning(asking: Asking, why: str) -> Right:
    """Return the right to assign the release role: a role whose condition leaves that one out does not give it."""
    role = "Role Based Access Control Administrator"
    right = asking.yours(2, _ASSIGN_ROLES, asking.key_id, why=why, role=role)
    if right.verdict != "ok":
        return right
    held = asking.held_by(asking.caller)
    giving = [each for each in held or () if each.allows(_ASSIGN_ROLES)]
    if any(not _is_conditional(each) for each in giving):
        return right
    names = ", ".join(each.role for each in giving) or "a role that could not be read"
    return replace(
        right,
        verdict="not-checked",
        found=f"You may assign roles by {names} alone, and a condition may decide which ones.",
        command=roles.command(role, asking.key_id, asking.caller, person=asking.person),
    )


def _is_conditional(held: HeldRole) -> bool:
    return held.conditional or held.role in _CONDITIONAL


def _step_3(asking: Asking) -> Iterator[Right]:
    needed = (("get", "keys/read", "to see whether the key is there"), ("create", "keys/create/action", "to create it"))
    for permission, action, why in needed:
        if not asking.vault:
            yield unread(3, "you", f"{_VAULT}/{action}", asking.vault_id, why, "The vault")
        elif asking.by_roles:
            yield asking.yours(3, f"{_VAULT}/{action}", asking.vault_id, why=why, role=roles.OFFICER_ROLE, data=True)
        else:
            yield asking.by_policy(3, "you", asking.caller, permission, why=why)


def _step_4(asking: Asking) -> Iterator[Right]:
    who: Who = "the VM's identity"
    why, action, key = "to release the key", roles.RELEASE_ACTION, asking.key_id
    for what, resource in (("The VM", asking.vm), ("The vault", asking.vault)):
        if not resource:
            yield unread(4, who, action, key, why, what)
            return
    identity = asking.identity
    if not identity:
        yield asking.without_identity(action, key, why)
    elif asking.by_roles:
        yield _release_by_role(asking, identity, who, why)
    else:
        yield asking.by_policy(4, who, identity, "release", why=why)


def _release_by_role(asking: Asking, identity: str, who: Who, why: str) -> Right:
    held = asking.held_by(identity)
    if held is None:
        return unread(4, who, roles.RELEASE_ACTION, asking.key_id, why, "Its role assignments")
    giving = [each for each in held if each.allows(roles.RELEASE_ACTION, data=True)]
    sure = [each for each in giving if not each.conditional]
    verdict: Verdict = "ok" if sure else "not-checked" if giving else "failed"
    found = _said(sure or giving or held, conditional=bool(giving) and not sure)
    command = "" if sure else roles.command(roles.RELEASE_ROLE, asking.key_id, identity)
    return Right(
        step=4,
        who=who,
        action=roles.RELEASE_ACTION,
        scope=asking.key_id,
        why=why,
        verdict=verdict,
        found=found,
        command=command,
    )


def _said(held: Sequence[HeldRole], *, conditional: bool) -> str:
    if not held:
        return "It has no role at the key, the vault or above."
    names = ", ".join(f"{each.role} at {each.scope.rpartition('/')[2]}" for each in held)
    return f"It has {names}, under a condition that is not read here." if conditional else f"It has {names}."
