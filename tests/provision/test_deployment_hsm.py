"""A Managed HSM by template: what Resource Manager makes of it, what comes after, and what is left to others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.cli import deploy as command
from skrkit.cloud import Cloud
from skrkit.errors import ServiceError, UsageError
from skrkit.provision import deployment, deployment_hsm, hsm
from skrkit.provision.deployment import NOBODYS_KEY, Deployed, Order
from skrkit.provision.deployment_view import view_of_opened
from skrkit.provision.stage import Stage
from skrkit.render.view import Rows
from skrkit.sandbox import process
from skrkit.services import arm, security_domain
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ROLE, held_roles, local_roles
from skrkit.services.vault import key_client
from skrkit.walkthrough import Walk
from tests.sandbox.hsm.azure import HOLDERS, certificate
from tests.sandbox.hsm.holders import master_of, parts_of
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


def test_real_holders_get_the_domain_and_two_of_them_open_it(tmp_path: Path) -> None:
    cards = [str(_card(tmp_path, number, key)) for number, key in enumerate(HOLDERS)]
    holders = [word for card in cards for word in ("--holder", card)]
    domain = tmp_path / "domain.json"
    try:
        for wrong, words in (
            (holders, "--hsm, three or more --holder, and --security-domain"),
            (["--security-domain", str(domain)], "three or more --holder"),
            ([*holders[:4], "--security-domain", str(domain)], "3 to 10 certificates"),
            ([*holders, "--security-domain", str(domain), "--quorum", "4"], "a quorum of 2 to 3"),
            ([*holders, "--security-domain", cards[0]], "a new file"),
            ([*holders, "--holder", str(tmp_path / "domain.txt"), "--security-domain", str(domain)], "domain.txt"),
        ):
            (tmp_path / "domain.txt").write_text("no certificate")
            refused = skrkit(tmp_path, "deploy", "--hsm", *wrong)
            assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
        assert not domain.exists()
        done = skrkit(tmp_path, "deploy", "--hsm", *holders, "--security-domain", str(domain), "--json")
        assert done.returncode == 0, done.stderr
        assert "2 of 3 holders restore it" in json.loads(done.stdout)["after_template"]["done"][0]
        assert domain.stat().st_mode & 0o777 == 0o600
        document = json.loads(domain.read_text())
        assert parts_of(document, master_of(document, HOLDERS, [2, 0]))
        unused = tmp_path / "again.json"
        again = skrkit(tmp_path, "deploy", "--hsm", *holders, "--security-domain", str(unused), "--json")
        assert (again.returncode, unused.exists()) == (0, False)  # it is active: nothing is downloaded again
    finally:
        process.reset(tmp_path)


def _card(folder: Path, number: int, key: rsa.RSAPrivateKey) -> Path:
    """A holder's certificate in a file: PEM, or DER for the first."""
    path = folder / f"{number}.cer"
    path.write_bytes(certificate(key).public_bytes(Encoding.PEM if number else Encoding.DER))
    return path


def test_a_domain_is_kept_before_the_hsm_is_waited_for(
    cloud: Cloud, deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = deployment.deploy(cloud, order(cloud, vm="third-vm", hsm="waiting-hsm"))

    def gone(*_arguments: object) -> None:
        raise ServiceError(what="w", where="w", expected="e", found="f", fix="x")

    monkeypatch.setattr(security_domain, "_wait_until_active", gone)
    kept: list[bytes] = []
    cards = tuple(certificate(key) for key in HOLDERS)
    holders = deployment_hsm.Holders(certificates=cards, quorum=2, keep=kept.append)
    with pytest.raises(ServiceError):
        deployment_hsm.open_hsm(replace(cloud, world="azure"), waiting, holders)
    assert parts_of(json.loads(kept[0]), master_of(json.loads(kept[0]), HOLDERS, [0, 1]))
