"""A vault that goes by Azure roles: each operation with each role, scopes, delays, and the words of a refusal."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyReleasePolicy

from skrkit.sandbox import applications, settings
from skrkit.sandbox.entra import Principal
from skrkit.sandbox.faults.table import fault_named
from tests.sandbox.vault.attested import POLICY, claims, token
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, Azure, error_of

SUB = f"/subscriptions/{SUBSCRIPTION}"
VAULT_ID = f"{SUB}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/premium"
OFFICER = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603"
RELEASE = "08bbd89e-9f13-488c-ac41-acfcb10c90ab"
# Azure's table of data actions, and the roles of Microsoft's list that have each of them.
EVERY = frozenset({"administrator", "officer"})
OPERATIONS: dict[str, tuple[str, str, Any, frozenset[str]]] = {
    "keys/read": ("GET", "/keys/rsa", None, EVERY | {"user", "encryption", "reader"}),
    "keys/read ": ("GET", "/keys", None, EVERY | {"user", "encryption", "reader"}),
    "keys/create/action": ("POST", "/keys/new/create", {"kty": "EC"}, EVERY),
    "keys/update/action": ("PATCH", "/keys/rsa", {"tags": {}}, EVERY | {"user"}),
    "keys/encrypt/action": ("POST", "/keys/rsa/encrypt", {"alg": "RSA-OAEP-256", "value": "AA"}, EVERY | {"user"}),
    "keys/wrap/action": (
        "POST", "/keys/rsa/wrapkey", {"alg": "RSA-OAEP-256", "value": "AA"}, EVERY | {"user", "encryption"},
    ),
    "keys/sign/action": ("POST", "/keys/rsa/sign", {"alg": "RS256", "value": "A" * 43}, EVERY | {"user"}),
    "keys/backup/action": ("POST", "/keys/rsa/backup", None, EVERY | {"user"}),
    "keys/rotate/action": ("POST", "/keys/rsa/rotate", None, EVERY),
    "keys/release/action": ("POST", "/keys/skr/release", {"target": "x"}, EVERY | {"release"}),
    "keys/delete": ("DELETE", "/keys/gone", None, EVERY),
}  # fmt: skip
ROLES = {
    "administrator": "00482a5a-887f-4fb3-b363-3b7fe8e74483",
    "officer": OFFICER,
    "user": "12338af0-0e69-4776-bea7-57ae8d297424",
    "release": RELEASE,
    "encryption": "e147488a-f6f5-4113-8e2d-b22465e65bf6",
    "reader": "21090545-7ca7-4776-b22c-e363652d74d2",
    "owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",  # no data action: it may give itself a role, and has none
    "contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
}


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    """A vault with roles, whose operator is Crypto Officer, and three keys; the stranger has no role."""
    azure = Azure(tmp_path)
    azure.make_group()
    azure.make_vault(enableRbacAuthorization=True)
    document = {"oid": STRANGER.oid, "appid": STRANGER.appid, "name": "stranger", "secret_sha256": ""}
    azure.world.store.put(applications.APPLICATION_KIND, STRANGER.appid, document)
    assign(azure, OFFICER, VAULT_ID, principal=OPERATOR)
    keys = azure.keys()
    for name in ("rsa", "gone"):
        keys.create_rsa_key(name)
    keys.create_ec_key(
        "skr", hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(json.dumps(POLICY).encode())
    )
    yield azure
    azure.world.store.close()


def assign(azure: Azure, role: str, scope: str, *, principal: Principal = STRANGER) -> str:
    """Assign a role and return the assignment's id."""
    properties = {
        "roleDefinitionId": f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        "principalId": principal.oid,
    }
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
    answer = azure.arm("PUT", path, {"properties": properties})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def refused(resource: str, action: str) -> tuple[int, str, str, str]:
    """The refusal as Key Vault's documents and issues show it, trailing lines included."""
    caller = f"appid={STRANGER.appid};oid={STRANGER.oid};iss=https://sts.windows.net/{TENANT}/"
    message = (
        "Caller is not authorized to perform action on resource.\r\n"
        "If role assignments, deny assignments or role definitions were changed recently, please observe propagation "
        f"time.\r\nCaller: {caller}\r\nAction: 'Microsoft.KeyVault/vaults/{action}'\r\nResource: '{resource}'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"
        "Vault: premium;location=westeurope"
    )
    return 403, "Forbidden", "ForbiddenByRbac", message


@pytest.mark.parametrize("operation", OPERATIONS)
def test_deny_by_default_in_key_vaults_own_words(azure: Azure, operation: str) -> None:
    method, path, body, _ = OPERATIONS[operation]
    name = path.split("/")[2] if path.count("/") > 1 else ""
    resource = VAULT_ID + (f"/keys/{name}" if name else "")
    answer = azure.vault(method, path, body, principal=STRANGER)
    assert error_of(answer) == refused(resource, operation.strip())


@pytest.mark.parametrize("role", ROLES)
def test_each_role_does_what_its_data_actions_say(azure: Azure, role: str) -> None:
    assign(azure, ROLES[role], VAULT_ID)
    for operation, (method, path, body, holders) in OPERATIONS.items():
        answer = azure.vault(method, path, body, principal=STRANGER)
        inner = error_of(answer)[2] if answer.status_code >= 400 else ""
        assert (inner != "ForbiddenByRbac") == (role in holders), (operation, answer.text)


