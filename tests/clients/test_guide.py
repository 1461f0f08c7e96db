"""The guide's steps by other people's clients: the Azure CLI, and Azure's SDKs for JavaScript and Python.

Each walks by a script of its own in `guide/`, which holds nothing of skrkit. Only the attestation token is skrkit's, as
no other free client speaks to the vTPM, and so is the proof at the end: what was released is the key that was made.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit import provision
from skrkit.cloud import Cloud
from skrkit.release.key_hsm import parse_key_hsm
from skrkit.release.unwrap import unwrap
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import attester
from skrkit.services.maa import GuestAttestation
from skrkit.services.rest import RestClient
from skrkit.token.envelope import open_envelope
from tests.clients.test_curl import ALL_OF, claims_of, unb64url
from tests.sandbox.running import STAGE, bearer, group_url, operator_token, send, skrkit

GUIDE = Path(__file__).parent / "guide"
TEMPLATES = Path(provision.__file__).parent / "templates"
VAULT = f"https://{STAGE.vault}.vault.azure.net"
AZ = os.environ.get("SKRKIT_AZ") or shutil.which("az")
NODE_CLIENTS = os.environ.get("SKRKIT_NODE_CLIENTS", "")

needs_az = pytest.mark.skipif(
    AZ is None, reason="NO AZURE CLI: the guide was not walked by it. pip install azure-cli, and SKRKIT_AZ=…/bin/az."
)
needs_node = pytest.mark.skipif(
    not (NODE_CLIENTS and shutil.which("node")),
    reason="NO AZURE SDK FOR JAVASCRIPT: the guide was not walked by it. npm install @azure/identity "
    "@azure/keyvault-keys, and SKRKIT_NODE_CLIENTS=the folder.",
)


@dataclass(frozen=True, kw_only=True)
class Guide:
    """What the scripts are given, and the VM's vTPM for the proof."""

    endpoint: Endpoint
    source: attester.Attester
    identity: str
    policy: Path
    token: Path

    def run(self, *command: str, vm: str | None = None, **more: str) -> str:
        """Run a script in the sandbox and return the last line that it printed. It must succeed."""
        where = ("--vm", vm) if vm else ()
        arguments = ("sandbox", "exec", *where, "--", *command)
        done = skrkit(self.endpoint.home, *arguments, SKRKIT_NODE_CLIENTS=NODE_CLIENTS, seconds=300, **more)
        assert done.returncode == 0, f"{' '.join(command)[:300]}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip().rpartition("\n")[2]

    def released(self, answer: str) -> tuple[str, int]:
        """Return the key id in the vault's signed answer, and the modulus of the private key that the vTPM opens."""
        key = claims_of(answer)["response"]["key"]["key"]
        released = unwrap(parse_key_hsm(key["key_hsm"]), lambda data, enc: self.source.decrypt(data, enc.tpm_scheme))
        private = released.private_key
        assert isinstance(private, rsa.RSAPrivateKey)
        modulus = private.public_key().public_numbers().n
        assert modulus == int.from_bytes(unb64url(key["n"]), "big")
        return str(key["kid"]), modulus


