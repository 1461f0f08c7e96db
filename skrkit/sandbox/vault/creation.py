"""Create, import, rotate and update keys, with the rules about exportable keys and their release policies."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault import bundle, errors, material, throttle
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.material import Material
from skrkit.sandbox.vault.release_policy import (
    Policy,
    changed_policy,
    check_exportable,
    given_policy,
    stored_policy,
)

RSA_OPS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")
EC_OPS = ("sign", "verify")
HSM_RSA_OPS = ("wrapKey", "decrypt", "encrypt", "unwrapKey", "sign", "verify")  # a Managed HSM's order
OCT_OPS = ("wrapKey", "decrypt", "encrypt", "unwrapKey")  # their order is inferred from that
OTHER_OPS = ("import", "export")  # in the data plane's enum; no operation of this sandbox asks for them
MAX_TAGS, MAX_TAG_CHARACTERS = 15, 256
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}\Z")


def create_key(call: Call) -> Response:
    """Return the bundle of a new key, or of a new version of a key that is there."""
    kty = material.key_type(call.body.get("kty"), in_hsm=call.vault.is_hsm)
    hsm = kty.endswith("-HSM")
    exportable, policy = _checked_for_creation(call, hsm=hsm)
    throttle.check(call, hsm=hsm)
    fresh = material.generate(kty, call.body)  # outside the lock: RSA-4096 takes seconds
    return JSONResponse(_add_version(call, fresh, exportable, policy))


def import_key(call: Call) -> Response:
    """Return the bundle of an imported key. The flag is spelled `Hsm` by the specification and `hsm` by one client."""
    hsm = call.body.get("Hsm", call.body.get("hsm")) is True
    if isinstance(call.body.get("key"), dict) and "key_hsm" in call.body["key"]:
        raise errors.bad_parameter("The sandbox does not import keys that were wrapped for an HSM (key_hsm).")
    brought = material.imported(call.body.get("key"), hsm=hsm, in_hsm=call.vault.is_hsm)
    exportable, policy = _checked_for_creation(call, hsm=brought.hsm)
    ops = (call.body.get("key") or {}).get("key_ops")
    return JSONResponse(_add_version(call, brought, exportable, policy, ops=ops))


def _checked_for_creation(call: Call, *, hsm: bool) -> tuple[bool, Policy | None]:
    """Return `exportable` and the policy as given; raise whatever can be refused before a key is made."""
    if not _NAME.match(call.name):
        raise errors.bad_parameter(f"The request URI contains an invalid name: {call.name}")
    exportable, policy = _exportable(call.body) is True, given_policy(call.body)
    named = call.keys.name(call.name)
    if named is not None and exportable != named["exportable"]:
        raise errors.skr(1003)
    known = policy or (named["release_policy"] if named is not None and exportable else None)
    check_exportable(call, exportable=exportable, hsm=hsm, policy=known)
    if hsm and not call.vault.premium:
        raise errors.hardware_on_standard()
    _merged_attributes({}, call.body)
    _tags(call.body.get("tags"))
    if exportable and policy is not None:
        _first_policy(named, stored_policy(policy, in_hsm=call.vault.is_hsm))
    _refuse_deleted(call)
    return exportable, policy


def _refuse_deleted(call: Call) -> None:
    if call.keys.deleted(call.name, now=call.world.now()) is not None:
        raise errors.deleted_but_recoverable(call.name)


def _first_policy(named: Document | None, given: Policy) -> Policy:
    """Return the policy of the key's name: the one it has, or the one given with its first version.

    A policy belongs to the name and changes only by an update of it; another one here is refused (inferred).
    """
    if named is None or named["release_policy"] is None:
        return given
    kept: Policy = named["release_policy"]
    if kept["data"] != given["data"]:
        raise errors.skr(1020 if kept["immutable"] else 1016)
    return kept


def _add_version(
    call: Call, key: Material, exportable: bool, policy: Policy | None, *, ops: Any = None
) -> dict[str, Any]:
    now = int(call.world.now().timestamp())
    version: Document = {
        "version": chance.token_bytes("key/version", 16).hex(),
        "kty": key.kty,
        "jwk": key.jwk,
        "pem": key.pem,
        "key_ops": _key_ops(call, key.kty, call.body.get("key_ops", ops)),
        "created": now,
        "updated": now,
        "tags": _tags(call.body.get("tags")),
    } | _merged_attributes({}, call.body)
    with call.lock:
        _refuse_deleted(call)
        named = call.keys.name(call.name)
        if named is not None and named["exportable"] != exportable:
            raise errors.skr(1003)  # somebody else made the key in the meantime
        kept = named["release_policy"] if named is not None else None
        if exportable and policy is not None:
            kept = _first_policy(named, stored_policy(policy, in_hsm=call.vault.is_hsm))
        name = named["name"] if named is not None else call.name
        named = (named or {}) | {
            "name": name, "current": version["version"], "exportable": exportable, "release_policy": kept,
        }  # fmt: skip
        call.keys.write(named, version)
    return bundle.key_bundle(call, named, version)


def _suitable_ops(call: Call, kty: str) -> tuple[str, ...]:
    if kty.startswith("EC"):
        return EC_OPS
    if kty == "oct-HSM":
        return OCT_OPS
    return HSM_RSA_OPS if call.vault.is_hsm else RSA_OPS


def _key_ops(call: Call, kty: str, given: Any) -> list[str]:
    suitable = _suitable_ops(call, kty)
    if given is None or given == []:
        return list(suitable)
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise errors.bad_parameter('The property "key_ops" must be an array of strings.')
    for name in given:
        if name not in suitable and name not in OTHER_OPS:
            raise errors.bad_parameter(f"The key operation '{name}' is not supported for a key of type {kty}.")
    return list(dict.fromkeys(given))


def _tags(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > MAX_TAGS:
        raise errors.bad_parameter(f'The property "tags" must be an object of at most {MAX_TAGS} members.')
    for name, value in given.items():
        if not isinstance(value, str) or max(len(name), len(value)) > MAX_TAG_CHARACTERS:
            raise errors.bad_parameter(f"The tag '{name[:40]}' or its value is longer than {MAX_TAG_CHARACTERS}.")
    return given


def _given_attributes(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("attributes")
    if given is not None and not isinstance(given, dict):
        raise errors.bad_parameter('The property "attributes" must be an object.')
    return given or {}


def _exportable(body: dict[str, Any]) -> bool | None:
    """Return the attribute `exportable` as given, or None. Raises 400."""
    wanted = _given_attributes(body).get("exportable")
    if wanted is not None and not isinstance(wanted, bool):
        raise errors.bad_parameter('The property "exportable" must be true or false.')
    return wanted


def _merged_attributes(before: Document, body: dict[str, Any]) -> dict[str, Any]:
    """Return enabled, nbf and exp after the body's `attributes`; what it does not name stays. Raises 400."""
    given = _given_attributes(body)
    merged = {"enabled": before.get("enabled", True), "nbf": before.get("nbf"), "exp": before.get("exp")}
    merged |= {name: given[name] for name in merged if given.get(name) is not None}
    if not isinstance(merged["enabled"], bool):
        raise errors.bad_parameter('The property "enabled" must be true or false.')
    for name in ("nbf", "exp"):
        value = merged[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise errors.bad_parameter(f'The property "{name}" must be a number of seconds since 1970.')
    if merged["nbf"] is not None and merged["exp"] is not None and merged["exp"] <= merged["nbf"]:
        raise errors.bad_parameter('The property "exp" must be later than "nbf".')
    return merged


def update_key(call: Call) -> Response:
    """Return the bundle after a PATCH. A policy changes only without a version in the URL, `exportable` never."""
    policy = given_policy(call.body)
    wanted = _exportable(call.body)
    with call.lock:
        named, version = call.keys.require(call.name, call.version)
        if wanted is not None and wanted is not named["exportable"]:
            raise errors.skr(1014)
        if policy is not None and call.version:
            raise errors.skr(1016)
        if policy is not None:
            named["release_policy"] = changed_policy(named["release_policy"], policy, in_hsm=call.vault.is_hsm)
        version |= _merged_attributes(version, call.body)
        if call.body.get("key_ops") is not None:
            version["key_ops"] = _key_ops(call, version["kty"], call.body["key_ops"])
        if call.body.get("tags") is not None:
            version["tags"] = _tags(call.body["tags"])
        version["updated"] = int(call.world.now().timestamp())
        call.keys.write(named, version)
    return JSONResponse(bundle.key_bundle(call, named, version))
