"""Role assignments: who has which role where, from when on it works, and whether that covers an action."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from skrkit.sandbox import chance, settings
from skrkit.sandbox.roles.builtin import OWNER, Role
from skrkit.sandbox.roles.definition import covers, find

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

# object id and assignment id, both lower case, with a space between -> {"id", "name", "scope", "role", "principal",
# "kind", "description", "created", "by"}; without "created", it works at once
ASSIGNMENT_KIND = "role-assignment"
TYPE = "Microsoft.Authorization/roleAssignments"
DELAY = timedelta(minutes=2)  # of the setting `role-delay`; in Azure up to ten
OWNER_MADE = "first-owner"  # document of `settings`: the operator's assignment, and since when it is there


def is_within(scope: str, outer: str) -> bool:
    """Return whether a scope is `outer` or lies in it, whole segments compared in any case."""
    inner, around = scope.lower().rstrip("/"), outer.lower().rstrip("/")
    return inner == around or inner.startswith(f"{around}/")


def everywhere(world: World) -> list[Document]:
    """Return every assignment, in order of principal and id."""
    return [document for _, document in world.store.list(ASSIGNMENT_KIND)]


def of_principal(world: World, object_id: str) -> list[Document]:
    """Return the assignments of one principal, wherever."""
    return [document for _, document in world.store.list(ASSIGNMENT_KIND, f"{object_id.lower()} ")]


def write(world: World, document: Document) -> None:
    """Write an assignment whole."""
    world.store.put(ASSIGNMENT_KIND, _key(document), document)


def remove(world: World, document: Document) -> None:
    """Take an assignment away. It ends at once, whatever the delay."""
    world.store.delete(ASSIGNMENT_KIND, _key(document))


def _key(document: Document) -> str:
    return f"{document['principal']} {document['id']}".lower()


def remove_within(world: World, scope: str) -> None:
    """Take away every assignment at or below a scope: they end with the resource, and no recovery brings them back."""
    for document in everywhere(world):
        if is_within(str(document["scope"]), scope):
            remove(world, document)


def make(world: World, *, principal: str, role: Role, scope: str, name: str = "", by: str = "") -> Document:
    """Return a new assignment, written. `name` is its GUID, drawn where not given; `by` is who assigned it."""
    name = name or chance.uuid4("role-assignment")
    document: Document = {
        "id": f"{scope.rstrip('/')}/providers/{TYPE}/{name}",
        "name": name,
        "scope": scope,
        "role": role.guid,
        "principal": principal,
        "kind": "ServicePrincipal",
        "description": None,
        "created": world.now().isoformat(),
        "by": by,
    }
    write(world, document)
    return document


def ensure_owner(world: World) -> None:
    """Make the operator Owner of the subscription, once: an assignment like any other, but that it works at once."""
    with world.store.transaction():
        if world.store.get("settings", OWNER_MADE) is not None:
            return
        operator = world.setting("operator_oid")
        made = make(world, principal=operator, role=OWNER, scope=f"/subscriptions/{world.subscription}", by=operator)
        world.store.put("settings", OWNER_MADE, {"assignment": made["id"], "at": made.pop("created")})
        write(world, made)


def _roles_in_effect(world: World, object_id: str, scope: str) -> Iterator[tuple[Role, Document]]:
    """Return the roles that a principal has at a scope or above it, but those that have not reached services yet."""
    delay: timedelta | None = None
    for document in of_principal(world, object_id):
        if not is_within(scope, str(document["scope"])):
            continue
        if document.get("created"):
            if delay is None:
                delay = DELAY if settings.is_on(world, settings.ROLE_DELAY) else timedelta(0)
            if datetime.fromisoformat(document["created"]) + delay > world.now():
                continue
        role = find(world, str(document["role"]))
        if role is not None:
            yield role, document


def roles_at(world: World, object_id: str, scope: str) -> list[Role]:
    """Return the roles that a principal has at a scope or above it and that work by now."""
    return [role for role, _ in _roles_in_effect(world, object_id, scope)]


def allows(world: World, object_id: str, action: str, scope: str, *, data: bool = False) -> bool:
    """Return whether a principal may: whether one of its roles at the scope or above covers the action.

    What one role takes out (`not_actions`) another may give. `data` asks for a data action.
    """
    return any(covers(role, action, data=data) for role, _ in _roles_in_effect(world, object_id, scope))


def may_assign(world: World, object_id: str, action: str, scope: str, role: Role) -> bool:
    """Return whether a principal may write or delete (`action`) an assignment of this role at this scope."""
    return any(
        covers(held, action) and (held.assigns is None or role.guid in held.assigns)
        for held, _ in _roles_in_effect(world, object_id, scope)
    )


def reaches(world: World, object_id: str, scope: str) -> bool:
    """Return whether a principal has any role at a scope, above it, or below: whether lists show it the scope."""
    return any(
        is_within(scope, str(document["scope"])) or is_within(str(document["scope"]), scope)
        for document in of_principal(world, object_id)
    )
