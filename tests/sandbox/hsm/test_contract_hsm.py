"""What a Managed HSM answers against the shapes that Microsoft publishes: resource, keys, roles, settings, jobs.

The shapes are those of Azure's own clients, whose models are generated from the OpenAPI documents.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.keyvault.administration._generated import models as administration
from azure.keyvault.keys._generated import models as keys
from azure.keyvault.securitydomain import models as domains
from azure.mgmt.keyvault import models as resources

from tests.sandbox.hsm.azure import HsmAzure
from tests.sandbox.published import differences, list_of
from tests.sandbox.vault.attested import POLICY, encoded
from tests.sandbox.vault.azure import OPERATOR, SUBSCRIPTION

KEYS = ("7.4", "7.5", "7.6", "2025-07-01")
ARM = "api-version=2026-05-15"
AUTHORIZATION = "/providers/Microsoft.Authorization"
ASSIGNMENT = "aaaaaaaa-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
KEYVAULT = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HsmAzure]:
    """One HSM with one of everything, one that is deleted, and one that is not active."""
    made = HsmAzure(_folder(tmp_path_factory))
    made.make_group()
    identity = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uai"
    assert made.arm("PUT", f"{identity}?api-version=2024-11-30", {"location": "westeurope"}).ok
    for name in ("pool", "resting", "gone"):
        assert made.make_hsm(name).status_code == 202
    given = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    assert made.arm("PATCH", f"{made.hsm_path()}?{ARM}", given).ok
    assert made.arm("DELETE", f"{made.hsm_path('gone')}?{ARM}").status_code == 202
    made.activate()
    for number, role in enumerate(("Crypto User", "Crypto Officer"), 1):
        assert made.grant(role, scope="/", guid=f"aaaaaaaa-0000-4000-8000-{number:012}").ok
    assert made.hsm("PATCH", "/settings/AllowKeyManagementOperationsThroughARM", {"value": "true"}).ok
    policy = {"contentType": "application/json; charset=utf-8", "data": encoded(POLICY)}
    asked = {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": policy, "tags": {"a": "b"}}
    assert made.hsm("POST", "/keys/rsa/create", asked).ok
    for name, kty in (("ec", "EC-HSM"), ("oct", "oct-HSM"), ("deleted", "EC-HSM")):
        assert made.hsm("POST", f"/keys/{name}/create", {"kty": kty}).ok
    actions = [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}]
    assert made.hsm("PUT", "/keys/ec/rotationpolicy", {"lifetimeActions": actions}).ok
    assert made.hsm("DELETE", "/keys/deleted").ok
    yield made
    made.world.store.close()


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("contract-hsm")


# --- Resource Manager

ONE: dict[str, tuple[str, type]] = {
    "an HSM": (f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/pool", resources.ManagedHsm),
    "an HSM that is not active": (f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/resting", resources.ManagedHsm),
    "a deleted HSM": (f"{KEYVAULT}/locations/westeurope/deletedManagedHSMs/gone", resources.DeletedManagedHsm),
    "a key": (f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/pool/keys/rsa", resources.ManagedHsmKey),
}
PAGES: dict[str, tuple[str, type]] = {
    "HSMs of the group": (f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs", resources.ManagedHsm),
    "HSMs": (f"{KEYVAULT}/managedHSMs", resources.ManagedHsm),
    "deleted HSMs": (f"{KEYVAULT}/deletedManagedHSMs", resources.DeletedManagedHsm),
    "regions": (
        f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/pool/regions",
        resources.MHSMGeoReplicatedRegion,
    ),
    "keys": (f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/pool/keys", resources.ManagedHsmKey),
    "versions": (
        f"{GROUP}/providers/Microsoft.KeyVault/managedHSMs/pool/keys/rsa/versions",
        resources.ManagedHsmKey,
    ),
}


@pytest.mark.parametrize("name", ONE)
def test_a_resource_has_the_published_shape(azure: HsmAzure, name: str) -> None:
    path, model = ONE[name]
    answer = azure.arm("GET", f"{path}?{ARM}")
    assert answer.status_code == 200, answer.text
    assert list(differences(model, answer.json())) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_resources_has_the_published_shape(azure: HsmAzure, name: str) -> None:
    path, model = PAGES[name]
    assert list(list_of(model, azure.arm("GET", f"{path}?{ARM}").json())) == []


def test_what_resource_manager_says_at_once_has_the_published_shape(azure: HsmAzure) -> None:
    made = azure.make_hsm("brand-new")
    assert list(differences(resources.ManagedHsm, made.json())) == []
    for name in ("pool", "free-name"):
        said = azure.arm("POST", f"{KEYVAULT}/checkMhsmNameAvailability?{ARM}", {"name": name}).json()
        assert list(differences(resources.CheckMhsmNameAvailabilityResult, said)) == []


# --- the data plane

BUNDLES: dict[str, tuple[str, type]] = {
    "a bundle with a policy": ("/keys/rsa", keys.KeyBundle),
    "an EC bundle": ("/keys/ec", keys.KeyBundle),
    "an oct bundle": ("/keys/oct", keys.KeyBundle),
    "a deleted bundle": ("/deletedkeys/deleted", keys.DeletedKeyBundle),
    "a rotation policy": ("/keys/ec/rotationpolicy", keys.KeyRotationPolicy),
}
LISTS: dict[str, tuple[str, type]] = {
    "keys": ("/keys", keys.KeyItem),
    "versions": ("/keys/rsa/versions", keys.KeyItem),
    "deleted keys": ("/deletedkeys", keys.DeletedKeyItem),
    "role definitions": (f"{AUTHORIZATION}/roleDefinitions", administration.RoleDefinition),
    "role assignments": (f"{AUTHORIZATION}/roleAssignments", administration.RoleAssignment),
}


@pytest.mark.parametrize("api", KEYS)
@pytest.mark.parametrize("name", BUNDLES)
def test_a_key_has_the_published_shape(azure: HsmAzure, name: str, api: str) -> None:
    path, model = BUNDLES[name]
    assert list(differences(model, azure.hsm("GET", path, api=api).json())) == []


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_the_published_shape(azure: HsmAzure, name: str) -> None:
    path, model = LISTS[name]
    assert list(list_of(model, azure.hsm("GET", path).json())) == []


def test_what_is_done_with_keys_has_the_published_shape(azure: HsmAzure) -> None:
    text = base64.urlsafe_b64encode(b"m" * 32).decode().rstrip("=")
    sealed = azure.hsm("POST", "/keys/rsa/encrypt", {"alg": "RSA-OAEP-256", "value": text})
    assert list(differences(keys.KeyOperationResult, sealed.json())) == []
    signed = azure.hsm("POST", "/keys/rsa/sign", {"alg": "RS256", "value": text}).json()
    assert list(differences(keys.KeyOperationResult, signed)) == []
    asked = {"alg": "RS256", "digest": text, "value": signed["value"]}
    assert list(differences(keys.KeyVerifyResult, azure.hsm("POST", "/keys/rsa/verify", asked).json())) == []
    backup = azure.hsm("POST", "/keys/rsa/backup").json()
    assert list(differences(keys.BackupKeyResult, backup)) == []
    assert list(differences(keys.RandomBytes, azure.hsm("POST", "/rng", {"count": 8}).json())) == []
    assert list(differences(keys.KeyBundle, azure.hsm("POST", "/keys/oct/rotate").json())) == []
    refused = azure.hsm("GET", "/keys/nothing").json()
    assert list(differences(keys.KeyVaultError, refused)) == []


def test_roles_have_the_published_shape(azure: HsmAzure) -> None:
    one = azure.hsm("GET", f"{AUTHORIZATION}/roleAssignments/{ASSIGNMENT}").json()
    assert list(differences(administration.RoleAssignment, one)) == []
    place = f"{AUTHORIZATION}/roleDefinitions/bbbbbbbb-0000-4000-8000-000000000001"
    permission = {"dataActions": ["Microsoft.KeyVault/managedHsm/keys/read/action"]}
    body = {"properties": {"roleName": "reads", "permissions": [permission], "assignableScopes": ["/"]}}
    for method, given in (("PUT", body), ("GET", None), ("DELETE", None)):
        assert list(differences(administration.RoleDefinition, azure.hsm(method, place, given).json())) == []
    refused = azure.hsm("GET", place)
    assert (refused.status_code, list(differences(administration.KeyVaultError, refused.json()))) == (404, [])


def test_settings_have_the_published_shape(azure: HsmAzure) -> None:
    found = azure.hsm("GET", "/settings").json()
    assert list(differences(administration.SettingsListResult, found)) == []
    assert found["settings"]
    place = "/settings/AllowKeyManagementOperationsThroughARM"
    for method, given in (("GET", None), ("PATCH", {"value": "true"})):
        assert list(differences(administration.Setting, azure.hsm(method, place, given).json())) == []


def known(job: dict[str, Any]) -> dict[str, Any]:
    """A job without what it does not know yet: null in recordings of Azure, for which the shape has no word."""
    return {name: value for name, value in job.items() if value is not None}


def test_jobs_have_the_published_shape(azure: HsmAzure) -> None:
    ends = azure.world.now() + timedelta(hours=1)
    token = f"se={ends:%Y-%m-%dT%H:%MZ}&sp=crdwl&sig=c2ln"
    where = {"storageResourceUri": "https://account1.blob.core.windows.net/backups", "token": token}
    folder = ""
    for method, path, body, model in (
        ("POST", "/backup", where, administration.FullBackupOperation),
        ("POST", "/prebackup", where, administration.FullBackupOperation),
        ("POST", "/backup", where | {"token": "none"}, administration.FullBackupOperation),
        ("PUT", "/prerestore", {"folderToRestore": "f"}, administration.RestoreOperation),
        ("PUT", "/restore", {"folderToRestore": "f"}, administration.RestoreOperation),
        ("PUT", "/keys/rsa/restore", {"folder": "f"}, administration.SelectiveKeyRestoreOperation),
    ):
        name = next((each for each in body if each.startswith("folder")), "")
        begun = azure.hsm(method, path, {name: folder, "sasTokenParameters": where} if name else body)
        assert begun.status_code == 202, begun.text
        assert list(differences(model, known(begun.json()))) == []
        pending = begun.headers["azure-asyncoperation"].partition(".net")[2]
        ended: dict[str, Any] = azure.hsm("GET", pending, api="").json()
        assert list(differences(model, known(ended))) == []
        assert ended["status"] == ("Failed" if body.get("token") == "none" else "Succeeded"), ended
        folder = folder or ended["azureStorageBlobContainerUri"].rpartition("/")[2]


def test_the_security_domain_has_the_published_shape(azure: HsmAzure) -> None:
    assert list(differences(domains.SecurityDomain, azure.activate())) == []
    said = azure.hsm("GET", "/securitydomain/download/pending").json()
    assert list(differences(domains.SecurityDomainOperationStatus, said)) == []
    found = azure.hsm("GET", "/securitydomain/upload").json()
    found["transfer_key"] = json.loads(found["transfer_key"])  # a text, against the published shape: the CLI reads one
    assert list(differences(domains.TransferKey, found)) == []


def test_words_are_those_that_are_published(azure: HsmAzure) -> None:
    """A published list of words lets others through, as more may come: here each is one of them."""
    for name in ("pool", "resting"):
        hsm = azure.arm("GET", f"{azure.hsm_path(name)}?{ARM}").json()
        said = hsm["properties"]
        for kind, word in (
            (resources.ProvisioningState, said["provisioningState"]),
            (resources.ActivationStatus, said["securityDomainProperties"]["activationStatus"]),
            (resources.PublicNetworkAccess, said["publicNetworkAccess"]),
            (resources.ManagedHsmSkuName, hsm["sku"]["name"]),
            (resources.ManagedHsmSkuFamily, hsm["sku"]["family"]),
        ):
            assert word in [each.value for each in kind]
    published = {each.value for each in administration.DataAction}
    published.add("Microsoft.KeyVault/managedHsm/keys/rotate/action")  # on Microsoft's page of the roles alone
    for role in azure.hsm("GET", f"{AUTHORIZATION}/roleDefinitions").json()["value"]:
        (permission,) = role["properties"]["permissions"]
        assert set(permission["dataActions"]) <= published, role["properties"]["roleName"]
        assert role["properties"]["type"] in [each.value for each in administration.RoleType]
        assert role["type"] in [each.value for each in administration.RoleDefinitionType]


def test_the_comparison_sees_what_differs(azure: HsmAzure) -> None:
    hsm = azure.arm("GET", f"{azure.hsm_path()}?{ARM}").json()
    for name, value in (("hsmUri", 7), ("securityDomainProperties", {"status": "Active"}), ("speed", 1)):
        assert list(differences(resources.ManagedHsm, hsm | {"properties": hsm["properties"] | {name: value}})) != []
    for job in ({"status": 7}, {"startTime": "now"}, {"jobId": 7}):
        assert list(differences(administration.RestoreOperation, job)) != []
    assert hsm["properties"]["initialAdminObjectIds"] == [OPERATOR.oid]
