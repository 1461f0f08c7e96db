"""The preflight of a Managed HSM: before activation, each local role missing, and each command run as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure.mgmt.keyvault.models import ManagedHsm

from skrkit.cloud import Cloud
from skrkit.errors import ServiceError
from skrkit.provision import access, hsm, identity, roles
from skrkit.provision.preflight import check
from skrkit.provision.rights import Preflight, Right, view_of_preflight
from skrkit.provision.stage import Stage, set_stage
from skrkit.sandbox import principals
from skrkit.services import arm
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ROLE, assign, local_roles
from skrkit.services.reader import Reader
from tests.sandbox.running import skrkit, staged

STAGE = Stage(hsm="pool")
DATA = "Microsoft.KeyVault/managedHsm"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with staged(tmp_path_factory.mktemp("preflight-hsm")) as endpoint:
        set_stage(Cloud.sandbox(home=endpoint.home), STAGE)
        yield endpoint.home


@pytest.fixture(scope="module")
def operator(home: Path) -> Cloud:
    return Cloud.sandbox(home=home)


def asked(cloud: Cloud, stage: Stage = STAGE, *steps: int) -> Preflight:
    with Reader(cloud) as reader:
        return check(reader, stage, steps=steps or (1, 2, 3, 4))


def of(found: Preflight, verdict: str) -> list[Right]:
    return [right for right in found.rights if right.verdict == verdict]


def run_command(operator: Cloud, command: str) -> str:
    """Do what `az keyvault role assignment create` does, with the options as the command has them; return the role."""
    words = shlex.split(command)
    assert words[:5] == ["az", "keyvault", "role", "assignment", "create"]
    given = dict(zip(words[5::2], words[6::2], strict=True))
    assert (given["--hsm-name"], given["--assignee-principal-type"]) == ("pool", "ServicePrincipal")
    with local_roles(operator, STAGE.vault_url(operator)) as client:
        assign(client, given["--role"], given["--scope"], given["--assignee-object-id"])
    return given["--role"]


def test_before_and_after_the_steps(operator: Cloud) -> None:
    before = asked(operator)
    assert [(right.step, right.action, right.scope) for right in before.rights[2:]] == [
        (2, "Microsoft.KeyVault/managedHSMs/read", STAGE.hsm_id(operator)),
        (2, f"{DATA}/roleAssignments/read/action", "/"),
        (2, f"{DATA}/roleAssignments/write/action", "/keys/release-me"),
        (3, f"{DATA}/keys/read/action", "/keys/release-me"),
        (3, f"{DATA}/keys/create", "/keys/release-me"),
        (4, f"{DATA}/keys/release/action", "/keys/release-me"),
    ]
    assert (before.mode, before.exit_code) == ("local roles", 6)
    assert of(before, "failed")[0].command == "az vm identity assign --resource-group skrkit-rg --name cvm-1"
    object_id = identity.enable(operator, STAGE).object_id
    (missing,) = of(asked(operator), "failed")
    assert missing.found == "No local role at the key, at /keys or at /."
    assert run_command(operator, missing.command) == RELEASE_ROLE
    after = asked(operator)
    assert (after.complete, after.identity, after.beyond) == (True, object_id, ())
    with local_roles(operator, STAGE.vault_url(operator)) as client:
        assign(client, "Managed HSM Crypto Auditor", "/keys", object_id)
    beyond = asked(operator).beyond
    assert f"{DATA}/keys/read/action" in beyond
    assert f"{DATA}/keys/release/action" not in beyond


def test_a_role_of_another_key_and_a_role_of_azure_release_nothing(operator: Cloud) -> None:
    object_id = identity.enable(operator, STAGE).object_id
    other = replace(STAGE, key="another")
    access.grant(operator, STAGE, object_id)
    roles.assign(operator, "Key Vault Crypto Service Release User", [STAGE.hsm_id(operator)], object_id)
    (missing,) = of(asked(operator, other), "failed")
    assert missing.scope == "/keys/another"
    assert RELEASE_ROLE not in missing.found


def test_each_command_gives_a_caller_what_is_missing(
    home: Path, operator: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    access.grant(operator, STAGE, identity.enable(operator, STAGE).object_id)
    made = principals.create("climber", home=home)
    for variable, value in made.environment.items():
        if variable.startswith(("AZURE_", "SKRKIT_")):
            monkeypatch.setenv(variable, value)
    caller = Cloud.sandbox(home=home)
    assert caller.operator == made.object_id
    unread = of(asked(caller), "not-checked")
    assert {right.found for right in unread} == {"The Managed HSM could not be read.", "The VM could not be read."}
    roles.assign(operator, "Managed HSM Contributor", [STAGE.hsm_id(operator)], made.object_id)
    roles.assign(operator, "Virtual Machine Contributor", [STAGE.vm_id(operator)], made.object_id)
    unknown = of(asked(caller), "not-checked")  # a role of Azure's says nothing about what is inside
    assert [right.step for right in unknown] == [2, 2, 3, 3, 4]
    assert all("may not be read" in right.found for right in unknown)
    assert run_command(operator, unknown[0].command) == "Managed HSM Policy Administrator"
    lacks = of(asked(caller), "failed")
    assert [right.action for right in lacks] == [f"{DATA}/keys/read/action", f"{DATA}/keys/create"]
    assert run_command(operator, lacks[0].command) == CRYPTO_USER_ROLE
    assert asked(caller).complete


def test_an_hsm_that_is_not_activated_is_not_called_ready(operator: Cloud) -> None:
    resting = replace(STAGE, hsm="resting")
    with arm.key_vaults(operator) as client:
        body = ManagedHsm(hsm.hsm_body(operator, resting))
        client.managed_hsms.begin_create_or_update(resting.resource_group, "resting", body).result()
    identity.enable(operator, resting)
    found = asked(operator, resting)
    unknown = of(found, "not-checked")
    assert (found.exit_code, [right.step for right in unknown]) == (6, [2, 2, 3, 3, 4])
    assert all("not activated" in right.found for right in unknown)
    assert all(right.command == hsm.activation_command("resting") for right in unknown)
    assert view_of_preflight(found).facts == ("the Managed HSM goes by local roles", "5 not checked")


def test_an_hsm_that_is_not_there_is_an_error(operator: Cloud) -> None:
    with pytest.raises(ServiceError) as caught:
        asked(operator, replace(STAGE, hsm="nowhere"))
    assert caught.value.status == 404


def test_the_command_line_takes_the_hsm_s_name(home: Path) -> None:
    found = skrkit(home, "preflight", "--hsm", "pool", "--step", "3")
    assert found.returncode == 0, found.stdout
    assert "the Managed HSM goes by local roles" in found.stdout
    azure = skrkit(home, "preflight", "--cloud", "azure", "--hsm", "--vm", "m", AZURE_SUBSCRIPTION_ID="")
    assert azure.returncode == 2
    assert "no --resource-group, --hsm, --key" in azure.stderr
