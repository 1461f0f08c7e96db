"""Validation shows bodies to their providers: a wrong one is found before anything is made, and nothing is made."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from skrkit.provision.deployment import template as shipped
from tests.sandbox.arm.templates.deploying import GROUP, Deployer, nsg, properties, template
from tests.sandbox.vault.azure import OPERATOR

MAIN = {"vaultName": "main-vault", "operatorObjectId": OPERATOR.oid, "adminPublicKey": "ssh-ed25519 AAAA nobody"}
VNET = "Microsoft.Network/virtualNetworks"


def validate(deployer: Deployer, body: Any, **parameters: Any) -> dict[str, Any]:
    given: Any = properties(body, **parameters)
    found: dict[str, Any] = deployer.client.deployments.begin_validate("rg", "d", given).result().as_dict()
    return found


def said(deployer: Deployer, body: Any, **parameters: Any) -> list[tuple[str, str]]:
    """What the providers say of a template that is refused: code and message of each."""
    before = dump(deployer)
    with pytest.raises(HttpResponseError) as caught:
        validate(deployer, body, **parameters)
    assert dump(deployer) == before
    error = caught.value.error
    assert error is not None
    assert (caught.value.status_code, error.code) == (400, "InvalidTemplateDeployment")
    assert str(error.message).startswith(
        "The template deployment 'd' is not valid according to the validation procedure"
    )
    return [(str(one.code), str(one.message)) for one in error.details or []]


def dump(deployer: Deployer) -> Any:
    """All that the store has."""
    store = deployer.azure.world.store
    rows = store._db.execute("SELECT kind, id, body FROM documents ORDER BY kind, id").fetchall()
    return copy.deepcopy(rows)


def subnet(prefix: str, *, group: str = "a") -> dict[str, Any]:
    """A network with one subnet that has a security group."""
    reference = {"id": f"[resourceId('Microsoft.Network/networkSecurityGroups', '{group}')]"}
    inner = {"addressPrefix": prefix, "networkSecurityGroup": reference}
    return {
        "type": VNET,
        "apiVersion": "2024-05-01",
        "name": "net",
        "location": "westeurope",
        "dependsOn": [group],
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
            "subnets": [{"name": "one", "properties": inner}],
        },
    }


def test_the_shipped_template_is_taken_and_nothing_is_made(deployer: Deployer) -> None:
    for rbac in (False, True):
        before = dump(deployer)
        found = validate(deployer, shipped(), **MAIN, rbac=rbac)
        assert found["properties"]["provisioningState"] == "Succeeded"
        assert dump(deployer) == before
    deployer.deploy(shipped(), **MAIN)
    before = dump(deployer)
    validate(deployer, shipped(), **MAIN)  # and again, over what is there
    assert dump(deployer) == before


def test_a_wrong_size_is_found_in_the_nested_template(deployer: Deployer) -> None:
    ((code, message),) = said(deployer, shipped(), **MAIN, vmSize="Standard_D2s_v5")
    assert code == "BadRequest"
    assert "The VM size 'Standard_D2s_v5' is not supported" in message


def test_a_name_that_is_taken_is_found(deployer: Deployer) -> None:
    deployer.deploy(shipped("vault"), vaultName="main-vault", operatorObjectId=OPERATOR.oid)
    deleted = deployer.azure.arm(
        "DELETE", f"{GROUP}/providers/Microsoft.KeyVault/vaults/main-vault?api-version=2023-07-01"
    )
    assert deleted.status_code == 200
    ((code, message),) = said(deployer, shipped(), **MAIN)
    assert code == "ConflictError"
    assert "already exists in deleted state" in message


def test_all_that_is_wrong_is_said_at_once(deployer: Deployer) -> None:
    rule = {"name": "r", "properties": {"priority": 1, "direction": "Inbound"}}
    found = said(
        deployer, template(nsg("a", properties={"securityRules": [rule]}), subnet("192.168.0.0/24", group="a"))
    )
    assert [code for code, _ in found] == ["SecurityRuleInvalidPriority", "NetcfgInvalidSubnet"]


def test_one_resource_may_refer_to_another_of_the_template(deployer: Deployer) -> None:
    assert (
        validate(deployer, template(nsg("a"), subnet("10.0.0.0/24")))["properties"]["provisioningState"] == "Succeeded"
    )
    assert deployer.names() == []


def test_what_cannot_be_changed_is_found_over_what_is_there(deployer: Deployer) -> None:
    deployer.deploy(shipped(), **MAIN)
    ((code, _),) = said(deployer, shipped(), **MAIN, adminUsername="somebody")
    assert code == "PropertyChangeNotAllowed"


def test_what_waits_for_the_deployment_is_not_shown(deployer: Deployer) -> None:
    """The region of the second comes from the first, which is not there yet: Azure does not show that one either."""
    waiting = nsg("b", location="[reference('a').resourceGuid]", properties={"securityRules": "nothing"})
    assert validate(deployer, template(nsg("a"), waiting))["properties"]["provisioningState"] == "Succeeded"


def test_what_the_sandbox_does_not_have_is_its_own_word(deployer: Deployer) -> None:
    with pytest.raises(HttpResponseError) as caught:
        validate(deployer, shipped(), **MAIN, vmSize="Standard_DC2es_v5")
    assert caught.value.status_code == 501
