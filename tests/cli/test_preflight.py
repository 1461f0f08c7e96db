"""`skrkit preflight` as its users run it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.running import skrkit, staged


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with staged(tmp_path_factory.mktemp("preflight-cli")) as endpoint:
        yield endpoint.home


def test_before_and_after_a_walkthrough(home: Path) -> None:
    before = skrkit(home, "preflight")
    assert before.returncode == 6
    assert "az vm identity assign --resource-group skrkit-rg --name cvm-1" in " ".join(before.stdout.split())
    assert before.stderr == ""
    assert skrkit(home, "preflight", "--step", "3", "--json").returncode == 0
    assert skrkit(home, "walkthrough", "--step", "2", "--json").returncode == 0
    after = skrkit(home, "preflight", "--json")
    said = json.loads(after.stdout)
    assert (after.returncode, said["complete"], said["mode"], said["cloud"]) == (0, True, "access policies", "sandbox")
    assert {right["verdict"] for right in said["rights"]} == {"ok"}
    assert "Nothing is missing." in skrkit(home, "preflight").stdout


def test_with_roles(home: Path) -> None:
    done = skrkit(home, "walkthrough", "--rbac", "--json")
    assert done.returncode == 0, done.stderr
    names = [artefact["name"] for artefact in json.loads(done.stdout)["artefacts"] if artefact["step"] == 2]
    assert names == ["vault-before", "role-assignments", "preflight"]
    found = skrkit(home, "preflight", "--vault", "skrkit-roles", "--json")
    assert (found.returncode, json.loads(found.stdout)["mode"]) == (0, "roles")


def test_the_fault_of_the_mode_shows_and_a_walk_by_roles_mends_it(home: Path) -> None:
    assert skrkit(home, "walkthrough", "--step", "3", "--json").returncode == 0
    assert skrkit(home, "sandbox", "fault", "access.rbac-mode").returncode == 0
    try:
        found = json.loads(skrkit(home, "preflight", "--json").stdout)
        lacks = [(right["step"], right["who"]) for right in found["rights"] if right["verdict"] == "failed"]
        assert lacks == [(3, "you"), (3, "you"), (4, "the VM's identity")]
        done = skrkit(home, "walkthrough", "--rbac", "--vault", "skrkit-vault", "--json")
        assert done.returncode == 0, done.stdout
        assert skrkit(home, "preflight").returncode == 0
    finally:
        assert skrkit(home, "sandbox", "fault", "--off-all").returncode == 0


def test_what_is_not_there_and_what_was_not_named(home: Path) -> None:
    gone = skrkit(home, "preflight", "--vm", "nowhere", "--json")
    assert (gone.returncode, json.loads(gone.stdout)["error"]) == (7, "ServiceError")
    azure = skrkit(home, "preflight", "--cloud", "azure", "--vm", "m", "--json", AZURE_SUBSCRIPTION_ID="")
    said = json.loads(azure.stdout)
    assert (azure.returncode, said["error"]) == (2, "UsageError")
    assert said["found"] == "no --resource-group, --vault, --key, --subscription (nor AZURE_SUBSCRIPTION_ID)"
