"""May this identity release this key? Every permission of each step: who has it, who lacks it, what grants it.

Nothing is changed, and nothing is tried out: the answer is Resource Manager's own record of roles and access policies.
A grant that was made just now stands there before Key Vault goes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from skrkit.artefact import STEP_TITLES
from skrkit.errors import ServiceError
from skrkit.provision import access, roles
from skrkit.services.identities import chosen_of, identities_of
from skrkit.services.roles import HeldRole, Permission, allowed_by, list_held, list_own

if TYPE_CHECKING:
    from skrkit.provision.stage import Stage
    from skrkit.render.view import View
    from skrkit.services.reader import Reader
    from skrkit.wire import Json

Verdict: TypeAlias = Literal["ok", "failed", "not-checked"]
Who: TypeAlias = Literal["you", "the VM's identity"]

ALL_STEPS = (1, 2, 3, 4)
_VM = "Microsoft.Compute/virtualMachines"
_VAULT = "Microsoft.KeyVault/vaults"
_ASSIGN_ROLES = "Microsoft.Authorization/roleAssignments/write"
_ASSIGN_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
# Roles that assign only those that a condition of theirs names; the release role is not among them.
_CONDITIONAL = frozenset({"Key Vault Data Access Administrator"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One permission that a step takes. `action` is a role's action or, in access policies, a key permission.

    `scope` is the resource id where it is needed. `found` says what there is in its place; `command` grants it.
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
    """Every right that was asked about. `mode` is how the vault decides: "roles", "access policies", "" if unknown.

    `caller` and `identity` are object ids; `identity` is empty where the VM has none, or could not be read. `beyond`
    is what the identity may do with the key besides releasing it, which should be nothing.
    """

    caller: str
    identity: str
    mode: str
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


def check(reader: Reader, stage: Stage, *, steps: Collection[int] = ALL_STEPS) -> Preflight:
    """Return what the steps take and who has it. `reader` reads as the caller, who prepares the keys.

    Raises `ServiceError` for a VM or a vault that is not there, and where nobody is signed in.
    """
    asking = _Asking.of(reader, stage)
    made = {1: _step_1, 2: _step_2, 3: _step_3, 4: _step_4}
    rights = tuple(right for step in sorted(steps) for right in made[step](asking))
    return Preflight(
        caller=asking.caller,
        identity=asking.identity,
        mode="" if not asking.vault else "roles" if asking.by_roles else "access policies",
        rights=rights,
        beyond=asking.beyond() if 4 in steps else (),
    )


@dataclass(slots=True, kw_only=True)
class _Asking:
    """Who asks, what could be read of VM and vault (nothing of what the caller may not read), and roles read so far."""

    reader: Reader
    stage: Stage
    caller: str
    person: bool
    vm: Mapping[str, Any]
    vault: Mapping[str, Any]
    own: dict[str, tuple[Permission, ...]] = field(default_factory=dict)
    held: dict[str, tuple[HeldRole, ...] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, reader: Reader, stage: Stage) -> _Asking:
        from skrkit.token.decode import decode_jwt

        claims = decode_jwt(reader.token(reader.cloud.endpoints.management)).claims
        vm, vault = stage.vm_id(reader.cloud), stage.vault_id(reader.cloud)
        return cls(
            reader=reader,
            stage=stage,
            caller=str(claims.get("oid") or ""),
            person=claims.get("idtyp") != "app" and bool(claims.get("upn") or claims.get("unique_name")),
            vm=_unless_forbidden(lambda: reader.vm(vm)),
            vault=_unless_forbidden(lambda: reader.vault(vault)),
        )

    @property
    def vm_id(self) -> str:
        return self.stage.vm_id(self.reader.cloud)

    @property
    def vault_id(self) -> str:
        return self.stage.vault_id(self.reader.cloud)

    @property
    def key_id(self) -> str:
        return self.stage.key_ids(self.reader.cloud)[0]

    @property
    def by_roles(self) -> bool:
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
        if scope not in self.own:
            self.own[scope] = list_own(self.reader, scope)
        return self.own[scope]

    def held_by(self, object_id: str) -> tuple[HeldRole, ...] | None:
        """The roles that a principal holds at the key; None where the caller may not read them."""
        if object_id not in self.held:
            try:
                self.held[object_id] = list_held(self.reader, self.key_id, object_id)
            except ServiceError as refused:
                if refused.status != HTTPStatus.FORBIDDEN:
                    raise
                self.held[object_id] = None
        return self.held[object_id]

    def permissions_of(self, object_id: str) -> tuple[str, ...]:
        return access.key_permissions(self.vault, object_id)

    def beyond(self) -> tuple[str, ...]:
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


def _unread(step: int, who: Who, action: str, scope: str, why: str, what: str) -> Right:
    return Right(
        step=step,
        who=who,
        action=action,
        scope=scope,
        why=why,
        verdict="not-checked",
        found=f"{what} could not be read.",
    )


def _step_1(asking: _Asking) -> Iterator[Right]:
    role = "Virtual Machine Contributor"
    yield asking.yours(1, f"{_VM}/read", asking.vm_id, why="to see which identities the VM has", role=role)
    yield asking.yours(1, f"{_VM}/write", asking.vm_id, why="to give the VM its identity", role=role)
    if asking.stage.identity != "system":
        user = asking.stage.user_identity_id(asking.reader.cloud)
        why = "to assign the user-assigned identity to the VM"
        yield asking.yours(1, _ASSIGN_IDENTITY, user, why=why, role="Managed Identity Operator")


def _step_2(asking: _Asking) -> Iterator[Right]:
    vault, role = asking.vault_id, "Key Vault Contributor"
    yield asking.yours(2, f"{_VAULT}/read", vault, why="to see how the vault decides, and who has access", role=role)
    why = "to grant the release"
    if not asking.vault:
        yield _unread(2, "you", "the grant", vault, why, "The vault")
    elif asking.by_roles:
        yield _assigning(asking, why)
    else:
        yield asking.yours(2, f"{_VAULT}/accessPolicies/write", vault, why=why, role=role)


def _assigning(asking: _Asking, why: str) -> Right:
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


def _step_3(asking: _Asking) -> Iterator[Right]:
    needed = (("get", "keys/read", "to see whether the key is there"), ("create", "keys/create/action", "to create it"))
    for permission, action, why in needed:
        if not asking.vault:
            yield _unread(3, "you", f"{_VAULT}/{action}", asking.vault_id, why, "The vault")
        elif asking.by_roles:
            yield asking.yours(3, f"{_VAULT}/{action}", asking.vault_id, why=why, role=roles.OFFICER_ROLE, data=True)
        else:
            yield asking.by_policy(3, "you", asking.caller, permission, why=why)


def _step_4(asking: _Asking) -> Iterator[Right]:
    who: Who = "the VM's identity"
    why, action, key = "to release the key", roles.RELEASE_ACTION, asking.key_id
    for what, resource in (("The VM", asking.vm), ("The vault", asking.vault)):
        if not resource:
            yield _unread(4, who, action, key, why, what)
            return
    identity = asking.identity
    if not identity:
        command = f"az vm identity assign --resource-group {asking.stage.resource_group} --name {asking.stage.vm}"
        if asking.stage.identity != "system":
            command += f" --identities {asking.stage.user_identity_id(asking.reader.cloud)}"
        found = "The VM has no identity that IMDS would choose: step 1 gives it one."
        yield Right(step=4, who=who, action=action, scope=key, why=why, verdict="failed", found=found, command=command)
    elif asking.by_roles:
        yield _release_by_role(asking, identity, who, why)
    else:
        yield asking.by_policy(4, who, identity, "release", why=why)


def _release_by_role(asking: _Asking, identity: str, who: Who, why: str) -> Right:
    held = asking.held_by(identity)
    if held is None:
        return _unread(4, who, roles.RELEASE_ACTION, asking.key_id, why, "Its role assignments")
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
    facts = [f"the vault goes by {found.mode}" if found.mode else "the vault could not be read"]
    facts += [f"{missing} missing"] * bool(missing) + [f"{unknown} not checked"] * bool(unknown)
    words = "Nothing is missing." if found.complete else "Not yet. Each line above says what grants what is missing."
    more = f"The VM's identity may also do this, which no release needs: {', '.join(found.beyond)}."
    return View(
        heading="May this identity release this key?",
        facts=tuple(facts),
        blocks=(*blocks, *([more] if found.beyond else []), words),
    )
