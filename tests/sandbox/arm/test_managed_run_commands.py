"""Managed run commands by the SDK: what a script wrote stands in the resource, and no script but skrkit's own runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute import models as published
from azure.mgmt.compute.models import VirtualMachineRunCommand, VirtualMachineRunCommandUpdate
from azure.mgmt.resource.deployments.models import Deployment

from skrkit.cloud import Cloud
from skrkit.provision.stage import Stage, set_stage
from skrkit.remote.names import errand_of
from skrkit.run_command.answer import parse_slice
from skrkit.run_command.order import Order, script_of
from skrkit.sandbox import process
from skrkit.sandbox.arm.managed_run_commands import VIEW_KIND
from skrkit.sandbox.endpoint import STATE_FILE
from skrkit.sandbox.store import Store
from skrkit.services import arm
from skrkit.walkthrough import Walk
from tests.sandbox.published import differences
from tests.sandbox.running import ARM, STAGE, bearer, operator_token, send, skrkit, staged

AZ = os.environ.get("SKRKIT_AZ") or shutil.which("az")
PLACE = (STAGE.resource_group, STAGE.vm)
KIND = "Microsoft.Compute/virtualMachines/runCommands"
# A slice that no answer has: the far end says so on stderr, and its exit code is that of the error.
FAILS = script_of(Order(do="answer", build="0.1.0-abc", members={"slice": 399, "sha256": "0" * 64}))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with staged(tmp_path_factory.mktemp("managed")) as endpoint:
        cloud = Cloud.sandbox(home=endpoint.home)
        Walk(cloud=cloud, stage=STAGE, steps=(1, 2, 3)).run()
        yield cloud


@pytest.fixture(scope="module")
def compute(cloud: Cloud) -> Iterator[ComputeManagementClient]:
    with arm.compute(cloud) as client:
        yield client


@pytest.fixture(scope="module")
def releases(cloud: Cloud) -> str:
    """The script that takes step 4 in the VM."""
    return script_of(Order(do="release", build="0.1.0-abc", members=errand_of(cloud, STAGE, None, (4,)).members()))


def body(script: str, **properties: Any) -> VirtualMachineRunCommand:
    source = {"source": {"script": script}}
    return VirtualMachineRunCommand({"location": STAGE.location, "properties": source | properties})


def put(compute: ComputeManagementClient, name: str, script: str, **properties: Any) -> VirtualMachineRunCommand:
    begun = compute.virtual_machine_run_commands.begin_create_or_update(*PLACE, name, body(script, **properties))
    return begun.result()


def view(compute: ComputeManagementClient, name: str) -> Any:
    found = compute.virtual_machine_run_commands.get_by_virtual_machine(*PLACE, name, expand="instanceView")
    assert found.properties is not None
    return found.properties.instance_view


def test_the_script_has_run_when_the_operation_ends(compute: ComputeManagementClient, releases: str) -> None:
    made = put(compute, "step-four", releases)
    assert made.properties is not None
    assert (made.type, made.properties.provisioning_state) == (KIND, "Succeeded")
    assert made.properties.instance_view is None  # it is shown where it is asked for
    seen = view(compute, "step-four")
    assert (seen.execution_state, seen.exit_code, seen.error) == ("Succeeded", 0, "")
    assert parse_slice(seen.output) is not None
    assert seen.start_time < seen.end_time


def test_a_script_that_fails_is_no_failed_resource_unless_it_is_to_be(compute: ComputeManagementClient) -> None:
    made = put(compute, "fails", FAILS)
    assert made.properties is not None
    assert made.properties.provisioning_state == "Succeeded"
    seen = view(compute, "fails")
    assert seen.execution_state == "Failed"
    assert seen.exit_code in (2, 3)  # there is no answer, or none of so many slices
    assert "answer of a run command" in seen.error
    with pytest.raises(HttpResponseError, match="run command 'fails-loudly'") as raised:
        put(compute, "fails-loudly", FAILS, treatFailureAsDeploymentFailure=True)
    assert raised.value.error is not None
    assert raised.value.error.code == "VMExtensionProvisioningError"
    failed = compute.virtual_machine_run_commands.get_by_virtual_machine(*PLACE, "fails-loudly").properties
    assert failed is not None
    assert failed.provisioning_state == "Failed"


def test_it_is_listed_changed_and_deleted(compute: ComputeManagementClient, cloud: Cloud) -> None:
    commands = compute.virtual_machine_run_commands
    put(compute, "mine", FAILS)
    assert "mine" in {each.name for each in commands.list_by_virtual_machine(*PLACE)}
    before = view(compute, "mine").start_time
    commands.begin_update(*PLACE, "mine", VirtualMachineRunCommandUpdate({"tags": {"a": "b"}})).result()
    assert view(compute, "mine").start_time == before
    changed = VirtualMachineRunCommandUpdate({"properties": {"timeoutInSeconds": 60}})
    made = commands.begin_update(*PLACE, "mine", changed).result()
    assert made.properties is not None
    assert made.properties.source is not None
    assert (made.tags, made.properties.timeout_in_seconds, made.properties.source.script) == ({"a": "b"}, 60, FAILS)
    assert view(compute, "mine").start_time > before
    with arm.resource_groups(cloud) as resources:
        listed = resources.resources.list_by_resource_group(STAGE.resource_group, filter=f"resourceType eq '{KIND}'")
        assert "mine" in {each.name for each in listed}
    commands.begin_delete(*PLACE, "mine").result()
    commands.begin_delete(*PLACE, "mine").result()
    with pytest.raises(ResourceNotFoundError):
        commands.get_by_virtual_machine(*PLACE, "mine")


def test_one_that_is_not_waited_for_runs_on(compute: ComputeManagementClient, releases: str) -> None:
    """And the next one waits for its turn: the far end has the answer of the last alone."""
    first = compute.virtual_machine_run_commands.begin_create_or_update(
        *PLACE, "first", body(releases, asyncExecution=True)
    )
    put(compute, "second", releases)
    assert first.result().properties is not None
    seen = [view(compute, name) for name in ("first", "second")]
    assert [each.execution_state for each in seen] == ["Succeeded", "Succeeded"]
    assert seen[0].end_time <= seen[1].start_time


@pytest.mark.parametrize(
    ("properties", "status"),
    [
        ({"source": {"script": "id"}}, 501),
        ({"source": {"script": FAILS + "id\n"}}, 501),
        ({"source": {"scriptUri": "https://example.com/x.sh"}}, 501),
        ({"source": {"commandId": "RunPowerShellScript"}}, 501),
        ({"source": {"script": FAILS}, "parameters": [{"name": "a", "value": "b"}]}, 501),
        ({"source": {"script": FAILS}, "runAsUser": "root"}, 501),
        ({"source": {"script": FAILS}, "outputBlobUri": "https://x.blob.core.windows.net/c/b"}, 501),
        ({"source": {"script": FAILS}, "timeoutInSeconds": "soon"}, 400),
        ({"source": {"script": FAILS}, "timeoutInSeconds": 0.5}, 400),
        ({"source": {}}, 400),
        ({}, 400),
    ],
)
def test_nothing_else_is_begun(compute: ComputeManagementClient, properties: dict[str, Any], status: int) -> None:
    command = VirtualMachineRunCommand({"location": STAGE.location, "properties": properties})
    with pytest.raises(HttpResponseError) as raised:
        compute.virtual_machine_run_commands.begin_create_or_update(*PLACE, "never", command)
    assert raised.value.status_code == status
    with pytest.raises(ResourceNotFoundError):
        compute.virtual_machine_run_commands.get_by_virtual_machine(*PLACE, "never")


def template(script: str, **properties: Any) -> dict[str, Any]:
    command = {
        "type": KIND,
        "apiVersion": "2024-07-01",
        "name": f"{STAGE.vm}/by-template",
        "location": STAGE.location,
        "properties": {"source": {"script": script}} | properties,
    }
    of_it = f"resourceId('{KIND}', '{STAGE.vm}', 'by-template')"
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [command],
        "outputs": {"state": {"type": "string", "value": f"[reference({of_it}).provisioningState]"}},
    }


def deployed(cloud: Cloud, name: str, given: dict[str, Any]) -> Any:
    with arm.deployments(cloud) as client:
        deployment = Deployment({"properties": {"mode": "Incremental", "template": given}})
        return client.deployments.begin_create_or_update(STAGE.resource_group, name, deployment).result().as_dict()


def test_a_template_waits_for_the_script(cloud: Cloud, compute: ComputeManagementClient, releases: str) -> None:
    made = deployed(cloud, "runs", template(releases))
    assert made["properties"]["outputs"]["state"]["value"] == "Succeeded"
    assert parse_slice(view(compute, "by-template").output) is not None


def test_a_template_fails_by_a_script_that_is_to_fail_it(cloud: Cloud) -> None:
    with pytest.raises(HttpResponseError):
        deployed(cloud, "fails", template(FAILS, treatFailureAsDeploymentFailure=True))
    with arm.deployments(cloud) as client:
        (failed,) = (
            operation.as_dict()["properties"]
            for operation in client.deployment_operations.list(STAGE.resource_group, "fails")
        )
    assert failed["provisioningState"] == "Failed"
    assert failed["statusMessage"]["error"]["code"] == "VMExtensionProvisioningError"


def test_they_go_with_their_vm_and_none_begins_in_one_that_is_off(
    cloud: Cloud, compute: ComputeManagementClient
) -> None:
    other = Stage(vm="cvm-passing")
    set_stage(cloud, other)
    commands, place = compute.virtual_machine_run_commands, (other.resource_group, other.vm)
    commands.begin_create_or_update(*place, "mine", body(FAILS)).result()
    compute.virtual_machines.begin_power_off(*place).result()
    with pytest.raises(ResourceExistsError, match="when the VM is not running"):
        commands.begin_create_or_update(*place, "another", body(FAILS))
    compute.virtual_machines.begin_delete(*place).result()
    with pytest.raises(ResourceNotFoundError):
        commands.get_by_virtual_machine(*place, "mine")
    set_stage(cloud, other)
    assert list(commands.list_by_virtual_machine(*place)) == []


def test_its_shape_is_the_published_one(cloud: Cloud, compute: ComputeManagementClient) -> None:
    put(compute, "shaped", FAILS)
    assert cloud.ca_file is not None
    endpoint = process.running(cloud.ca_file.parent)
    assert endpoint is not None
    url = f"{ARM}{STAGE.vm_id(cloud)}/runCommands/shaped?api-version=2026-04-01&$expand=instanceView"
    shown = send(endpoint, "GET", url, Authorization=bearer(operator_token(endpoint))).json()
    assert list(differences(published.VirtualMachineRunCommand, shown)) == []


@pytest.mark.skipif(AZ is None, reason="NO AZURE CLI: its managed run commands were not tried.")
def test_the_azure_cli_begins_one_and_reads_what_it_wrote(cloud: Cloud, releases: str, tmp_path: Path) -> None:
    assert AZ is not None
    assert cloud.ca_file is not None
    (tmp_path / "script").write_text(releases)
    variables = {
        "AZURE_CONFIG_DIR": str(tmp_path / "az"),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "PATH": f"{Path(AZ).parent}{os.pathsep}{os.environ['PATH']}",
    }
    where = f"--resource-group {STAGE.resource_group} --vm-name {STAGE.vm}"
    sign_in = '--username "$AZURE_CLIENT_ID" --password "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID"'
    commands = (
        f"az login --service-principal {sign_in} --output none",
        f"az vm run-command create {where} --name by-az --script @{tmp_path}/script --output none",
        f"az vm run-command list {where} --output none",
        f"az vm run-command show {where} --name by-az --instance-view",
    )
    script = " && ".join(commands)
    done = skrkit(cloud.ca_file.parent, "sandbox", "exec", "--", "sh", "-c", script, seconds=180, **variables)
    assert done.returncode == 0, done.stderr
    assert parse_slice(json.loads(done.stdout)["instanceView"]["output"]) is not None


def test_one_that_was_under_way_when_the_process_ended_is_canceled(tmp_path: Path) -> None:
    """Its state is written by hand, as a process that was killed in the middle leaves it."""
    with staged(tmp_path):
        with arm.compute(Cloud.sandbox(home=tmp_path)) as compute:
            put(compute, "under-way", FAILS)
        process.down(tmp_path)
        store = Store(tmp_path / STATE_FILE)
        ((key, kept),) = store.list(VIEW_KIND)
        store.put(VIEW_KIND, key, kept | {"view": {"executionState": "Running"}})
        store.close()
        with arm.compute(Cloud.sandbox(home=tmp_path)) as compute:
            seen = view(compute, "under-way")
    assert seen.execution_state == "Canceled"
    assert "ended while it ran" in seen.execution_message
