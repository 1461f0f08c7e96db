"""Deployment by the shipped template on a running sandbox, and the walk that goes on from there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.errors import ServiceError, UsageError
from skrkit.provision import deployment
from skrkit.provision.deployment import NOBODYS_KEY, Made, Order
from skrkit.provision.deployment_view import view_of_deployed, view_of_prediction
from skrkit.provision.preflight import check
from skrkit.provision.stage import Stage
from skrkit.render.plain import write
from skrkit.render.view import Rows, View
from skrkit.sandbox import process
from skrkit.services.reader import Reader
from skrkit.walkthrough import Walk


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("deployment")
    try:
        yield Cloud.sandbox(home=home)
    finally:
        process.reset(home)


def order(cloud: Cloud, **changes: Any) -> Order:
    stage = Stage(**{"resource_group": "deployed-rg", "vault": "deployed-vault", **changes})
    return Order(stage=stage, operator=deployment.operator_of(cloud), admin_public_key=NOBODYS_KEY)


def text_of(view: View) -> str:
    out = io.StringIO()
    write(view, out)
    return out.getvalue()


def kinds(changes: tuple[deployment.Change, ...]) -> dict[str, str]:
    return {change.resource_id.rpartition("/providers/")[2]: change.kind for change in changes}


def test_one_template_makes_what_the_walk_needs_and_the_walk_goes_on(cloud: Cloud) -> None:
    wanted = order(cloud)
    assert not deployment.group_exists(cloud, wanted)
    told: list[Made] = []
    done = deployment.deploy(cloud, wanted, progress=told.append)
    assert [one.state for one in told] == ["Succeeded"] * 7
    assert sorted(one.name for one in told) == sorted(
        ["cvm-1-nsg", "cvm-1-vnet", "cvm-1-nic", "deployed-vault", "deployed-vault/release-me", "cvm-1",
         "deployed-vault/add"]
    )  # fmt: skip
    assert done.resources == tuple(told)
    assert done.stage == wanted.stage
    assert done.outputs["vaultUri"] == "https://deployed-vault.vault.azure.net/"
    walk = Walk(cloud=cloud, stage=done.stage)
    artefacts = walk.run()
    assert walk.released is not None
    assert walk.identity is not None
    assert walk.identity.object_id == done.outputs["principalId"]
    before = next(one for one in artefacts if one.name == "vm-before")
    assert before.title == "The VM before: its identity is on already"
    assert "has a grant already." in next(one for one in artefacts if one.name == "vault-before").proves

    found = deployment.predict(cloud, wanted)
    assert kinds(found)["Microsoft.KeyVault/vaults/deployed-vault/keys/release-me"] == "NoChange"
    assert kinds(found)["Microsoft.Network/virtualNetworks/cvm-1-vnet"] == "NoChange"
    machine = next(change for change in found if change.resource_id.endswith("/virtualMachines/cvm-1"))
    assert machine.paths == ("properties.networkProfile.networkInterfaces.0.id (known only when it is deployed)",)
    view = view_of_prediction(wanted, found)
    assert isinstance(view.blocks[0], Rows)
    assert view.facts == ("1 Create", "2 Modify", "4 NoChange")
    shown = view_of_deployed(done)
    assert (shown.heading, shown.facts) == ("Deployment skrkit-cvm-1 in deployed-rg: Succeeded", ("7 resources",))


def test_a_prediction_makes_nothing(cloud: Cloud) -> None:
    deployment.deploy(cloud, order(cloud))
    wanted = order(cloud, vm="other", vault="other-vault")
    found = kinds(deployment.predict(cloud, wanted))
    assert found["Microsoft.Compute/virtualMachines/other"] == "Create"
    assert found["Microsoft.KeyVault/vaults/other-vault"] == "Create"
    assert found["Microsoft.Compute/virtualMachines/cvm-1"] == "Ignore"
    assert kinds(deployment.predict(cloud, wanted)) == found


def test_with_roles_the_walk_goes_on_by_them(cloud: Cloud) -> None:
    wanted = order(cloud, resource_group="roles-rg", vault="roles-vault", rbac=True)
    done = deployment.deploy(cloud, wanted)
    assert sorted(one.type for one in done.resources)[:2] == ["Microsoft.Authorization/roleAssignments"] * 2
    with Reader(cloud) as reader:
        assert check(reader, done.stage).complete
    walk = Walk(cloud=cloud, stage=done.stage)
    walk.run()
    assert walk.released is not None
    predicted = deployment.predict(cloud, wanted)
    roles = [change for change in predicted if "/roleAssignments/" in change.resource_id]
    # That of the VM has a name which only its identity gives it: Azure does not predict that one either.
    assert sorted(change.kind for change in roles) == ["NoChange", "Unsupported"]
    assert "resource ID" in next(change.reason for change in roles if change.kind == "Unsupported")
    assert "cannot be predicted" in text_of(view_of_prediction(wanted, predicted))


def test_what_could_not_be_made_is_named_with_the_services_own_words(cloud: Cloud) -> None:
    wanted = replace(order(cloud, vm="wrong", vault="wrong-vault"), vm_size="Standard_D2s_v5")
    told: list[Made] = []
    with pytest.raises(ServiceError) as caught:
        deployment.deploy(cloud, wanted, progress=told.append)
    error = caught.value
    assert (error.what, error.where) == ("deployment skrkit-wrong", "Microsoft.Compute/virtualMachines wrong")
    assert error.found.startswith("BadRequest: The VM size 'Standard_D2s_v5' is not supported")
    assert "az deployment operation group list --resource-group deployed-rg --name skrkit-wrong" in error.fix
    assert {one.name: one.state for one in told}["wrong"] == "Failed"
    assert "wrong-vault/add" not in {one.name for one in told}


def test_a_vault_name_of_somebody_else_has_its_own_fix(cloud: Cloud) -> None:
    deployment.deploy(cloud, order(cloud))
    with pytest.raises(ServiceError) as caught:
        deployment.deploy(cloud, order(cloud, resource_group="second-rg"))
    assert caught.value.code == "VaultAlreadyExists"
    assert caught.value.fix == deployment._FIXES["VaultAlreadyExists"]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nx", "a private key"),
        ("", "0 characters of something else"),
        ("ssh-ed25519 AAAA\nssh-rsa BBBB", "29 characters of something else"),
        ("ssh-rsa " + "A" * 20_000, "20008 characters of something else"),
    ],
)
def test_only_one_public_key_is_sent(key: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        Order(stage=Stage(), operator="o", admin_public_key=key)
    assert caught.value.found == found
    assert "PRIVATE KEY" not in str(caught.value)


def test_the_plan_says_every_thing_in_the_template() -> None:
    plan = " ".join(deployment.plan_of_deployment(Order(stage=Stage(), operator="me", admin_public_key=NOBODYS_KEY)))
    for word in ("skrkit-rg", "cvm-1-vnet", "cvm-1-nic", "skrkit-vault", "release-me", "billed", "me and of the VM"):
        assert word in plan
    given = Order(stage=Stage(), operator="me", admin_public_key=NOBODYS_KEY).parameters()
    assert set(given) <= set(deployment.template()["parameters"])
    needed = {name for name, one in deployment.template()["parameters"].items() if "defaultValue" not in one}
    assert needed <= set(given)
