"""What a deployment would change: each resource of the template held against what is there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from skrkit.sandbox.arm.templates.arguments import member
from skrkit.sandbox.arm.templates.carrying import Caller, nested, request_body
from skrkit.sandbox.arm.templates.parameters import MASK
from skrkit.sandbox.arm.templates.planning import Planned, is_nested
from skrkit.sandbox.arm.templates.preparing import Prepared
from skrkit.sandbox.arm.templates.refusals import ExpressionError, UnknownYet
from skrkit.sandbox.arm.templates.values import same
from skrkit.sandbox.web import AzureError

_PARAMETER = re.compile(r"parameters\('(\w+)'\)")
_CASELESS = frozenset(("id", "location", "tenantId", "objectId"))  # Azure compares these without their case (inferred)


class Unmade:
    """The resources of a plan in a prediction. `reference` is never resolved there, even for what is there already.

    So a member that comes from it is always said to change: documented with the what-if operation.
    """

    def reference(self, wanted: str, api_version: str, *, full: bool) -> Any:
        """Raise `UnknownYet`."""
        raise UnknownYet


def changes(prepared: Prepared, caller: Caller, *, ids_only: bool) -> list[dict[str, Any]]:
    """Return the changes, those of nested templates among them, and what is in the group and not in the template.

    Mode Incremental leaves that as it is (Ignore), Complete deletes it.
    """
    found = _planned_changes(prepared, caller, ids_only=ids_only)
    if prepared.place.group is not None:
        named = {str(change["resourceId"]).lower() for change in found}
        listed = json.loads(bytes(caller.send("GET", f"{prepared.place.base}/resources", "2025-04-01").body))
        kind = "Delete" if prepared.mode == "Complete" else "Ignore"
        found += [
            {"resourceId": body["id"], "changeType": kind, "before": body}
            for body in listed["value"]
            if str(body["id"]).lower() not in named
        ]
    return sorted(found, key=lambda change: str(change["resourceId"]).lower())


def _planned_changes(prepared: Prepared, caller: Caller, *, ids_only: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for planned in prepared.resources:
        if not planned.wanted or planned.existing:
            continue
        scope = replace(planned.scope, resources=Unmade(), lenient=True)
        try:
            if has_no_name_yet(planned):
                found.append(_unidentified(planned))
            elif is_nested(planned.source):
                ready = nested(planned, scope, caller.clock(), prepared.depth + 1, masked=True)
                found += _planned_changes(ready, caller, ids_only=ids_only)
            else:
                found.append(_change(planned, request_body(planned, scope), caller, ids_only=ids_only))
        except (ExpressionError, UnknownYet, AzureError) as error:
            reason = str(error) or "what it depends on is not there yet"
            found.append({"resourceId": planned.id, "changeType": "Unsupported", "unsupportedReason": reason})
    return found


def has_no_name_yet(planned: Planned) -> bool:
    """Return whether the resource's name comes from a parameter that only the deployment itself gives a value."""
    named = _PARAMETER.findall(str(planned.source.get("name", "")))
    parameters = dict(planned.scope.parameters)
    values = [member(parameters, name)[1] for name in named]
    return any(isinstance(value, str) and value.startswith("[") and value.endswith("]") for value in values)


def _unidentified(planned: Planned) -> dict[str, Any]:
    """Return a change of a resource whose id is not known; its words are general knowledge, of no recording."""
    reason = (
        f"Changes to the resource '{planned.source['name']}' cannot be analyzed because its resource ID or API version "
        "cannot be calculated until the deployment is under way. Please see "
        "https://aka.ms/WhatIfUnidentifiableResource for help."
    )
    unknown = f"{planned.id.rpartition('/')[0]}/{planned.source['name']}"
    return {"resourceId": unknown, "changeType": "Unsupported", "unsupportedReason": reason}


def _change(planned: Planned, body: dict[str, Any], caller: Caller, *, ids_only: bool) -> dict[str, Any]:
    if ids_only:
        return {"resourceId": planned.id, "changeType": "Deploy"}
    after = {
        "apiVersion": planned.api_version,
        "id": planned.id,
        "type": planned.type,
        "name": planned.name.rpartition("/")[2],
        **body,
    }
    if "/resourcegroups/" in planned.id.lower():
        after["resourceGroup"] = planned.id.split("/")[4]
    try:
        before = caller.read(planned.id, planned.api_version)
    except AzureError as error:
        if error.status in (403, 501):
            raise
        return {"resourceId": planned.id, "changeType": "Create", "after": after}
    delta = differences(before, body)
    kind = "Modify" if delta else "NoChange"
    return {"resourceId": planned.id, "changeType": kind, "before": before, "after": after, "delta": delta}


def differences(before: dict[str, Any], after: dict[str, Any], path: str = "") -> list[dict[str, Any]]:
    """Return what the template's members would change. What it does not mention stays, as a provider's defaults do.

    A secret is left out, since nobody is told what it was.
    """
    found: list[dict[str, Any]] = []
    for name, wanted in after.items():
        here = f"{path}.{name}" if path else name
        named, there = member(before, name)
        if wanted == MASK:
            continue
        if isinstance(wanted, dict) and isinstance(there, dict):
            found += differences(there, wanted, here)
        elif not named or there is None:
            if wanted not in (None, {}, []):
                found.append({"path": here, "propertyChangeType": "Create", "after": wanted})
        elif isinstance(wanted, list) and isinstance(there, list):
            found += _array_difference(there, wanted, here)
        elif not _equal(name, there, wanted):
            found.append({"path": here, "propertyChangeType": "Modify", "before": there, "after": wanted})
    return found


def _array_difference(before: list[Any], after: list[Any], path: str) -> list[dict[str, Any]]:
    children: list[dict[str, Any]] = []
    for at, wanted in enumerate(after):
        if at >= len(before):
            children.append({"path": str(at), "propertyChangeType": "Create", "after": wanted})
        elif isinstance(wanted, dict) and isinstance(before[at], dict):
            inner = differences(before[at], wanted)
            if inner:
                children.append({"path": str(at), "propertyChangeType": "Modify", "children": inner})
        elif not _equal("", before[at], wanted):
            children.append({"path": str(at), "propertyChangeType": "Modify", "before": before[at], "after": wanted})
    children += [
        {"path": str(at), "propertyChangeType": "Delete", "before": before[at]} for at in range(len(after), len(before))
    ]
    return [{"path": path, "propertyChangeType": "Array", "children": children}] if children else []


def _equal(name: str, before: Any, after: Any) -> bool:
    if isinstance(before, bool) and isinstance(after, str):  # providers take the text of a boolean for it
        return after.lower() == str(before).lower()
    if name in _CASELESS and isinstance(before, str) and isinstance(after, str):
        left, right = before.lower(), after.lower()
        return left == right or (name == "location" and left.replace(" ", "") == right.replace(" ", ""))
    return same(before, after)
