"""One request to Resource Manager as its handlers see it: caller, path, body, and the resources it may touch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from skrkit.sandbox.arm import errors
from skrkit.sandbox.store import Document

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.world import World

VAULT_TYPE = "Microsoft.KeyVault/vaults"
VM_TYPE = "Microsoft.Compute/virtualMachines"
ARM_KIND = "arm"  # store documents: resource id in lower case -> the resource's body as Azure shows it


def arm_lock(world: World) -> threading.RLock:
    """Return the one lock under which resources are read and written back."""
    lock: threading.RLock = world.cache.setdefault("arm-lock", threading.RLock())
    return lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that has passed authentication, api-version and authorisation.

    `path` has the path's parameters as the client wrote them; ids are compared in lower case. `lock` is held by a
    handler that reads a resource and writes it back.
    """

    world: World
    caller: Principal
    method: str
    url_path: str
    api_version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]
    lock: threading.RLock

    @property
    def group_id(self) -> str:
        """The id of the resource group in the path."""
        return f"/subscriptions/{self.world.subscription}/resourceGroups/{self.path['group']}"

    def object_of(self, name: str, parent: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a member of the body, or of `parent`, that is an object; empty if it is absent. Raises 400."""
        value = (self.body if parent is None else parent).get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise errors.bad_request(f"The property '{name}' must be an object.", code="InvalidRequestContent")
        return value

    def tags(self) -> dict[str, str]:
        """Return the body's tags, texts by name. Raises 400 for anything else."""
        tags = self.object_of("tags")
        if not all(isinstance(value, str) for value in tags.values()):
            raise errors.bad_request("The property 'tags' must have texts as values.", code="InvalidRequestContent")
        return tags

    def resource_id(self, resource_type: str, name: str) -> str:
        """Return the id of a resource in the path's group."""
        return f"{self.group_id}/providers/{resource_type}/{name}"

    def read(self, resource_id: str) -> Document | None:
        """Return a resource's body, or None."""
        return self.world.store.get(ARM_KIND, resource_id.lower())

    def write(self, body: Document) -> None:
        """Write a resource under its own `id`."""
        self.world.store.put(ARM_KIND, str(body["id"]).lower(), body)

    def require_group(self) -> Document:
        """Return the path's resource group. Raises `AzureError` 404 if it is not there."""
        group = self.read(self.group_id)
        if group is None:
            raise errors.no_group(self.path["group"])
        return group

    def require(self, resource_type: str, name: str) -> Document:
        """Return a resource of the path's group. Raises `AzureError` 404 for the group or the resource."""
        self.require_group()
        found = self.read(self.resource_id(resource_type, name))
        if found is None:
            raise errors.no_resource(resource_type, name, self.path["group"])
        return found

    def resources(self, resource_type: str = "", *, group: bool = True) -> list[Document]:
        """Return the resources of the path's group, or of the subscription, of one type or of all."""
        prefix = f"/subscriptions/{self.world.subscription}/resourceGroups/"
        if group:
            prefix += f"{self.path['group']}/"
        wanted = resource_type.lower()
        found = self.world.store.list(ARM_KIND, prefix.lower())
        return [
            body
            for _, body in found
            if "/providers/" in str(body["id"]).lower() and wanted in ("", str(body["type"]).lower())
        ]


Handler = Callable[[Call], Response]
