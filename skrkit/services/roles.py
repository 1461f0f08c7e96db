"""Azure roles as Resource Manager tells of them: what a principal holds at a scope, and what that covers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from skrkit.errors import ParseError

if TYPE_CHECKING:
    from skrkit.services.reader import Reader
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What one role allows. The patterns may have stars; what the `not_` ones take out, another role may give."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def allows(self, action: str, *, data: bool = False) -> bool:
        """Return whether this covers an action, or with `data` a data action. Case does not matter."""
        if data:
            return _any_of(self.data_actions, action) and not _any_of(self.not_data_actions, action)
        return _any_of(self.actions, action) and not _any_of(self.not_actions, action)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRole:
    """A role that a principal holds at `scope`, which covers the scope that was asked about.

    `conditional` where the assignment has a condition, which nobody but Azure evaluates.
    """

    role: str
    scope: str
    assignment_id: str
    conditional: bool = False
    permissions: tuple[Permission, ...]

    def allows(self, action: str, *, data: bool = False) -> bool:
        """Return whether the role covers an action, or with `data` a data action."""
        return allowed_by(self.permissions, action, data=data)

    def to_json(self) -> dict[str, Json]:
        """Return role and scope as JSON members."""
        return {"role": self.role, "scope": self.scope}


def allowed_by(permissions: Iterable[Permission], action: str, *, data: bool = False) -> bool:
    """Return whether any of these covers an action, or with `data` a data action."""
    return any(permission.allows(action, data=data) for permission in permissions)


def _any_of(patterns: Iterable[str], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    # Between two slashes a star stands for no segment too: Key Vault Reader has vaults/*/read, and reads vaults.
    parts = [".*".join(map(re.escape, part.split("*"))) for part in text.split("/*/")]
    return re.compile("/(?:.*/)?".join(parts), re.IGNORECASE)


def permissions_of(value: Json, *, where: str) -> tuple[Permission, ...]:
    """Return the permissions of a role definition, or of who asks, from their JSON. Raises `ParseError`."""
    if not isinstance(value, list):
        raise _odd(where, "an array of permissions", value)
    return tuple(_permission(each, where) for each in value)


def _permission(value: Json, where: str) -> Permission:
    if not isinstance(value, dict):
        raise _odd(where, "a permission, which is an object", value)
    return Permission(
        actions=_texts(value, "actions", where),
        not_actions=_texts(value, "notActions", where),
        data_actions=_texts(value, "dataActions", where),
        not_data_actions=_texts(value, "notDataActions", where),
    )


def _texts(value: Mapping[str, Json], name: str, where: str) -> tuple[str, ...]:
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise _odd(f"{where} /{name}", "an array of texts", found)
    return tuple(str(text) for text in found)


def _odd(where: str, expected: str, found: Json) -> ParseError:
    return ParseError(
        what="roles",
        where=where,
        expected=expected,
        found=type(found).__name__,
        fix="This is not Resource Manager's answer: check the proxy and the address.",
        source="Azure REST API: Authorization",
    )


def list_held(reader: Reader, scope: str, object_id: str) -> tuple[HeldRole, ...]:
    """Return the roles that a principal holds at a scope or above it, by itself or by its groups.

    Needs Microsoft.Authorization/roleAssignments/read there, which Reader has. Raises `ServiceError` without.
    """
    held = []
    for assignment in reader.role_assignments(scope, object_id):
        properties = _members(assignment.get("properties"))
        role_id = str(properties.get("roleDefinitionId") or "")
        definition = _members(reader.role_definition(scope, role_id).get("properties"))
        held.append(
            HeldRole(
                role=str(definition.get("roleName") or role_id.rpartition("/")[2]),
                scope=str(properties.get("scope") or ""),
                assignment_id=str(assignment.get("id") or ""),
                conditional=bool(properties.get("condition")),
                permissions=permissions_of(definition.get("permissions") or [], where=role_id),
            )
        )
    return tuple(held)


def list_own(reader: Reader, scope: str) -> tuple[Permission, ...]:
    """Return what the caller's own roles allow at a scope. Raises `ServiceError`."""
    return permissions_of(reader.own_permissions(scope), where=f"{scope}/providers/Microsoft.Authorization/permissions")


def _members(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
