"""What a change of a key takes of who makes it: key permissions, Azure roles, or local roles of a Managed HSM."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from skrkit.errors import ServiceError
from skrkit.provision import roles

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.preflight import Asking
    from skrkit.provision.rights import Right
    from skrkit.provision.stage import Stage

Change: TypeAlias = Literal["new-version", "policy", "import"]
"""A new version of the key, another release policy for it, or an own key in its name."""

# Key permissions of an access policy, each with what for.
PERMISSIONS: Mapping[Change, Mapping[str, str]] = MappingProxyType(
    {
        "new-version": {"get": "to see the version that there is", "rotate": "to make the next one"},
        "policy": {"get": "to see the policy that there is", "update": "to put another in its place"},
        "import": {"import": "to bring the key in"},
    }
)
_ROLE_ACTIONS = {"get": "keys/read", "rotate": "keys/rotate/action", "update": "keys/update/action",
                 "import": "keys/import/action"}  # fmt: skip
_LOCAL_ACTIONS = _ROLE_ACTIONS | {"get": "keys/read/action", "update": "keys/write/action"}
_VAULT, _HSM = "Microsoft.KeyVault/vaults", "Microsoft.KeyVault/managedHsm"


def check(cloud: Cloud, stage: Stage, change: Change) -> tuple[Right, ...]:
    """Return the rights of the caller that the change takes; the vault or Managed HSM itself is not asked to do it.

    Raises `ServiceError` for the first that is missing, with the command that grants it, and for a vault or Managed HSM
    that is not there. One that could not be read is not checked, and its rights say so.
    """
    from skrkit.services.reader import Reader

    with Reader(cloud) as reader:
        found = tuple(_rights(cloud, stage, reader, change))
    for right in found:
        if right.verdict == "failed":
            raise ServiceError(
                what=f"key {stage.key}",
                where=right.scope,
                expected=f"the permission `{right.action}`, {right.why}",
                found=right.found,
                fix=right.command,
                status=HTTPStatus.FORBIDDEN,
                code="Forbidden",
            )
    return found


def _rights(cloud: Cloud, stage: Stage, reader: Any, change: Change) -> list[Right]:
    from skrkit.provision.preflight import Asking
    from skrkit.provision.rights import unread

    asking = Asking.without_machine(reader, stage)
    needed = PERMISSIONS[change].items()
    if not asking.vault:
        holder = stage.holder
        return [unread(3, "you", f"keys {name}", asking.vault_id, why, holder) for name, why in needed]
    if stage.hsm:
        from skrkit.provision.preflight_hsm import LocalRoles

        pool = LocalRoles(asking=asking)
        return [pool.for_keys(f"{_HSM}/{_LOCAL_ACTIONS[name]}", why) for name, why in needed]
    return [_of_vault(asking, name, why) for name, why in needed]


def _of_vault(asking: Asking, permission: str, why: str) -> Right:
    if not asking.by_roles:
        return asking.by_policy(3, "you", asking.caller, permission, why=why)
    action = f"{_VAULT}/{_ROLE_ACTIONS[permission]}"
    return asking.yours(3, action, asking.vault_id, why=why, role=roles.OFFICER_ROLE, data=True)
