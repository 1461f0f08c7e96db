"""The templates that are shipped: Bicep and ARM say the same, and each makes what it says."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from skrkit.policy.templates import cvm_policy
from skrkit.provision import deployment
from skrkit.provision.stage import KEY_PERMISSIONS_OF_OPERATOR
from tests.provision.bicep import compile_file
from tests.sandbox.arm.templates.conftest import deployer
from tests.sandbox.arm.templates.deploying import GROUP, NESTED, Deployer, template
from tests.sandbox.vault.azure import OPERATOR, STRANGER

FOLDER = Path(deployment.__file__).parent / "templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.bicep"))
KEY = "ssh-ed25519 AAAA nobody"
# What deploys all: each has some of the others in it. The key of a Managed HSM is in none, as it waits for activation.
MAINS = {
    "main": {"access-policy", "confidential-vm", "key", "network", "vault", "vault-role"},
    "main-hsm": {"confidential-vm", "managed-hsm", "network"},
}
MAIN = {"vaultName": "main-vault", "operatorObjectId": OPERATOR.oid, "adminPublicKey": KEY}

__all__ = ["deployer"]  # the fixture


def shipped(name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return made


def kinds(body: dict[str, Any]) -> list[str]:
    """The types of all resources, those of nested templates among them."""
    found: list[str] = []
    for resource in body["resources"]:
        found.append(resource["type"])
        if resource["type"] == NESTED:
            found += kinds(resource["properties"]["template"])
    return found


def test_every_template_is_there_in_both_languages() -> None:
    assert set(NAMES) == {*MAINS, *set.union(*MAINS.values()), "hsm-key"}
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_bicep_and_arm_say_the_same(name: str) -> None:
    assert compile_file(FOLDER / f"{name}.bicep") == shipped(name)


@pytest.mark.parametrize("main", MAINS)
def test_what_deploys_all_has_the_others_in_it_whole(main: str) -> None:
    inside = [one["properties"]["template"] for one in shipped(main)["resources"]]
    assert all(shipped(name) in inside for name in MAINS[main])
    assert all(one in map(shipped, MAINS[main]) for one in inside)


def test_main_has_all_that_a_release_needs() -> None:
    assert sorted(set(kinds(shipped("main"))) - {NESTED}) == [
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.Compute/virtualMachines",
        "Microsoft.KeyVault/vaults",
        "Microsoft.KeyVault/vaults/accessPolicies",
        "Microsoft.KeyVault/vaults/keys",
        "Microsoft.Network/networkInterfaces",
        "Microsoft.Network/networkSecurityGroups",
        "Microsoft.Network/publicIPAddresses",
        "Microsoft.Network/virtualNetworks",
    ]


def test_main_makes_the_vm_its_grant_and_its_key(deployer: Deployer) -> None:
    done = deployer.deploy(shipped("main"), **MAIN)
    assert done["provisioningState"] == "Succeeded"
    assert deployer.names() == ["cvm-1", "cvm-1-nic", "cvm-1-nsg", "cvm-1-vnet", "main-vault"]
    outputs = {name: one["value"] for name, one in done["outputs"].items()}
    vm = deployer.read("Microsoft.Compute/virtualMachines", "cvm-1")
    assert vm["identity"]["type"] == "SystemAssigned"
    assert vm["identity"]["principalId"] == outputs["principalId"]
    nic = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]
    assert nic == f"{GROUP}/providers/Microsoft.Network/networkInterfaces/cvm-1-nic"
    vault = deployer.read("Microsoft.KeyVault/vaults", "main-vault")["properties"]
    assert vault["sku"]["name"] == "premium"
    assert {one["objectId"]: one["permissions"]["keys"] for one in vault["accessPolicies"]} == {
        OPERATOR.oid: KEY_PERMISSIONS_OF_OPERATOR,
        outputs["principalId"]: ["release"],
    }
    order = deployer.order()
    assert order.index("cvm-1-network") < order.index("cvm-1-vm") < order.index("cvm-1-access")
    assert order.index("cvm-1-vault") < order.index("cvm-1-key")


def test_the_key_is_exportable_under_the_policy_that_step_3_writes(deployer: Deployer) -> None:
    outputs = deployer.outputs(shipped("main"), **MAIN)
    key = deployer.azure.keys("main-vault").get_key(outputs["keyName"])
    assert (key.key_type, key.properties.exportable) == ("RSA-HSM", True)
    assert key.properties.release_policy is not None
    policy = json.loads(key.properties.release_policy.encoded_policy)
    assert policy == json.loads(cvm_policy(outputs["attestationUri"]).raw)


def test_the_policy_is_encoded_without_padding_and_in_the_alphabet_of_urls(deployer: Deployer) -> None:
    declared = {"attestationUri": {"type": "string"}}
    body = template(
        parameters=declared,
        variables=shipped("key")["variables"],
        outputs={"data": {"type": "string", "value": "[variables('encodedPolicy')]"}},
    )
    for host in ("https://a", "https://ab?>", "https://abc~~~", "https://abcd\u00ff\u00fe"):
        data = deployer.outputs(body, attestationUri=host)["data"]
        assert not set(data) & set("+/=")
        policy = json.loads(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)))
        assert policy["anyOf"][0]["authority"] == host


def test_public_address_and_ssh_are_there_only_where_they_are_wanted(deployer: Deployer) -> None:
    network = shipped("network")
    deployer.deploy(network, vmName="closed")
    assert deployer.names() == ["closed-nic", "closed-nsg", "closed-vnet"]
    closed = deployer.read("Microsoft.Network/networkSecurityGroups", "closed-nsg")
    assert closed["properties"]["securityRules"] == []
    deployer.deploy(network, vmName="open", publicIp=True, sshSource="198.51.100.7/32")
    opened = deployer.read("Microsoft.Network/networkSecurityGroups", "open-nsg")["properties"]["securityRules"]
    assert [one["properties"]["sourceAddressPrefix"] for one in opened] == ["198.51.100.7/32"]
    address = deployer.read("Microsoft.Network/networkInterfaces", "open-nic")["properties"]["ipConfigurations"][0]
    assert address["properties"]["publicIPAddress"]["id"].endswith("/publicIPAddresses/open-ip")


def test_a_vm_has_the_user_assigned_identity_beside_its_own(deployer: Deployer) -> None:
    identity = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/user"
    made = deployer.azure.arm("PUT", f"{identity}?api-version=2024-11-30", {"location": "westeurope"})
    assert made.status_code == 201, made.text
    deployer.deploy(
        shipped("confidential-vm"),
        vmName="both",
        interfaceId=f"{GROUP}/providers/Microsoft.Network/networkInterfaces/any",
        adminPublicKey=KEY,
        userAssignedIdentityId=identity,
    )
    found = deployer.read("Microsoft.Compute/virtualMachines", "both")["identity"]
    assert found["type"] == "SystemAssigned, UserAssigned"
    assert [one.lower() for one in found["userAssignedIdentities"]] == [identity.lower()]


def test_a_grant_leaves_what_others_may_do(deployer: Deployer) -> None:
    deployer.deploy(shipped("vault"), vaultName="grant-vault", operatorObjectId=OPERATOR.oid)
    deployer.deploy(shipped("access-policy"), vaultName="grant-vault", objectId=STRANGER.oid)
    vault = deployer.read("Microsoft.KeyVault/vaults", "grant-vault")["properties"]
    assert {one["objectId"]: one["permissions"]["keys"] for one in vault["accessPolicies"]} == {
        OPERATOR.oid: KEY_PERMISSIONS_OF_OPERATOR,
        STRANGER.oid: ["release"],
    }
    assert "enablePurgeProtection" not in vault


RELEASE_USER, CRYPTO_OFFICER = "08bbd89e-9f13-488c-ac41-acfcb10c90ab", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603"


def assigned(deployer: Deployer, vault: str) -> dict[str, str]:
    """The role assignments at exactly this vault: the role's id by the principal."""
    scope = f"{GROUP}/providers/Microsoft.KeyVault/vaults/{vault}"
    listed = deployer.azure.arm(
        "GET", f"{scope}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01"
    )
    found = [one["properties"] for one in listed.json()["value"]]
    return {
        one["principalId"]: one["roleDefinitionId"].rpartition("/")[2]
        for one in found
        if one["scope"].lower() == scope.lower()
    }


