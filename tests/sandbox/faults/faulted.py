"""The flow of step 4 as a client in the VM runs it, with nothing tried twice, and the same requests raw."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from skrkit.artefact import Collector
from skrkit.cloud import Cloud
from skrkit.policy.templates import cvm_policy
from skrkit.release.flow import Released, Terms, attest, open_release, request_release
from skrkit.release.request import Enc
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services.attester import Attester
from skrkit.services.maa import GuestAttestation
from skrkit.services.rest import RestClient
from skrkit.services.vault import Vault, key_client
from tests.sandbox.running import IMDS, STAGE, Answer, bearer, operator_token, send

VAULT = f"https://{STAGE.vault}.vault.azure.net"
TOKEN_URL = f"{IMDS}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={quote('https://vault.azure.net')}"


def cloud_of(endpoint: Endpoint) -> Cloud:
    """The sandbox as its operator sees it. Nothing is tried twice: a fault is there at the tenth attempt, too."""
    return replace(Cloud.sandbox(home=endpoint.home), settings={"retry_total": 0})


def attested_token(cloud: Cloud) -> str:
    """A good attestation token of the VM, the compact JWS."""
    inside = cloud.enter(STAGE.vm)
    with Attester(inside) as attester, RestClient(inside) as rest:
        issuer = GuestAttestation(client=rest, issuer=STAGE.attestation)
        found = attest(
            attester, issuer, nonce=secrets.token_hex(16), amd_roots=cloud.amd_roots(), now=cloud.now(),
            made=Collector(4),
        )  # fmt: skip
        return found.token.raw.decode("ascii")


def release(cloud: Cloud, *, version: str = "") -> Released:
    """The key, released into the VM and unwrapped there: all of step 4, as the VM's identity alone."""
    inside = cloud.enter(STAGE.vm)
    with Attester(inside) as attester, RestClient(inside) as rest, key_client(inside, VAULT) as releaser:
        vault = Vault(url=VAULT, reader=None, releaser=releaser)
        issuer = GuestAttestation(client=rest, issuer=STAGE.attestation)
        made, nonce = Collector(4), secrets.token_hex(16)
        found = attest(attester, issuer, nonce=nonce, amd_roots=cloud.amd_roots(), now=cloud.now(), made=made)
        terms = Terms(
            key=STAGE.key,
            version=version,
            policy=cvm_policy(STAGE.attestation),
            enc=Enc.RSA_AES_KEY_WRAP_256,
            nonce=nonce,
            host=VAULT.removeprefix("https://"),
            roots=cloud.release_roots(),
            now=cloud.now(),
        )
        return open_release(attester, vault, request_release(vault, found.token, terms), terms)


def imds(endpoint: Endpoint, url: str) -> Answer:
    """The answer of IMDS to a request from inside the VM."""
    return send(endpoint, "GET", url, port=endpoint.vm(STAGE.vm).proxy_port, Metadata="true")


def identity_token(endpoint: Endpoint) -> str:
    """The access token that the VM's identity gets for Key Vault."""
    answer = imds(endpoint, TOKEN_URL)
    assert answer.status == 200, answer.body
    return str(answer.json()["access_token"])


def raw_release(endpoint: Endpoint, target: str, *, version: str = "") -> Answer:
    """The vault's answer to a release request of the VM."""
    path = f"{VAULT}/keys/{STAGE.key}{f'/{version}' if version else ''}/release?api-version=2025-07-01"
    body = {"target": target, "enc": "RSA_AES_KEY_WRAP_256"}
    port = endpoint.vm(STAGE.vm).proxy_port
    return send(endpoint, "POST", path, body, port=port, Authorization=bearer(identity_token(endpoint)))


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def the_vm(endpoint: Endpoint) -> dict[str, Any]:
    """The VM as Resource Manager shows it."""
    token = operator_token(endpoint)
    path = f"/subscriptions/{endpoint.subscription}/resourceGroups/{STAGE.resource_group}"
    url = f"https://management.azure.com{path}/providers/Microsoft.Compute/virtualMachines/{STAGE.vm}"
    answer = send(endpoint, "GET", f"{url}?api-version=2024-07-01", Authorization=bearer(token))
    found: dict[str, Any] = answer.json()
    return found