@pytest.fixture(scope="module")
def guide(sandbox: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    """Steps 1 and 2 for the staged vault, a policy that guest tokens meet, and such a token of the VM."""
    folder = tmp_path_factory.mktemp("guide")
    arm = bearer(operator_token(sandbox))
    machine = f"{group_url(sandbox)}/providers/Microsoft.Compute/virtualMachines/{STAGE.vm}?api-version=2024-07-01"
    assert send(sandbox, "PATCH", machine, {"identity": {"type": "SystemAssigned"}}, Authorization=arm).status == 200
    identity = send(sandbox, "GET", machine, Authorization=arm).json()["identity"]["principalId"]
    entry = {"tenantId": sandbox.tenant, "objectId": identity, "permissions": {"keys": ["release"]}}
    vault = f"{group_url(sandbox)}/providers/Microsoft.KeyVault/vaults/{STAGE.vault}"
    body = {"properties": {"accessPolicies": [entry]}}
    url = f"{vault}/accessPolicies/add?api-version=2023-07-01"
    assert send(sandbox, "PUT", url, body, Authorization=arm).status == 200

    conditions = [{"claim": f"x-ms-isolation-tee.{claim}", "equals": value} for claim, value in ALL_OF]
    policy, token = folder / "policy.json", folder / "token"
    policy.write_text(
        json.dumps({"version": "1.0.0", "anyOf": [{"authority": STAGE.attestation, "allOf": conditions}]})
    )
    inside = Cloud.sandbox(home=sandbox.home).enter(STAGE.vm)
    with attester.Attester(inside) as source, RestClient(inside) as client:
        evidence = source.collect(user_data=bytes(64))
        issued = GuestAttestation(client=client, issuer=STAGE.attestation).attest(evidence, nonce="guide")
        assert issued.envelope is not None
        token.write_text(open_envelope(issued.envelope, lambda sealed: source.decrypt(sealed, "rsaes")))
        yield Guide(endpoint=sandbox, source=source, identity=identity, policy=policy, token=token)


def release_by_cli(guide: Guide, key: str, variables: dict[str, str]) -> str:
    """Return the signed answer that the Azure CLI inside the VM gets."""
    return guide.run("sh", str(GUIDE / "azure_cli_inside.sh"), key, str(guide.token), vm=STAGE.vm, **variables)


@needs_az
def test_the_azure_cli(guide: Guide, tmp_path: Path) -> None:
    assert AZ is not None
    path = f"{Path(AZ).parent}{os.pathsep}{os.environ['PATH']}"
    outside = {"AZURE_CONFIG_DIR": str(tmp_path / "outside"), "AZURE_CORE_COLLECT_TELEMETRY": "no", "PATH": path}
    arguments = (STAGE.resource_group, STAGE.vm, "guide-by-az", str(guide.policy), str(TEMPLATES), STAGE.attestation)
    key = guide.run("sh", str(GUIDE / "azure_cli.sh"), *arguments, **outside)
    assert key.startswith("https://guide-by-az.vault.azure.net/keys/by-az/")
    inside = {**outside, "AZURE_CONFIG_DIR": str(tmp_path / "inside")}
    kid, _ = guide.released(release_by_cli(guide, key, inside))
    assert kid == key

    hsm, holders = "https://guide-hsm.managedhsm.azure.net", str(tmp_path)
    made = (str(GUIDE / "azure_cli_hsm.sh"), STAGE.resource_group, "guide-hsm", str(guide.policy), holders)
    key = guide.run("sh", *made, **outside)
    assert key.startswith(f"{hsm}/keys/by-az/")
    script = str(GUIDE / "azure_python_administration.py")
    assert guide.run(sys.executable, script, hsm, "by-az", guide.identity) == "1"
    kid, _ = guide.released(release_by_cli(guide, key, inside))
    assert kid == key


@needs_node
def test_the_sdk_for_javascript(guide: Guide) -> None:
    script = ("node", str(GUIDE / "azure_node.cjs"))
    key = guide.run(*script, "create", VAULT, "by-node", str(guide.policy))
    kid, _ = guide.released(guide.run(*script, "release", VAULT, "by-node", str(guide.token), vm=STAGE.vm))
    assert kid == key


def test_the_sdk_for_python(guide: Guide) -> None:
    script = (sys.executable, str(GUIDE / "azure_python.py"))
    key = guide.run(*script, "create", VAULT, "by-python", str(guide.policy))
    kid, modulus = guide.released(guide.run(*script, "release", VAULT, "by-python", str(guide.token), vm=STAGE.vm))
    assert kid == key
    bundle = send(
        guide.endpoint,
        "GET",
        f"{key}?api-version=7.4",
        Authorization=bearer(operator_token(guide.endpoint, "https://vault.azure.net")),
    ).json()
    assert modulus == int.from_bytes(unb64url(bundle["key"]["n"]), "big")


def test_the_scripts_hold_nothing_of_this_package() -> None:
    for script in GUIDE.iterdir():
        if script.is_file():
            lines = [line for line in script.read_text().splitlines() if "import" in line or "require(" in line]
            assert not [line for line in lines if "skrkit" in line], script
