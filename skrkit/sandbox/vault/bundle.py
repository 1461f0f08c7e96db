"""Key bundles: how a key is shown. Members stand in the order that the service writes."""

from __future__ import annotations

from typing import Any

from skrkit.sandbox.store import Document
from skrkit.sandbox.vault.call import EXPORTABLE_FROM, HSM_PLATFORM_FROM, Call, VaultResource, at_least

FULL_RETENTION_DAYS = 90


def in_order(value: Any) -> Any:
    """Return a JSON value with the members of its objects in order of name, as a Managed HSM writes them."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(each) for each in value] if isinstance(value, list) else value


def recovery_level(vault: VaultResource) -> str:
    """Return the vault's recovery level: "Customized" below 90 days, "+Purgeable" without purge protection."""
    level = "Recoverable" if vault.retention_days == FULL_RETENTION_DAYS else "CustomizedRecoverable"
    return level if vault.purge_protected else f"{level}+Purgeable"


def key_id(vault: VaultResource, name: str, version: str = "") -> str:
    """Return the id of a key, or of a version."""
    return f"{vault.url}/keys/{name}" + (f"/{version}" if version else "")


def attributes(call: Call, named: Document, version: Document) -> dict[str, Any]:
    """Return the `attributes` member. `hsmPlatform` is "2" for HSM keys and "0" for software keys."""
    shown: dict[str, Any] = {"enabled": version["enabled"]}
    shown |= {name: version[name] for name in ("nbf", "exp") if version.get(name) is not None}
    shown |= {"created": version["created"], "updated": version["updated"]}
    shown |= {"recoveryLevel": recovery_level(call.vault), "recoverableDays": call.vault.retention_days}
    if at_least(call.api_version, EXPORTABLE_FROM):
        shown["exportable"] = named["exportable"]
    if at_least(call.api_version, HSM_PLATFORM_FROM) and not call.vault.is_hsm:
        shown["hsmPlatform"] = "2" if version["kty"].endswith("-HSM") else "0"
    return shown


def public_jwk(call: Call, named: Document, version: Document) -> dict[str, Any]:
    """Return the `key` member: kid, kty, key_ops, and the public numbers."""
    kid = key_id(call.vault, named["name"], version["version"])
    return {"kid": kid, "kty": version["kty"], "key_ops": version["key_ops"], **version["jwk"]}


def key_bundle(call: Call, named: Document, version: Document) -> dict[str, Any]:
    """Return the bundle of one version, with the policy of its name."""
    bundle: dict[str, Any] = {
        "key": public_jwk(call, named, version),
        "attributes": attributes(call, named, version),
    }
    if version["tags"] is not None:
        bundle["tags"] = version["tags"]
    if named["release_policy"] is not None:
        bundle["release_policy"] = named["release_policy"]
    return bundle


def deleted_members(call: Call, deleted: Document) -> dict[str, Any]:
    """Return what a deleted key's bundle or list item has more than a live one's."""
    return {
        "recoveryId": f"{call.vault.url}/deletedkeys/{deleted['named']['name']}",
        "deletedDate": deleted["deletedDate"],
        "scheduledPurgeDate": deleted["scheduledPurgeDate"],
    }


def item(call: Call, named: Document, version: Document, *, with_version: bool) -> dict[str, Any]:
    """Return a key as lists show it."""
    kid = key_id(call.vault, named["name"], version["version"] if with_version else "")
    shown: dict[str, Any] = {"kid": kid, "attributes": attributes(call, named, version)}
    if version["tags"] is not None:
        shown["tags"] = version["tags"]
    return shown
