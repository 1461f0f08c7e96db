"""The doors of Resource Manager, and the words of each refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from skrkit.sandbox import entra
from tests.sandbox.arm.test_arm_clients import VAULT, VM, vm_id
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, Azure, error_of

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
VM_API = "?api-version=2026-04-01"
VAULT_API = "?api-version=2026-05-15"


def test_a_request_without_a_token(azure: Azure) -> None:
    answer = azure.session().get(f"https://management.azure.com{GROUP}?api-version=2025-04-01", timeout=5)
    expected = (401, "AuthenticationFailed", "", "Authentication failed. The 'Authorization' header is missing.")
    assert error_of(answer) == expected
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith(f'Bearer authorization_uri="https://login.windows.net/{TENANT}", error="invalid_token"')


def ask(azure: Azure, resource: str, *, later: int = 0) -> Any:
    token = entra.issue_token(azure.world, principal=OPERATOR, resource=resource, lifetime_s=600)
    azure.clock.time += timedelta(seconds=later)
    headers = {"Authorization": f"Bearer {token}"}
    return azure.session().get(
        f"https://management.azure.com{GROUP}?api-version=2025-04-01", headers=headers, timeout=5
    )


def test_audiences(azure: Azure) -> None:
    for resource in ("https://management.azure.com", "https://management.azure.com/",
                     "https://management.core.windows.net/"):  # fmt: skip
        assert ask(azure, resource).status_code == 200
    status, code, _, message = error_of(ask(azure, "https://vault.azure.net"))
    assert (status, code) == (401, "InvalidAuthenticationTokenAudience")
    assert "wrong audience or resource 'https://vault.azure.net'" in message
    expired = error_of(ask(azure, "https://management.azure.com", later=1200))
    message = (
        "The access token expiry UTC time '11/24/2026 12:10:00' is earlier than current UTC time '11/24/2026 12:20:00'."
    )
    assert expired == (401, "ExpiredAuthenticationToken", "", message)
    guest = entra.Principal(oid=OPERATOR.oid, appid=OPERATOR.appid, tid=SUBSCRIPTION, mirid=None)
    status, code, _, message = error_of(azure.arm("GET", f"{GROUP}?api-version=2025-04-01", principal=guest))
    assert (status, code) == (401, "InvalidAuthenticationTokenTenant")
    assert f"from the wrong issuer 'https://sts.windows.net/{SUBSCRIPTION}/'" in message


def test_who_has_no_role_may_not(azure: Azure) -> None:
    path = f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"
    message = (
        f"The client '{STRANGER.oid}' with object id '{STRANGER.oid}' does not have authorization to perform action "
        f"'Microsoft.KeyVault/vaults/write' over scope '{path}' or the scope is invalid. If access was recently "
        "granted, please refresh your credentials."
    )
    answer = azure.arm("PUT", path + VAULT_API, VAULT, principal=STRANGER)
    assert error_of(answer) == (403, "AuthorizationFailed", "", message)


def test_versions_subscriptions_groups(azure: Azure) -> None:
    message = "The api-version query parameter (?api-version=) is required for all requests."
    assert error_of(azure.arm("GET", GROUP)) == (400, "MissingApiVersionParameter", "", message)
    for version in ("7.4", "2024-13-01", "2023-02-29", "1999-01-01", "2024-7-01", "\u0662\u0660\u0662\u0664-07-01"):
        answer = azure.arm("GET", f"{GROUP}?api-version={version}")
        assert error_of(answer)[:2] == (400, "InvalidApiVersionParameter"), version
    other = f"/subscriptions/{TENANT}?api-version=2022-12-01"
    assert error_of(azure.arm("GET", other))[1] == "SubscriptionNotFound"
    missing = azure.arm(
        "GET", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/none/providers/Microsoft.KeyVault/vaults/v{VAULT_API}"
    )
    assert error_of(missing) == (404, "ResourceGroupNotFound", "", "Resource group 'none' could not be found.")
    assert azure.arm("GET", f"/subscriptions/{SUBSCRIPTION}?api-version=2022-12-01").json()["tenantId"] == TENANT
    head = azure.arm("HEAD", f"/SUBSCRIPTIONS/{SUBSCRIPTION.upper()}/RESOURCEGROUPS/RG?api-version=2025-04-01")
    assert (head.status_code, head.content) == (204, b"")
    assert error_of(azure.arm("POST", f"{GROUP}?api-version=2025-04-01"))[1] == "MethodNotAllowed"
    balancer = f"{GROUP}/providers/Microsoft.Network/loadBalancers/v?api-version=2026-03-01"
    assert error_of(azure.arm("PUT", balancer, {}))[:2] == (501, "NotInSandbox")
    assert error_of(azure.arm("PUT", f"{GROUP}?api-version=2025-04-01", {}))[1] == "LocationRequired"


# --- the body of a confidential VM: name -> one change -> status, code, part of the message

DISK = ("properties", "storageProfile", "osDisk", "managedDisk")
SECURITY = ("properties", "securityProfile")


def _set(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for name in path[:-1]:
            body = body[name]
        if value is None:
            del body[path[-1]]
        else:
            body[path[-1]] = value

    return change


SIZE = ("properties", "hardwareProfile", "vmSize")
ENCRYPTION = "managedDisk.securityProfile.securityEncryptionType"
UNSUPPORTED = "The VM size '{}' is not supported for creation of VMs and Virtual Machine Scale Set with "
BODIES: dict[str, tuple[Callable[[dict[str, Any]], None], int, str, str]] = {
    "no location": (_set(None, "location"), 400, "LocationRequired", "The location property is required"),
    "no size": (_set(None, *SIZE), 400, "InvalidParameter", "'hardwareProfile.vmSize' is missing (null)"),
    "CVM size, no security type": (
        _set(None, *SECURITY), 400, "BadRequest",
        UNSUPPORTED.format("Standard_DC2as_v5") + "'<NULL>' security type.",
    ),
    "CVM size, trusted launch": (
        _set("TrustedLaunch", *SECURITY, "securityType"), 400, "BadRequest", "with 'TrustedLaunch' security type.",
    ),
    "no encryption type": (
        _set(None, *DISK, "securityProfile"), 400, "BadRequest",
        f"Required parameter for Confidential VMs '{ENCRYPTION}' is missing (null).",
    ),
    "other size, confidential": (
        _set("Standard_D2as_v5", *SIZE), 400, "BadRequest",
        UNSUPPORTED.format("Standard_D2as_v5")
        + f"'ConfidentialVM' security type and {ENCRYPTION} set as 'VMGuestStateOnly'",
    ),
    "python's enum name": (
        _set("DISK_WITH_VM_GUEST_STATE", *DISK, "securityProfile", "securityEncryptionType"), 400, "BadRequest",
        'Error converting value "DISK_WITH_VM_GUEST_STATE"',
    ),
    "unknown security type": (_set("confidential", *SECURITY, "securityType"), 400, "BadRequest", "Error converting"),
    "no vTPM": (_set(False, *SECURITY, "uefiSettings", "vTpmEnabled"), 400, "InvalidParameter", "vTpmEnabled"),
    "TDX": (_set("Standard_DC2es_v6", *SIZE), 501, "NotInSandbox", "Intel TDX"),
    "no user-assigned identity": (
        _set({"type": "UserAssigned", "userAssignedIdentities": {}}, "identity"), 400, "MissingIdentityIds",
        "The identity ids must not be null or empty for 'UserAssigned' identity type.",
    ),
    "unknown identity": (_set({"type": "Mine"}, "identity"), 400, "BadRequest", "'Mine'"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BODIES))
def test_each_fault_of_a_vm_body(azure: Azure, name: str) -> None:
    change, status, code, words = BODIES[name]
    body = json.loads(json.dumps(VM))
    change(body)
    answer = azure.arm("PUT", vm_id() + VM_API, body)
    assert error_of(answer)[:2] == (status, code)
    assert words in error_of(answer)[3]
    assert azure.machines.made == {}
    assert azure.world.store.get("arm", vm_id().lower()) is None


def test_a_plain_vm_with_an_encrypted_guest_state(azure: Azure) -> None:
    body = json.loads(json.dumps(VM))
    body["properties"]["hardwareProfile"]["vmSize"] = "Standard_D2s_v5"
    del body["properties"]["securityProfile"]
    message = "The parameter 'managedDisk.securityProfile' can only be set for Confidential VMs."
    assert error_of(azure.arm("PUT", vm_id() + VM_API, body)) == (400, "BadRequest", "", message)
    del body["properties"]["storageProfile"]["osDisk"]["managedDisk"]["securityProfile"]
    assert error_of(azure.arm("PUT", vm_id() + VM_API, body))[:2] == (501, "NotInSandbox")


def test_disk_encryption_asks_for_secure_boot(azure: Azure) -> None:
    body = json.loads(json.dumps(VM))
    disk = body["properties"]["storageProfile"]["osDisk"]["managedDisk"]["securityProfile"]
    disk["securityEncryptionType"] = "DiskWithVMGuestState"
    assert azure.arm("PUT", vm_id() + VM_API, body).status_code == 201
    body["properties"]["securityProfile"]["uefiSettings"]["secureBootEnabled"] = False
    assert "secureBootEnabled" in error_of(azure.arm("PUT", vm_id("b") + VM_API, body))[3]


def test_the_remains_of_a_killed_create_are_replaced(azure: Azure) -> None:
    azure.machines.create(vm_id(), name="old", region="x", vm_id="0", secure_boot=False)
    assert azure.arm("PUT", vm_id() + VM_API, VM).status_code == 201
    assert azure.machines.made[vm_id().lower()]["name"] == "cvm"


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"sku": None}, "sku"), ({"sku": {"family": "A", "name": "gold"}}, "sku"),
        ({"tenantId": SUBSCRIPTION}, "tenantId"),
        ({"softDeleteRetentionInDays": 6}, "between 7 and 90"), ({"enableSoftDelete": False}, "enableSoftDelete"),
        ({"accessPolicies": [{"tenantId": TENANT}]}, "objectId"),
        ({"accessPolicies": [{"tenantId": TENANT, "objectId": "x", "permissions": {"keys": ["fly"]}}]}, "'fly'"),
        ({"accessPolicies": {}}, None), ({"accessPolicies": {"a": 1}}, "accessPolicies"),
        ({"networkAcls": 7}, "networkAcls"),
        ({"networkAcls": {"defaultAction": "Denied"}}, "expected 'Allow' or 'Deny', found 'Denied'"),
        ({"networkAcls": {"defaultAction": 5}}, "networkAcls.defaultAction"),
        ({"networkAcls": {"bypass": "All"}}, "expected 'AzureServices' or 'None', found 'All'"),
        ({"networkAcls": {"ipRules": "127.0.0.1"}}, "networkAcls.ipRules"),
        ({"networkAcls": {"ipRules": [{"value": "127.0.0.1/33"}]}}, "found '127.0.0.1/33'"),
        ({"networkAcls": {"ipRules": [{"value": 7}]}}, "networkAcls.ipRules"),
        ({"networkAcls": {"virtualNetworkRules": [{}]}}, "networkAcls.virtualNetworkRules"),
        ({"publicNetworkAccess": "Off"}, "expected 'Enabled' or 'Disabled', found 'Off'"),
        ({"publicNetworkAccess": []}, "publicNetworkAccess"),
    ],
)  # fmt: skip
def test_faults_of_a_vault_body(azure: Azure, properties: dict[str, Any], words: str | None) -> None:
    body = {"location": "westeurope", "properties": VAULT["properties"] | properties}  # type: ignore[operator]
    answer = azure.arm("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/v-1{VAULT_API}", body)
    if words is None:
        assert answer.status_code == 201  # an empty object is as good as no policy
        return
    assert answer.status_code == 400
    assert words in error_of(answer)[3]
    assert azure.world.store.get("vault-name", "v-1") is None


def test_a_network_perimeter_is_not_here(azure: Azure) -> None:
    """Only who is in it may come in: a vault that took the word and knew no perimeter would be open to all."""
    body = VAULT | {"properties": VAULT["properties"] | {"publicNetworkAccess": "SecuredByPerimeter"}}  # type: ignore[operator]
    answer = azure.arm("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/v-1{VAULT_API}", body)
    assert error_of(answer)[:2] == (501, "NotInSandbox")


def test_a_region_that_there_is_not(azure: Azure) -> None:
    url = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other?api-version=2025-04-01"
    status, code, _, message = error_of(azure.arm("PUT", url, {"location": "westeurop"}))
    assert (status, code) == (400, "LocationNotAvailableForResourceGroup")
    begin = "The provided location 'westeurop' is not available for resource group. List of available regions is '"
    assert message.startswith(f"{begin}australiacentral,")
    body = VAULT | {"location": "atlantis"}
    answer = azure.arm("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/v-1{VAULT_API}", body)
    status, code, _, message = error_of(answer)
    assert (status, code) == (400, "LocationNotAvailableForResourceType")
    begin = "The provided location 'atlantis' is not available for resource type 'Microsoft.KeyVault/vaults'."
    assert message.startswith(begin)
    assert "westeurope" in message
    nested = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm/runCommands/r{VM_API}"
    assert "'Microsoft.Compute/virtualMachines/runCommands'" in error_of(azure.arm("PUT", nested, body))[3]


def test_members_of_a_resource_in_another_case(azure: Azure) -> None:
    body = {"Location": "West Europe", "TAGS": {"A": "b"}, "Properties": VAULT["properties"]}
    url = f"{GROUP}/providers/Microsoft.KeyVault/vaults/v-1{VAULT_API}"
    assert azure.arm("PUT", url, body).status_code == 201
    made = azure.arm("GET", url).json()
    assert (made["location"], made["tags"]) == ("westeurope", {"A": "b"})
    assert made["properties"]["sku"] == VAULT["properties"]["sku"]  # type: ignore[index]


@pytest.mark.parametrize("path", ["Microsoft.KeyVault/vaults/v-1", "Microsoft.Network/networkSecurityGroups/n"])
def test_a_resource_stays_in_its_region(azure: Azure, path: str) -> None:
    body: dict[str, Any] = {"location": "westeurope", "properties": VAULT["properties"]}
    url = f"{GROUP}/providers/{path}?api-version=2024-05-01"
    assert azure.arm("PUT", url, body).status_code == 201
    assert azure.arm("PUT", url, body | {"location": "West Europe"}).status_code == 200
    answer = azure.arm("PUT", url.replace("providers", "Providers"), body | {"location": "northeurope"})
    assert error_of(answer)[:2] == (409, "InvalidResourceLocation")
    assert "already exists in location 'westeurope'" in error_of(answer)[3]


@pytest.mark.parametrize("name", ["ab", "1abc", "a--b", "a_b", "abc-", "a" * 25])
def test_names_of_vaults(azure: Azure, name: str) -> None:
    answer = azure.arm("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/{name}{VAULT_API}", VAULT)
    assert error_of(answer)[:2] == (400, "VaultNameNotValid")


def test_a_vault_name_is_taken_once(azure: Azure) -> None:
    azure.make_group("rg2")
    azure.make_vault("v-1")
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg2/providers/Microsoft.KeyVault/vaults/V-1{VAULT_API}"
    assert error_of(azure.arm("PUT", path, VAULT))[:2] == (409, "VaultAlreadyExists")


def test_a_body_that_is_no_json(azure: Azure) -> None:
    answer = azure.arm("PUT", vm_id() + VM_API, [1])
    assert error_of(answer)[:2] == (400, "InvalidRequestContent")
    for body in ({}, {"location": "x", "properties": 7}, {"location": "x", "properties": {"hardwareProfile": []}}):
        assert azure.arm("PUT", vm_id() + VM_API, body).status_code == 400
    assert azure.arm("PUT", f"{GROUP}/providers/Microsoft.KeyVault/vaults/v-1{VAULT_API}",
                     {"location": "x", "properties": 7}).status_code == 400  # fmt: skip
