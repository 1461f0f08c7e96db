"""Azure's SDKs, unmodified, led into the sandbox by environment variables alone; no program here holds skrkit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jwt

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import STAGE, execute

OPERATOR = """
import json, os
from azure.identity import DefaultAzureCredential, EnvironmentCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient

group, vm, vault = "{group}", "{vm}", "{vault}"
subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
said = {{}}
with DefaultAzureCredential() as credential:
    with ComputeManagementClient(credential, subscription, polling_interval=0) as compute:
        poller = compute.virtual_machines.begin_update(group, vm, {{"identity": {{"type": "SystemAssigned"}}}})
        poller.result()
        machine = compute.virtual_machines.get(group, vm)
        said["object_id"] = machine.identity.principal_id
        said["vm_id"] = machine.properties.vm_id
        said["machines"] = [each.name for each in compute.virtual_machines.list(group)]
    with KeyVaultManagementClient(credential, subscription, polling_interval=0) as vaults:
        entry = {{"tenantId": os.environ["AZURE_TENANT_ID"], "objectId": said["object_id"],
                 "permissions": {{"keys": ["get", "list"]}}}}
        vaults.vaults.update_access_policy(group, vault, "add", {{"properties": {{"accessPolicies": [entry]}}}})
        found = vaults.vaults.get(group, vault)
        said["vault_uri"] = found.properties.vault_uri
        said["granted"] = [each.object_id for each in found.properties.access_policies]
with EnvironmentCredential() as credential, KeyClient("https://{vault}.vault.azure.net", credential) as keys:
    made = keys.create_rsa_key("by-sdk", size=2048)
    said["kid"] = made.id
    said["read"] = keys.get_key("by-sdk").id
    client = keys.get_cryptography_client("by-sdk")
    sealed = client.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"across").ciphertext
    said["opened"] = client.decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed).plaintext.decode()
print(json.dumps(said))
"""

INSIDE = """
import json, os
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.keyvault.keys import KeyClient

said = {{"secret": os.environ.get("AZURE_CLIENT_SECRET"), "client": os.environ.get("AZURE_CLIENT_ID")}}
with ManagedIdentityCredential() as credential:
    said["token"] = credential.get_token("https://management.azure.com/.default").token
    with KeyClient("https://{vault}.vault.azure.net", credential) as keys:
        said["read"] = keys.get_key("by-sdk").id
        try:
            keys.create_rsa_key("not-mine", size=2048)
        except HttpResponseError as refused:
            said["refused"] = [refused.status_code, refused.error.innererror["code"]]
with DefaultAzureCredential() as credential:
    said["default"] = credential.get_token("https://vault.azure.net/.default").token
print(json.dumps(said))
"""

NO_IDENTITY_OUTSIDE = """
import json, time
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential
begun = time.monotonic()
try:
    ManagedIdentityCredential().get_token("https://vault.azure.net/.default")
    print(json.dumps({"got": True}))
except (CredentialUnavailableError, ClientAuthenticationError) as refused:
    print(json.dumps({"got": False, "kind": type(refused).__name__, "text": str(refused)}))
"""


def run(sandbox: Endpoint, tmp_path: Path, program: str, vm: str | None = None) -> dict[str, Any]:
    """Run a program of its own file under `sandbox exec` and return the JSON it prints last."""
    assert "skrkit" not in program.replace(STAGE.vault, "").replace(STAGE.resource_group, "")
    script = tmp_path / "program.py"
    script.write_text(program)
    printed = execute(sandbox.home, sys.executable, "-I", str(script), vm=vm)
    said: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return said


def filled(program: str) -> str:
    return program.format(group=STAGE.resource_group, vm=STAGE.vm, vault=STAGE.vault)


def test_outside_and_inside(sandbox: Endpoint, tmp_path: Path) -> None:
    said = run(sandbox, tmp_path, filled(OPERATOR))
    assert said["machines"] == [STAGE.vm]
    assert said["vault_uri"].rstrip("/") == f"https://{STAGE.vault}.vault.azure.net"
    assert said["object_id"] in said["granted"]
    assert said["kid"].startswith(f"https://{STAGE.vault}.vault.azure.net/keys/by-sdk/")
    assert said["read"] == said["kid"]
    assert said["opened"] == "across"

    seen = run(sandbox, tmp_path, filled(INSIDE), vm=STAGE.vm)
    assert seen["secret"] is None
    assert seen["client"] is None
    assert seen["read"] == said["kid"]
    assert seen["refused"] == [403, "AccessDenied"]
    for name, audience in (("token", "https://management.azure.com"), ("default", "https://vault.azure.net")):
        claims = jwt.decode(seen[name], options={"verify_signature": False})
        assert (claims["oid"], claims["aud"]) == (said["object_id"], audience)


def test_there_is_no_managed_identity_on_a_laptop(sandbox: Endpoint, tmp_path: Path) -> None:
    said = run(sandbox, tmp_path, NO_IDENTITY_OUTSIDE)
    assert said["got"] is False
    assert said["kind"] == "CredentialUnavailableError"
