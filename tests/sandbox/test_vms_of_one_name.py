"""Two VMs of one name, in two resource groups: each has its own door, vTPM and identity, and is found by its group."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.errors import UsageError
from skrkit.provision.stage import Stage, set_stage
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import arm
from tests.sandbox.running import STAGE, execute, send, skrkit, staged

OTHER = Stage(resource_group="other-rg", vault="other-vault")
BOTH = (STAGE, OTHER)
IMDS_COMPUTE = "http://169.254.169.254/metadata/instance/compute?api-version=2021-12-13"
WHERE = "import os, json; print(json.dumps({n: os.environ[n] for n in ('HTTP_PROXY', 'TPM2TOOLS_TCTI', 'SKRKIT_VM')}))"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    home = tmp_path_factory.mktemp("two")
    with staged(home):
        set_stage(Cloud.sandbox(home=home), OTHER)
        found = process.running(home)
        assert found is not None
        yield found


def called(stage: Stage) -> str:
    return f"{stage.resource_group}/{stage.vm}"


def compute_of(endpoint: Endpoint, stage: Stage) -> dict[str, str]:
    door = endpoint.vm(called(stage))
    found: dict[str, str] = send(endpoint, "GET", IMDS_COMPUTE, port=door.proxy_port, Metadata="true").json()
    return found


def test_each_has_a_door_a_vtpm_and_a_log_of_its_own(endpoint: Endpoint) -> None:
    doors = [endpoint.vm(called(stage)) for stage in BOTH]
    assert len(endpoint.vms) == 2
    for each in ("proxy_port", "tpm_port", "event_log", "resource_id"):
        assert len({getattr(door, each) for door in doors}) == 2
    assert [compute_of(endpoint, stage)["resourceGroupName"] for stage in BOTH] == ["skrkit-rg", "other-rg"]
    assert endpoint.vm(doors[1].resource_id.upper().lower()) == doors[1]


def test_a_program_goes_into_the_one_that_is_named(endpoint: Endpoint) -> None:
    for stage in BOTH:
        door = endpoint.vm(called(stage))
        found = json.loads(execute(endpoint.home, sys.executable, "-c", WHERE, vm=called(stage).upper()))
        assert found == {
            "HTTP_PROXY": f"http://127.0.0.1:{door.proxy_port}",
            "TPM2TOOLS_TCTI": door.tcti,
            "SKRKIT_VM": called(stage),
        }


def test_a_name_that_both_have_is_not_guessed_at(endpoint: Endpoint) -> None:
    refused = skrkit(endpoint.home, "sandbox", "exec", "--vm", STAGE.vm, "--", "true")
    assert refused.returncode == 2
    assert "expected: other-rg/cvm-1, skrkit-rg/cvm-1" in refused.stderr
    assert "found: cvm-1, of which there are 2" in refused.stderr
    assert "--resource-group" in refused.stderr
    with pytest.raises(UsageError, match="of which there are 2"):
        Cloud.sandbox(home=endpoint.home).enter(STAGE.vm)
    said = json.loads(skrkit(endpoint.home, "sandbox", "status", "--json").stdout)
    assert sorted(vm["name"] for vm in said["vms"]) == ["other-rg/cvm-1", "skrkit-rg/cvm-1"]


@pytest.mark.parametrize("remote", [(), ("--remote",)])
def test_a_walk_enters_the_vm_of_its_own_group(endpoint: Endpoint, remote: tuple[str, ...]) -> None:
    """The identity that step 1 gives one VM is what step 4 has there: in the other, there is none to release with."""
    names = ("--resource-group", OTHER.resource_group, "--vault", OTHER.vault, "--json")
    done = skrkit(endpoint.home, "walkthrough", *names, *remote, seconds=120)
    assert done.returncode == 0, done.stderr
    (token,) = (each for each in json.loads(done.stdout)["artefacts"] if each["name"] == "access-token")
    with arm.compute(Cloud.sandbox(home=endpoint.home)) as compute:
        vm = compute.virtual_machines.get(OTHER.resource_group, OTHER.vm)
    assert vm.identity is not None
    assert token["body"]["claims"]["oid"] == vm.identity.principal_id


def test_the_doctor_inside_knows_which_one_it_is_in(endpoint: Endpoint) -> None:
    skrkit_doctor = (sys.executable, "-m", "skrkit", "doctor", "--vault", OTHER.vault, "--partial", "--json")
    done = skrkit(endpoint.home, "sandbox", "exec", "--vm", called(OTHER), "--", *skrkit_doctor)
    assert done.returncode == 0, done.stdout
    (identity,) = (each for each in json.loads(done.stdout)["checks"] if each["id"] == "identity.token")
    assert f"/resourcegroups/{OTHER.resource_group}/" in identity["facts"]["resource_id"].lower()


def test_the_end_of_one_is_not_the_end_of_the_other(tmp_path: Path) -> None:
    with staged(tmp_path):
        cloud = Cloud.sandbox(home=tmp_path)
        set_stage(cloud, OTHER)
        before = process.running(tmp_path)
        assert before is not None
        with arm.compute(cloud) as compute:
            compute.virtual_machines.begin_delete(STAGE.resource_group, STAGE.vm).result()
        after = process.running(tmp_path)
        assert after is not None
        assert after.vms == (before.vm(called(OTHER)),)
        assert after.called(after.vm(OTHER.vm)) == OTHER.vm  # alone now, its name says enough
        assert compute_of(after, OTHER)["resourceGroupName"] == OTHER.resource_group
