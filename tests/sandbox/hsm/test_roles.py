from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.keyvault.administration import KeyVaultDataAction, KeyVaultPermission, KeyVaultRoleScope

from tests.sandbox.hsm.azure import ROLE, ROLES, HsmAzure
from tests.sandbox.vault.azure import OPERATOR, STRANGER, error_of

PREFIX = "Microsoft.KeyVault/managedHsm"
SCOPED = "/providers/Microsoft.Authorization/roleAssignments"
LETTERS = {
    "A": "Administrator", "O": "Crypto Officer", "U": "Crypto User", "P": "Policy Administrator",
    "E": "Crypto Service Encryption User", "B": "Backup", "D": "Crypto Auditor", "R": "Crypto Service Release User",
    "S": "Restore",
}  # fmt: skip

# A request for each data action of Microsoft's page on the built-in roles, and the letters of who may make it.
MATRIX = [
    ("POST", "/securitydomain/download", "/securitydomain/download/action", "/", "A"),
    ("POST", "/securitydomain/upload", "/securitydomain/upload/action", "/", "A"),
    ("GET", "/securitydomain/upload/pending", "/securitydomain/upload/read", "/", "A"),
    ("GET", "/securitydomain/upload", "/securitydomain/transferkey/read", "/", "A"),
    ("GET", "/keys/k", "/keys/read/action", "/keys/k", "UED"),
    ("GET", "/keys", "/keys/read/action", "/keys", "UED"),
    ("GET", "/keys/k/versions", "/keys/read/action", "/keys/k", "UED"),
    ("PATCH", "/keys/k", "/keys/write/action", "/keys/k", "U"),
    ("POST", "/keys/k/rotate", "/keys/rotate/action", "/keys/k", "U"),
    ("POST", "/keys/k/create", "/keys/create", "/keys/k", "U"),
    ("DELETE", "/keys/k", "/keys/delete", "/keys/k", "U"),
    ("PUT", "/keys/k", "/keys/import/action", "/keys/k", "U"),
    ("GET", "/deletedkeys/k", "/keys/deletedKeys/read/action", "/keys/k", "O"),
    ("GET", "/deletedkeys", "/keys/deletedKeys/read/action", "/keys", "O"),
    ("POST", "/deletedkeys/k/recover", "/keys/deletedKeys/recover/action", "/keys/k", "O"),
    ("DELETE", "/deletedkeys/k", "/keys/deletedKeys/delete", "/keys/k", "O"),
    ("POST", "/keys/k/backup", "/keys/backup/action", "/keys/k", "UB"),
    ("POST", "/keys/restore", "/keys/restore/action", "/keys", "US"),
    ("POST", "/keys/k/release", "/keys/release/action", "/keys/k", "UR"),
    ("POST", "/keys/k/0/release", "/keys/release/action", "/keys/k", "UR"),
    ("POST", "/keys/k/0/encrypt", "/keys/encrypt/action", "/keys/k", "U"),
    ("POST", "/keys/k/0/decrypt", "/keys/decrypt/action", "/keys/k", "U"),
    ("POST", "/keys/k/0/sign", "/keys/sign/action", "/keys/k", "U"),
    ("POST", "/keys/k/0/verify", "/keys/verify/action", "/keys/k", "U"),
    ("POST", "/keys/k/0/wrapkey", "/keys/wrap/action", "/keys/k", "UE"),
    ("POST", "/keys/k/0/unwrapkey", "/keys/unwrap/action", "/keys/k", "UE"),
    ("GET", "/providers/Microsoft.Authorization/roleDefinitions", "/roleDefinitions/read/action", "/", "AOPD"),
    ("GET", SCOPED, "/roleAssignments/read/action", "/", "AOPD"),
    ("PUT", SCOPED + "/x", "/roleAssignments/write/action", "/", "AOP"),
    ("DELETE", SCOPED + "/x", "/roleAssignments/delete/action", "/", "AOP"),
    ("PUT", "/providers/Microsoft.Authorization/roleDefinitions/x", "/roleDefinitions/write/action", "/", "AO"),
    ("DELETE", "/providers/Microsoft.Authorization/roleDefinitions/x", "/roleDefinitions/delete/action", "/", "AO"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "action", "scope", "letters"), MATRIX)
