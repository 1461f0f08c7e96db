"""Rotation: a new version on request, or by the key's rotation policy when its time has come.

The policy belongs to the key's name and stands in its document, so that it goes with a deletion, a recovery and a
backup. A rotation that is due happens when somebody next asks for the key: the sandbox has no timers.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault import bundle, errors, material, throttle
from skrkit.sandbox.vault.call import Call

MEMBER = "rotation"  # of a name document: {"actions", "expiry", "created", "updated"}
MIN_TRIGGER, MIN_TRIGGER_IN_HSM, MIN_EXPIRY = timedelta(days=7), timedelta(days=28), timedelta(days=28)
DEFAULT_ACTIONS = ({"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}},)  # (inferred)
_DURATION = re.compile(r"P(?=\d)(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})D)?\Z")
_TRIGGERS, _TYPES = ("timeAfterCreate", "timeBeforeExpiry"), {"rotate": "Rotate", "notify": "Notify"}


# --- the policy


def get_rotation_policy(call: Call) -> Response:
    """Return the rotation policy; the default one for a key that was never given one."""
    return JSONResponse(_shown(call, call.keys.require_name(call.name)))


def set_rotation_policy(call: Call) -> Response:
    """Return the rotation policy after it took the place of the one before. No actions give the default ones."""
    given = checked(call.body, least=MIN_TRIGGER_IN_HSM if call.vault.is_hsm else MIN_TRIGGER)
    return JSONResponse(_shown(call, keep(call, given)))


def keep(call: Call, policy: Document) -> Document:
    """Return the name document of the key in the path, with this checked policy, written. Raises 404."""
    now = int(call.world.now().timestamp())
    with call.lock:
        named = call.keys.require_name(call.name)
        before = named.get(MEMBER) or {}
        named[MEMBER] = policy | {"created": before.get("created", now), "updated": now}
        call.keys.write(named)
    return named


def _shown(call: Call, named: Document) -> dict[str, Any]:
    policy = named.get(MEMBER) or {"actions": list(DEFAULT_ACTIONS)}
    members = {"expiryTime": policy.get("expiry"), "created": policy.get("created"), "updated": policy.get("updated")}
    return {
        "id": f"{bundle.key_id(call.vault, named['name'])}/rotationpolicy",
        "lifetimeActions": policy["actions"],
        "attributes": {name: value for name, value in members.items() if value is not None},
    }


def shown_by_arm(policy: Document) -> dict[str, Any]:
    """Return a policy as ARM shows it, which writes the types of actions in lower case."""
    actions = [each | {"action": {"type": each["action"]["type"].lower()}} for each in policy["actions"]]
    members = {"expiryTime": policy["expiry"], "created": policy["created"], "updated": policy["updated"]}
    attributes = {name: value for name, value in members.items() if value is not None}
    return {"attributes": attributes, "lifetimeActions": actions}


def checked(body: Any, *, least: timedelta = MIN_TRIGGER) -> Document:
    """Return a policy as the store keeps it, from a body of the data plane or of ARM. Raises 400; texts (inferred).

    A rotation is at least 7 days after creation or before expiry (28 in a Managed HSM), an expiry at least 28 days
    after creation.
    """
    if not isinstance(body, dict):
        raise errors.bad_parameter("The rotation policy must be an object.")
    attributes = body.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise errors.bad_parameter('The property "attributes" must be an object.')
    expiry = attributes.get("expiryTime")
    if expiry is not None and _least(expiry, "expiryTime") < MIN_EXPIRY:
        raise errors.bad_parameter(f"The property \"expiryTime\" has the value '{expiry}', less than 28 days.")
    given = body.get("lifetimeActions")
    if given is not None and not isinstance(given, list):
        raise errors.bad_parameter('The property "lifetimeActions" must be an array.')
    actions = [_action(each, expiry, least) for each in given or ()]
    types = [each["action"]["type"] for each in actions]
    if len(set(types)) != len(types):
        raise errors.bad_parameter('The property "lifetimeActions" has two actions of one type.')
    return {"actions": actions or list(DEFAULT_ACTIONS), "expiry": expiry}


def _action(given: Any, expiry: Any, least: timedelta) -> dict[str, Any]:
    members = given if isinstance(given, dict) else {}
    trigger, action = members.get("trigger"), members.get("action")
    kind = _TYPES.get(str(action.get("type")).lower()) if isinstance(action, dict) else None
    if kind is None or not isinstance(trigger, dict):
        raise errors.bad_parameter('Each of "lifetimeActions" must have a trigger and an action, Rotate or Notify.')
    when = [(name, trigger[name]) for name in _TRIGGERS if trigger.get(name) is not None]
    if len(when) != 1:
        raise errors.bad_parameter(f"A trigger must have one of {' and '.join(_TRIGGERS)}.")
    name, duration = when[0]
    if _least(duration, name) < least:
        raise errors.bad_parameter(f"The property \"{name}\" has the value '{duration}', less than {least.days} days.")
    if kind == "Notify" and name == "timeAfterCreate":
        raise errors.bad_parameter('The property "timeAfterCreate" applies to Rotate alone.')
    if kind == "Rotate" and name == "timeBeforeExpiry" and expiry is None:
        raise errors.bad_parameter('The property "timeBeforeExpiry" needs an "expiryTime".')
    return {"trigger": {name: duration}, "action": {"type": kind}}


# --- ISO 8601 durations of years, months and days


def _parts(text: Any, name: str) -> tuple[int, int]:
    """Return a duration as months and days. Raises 400."""
    found = _DURATION.match(text) if isinstance(text, str) else None
    if found is None:
        raise errors.bad_parameter(f"The property \"{name}\" has the value '{text}', not a duration such as P90D.")
    years, months, days = (int(part or 0) for part in found.groups())
    return 12 * years + months, days


def _least(text: Any, name: str) -> timedelta:
    """Return the shortest time that a duration can be."""
    months, days = _parts(text, name)
    return timedelta(days=28 * months + days)


def moved(at: int, duration: str, *, back: bool = False) -> int:
    """Return the Unix time a duration after `at`, or before it; the 31st of a month becomes the last of a shorter."""
    months, days = _parts(duration, "duration")
    start, sign = datetime.fromtimestamp(at, UTC), -1 if back else 1
    count = start.year * 12 + start.month - 1 + sign * months
    year, month = min(max(count // 12, 1), 9998), count % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int((start.replace(year=year, month=month, day=day) + timedelta(days=sign * days)).timestamp())


# --- rotation


def due_at(named: Document, version: Document) -> int | None:
    """Return when the policy rotates this current version, in Unix seconds; None if it does not."""
    policy = named.get(MEMBER)
    for each in policy["actions"] if policy else ():
        if each["action"]["type"] != "Rotate":
            continue
        if "timeAfterCreate" in each["trigger"]:
            return moved(version["created"], each["trigger"]["timeAfterCreate"])
        if version.get("exp") is not None:
            return moved(version["exp"], each["trigger"]["timeBeforeExpiry"], back=True)
    return None


def found(call: Call) -> tuple[Document, Document]:
    """Return name and version document of the key in the path, rotated first if its time has come. Raises 404."""
    named, version = call.keys.require(call.name, call.version)
    if named.get(MEMBER) is None:
        return named, version
    _, current = call.keys.require(call.name)
    if not _is_due(call, named, current):
        return named, version
    fresh = _fresh(current)
    with call.lock:
        named, current = call.keys.require(call.name)
        if _is_due(call, named, current):  # else somebody else was faster
            _rotate(call, named, current, fresh)
    return call.keys.require(call.name, call.version)


def _is_due(call: Call, named: Document, current: Document) -> bool:
    """Return whether the policy wants a new version by now. A disabled key stays as it is (inferred)."""
    due = due_at(named, current)
    return due is not None and bool(current["enabled"]) and call.world.now().timestamp() >= due


def rotate_key(call: Call) -> Response:
    """Return the bundle of a new version of the same type, size, operations and tags; the policy stays the name's."""
    _, before = call.keys.require(call.name)
    throttle.check(call, hsm=before["kty"].endswith("-HSM"))
    fresh = _fresh(before)  # outside the lock: RSA-4096 takes seconds
    with call.lock:
        named, before = call.keys.require(call.name)
        version = _rotate(call, named, before, fresh)
    return JSONResponse(bundle.key_bundle(call, named, version))


def _fresh(before: Document) -> material.Material:
    """Return a new key of the same type and size."""
    shape = {"crv": before["jwk"].get("crv"), "key_size": material.key_bits(before)}
    return material.generate(before["kty"], shape)


def _rotate(call: Call, named: Document, before: Document, fresh: material.Material) -> Document:
    """Return the new current version, written. It expires as the rotation policy says, or not at all."""
    now = int(call.world.now().timestamp())
    expiry = (named.get(MEMBER) or {}).get("expiry")
    version = before | {
        "version": chance.token_bytes("key/version", 16).hex(), "jwk": fresh.jwk, "pem": fresh.pem,
        "created": now, "updated": now,
        "enabled": True, "nbf": None, "exp": moved(now, expiry) if expiry else None,
    }  # fmt: skip
    named["current"] = version["version"]
    call.keys.write(named, version)
    return version
