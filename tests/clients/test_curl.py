"""The four steps by curl: every HTTP call is a curl process that `skrkit sandbox exec` leads into the sandbox.

The evidence for guest attestation is collected by skrkit (there is no other free library that speaks that protocol);
platform attestation needs no more than tpm2-tools and offsets, and gets no more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.cloud import Cloud
from skrkit.release.key_hsm import parse_key_hsm
from skrkit.release.unwrap import unwrap
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import attester
from skrkit.services.maa import attestation_info
from skrkit.token.envelope import open_envelope, parse_sealed_envelope
from tests.sandbox.running import ARM, IMDS, LOGIN, STAGE, execute, group_url, skrkit

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="NO CURL: the sandbox was not tried from outside by it. Install curl."
)

VAULT = f"https://{STAGE.vault}.vault.azure.net"
MAA = STAGE.attestation
NONCE = "a nonce of this test"
VM_ID = f"providers/Microsoft.Compute/virtualMachines/{STAGE.vm}"
VAULT_ID = f"providers/Microsoft.KeyVault/vaults/{STAGE.vault}"
ALL_OF = (("x-ms-attestation-type", "sevsnpvm"), ("x-ms-compliance-status", "azure-compliant-cvm"))


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str) -> Any:
    return json.loads(unb64url(token.split(".")[1]))


@dataclass(frozen=True)
class Curl:
    """Curl in one sandbox, outside or in its VM."""

    endpoint: Endpoint
    vm: str | None = None

    def __call__(self, method: str, url: str, body: Any = None, *headers: str, form: bool = False) -> tuple[int, Any]:
        """Return status and JSON of one request."""
        options = ["-sS", "--max-time", "30", "-X", method, "-w", "\n%{http_code}"]
        for header in headers:
            options += ["-H", header]
        if body is not None:
            options += ["--data-binary", "@-", *([] if form else ["-H", "Content-Type: application/json"])]
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        printed = execute(self.endpoint.home, "curl", *options, url, vm=self.vm, stdin=text)
        answer, _, status = printed.rpartition("\n")
        return int(status), json.loads(answer) if answer else None

    def ok(self, method: str, url: str, body: Any = None, *headers: str, form: bool = False) -> Any:
        """Return the JSON of a request that must succeed."""
        status, answer = self(method, url, body, *headers, form=form)
        assert 200 <= status < 300, f"{method} {url}: {status} {answer}"
        return answer

    def operator(self, resource: str) -> str:
        """Return the operator's Authorization header."""
        form = (
            f"grant_type=client_credentials&client_id={self.endpoint.client_id}"
            f"&client_secret={self.endpoint.client_secret}&scope={resource}/.default"
        )
        token = self.ok("POST", f"{LOGIN}/{self.endpoint.tenant}/oauth2/v2.0/token", form, form=True)
        return f"Authorization: Bearer {token['access_token']}"

    def identity(self, resource: str) -> str:
        """Return an access token of the VM's identity."""
        query = f"api-version=2018-02-01&resource={resource}"
        token = self.ok("GET", f"{IMDS}/metadata/identity/oauth2/token?{query}", None, "Metadata: true")
        return str(token["access_token"])


@pytest.fixture(scope="module")
def outside(sandbox: Endpoint) -> Curl:
    return Curl(sandbox)


@pytest.fixture(scope="module")
def inside(sandbox: Endpoint) -> Curl:
    return Curl(sandbox, STAGE.vm)


@pytest.fixture(scope="module")
def object_id(outside: Curl) -> str:
    """Steps 1 and 2: the VM's identity, which may release keys of the vault."""
    endpoint, arm = outside.endpoint, outside.operator(ARM)
    body = {"identity": {"type": "SystemAssigned"}}
    outside.ok("PATCH", f"{group_url(endpoint)}/{VM_ID}?api-version=2024-07-01", body, arm)
    vm = outside.ok("GET", f"{group_url(endpoint)}/{VM_ID}?api-version=2024-07-01", None, arm)
    principal = str(vm["identity"]["principalId"])
    policy = {"tenantId": endpoint.tenant, "objectId": principal, "permissions": {"keys": ["release"]}}
    url = f"{group_url(endpoint)}/{VAULT_ID}/accessPolicies/add?api-version=2023-07-01"
    granted = outside.ok("PUT", url, {"properties": {"accessPolicies": [policy]}}, arm)
    assert principal in json.dumps(granted)
    return principal


