"""Sizes and their usage: by the SDK, which the published shapes come from, and by the Azure CLI."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.compute import ComputeManagementClient

from skrkit.cloud import Cloud
from skrkit.sandbox.arm.machine_body import SNP_SIZE
from skrkit.sandbox.arm.sizes import SIZES
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import arm
from tests.sandbox.running import STAGE, skrkit, staged

AZ = os.environ.get("SKRKIT_AZ") or shutil.which("az")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with staged(tmp_path_factory.mktemp("sizes")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def compute(endpoint: Endpoint) -> Iterator[ComputeManagementClient]:
    with arm.compute(Cloud.sandbox(home=endpoint.home)) as client:
        yield client


def used(compute: ComputeManagementClient, region: str) -> dict[str, int]:
    return {str(each.name.value): each.current_value for each in compute.usage.list(region) if each.current_value}


def test_what_a_vm_uses_is_counted_where_it_is(compute: ComputeManagementClient) -> None:
    """The stage's VM is a Standard_DC2as_v5 in westeurope; Azure counts it whether it runs or not."""
    counted = {"cores": 2, "virtualMachines": 1, "standardDCASv5Family": 2}
    assert used(compute, "WestEurope") == counted
    assert used(compute, "northeurope") == {}
    compute.virtual_machines.begin_deallocate(STAGE.resource_group, STAGE.vm).result()
    assert used(compute, "westeurope") == counted


def test_every_size_that_is_listed_makes_a_confidential_vm(compute: ComputeManagementClient) -> None:
    assert all(SNP_SIZE.match(size.name.lower()) for size in SIZES)
    here = list(compute.resource_skus.list(filter="location eq 'westeurope'"))
    assert [sku.name for sku in here] == [size.name for size in SIZES]
    (sku,) = (sku for sku in here if sku.name == "Standard_EC96ads_v5")
    said = {each.name: each.value for each in sku.capabilities or []}
    assert (sku.family, said["vCPUs"], said["MemoryGB"]) == ("standardECADSv5Family", "96", "672")
    assert list(compute.resource_skus.list(filter="location eq 'atlantis'")) == []
    with pytest.raises(HttpResponseError, match="NotInSandbox"):
        list(compute.resource_skus.list(filter="tier eq 'Standard'"))


@pytest.mark.skipif(AZ is None, reason="NO AZURE CLI: its lists of sizes and usage, and its rules, were not tried.")
def test_the_azure_cli_lists_them_and_makes_a_rule(endpoint: Endpoint, tmp_path: Path) -> None:
    assert AZ is not None
    variables = {
        "AZURE_CONFIG_DIR": str(tmp_path / "az"),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "PATH": f"{Path(AZ).parent}{os.pathsep}{os.environ['PATH']}",
    }
    sign_in = '--username "$AZURE_CLIENT_ID" --password "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID"'
    group = f"--resource-group {STAGE.resource_group}"
    rule = f"az network nsg rule create {group} --nsg-name by-az --name out --priority 200 --direction Outbound"
    commands = (
        f"az login --service-principal {sign_in} --output none",
        f"az network nsg create {group} --name by-az --location westeurope --output none",
        f"{rule} --access Allow --protocol Tcp --destination-port-ranges 443 --output none",
        f"az network nsg rule list {group} --nsg-name by-az --query [0].name --output tsv",
        f"az network nsg rule delete {group} --nsg-name by-az --name out",
        "az vm list-usage --location westeurope --query \"[?name.value=='cores'].currentValue\" --output tsv",
        "az vm list-skus --location westeurope --size Standard_DC2as --query [].name --output json",
    )
    script = " && ".join(commands)
    done = skrkit(endpoint.home, "sandbox", "exec", "--", "sh", "-c", script, seconds=240, **variables)
    assert done.returncode == 0, done.stderr
    name, cores, *sizes = done.stdout.splitlines()
    assert (name, cores) == ("out", "2")
    assert json.loads("".join(sizes)) == ["Standard_DC2as_v5", "Standard_DC2as_v6"]
