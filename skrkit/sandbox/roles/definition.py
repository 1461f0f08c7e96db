"""Role definitions of this sandbox: the built-in ones and those that its operator made; what a pattern covers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.roles.builtin import BUILT_IN, Role

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

ROLE_KIND = "role-definition"  # GUID, lower case -> a custom role's members
_BY_GUID = {role.guid: role for role in BUILT_IN}
_MEMBERS = ("name", "description", "actions", "not_actions", "data", "not_data", "scopes")


def find(world: World, guid: str) -> Role | None:
    """Return the role of this id, in any case, or None."""
    known = _BY_GUID.get(guid.lower())
    if known is not None:
        return known
    document = world.store.get(ROLE_KIND, guid.lower())
    return None if document is None else _role(guid.lower(), document)


def all_roles(world: World) -> list[Role]:
    """Return every role, the built-in ones first."""
    return [*BUILT_IN, *(_role(guid, document) for guid, document in world.store.list(ROLE_KIND))]


def keep(world: World, role: Role) -> None:
    """Write a custom role."""
    document = {name: getattr(role, name) for name in _MEMBERS}
    world.store.put(ROLE_KIND, role.guid, document)


def _role(guid: str, document: Document) -> Role:
    lists: dict[str, Any] = {name: tuple(document[name]) for name in _MEMBERS[2:]}
    return Role(guid=guid, custom=True, name=document["name"], description=document["description"], **lists)


def covers(role: Role, action: str, *, data: bool = False) -> bool:
    """Return whether a role allows an action, or with `data` a data action.

    A star stands for any characters; between two slashes, for no segment too: `userAssignedIdentities/*/assign/action`
    of Managed Identity Operator covers `userAssignedIdentities/assign/action` (inferred from what that role is for).
    """
    if data:
        return _any_of(role.data, action) and not _any_of(role.not_data, action)
    return _any_of(role.actions, action) and not _any_of(role.not_actions, action)


def _any_of(patterns: Iterable[str], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    parts = [".*".join(map(re.escape, re.split(r"\*+", part))) for part in text.split("/*/")]  # ** is *, and no slower
    return re.compile("/(?:.*/)?".join(parts), re.IGNORECASE)