def test_main_with_roles_grants_by_them_alone(deployer: Deployer) -> None:
    outputs = deployer.outputs(shipped("main"), **MAIN, rbac=True)
    vault = deployer.read("Microsoft.KeyVault/vaults", "main-vault")["properties"]
    assert (vault["enableRbacAuthorization"], vault["accessPolicies"]) == (True, [])
    roles = {outputs["principalId"]: RELEASE_USER, OPERATOR.oid: CRYPTO_OFFICER}
    assert assigned(deployer, "main-vault") == roles
    order = deployer.order()
    assert order.index("cvm-1-vm") < order.index("cvm-1-release-role")
    assert not {"cvm-1-access"} & set(order)
    assert deployer.deploy(shipped("main"), **MAIN, rbac=True)["provisioningState"] == "Succeeded"
    assert assigned(deployer, "main-vault") == roles  # the names are the same: nothing is assigned twice


def test_the_name_of_an_assignment_follows_from_vault_principal_and_role(deployer: Deployer) -> None:
    """By the documented algorithm of guid(): version 5 of RFC 4122, in a namespace of Resource Manager's own."""
    deployer.deploy(shipped("vault"), vaultName="role-vault", operatorObjectId=OPERATOR.oid, rbac=True)
    deployer.deploy(shipped("vault-role"), vaultName="role-vault", objectId=OPERATOR.oid)
    scope = f"{GROUP}/providers/Microsoft.KeyVault/vaults/role-vault"
    space = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
    name = uuid.uuid5(space, f"{scope}-{OPERATOR.oid}-{RELEASE_USER}")
    url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version=2022-04-01"
    made = deployer.azure.arm("GET", url)
    assert made.status_code == 200, made.text
    assert made.json()["properties"]["principalType"] == "ServicePrincipal"
