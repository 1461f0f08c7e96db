"""Networks and disks through plain requests, whose bodies are those that Azure's network client sends."""

from __future__ import annotations

from typing import Any

import pytest
from azure.mgmt.compute import ComputeManagementClient

from tests.sandbox.vault.azure import SUBSCRIPTION, Azure, error_of

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
API = "?api-version=2026-03-01"


def put(azure: Azure, path: str, **properties: Any) -> dict[str, Any]:
    answer = azure.arm("PUT", f"{path}{API}", {"location": "West Europe", "properties": properties})
    assert answer.status_code in (200, 201), answer.text
    made: dict[str, Any] = answer.json()
    return made


def refused(azure: Azure, path: str, **properties: Any) -> tuple[int, str]:
    return error_of(azure.arm("PUT", f"{path}{API}", {"location": "westeurope", "properties": properties}))[:2]


@pytest.fixture
def network(azure: Azure) -> dict[str, Any]:
    group = put(azure, f"{NETWORK}/networkSecurityGroups/group")
    subnet = {
        "name": "one",
        "properties": {"addressPrefix": "10.0.0.0/29", "networkSecurityGroup": {"id": group["id"]}},
    }
    return put(
        azure, f"{NETWORK}/virtualNetworks/net", addressSpace={"addressPrefixes": ["10.0.0.0/16"]}, subnets=[subnet]
    )


def interface(azure: Azure, name: str, subnet: str, **more: Any) -> dict[str, Any]:
    part = {"name": "main", "properties": {"subnet": {"id": subnet}, **more}}
    return put(azure, f"{NETWORK}/networkInterfaces/{name}", ipConfigurations=[part])


def test_an_interface_gets_the_next_address_of_its_subnet_and_keeps_it(azure: Azure, network: dict[str, Any]) -> None:
    subnet = network["properties"]["subnets"][0]["id"]
    found = []
    for name in ("a", "b", "a"):
        made = interface(azure, name, subnet)
        found.append(made["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"])
    assert found == ["10.0.0.4", "10.0.0.5", "10.0.0.4"]  # Azure keeps the first four and the last of a subnet
    assert made["location"] == "westeurope"
    assert made["properties"]["ipConfigurations"][0]["id"].endswith("/networkInterfaces/a/ipConfigurations/main")
    interface(azure, "c", subnet)
    part = {"name": "main", "properties": {"subnet": {"id": subnet}}}
    assert refused(azure, f"{NETWORK}/networkInterfaces/d", ipConfigurations=[part]) == (400, "SubnetIsFull")


def test_what_is_referred_to_must_be_there(azure: Azure, network: dict[str, Any]) -> None:
    part = {"name": "main", "properties": {"subnet": {"id": network["id"] + "/subnets/nothing"}}}
    answer = azure.arm("PUT", f"{NETWORK}/networkInterfaces/a{API}",
                       {"location": "westeurope", "properties": {"ipConfigurations": [part]}})  # fmt: skip
    assert error_of(answer)[:2] == (400, "InvalidResourceReference")
    assert f"Resource {network['id']}/subnets/nothing referenced by resource" in answer.text
    assert refused(azure, f"{NETWORK}/networkInterfaces/a", ipConfigurations=[]) == (400, "InvalidRequestFormat")


@pytest.mark.parametrize(
    ("subnet", "code"),
    [
        ({"addressPrefix": "192.168.0.0/24"}, "NetcfgInvalidSubnet"),
        ({"addressPrefix": "fd00::/64"}, "NetcfgInvalidSubnet"),
        ({"addressPrefix": "10.0.0"}, "InvalidAddressPrefixFormat"),
        ({}, "InvalidAddressPrefixFormat"),
        ({"addressPrefix": "10.0.1.0/24", "networkSecurityGroup": {"id": "/nothing"}}, "InvalidResourceReference"),
    ],
)
def test_a_subnet_lies_in_its_network(azure: Azure, network: dict[str, Any], subnet: Any, code: str) -> None:
    assert refused(azure, f"{network['id']}/subnets/two", **subnet) == (400, code)


def test_subnets_are_made_and_deleted_one_by_one_but_not_in_use(azure: Azure, network: dict[str, Any]) -> None:
    subnet = put(azure, f"{network['id']}/subnets/two", addressPrefix="10.0.1.0/24")
    listed = azure.arm("GET", f"{network['id']}/subnets{API}").json()["value"]
    assert [one["name"] for one in listed] == ["one", "two"]
    interface(azure, "a", subnet["id"])
    answer = azure.arm("DELETE", f"{subnet['id']}{API}")
    assert error_of(answer)[:2] == (400, "InUseSubnetCannotBeDeleted")
    assert azure.arm("DELETE", f"{NETWORK}/networkInterfaces/a{API}").status_code == 200
    assert azure.arm("DELETE", f"{subnet['id']}{API}").status_code == 200
    assert azure.arm("GET", f"{subnet['id']}{API}").status_code == 404
    assert azure.arm("DELETE", f"{subnet['id']}{API}").status_code == 204


