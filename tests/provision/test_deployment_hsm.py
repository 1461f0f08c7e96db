"""A Managed HSM by template: what Resource Manager makes of it, what comes after, and what is left to others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skrkit.cli import deploy as command
from skrkit.cloud import Cloud
from skrkit.errors import UsageError
from skrkit.provision import deployment, deployment_hsm, hsm
from skrkit.provision.deployment import NOBODYS_KEY, Deployed, Order
from skrkit.provision.deployment_view import view_of_opened
from skrkit.provision.stage import Stage
from skrkit.render.view import Rows
from skrkit.sandbox import process
from skrkit.services import arm
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ROLE, held_roles, local_roles
from skrkit.services.vault import key_client
from skrkit.walkthrough import Walk
from tests.sandbox.running import skrkit

STAGE = Stage(resource_group="hsm-rg", vm="hsm-vm", hsm="deployed-hsm")
HSM_TYPE = "Microsoft.KeyVault/managedHSMs"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("deployment-hsm")
    try:
        yield Cloud.sandbox(home=home)
    finally:
        process.reset(home)


@pytest.fixture(scope="module")
def deployed(cloud: Cloud) -> Deployed:
    return deployment.deploy(cloud, order(cloud))


def order(cloud: Cloud, **changes: Any) -> Order:
    operator = deployment.operator_of(cloud)
    return Order(stage=replace(STAGE, **changes), operator=operator, admin_public_key=NOBODYS_KEY)


def test_the_template_makes_the_hsm_and_no_key(cloud: Cloud, deployed: Deployed) -> None:
    assert sorted(one.name for one in deployed.resources) == sorted(
        ["hsm-vm-nsg", "hsm-vm-vnet", "hsm-vm-nic", "deployed-hsm", "hsm-vm"]
    )
    assert deployed.stage == STAGE
    assert deployed.outputs["hsmUri"] == "https://deployed-hsm.managedhsm.azure.net/"
    with arm.key_vaults(cloud) as client:
        made = client.managed_hsms.get("hsm-rg", "deployed-hsm")
    assert made is not None
    assert made.properties is not None
    assert made.properties.initial_admin_object_ids == [deployed.order.operator]
    assert made.tags == {"skrkit": "deploy"}


def test_what_comes_after_the_template_leaves_a_walk_nothing_to_do(cloud: Cloud, deployed: Deployed) -> None:
    with arm.key_vaults(cloud) as client:
        found = client.managed_hsms.get("hsm-rg", "deployed-hsm")
    resting = found is not None and hsm.activation_of(found.as_dict()) != "Active"
    first, second = (deployment_hsm.open_hsm(cloud, deployed) for _ in range(2))
    assert (len(first.done) - resting, len(second.done), first.left, second.left) == (3, 3, (), ())
    assert first.done[-3:] == second.done  # to do it again changes nothing
    with local_roles(cloud, STAGE.vault_url(cloud)) as client:
        mine = [(role.role, role.scope) for role in held_roles(client, STAGE.key, deployed.order.operator)]
        its = held_roles(client, STAGE.key, str(deployed.outputs["principalId"]))
    assert sorted(mine) == [("Managed HSM Administrator", "/"), (CRYPTO_USER_ROLE, "/keys")]
    assert [(role.role, role.scope) for role in its] == [(RELEASE_ROLE, "/keys/release-me")]
    with key_client(cloud, STAGE.vault_url(cloud)) as client:
        key = client.get_key(STAGE.key)
    assert (key.key_type, key.properties.exportable) == ("RSA-HSM", True)
    walk = Walk(cloud=cloud, stage=deployed.stage)
    walk.run()
    assert walk.released is not None
    predicted = {
        change.resource_id.rpartition("/providers/")[2]: change.kind
        for change in deployment.predict(cloud, deployed.order)
    }
    assert predicted[f"{HSM_TYPE}/deployed-hsm"] == "NoChange"


def test_in_azure_activation_is_left_to_who_holds_the_keys(
    cloud: Cloud, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    resting = deployment.deploy(cloud, order(cloud, vm="other-vm", hsm="resting-hsm"))
    monkeypatch.setattr(hsm, "activate_for_nobody", lambda *_a: pytest.fail("activated by itself"))
    azure = replace(cloud, world="azure")
    opened = deployment_hsm.open_hsm(azure, resting)
    assert opened.done == ()
    assert opened.left == (hsm.activation_command("resting-hsm"),)
    assert [block.title for block in view_of_opened(opened).blocks if isinstance(block, Rows)] == ["Left to do"]
    arguments = SimpleNamespace(cloud="azure", subscription="", tenant="", azure_cloud="")
    assert "--hsm resting-hsm" in command._next(arguments, resting)  # type: ignore[arg-type]
    assert "--vault" not in command._next(arguments, resting)  # type: ignore[arg-type]


def test_the_plan_says_every_thing_and_the_parameters_are_the_template_s() -> None:
    made = Order(stage=STAGE, operator="me", admin_public_key=NOBODYS_KEY)
    plan = " ".join(deployment.plan_of_deployment(made))
    for word in ("hsm-rg", "hsm-vm-nic", "deployed-hsm (Standard_B1)", "billed by the hour", "activated", "release-me"):
        assert word in plan
    assert "Vault" not in plan
    template = deployment.template("main-hsm")
    needed = {name for name, one in template["parameters"].items() if "defaultValue" not in one}
    assert needed <= set(made.parameters()) <= set(template["parameters"])


def test_a_template_of_no_such_name_is_refused() -> None:
    for name in ("nothing", "../templates/main", "main.json"):
        with pytest.raises(UsageError, match="hsm-key, key, main, main-hsm"):
            deployment.template(name)


def test_the_command_deploys_and_says_how_to_go_on(tmp_path: Path) -> None:
    try:
        done = skrkit(tmp_path, "deploy", "--hsm", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert (document["next"], document["after_template"]["left"]) == ("skrkit walkthrough --hsm", [])
        assert len(document["after_template"]["done"]) == 4
        assert skrkit(tmp_path, "preflight", "--hsm").returncode == 0
        shown = skrkit(tmp_path, "deploy", "--hsm")
        assert "After the template: what only the Managed HSM itself can do" in shown.stdout
        printed = skrkit(tmp_path, "deploy", "--hsm", "--template")
        assert "hsmName" in json.loads(printed.stdout)["parameters"]
        assert "keyName" in json.loads(skrkit(tmp_path, "deploy", "--template", "hsm-key").stdout)["parameters"]
        assert skrkit(tmp_path, "deploy", "--template", "no-such").returncode == 2
        azure = skrkit(tmp_path, "deploy", "--cloud", "azure", "--hsm", AZURE_SUBSCRIPTION_ID="")
        assert (azure.returncode, "--hsm, " in azure.stderr, "--vault" in azure.stderr) == (2, True, False)
    finally:
        process.reset(tmp_path)
