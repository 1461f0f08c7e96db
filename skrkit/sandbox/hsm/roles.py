"""The local roles of a Managed HSM: not Azure roles, but its own, which its data plane alone asks.

The matrix of data actions is that of Microsoft's page on the built-in roles of Managed HSM. The first eight hold their
actions by it; where the page and the SDK have an action that the matrix has not, it says so here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.sandbox.roles.builtin import Role
from skrkit.sandbox.roles.definition import covers

if TYPE_CHECKING:
    from skrkit.sandbox.hsm.resource import HsmResource
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

PREFIX = "Microsoft.KeyVault/managedHsm"
ASSIGNMENT_KIND = "hsm-role-assignment"  # HSM's name and assignment's GUID -> {"name", "scope", "role", "principal"}
ROLE_KIND = "hsm-role"  # HSM's name and role's GUID -> a custom role's members
_MEMBERS = ("name", "description", "actions", "not_actions", "data", "not_data")

# data action -> the roles that have it, by their letters
_MATRIX = {
    "securitydomain/download/action": "A", "securitydomain/upload/action": "A",
    "securitydomain/upload/read": "A", "securitydomain/transferkey/read": "A",
    "keys/read/action": "UED",
    "keys/write/action": "U", "keys/rotate/action": "U", "keys/create": "U", "keys/delete": "U",
    "keys/import/action": "U",
    "keys/deletedKeys/read/action": "O", "keys/deletedKeys/recover/action": "O",
    "keys/deletedKeys/delete": "O",  # the page ticks the Auditor too, in a row that looks shifted by one (inferred)
    "keys/backup/action": "UB", "keys/restore/action": "US",
    "keys/release/action": "UR",
    "keys/encrypt/action": "U", "keys/decrypt/action": "U", "keys/sign/action": "U", "keys/verify/action": "U",
    "keys/wrap/action": "UE", "keys/unwrap/action": "UE",
    "roleAssignments/read/action": "AOPD", "roleDefinitions/read/action": "AOPD",
    "roleAssignments/write/action": "AOP", "roleAssignments/delete/action": "AOP",
    "roleDefinitions/write/action": "AO", "roleDefinitions/delete/action": "AO",
    "backup/start/action": "AB", "backup/status/action": "AB",
    "restore/start/action": "AS", "restore/status/action": "AS",
    "rng/action": "U",  # known to the SDK, in no row of the page (inferred)
}  # fmt: skip


# What no page lists, and so no role definition shows, by the role that Microsoft's pages say may do it.
UNLISTED = {"settings/read/action": "Administrator", "settings/write/action": "Administrator"}  # (inferred)


def _built_in(letter: str, guid: str, name: str, description: str) -> Role:
    data = tuple(f"{PREFIX}/{action}" for action, letters in _MATRIX.items() if letter in letters)
    return Role(guid=guid, name=f"Managed HSM {name}", description=description, data=data)


ADMINISTRATOR = _built_in(
    "A",
    "a290e904-7015-4bba-90c8-60543313cdb4",
    "Administrator",
    "Manages the security domain, full backup and restore, and roles. Does nothing with keys.",
)
CRYPTO_USER = _built_in(
    "U",
    "21dbd100-6940-42c2-9190-5d6cb909625b",
    "Crypto User",
    "Makes keys and does everything with them but recover and purge.",
)
RELEASE_USER = _built_in(
    "R",
    "21dbd100-6940-42c2-9190-5d6cb909625c",
    "Crypto Service Release User",
    "Releases keys, and does nothing else.",
)
BUILT_IN: tuple[Role, ...] = (
    ADMINISTRATOR,
    _built_in(
        "O",
        "515eb02d-2335-4d2d-92f2-b1cbdf9c3778",
        "Crypto Officer",
        "Manages roles, purges and recovers keys. Does no other thing with them.",
    ),
    CRYPTO_USER,
    _built_in("P", "4bd23610-cdcf-4971-bdee-bdc562cc28e4", "Policy Administrator", "Assigns roles."),
    _built_in("D", "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3", "Crypto Auditor", "Reads keys and roles."),
    _built_in(
        "E",
        "33413926-3206-4cdd-b39a-83574fe37a17",
        "Crypto Service Encryption User",
        "Reads a key, wraps and unwraps with it.",
    ),
    RELEASE_USER,
    _built_in("B", "7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8", "Backup", "Backs up a key, or the whole HSM."),
    _built_in("S", "6efe6056-5259-49d2-8b3d-d3d73544b20b", "Restore", "Restores a key, or the whole HSM."),
)
_BY_GUID = {role.guid: role for role in BUILT_IN}


def _key(hsm: HsmResource, guid: str = "") -> str:
    return f"{hsm.name}/{guid.lower()}"


def find_role(world: World, hsm: HsmResource, guid: str) -> Role | None:
    """Return the HSM's role of this id, in any case, or None."""
    known = _BY_GUID.get(guid.lower())
    if known is not None:
        return known
    document = world.store.get(ROLE_KIND, _key(hsm, guid))
    return None if document is None else _custom(guid.lower(), document)


