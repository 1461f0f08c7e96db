"""What is in a Managed HSM, as its backup holds it: keys with all versions, local roles. Sealed by the security domain.

The form is the sandbox's own; only an HSM of the sandbox with the same security domain opens it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance
from skrkit.sandbox.hsm.resource import HsmResource
from skrkit.sandbox.hsm.roles import ASSIGNMENT_KIND, ROLE_KIND
from skrkit.sandbox.vault.documents import DELETED_KIND, NAME_KIND, VERSION_KIND, Keys

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

NONCE_BYTES = 12
_LABEL = b"skrkit full backup"  # a key's backup is sealed by the same key, and is none of these


class NotRestored(Exception):
    """A backup that this HSM does not take, by a code."""


def _places(hsm: HsmResource) -> tuple[tuple[str, str], ...]:
    """Return each kind of document that is in an HSM, and what the ids of its own begin with."""
    of_keys = tuple((kind, f"{hsm.key_space}/") for kind in (NAME_KIND, VERSION_KIND, DELETED_KIND))
    return (*of_keys, (ASSIGNMENT_KIND, f"{hsm.name}/"), (ROLE_KIND, f"{hsm.name}/"))


def sealed(world: World, hsm: HsmResource) -> Document:
    """Return all that is in an HSM, for whoever has its security domain."""
    whole = {
        kind: {key.removeprefix(begin): document for key, document in world.store.list(kind, begin)}
        for kind, begin in _places(hsm)
    }
    nonce = chance.token_bytes("hsm/full-backup-nonce", NONCE_BYTES)
    blob = nonce + AESGCM(hsm.domain_key).encrypt(nonce, json.dumps(whole).encode(), _LABEL)
    return {"hsm": hsm.name, "blob": b64url(blob)}


def opened(hsm: HsmResource, backup: Document) -> dict[str, dict[str, Document]]:
    """Return what a backup holds: documents by kind and by id within the HSM. Raises `NotRestored`."""
    try:
        blob = b64url_bytes(str(backup["blob"]), what="backup", where="/blob")
        text = AESGCM(hsm.domain_key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], _LABEL)
    except (ParseError, InvalidTag, ValueError):
        raise NotRestored("SecurityDomainMismatch") from None
    whole: dict[str, dict[str, Document]] = json.loads(text)
    return whole


def restore(world: World, hsm: HsmResource, backup: Document) -> None:
    """Make an HSM what the backup says: what is in it now goes, its local roles too. Raises `NotRestored`."""
    whole = opened(hsm, backup)
    for kind, begin in _places(hsm):
        for key, _ in world.store.list(kind, begin):
            world.store.delete(kind, key)
        for key, document in whole[kind].items():
            world.store.put(kind, f"{begin}{key}", document)


def restore_key(world: World, hsm: HsmResource, backup: Document, name: str) -> tuple[int, int]:
    """Return how many versions of a key were brought back, and how many were there and stay as they are.

    Raises `NotRestored` for a key that the backup does not have, and for one whose name a deleted key holds.
    """
    whole, keys = opened(hsm, backup), Keys(store=world.store, vault=hsm.key_space)
    named = whole[NAME_KIND].get(name.lower())
    if named is None:
        raise NotRestored("KeyNotFound")
    if keys.deleted(name, now=world.now()) is not None:
        raise NotRestored("KeyDeleted")
    there = {version["version"] for version in keys.every_version(name)}
    backed_up = [each for key, each in whole[VERSION_KIND].items() if key.partition("/")[0] == name.lower()]
    missing = [each for each in backed_up if each["version"] not in there]
    for version in missing:
        keys.write_version(named["name"], version)
    if keys.name(name) is None:
        keys.write(named)
    return len(missing), len(backed_up) - len(missing)
