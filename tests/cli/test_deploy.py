"""`skrkit deploy`: the plan, the prediction, the deployment, and what it says when one fails."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.cli import deploy, walkthrough
from skrkit.provision.deployment import NOBODYS_KEY, Deployed, Order
from skrkit.provision.stage import Stage
from skrkit.sandbox import process
from tests.sandbox.running import skrkit


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("deploy")
    yield made
    process.reset(made)


def test_what_if_then_deploy_then_walk(home: Path) -> None:
    plan = skrkit(home, "deploy", "--what-if")
    assert plan.returncode == 0, plan.stderr
    assert "Resource group skrkit-rg is not there: all of this would be new." in plan.stdout
    assert plan.stdout.endswith("\nNothing was done.\n")  # and nothing is asked for that was given
    done = skrkit(home, "deploy")
    assert done.returncode == 0, done.stderr
    assert "Deployment skrkit-cvm-1 in skrkit-rg: Succeeded" in done.stdout
    assert "  Microsoft.Compute/virtualMachines cvm-1: made" in done.stderr
    assert done.stdout.rstrip().endswith("skrkit walkthrough")
    again = skrkit(home, "deploy", "--what-if")
    assert "Microsoft.KeyVault/vaults/skrkit-vault/keys/release-me" in again.stdout
    assert "NoChange" in again.stdout
    walk = skrkit(home, "walkthrough", "--json")
    assert walk.returncode == 0, walk.stderr
    names = [artefact["name"] for artefact in json.loads(walk.stdout)["artefacts"]]
    assert "platform-released" in names


def test_json_says_what_was_made_and_how_to_go_on(home: Path) -> None:
    done = skrkit(home, "deploy", "--json", "--resource-group", "json-rg", "--vm", "json-vm", "--vault", "json-vault")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["cloud"], document["done"], document["outputs"]["vmName"]) == ("sandbox", True, "json-vm")
    assert document["next"] == "skrkit walkthrough --resource-group json-rg --vm json-vm --vault json-vault"
    assert len(document["resources"]) == 7
    predicted = skrkit(home, "deploy", "--json", "--what-if", "--resource-group", "json-rg", "--vm", "json-vm",
                       "--vault", "json-vault")  # fmt: skip
    changes = json.loads(predicted.stdout)["changes"]
    assert {change["change"] for change in changes} == {"NoChange", "Modify", "Create"}


def test_with_roles_the_doctor_is_content_and_the_walk_goes_on(home: Path) -> None:
    where = ("--resource-group", "roles-rg", "--vm", "roles-vm")
    done = skrkit(home, "deploy", "--rbac", *where)
    assert done.returncode == 0, done.stderr
    assert "it goes by Azure roles" in done.stderr
    command = done.stdout.rstrip().rpartition("\n")[2]
    assert shlex.split(command) == ["skrkit", "walkthrough", *where, "--vault", walkthrough.RBAC_VAULT, "--rbac"]
    stage = (*where, "--vault", walkthrough.RBAC_VAULT)
    checked = skrkit(home, "doctor", "--cloud", "sandbox", *stage, "--release", seconds=120)
    assert checked.returncode == 0, checked.stdout
    assert skrkit(home, "preflight", *stage).returncode == 0
    walk = skrkit(home, *shlex.split(command)[1:], "--step", "4", seconds=120)
    assert walk.returncode == 0, walk.stderr


def test_a_failure_names_the_resource(home: Path) -> None:
    failed = skrkit(home, "deploy", "--vm", "bad", "--vault", "bad-vault", "--vm-size", "Standard_D2s_v5", "--json")
    assert failed.returncode == 7
    error = json.loads(failed.stdout)
    assert (error["where"], error["error"]) == ("Microsoft.Compute/virtualMachines bad", "ServiceError")


def test_the_template_is_printed_for_other_tools(home: Path) -> None:
    printed = skrkit(home, "deploy", "--template")
    assert json.loads(printed.stdout)["parameters"]["vaultName"]["maxLength"] == 24


def test_azure_asks_for_every_name_and_for_a_key(home: Path) -> None:
    refused = skrkit(home, "deploy", "--cloud", "azure", AZURE_SUBSCRIPTION_ID="")
    assert refused.returncode == 2
    for word in ("--resource-group", "--vault", "--ssh-public-key", "--subscription (nor AZURE_SUBSCRIPTION_ID)"):
        assert word in refused.stderr


def test_in_azure_nothing_is_done_without_yes(home: Path, tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA me@here\n")
    names = ["--resource-group", "g", "--location", "westeurope", "--vm", "m", "--vault", "vlt", "--key", "k",
             "--attestation", "https://sharedweu.weu.attest.azure.net", "--ssh-public-key", str(key),
             "--subscription", "s", "--operator-object-id", "me", "--public-ip"]  # fmt: skip
    planned = skrkit(home, "deploy", "--cloud", "azure", *names, HTTPS_PROXY="http://127.0.0.1:9")
    assert planned.returncode == 0, planned.stderr
    assert "Confidential VM m (Standard_DC2as_v5)" in planned.stdout
    assert "a public address" in planned.stdout
    assert "Nothing was done." in planned.stdout
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
    refused = skrkit(home, "deploy", "--cloud", "azure", *names)
    assert refused.returncode == 2
    assert "found: a private key" in refused.stderr
    assert "secret" not in refused.stderr


def test_the_next_command_of_azure_is_one_that_the_walkthrough_reads_as_meant() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    deploy.add_parser(commands)
    walkthrough.add_parser(commands)
    stage = Stage(vm="m", vault="my-vault", resource_group="my group", key="k")
    done = Deployed(order=Order(stage=stage, operator="me", admin_public_key=NOBODYS_KEY), stage=stage)
    given = ["deploy", "--cloud", "azure", "--subscription", "s", "--azure-cloud", "AzureUSGovernment"]
    words = shlex.split(deploy._next(parser.parse_args(given), done))
    read = parser.parse_args(words[1:])
    found = walkthrough._stage(read)
    for name in ("vm", "vault", "resource_group", "key", "location", "attestation"):
        assert getattr(found, name) == getattr(stage, name)
    assert (read.cloud, read.subscription, read.azure_cloud) == ("azure", "s", "AzureUSGovernment")
