"""`skrkit sandbox principal`: a caller that is not the owner, in a shell of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import STAGE, environment, group_url, send, skrkit, staged

VM = "/providers/Microsoft.Compute/virtualMachines/cvm-1"
ROLE = "Virtual Machine Contributor"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with staged(tmp_path_factory.mktemp("principal")) as running:
        yield running


def group_id(endpoint: Endpoint) -> str:
    return group_url(endpoint).removeprefix("https://management.azure.com")


def create(endpoint: Endpoint, name: str, *more: str) -> dict[str, Any]:
    done = skrkit(endpoint.home, "sandbox", "principal", "create", name, *more, "--json")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def as_principal(endpoint: Endpoint, made: dict[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in made["unset"]}
    env = kept | environment(endpoint.home) | made["set"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_vm_contributor_takes_step_1_and_no_other(endpoint: Endpoint) -> None:
    made = create(endpoint, "vm-contributor", "--role", ROLE, "--scope", f"{group_id(endpoint)}{VM}")
    python = (sys.executable, "-m", "skrkit", "walkthrough", "--json", "--step")
    first = as_principal(endpoint, made, *python, "1")
    assert first.returncode == 0, first.stderr
    names = [artefact["name"] for artefact in json.loads(first.stdout)["artefacts"]]
    assert "identity-object-id" in names
    second = as_principal(endpoint, made, *python, "2")
    error = json.loads(second.stdout)
    assert (second.returncode, error["error"]) == (7, "ServiceError")
    assert error["found"].startswith(
        f"HTTP 403 AuthorizationFailed: The client '{made['object_id']}' with object id '{made['object_id']}' does not "
        "have authorization to perform action 'Microsoft.KeyVault/vaults/read' over scope '/subscriptions/"
    )


def test_curl_in_the_shell_that_the_command_prints(endpoint: Endpoint, tmp_path: Path) -> None:
    printed = skrkit(endpoint.home, "sandbox", "principal", "create", "reader", "--role", "Reader")
    assert printed.returncode == 0
    script = printed.stdout + (
        'TOKEN=$(curl -sf "https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token" '
        "-d grant_type=client_credentials -d client_id=$AZURE_CLIENT_ID -d client_secret=$AZURE_CLIENT_SECRET "
        '-d scope=https://management.azure.com/.default | sed \'s/.*"access_token":"//; s/".*//\')\n'
        f'curl -s -o /dev/null -w "%{{http_code}} " -H "Authorization: Bearer $TOKEN" '
        f'"{group_url(endpoint)}?api-version=2025-04-01"\n'
        f'curl -s -X DELETE -H "Authorization: Bearer $TOKEN" "{group_url(endpoint)}?api-version=2025-04-01"\n'
    )
    done = subprocess.run(
        ["sh", "-c", script], env=environment(endpoint.home), capture_output=True, text=True, timeout=60, check=False
    )
    status, _, body = done.stdout.partition(" ")
    assert status == "200", done
    error = json.loads(body)["error"]
    assert error["code"] == "AuthorizationFailed"
    assert "'Microsoft.Resources/subscriptions/resourceGroups/delete'" in error["message"]


def test_exec_in_its_shell_stays_this_principal_and_in_a_vm_is_nobody(endpoint: Endpoint) -> None:
    made = create(endpoint, "exec")
    show = ("-m", "skrkit", "sandbox", "exec")
    print_id = ("--", sys.executable, "-c", "import os; print(os.environ.get('AZURE_CLIENT_ID'))")
    outside = as_principal(endpoint, made, sys.executable, *show, *print_id)
    assert outside.stdout.strip() == made["client_id"]
    inside = as_principal(endpoint, made, sys.executable, *show, "--vm", STAGE.vm, *print_id)
    assert inside.stdout.strip() == "None"
    back = as_principal(endpoint, made, sys.executable, "-m", "skrkit", "sandbox", "env", "--json")
    assert json.loads(back.stdout)["set"]["AZURE_CLIENT_ID"] == endpoint.client_id


def test_the_secret_is_told_once_and_is_nowhere(endpoint: Endpoint) -> None:
    made = create(endpoint, "secretive")
    secret = made["set"]["AZURE_CLIENT_SECRET"]
    assert made["role"] == made["scope"] == ""
    listed = skrkit(endpoint.home, "sandbox", "principal", "list", "--json")
    assert secret not in listed.stdout
    (shown,) = [each for each in json.loads(listed.stdout)["principals"] if each["name"] == "secretive"]
    assert shown["roles"] == []
    for path in endpoint.home.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    again = skrkit(endpoint.home, "sandbox", "principal", "create", "secretive", "--json")
    assert (again.returncode, json.loads(again.stdout)["found"]) == (
        2,
        "a principal of that name, whose secret was shown when it was made",
    )


def test_a_deleted_principal_signs_in_no_more_and_its_roles_are_gone(endpoint: Endpoint) -> None:
    made = create(endpoint, "short", "--role", "reader")
    assert made["role"] == "Reader"
    assert made["scope"] == f"/subscriptions/{endpoint.subscription}"
    text = skrkit(endpoint.home, "sandbox", "principal", "list").stdout
    assert "short" in text
    assert skrkit(endpoint.home, "sandbox", "principal", "delete", "short").returncode == 0
    done = as_principal(endpoint, made, sys.executable, "-m", "skrkit", "walkthrough", "--step", "1", "--json")
    assert "AADSTS700016" in json.loads(done.stdout)["found"]
    gone = skrkit(endpoint.home, "sandbox", "principal", "delete", "short", "--json")
    assert (gone.returncode, json.loads(gone.stdout)["fix"]) == (2, "skrkit sandbox principal list")


@pytest.mark.parametrize(
    ("arguments", "what", "expected"),
    [
        (("x", "--role", "Key Vault Crypto Usr"), "--role", "Key Vault Crypto User"),
        (("x", "--role", "Reader", "--scope", "/subscriptions/other"), "--scope", "/subscriptions/"),
        (("operator",), "principal operator", "a name that is free"),
        (("a/b",), "principal", "1 to 64 letters"),
    ],
)
def test_what_cannot_be_made_says_what_can(
    endpoint: Endpoint, arguments: tuple[str, ...], what: str, expected: str
) -> None:
    done = skrkit(endpoint.home, "sandbox", "principal", "create", *arguments, "--json")
    error = json.loads(done.stdout)
    assert (done.returncode, error["what"]) == (2, what)
    assert error["expected"].startswith(expected)


def test_another_s_environment_is_not_taken_for_a_principal(endpoint: Endpoint) -> None:
    """A real account's variables in the shell: the sandbox is the operator's all the same."""
    other: dict[str, Any] = {
        "AZURE_TENANT_ID": "72f988bf-0000-4000-8000-000000000000",
        "AZURE_CLIENT_ID": "c",
        "AZURE_CLIENT_SECRET": "s",
    }
    done = skrkit(endpoint.home, "walkthrough", "--step", "2", "--json", **other)
    assert done.returncode == 0, done.stderr


def test_the_control_interface_asks_for_its_secret(endpoint: Endpoint) -> None:
    answer = send(endpoint, "PUT", "http://sandbox.skrkit/principals?name=thief&role=Owner")
    assert answer.status == 403
    assert "thief" not in skrkit(endpoint.home, "sandbox", "principal", "list").stdout
