"""Teardown of keys in a vault or Managed HSM that is somebody else's: the keys, and the roles at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.teardown import Found


def remove(cloud: Cloud, key: Found) -> None:
    """Return when a key is deleted. The caller needs key permission `delete`."""
    from skrkit.services.vault import key_client

    with azure_call(f"key {key.name}"), key_client(cloud, key.url) as keys:
        keys.begin_delete_key(key.name).wait()


def purge(cloud: Cloud, key: Found) -> None:
    """Return when a deleted key is gone for good. The caller needs key permission `purge`."""
    from skrkit.services.vault import key_client

    with azure_call(f"purge of key {key.name}"), key_client(cloud, key.url) as keys:
        keys.purge_deleted_key(key.name)
