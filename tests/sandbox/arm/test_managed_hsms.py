from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.keyvault.models import CheckMhsmNameAvailabilityParameters, ManagedHsm

from tests.sandbox.hsm.azure import HsmAzure
from tests.sandbox.vault.attested import POLICY, encoded
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, error_of

API = "api-version=2026-05-15"
DELETED = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/westeurope/deletedManagedHSMs"


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[HsmAzure]:
    made = HsmAzure(tmp_path)
    made.make_group()
    yield made
    made.world.store.close()


def client_of(azure: HsmAzure) -> KeyVaultManagementClient:
    return KeyVaultManagementClient(azure.credential(), SUBSCRIPTION, **azure.options())


def body(**properties: Any) -> ManagedHsm:
    return ManagedHsm(
        {
            "location": "westeurope",
            "sku": {"family": "B", "name": "Standard_B1"},
            "tags": {"for": "release"},
            "properties": {"tenantId": TENANT, "initialAdminObjectIds": [OPERATOR.oid]} | properties,
        }
    )


def test_the_sdk_makes_changes_lists_and_deletes_an_hsm(azure: HsmAzure) -> None:
    hsms = client_of(azure).managed_hsms
    made = hsms.begin_create_or_update("rg", "pool", body(softDeleteRetentionInDays=7)).result()
    assert made.properties is not None
    assert made.properties.hsm_uri == "https://pool.managedhsm.azure.net/"
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.initial_admin_object_ids == [OPERATOR.oid]
    assert made.properties.security_domain_properties is not None
    assert made.properties.security_domain_properties.activation_status == "NotActivated"
    changed = hsms.begin_update("rg", "pool", ManagedHsm({"tags": {"for": "nothing"}})).result()
    assert changed.tags == {"for": "nothing"}
    assert [each.name for each in hsms.list_by_resource_group("rg")] == ["pool"]
    assert [each.name for each in hsms.list_by_subscription()] == ["pool"]
    assert [each.name for each in client_of(azure).mhsm_regions.list_by_resource("rg", "pool")] == ["westeurope"]
    hsms.begin_delete("rg", "pool").result()
    assert [each.name for each in hsms.list_deleted()] == ["pool"]
    assert hsms.get_deleted("pool", "westeurope").properties is not None
    answer = hsms.check_mhsm_name_availability(CheckMhsmNameAvailabilityParameters({"name": "pool"}))
    assert (answer.name_available, answer.reason) == (False, "AlreadyExists")
    hsms.begin_purge_deleted("pool", "westeurope").result()
    assert hsms.check_mhsm_name_availability(CheckMhsmNameAvailabilityParameters({"name": "pool"})).name_available


def test_a_new_hsm_is_a_long_running_operation(azure: HsmAzure) -> None:
    answer = azure.make_hsm()
    assert answer.status_code == 202
    assert answer.json()["properties"]["provisioningState"] == "Provisioning"
    status = answer.headers["Azure-AsyncOperation"].removeprefix("https://management.azure.com")
    assert azure.arm("GET", status).json()["status"] == "Succeeded"


def test_a_recovered_hsm_has_its_keys_roles_and_security_domain(azure: HsmAzure) -> None:
    azure.make_hsm()
    azure.activate()
    azure.grant("Crypto User")
    azure.hsm("POST", "/keys/kept/create", {"kty": "EC-HSM"})
    assert azure.arm("DELETE", f"{azure.hsm_path()}?{API}").status_code == 202
    assert azure.hsm("GET", "/keys").status_code == 404
    assert error_of(azure.make_hsm())[:2] == (409, "ManagedHsmAlreadyExists")
    assert azure.make_hsm(createMode="recover").status_code == 202
    assert azure.hsm("GET", "/keys/kept").status_code == 200


def test_a_purged_hsm_leaves_nothing_to_the_next_of_its_name(azure: HsmAzure) -> None:
    azure.make_hsm()
    azure.activate()
    azure.grant("Crypto User")
    azure.hsm("POST", "/keys/gone/create", {"kty": "EC-HSM"})
    azure.arm("DELETE", f"{azure.hsm_path()}?{API}")
    assert azure.arm("POST", f"{DELETED}/pool/purge?{API}").status_code == 202
    azure.make_hsm()
    assert "not activated" in error_of(azure.hsm("GET", "/keys"))[3]
    azure.activate()
    assert azure.hsm("GET", "/keys").status_code == 403
    azure.grant("Crypto User")
    assert azure.hsm("GET", "/keys").json()["value"] == []