def test_what_is_in_use_is_not_deleted(azure: Azure, network: dict[str, Any]) -> None:
    address = put(azure, f"{NETWORK}/publicIPAddresses/ip")
    assert address["properties"]["ipAddress"].startswith("203.0.113.")
    interface(azure, "a", network["properties"]["subnets"][0]["id"], publicIPAddress={"id": address["id"]})
    for path, code in (
        ("publicIPAddresses/ip", "PublicIPAddressCannotBeDeleted"),
        ("networkSecurityGroups/group", "InUseNetworkSecurityGroupCannotBeDeleted"),
        ("virtualNetworks/net", "InUseSubnetCannotBeDeleted"),
    ):
        assert error_of(azure.arm("DELETE", f"{NETWORK}/{path}{API}"))[:2] == (400, code)
    for path in ("networkInterfaces/a", "publicIPAddresses/ip", "virtualNetworks/net", "networkSecurityGroups/group"):
        assert azure.arm("DELETE", f"{NETWORK}/{path}{API}").status_code == 200
        assert azure.arm("DELETE", f"{NETWORK}/{path}{API}").status_code == 204
    assert azure.arm("GET", f"{GROUP}/resources{API}").json()["value"] == []


def test_rules_have_their_own_priority_in_its_range(azure: Azure) -> None:
    path = f"{NETWORK}/networkSecurityGroups/group"
    rule = {"name": "a", "properties": {"priority": 100, "direction": "Inbound"}}
    made = put(azure, path, securityRules=[rule])
    assert made["properties"]["securityRules"][0]["properties"]["provisioningState"] == "Succeeded"
    low = {"name": "a", "properties": {"priority": 99, "direction": "Inbound"}}
    assert refused(azure, path, securityRules=[low]) == (400, "SecurityRuleInvalidPriority")
    assert refused(azure, path, securityRules=[rule, rule | {"name": "b"}]) == (400, "SecurityRuleConflict")
    assert refused(azure, path, securityRules="all") == (400, "InvalidRequestFormat")


def test_tags_change_by_patch_and_lists_are_of_group_and_subscription(azure: Azure, network: dict[str, Any]) -> None:
    answer = azure.arm("PATCH", f"{network['id']}{API}", {"tags": {"a": "b"}})
    assert (answer.status_code, answer.json()["tags"]) == (200, {"a": "b"})
    assert answer.json()["properties"]["subnets"] == network["properties"]["subnets"]
    for base in (GROUP, f"/subscriptions/{SUBSCRIPTION}"):
        listed = azure.arm("GET", f"{base}/providers/Microsoft.Network/virtualNetworks{API}").json()["value"]
        assert [one["name"] for one in listed] == ["net"]


def test_a_disk_is_kept_and_says_what_is_missing(azure: Azure) -> None:
    path = f"{GROUP}/providers/Microsoft.Compute/disks/disk"
    assert refused(azure, path) == (400, "InvalidParameter")
    made = put(azure, path, creationData={"createOption": "Empty"}, diskSizeGB=32)
    assert (made["properties"]["diskState"], made["properties"]["diskSizeGB"]) == ("Unattached", 32)
    again = put(azure, path, creationData={"createOption": "Empty"}, diskSizeGB=64)
    assert again["properties"]["uniqueId"] == made["properties"]["uniqueId"]
    assert azure.arm("DELETE", f"{path}{API}").status_code == 200


def test_azures_own_client_makes_changes_and_deletes_a_disk(azure: Azure) -> None:
    client = ComputeManagementClient(azure.credential(), SUBSCRIPTION, **azure.options())
    body: Any = {"location": "westeurope", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4}}
    made = client.disks.begin_create_or_update("rg", "disk", body).result()
    assert (made.name, made.properties and made.properties.disk_size_gb) == ("disk", 4)
    changed: Any = {"tags": {"a": "b"}}
    assert client.disks.begin_update("rg", "disk", changed).result().tags == {"a": "b"}
    assert [one.name for one in client.disks.list_by_resource_group("rg")] == ["disk"]
    client.disks.begin_delete("rg", "disk").wait()
    assert list(client.disks.list()) == []


RULE = {"priority": 200, "direction": "Outbound", "access": "Allow", "protocol": "Tcp"}


def test_a_rule_is_a_resource_of_its_group(azure: Azure, network: dict[str, Any]) -> None:
    group = f"{NETWORK}/networkSecurityGroups/group"
    rules = f"{group}/securityRules"
    body = {"properties": RULE}
    made = azure.arm("PUT", f"{rules}/key-vault{API}", body)
    assert made.status_code == 201
    assert made.json()["id"] == f"{group}/securityRules/key-vault"
    assert azure.arm("PUT", f"{rules}/KEY-VAULT{API}", body).status_code == 200
    assert azure.arm("GET", f"{rules}/key-vault{API}").json()["properties"] == RULE | {"provisioningState": "Succeeded"}
    shown = azure.arm("GET", f"{group}{API}").json()["properties"]["securityRules"]
    assert shown == azure.arm("GET", f"{rules}{API}").json()["value"]
    assert len(shown) == 1
    taken = error_of(azure.arm("PUT", f"{rules}/another{API}", body))
    assert taken[:2] == (400, "SecurityRuleConflict")
    wrong = error_of(azure.arm("PUT", f"{rules}/another{API}", {"properties": RULE | {"priority": 5000}}))
    assert wrong[:2] == (400, "SecurityRuleInvalidPriority")
    assert error_of(azure.arm("PUT", f"{NETWORK}/networkSecurityGroups/none/securityRules/a{API}", body))[0] == 404
    assert [azure.arm("DELETE", f"{rules}/key-vault{API}").status_code for _ in range(2)] == [200, 204]
    assert error_of(azure.arm("GET", f"{rules}/key-vault{API}"))[:2] == (404, "NotFound")
