"""Principals beside the operator, over the control interface: made with a role, listed, deleted.

What a caller may not is not to be learnt from an owner: `create` gives an application that has the roles it is given
and no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skrkit.errors import UsageError
from skrkit.sandbox.environment import OBJECT_ID_VARIABLE, environment_of
from skrkit.sandbox.process import asked_of, ensure_running

if TYPE_CHECKING:
    from skrkit.sandbox.endpoint import Endpoint
    from skrkit.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrincipal:
    """A principal just made. `environment` signs a program in as it: the only place where its secret is told."""

    name: str
    object_id: str
    client_id: str
    role: str
    scope: str
    environment: dict[str, str] = field(repr=False)
    removed: tuple[str, ...] = ()


def create(name: str, *, role: str = "", scope: str = "", home: Path | None = None) -> NewPrincipal:
    """Return a new principal with a role at a scope; without a role it may do nothing.

    `role` is a name or an id, `scope` a resource id, by default the subscription. Starts the sandbox if it does not
    run. Raises `UsageError` for a name that is taken, a role or a scope that is not there.
    """
    endpoint = ensure_running(home)
    said = _asked(endpoint, "PUT", name=name, role=role, scope=scope)
    variables, removed = environment_of(endpoint, None)
    variables |= {
        "AZURE_CLIENT_ID": said["client_id"],
        "AZURE_CLIENT_SECRET": said["secret"],
        OBJECT_ID_VARIABLE: said["object_id"],
    }
    return NewPrincipal(
        name=name,
        object_id=said["object_id"],
        client_id=said["client_id"],
        role=said["role"],
        scope=said["scope"],
        environment=variables,
        removed=tuple(name for name in removed if name not in variables),
    )


def listed(*, home: Path | None = None) -> list[dict[str, Any]]:
    """Return every principal that signs in with a secret, and the roles that it has, each with its scope."""
    found: list[dict[str, Any]] = _asked(ensure_running(home), "GET")["principals"]
    return found


def delete(name: str, *, home: Path | None = None) -> str:
    """Return the object id of the principal that was deleted, with its role assignments. Raises `UsageError`."""
    return str(_asked(ensure_running(home), "DELETE", name=name)["object_id"])


def _asked(endpoint: Endpoint, method: str, **query: str) -> Any:
    return asked_of(endpoint, method, f"/principals?{urlencode(query)}", what="the sandbox's principals")


# --- in the sandbox's process


def answer(world: World, method: str, query: dict[str, str]) -> dict[str, Any]:
    """Return what the control interface answers. Raises `UsageError`."""
    from skrkit.sandbox import applications

    name = query.get("name", "")
    if method == "PUT":
        return _make(world, name, query.get("role", ""), query.get("scope", ""))
    if method == "DELETE":
        from skrkit.sandbox.roles import assignment

        object_id = applications.delete(world, name)
        for held in assignment.of_principal(world, object_id):
            assignment.remove(world, held)
        return {"object_id": object_id}
    return {"principals": [_shown(world, each) for each in applications.all_applications(world)]}


def _make(world: World, name: str, role: str, scope: str) -> dict[str, Any]:
    from skrkit.sandbox import applications
    from skrkit.sandbox.roles import assignment

    subscription = f"/subscriptions/{world.subscription}"
    scope = scope.rstrip("/") or (subscription if role else "")
    wanted = _role(world, role)
    if role and not assignment.is_within(scope, subscription):
        raise UsageError(
            what="--scope",
            where="the sandbox",
            expected=f"{subscription} or what lies in it",
            found=scope,
            fix=f"skrkit sandbox principal create {name} --role '{role}'   for the whole subscription",
        )
    with world.store.transaction():
        made = applications.create(world, name)
        if wanted is not None:
            operator = world.setting("operator_oid")
            assignment.make(world, principal=made.oid, role=wanted, scope=scope, by=operator)
    return {
        "object_id": made.oid,
        "client_id": made.appid,
        "secret": made.secret,
        "role": wanted.name if wanted else "",
        "scope": scope,
    }


def _role(world: World, role: str) -> Any:
    from difflib import get_close_matches

    from skrkit.sandbox.roles.builtin import named
    from skrkit.sandbox.roles.definition import all_roles

    if not role:
        return None
    roles = all_roles(world)
    found = named(role, roles)
    if found is None:
        names = [each.name for each in roles]
        near = get_close_matches(role, names, n=3, cutoff=0.4) or names
        raise UsageError(
            what="--role",
            where="the sandbox's roles",
            expected=" or ".join(near),
            found=role,
            fix=f"skrkit sandbox principal create NAME --role '{near[0]}'",
        )
    return found


def _shown(world: World, application: dict[str, Any]) -> dict[str, Any]:
    from skrkit.sandbox.roles import assignment, definition

    held = []
    for document in assignment.of_principal(world, str(application["oid"])):
        role = definition.find(world, str(document["role"]))
        held.append({"role": role.name if role else str(document["role"]), "scope": document["scope"]})
    return {
        "name": application["name"],
        "object_id": application["oid"],
        "client_id": application["appid"],
        "roles": held,
    }