def all_roles(world: World, hsm: HsmResource) -> list[Role]:
    """Return the HSM's roles, the built-in ones first."""
    custom = world.store.list(ROLE_KIND, _key(hsm))
    return [*BUILT_IN, *(_custom(key.rpartition("/")[2], document) for key, document in custom)]


def _custom(guid: str, document: Document) -> Role:
    return Role(
        guid=guid,
        custom=True,
        name=str(document["name"]),
        description=str(document["description"]),
        actions=tuple(document["actions"]),
        not_actions=tuple(document["not_actions"]),
        data=tuple(document["data"]),
        not_data=tuple(document["not_data"]),
    )


def keep_role(world: World, hsm: HsmResource, role: Role) -> None:
    """Write a custom role."""
    world.store.put(ROLE_KIND, _key(hsm, role.guid), {name: getattr(role, name) for name in _MEMBERS})


def remove_role(world: World, hsm: HsmResource, guid: str) -> None:
    """Take a custom role away."""
    world.store.delete(ROLE_KIND, _key(hsm, guid))


def assignments(world: World, hsm: HsmResource) -> list[Document]:
    """Return every assignment of the HSM, at every scope."""
    return [document for _, document in world.store.list(ASSIGNMENT_KIND, _key(hsm))]


def assign(world: World, hsm: HsmResource, *, guid: str, principal: str, role: Role, scope: str) -> Document:
    """Return a new assignment, written. `scope` is "/", "/keys" or "/keys/<name>"."""
    document: Document = {"name": guid.lower(), "scope": scope, "role": role.guid, "principal": principal}
    world.store.put(ASSIGNMENT_KIND, _key(hsm, guid), document)
    return document


def remove_assignment(world: World, hsm: HsmResource, guid: str) -> None:
    """Take an assignment away: it ends at once."""
    world.store.delete(ASSIGNMENT_KIND, _key(hsm, guid))


def remove_all(world: World, hsm: HsmResource) -> None:
    """Take all assignments and custom roles away: the HSM was purged."""
    for kind in (ASSIGNMENT_KIND, ROLE_KIND):
        for key, _ in world.store.list(kind, _key(hsm)):
            world.store.delete(kind, key)


def is_within(scope: str, outer: str) -> bool:
    """Return whether a scope is `outer` or lies in it: everything in "/", every key in "/keys"."""
    inner, around = scope.lower().rstrip("/"), outer.lower().rstrip("/")
    return inner == around or inner.startswith(f"{around}/")


def allows(world: World, hsm: HsmResource, object_id: str, action: str, scope: str) -> bool:
    """Return whether a principal has a role at the scope, or above it, that covers the data action."""
    for document in assignments(world, hsm):
        if str(document["principal"]).lower() != object_id.lower() or not is_within(scope, str(document["scope"])):
            continue
        role = find_role(world, hsm, str(document["role"]))
        if role is not None and (covers(role, action, data=True) or _covers_unlisted(role, action)):
            return True
    return False


def _covers_unlisted(role: Role, action: str) -> bool:
    owner = UNLISTED.get(action.removeprefix(f"{PREFIX}/"))
    return owner is not None and not role.custom and role.name == f"Managed HSM {owner}"
