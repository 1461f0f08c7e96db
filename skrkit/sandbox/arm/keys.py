"""Keys through Resource Manager: it makes the first version of a key, and shows keys. It never changes one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm.call import VAULT_TYPE, Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.hsm.account_settings import KEYS_THROUGH_ARM, keys_through_arm
from skrkit.sandbox.hsm.resource import HSM_TYPE, find_hsm
from skrkit.sandbox.hsm.wording import in_own_words
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault import bundle, creation, rotation
from skrkit.sandbox.vault.call import API_VERSIONS, VaultResource, vault_lock
from skrkit.sandbox.vault.call import Call as VaultCall
from skrkit.sandbox.vault.material import key_bits
from skrkit.sandbox.web import AzureError, new_request_id

PAGE = 25
_DATA_PLANE_MEMBERS = {"kty": "kty", "keyOps": "key_ops", "keySize": "key_size", "curveName": "crv"}


def _vault_call(call: Call, body: dict[str, Any] | None = None) -> VaultCall:
    """Return the same request as the data plane would see it, in its newest version."""
    vault = _container(call)
    return VaultCall(
        world=call.world,
        vault=vault,
        caller=call.caller,
        api_version=API_VERSIONS[-1],
        path=call.path,
        query=call.query,
        body=body or {},
        lock=vault_lock(call.world),
    )


def _container(call: Call) -> VaultResource:
    """Return the vault of the path, or the Managed HSM. Raises `AzureError` where it cannot have keys now."""
    if "hsm" not in call.path:
        return VaultResource(body=call.require(VAULT_TYPE, call.path["vault"]))
    call.require(HSM_TYPE, call.path["hsm"])
    hsm = find_hsm(call.world, call.path["hsm"])
    if hsm is None or not hsm.activated:  # the words are not known (inferred)
        raise bad_request("The Managed HSM is not activated: download its security domain first.")
    if not keys_through_arm(call.world, hsm):  # known are the setting's name, and that its enabling is asked for
        raise bad_request(
            "To manage keys through Azure Resource Manager, an administrator of the Managed HSM must enable the "
            f"setting '{KEYS_THROUGH_ARM}'."
        )
    return hsm


def put_key(call: Call) -> Response:
    """Return the key: a new one, or the one that is there, unchanged, whatever the body says."""
    with call.lock:
        inner = _vault_call(call, _data_plane_body(call))
        if inner.keys.name(inner.name) is None:
            wanted = call.object_of("properties").get("rotationPolicy")
            least = rotation.MIN_TRIGGER_IN_HSM if inner.vault.is_hsm else rotation.MIN_TRIGGER
            policy = None if wanted is None else rotation.checked(wanted, least=least)  # before a key is made for it
            _create(inner)
            if policy is not None:
                rotation.keep(inner, policy)
        return JSONResponse(_shown(inner, call, *inner.keys.require(inner.name)))


def _create(inner: VaultCall) -> None:
    try:
        creation.create_key(inner)
    except AzureError as refusal:
        raise in_own_words(refusal, new_request_id()) if inner.vault.is_hsm else refusal from None


def _data_plane_body(call: Call) -> dict[str, Any]:
    """Return the body of the data plane's create. ARM's operations have `release`, the data plane's have not."""
    properties = call.object_of("properties")
    inner = {name: properties[arm] for arm, name in _DATA_PLANE_MEMBERS.items() if properties.get(arm) is not None}
    if isinstance(inner.get("key_ops"), list):
        inner["key_ops"] = [name for name in inner["key_ops"] if name != "release"]
    inner["attributes"] = call.object_of("attributes", properties)
    if properties.get("release_policy") is not None:
        inner["release_policy"] = properties["release_policy"]
    if call.body.get("tags"):
        inner["tags"] = call.tags()
    return inner


def get_key(call: Call) -> Response:
    """Return the current version of the key, or the version in the path."""
    inner = _vault_call(call)
    return JSONResponse(_shown(inner, call, *inner.keys.require(inner.name, inner.version)))


def list_keys(call: Call) -> Response:
    """Return all keys of the vault, current versions."""
    inner = _vault_call(call)
    shown: list[Document] = []
    after = ""
    while page := inner.keys.names(after, PAGE):
        shown += [_shown(inner, call, named, version) for named, version in inner.keys.with_current(page)]
        after = page[-1]["name"]
    return JSONResponse({"value": shown})


def list_versions(call: Call) -> Response:
    """Return all versions of a key."""
    inner = _vault_call(call)
    named = inner.keys.require_name(inner.name)
    versions = inner.keys.every_version(inner.name)
    return JSONResponse({"value": [_shown(inner, call, named, version, listed=True) for version in versions]})


def _shown(inner: VaultCall, call: Call, named: Document, version: Document, *, listed: bool = False) -> Document:
    inner = replace(inner, api_version="7.6")
    attributes = bundle.attributes(inner, named, version)
    attributes.pop("recoverableDays")
    properties: dict[str, Any] = {
        "attributes": attributes,
        "kty": version["kty"],
        "keyOps": version["key_ops"],
        "keyUri": bundle.key_id(inner.vault, named["name"]),
        "keyUriWithVersion": bundle.key_id(inner.vault, named["name"], version["version"]),
    }
    if "crv" in version["jwk"]:
        properties["curveName"] = version["jwk"]["crv"]
    else:
        properties["keySize"] = key_bits(version)
    if named["release_policy"] is not None:
        kept = named["release_policy"]
        properties["release_policy"] = {"contentType": kept["contentType"], "data": kept["data"]}
    if named.get(rotation.MEMBER) is not None:
        properties["rotationPolicy"] = rotation.shown_by_arm(named[rotation.MEMBER])
    vault = inner.vault.body
    key_type = f"{vault['type']}/keys"
    key_id = f"{vault['id']}/keys/{named['name']}"
    return {
        "id": f"{key_id}/versions/{version['version']}" if listed else key_id,
        "name": version["version"] if listed else named["name"],
        "type": f"{key_type}/versions" if listed else key_type,
        **({} if inner.vault.is_hsm else {"location": vault["location"]}),
        "tags": version["tags"] or {},
        "properties": properties,
    }
