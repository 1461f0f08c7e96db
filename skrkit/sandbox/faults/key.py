"""Faults of the key: disabled, not exportable, deleted, not there, of another version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.faults import resources
from skrkit.sandbox.faults.fault import Fault, Undone

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.vault.documents import Keys
    from skrkit.sandbox.world import World

_WANTED = "a key with a release policy"


def check_version(world: World, path: Mapping[str, str]) -> None:
    """Raise 404 for a request that names a version of a key: it is as if it named one of another vault."""
    if path.get("version") and world.faulty("key.wrong-version"):
        from skrkit.sandbox.vault import errors

        raise errors.key_not_found(path["name"], path["version"])


def _found(world: World) -> list[tuple[Keys, Document]]:
    found = list(resources.releasable(world))
    resources.require(found, _WANTED)
    return found


def _place(keys: Keys, name: str) -> dict[str, Any]:
    return {"vault": keys.vault, "name": name}


# --- disabled


def _disable(world: World) -> dict[str, Any]:
    changed = []
    for keys, named in _found(world):
        versions = [version for version in keys.every_version(named["name"]) if version["enabled"]]
        for version in versions:
            keys.write_version(named["name"], version | {"enabled": False})
        if versions:
            changed.append(_place(keys, named["name"]) | {"versions": [version["version"] for version in versions]})
    resources.require(changed, "a key that is enabled")
    return {"keys": changed}


def _enable(world: World, before: dict[str, Any]) -> Undone:
    put_back, left = [], []
    for had in before["keys"]:
        keys = resources.keys_of(world, had["vault"])
        disabled = [
            version
            for version in keys.every_version(had["name"])
            if version["version"] in had["versions"] and not version["enabled"]
        ]
        for version in disabled:
            keys.write_version(had["name"], version | {"enabled": True})
        if disabled:
            put_back.append(had["name"])
        else:
            left.append(f"{had['name']} (enabled or removed since)")
    return Undone(put_back=tuple(put_back), left=tuple(left))


# --- not exportable


def _fix_in_place(world: World) -> dict[str, Any]:
    changed = []
    for keys, named in _found(world):
        changed.append(_place(keys, named["name"]) | {"current": named["current"], "policy": named["release_policy"]})
        keys.write(named | {"exportable": False, "release_policy": None})
    return {"keys": changed}


def _exportable_again(world: World, before: dict[str, Any]) -> Undone:
    put_back, left = [], []
    for had in before["keys"]:
        keys = resources.keys_of(world, had["vault"])
        named = keys.name(had["name"])
        if named is None or named["exportable"] or named["current"] != had["current"]:
            left.append(f"{had['name']} ({'gone' if named is None else 'another key has the name'})")
            continue
        keys.write(named | {"exportable": True, "release_policy": had["policy"]})
        put_back.append(had["name"])
    return Undone(put_back=tuple(put_back), left=tuple(left))


# --- not there


def _remove(world: World) -> dict[str, Any]:
    from skrkit.sandbox.vault.documents import NAME_KIND, VERSION_KIND

    removed = []
    for keys, named in _found(world):
        name = named["name"]
        documents = {f"{keys.vault}/{name}/{each['version']}".lower(): each for each in keys.every_version(name)}
        for key in documents:
            world.store.delete(VERSION_KIND, key)
        world.store.delete(NAME_KIND, f"{keys.vault}/{name}".lower())
        removed.append(_place(keys, name) | {"named": named, "versions": documents})
    return {"keys": removed}


def _bring_back(world: World, before: dict[str, Any]) -> Undone:
    from skrkit.sandbox.vault.documents import VERSION_KIND

    put_back, left = [], []
    for had in before["keys"]:
        keys = resources.keys_of(world, had["vault"])
        if keys.name(had["name"]) is not None or keys.deleted(had["name"], now=world.now()) is not None:
            left.append(f"{had['name']} (another key has the name)")
            continue
        for key, version in had["versions"].items():
            world.store.put(VERSION_KIND, key, version)
        keys.write(had["named"])
        put_back.append(had["name"])
    return Undone(put_back=tuple(put_back), left=tuple(left))


# --- soft-deleted


def _delete(world: World) -> dict[str, Any]:
    deleted, holders = [], resources.holders(world)
    for keys, named in _found(world):
        days = int(holders[keys.vault]["properties"]["softDeleteRetentionInDays"])
        keys.delete(named, now=world.now(), days=days)
        deleted.append(_place(keys, named["name"]))
    return {"keys": deleted}


def _recover(world: World, before: dict[str, Any]) -> Undone:
    put_back, left = [], []
    for had in before["keys"]:
        keys = resources.keys_of(world, had["vault"])
        deleted = keys.deleted(had["name"], now=world.now())
        if deleted is None:
            left.append(f"{had['name']} ({'was purged' if keys.name(had['name']) is None else 'is there again'})")
            continue
        keys.recover(deleted)
        put_back.append(had["name"])
    return Undone(put_back=tuple(put_back), left=tuple(left))


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="key.disabled",
        group="key",
        title="The key is disabled",
        does="Disables every version of every key that has a release policy.",
        apply=_disable,
        undo=_enable,
    ),
    Fault(
        name="key.not-exportable",
        group="key",
        title="The key is not exportable",
        does="Puts keys that are not exportable, without a policy, in the place of those that have one.",
        apply=_fix_in_place,
        undo=_exportable_again,
    ),
    Fault(
        name="key.not-found",
        group="key",
        title="The vault has no key of that name",
        does="Removes every key that has a release policy, as if it had been made in another vault.",
        apply=_remove,
        undo=_bring_back,
    ),
    Fault(
        name="key.deleted",
        group="key",
        title="The key is deleted, and can be recovered",
        does="Deletes every key that has a release policy; its name stays taken until it is recovered or purged.",
        step=3,
        apply=_delete,
        undo=_recover,
    ),
    Fault(
        name="key.wrong-version",
        group="key",
        title="The key has no such version",
        does="Vaults know no version that a request names, as if it were one of another vault's key.",
    ),
)
