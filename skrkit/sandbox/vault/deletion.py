"""Soft delete: delete, look at, recover, purge."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.vault import bundle, errors
from skrkit.sandbox.vault.call import Call


def delete_key(call: Call) -> Response:
    """Return the bundle of the deleted key, all versions of it, with the date of its purge."""
    with call.lock:
        named, version = call.keys.require(call.name)
        deleted = call.keys.delete(named, now=call.world.now(), days=call.vault.retention_days)
    return JSONResponse(bundle.deleted_members(call, deleted) | bundle.key_bundle(call, named, version))


def get_deleted_key(call: Call) -> Response:
    """Return the bundle of a deleted key."""
    deleted = call.keys.require_deleted(call.name, now=call.world.now())
    version = call.keys.version_of_deleted(deleted)
    return JSONResponse(bundle.deleted_members(call, deleted) | bundle.key_bundle(call, deleted["named"], version))


def recover_key(call: Call) -> Response:
    """Return the bundle of the key, which is live again with all its versions and its policy."""
    with call.lock:
        deleted = call.keys.require_deleted(call.name, now=call.world.now())
        call.keys.recover(deleted)
        named, version = call.keys.require(call.name)
    return JSONResponse(bundle.key_bundle(call, named, version))


def purge_key(call: Call) -> Response:
    """Return 204 after the key was removed for good."""
    with call.lock:
        call.keys.require_deleted(call.name, now=call.world.now())
        if call.vault.purge_protected:
            raise errors.purge_protected(call.vault.name, call.vault.region)
        call.keys.purge(call.name)
    return Response(status_code=204)
