"""Managed HSM's local roles, through its own SDK: not Azure roles, and asked for by its data plane alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from skrkit.errors import UsageError
from skrkit.services.azure_errors import azure_call
from skrkit.services.roles import HeldRole, Permission

if TYPE_CHECKING:
    from azure.keyvault.administration import KeyVaultAccessControlClient, KeyVaultRoleDefinition

    from skrkit.cloud import Cloud
    from skrkit.wire import Json

RELEASE_ROLE = "Managed HSM Crypto Service Release User"
CRYPTO_USER_ROLE = "Managed HSM Crypto User"
RELEASE_ACTION = "Microsoft.KeyVault/managedHsm/keys/release/action"


def local_roles(cloud: Cloud, hsm_url: str, transport: Any = None) -> KeyVaultAccessControlClient:
    """Return the SDK's client for the roles of one Managed HSM, as the identity of this side of the cloud."""
    from azure.keyvault.administration import KeyVaultAccessControlClient

    return KeyVaultAccessControlClient(hsm_url, cloud.credential(transport), **cloud.client_options(transport))


def _role(client: KeyVaultAccessControlClient, name: str) -> KeyVaultRoleDefinition:
    for role in client.list_role_definitions("/"):
        if role.role_name == name:
            return role
    raise UsageError(
        what="role of the Managed HSM",
        where="its role definitions",
        expected=name,
        found="no role of that name",
        fix="az keyvault role definition list --hsm-name HSM",
    )


def assign(client: KeyVaultAccessControlClient, role: str, scope: str, object_id: str) -> dict[str, Json]:
    """Return the assignment of a role at "/", "/keys" or "/keys/<name>", made where it was not there.

    Its name follows from scope, principal and role: to assign twice changes nothing.
    Raises `ServiceError` when the HSM refuses, `UsageError` for a role that it does not have.
    """
    with azure_call(f"local role {role}"):
        definition = _role(client, role)
        for found in client.list_role_assignments(scope):
            if _is(found, definition, scope, object_id):
                return _assignment(found, role)
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{object_id}|{role}".lower())
        made = client.create_role_assignment(scope, str(definition.id), object_id, name=name)
    return _assignment(made, role)


def unassign(client: KeyVaultAccessControlClient, role: str, scope: str, object_id: str) -> list[str]:
    """Return the ids of the assignments of a role to a principal that were taken away at exactly this scope."""
    removed = []
    with azure_call(f"local role {role}"):
        definition = _role(client, role)
        for found in list(client.list_role_assignments(scope)):
            if _is(found, definition, scope, object_id):
                client.delete_role_assignment(scope, str(found.name))
                removed.append(str(found.role_assignment_id))
    return removed


def _is(found: Any, definition: KeyVaultRoleDefinition, scope: str, object_id: str) -> bool:
    properties = found.properties
    role = str(properties.role_definition_id).rpartition("/")[2].lower()
    same_scope = _text(properties.scope).lower() == scope.lower()
    return same_scope and role == str(definition.name).lower() and properties.principal_id.lower() == object_id.lower()


def _text(value: Any) -> str:
    """Return a value that the SDK gives as a text, or where it knows it as a member of an enumeration."""
    return str(getattr(value, "value", value))


def _assignment(found: Any, role: str) -> dict[str, Json]:
    return {
        "id": str(found.role_assignment_id),
        "role": role,
        "scope": _text(found.properties.scope),
        "principal_id": str(found.properties.principal_id),
    }


def held_roles(client: KeyVaultAccessControlClient, key: str, object_id: str) -> tuple[HeldRole, ...]:
    """Return the local roles that a principal holds at a key, at all keys, or at the whole HSM.

    Without a name of a key, those at all keys and at the HSM. Each scope is asked for by itself: what a list shows of
    the scopes around it is not the same everywhere.
    """
    with azure_call("local roles"):
        definitions = {str(each.name).lower(): each for each in client.list_role_definitions("/")}
        found = {
            str(each.role_assignment_id): each
            for scope in ("/", "/keys", *([f"/keys/{key}"] if key else []))
            for each in client.list_role_assignments(scope)
        }
    return tuple(
        _held(each, definitions)
        for each in found.values()
        if each.properties is not None and str(each.properties.principal_id).lower() == object_id.lower()
    )


def _held(found: Any, definitions: dict[str, KeyVaultRoleDefinition]) -> HeldRole:
    guid = str(found.properties.role_definition_id).rpartition("/")[2].lower()
    definition = definitions.get(guid)
    permissions = (definition.permissions or []) if definition else []
    return HeldRole(
        role=str(definition.role_name) if definition else guid,
        scope=_text(found.properties.scope),
        assignment_id=str(found.role_assignment_id),
        permissions=tuple(
            Permission(
                data_actions=tuple(_text(action) for action in each.data_actions or ()),
                not_data_actions=tuple(_text(action) for action in each.not_data_actions or ()),
            )
            for each in permissions
        ),
    )