def create_key(outside: Curl, name: str, prefix: str) -> Any:
    """Step 3: an exportable key with a release policy."""
    conditions = [{"claim": prefix + claim, "equals": value} for claim, value in ALL_OF]
    policy = {"version": "1.0.0", "anyOf": [{"authority": MAA, "allOf": conditions}]}
    data = b64url(json.dumps(policy).encode())
    body = {
        "kty": "RSA-HSM",
        "key_size": 2048,
        "key_ops": ["encrypt", "decrypt", "wrapKey", "unwrapKey"],
        "attributes": {"exportable": True},
        "release_policy": {
            "contentType": "application/json; charset=utf-8",
            "data": data,
        },
    }
    url = f"{VAULT}/keys/{name}/create?api-version=7.4"
    return outside.ok("POST", url, body, outside.operator("https://vault.azure.net"))["key"]


def release(inside: Curl, kid: str, token: str, **more: str) -> tuple[int, Any]:
    authorization = f"Authorization: Bearer {inside.identity('https://vault.azure.net')}"
    return inside("POST", f"{kid}/release?api-version=7.4", {"target": token, **more}, authorization)


def test_the_four_steps(
    sandbox: Endpoint, outside: Curl, inside: Curl, object_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = claims_of(inside.identity("https://vault.azure.net"))
    assert identity["oid"] == object_id
    assert identity["aud"] == "https://vault.azure.net"
    assert identity["xms_mirid"].lower().endswith(f"/virtualmachines/{STAGE.vm}")

    key = create_key(outside, "by-curl", "x-ms-isolation-tee.")
    thim = inside.ok("GET", f"{IMDS}/metadata/THIM/amd/certification", None, "Metadata: true")
    monkeypatch.setattr(attester, "fetch_thim_certificates", lambda _cloud: thim)
    with attester.Attester(Cloud.sandbox(home=sandbox.home).enter(STAGE.vm)) as source:
        evidence = source.collect(user_data=hashlib.sha512(NONCE.encode()).digest())
        info = attestation_info(evidence, {"nonce": NONCE})
        body = {"AttestationInfo": b64url(json.dumps(info).encode())}
        sealed = inside.ok("POST", f"{MAA}/attest/AzureGuest?api-version=2020-10-01", body)
        envelope = parse_sealed_envelope(json.dumps(sealed).encode())
        token = open_envelope(envelope, lambda inner: source.decrypt(inner, "rsaes"))
        claims = claims_of(token)
        assert claims["iss"] == MAA
        assert claims["x-ms-isolation-tee"]["x-ms-compliance-status"] == "azure-compliant-cvm"

        status, answer = release(inside, key["kid"], token, nonce=NONCE, enc="CKM_RSA_AES_KEY_WRAP")
        assert status == 200, answer
        said = claims_of(answer["value"])
        assert said["request"]["nonce"] == NONCE
        assert said["response"]["key"]["key"]["kid"] == key["kid"]
        wrapped = parse_key_hsm(said["response"]["key"]["key"]["key_hsm"])
        released = unwrap(wrapped, lambda data, enc: source.decrypt(data, enc.tpm_scheme))
    private = released.private_key
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.public_key().public_numbers().n == int.from_bytes(unb64url(key["n"]), "big")


def test_platform_attestation_with_nothing_of_skrkit(
    sandbox: Endpoint, inside: Curl, outside: Curl, object_id: str
) -> None:
    if shutil.which("tpm2_nvread") is None:
        pytest.skip("NO TPM2-TOOLS: evidence was not read by them. Install tpm2-tools.")
    printed = execute(sandbox.home, "sh", "-c", "tpm2_nvread -C o 0x01400001 2>/dev/null | base64 -w 0", vm=STAGE.vm)
    hcl = base64.b64decode(printed)
    report = hcl[32:1216]  # the header has 32 bytes, the report 1184, the runtime data's length stands at 1232
    runtime = hcl[1236 : 1236 + int.from_bytes(hcl[1232:1236], "little")]
    thim = inside.ok("GET", f"{IMDS}/metadata/THIM/amd/certification", None, "Metadata: true")
    chain = thim["vcekCert"] + thim["certificateChain"]
    proof = json.dumps({"SnpReport": b64url(report), "VcekCertChain": b64url(chain.encode())})
    body = {
        "report": b64url(proof.encode()),
        "runtimeData": {"data": b64url(runtime), "dataType": "JSON"},
        "nonce": NONCE,
    }
    url = f"{MAA}/attest/SevSnpVm?api-version=2022-08-01"
    token = inside.ok("POST", url, body)["token"]
    claims = claims_of(token)
    assert claims["nonce"] == NONCE
    assert claims["x-ms-attestation-type"] == "sevsnpvm"
    assert claims["x-ms-sevsnpvm-launchmeasurement"] == report[0x90:0xC0].hex()

    forged = report[:0x90] + bytes([report[0x90] ^ 1]) + report[0x91:]  # one bit of the measurement
    proof = json.dumps({"SnpReport": b64url(forged), "VcekCertChain": b64url(chain.encode())})
    status, refused = inside("POST", url, {**body, "report": b64url(proof.encode())})
    assert (status, refused["error"]["code"]) == (400, "InvalidParameter")

    key = create_key(outside, "by-curl-platform", "")
    status, answer = release(inside, key["kid"], token)
    assert status == 200, answer
    another = create_key(outside, "by-curl-guest", "x-ms-isolation-tee.")
    status, answer = release(inside, another["kid"], token)
    assert (status, answer["error"]["code"]) == (403, "Forbidden")


def test_the_vms_identity_may_release_and_no_more(outside: Curl, inside: Curl, object_id: str) -> None:
    key = create_key(outside, "by-curl-unread", "")
    token = f"Authorization: Bearer {inside.identity('https://vault.azure.net')}"
    status, answer = inside("GET", f"{key['kid']}?api-version=7.4", None, token)
    assert status == 403
    assert object_id in json.dumps(answer)
    arm = f"Authorization: Bearer {inside.identity(ARM)}"
    status, answer = inside("GET", f"{group_url(inside.endpoint)}?api-version=2025-04-01", None, arm)
    assert (status, answer["error"]["code"]) == (403, "AuthorizationFailed")


def test_without_the_roots_curl_refuses(sandbox: Endpoint) -> None:
    """The sandbox's certificates are good for who is pointed at its root, and for nobody else."""
    command = ("curl", "-sS", "--cacert", "/dev/null", f"{LOGIN}/common/discovery/instance")
    done = skrkit(sandbox.home, "sandbox", "exec", "--", *command)
    assert done.returncode in (60, 77), done.stderr
    direct = "env -u CURL_CA_BUNDLE -u SSL_CERT_FILE curl -sS " + f"{LOGIN}/common/discovery/instance"
    done = skrkit(sandbox.home, "sandbox", "exec", "--", "sh", "-c", direct)
    assert done.returncode == 60, done.stderr


def test_a_user_assigned_identity_is_named_by_each_of_its_ids(outside: Curl, inside: Curl, object_id: str) -> None:
    group, arm = group_url(outside.endpoint), outside.operator(ARM)
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/by-curl"
    made = outside.ok("PUT", f"{path}?api-version=2023-01-31", {"location": STAGE.location}, arm)
    ids, vm = made["properties"], f"{group}/{VM_ID}?api-version=2024-07-01"
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {made["id"]: {}}}
    outside.ok("PATCH", vm, {"identity": both}, arm)
    token = f"{IMDS}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
    named = (f"client_id={ids['clientId']}", f"object_id={ids['principalId']}", f"msi_res_id={made['id']}")
    for selector in named:
        answer = inside.ok("GET", f"{token}&{selector}", None, "Metadata: true")
        assert (answer["client_id"], claims_of(answer["access_token"])["oid"]) == (ids["clientId"], ids["principalId"])
    assert (
        claims_of(inside.identity("https://vault.azure.net"))["oid"] == object_id
    )  # the VM's own, where none is named
    outside.ok("PATCH", vm, {"identity": {"type": "SystemAssigned"}}, arm)
    status, refused = inside("GET", f"{token}&{named[0]}", None, "Metadata: true")
    assert (status, refused) == (400, {"error": "invalid_request", "error_description": "Identity not found"})
