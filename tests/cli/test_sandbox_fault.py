"""`skrkit sandbox fault` as a user has it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_all_off
from skrkit.sandbox.faults.table import all_faults
from tests.sandbox.running import skrkit, staged


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox with resource group, vault and VM, and nothing that the steps make."""
    with staged(tmp_path_factory.mktemp("fault")) as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def nothing_stays_on(sandbox: Endpoint) -> Iterator[None]:
    yield
    switch_all_off(home=sandbox.home)


def fault(sandbox: Endpoint, *arguments: str) -> subprocess.CompletedProcess[str]:
    return skrkit(sandbox.home, "sandbox", "fault", *arguments, COLUMNS="100")


def test_the_gallery_without_a_sandbox(tmp_path: Path) -> None:
    listed = skrkit(tmp_path, "sandbox", "fault", "--list", COLUMNS="140")
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert lines[0] == "Faults of the sandbox"
    assert (
        lines[2]
        == f"{len(all_faults())} faults · {sum(each.attack for each in all_faults())} attacks · no sandbox runs"
    )
    for each in all_faults():
        assert any(line.startswith(f"{each.name} ") for line in lines), each.name
    as_json = json.loads(skrkit(tmp_path, "sandbox", "fault", "--list", "--json").stdout)
    assert [each["name"] for each in as_json["faults"]] == [each.name for each in all_faults()]
    assert {each["on"] for each in as_json["faults"]} == {None}
    assert list(tmp_path.iterdir()) == []  # a list starts nothing


def test_on_says_what_it_does_and_off_what_it_found(sandbox: Endpoint) -> None:
    done = fault(sandbox, "network.vault-throttled", "access.private-only")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "network.vault-throttled is on: The vault throttles releases\n"
        "───────────────────────────────────────────────────────────\n"
        "\n"
        "does      Every release is answered 429: a vault allows ten creates and releases in ten seconds.\n"
        "shown by  step 4: Attest inside the VM, release the key, unwrap it in the vTPM\n"
        "is        a mistake or a mishap, no attack\n"
        "named by  skrkit explain --live, and skrkit doctor\n"
        "mended    by skrkit sandbox fault --off network.vault-throttled\n"
        "\n"
        "access.private-only is on: The vault takes private connections alone\n"
        "────────────────────────────────────────────────────────────────────\n"
        "\n"
        "does      Sets publicNetworkAccess of every vault to Disabled.\n"
        "shown by  step 3: Create an exportable key with a release policy\n"
        "is        a mistake or a mishap, no attack\n"
        "named by  skrkit explain --live, and skrkit doctor\n"
        "mended    by its cause's command, or by skrkit sandbox fault --off access.private-only\n"
    )
    listed = json.loads(fault(sandbox, "--list", "--json").stdout)["faults"]
    assert {each["name"] for each in listed if each["on"]} == {"network.vault-throttled", "access.private-only"}
    assert "· 2 on" in fault(sandbox, "--list").stdout
    status = skrkit(sandbox.home, "sandbox", "status").stdout.splitlines()
    assert status[-2:] == ["  fault on: access.private-only", "  fault on: network.vault-throttled"]
    off = fault(sandbox, "--off", "network.vault-throttled", "--json")
    assert json.loads(off.stdout) == {"found": {"network.vault-throttled": "It behaves as Azure again."}}
    assert fault(sandbox, "--off-all").stdout == (
        "1 fault switched off\n"
        "────────────────────\n"
        "\n"
        "access.private-only  Put back: publicNetworkAccess of skrkit-vault.\n"
    )
    assert fault(sandbox, "--off-all").stdout.startswith("No fault was on\n")


def test_an_attack_says_that_it_is_one(sandbox: Endpoint) -> None:
    attack = next(each for each in all_faults() if each.attack and each.apply is None)
    assert "is        an attack, not a mistake\n" in fault(sandbox, attack.name).stdout
    assert json.loads(fault(sandbox, "--off-all", "--json").stdout)["found"].keys() == {attack.name}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected: names, or --list, or --off NAME, or --off-all"),
        (("key.disabled", "--list"), "found: none of them, or more than one"),
        (("--off-all", "--off", "key.disabled"), "found: none of them, or more than one"),
        (("network.vault-throttled", "key.disbled"), "expected: key.disabled"),
        (("--off", "key.disabled"), "expected: a fault that is on"),
        (("key.disabled",), "fix: skrkit walkthrough   and then switch the fault on"),
        (("--off", "../status"), "fix: skrkit sandbox fault --list"),
    ],
)
def test_what_is_refused(sandbox: Endpoint, arguments: tuple[str, ...], said: str) -> None:
    done = fault(sandbox, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    as_json = fault(sandbox, *arguments, "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["error"]) == (2, "UsageError")
    assert not any(each["on"] for each in json.loads(fault(sandbox, "--list", "--json").stdout)["faults"])