def test_each_role_may_what_the_page_says_and_nothing_else(
    azure: HsmAzure, method: str, path: str, action: str, scope: str, letters: str
) -> None:
    for number, (letter, role) in enumerate(LETTERS.items()):
        guid = f"bbbbbbbb-0000-4000-8000-{number:012}"
        assert azure.grant(role, scope="/", to=STRANGER, guid=guid).status_code == 201
        answer = azure.hsm(method, path, {}, principal=STRANGER)
        refused = f"Not authorized to access {PREFIX}{action} on {scope} (Activity ID: "
        message = answer.json().get("error", {}).get("message", "") if answer.content else ""
        assert message.startswith(refused) == (letter not in letters), (role, answer.status_code, answer.text)
        if letter not in letters:
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AccessDenied")
        assert azure.hsm("DELETE", f"{SCOPED}/{guid}").status_code == 200


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("/", True),
        ("/keys", True),
        ("/keys/mine", True),
        ("/keys/MINE", True),
        ("/keys/min", False),
        ("/keys/mine2", False),
    ],
)
def test_a_role_reaches_down_from_its_scope_and_never_up_or_aside(azure: HsmAzure, scope: str, may: bool) -> None:
    azure.hsm("POST", "/keys/mine/create", {"kty": "RSA-HSM"})
    azure.grant("Crypto Auditor", scope=scope, to=STRANGER, guid=str(uuid.uuid4()))
    assert (azure.hsm("GET", "/keys/mine", principal=STRANGER).status_code == 200) == may
    # To list takes the role at /keys: one for a key alone is not enough.
    assert (azure.hsm("GET", "/keys", principal=STRANGER).status_code == 200) == (scope in ("/", "/keys"))


def test_the_error_names_the_activity_of_the_request_id(azure: HsmAzure) -> None:
    answer = azure.hsm("POST", "/keys/release-me/release", {"target": "x"}, principal=STRANGER)
    words = "Not authorized to access Microsoft.KeyVault/managedHsm/keys/release/action on /keys/release-me"
    activity = answer.headers["x-ms-request-id"]
    assert error_of(answer) == (403, "AccessDenied", "", f"{words} (Activity ID: {activity})")


def test_azure_roles_give_no_access_to_the_data_plane(azure: HsmAzure) -> None:
    assert azure.arm("GET", f"{azure.hsm_path()}?api-version=2026-05-15").status_code == 200
    assert azure.hsm("GET", "/deletedkeys").status_code == 403  # the operator owns the subscription, and is no officer


def test_the_administration_sdk_lists_the_nine_roles_with_their_ids(azure: HsmAzure) -> None:
    found = {each.role_name: each for each in azure.roles().list_role_definitions(KeyVaultRoleScope.GLOBAL)}
    assert {name: each.name for name, each in found.items()} == {
        f"Managed HSM {name}": guid for name, guid in ROLES.items()
    }
    release = found["Managed HSM Crypto Service Release User"]
    assert release.id == ROLE + ROLES["Crypto Service Release User"]
    assert release.role_type == "AKVBuiltInRole"
    assert release.assignable_scopes == ["/"]
    permission = release.permissions[0]  # type: ignore[index]
    assert permission.data_actions == [KeyVaultDataAction.RELEASE_KEY]
    known = {action.value.lower() for action in KeyVaultDataAction}
    spoken = {action.lower() for each in found.values() for action in each.permissions[0].data_actions}  # type: ignore[index]
    assert spoken - known == {  # of the page, not of the SDK
        f"{PREFIX}/keys/rotate/action".lower(), f"{PREFIX}/keys/restore/action".lower()
    } - known  # fmt: skip


def test_the_administration_sdk_grants_shows_and_takes_away(azure: HsmAzure) -> None:
    client = azure.roles()
    made = client.create_role_assignment("/keys/k", ROLE + ROLES["Crypto Service Release User"], STRANGER.oid)
    assert made.properties is not None
    assert (made.properties.scope, made.properties.principal_id) == ("/keys/k", STRANGER.oid)
    name = str(made.name)
    assert client.get_role_assignment("/keys/k", name).role_assignment_id == made.role_assignment_id
    assert [each.name for each in client.list_role_assignments("/keys/k") if each.name == made.name] == [made.name]
    for scope in (KeyVaultRoleScope.GLOBAL, KeyVaultRoleScope.KEYS, "/keys/other"):
        assert made.name not in [each.name for each in client.list_role_assignments(scope)]
    with pytest.raises(ResourceExistsError, match="already exists"):
        client.create_role_assignment("/keys/k", ROLE + ROLES["Crypto Service Release User"], STRANGER.oid)
    client.delete_role_assignment("/keys/k", name)
    client.delete_role_assignment("/keys/k", name)  # the SDK takes 404 for done
    assert made.name not in [each.name for each in client.list_role_assignments("/keys/k")]


