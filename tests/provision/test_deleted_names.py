"""The next walk after a teardown stops at a name that is still taken: its error has the commands that free it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters

from skrkit.cloud import Cloud
from skrkit.errors import ServiceError
from skrkit.provision.deleted_names import with_ways_out
from skrkit.provision.stage import Stage, set_stage, vault_body
from skrkit.provision.teardown import Scope, tear_down
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import arm
from tests.sandbox.running import STAGE, skrkit, staged

AZ = os.environ.get("SKRKIT_AZ") or shutil.which("az")
THERE = f"--name {STAGE.vault} --location {STAGE.location}"


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    """A sandbox whose vault was torn down and not purged."""
    with staged(tmp_path) as endpoint:
        tear_down(Cloud.sandbox(home=tmp_path), Scope())
        yield endpoint


@pytest.fixture
def cloud(endpoint: Endpoint) -> Cloud:
    return Cloud.sandbox(home=endpoint.home)


def refused(cloud: Cloud, stage: Stage = STAGE) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        set_stage(cloud, stage)
    return raised.value


def ways(error: ServiceError) -> dict[str, str]:
    """What the fix offers: what each command does, by the command."""
    return dict(re.split(r" {3}", way) for way in error.fix.split("; ") if "   " in way)


def test_the_walk_says_how_the_name_becomes_free(cloud: Cloud) -> None:
    error = refused(cloud)
    assert (error.status, error.code) == (409, "ConflictError")
    assert ways(error) == {
        "skrkit teardown --purge --yes": "ends it and its keys for good, and all else that skrkit made",
        f"skrkit sandbox exec -- az keyvault purge {THERE}": "ends it and its keys for good",
        f"skrkit sandbox exec -- az keyvault recover {THERE}": (
            f"takes it back with its keys, into resource group {STAGE.resource_group}"
        ),
    }
    assert error.fix.endswith("; or another name: --vault NAME")


def test_its_own_command_works(endpoint: Endpoint) -> None:
    stopped = skrkit(endpoint.home, "walkthrough", "--step", "1")
    assert stopped.returncode == 7
    command = "skrkit teardown --purge --yes"
    assert f"fix: {command}   ends it" in stopped.stderr
    assert skrkit(endpoint.home, *shlex.split(command)[1:]).returncode == 0
    assert skrkit(endpoint.home, "walkthrough", "--step", "1").returncode == 0


@pytest.mark.skipif(
    AZ is None, reason="NO AZURE CLI: its ways of taking a vault back, and of ending it, were not tried."
)
@pytest.mark.parametrize("verb", ["recover", "purge"])
def test_the_commands_of_the_azure_cli_work(endpoint: Endpoint, cloud: Cloud, tmp_path: Path, verb: str) -> None:
    assert AZ is not None
    (command,) = (each for each in ways(refused(cloud)) if f"az keyvault {verb}" in each)
    variables = {
        "AZURE_CONFIG_DIR": str(tmp_path / "az"),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "PATH": f"{Path(AZ).parent}{os.pathsep}{os.environ['PATH']}",
    }
    sign_in = (
        'az login --service-principal --username "$AZURE_CLIENT_ID" --password "$AZURE_CLIENT_SECRET" '
        '--tenant "$AZURE_TENANT_ID" --output none'
    )
    signed_in = skrkit(endpoint.home, "sandbox", "exec", "--", "sh", "-c", sign_in, seconds=120, **variables)
    assert signed_in.returncode == 0, signed_in.stderr
    done = skrkit(endpoint.home, *shlex.split(command)[1:], seconds=120, **variables)
    assert done.returncode == 0, done.stderr
    set_stage(cloud, STAGE)
    with arm.key_vaults(cloud) as vaults:
        made = vaults.vaults.get(STAGE.resource_group, STAGE.vault)
        assert list(vaults.vaults.list_deleted()) == []
    assert made.properties.vault_uri == STAGE.vault_url(cloud) + "/"


def test_a_deployment_says_it_too(cloud: Cloud, endpoint: Endpoint) -> None:
    done = skrkit(endpoint.home, "deploy")
    assert done.returncode == 7
    assert "fix: skrkit teardown --purge --yes   ends it" in done.stderr
    assert f"az keyvault recover {THERE}   takes it back" in done.stderr


def test_a_protected_vault_can_be_recovered_alone(cloud: Cloud) -> None:
    stage = Stage(vault="guarded")
    set_stage(cloud, Stage(vault="another-vault"))
    body: dict[str, Any] = vault_body(cloud, stage)
    body["properties"] |= {"enablePurgeProtection": True, "softDeleteRetentionInDays": 7}
    with arm.key_vaults(cloud) as vaults:
        parameters = VaultCreateOrUpdateParameters(body)
        vaults.vaults.begin_create_or_update(stage.resource_group, stage.vault, parameters).result()
        vaults.vaults.delete(stage.resource_group, stage.vault)
        (waiting,) = (each.as_dict() for each in vaults.vaults.list_deleted() if each.name == stage.vault)
    error = refused(cloud, stage)
    assert list(ways(error)) == [
        f"skrkit sandbox exec -- az keyvault recover --name guarded --location {stage.location}"
    ]
    until = waiting["properties"]["scheduledPurgeDate"]
    assert error.fix.startswith(f"nobody can purge it before {until}; ")


def test_a_managed_hsm_keeps_its_name_too(cloud: Cloud) -> None:
    stage = Stage(hsm="torn-hsm")
    set_stage(cloud, stage)
    tear_down(cloud, Scope())
    error = refused(cloud, stage)
    assert f"skrkit sandbox exec -- az keyvault recover --hsm-name torn-hsm --location {stage.location}" in ways(error)
    assert error.fix.endswith("; or another name: --hsm NAME")
    tear_down(cloud, Scope(), purge=True)
    set_stage(cloud, stage)


def test_another_error_stays_as_it_is(cloud: Cloud) -> None:
    error = ServiceError(what="vault", where="PUT", expected="success", found="no", fix="Wait.", code="Other")
    assert with_ways_out(cloud, STAGE, error) is error


def test_a_name_that_is_deleted_elsewhere_is_not_to_be_had(cloud: Cloud) -> None:
    error = ServiceError(what="vault", where="PUT", expected="success", found="no", fix="Wait.", code="ConflictError")
    found = with_ways_out(cloud, Stage(vault="never-here"), error)
    assert found.fix.startswith("Choose another name: this one was deleted in another subscription")
    assert (found.what, found.found) == (error.what, error.found)
