"""Role assignments that let an identity release keys, taken away by a fault and put back when it is off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from skrkit.sandbox.faults import resources
from skrkit.sandbox.faults.fault import Undone
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.roles.definition import covers, find

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

_RELEASE = "Microsoft.KeyVault/vaults/keys/release/action"
_TOP = re.compile(r"(/subscriptions/[^/]+)(/resourceGroups/[^/]+)?(/providers/[^/]+/[^/]+/[^/]+)?", re.IGNORECASE)


def releasing(world: World, object_id: str) -> list[Document]:
    """Return the assignments of a principal whose role covers a release, wherever they are."""
    held = assignment.of_principal(world, object_id)
    roles = ((document, find(world, str(document["role"]))) for document in held)
    return [document for document, role in roles if role is not None and covers(role, _RELEASE, data=True)]


def take(world: World, object_ids: Iterable[str]) -> list[Document]:
    """Take those assignments from these principals, and return them."""
    taken = [document for object_id in sorted(object_ids) for document in releasing(world, object_id)]
    for document in taken:
        assignment.remove(world, document)
    return taken


def put_back(world: World, taken: Iterable[Document]) -> Undone:
    """Return what was put back, and what was left: a resource that is gone, a role that was assigned again."""
    back, left = [], []
    for document in taken:
        scope = str(document["scope"])
        who = f"a role of {document['principal']} at {scope.rpartition('/')[2]}"
        if not _is_there(world, scope):
            left.append(f"{who} (gone)")
        elif any(_same(each, document) for each in assignment.of_principal(world, str(document["principal"]))):
            left.append(f"{who} (was granted again)")
        else:
            assignment.write(world, document)
            back.append(who)
    return Undone(put_back=tuple(back), left=tuple(left))


def _same(one: Document, other: Document) -> bool:
    return one["role"] == other["role"] and str(one["scope"]).lower() == str(other["scope"]).lower()


def _is_there(world: World, scope: str) -> bool:
    found = _TOP.match(scope)
    if found is None:
        return False
    subscription, group, resource = found.groups()
    return group is None or resources.read(world, f"{subscription}{group}{resource or ''}") is not None
