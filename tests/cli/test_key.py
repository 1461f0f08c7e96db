"""`skrkit key`: a new version, another policy, an own key; the permissions that each takes, and what is refused."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skrkit.cloud import Cloud
from skrkit.policy.templates import cvm_policy
from skrkit.provision import key_rights
from skrkit.provision.stage import Stage, set_stage, vault_body
from skrkit.sandbox import process
from skrkit.services import arm
from skrkit.services.vault import key_client
from tests.sandbox.running import STAGE, skrkit

ELSEWHERE = cvm_policy("https://sharedneu.neu.attest.azure.net")
AZURE = ("--cloud", "azure", "--resource-group", "g", "--vault", "my-vault", "--key", "k", "--subscription", "s")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("key")
    try:
        done = skrkit(made, "walkthrough", "--json", seconds=120)
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        process.reset(made)


@pytest.fixture
def cloud(home: Path) -> Cloud:
    return Cloud.sandbox(home=home)


def versions(cloud: Cloud, stage: Stage = STAGE) -> list[str]:
    with key_client(cloud, stage.vault_url(cloud)) as keys:
        return [str(each.version) for each in keys.list_properties_of_key_versions(stage.key)]


def changed(home: Path, *arguments: str) -> Any:
    done = skrkit(home, "key", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def add_vault(cloud: Cloud, stage: Stage, *permissions: str) -> None:
    body = vault_body(cloud, stage)
    if permissions:
        body["properties"]["accessPolicies"][0]["permissions"]["keys"] = list(permissions)
    with arm.key_vaults(cloud) as vaults:
        parameters = VaultCreateOrUpdateParameters(body)
        vaults.vaults.begin_create_or_update(stage.resource_group, stage.vault, parameters).result()


def test_a_new_version_is_released_in_its_turn(home: Path, cloud: Cloud) -> None:
    before = versions(cloud)
    found = changed(home, "new-version")
    assert found["version"] not in before
    assert sorted(versions(cloud)) == sorted([*before, found["version"]])
    assert found["artefacts"][0]["name"] == "version-before"
    released = skrkit(home, "walkthrough", "--step", "4", "--json", seconds=120)
    assert released.returncode == 0, released.stderr
    assert found["kid"] in released.stdout


def test_another_policy_says_who_loses_the_key_and_they_do(home: Path, tmp_path: Path) -> None:
    mine, elsewhere = tmp_path / "mine.json", tmp_path / "elsewhere.json"
    mine.write_bytes(cvm_policy(STAGE.attestation).raw)
    elsewhere.write_bytes(ELSEWHERE.raw)
    found = changed(home, "policy", str(elsewhere))
    difference = next(each for each in found["artefacts"] if each["name"] == "policy-change")
    assert STAGE.attestation in json.dumps(difference)
    assert skrkit(home, "doctor", "--cloud", "sandbox", "--release").returncode == 4
    done = skrkit(home, "key", "policy", "-", stdin=mine.read_text())
    assert done.returncode == 0, done.stderr
    assert "Key release-me is now at version" in done.stdout
    assert skrkit(home, "doctor", "--cloud", "sandbox", "--release").returncode == 0


def test_an_own_key_comes_in_and_goes_out_by_its_policy(home: Path, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "own.pem").write_bytes(pem)
    (tmp_path / "policy.json").write_bytes(cvm_policy(STAGE.attestation).raw)
    done = skrkit(home, "key", "import", str(tmp_path / "own.pem"), str(tmp_path / "policy.json"), "--key", "own")
    assert done.returncode == 0, done.stderr
    assert "PRIVATE" not in done.stdout
    numbers = private.private_numbers().private_value.to_bytes(32, "big")
    assert numbers.hex() not in done.stdout
    assert skrkit(home, "doctor", "--cloud", "sandbox", "--key", "own", "--release").returncode == 0


@pytest.mark.parametrize("change", ["new-version", "policy", "import"])
def test_a_permission_that_is_missing_is_named_before_anything_is_sent(
    home: Path, cloud: Cloud, tmp_path: Path, change: str
) -> None:
    stage = replace(STAGE, vault="narrow-vault")
    add_vault(cloud, stage, "get", "list")
    (tmp_path / "policy.json").write_bytes(ELSEWHERE.raw)
    (tmp_path / "own.pem").write_bytes(b"never read as a key: the permission is looked at first")
    files = {"new-version": (), "policy": ("policy.json",), "import": ("own.pem", "policy.json")}[change]
    done = skrkit(home, "key", change, *(str(tmp_path / file) for file in files), "--vault", stage.vault, "--json")
    assert done.returncode == 7
    error = json.loads(done.stdout)
    missing = list(key_rights.PERMISSIONS[change])[-1]  # type: ignore[index]
    assert error["expected"].startswith(f"the permission `keys {missing}`, to ")
    command = shlex.split(error["fix"])
    assert command[:5] == ["az", "keyvault", "set-policy", "--name", stage.vault]
    add_vault(cloud, stage, *command[command.index("--key-permissions") + 1 :])  # what the command does
    assert all(right.verdict == "ok" for right in key_rights.check(cloud, stage, change))  # type: ignore[arg-type]


def test_a_vault_that_goes_by_roles_asks_for_one(home: Path, cloud: Cloud) -> None:
    stage = replace(STAGE, vault="roles-vault", rbac=True)
    add_vault(cloud, stage)  # an Owner of the subscription has no data action there
    done = skrkit(home, "key", "new-version", "--vault", stage.vault, "--json")
    assert done.returncode == 7
    error = json.loads(done.stdout)
    assert "Microsoft.KeyVault/vaults/keys/read" in error["expected"]
    assert error["fix"].startswith('az role assignment create --role "Key Vault Crypto Officer"')
    set_stage(cloud, stage)
    assert all(right.verdict == "ok" for right in key_rights.check(cloud, stage, "new-version"))


def test_a_key_of_a_managed_hsm_gets_its_next_version_too(home: Path, cloud: Cloud) -> None:
    made = skrkit(home, "walkthrough", "--hsm", "--step", "3", "--json", seconds=120)
    assert made.returncode == 0, made.stderr
    found = changed(home, "new-version", "--hsm")
    assert found["kid"].startswith("https://skrkit-hsm.managedhsm.azure.net/keys/release-me/")
    stage = replace(STAGE, hsm="skrkit-hsm")
    for change in key_rights.PERMISSIONS:
        assert all(right.verdict == "ok" for right in key_rights.check(cloud, stage, change))


def test_a_key_that_is_not_there_is_said_so(home: Path) -> None:
    done = skrkit(home, "key", "new-version", "--key", "nobody-made-it")
    assert done.returncode == 7
    assert "KeyNotFound" in done.stderr
    assert skrkit(home, "key", "new-version", "--vault", "nobody-made-it").returncode == 7


def test_in_azure_the_plan_comes_first(tmp_path: Path) -> None:
    planned = skrkit(tmp_path, "key", "new-version", *AZURE)
    assert planned.returncode == 0, planned.stderr
    assert "Vault my-vault, key k: a new version of it" in planned.stdout
    assert "(key permissions: get, rotate)" in planned.stdout
    assert "Nothing was done. Add --yes to do it." in planned.stdout
    as_json = json.loads(skrkit(tmp_path, "key", "new-version", *AZURE, "--json").stdout)
    assert (as_json["done"], len(as_json["plan"])) == (False, 1)
    unnamed = skrkit(tmp_path, "key", "new-version", "--cloud", "azure", AZURE_SUBSCRIPTION_ID="")
    assert unnamed.returncode == 2
    assert "no --resource-group, --vault, --key, --subscription" in unnamed.stderr


@pytest.mark.parametrize("file", ["nowhere.json", "-"])
def test_a_policy_that_is_none_is_never_sent(tmp_path: Path, file: str) -> None:
    done = skrkit(tmp_path, "key", "policy", file, stdin="{}")
    assert done.returncode == (2 if file != "-" else 5)
    assert not (tmp_path / "state.db").exists()  # no sandbox was started for it
