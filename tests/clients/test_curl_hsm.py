"""A Managed HSM by curl and openssl alone: made, activated by three holders, a role given, a key released to a VM."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from skrkit.cloud import Cloud
from skrkit.release.response import parse_release_response
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.hsm.sharing import joined
from skrkit.services import attester
from skrkit.services.maa import GuestAttestation
from skrkit.services.rest import RestClient
from skrkit.token.envelope import open_envelope
from tests.clients.test_curl import ALL_OF, Curl, b64url, unb64url
from tests.sandbox.running import ARM, STAGE, group_url

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")),
    reason="NO CURL OR NO OPENSSL: Managed HSM was not tried from outside by them. Install both.",
)
HSM = "https://pool.managedhsm.azure.net"
ROLES = "providers/Microsoft.Authorization/roleAssignments"
ROLE = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/"
CRYPTO_USER, RELEASE_USER = "21dbd100-6940-42c2-9190-5d6cb909625b", "21dbd100-6940-42c2-9190-5d6cb909625c"
OAEP_256 = ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256")


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True, timeout=60)
    return done.stdout


def holder(folder: Path, number: int) -> dict[str, Any]:
    """Make a key and a certificate as Microsoft's quickstart does, and return the certificate as a JSON Web Key."""
    key, certificate = str(folder / f"cert_{number}.key"), str(folder / f"cert_{number}.cer")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-x509", "-days", "365", "-out", certificate,
            "-subj", f"/CN=holder {number}")  # fmt: skip
    der = openssl("x509", "-in", certificate, "-outform", "DER")
    modulus = openssl("x509", "-in", certificate, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
    thumbprint = openssl("dgst", "-sha256", "-binary", stdin=der)
    return {
        "kid": str(number), "kty": "RSA", "alg": "RSA-OAEP-256", "key_ops": ["encrypt"],
        "n": b64url(bytes.fromhex(modulus)), "e": "AQAB",
        "x5c": [base64.b64encode(der).decode()], "x5t#S256": b64url(thumbprint),
    }  # fmt: skip


def opened(jwe: str, key: Path) -> bytes:
    options = [part for option in OAEP_256 for part in ("-pkeyopt", option)]
    secret = openssl("pkeyutl", "-decrypt", "-inkey", str(key), *options, stdin=unb64url(jwe.split(".")[1]))
    return content_of(jwe, secret)


def content_of(jwe: str, secret: bytes) -> bytes:
    """What a JWE with A256CBC-HS512 holds (RFC 7518 section 5.2): the first half of the secret is HMAC's key."""
    header, _, iv, sealed, tag = jwe.split(".")
    length = (8 * len(header)).to_bytes(8, "big")
    covered = header.encode() + unb64url(iv) + unb64url(sealed) + length
    mac = openssl("dgst", "-sha512", "-mac", "HMAC", "-macopt", f"hexkey:{secret[:32].hex()}", "-binary", stdin=covered)
    assert mac[:32] == unb64url(tag)
    key = ("-K", secret[32:].hex(), "-iv", unb64url(iv).hex())
    return openssl("enc", "-d", "-aes-256-cbc", *key, stdin=unb64url(sealed))


@pytest.fixture(scope="module")
def outside(sandbox: Endpoint) -> Curl:
    return Curl(sandbox)


@pytest.fixture(scope="module")
def bearer(outside: Curl) -> str:
    return outside.operator("https://managedhsm.azure.net")


@pytest.fixture(scope="module")
def domain(outside: Curl, bearer: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The security domain of an HSM that curl made and activated, and the folder with its holders' keys."""
    endpoint, folder = outside.endpoint, tmp_path_factory.mktemp("holders")
    operator = Cloud.sandbox(home=endpoint.home).operator
    body = {
        "location": "westeurope",
        "sku": {"family": "B", "name": "Standard_B1"},
        "properties": {"tenantId": endpoint.tenant, "initialAdminObjectIds": [operator]},
    }
    url = f"{group_url(endpoint)}/providers/Microsoft.KeyVault/managedHSMs/pool?api-version=2023-07-01"
    assert outside("PUT", url, body, outside.operator(ARM))[0] == 202
    status, refused = outside("GET", f"{HSM}/keys?api-version=7.5", None, bearer)
    assert (status, "not activated" in refused["error"]["message"]) == (403, True)
    recipients = {"certificates": [holder(folder, number) for number in range(3)], "required": 2}
    made = outside.ok("POST", f"{HSM}/securitydomain/download?api-version=7.5", recipients, bearer)
    pending = outside.ok("GET", f"{HSM}/securitydomain/download/pending?api-version=7.5", None, bearer)
    assert pending["status"] == "Success"
    role = {"properties": {"roleDefinitionId": ROLE + CRYPTO_USER, "principalId": operator}}
    outside.ok("PUT", f"{HSM}/keys/{ROLES}/aaaaaaaa-0000-4000-8000-000000000001?api-version=7.5", role, bearer)
    return json.loads(made["value"]), folder


def test_two_of_three_holders_open_the_domain_with_openssl(domain: tuple[Any, Path]) -> None:
    document, folder = domain
    sealed = document["SharedKeys"]["enc_shares"]
    shares = [opened(each["enc_key"], folder / f"cert_{number}.key") for number, each in enumerate(sealed)]
    (datum,) = document["EncData"]["data"]
    block = b"\0\0\0\1" + datum["tag"].encode() + b"\0" + b"\0\0\2\0"  # NIST SP 800-108 in counter mode
    master = joined(shares[1:])
    mac = ("dgst", "-sha512", "-mac", "HMAC", "-macopt", f"hexkey:{master.hex()}", "-binary")
    assert len(content_of(datum["compact_jwe"], openssl(*mac, stdin=block))) == 32


def test_without_a_token_the_hsm_challenges_and_says_nothing(outside: Curl, domain: object) -> None:
    assert outside("GET", f"{HSM}/keys?api-version=7.5") == (401, None)


@pytest.mark.parametrize(("kty", "size"), [("oct-HSM", 32), ("RSA-HSM", 0)])
def test_a_key_is_released_into_the_vm(
    outside: Curl, sandbox: Endpoint, bearer: str, domain: object, kty: str, size: int
) -> None:
    name = f"curl-{kty.lower()}"
    conditions = [{"claim": f"x-ms-isolation-tee.{claim}", "equals": value} for claim, value in ALL_OF]
    policy = {"version": "1.0.0", "anyOf": [{"authority": STAGE.attestation, "allOf": conditions}]}
    body = {"kty": kty, "attributes": {"exportable": True},
            "release_policy": {"data": b64url(json.dumps(policy).encode())}}  # fmt: skip
    kid = outside.ok("POST", f"{HSM}/keys/{name}/create?api-version=7.5", body, bearer)["key"]["kid"]

    vm = f"{group_url(sandbox)}/providers/Microsoft.Compute/virtualMachines/{STAGE.vm}?api-version=2024-07-01"
    arm = outside.operator(ARM)
    outside.ok("PATCH", vm, {"identity": {"type": "SystemAssigned"}}, arm)
    principal = outside.ok("GET", vm, None, arm)["identity"]["principalId"]
    inside = Curl(sandbox, STAGE.vm)
    token = f"Authorization: Bearer {inside.identity('https://managedhsm.azure.net')}"
    status, refused = inside("POST", f"{kid}/release?api-version=7.5", {"target": "x"}, token)
    action = "Microsoft.KeyVault/managedHsm/keys/release/action"
    assert status == 403
    assert refused["error"]["message"].startswith(f"Not authorized to access {action} on /keys/{name} (Activity ID: ")

    role = {"properties": {"roleDefinitionId": ROLE + RELEASE_USER, "principalId": principal}}
    guid = f"bbbbbbbb-0000-4000-8000-{size:012}"
    outside.ok("PUT", f"{HSM}/keys/{name}/{ROLES}/{guid}?api-version=7.5", role, bearer)
    cloud = Cloud.sandbox(home=sandbox.home).enter(STAGE.vm)
    with attester.Attester(cloud) as machine, RestClient(cloud) as rest:
        evidence = machine.collect(user_data=bytes(64))
        issued = GuestAttestation(client=rest, issuer=STAGE.attestation).attest(evidence, nonce="of this test")
        assert issued.envelope is not None
        target = open_envelope(issued.envelope, lambda sealed: machine.decrypt(sealed, "rsaes"))
        answer = inside(
            "POST", f"{kid}/release?api-version=7.5", {"target": target, "enc": "RSA_AES_KEY_WRAP_256"}, token
        )
        assert answer[0] == 200, answer
        both = parse_release_response(json.dumps(answer[1])).key_hsm.ciphertext
        material = aes_key_unwrap_with_padding(machine.decrypt(both[:256], "oaep-sha256"), both[256:])
    if size:
        assert len(material) == size
    else:
        shown = outside.ok("GET", f"{kid}?api-version=7.5", None, bearer)["key"]
        text = openssl("rsa", "-inform", "DER", "-noout", "-modulus", stdin=material).decode()
        assert b64url(bytes.fromhex(text.strip().removeprefix("Modulus="))) == shown["n"]
