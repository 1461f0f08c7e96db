"""Azure's own management clients, unmodified, against Resource Manager."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

from tests.sandbox.vault.azure import OPERATOR, SUBSCRIPTION, TENANT, Azure

VM = {
    "location": "West Europe",
    "properties": {
        "hardwareProfile": {"vmSize": "Standard_DC2as_v5"},
        "securityProfile": {
            "securityType": "ConfidentialVM",
            "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
        },
        "storageProfile": {
            "imageReference": {"publisher": "Canonical", "offer": "o", "sku": "22_04-lts-cvm", "version": "latest"},
            "osDisk": {
                "createOption": "FromImage",
                "managedDisk": {"securityProfile": {"securityEncryptionType": "VMGuestStateOnly"}},
            },
        },
        "osProfile": {"computerName": "cvm", "adminUsername": "u", "adminPassword": "not-to-be-shown"},
        "networkProfile": {"networkInterfaces": [{"id": "/not/looked/at"}]},
    },
}
VAULT = {
    "location": "westeurope",
    "properties": {"tenantId": TENANT, "sku": {"family": "A", "name": "premium"}, "accessPolicies": []},
}


@pytest.fixture
def compute(azure: Azure) -> ComputeManagementClient:
    return ComputeManagementClient(azure.credential(), SUBSCRIPTION, **azure.options())


@pytest.fixture
def vaults(azure: Azure) -> Any:
    return KeyVaultManagementClient(azure.credential(), SUBSCRIPTION, **azure.options()).vaults


@pytest.fixture
def resources(azure: Azure) -> ResourceManagementClient:
    return ResourceManagementClient(azure.credential(), SUBSCRIPTION, **azure.options())


def vm_id(name: str = "cvm") -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{name}"


def test_resource_groups(resources: ResourceManagementClient) -> None:
    groups = resources.resource_groups
    made = groups.create_or_update("rg2", {"location": "West Europe", "tags": {"a": "b"}})
    assert (made.id, made.location) == (f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg2", "westeurope")
    assert groups.check_existence("RG2") is True
    assert groups.check_existence("rg3") is False
    assert [group.name for group in groups.list()] == ["rg", "rg2"]
    groups.begin_delete("rg2").wait()
    with pytest.raises(ResourceNotFoundError, match=r"ResourceGroupNotFound.*Resource group 'rg2' could not be found"):
        groups.get("rg2")
    assert resources.providers.register("Microsoft.KeyVault").registration_state == "Registered"


def test_a_group_keeps_its_location(resources: ResourceManagementClient) -> None:
    with pytest.raises(ResourceExistsError, match="InvalidResourceGroupLocation"):
        resources.resource_groups.create_or_update("rg", {"location": "northeurope"})


def test_a_confidential_vm_is_created_through_an_operation(azure: Azure, compute: ComputeManagementClient) -> None:
    poller = compute.virtual_machines.begin_create_or_update("rg", "cvm", VM)  # type: ignore[call-overload]
    vm = poller.result()
    assert (vm.id, vm.location, vm.provisioning_state) == (vm_id(), "westeurope", "Succeeded")
    assert azure.machines.made == {
        vm_id().lower(): {"name": "cvm", "region": "westeurope", "vm_id": vm.vm_id, "secure_boot": True}
    }
    assert any("/locations/westeurope/operations/" in line for line in azure.seen)
    shown = compute.virtual_machines.get("RG", "CVM", expand="instanceView")
    assert shown.instance_view is not None
    assert [status.code for status in shown.instance_view.statuses or []] == [
        "ProvisioningState/succeeded", "PowerState/running",
    ]  # fmt: skip
    assert "not-to-be-shown" not in str(shown.as_dict())
    assert [vm.name for vm in compute.virtual_machines.list("rg")] == ["cvm"]
    assert [vm.name for vm in compute.virtual_machines.list_all()] == ["cvm"]
    compute.virtual_machines.begin_delete("rg", "cvm").wait()
    assert azure.machines.made == {}
    with pytest.raises(ResourceNotFoundError, match=r"The Resource 'Microsoft.Compute/virtualMachines/cvm' under"):
        compute.virtual_machines.get("rg", "cvm")
    compute.virtual_machines.begin_delete("rg", "cvm").wait()  # 204: it is gone already


def test_the_first_answer_of_a_create_is_201_with_an_operation(azure: Azure) -> None:
    answer = azure.arm("PUT", f"{vm_id()}?api-version=2026-04-01", VM)
    assert answer.status_code == 201
    assert answer.json()["properties"]["provisioningState"] == "Creating"
    assert answer.headers["Retry-After"] == "0"
    operation = azure.arm("GET", answer.headers["Azure-AsyncOperation"].removeprefix("https://management.azure.com"))
    assert operation.json()["status"] == "Succeeded"
    assert azure.arm("PUT", f"{vm_id()}?api-version=2026-04-01", VM).status_code == 200
    deleted = azure.arm("DELETE", f"{vm_id()}?api-version=2026-04-01")
    assert (deleted.status_code, "Azure-AsyncOperation" in deleted.headers) == (202, True)


def test_a_system_assigned_identity_comes_and_goes(azure: Azure, compute: ComputeManagementClient) -> None:
    compute.virtual_machines.begin_create_or_update("rg", "cvm", VM).wait()  # type: ignore[call-overload]
    machines = compute.virtual_machines
    on = machines.begin_update("rg", "cvm", {"identity": {"type": "SystemAssigned"}}).result()  # type: ignore[call-overload]
    assert on.identity is not None
    oid = str(on.identity.principal_id)
    assert on.identity.tenant_id == TENANT
    principal = azure.world.store.get("principal", oid)
    assert principal is not None
    assert principal == {"oid": oid, "appid": principal["appid"], "tid": TENANT, "mirid": vm_id()}
    again = machines.begin_update("rg", "cvm", {"identity": {"type": "SystemAssigned"}}).result()  # type: ignore[call-overload]
    assert again.identity is not None
    assert again.identity.principal_id == oid
    stored = azure.world.store.get("arm", vm_id().lower())
    assert stored is not None
    assert stored["identity"]["principalId"] == oid
    off = machines.begin_update("rg", "cvm", {"identity": {"type": "None"}}).result()  # type: ignore[call-overload]
    assert off.identity is None
    assert azure.world.store.get("principal", oid) is None


def test_a_deleted_vm_takes_its_identity_along(azure: Azure, compute: ComputeManagementClient) -> None:
    body = VM | {"identity": {"type": "SystemAssigned"}}
    made = compute.virtual_machines.begin_create_or_update("rg", "cvm", body).result()  # type: ignore[call-overload]
    assert made.identity is not None
    compute.virtual_machines.begin_delete("rg", "cvm").wait()
    assert azure.world.store.get("principal", str(made.identity.principal_id)) is None


def test_a_patch_merges_and_keeps_what_is_fixed(compute: ComputeManagementClient) -> None:
    made = compute.virtual_machines.begin_create_or_update("rg", "cvm", VM).result()  # type: ignore[call-overload]
    change: Any = {"tags": {"x": "y"}, "properties": {"hardwareProfile": {"vmSize": "Standard_DC4as_v5"}}}
    changed = compute.virtual_machines.begin_update("rg", "cvm", change).result()
    assert (changed.tags, changed.vm_id) == ({"x": "y"}, made.vm_id)
    assert changed.hardware_profile is not None
    assert changed.hardware_profile.vm_size == "Standard_DC4as_v5"
    assert changed.security_profile is not None
    assert changed.security_profile.security_type == "ConfidentialVM"
    fixed: Any = {"properties": {"securityProfile": {"securityType": "TrustedLaunch"}}}
    with pytest.raises(ResourceExistsError, match=r"PropertyChangeNotAllowed.*'securityProfile.securityType'"):
        compute.virtual_machines.begin_update("rg", "cvm", fixed)


def test_a_vault_is_created_changed_listed(azure: Azure, vaults: Any, resources: ResourceManagementClient) -> None:
    made = vaults.begin_create_or_update("rg", "My-Vault", VAULT).result()
    assert made.properties.vault_uri == "https://my-vault.vault.azure.net/"
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.enable_rbac_authorization is True  # the default from api-version 2026-02-01 on
    changed = vaults.update("rg", "my-vault", {"properties": {"enableRbacAuthorization": False}})
    assert changed.properties.enable_rbac_authorization is False
    assert changed.properties.sku.name == "premium"
    assert [vault.name for vault in vaults.list_by_resource_group("rg")] == ["My-Vault"]
    assert [vault.name for vault in vaults.list_by_subscription()] == ["My-Vault"]
    assert [item.name for item in vaults.list()] == ["My-Vault"]
    assert [item.type for item in resources.resources.list_by_resource_group("rg")] == ["Microsoft.KeyVault/vaults"]
    old = azure.arm("PUT", _vault("older", "2023-07-01"), VAULT).json()
    assert old["properties"]["enableRbacAuthorization"] is False


def _vault(name: str, api: str = "2026-05-15") -> str:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    return f"{group}/providers/Microsoft.KeyVault/vaults/{name}?api-version={api}"


def test_access_policies_are_added_replaced_removed(vaults: Any) -> None:
    vaults.begin_create_or_update("rg", "v-one", VAULT).wait()

    def change(kind: str, *keys: str) -> list[str]:
        policy = {"tenantId": TENANT, "objectId": OPERATOR.oid, "permissions": {"keys": list(keys)}}
        vaults.update_access_policy("rg", "v-one", kind, {"properties": {"accessPolicies": [policy]}})
        after = vaults.get("rg", "v-one").properties.access_policies
        return [str(getattr(name, "value", name)) for entry in after for name in entry.permissions.keys_property or []]

    assert change("add", "get") == ["get"]
    assert change("add", "release", "Get") == ["get", "release"]
    assert change("remove", "get") == ["release"]
    assert change("replace", "list") == ["list"]
    assert change("remove", "list") == []
    with pytest.raises(HttpResponseError, match="'fly'"):
        change("add", "fly")


def test_a_deleted_vault_is_recovered_with_its_keys_or_purged(azure: Azure, vaults: Any) -> None:
    azure.make_vault("v-two")
    key = azure.keys("v-two").create_ec_key("k")
    vaults.delete("rg", "v-two")
    wanted = {"name": "v-two", "type": "Microsoft.KeyVault/vaults"}
    assert vaults.check_name_availability(wanted).name_available is False
    with pytest.raises(ResourceNotFoundError):
        azure.keys("v-two").get_key("k")
    with pytest.raises(ResourceExistsError, match="already exists in deleted state"):
        vaults.begin_create_or_update("rg", "v-two", VAULT)
    assert [vault.name for vault in vaults.list_deleted()] == ["v-two"]
    recover = VAULT | {"properties": VAULT["properties"] | {"createMode": "recover"}}  # type: ignore[operator]
    vaults.begin_create_or_update("rg", "v-two", recover).wait()
    assert azure.world.store.get("vault-key-name", "v-two/k") is not None
    assert key.name == "k"
    vaults.delete("rg", "v-two")
    assert vaults.get_deleted("v-two", "westeurope").properties.purge_protection_enabled is False
    vaults.begin_purge_deleted("v-two", "westeurope").wait()
    assert azure.world.store.get("vault-key-name", "v-two/k") is None
    assert vaults.check_name_availability(wanted).name_available is True


def test_purge_protection_is_for_good(azure: Azure, vaults: Any) -> None:
    azure.make_vault("v-safe", enablePurgeProtection=True)
    with pytest.raises(HttpResponseError, match="irreversible"):
        vaults.update("rg", "v-safe", {"properties": {"enablePurgeProtection": False}})
    vaults.delete("rg", "v-safe")
    with pytest.raises(HttpResponseError, match="purge protection is enabled"):
        vaults.begin_purge_deleted("v-safe", "westeurope")


def test_a_deleted_group_takes_all_along(azure: Azure, resources: ResourceManagementClient) -> None:
    azure.make_vault("v-three")
    assert azure.arm("PUT", f"{vm_id()}?api-version=2026-04-01", VM).status_code == 201
    resources.resource_groups.begin_delete("rg").wait()
    assert azure.machines.made == {}
    assert azure.world.store.list("arm") == []
    assert azure.world.store.get("deleted-vault", "v-three") is not None


def test_keys_of_the_control_plane_are_made_once(azure: Azure) -> None:
    from skrkit.encoding import b64url

    azure.make_vault("v-keys")
    client: Any = KeyVaultManagementClient(azure.credential(), SUBSCRIPTION, **azure.options()).keys
    policy = b'{"version":"1.0.0","anyOf":[{"authority":"https://a.example","allOf":[{"claim":"c","equals":true}]}]}'
    body: Any = {
        "properties": {
            "kty": "RSA-HSM",
            "keySize": 2048,
            "keyOps": ["encrypt", "decrypt", "release"],
            "attributes": {"enabled": True, "exportable": True},
            "release_policy": {"contentType": "application/json; charset=utf-8", "data": b64url(policy)},
        }
    }
    made = client.create_if_not_exist("rg", "v-keys", "k", body)
    assert made.properties.key_size == 2048
    assert made.properties.key_uri == "https://v-keys.vault.azure.net/keys/k"
    assert made.properties.attributes.exportable is True
    assert made.properties.release_policy is not None
    again = client.create_if_not_exist("rg", "v-keys", "k", {"properties": {"kty": "EC"}})
    assert again.properties.key_uri_with_version == made.properties.key_uri_with_version
    assert [key.name for key in client.list("rg", "v-keys")] == ["k"]
    version = str(made.properties.key_uri_with_version).rsplit("/", 1)[1]
    assert [key.name for key in client.list_versions("rg", "v-keys", "k")] == [version]
    assert client.get_version("rg", "v-keys", "k", version).properties.kty == "RSA-HSM"
    stored = azure.keys("v-keys").get_key("k").properties.release_policy
    assert stored is not None
    assert stored.encoded_policy == policy.replace(b"true", b'"true"')
