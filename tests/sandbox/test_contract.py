"""Answers of the sandbox against Microsoft's published shapes: no member unknown or missing, each of its type."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from azure.keyvault.keys._generated import models as keys
from azure.mgmt.attestation import models as attestation
from azure.mgmt.authorization import models as authorization
from azure.mgmt.compute import models as compute
from azure.mgmt.keyvault import models as vaults
from azure.mgmt.msi import models as msi
from azure.mgmt.resource.deployments import models as deployments
from azure.mgmt.resource.resources import models as resources

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.published import differences, list_of
from tests.sandbox.running import ARM, STAGE, bearer, group_url, operator_token, send, staged

VAULT = f"https://{STAGE.vault}.vault.azure.net"
KEYS = "7.6"
IMAGE = (
    "{subscription}/providers/Microsoft.Compute/locations/westeurope/publishers/canonical/artifacttypes/vmimage"
    "/offers/0001-com-ubuntu-confidential-vm-jammy/skus/22_04-lts-cvm/versions"
)
TEMPLATE = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "resources": [],
    "outputs": {"said": {"type": "string", "value": "[resourceGroup().location]"}},
}
Asked = Callable[..., Any]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox of this module's own: what it gives the VM's identity would be in the way of other tests."""
    with staged(tmp_path_factory.mktemp("contract")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def asked(sandbox: Endpoint) -> Asked:
    """Ask as the operator, and return the answer's JSON; `{group}` and the like stand in the path."""
    tokens = {host: operator_token(sandbox, host) for host in (ARM, "https://vault.azure.net")}
    subscription = f"/subscriptions/{sandbox.subscription}"
    group = group_url(sandbox).removeprefix(ARM)
    places = {"subscription": subscription, "group": group, "vault": f"{group}/providers/Microsoft.KeyVault/vaults"}

    def ask(method: str, path: str, version: str, body: Any = None) -> Any:
        base, audience = (ARM, ARM) if path.startswith("{") else (VAULT, "https://vault.azure.net")
        url = f"{base}{path.format(**places)}?api-version={version}"
        answer = send(sandbox, method, url, body, Authorization=bearer(tokens[audience]))
        assert answer.status in (200, 201, 202), f"{method} {path}: {answer.status} {answer.body!r:.300}"
        return json.loads(answer.body) if answer.body else None

    return ask


@pytest.fixture(scope="module", autouse=True)
def made(sandbox: Endpoint, asked: Asked) -> None:
    """One of everything that is looked at."""
    operator = jwt.decode(operator_token(sandbox), options={"verify_signature": False})["oid"]
    vm = asked("PATCH", "{group}/providers/Microsoft.Compute/virtualMachines/cvm-1", "2026-04-01",
               {"identity": {"type": "SystemAssigned"}})  # fmt: skip
    principal = vm["identity"]["principalId"]
    entry = {"tenantId": sandbox.tenant, "objectId": operator, "permissions": {"keys": ["getrotationpolicy"]}}
    body = {"properties": {"accessPolicies": [entry]}}
    asked("PUT", "{vault}/" + STAGE.vault + "/accessPolicies/add", "2026-05-15", body)
    asked("PUT", "{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uai", "2024-11-30",
          {"location": "westeurope"})  # fmt: skip
    asked("POST", "/keys/contract/create", KEYS, {"kty": "RSA", "key_size": 2048})
    asked("PUT", "{group}/providers/Microsoft.Attestation/attestationProviders/contract", "2021-06-01",
          {"location": "westeurope", "properties": {}})  # fmt: skip
    reader = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
    role = f"/subscriptions/{sandbox.subscription}/providers/Microsoft.Authorization/roleDefinitions/{reader}"
    asked("PUT", "{group}/providers/Microsoft.Authorization/roleAssignments/" + str(uuid.uuid4()), "2022-04-01",
          {"properties": {"roleDefinitionId": role, "principalId": principal}})  # fmt: skip
    asked("PUT", "{group}/providers/Microsoft.Resources/deployments/contract", "2026-06-01",
          {"properties": {"mode": "Incremental", "template": TEMPLATE}})  # fmt: skip


ONE: dict[str, tuple[str, str, str, type]] = {
    "provider": ("GET", "{subscription}/providers/Microsoft.KeyVault", "2025-04-01", resources.Provider),
    "group": ("GET", "{group}", "2025-04-01", resources.ResourceGroup),
    "vault": ("GET", "{vault}/" + STAGE.vault, "2026-05-15", vaults.Vault),
    "machine": ("GET", "{group}/providers/Microsoft.Compute/virtualMachines/cvm-1", "2026-04-01",
                compute.VirtualMachine),
    "instance view": ("GET", "{group}/providers/Microsoft.Compute/virtualMachines/cvm-1/instanceView", "2026-04-01",
                      compute.VirtualMachineInstanceView),
    "image": ("GET", IMAGE + "/1.0.0", "2026-04-01", compute.VirtualMachineImage),
    "identity": ("GET", "{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uai", "2024-11-30",
                 msi.Identity),
    "attestation provider": ("GET", "{group}/providers/Microsoft.Attestation/attestationProviders/contract",
                             "2021-06-01", attestation.AttestationProvider),
    "default provider": ("GET", "{subscription}/providers/Microsoft.Attestation/locations/westeurope/defaultProvider",
                         "2021-06-01", attestation.AttestationProvider),
    "deployment": ("GET", "{group}/providers/Microsoft.Resources/deployments/contract", "2026-06-01",
                   deployments.DeploymentExtended),
    "key": ("GET", "/keys/contract", KEYS, keys.KeyBundle),
    "rotation policy": ("GET", "/keys/contract/rotationpolicy", KEYS, keys.KeyRotationPolicy),
}  # fmt: skip
PAGES: dict[str, tuple[str, str, type]] = {
    "providers": ("{subscription}/providers", "2025-04-01", resources.Provider),
    "groups": ("{subscription}/resourceGroups", "2025-04-01", resources.ResourceGroup),
    "resources": ("{group}/resources", "2025-04-01", resources.GenericResourceExpanded),
    "vaults": ("{vault}", "2026-05-15", vaults.Vault),
    "machines": ("{group}/providers/Microsoft.Compute/virtualMachines", "2026-04-01", compute.VirtualMachine),
    "identities": ("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities", "2024-11-30", msi.Identity),
    "role assignments": ("{group}/providers/Microsoft.Authorization/roleAssignments", "2022-04-01",
                         authorization.RoleAssignment),
    "role definitions": ("{group}/providers/Microsoft.Authorization/roleDefinitions", "2022-04-01",
                         authorization.RoleDefinition),
    "attestation providers": ("{group}/providers/Microsoft.Attestation/attestationProviders", "2021-06-01",
                              attestation.AttestationProvider),
    "default providers": ("{subscription}/providers/Microsoft.Attestation/defaultProviders", "2021-06-01",
                          attestation.AttestationProvider),
    "deployments": ("{group}/providers/Microsoft.Resources/deployments", "2026-06-01",
                    deployments.DeploymentExtended),
    "usages": ("{subscription}/providers/Microsoft.Compute/locations/westeurope/usages", "2026-04-01", compute.Usage),
    "sizes": ("{subscription}/providers/Microsoft.Compute/skus", "2021-07-01", compute.ResourceSku),
    "keys": ("/keys", KEYS, keys.KeyItem),
    "versions": ("/keys/contract/versions", KEYS, keys.KeyItem),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_an_answer_has_the_published_shape(asked: Asked, name: str) -> None:
    method, path, version, model = ONE[name]
    assert list(differences(model, asked(method, path, version))) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_published_shape(asked: Asked, name: str) -> None:
    path, version, model = PAGES[name]
    assert list(list_of(model, asked("GET", path, version))) == []


def test_the_versions_of_an_image_are_a_bare_list(asked: Asked) -> None:
    (found,) = asked("GET", IMAGE, "2026-04-01")
    assert list(differences(compute.VirtualMachineImageResource, found)) == []


def test_the_comparison_sees_what_differs(asked: Asked) -> None:
    vault = asked("GET", "{vault}/" + STAGE.vault, "2026-05-15")
    vault["properties"]["tenantId"] = 7
    vault["properties"]["sku"] = {"family": "A"}
    vault["properties"]["fast"] = True
    assert sorted(differences(vaults.Vault, vault)) == [
        "/properties/fast: unknown",
        "/properties/sku/name: missing",
        "/properties/tenantId: a text is expected, not 7",
    ]
    identity = {"location": "westeurope", "properties": {"clientId": 7, "speed": 1}}
    assert sorted(differences(msi.Identity, identity)) == [
        "/properties/clientId: a text is expected, not 7",
        "/properties/speed: unknown",
    ]