def test_purge_protection_cannot_be_taken_back_and_holds(azure: HsmAzure) -> None:
    azure.make_hsm(enablePurgeProtection=True, softDeleteRetentionInDays=7)
    refused = azure.arm("PATCH", f"{azure.hsm_path()}?{API}", {"properties": {"enablePurgeProtection": False}})
    assert "cannot be set to false" in error_of(refused)[3]
    azure.arm("DELETE", f"{azure.hsm_path()}?{API}")
    assert "purge protection" in error_of(azure.arm("POST", f"{DELETED}/pool/purge?{API}"))[3]
    azure.clock.time += timedelta(days=8)
    assert azure.arm("GET", f"{DELETED}/pool?{API}").status_code == 404


def test_a_deleted_group_takes_its_hsm_along(azure: HsmAzure) -> None:
    azure.make_hsm()
    azure.arm("DELETE", f"/subscriptions/{SUBSCRIPTION}/resourcegroups/rg?api-version=2025-04-01")
    assert azure.arm("GET", f"{DELETED}/pool?{API}").status_code == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"properties": {"tenantId": TENANT}}, "initialAdminObjectIds"),
        ({"properties": {"tenantId": TENANT, "initialAdminObjectIds": ["me"]}}, "GUIDs"),
        ({"properties": {"tenantId": STRANGER.oid, "initialAdminObjectIds": [OPERATOR.oid]}}, "tenantId"),
        ({"sku": {"family": "A", "name": "premium"}}, "sku"),
        ({"sku": {"family": "B", "name": "Custom_C10"}}, "sku"),
        ({"sku": None}, "sku"),
        ({"location": ""}, "location"),
    ],
)
def test_what_is_no_hsm_is_refused(azure: HsmAzure, change: dict[str, Any], words: str) -> None:
    asked = {
        "location": "westeurope",
        "sku": {"family": "B", "name": "Standard_B1"},
        "properties": {"tenantId": TENANT, "initialAdminObjectIds": [OPERATOR.oid]},
    } | change
    answer = azure.arm("PUT", f"{azure.hsm_path()}?{API}", asked)
    assert answer.status_code == 400
    assert words in error_of(answer)[3]
    assert azure.arm("GET", f"{azure.hsm_path()}?{API}").status_code == 404


@pytest.mark.parametrize("name", ["ab", "1pool", "po--ol", "pool-", "a" * 25])
def test_a_name_that_is_none_is_refused(azure: HsmAzure, name: str) -> None:
    assert azure.make_hsm(name).status_code == 400
    path = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/checkMhsmNameAvailability?{API}"
    assert azure.arm("POST", path, {"name": name}).json()["reason"] == "AccountNameInvalid"


def test_resource_manager_makes_the_first_version_of_a_key(azure: HsmAzure) -> None:
    azure.make_hsm()
    path = f"{azure.hsm_path()}/keys/k?{API}"
    asked = {"properties": {"kty": "RSA-HSM", "keySize": 3072, "attributes": {"exportable": True},
                            "release_policy": {"data": encoded(POLICY)}}}  # fmt: skip
    assert "not activated" in error_of(azure.arm("PUT", path, asked))[3]
    azure.activate()
    assert azure.hsm("PATCH", "/settings/AllowKeyManagementOperationsThroughARM", {"value": "true"}).status_code == 200
    made = azure.arm("PUT", path, asked).json()
    assert made["type"] == "Microsoft.KeyVault/managedHSMs/keys"
    assert made["properties"]["keyUri"] == "https://pool.managedhsm.azure.net/keys/k"
    assert azure.arm("PUT", path, {"properties": {"kty": "EC-HSM"}}).json() == made
    refused = azure.arm(
        "PUT", f"{azure.hsm_path()}/keys/j?{API}", {"properties": asked["properties"] | {"release_policy": None}}
    )
    assert error_of(refused)[3].startswith("Exportable keys must have release policy (Activity ID: ")
    versions = azure.arm("GET", f"{azure.hsm_path()}/keys/k/versions?{API}").json()["value"]
    assert [each["type"] for each in versions] == ["Microsoft.KeyVault/managedHSMs/keys/versions"]


def test_a_stranger_may_do_nothing_with_it(azure: HsmAzure) -> None:
    azure.make_hsm()
    answer = azure.arm("GET", f"{azure.hsm_path()}?{API}", principal=STRANGER)
    assert error_of(answer)[:2] == (403, "AuthorizationFailed")


@pytest.mark.parametrize(("days", "status"), [("7", 202), ("90", 202), ("6", 400), ("7.5", 400), ("9" * 5000, 400)])
def test_days_may_be_a_text_as_the_azure_cli_sends_them(azure: HsmAzure, days: str, status: int) -> None:
    assert azure.make_hsm(softDeleteRetentionInDays=days).status_code == status
    if status == 202:
        shown = azure.arm("GET", f"{azure.hsm_path()}?{API}").json()["properties"]
        assert shown["softDeleteRetentionInDays"] == int(days)
