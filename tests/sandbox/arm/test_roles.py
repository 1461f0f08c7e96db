"""Azure roles: definitions and assignments by Azure's own client, and what a caller may do with each of them.

Ids, permissions and texts are those of Microsoft's documents, written out here and not taken from the code.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters

from skrkit.sandbox import applications
from skrkit.sandbox.entra import Principal
from skrkit.sandbox.roles.builtin import Role
from skrkit.sandbox.roles.definition import covers
from tests.sandbox.arm.test_arm_clients import VAULT, VM
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, Azure, error_of

SUB = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{SUB}/resourceGroups/rg"
VAULT_ID = f"{GROUP}/providers/Microsoft.KeyVault/vaults/vau"
VM_ID = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/cvm"
KEY_ID = f"{VAULT_ID}/keys/k"
API, VM_API, VAULT_API = "?api-version=2022-04-01", "?api-version=2026-04-01", "?api-version=2024-11-01"
NAME = "a1a1a1a1-0000-4000-8000-000000000001"
# Microsoft's table of built-in roles: name, id, one of its data actions or None where it has none.
KEYS = "Microsoft.KeyVault/vaults/keys"
TABLE = (
    ("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", None),
    ("Contributor", "b24988ac-6180-42a0-ab88-20f7382dd24c", None),
    ("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", None),
    ("User Access Administrator", "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", None),
    ("Role Based Access Control Administrator", "f58310d9-a9f6-439a-9e8d-f62e7b41a168", None),
    ("Virtual Machine Contributor", "9980e02c-c2be-4d73-94e8-173b1dc7cf3c", None),
    ("Managed Identity Operator", "f1a07417-d97a-45cb-824c-7a7467783830", None),
    ("Managed Identity Contributor", "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59", None),
    ("Key Vault Contributor", "f25e0fa2-a7c8-4377-a976-54943a77a395", None),
    ("Key Vault Data Access Administrator", "8b54135c-b56d-4d72-a534-26097cfdc8d8", None),
    ("Key Vault Purge Operator", "a68e7c17-0ab2-4c09-9a58-125dae29748c", None),
    ("Key Vault Administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483", "Microsoft.KeyVault/vaults/*"),
    ("Key Vault Crypto Officer", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603", f"{KEYS}/*"),
    ("Key Vault Crypto User", "12338af0-0e69-4776-bea7-57ae8d297424", f"{KEYS}/decrypt/action"),
    ("Key Vault Crypto Service Release User", "08bbd89e-9f13-488c-ac41-acfcb10c90ab", f"{KEYS}/release/action"),
    ("Key Vault Crypto Service Encryption User", "e147488a-f6f5-4113-8e2d-b22465e65bf6", f"{KEYS}/wrap/action"),
    ("Key Vault Reader", "21090545-7ca7-4776-b22c-e363652d74d2", "Microsoft.KeyVault/vaults/*/read"),
)
RELEASE = "08bbd89e-9f13-488c-ac41-acfcb10c90ab"


@pytest.fixture
def azure(azure: Azure) -> Azure:
    """A vault and a VM, and a principal that is in the directory and has no role."""
    assert azure.arm("PUT", VAULT_ID + VAULT_API, VAULT).status_code == 201
    assert azure.arm("PUT", VM_ID + VM_API, VM).status_code == 201
    document = {"oid": STRANGER.oid, "appid": STRANGER.appid, "name": "stranger", "secret_sha256": ""}
    azure.world.store.put(applications.APPLICATION_KIND, STRANGER.appid, document)
    return azure


def role_id(guid: str) -> str:
    return f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{guid}"


def assign(
    azure: Azure, role: str, scope: str, *, name: str = "", principal: Principal = STRANGER, by: Principal = OPERATOR
) -> Any:
    """Assign a role of the table by its name, or by an id, and return the answer."""
    guid = next((each[1] for each in TABLE if each[0] == role), role)
    properties = {"roleDefinitionId": role_id(guid), "principalId": principal.oid, "principalType": "ServicePrincipal"}
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name or uuid.uuid4()}{API}"
    return azure.arm("PUT", path, {"properties": properties}, principal=by)


def client(azure: Azure, principal: Principal = OPERATOR) -> AuthorizationManagementClient:
    return AuthorizationManagementClient(azure.credential(principal), SUBSCRIPTION, **azure.options())


# --- definitions


def test_a_pattern_of_many_stars_takes_no_longer_than_one() -> None:
    pattern = "*" * 40 + "/write"
    role = Role(guid="", name="", description="", actions=(pattern,))
    began = time.monotonic()
    assert not covers(role, "Microsoft.KeyVault/vaults/keys/versions/rotationpolicies/and/much/more/read")
    assert covers(role, "Microsoft.KeyVault/vaults/keys/write")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("name", "guid", "data_action"), TABLE, ids=[row[0] for row in TABLE])
def test_a_built_in_role_is_azures_own(azure: Azure, name: str, guid: str, data_action: str | None) -> None:
    (found,) = client(azure).role_definitions.list(VAULT_ID, filter=f"roleName eq '{name}'")
    assert (found.name, found.role_type) == (guid, "BuiltInRole")
    by_id = client(azure).role_definitions.get_by_id(str(found.id))
    assert by_id.role_name == name
    data = [action for permission in by_id.permissions or [] for action in permission.data_actions or []]
    assert data_action in data if data_action else not data


def test_the_release_role_has_one_data_action_and_no_action(azure: Azure) -> None:
    (permission,) = client(azure).role_definitions.get(SUB, RELEASE).permissions or []
    assert (permission.actions, permission.data_actions) == ([], [f"{KEYS}/release/action"])


def test_a_custom_role_is_made_assigned_kept_while_assigned_and_deleted(azure: Azure) -> None:
    guid = str(uuid.uuid4())
    properties = {
        "roleName": "Key namer",
        "assignableScopes": [GROUP],
        "permissions": [{"actions": ["Microsoft.KeyVault/vaults/keys/read"], "notActions": []}],
    }
    path = f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/"
    assert azure.arm("PUT", path + guid + API, {"properties": properties}).status_code == 201
    again = azure.arm("PUT", path + str(uuid.uuid4()) + API, {"properties": properties})
    assert error_of(again)[:2] == (409, "RoleDefinitionWithSameNameExists")
    assert [each.name for each in client(azure).role_definitions.list(SUB, filter="type eq 'CustomRole'")] == [guid]
    assert assign(azure, guid, GROUP, name=NAME).status_code == 201
    listed = azure.arm("GET", f"{VAULT_ID}/keys{VAULT_API}", principal=STRANGER)
    assert listed.status_code == 200
    assert error_of(azure.arm("GET", VAULT_ID + VAULT_API, principal=STRANGER))[1] == "AuthorizationFailed"
    assert error_of(azure.arm("DELETE", path + guid + API))[:2] == (400, "RoleDefinitionHasAssignments")
    client(azure).role_assignments.delete(GROUP, NAME)
    assert azure.arm("DELETE", path + guid + API).status_code == 200
    assert azure.arm("DELETE", path + guid + API).status_code == 204
    assert error_of(azure.arm("PUT", path + RELEASE + API, {"properties": properties}))[0] == 403


# --- assignments


def test_an_assignment_is_made_read_listed_and_deleted_by_the_sdk(azure: Azure) -> None:
    assignments = client(azure).role_assignments
    parameters = RoleAssignmentCreateParameters(
        role_definition_id=role_id(RELEASE), principal_id=STRANGER.oid, principal_type="ServicePrincipal"
    )
    made = assignments.create(KEY_ID, NAME, parameters)
    assert made.id == f"{KEY_ID}/providers/Microsoft.Authorization/roleAssignments/{NAME}"
    assert (made.scope, made.principal_id, made.role_definition_id) == (KEY_ID, STRANGER.oid, role_id(RELEASE))
    assert assignments.get_by_id(str(made.id)).name == NAME
    assert assignments.get(KEY_ID, NAME).created_by == OPERATOR.oid
    of_stranger = f"principalId eq '{STRANGER.oid}'"
    assert [each.name for each in assignments.list_for_scope(SUB, filter=of_stranger)] == [NAME]
    assert [each.name for each in assignments.list_for_scope(VAULT_ID, filter=f"{of_stranger} and atScope()")] == []
    assert [
        each.name for each in assignments.list_for_scope(KEY_ID, filter=f"atScope() and assignedTo('{STRANGER.oid}')")
    ] == [NAME]
    assert assignments.delete(KEY_ID, NAME).name == NAME
    assert assignments.delete(KEY_ID, NAME) is None
    gone = azure.arm("GET", f"{KEY_ID}/providers/Microsoft.Authorization/roleAssignments/{NAME}{API}")
    message = f"The role assignment '{NAME.replace('-', '')}' is not found."
    assert error_of(gone) == (404, "RoleAssignmentNotFound", "", message)


def test_the_operator_is_owner_of_the_subscription_by_an_assignment_that_can_be_seen(azure: Azure) -> None:
    (own,) = client(azure).role_assignments.list_for_subscription()
    owner = role_id("8e3af657-a8ff-443c-a75c-2fe8c4bcb635")
    assert (own.principal_id, own.scope, own.role_definition_id) == (OPERATOR.oid, SUB, owner)
    last = azure.arm("DELETE", f"{own.id}{API}")
    message = "The last RBAC admin assignment cannot be deleted."
    assert error_of(last) == (400, "CannotDeleteLastRbacAdminAssignment", "", message)


def test_the_operator_s_assignment_is_made_once(azure: Azure) -> None:
    from skrkit.sandbox.roles.assignment import ensure_owner, everywhere

    ensure_owner(azure.world)
    assert len(everywhere(azure.world)) == 1


NOBODY = Principal(oid="99999999-9999-4999-8999-999999999999", appid="x", tid=TENANT)
PRINCIPAL_NOT_FOUND = (
    f"Principal {NOBODY.oid.replace('-', '')} does not exist in the directory {TENANT}. Check that you have the "
    "correct principal ID. If you are creating this principal and then immediately assigning a role, this error might "
    "be related to a replication delay. In this case, set the role assignment principalType property to a value, such "
    "as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype"
)


def test_refusals_of_an_assignment(azure: Azure) -> None:
    assert assign(azure, RELEASE, KEY_ID, name=NAME).status_code == 201
    assert assign(azure, RELEASE, KEY_ID, name=NAME).status_code == 200
    exists = (409, "RoleAssignmentExists", "", "The role assignment already exists.")
    assert error_of(assign(azure, RELEASE, KEY_ID)) == exists
    assert error_of(assign(azure, "Reader", KEY_ID, name=NAME)) == (
        409,
        "RoleAssignmentUpdateNotPermitted",
        "",
        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
    )
    unknown = assign(azure, RELEASE, KEY_ID, principal=NOBODY)
    assert error_of(unknown) == (400, "PrincipalNotFound", "", PRINCIPAL_NOT_FOUND)
    none = str(uuid.uuid4())
    message = f"The specified role definition with ID '{none.replace('-', '')}' does not exist."
    assert error_of(assign(azure, none, KEY_ID)) == (400, "RoleDefinitionDoesNotExist", "", message)
    message = "The role assignment ID 'not-a-guid' is not valid. The role assignment ID must be a GUID."
    assert error_of(assign(azure, RELEASE, KEY_ID, name="not-a-guid")) == (400, "InvalidRoleAssignmentId", "", message)


@pytest.mark.parametrize(
    ("scope", "status", "code"),
    [
        (f"{SUB}/resourceGroups/none", 404, "ResourceGroupNotFound"),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults/none", 404, "ResourceNotFound"),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults/none/keys/k", 404, "ResourceNotFound"),
    ],
)
def test_a_scope_must_be_there(azure: Azure, scope: str, status: int, code: str) -> None:
    assert error_of(assign(azure, RELEASE, scope))[:2] == (status, code)


@pytest.mark.parametrize(
    "scope", ["", f"/subscriptions/{TENANT}", "/providers/Microsoft.Management/managementGroups/m"]
)
def test_a_scope_outside_of_the_subscription_is_nobodys(azure: Azure, scope: str) -> None:
    assert error_of(assign(azure, RELEASE, scope))[:2] == (403, "AuthorizationFailed")


def test_what_the_sandbox_does_not_evaluate_it_does_not_take(azure: Azure) -> None:
    properties = {
        "roleDefinitionId": role_id(RELEASE),
        "principalId": STRANGER.oid,
        "condition": "@Resource[a] StringEquals 'b'",
        "conditionVersion": "2.0",
    }
    path = f"{KEY_ID}/providers/Microsoft.Authorization/roleAssignments/{NAME}{API}"
    assert error_of(azure.arm("PUT", path, {"properties": properties}))[:2] == (501, "NotInSandbox")
    user = {"roleDefinitionId": role_id(RELEASE), "principalId": STRANGER.oid, "principalType": "User"}
    assert error_of(azure.arm("PUT", path, {"properties": user}))[1] == "UnmatchedPrincipalType"
    listed = azure.arm("GET", f"{SUB}/providers/Microsoft.Authorization/roleAssignments{API}&$filter=scope eq 'x'")
    assert error_of(listed)[:2] == (501, "NotInSandbox")


def test_nobody_is_denied_and_everybody_sees_what_is_theirs(azure: Azure) -> None:
    assert list(client(azure).deny_assignments.list()) == []
    (mine,) = client(azure).permissions.list_for_resource_group("rg")
    assert (mine.actions, mine.data_actions) == (["*"], [])
    path = f"{VM_ID}/providers/Microsoft.Authorization/permissions{API}"
    assert azure.arm("GET", path, principal=STRANGER).json() == {"value": []}
    assign(azure, "Virtual Machine Contributor", VM_ID)
    (permission,) = azure.arm("GET", path, principal=STRANGER).json()["value"]
    assert "Microsoft.Compute/virtualMachines/*" in permission["actions"]


# --- what each role may do in Resource Manager

IDENTITY: dict[str, Any] = {"identity": {"type": "SystemAssigned"}}
ADD = {
    "properties": {
        "accessPolicies": [{"tenantId": TENANT, "objectId": STRANGER.oid, "permissions": {"keys": ["release"]}}]
    }
}
DEEDS: dict[str, tuple[str, str, Any]] = {
    "read VM": ("GET", VM_ID + VM_API, None),
    "identity": ("PATCH", VM_ID + VM_API, IDENTITY),
    "read vault": ("GET", VAULT_ID + VAULT_API, None),
    "access policy": ("PUT", f"{VAULT_ID}/accessPolicies/add{VAULT_API}", ADD),
    "to roles": ("PATCH", VAULT_ID + VAULT_API, {"properties": {"enableRbacAuthorization": True}}),
    "delete vault": ("DELETE", VAULT_ID + VAULT_API, None),
}
MAY = {
    "Owner": {"read VM", "identity", "read vault", "access policy", "to roles", "delete vault"},
    "Contributor": {"read VM", "identity", "read vault", "access policy", "delete vault"},
    "Reader": {"read VM", "read vault"},
    "Virtual Machine Contributor": {"read VM", "identity"},
    "Key Vault Contributor": {"read vault", "access policy", "delete vault"},
    "Key Vault Administrator": {"read vault"},
    "Key Vault Crypto Officer": {"read vault"},
    "Key Vault Crypto Service Release User": set(),
    "User Access Administrator": {"read VM", "read vault"},
}


@pytest.mark.parametrize("role", MAY)
def test_what_a_role_may_do_and_nothing_else(azure: Azure, role: str) -> None:
    assert assign(azure, role, GROUP).status_code == 201
    for deed, (method, path, body) in DEEDS.items():
        answer = azure.arm(method, path, body, principal=STRANGER)
        assert (answer.status_code != 403) == (deed in MAY[role]), (role, deed, answer.text)
        assert answer.status_code in (200, 201, 403), answer.text


@pytest.mark.parametrize("scope", [SUB, GROUP, VM_ID])
def test_a_role_works_at_its_scope_and_below(azure: Azure, scope: str) -> None:
    assign(azure, "Virtual Machine Contributor", scope)
    assert azure.arm("PATCH", VM_ID + VM_API, IDENTITY, principal=STRANGER).status_code == 200
    assert (azure.arm("GET", GROUP + API, principal=STRANGER).status_code == 200) == (scope != VM_ID)


def test_a_scope_is_no_prefix_of_a_name(azure: Azure) -> None:
    azure.arm("PUT", f"{VM_ID}-2{VM_API}", VM)
    assign(azure, "Virtual Machine Contributor", VM_ID)
    answer = azure.arm("PATCH", f"{VM_ID}-2{VM_API}", IDENTITY, principal=STRANGER)
    message = (
        f"The client '{STRANGER.oid}' with object id '{STRANGER.oid}' does not have authorization to perform action "
        f"'Microsoft.Compute/virtualMachines/write' over scope '{VM_ID}-2' or the scope is invalid. If access was "
        "recently granted, please refresh your credentials."
    )
    assert error_of(answer) == (403, "AuthorizationFailed", "", message)


def test_what_another_may_not_see_lists_leave_out(azure: Azure) -> None:
    paths = ("/subscriptions", f"{SUB}/resourceGroups", f"{SUB}/resources")
    for path in paths:
        assert azure.arm("GET", path + API, principal=STRANGER).json() == {"value": []}
    assert error_of(azure.arm("GET", SUB + API, principal=STRANGER))[1] == "AuthorizationFailed"
    assign(azure, "Virtual Machine Contributor", VM_ID)
    shown = [azure.arm("GET", path + API, principal=STRANGER).json()["value"] for path in paths]
    assert [len(each) for each in shown] == [1, 1, 1]
    assert shown[2][0]["id"] == VM_ID


def test_a_linked_identity_needs_its_own_permission(azure: Azure) -> None:
    identity = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/user-1"
    made = azure.arm("PUT", f"{identity}?api-version=2024-11-30", {"location": "westeurope"})
    assert made.status_code in (200, 201), made.text
    assign(azure, "Virtual Machine Contributor", VM_ID)
    body = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    message = (
        f"The client '{STRANGER.oid}' with object id '{STRANGER.oid}' has permission to perform action "
        f"'Microsoft.Compute/virtualMachines/write' on scope '{VM_ID}'; however, it does not have permission to "
        "perform action(s) 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action' on the linked scope(s) "
        f"'{identity}' (respectively) or the linked scope(s) are invalid."
    )
    refused = azure.arm("PATCH", VM_ID + VM_API, body, principal=STRANGER)
    assert error_of(refused) == (403, "LinkedAuthorizationFailed", "", message)
    assign(azure, "Managed Identity Operator", identity)
    assert azure.arm("PATCH", VM_ID + VM_API, body, principal=STRANGER).status_code == 200


def test_who_may_assign(azure: Azure) -> None:
    assert error_of(assign(azure, RELEASE, VAULT_ID, by=STRANGER))[1] == "AuthorizationFailed"
    assign(azure, "Contributor", GROUP)
    assert error_of(assign(azure, RELEASE, VAULT_ID, by=STRANGER))[1] == "AuthorizationFailed"
    assign(azure, "Key Vault Data Access Administrator", GROUP)  # its condition leaves the release role out
    assert error_of(assign(azure, RELEASE, VAULT_ID, by=STRANGER))[1] == "AuthorizationFailed"
    assert error_of(assign(azure, "Owner", VAULT_ID, by=STRANGER))[1] == "AuthorizationFailed"
    assert assign(azure, "Key Vault Crypto User", VAULT_ID, by=STRANGER).status_code == 201
    assign(azure, "Role Based Access Control Administrator", VAULT_ID)
    assert assign(azure, RELEASE, VAULT_ID, by=STRANGER).status_code == 201
    assert error_of(assign(azure, RELEASE, GROUP, by=STRANGER))[1] == "AuthorizationFailed"


def test_assignments_end_with_their_resource_and_no_recovery_brings_them_back(azure: Azure) -> None:
    azure.arm("PATCH", VAULT_ID + VAULT_API, {"properties": {"enableRbacAuthorization": True}})
    assign(azure, RELEASE, KEY_ID)
    assign(azure, "Reader", VM_ID)
    of_stranger = f"principalId eq '{STRANGER.oid}'"
    assert azure.arm("DELETE", VAULT_ID + VAULT_API).status_code == 200
    properties: Any = VAULT["properties"]
    recovered = VAULT | {"properties": properties | {"createMode": "recover"}}
    assert azure.arm("PUT", VAULT_ID + VAULT_API, recovered).status_code == 200
    left = [each.scope for each in client(azure).role_assignments.list_for_subscription(filter=of_stranger)]
    assert left == [VM_ID]
    azure.arm("DELETE", VM_ID + VM_API)
    assert list(client(azure).role_assignments.list_for_subscription(filter=of_stranger)) == []


def test_the_sdk_raises_what_azure_says(azure: Azure) -> None:
    with pytest.raises(HttpResponseError) as caught:
        list(client(azure, STRANGER).role_assignments.list_for_subscription())
    assert caught.value.error is not None
    assert caught.value.error.code == "AuthorizationFailed"
    assert re.search(r"Microsoft\.Authorization/roleAssignments/read", str(caught.value))
