"""Assigning Azure roles and taking them away again: step 2 for a vault that goes by roles."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from skrkit.errors import ServiceError
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skrkit.cloud import Cloud
    from skrkit.wire import Json

RELEASE_ROLE = "Key Vault Crypto Service Release User"
OFFICER_ROLE = "Key Vault Crypto Officer"
RELEASE_ACTION = "Microsoft.KeyVault/vaults/keys/release/action"
# A fresh identity is not in every replica of Entra ID at once: seconds to wait before each further attempt.
REPLICATION_WAITS_S = (2, 4, 8, 16)


def assign(cloud: Cloud, role: str, scopes: Iterable[str], object_id: str) -> list[dict[str, Json]]:
    """Return the assignments of a built-in role to a principal at these scopes, made where they were not there.

    Their names follow from scope, principal and role: to assign twice changes nothing. The caller needs
    Microsoft.Authorization/roleAssignments/write. Raises `ServiceError` when Resource Manager refuses.
    """
    from skrkit.services import arm

    made = []
    with azure_call(f"role {role}"), arm.role_assignments(cloud) as client:
        for scope in scopes:
            made.append(_assigned(client, _role_id(client, role, scope), scope, object_id, role))
    return made


def unassign(cloud: Cloud, role: str, scopes: Iterable[str], object_id: str) -> list[str]:
    """Return the ids of the assignments of a role to a principal that were taken away at exactly these scopes."""
    from skrkit.services import arm

    removed = []
    with azure_call(f"role {role}"), arm.role_assignments(cloud) as client:
        for scope in scopes:
            role_id = _role_id(client, role, scope)
            for found in client.role_assignments.list_for_scope(scope, filter=f"principalId eq '{object_id}'"):
                if _is(found, role_id, scope):
                    client.role_assignments.delete_by_id(str(found.id))
                    removed.append(str(found.id))
    return removed


def _is(found: Any, role_id: str, scope: str) -> bool:
    same_role = str(found.role_definition_id).rpartition("/")[2].lower() == role_id.rpartition("/")[2].lower()
    return same_role and str(found.scope).lower() == scope.lower()


def command(role: str, scope: str, object_id: str, *, person: bool = False) -> str:
    """Return the command that assigns a role, for who may assign it. `person` where the principal is no program."""
    kind = "User" if person else "ServicePrincipal"
    return (
        f'az role assignment create --role "{role}" --assignee-object-id {object_id} '
        f"--assignee-principal-type {kind} --scope {scope}"
    )


def _role_id(client: Any, role: str, scope: str) -> str:
    for found in client.role_definitions.list(scope, filter=f"roleName eq '{role}'"):
        return str(found.id)
    raise ServiceError(
        what=f"role {role}",
        where=f"{scope}/providers/Microsoft.Authorization/roleDefinitions",
        expected="a built-in role of this name",
        found="none",
        fix=f'az role definition list --name "{role}"   shows whether this cloud has it',
    )


def _assigned(client: Any, role_id: str, scope: str, object_id: str, role: str) -> dict[str, Json]:
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters

    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{object_id}|{role}".lower()))
    body = RoleAssignmentCreateParameters(
        role_definition_id=role_id, principal_id=object_id, principal_type="ServicePrincipal"
    )
    for wait in (*REPLICATION_WAITS_S, None):
        try:
            found = client.role_assignments.create(scope, name, body)
            return _shown(found, role)
        except HttpResponseError as error:
            code = error.error.code if error.error else ""
            if code == "RoleAssignmentExists":  # by another name: somebody assigned it before
                return {"role": role, "scope": scope, "principalId": object_id, "already": True}
            if code == "AuthorizationFailed":
                raise _not_allowed(error, role, scope, object_id) from error
            if code != "PrincipalNotFound" or wait is None:
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _shown(found: Any, role: str) -> dict[str, Json]:
    return {
        "id": str(found.id),
        "role": role,
        "roleDefinitionId": str(found.role_definition_id),
        "principalId": str(found.principal_id),
        "principalType": str(found.principal_type),
        "scope": str(found.scope),
    }


def _not_allowed(error: Any, role: str, scope: str, object_id: str) -> ServiceError:
    from skrkit.services.azure_errors import request_line, response_facts

    status, code, message = response_facts(error)
    return ServiceError(
        what=f"assignment of {role}",
        where=request_line(error),
        expected="success",
        found=f"HTTP {status} {code}: {message}",
        fix=f"{command(role, scope, object_id)}   run by an Owner or a User Access Administrator of the vault",
        status=status,
        code=code,
        source="Azure: role-based access control, steps to assign a role",
    )