def test_a_release_with_the_release_role_at_the_key_and_nothing_else(azure: Azure) -> None:
    assign(azure, RELEASE, f"{VAULT_ID}/keys/skr")
    body = {"target": token(azure, claims(azure))}
    for path in ("/keys/skr/release", f"/keys/skr/{azure.keys().get_key('skr').properties.version}/release"):
        assert azure.vault("POST", path, body, principal=STRANGER).status_code == 200
    assert error_of(azure.vault("GET", "/keys/skr", principal=STRANGER)) == refused(f"{VAULT_ID}/keys/skr", "keys/read")
    other = azure.vault("POST", "/keys/rsa/release", body, principal=STRANGER)
    assert error_of(other) == refused(f"{VAULT_ID}/keys/rsa", "keys/release/action")


@pytest.mark.parametrize("scope", [SUB, f"{SUB}/resourceGroups/rg", VAULT_ID, f"{VAULT_ID}/keys/SKR"])
def test_every_scope_down_to_the_key(azure: Azure, scope: str) -> None:
    made = assign(azure, RELEASE, scope)
    body = {"target": token(azure, claims(azure))}
    assert azure.vault("POST", "/keys/skr/release", body, principal=STRANGER).status_code == 200
    assert azure.arm("DELETE", f"{made}?api-version=2022-04-01").status_code == 200
    assert azure.vault("POST", "/keys/skr/release", body, principal=STRANGER).status_code == 403


def test_a_key_s_scope_is_no_prefix_of_another_name(azure: Azure) -> None:
    assign(azure, RELEASE, f"{VAULT_ID}/keys/sk")
    answer = azure.vault("POST", "/keys/skr/release", {"target": "x"}, principal=STRANGER)
    assert error_of(answer)[2] == "ForbiddenByRbac"


def test_access_policies_count_for_nothing_there_and_roles_for_nothing_elsewhere(azure: Azure) -> None:
    policy = {"tenantId": TENANT, "objectId": STRANGER.oid, "permissions": {"keys": ["get"]}}
    grant = {"properties": {"accessPolicies": [policy]}}
    assert azure.arm("PUT", f"{VAULT_ID}/accessPolicies/add?api-version=2024-11-01", grant).status_code == 200
    assert error_of(azure.vault("GET", "/keys/rsa", principal=STRANGER))[2] == "ForbiddenByRbac"
    azure.arm("PATCH", f"{VAULT_ID}?api-version=2024-11-01", {"properties": {"enableRbacAuthorization": False}})
    assert azure.vault("GET", "/keys/rsa", principal=STRANGER).status_code == 200
    assign(azure, OFFICER, VAULT_ID)
    created = azure.vault("POST", "/keys/new/create", {"kty": "EC"}, principal=STRANGER)
    assert error_of(created)[2] == "AccessDenied"


def test_an_assignment_takes_as_long_as_is_said(azure: Azure) -> None:
    settings.switch(azure.world, settings.ROLE_DELAY, on=True)
    assert azure.vault("GET", "/keys/rsa").status_code == 403  # the officer's role, made just now
    azure.clock.time += timedelta(seconds=120)
    assert azure.vault("GET", "/keys/rsa").status_code == 200
    assign(azure, RELEASE, VAULT_ID)
    late = azure.vault("POST", "/keys/skr/release", {"target": "x"}, principal=STRANGER)
    assert error_of(late) == refused(f"{VAULT_ID}/keys/skr", "keys/release/action")
    azure.clock.time += timedelta(seconds=119)
    assert error_of(azure.vault("POST", "/keys/skr/release", {"target": "x"}, principal=STRANGER))[2] == (
        "ForbiddenByRbac"
    )
    azure.clock.time += timedelta(seconds=1)
    reached = azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure))}, principal=STRANGER)
    assert reached.status_code == 200


def test_the_owner_is_never_locked_out_by_a_delay(azure: Azure) -> None:
    settings.switch(azure.world, settings.ROLE_DELAY, on=True)
    assert azure.arm("GET", f"{VAULT_ID}?api-version=2024-11-01").status_code == 200


def test_a_grant_that_has_not_reached_the_vault(azure: Azure) -> None:
    identity = Principal(oid=STRANGER.oid, appid=STRANGER.appid, tid=TENANT, mirid=f"{SUB}/x")
    assign(azure, RELEASE, VAULT_ID)
    body = {"target": token(azure, claims(azure))}
    fault = fault_named("access.not-propagated")
    azure.world.faults.switch_on(azure.world, fault)
    answer = azure.vault("POST", "/keys/skr/release", body, principal=identity)
    assert error_of(answer) == refused(f"{VAULT_ID}/keys/skr", "keys/release/action")
    azure.world.faults.switch_off(azure.world, fault)
    assert azure.vault("POST", "/keys/skr/release", body, principal=identity).status_code == 200


def test_the_fault_of_the_mode_is_mended_by_a_role_and_stays_on(tmp_path: Path) -> None:
    azure = Azure(tmp_path)
    azure.make_group()
    azure.make_vault(permissions=["get", "create", "release"])
    azure.keys().create_ec_key(
        "skr", hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(json.dumps(POLICY).encode())
    )
    body = {"target": token(azure, claims(azure))}
    fault = fault_named("access.rbac-mode")
    azure.world.faults.switch_on(azure.world, fault)
    assert error_of(azure.vault("POST", "/keys/skr/release", body))[2] == "ForbiddenByRbac"
    assign(azure, RELEASE, VAULT_ID, principal=OPERATOR)
    assert azure.vault("POST", "/keys/skr/release", body).status_code == 200
    with pytest.raises(HttpResponseError):
        azure.keys().get_key("skr")
    said = azure.world.faults.switch_off(azure.world, fault)
    assert said == "Put back: enableRbacAuthorization of premium."
    azure.world.store.close()
