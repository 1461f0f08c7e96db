"""What `validate` asks the providers: each body of a template is shown to who would make the resource, and undone.

Rehearsed are the types whose making is no more than writing into the store: all of it is rolled back. Of a VM the body
alone is looked at. What has a value that only the deployment gives is not shown, as in Azure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from skrkit.sandbox import chance
from skrkit.sandbox.arm import machines
from skrkit.sandbox.arm.call import VAULT_TYPE, VM_TYPE, arm_lock
from skrkit.sandbox.arm.disks import DISK_TYPE
from skrkit.sandbox.arm.networks import ADDRESS_TYPE, INTERFACE_TYPE, NETWORK_TYPE, RULE_TYPE, SECURITY_GROUP_TYPE
from skrkit.sandbox.arm.templates import refusals
from skrkit.sandbox.arm.templates.carrying import Caller, error_of, nested, request_body
from skrkit.sandbox.arm.templates.planning import Planned, is_nested
from skrkit.sandbox.arm.templates.preparing import Prepared
from skrkit.sandbox.arm.templates.refusals import ExpressionError, UnknownYet
from skrkit.sandbox.arm.templates.whatif import Unmade, has_no_name_yet
from skrkit.sandbox.web import AzureError

REHEARSED = frozenset(
    kind.lower()
    for kind in (
        VAULT_TYPE, f"{VAULT_TYPE}/accessPolicies", SECURITY_GROUP_TYPE, RULE_TYPE, NETWORK_TYPE,
        f"{NETWORK_TYPE}/subnets", ADDRESS_TYPE, INTERFACE_TYPE, DISK_TYPE,
    )
)  # fmt: skip
# What is not there may be made by the deployment itself.
_NOT_THERE_YET = ("ResourceGroupNotFound", "ResourceNotFound", "InvalidResourceReference", "NotFound")
_OF_A_VM = ("hardwareProfile", "securityProfile", "storageProfile", "osProfile")  # what is looked at in its body


class _RehearsedError(Exception):
    """The end of a rehearsal, at which everything is undone."""


def check_bodies(prepared: Prepared, caller: Caller) -> None:
    """Return nothing for bodies that their providers take. Raises `AzureError` 400 with all that they say."""
    found: list[AzureError] = []
    with arm_lock(caller.world):  # before the store, as in every handler
        try:
            with caller.world.store.transaction():
                found += _refusals(prepared, caller)
                raise _RehearsedError
        except _RehearsedError:
            pass
    if found:
        raise refusals.not_valid(prepared.name, chance.uuid4("arm/deployment-tracking"), [*map(error_of, found)])


def _refusals(prepared: Prepared, caller: Caller) -> Iterator[AzureError]:
    for planned in prepared.resources:
        if not planned.wanted or planned.existing or has_no_name_yet(planned):
            continue
        scope = replace(planned.scope, resources=Unmade(), lenient=True)
        try:
            if is_nested(planned.source):
                yield from _refusals(nested(planned, scope, caller.clock(), prepared.depth + 1), caller)
            else:
                _shown(planned, request_body(planned, scope), caller)
        except (ExpressionError, UnknownYet):  # a part of it comes with the deployment
            continue
        except AzureError as error:
            if error.status == 501:  # the sandbox's own word, and no provider's
                raise
            if error.code not in _NOT_THERE_YET:
                yield error


def _shown(planned: Planned, body: dict[str, Any], caller: Caller) -> None:
    kind = planned.type.lower()
    if kind == VM_TYPE.lower():
        properties = body.get("properties")
        known = properties if isinstance(properties, dict) else {}
        if not _open({name: known.get(name) for name in _OF_A_VM} | {"location": body.get("location")}):
            caller.look("PUT", planned.id, planned.api_version, body, machines.check_vm)
    elif kind in REHEARSED and not _open(body):
        caller.send("PUT", planned.id, planned.api_version, body)


def _open(value: Any) -> bool:
    """Return whether there is a text in it that is an expression still."""
    if isinstance(value, dict):
        return any(_open(item) for item in value.values())
    if isinstance(value, list):
        return any(_open(item) for item in value)
    return isinstance(value, str) and value.startswith("[") and value.endswith("]")