def test_the_first_administrator_is_an_assignment_like_any_other(azure: HsmAzure) -> None:
    found = azure.hsm("GET", SCOPED, headers=None).json()["value"]
    wanted = {"principalId": OPERATOR.oid, "roleDefinitionId": ROLE + ROLES["Administrator"], "scope": "/"}
    assert wanted in [each["properties"] for each in found]


def test_a_custom_role_is_made_assigned_and_kept_while_it_is(azure: HsmAzure) -> None:
    client = azure.roles()
    actions = [KeyVaultDataAction.READ_HSM_KEY, KeyVaultDataAction.RELEASE_KEY]
    permission = KeyVaultPermission(data_actions=actions, not_data_actions=[KeyVaultDataAction.RELEASE_KEY])
    role = client.set_role_definition("/", role_name="Reader", description="reads", permissions=[permission])
    assert role.role_type == "CustomRole"
    made = client.create_role_assignment("/keys", str(role.id), STRANGER.oid)
    azure.hsm("POST", "/keys/k/create", {"kty": "EC-HSM"})
    assert azure.hsm("GET", "/keys/k", principal=STRANGER).status_code == 200
    assert azure.hsm("POST", "/keys/k/release", {"target": "x"}, principal=STRANGER).status_code == 403
    with pytest.raises(HttpResponseError, match="existing role assignments"):
        client.delete_role_definition("/", str(role.name))
    client.delete_role_assignment("/keys", str(made.name))
    client.delete_role_definition("/", str(role.name))
    assert azure.hsm("GET", "/keys/k", principal=STRANGER).status_code == 403
    assert role.name not in [each.name for each in client.list_role_definitions("/")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", SCOPED + "/not-a-guid", {}, 400, "is not a GUID"),
        ("PUT", SCOPED + "/{guid}", {}, 400, "'properties' must be an object"),
        ("PUT", SCOPED + "/{guid}", {"properties": {}}, 400, "'roleDefinitionId' is not"),
        ("PUT", SCOPED + "/{guid}", {"properties": {"roleDefinitionId": ROLE + str(uuid.uuid4()),
                                                    "principalId": OPERATOR.oid}}, 404, "was not found"),
        ("PUT", SCOPED + "/{guid}", {"properties": {"roleDefinitionId": ROLE + ROLES["Backup"],
                                                    "principalId": "me"}}, 400, "'principalId' must be the GUID"),
        ("GET", SCOPED + "/{guid}", None, 404, "was not found"),
        ("PUT", "/providers/Microsoft.Authorization/roleDefinitions/" + ROLES["Backup"],
         {"properties": {}}, 400, "is built in"),
        ("DELETE", "/providers/Microsoft.Authorization/roleDefinitions/" + ROLES["Backup"], None, 400, "is built in"),
        ("PUT", "/keys/providers/Microsoft.Authorization/roleDefinitions/{guid}", {"properties": {}}, 400,
         "at the scope '/' alone"),
        ("PUT", "/providers/Microsoft.Authorization/roleDefinitions/{guid}",
         {"properties": {"permissions": [{"dataActions": [7]}]}}, 400, "a list of texts"),
        ("PUT", "/providers/Microsoft.Authorization/roleDefinitions/{guid}",
         {"properties": {"permissions": [{}, {}]}}, 400, "at most one permission"),
    ],
)  # fmt: skip
def test_what_makes_no_role_is_refused(
    azure: HsmAzure, method: str, path: str, body: Any, status: int, words: str
) -> None:
    answer = azure.hsm(method, path.replace("{guid}", "cccccccc-0000-4000-8000-000000000000"), body)
    assert answer.status_code == status
    assert words in error_of(answer)[3]


def test_a_filter_finds_a_principal_and_an_unknown_one_is_refused(azure: HsmAzure) -> None:
    azure.grant("Backup", scope="/", to=STRANGER, guid=str(uuid.uuid4()))

    def listed(expression: str) -> Any:
        return azure.hsm("GET", f"{SCOPED}?$filter={expression}")

    assert len(listed(f"principalId eq '{STRANGER.oid}'").json()["value"]) == 1
    assert len(listed("atScope()").json()["value"]) == 3
    assert error_of(listed("roleName eq 'x'"))[0] == 400
