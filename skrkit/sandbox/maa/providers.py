"""Which providers there are: the shared one of each region, and those that were made through Resource Manager.

A provider's host name is its own in all of Azure: `KIND` maps it to the resource, which says what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.token.providers import PUBLIC_SUFFIX, SHARED_PROVIDERS, is_shared_provider

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

KIND = "maa-provider"  # host name in lower case -> {"id": resource id, "isolated": bool}
OWNED = (
    "maa",
    "maa-policy",
    "maa-signers",
)  # kinds of documents of one provider, each with its host in front of the id

_NAME = re.compile(r"[A-Za-z0-9]{3,24}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider. A shared one belongs to Microsoft and has no resource; an isolated one has policy signers."""

    host: str
    resource_id: str = ""
    isolated: bool = False

    @property
    def shared(self) -> bool:
        """Whether it is Microsoft's, for everybody: nobody changes its policies."""
        return not self.resource_id


def find(world: World, host: str) -> Provider | None:
    """Return the provider at a host name, lower case, or None."""
    if is_shared_provider(host):
        return Provider(host=host)
    document = world.store.get(KIND, host)
    if document is None:
        return None
    return Provider(host=host, resource_id=str(document["id"]), isolated=bool(document["isolated"]))


def host_of(name: str, region: str) -> str | None:
    """Return the host name of a provider in a region, or None for a region that has no attestation.

    That a provider of one's own has its region's abbreviation in its name as the shared one has is inferred from
    names that documents show.
    """
    abbreviation = SHARED_PROVIDERS.get(region)
    return None if abbreviation is None else f"{name.lower()}.{abbreviation}{PUBLIC_SUFFIX}"


def is_name(name: str) -> bool:
    """Return whether a provider may be called so: 3 to 24 letters and digits."""
    return _NAME.match(name) is not None


def register(world: World, provider: Provider) -> None:
    """Write a provider of somebody's."""
    document: Document = {"id": provider.resource_id, "isolated": provider.isolated}
    world.store.put(KIND, provider.host, document)


def remove(world: World, host: str) -> None:
    """Remove a provider with its key, policies and signers: one of the same name is another."""
    with world.store.transaction():
        for kind in OWNED:
            for key, _ in world.store.list(kind, host):
                world.store.delete(kind, key)
        world.store.delete(KIND, host)
    world.cache.pop(f"maa/{host}", None)
