"""A VM with several identities, by the command line: each command acts as the one that is named, and says which."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skrkit.bundle.bundle import open_bundle
from skrkit.cloud import Cloud, IdentityChoice
from skrkit.sandbox import process
from skrkit.services.identities import ask_imds
from tests.sandbox.running import STAGE, skrkit

NAME = "several-identity"
KIND = "Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("user-identity")
    try:
        yield folder
    finally:
        process.reset(folder)


@pytest.fixture(scope="module")
def walked(home: Path) -> dict[str, Any]:
    """The artefacts, by step and name, of a walk whose VM has both kinds and acts as the user-assigned one."""
    options = ("--identity", "both", "--user-identity", NAME, "--identity-by", "client-id")
    done = skrkit(home, "walkthrough", *options, "--json")
    assert done.returncode == 0, done.stderr
    return {f"{made['step']}/{made['name']}": made["body"] for made in json.loads(done.stdout)["artefacts"]}


def test_all_four_steps_act_as_the_user_assigned_identity(home: Path, walked: dict[str, Any]) -> None:
    own, user = walked["1/identities"]
    assert (own["kind"], user["kind"]) == ("system-assigned", "user-assigned")
    assert user["resource_id"].endswith(f"/resourceGroups/{STAGE.resource_group}/providers/{KIND}/{NAME}")
    assert walked["1/user-identity"]["properties"]["clientId"] == user["client_id"]
    assert walked["1/access-token"]["claims"]["oid"] == user["object_id"] != own["object_id"]
    assert f"client_id={user['client_id']}" in walked["1/imds-token-request"]["request"]["line"]
    assert walked["2/preflight"]["object_id"] == user["object_id"]
    assert walked["2/preflight"]["may_release"] is True
    policies = walked["2/vault-after"]["properties"]["accessPolicies"]
    assert own["object_id"] not in {policy["objectId"] for policy in policies}
    released = ask_imds(Cloud.sandbox(home=home).enter(STAGE.vm, identity=IdentityChoice(client_id=user["client_id"])))
    assert released.object_id == user["object_id"]


def test_the_doctor_asks_as_the_identity_that_is_named(home: Path, walked: dict[str, Any]) -> None:
    own, user = walked["1/identities"]
    verdicts = {}
    for named in ((), ("--user-identity", NAME), ("--user-identity", user["resource_id"])):
        done = skrkit(home, "doctor", "--cloud", "sandbox", *named, "--json")
        checks = {check["id"]: check for check in json.loads(done.stdout)["checks"]}
        token, vm = checks["identity.token"], checks["vm.resource"]
        verdicts[named] = done.returncode, checks["release.preflight"]["verdict"]
        assert token["facts"]["object_id"] == (user if named else own)["object_id"]
        assert token["facts"]["client_id"]
        shown = [{name: each[name] for name in vm["facts"]["identities"][0]} for each in (own, user)]
        assert vm["facts"]["identities"] == shown
        listed = f"object id {own['object_id']} (its own, which IMDS takes by itself), {user['object_id']} ({NAME})."
        assert vm["evidence"].endswith(listed)
    assert verdicts[()] == (4, "failed")  # the VM's own identity was granted nothing
    assert {verdict for named, verdict in verdicts.items() if named} == {(0, "ok")}


def test_explain_live_acts_as_it_and_names_the_selector_that_nobody_has(home: Path, walked: dict[str, Any]) -> None:
    good = skrkit(home, "explain", "--live", "--user-identity", NAME, "--json")
    assert (good.returncode, json.loads(good.stdout)["findings"]) == (0, [])
    bad = skrkit(home, "explain", "--live", "--user-identity", "nobody-here", "--json")
    finding = json.loads(bad.stdout)["findings"][0]
    assert (finding["cause"], finding["certainty"]) == ("identity.wrong-selector", "proved")
    assert finding["found"].endswith(f"/{KIND}/nobody-here")


def test_a_bundle_is_made_as_it(home: Path, walked: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    done = skrkit(home, "bundle", "create", "-o", str(path), "--user-identity", NAME, "--with-identifiers", "--json")
    assert done.returncode == 0, done.stderr
    checks = open_bundle(path.read_bytes()).doctor["checks"]
    assert isinstance(checks, list)
    found: dict[str, Any] = next(each for each in checks if isinstance(each, dict) and each["id"] == "identity.token")
    assert found["facts"]["object_id"] == walked["1/identities"][1]["object_id"]


def test_what_the_command_line_does_not_take(home: Path) -> None:
    for options, words in (
        (("--identity", "mine"), "invalid choice: 'mine'"),
        (("--identity-by", "name"), "invalid choice: 'name'"),
        (("--user-identity", "x y"), "3 to 128 letters, digits, hyphens and underscores"),
    ):
        done = skrkit(home, "walkthrough", *options)
        assert done.returncode == 2
        assert words in done.stderr


def test_the_plan_for_azure_says_what_would_be_made(home: Path) -> None:
    names = ("--resource-group", "g", "--vm", "m", "--vault", "myvault", "--key", "k", "--subscription", "s")
    at = ("--attestation", "https://sharedweu.weu.attest.azure.net")
    planned = skrkit(
        home, "walkthrough", "--cloud", "azure", *names, *at, "--identity", "user", "--user-identity", "mine"
    )
    assert planned.returncode == 0
    assert "assign it the user-assigned identity mine, which is made if it is not there" in " ".join(
        planned.stdout.split()
    )
