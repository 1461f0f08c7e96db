"""Containers of Azure Blob Storage, as far as a Managed HSM uses them: where it puts its backups and finds them again.

The sandbox has no Storage. What would be blobs stands in its own state, by account, container and folder; a container
is there as soon as something is in it. Of a SAS token everything is looked at but its signature: no account has a key.
Source: Azure Storage's documents on service SAS (members st, se, sp, sig), and its list of error codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from skrkit.sandbox.store import Document
from skrkit.sandbox.vault.errors import bad_parameter

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

BLOB_KIND = "hsm-backup-blob"  # account/container/folder -> {"hsm", "blob"}
MAX_TOKEN = 4096
_URL = re.compile(r"https://([a-z0-9]{3,24})\.blob\.core\.windows\.net/([a-z0-9](?:-?[a-z0-9]){2,62})/?")
_FOLDER = re.compile(r"[A-Za-z0-9-]{1,128}")
_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d")


class Refused(Exception):
    """Storage would refuse, with this code of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of blobs, and by what the HSM gets at it: a SAS token, or where that is empty its own identity."""

    account: str
    name: str
    token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The container's address."""
        return f"https://{self.account}.blob.core.windows.net/{self.name}"

    def key(self, folder: str) -> str:
        """Return what a folder's blobs are kept under."""
        return f"{self.account}/{self.name}/{folder}"


def container_of(given: Any) -> Container:
    """Return the container of a request's SASTokenParameter. Raises `AzureError` 400 for what names none."""
    body: Mapping[str, Any] = given if isinstance(given, dict) else {}
    address = body.get("storageResourceUri")
    found = _URL.fullmatch(address) if isinstance(address, str) else None
    if found is None:
        raise bad_parameter("The property 'storageResourceUri' is not the address of a blob container.")
    token, own = body.get("token"), body.get("useManagedIdentity")
    if own is True:
        return Container(account=found[1], name=found[2])
    if not isinstance(token, str) or not token or len(token) > MAX_TOKEN:
        raise bad_parameter("The property 'token' is missing, and 'useManagedIdentity' is not true.")
    return Container(account=found[1], name=found[2], token=token)


def folder_of(given: Any) -> str:
    """Return the name of a backup's folder. Raises `AzureError` 400."""
    if not isinstance(given, str) or not _FOLDER.fullmatch(given):
        raise bad_parameter("The folder of the backup is not named, or its name is invalid.")
    return given


def check_access(container: Container, permissions: str, *, now: datetime, identity: bool) -> None:
    """Return nothing if the HSM would get at a container. Raises `Refused`.

    `identity` says that the HSM has a user-assigned identity; that this has a role at the account is not looked at.
    """
    if not container.token:
        if not identity:
            raise Refused("ManagedIdentityNotFound")  # (inferred)
        return
    members = parse_qs(container.token.lstrip("?"))
    if not members.get("sig"):
        raise Refused("ResourceNotFound")  # as Azure says of a text that is no token
    starts, ends = (_time(members.get(name, [""])[0]) for name in ("st", "se"))
    if ends is None or ends <= now or (starts is not None and starts > now):
        raise Refused("AuthenticationFailed")
    if not set(permissions) <= set(members.get("sp", [""])[0]):
        raise Refused("AuthorizationPermissionMismatch")


def _time(text: str) -> datetime | None:
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def write(world: World, container: Container, folder: str, blob: Document) -> None:
    """Put a backup into a folder."""
    world.store.put(BLOB_KIND, container.key(folder), blob)


def read(world: World, container: Container, folder: str) -> Document:
    """Return what is in a folder. Raises `Refused` where nothing is."""
    found = world.store.get(BLOB_KIND, container.key(folder))
    if found is None:
        raise Refused("ResourceNotFound")
    return found
