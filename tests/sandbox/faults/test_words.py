"""What a fault's refusal looks like on the wire, to the letter of Azure's documents and of recorded answers."""

from __future__ import annotations

import json
import ssl
import time
from typing import Any

import pytest

from skrkit.errors import ServiceError
from skrkit.policy.templates import cvm_policy
from skrkit.provision.key import create
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_off, switch_on
from tests.sandbox.faults.faulted import (
    TOKEN_URL,
    VAULT,
    claims_of,
    cloud_of,
    identity_token,
    imds,
    raw_release,
    release,
    the_vm,
)
from tests.sandbox.running import STAGE, bearer, connection, operator_token, say, send

MAA = "sharedweu.weu.attest.azure.net"
VAULT_HOST = f"{STAGE.vault}.vault.azure.net"


def body(code: str, message: str, inner: str = "") -> dict[str, Any]:
    """Key Vault's error body."""
    return {"error": {"code": code, "message": message} | ({"innererror": {"code": inner}} if inner else {})}


def in_full(endpoint: Endpoint, caller: dict[str, Any]) -> dict[str, tuple[int, dict[str, Any]]]:
    """Status and whole body of each refusal of the vault. `caller` are the claims of the VM's access token."""
    who = f"appid={caller['appid']};oid={caller['oid']};iss=https://sts.windows.net/{endpoint.tenant}/"
    group = f"/subscriptions/{endpoint.subscription}/resourceGroups/{STAGE.resource_group}"
    no_permission = (
        f"The user, group or application '{who}' does not have keys release permission on key vault "
        "'skrkit-vault;location=westeurope'. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125287"
    )
    not_found = (
        "A key with (name/id) release-me was not found in this key vault. If you recently deleted this key you may be "
        "able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182"
    )
    return {
        "network.vault-throttled": (
            429,
            body(
                "Throttled",
                "Request was not processed because too many requests were received. "
                "Reason: VaultRequestTypeLimitReached",
            ),
        ),
        "access-token.missing": (401, body("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")),
        "access-token.wrong-tenant": (
            401,
            body(
                "Unauthorized",
                f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{endpoint.tenant}/, found "
                "https://sts.windows.net/11111111-2222-3333-4444-555555555555/.",
            ),
        ),
        "access.release-missing": (403, body("Forbidden", no_permission, "AccessDenied")),
        "access.not-propagated": (403, body("Forbidden", no_permission, "AccessDenied")),
        "access.rbac-mode": (
            403,
            body(
                "Forbidden",
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or "
                "role definitions were changed recently, please observe propagation time.\r\n"
                f"Caller: {who}\r\nAction: 'Microsoft.KeyVault/vaults/keys/release/action'\r\n"
                f"Resource: '{group}/providers/Microsoft.KeyVault/vaults/skrkit-vault/keys/release-me'\r\n"
                "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"
                "Vault: skrkit-vault;location=westeurope",
                "ForbiddenByRbac",
            ),
        ),
        "access.firewall-address": (
            403,
            body(
                "Forbidden",
                "Client address is not authorized and caller is not a trusted service.\r\n"
                f"Client address: 127.0.0.1\r\nCaller: {who}\r\nVault: skrkit-vault;location=westeurope",
                "ForbiddenByFirewall",
            ),
        ),
        "key.disabled": (
            403,
            body("Forbidden", "Operation release is not allowed on a disabled key.", "KeyDisabled"),
        ),
        "key.not-found": (404, body("KeyNotFound", not_found)),
        "key.deleted": (404, body("KeyNotFound", not_found)),
        "policy.letter-case": (
            403,
            body(
                "Forbidden",
                "Target environment attestation does not meet key release policy requirements.",
                "AccessDenied",
            ),
        ),
    }


def test_the_vault_refuses_in_its_own_words_to_the_letter(endpoint: Endpoint, target: str) -> None:
    expected = in_full(endpoint, claims_of(identity_token(endpoint)))
    for name, (status, words) in expected.items():
        switch_on(name, home=endpoint.home)
        answer = raw_release(endpoint, target)
        assert (name, answer.status, answer.json()) == (name, status, words)
        headers = {header.lower(): value for header, value in answer.headers.items()}
        assert (name, "https://vault.azure.net" in headers.get("www-authenticate", "")) == (name, status == 401)
        assert "retry-after" not in headers  # as observed of a real 429
        switch_off(name, home=endpoint.home)
    assert raw_release(endpoint, target).status == 200


def test_a_stale_object_id_is_not_the_one_that_was_granted(endpoint: Endpoint, target: str) -> None:
    before = claims_of(identity_token(endpoint))["oid"]
    switch_on("access.stale-object-id", home=endpoint.home)
    now = claims_of(identity_token(endpoint))["oid"]
    message = raw_release(endpoint, target).json()["error"]["message"]
    assert now != before
    assert f"oid={now};" in message
    switch_off("access.stale-object-id", home=endpoint.home)
    assert claims_of(identity_token(endpoint))["oid"] == before


MULTIPLE = (
    "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token "
    "request"
)
IMDS_ANSWERS: dict[str, tuple[int, dict[str, str]]] = {
    "identity.none": (400, {"error": "invalid_request", "error_description": "Identity not found"}),
    "identity.several": (400, {"error": "invalid_request", "error_description": MULTIPLE}),
    "identity.wrong-selector": (400, {"error": "invalid_request", "error_description": "Identity not found"}),
}


@pytest.mark.parametrize("name", IMDS_ANSWERS)
def test_imds_refuses_in_its_own_words(endpoint: Endpoint, name: str) -> None:
    switch_on(name, home=endpoint.home)
    answer = imds(endpoint, TOKEN_URL)
    assert (answer.status, answer.json()) == IMDS_ANSWERS[name]
    elsewhere = imds(endpoint, "http://169.254.169.254/metadata/versions")
    assert elsewhere.status == 200
    switch_off(name, home=endpoint.home)
    assert imds(endpoint, TOKEN_URL).status == 200


def test_of_several_identities_one_can_be_named(endpoint: Endpoint) -> None:
    switch_on("identity.several", home=endpoint.home)
    vm = the_vm(endpoint)
    assert vm["identity"]["type"] == "UserAssigned"
    for resource_id, assigned in vm["identity"]["userAssignedIdentities"].items():
        for selector, value in (("client_id", assigned["clientId"]), ("msi_res_id", resource_id)):
            answer = imds(endpoint, f"{TOKEN_URL}&{selector}={value}")
            claims = claims_of(answer.json()["access_token"])
            assert (claims["oid"], claims["appid"]) == (assigned["principalId"], assigned["clientId"])
    assert imds(endpoint, f"{TOKEN_URL}&client_id={endpoint.client_id}").json() == IMDS_ANSWERS["identity.none"][1]


def test_every_request_to_imds_fails_where_it_is_throttled_down_or_behind_a_proxy(endpoint: Endpoint) -> None:
    thim = "http://169.254.169.254/metadata/THIM/amd/certification"
    instance = "http://169.254.169.254/metadata/instance?api-version=2021-02-01"
    for name, status in (("identity.imds-throttled", 429), ("identity.imds-down", 500), ("identity.imds-proxied", 403)):
        switch_on(name, home=endpoint.home)
        answers = [imds(endpoint, url) for url in (TOKEN_URL, thim, instance)]
        assert [answer.status for answer in answers] == [status] * 3
        kind = {answer.headers["content-type"].partition(";")[0] for answer in answers}
        assert kind == ({"text/html"} if status == 403 else {"application/json"})
        switch_off(name, home=endpoint.home)
    switch_on("network.thim-unavailable", home=endpoint.home)
    assert [imds(endpoint, url).status for url in (TOKEN_URL, thim, instance)] == [200, 503, 200]


# --- faults that only some clients meet


def operator_get(endpoint: Endpoint, path: str) -> Any:
    token = operator_token(endpoint, "https://vault.azure.net")
    url = f"{VAULT}{path}?api-version=2025-07-01"
    return send(endpoint, "GET", url, Authorization=bearer(token))


def test_who_reads_the_key_first_may_not_read_it(endpoint: Endpoint, target: str) -> None:
    switch_on("access.get-missing", home=endpoint.home)
    answer = operator_get(endpoint, f"/keys/{STAGE.key}")
    assert (answer.status, answer.json()["error"]["innererror"]) == (403, {"code": "AccessDenied"})
    assert "does not have keys get permission on key vault 'skrkit-vault;" in answer.json()["error"]["message"]
    cloud = cloud_of(endpoint)
    with pytest.raises(ServiceError) as raised:  # step 3 of the walkthrough
        create(cloud, VAULT, STAGE.key, cvm_policy(STAGE.attestation))
    assert (raised.value.status, raised.value.code) == (403, "Forbidden/AccessDenied")
    assert raw_release(endpoint, target).status == 200  # which does not read it
    switch_off("access.get-missing", home=endpoint.home)
    assert operator_get(endpoint, f"/keys/{STAGE.key}").status == 200


def test_a_version_that_is_named_is_not_there(endpoint: Endpoint, target: str) -> None:
    version = str(operator_get(endpoint, f"/keys/{STAGE.key}").json()["key"]["kid"]).rpartition("/")[2]
    assert raw_release(endpoint, target, version=version).status == 200
    switch_on("key.wrong-version", home=endpoint.home)
    answer = raw_release(endpoint, target, version=version)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "KeyNotFound")
    assert f"A key with (name/id) release-me/{version} was not found" in answer.json()["error"]["message"]
    with pytest.raises(ServiceError) as raised:
        release(cloud_of(endpoint), version=version)
    assert (raised.value.status, raised.value.code) == (404, "KeyNotFound")
    assert raw_release(endpoint, target).status == 200
    switch_off("key.wrong-version", home=endpoint.home)
    assert raw_release(endpoint, target, version=version).status == 200


def test_an_access_token_is_wrong_in_the_one_way_that_its_fault_says(endpoint: Endpoint) -> None:
    right = claims_of(identity_token(endpoint))
    changed = {
        "access-token.wrong-audience": {"aud"},
        "access-token.wrong-tenant": {"iss", "tid", "idp"},
        "access-token.expired": {"iat", "nbf", "exp"},
        "access-token.unknown-key": set(),
    }
    for name, members in changed.items():
        switch_on(name, home=endpoint.home)
        token = identity_token(endpoint)
        wrong = claims_of(token)
        volatile = set() if name == "access-token.expired" else {"iat", "nbf", "exp"}
        found = {each for each in right if right[each] != wrong[each]} - {"uti"} - volatile
        assert (name, found) == (name, members)
        switch_off(name, home=endpoint.home)
    assert wrong["exp"] > time.time()


# --- the door


def connect(endpoint: Endpoint, host: str) -> bytes:
    return say(endpoint.port, f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())


@pytest.mark.parametrize(("group", "host", "other"), [("vault", VAULT_HOST, MAA), ("maa", MAA, VAULT_HOST)])
def test_a_name_that_does_not_resolve_and_a_host_that_cannot_be_reached(
    endpoint: Endpoint, group: str, host: str, other: str
) -> None:
    switch_on(f"network.{group}-name", home=endpoint.home)
    head, _, said = connect(endpoint, host).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 Host Not Found\r\n")
    assert b"\r\nProxy-Status: skrkit-sandbox; error=dns_error; rcode=NXDOMAIN\r\n" in head
    assert json.loads(said)["error"]["message"] == f"{host} does not resolve."
    assert connect(endpoint, other).startswith(b"HTTP/1.1 200 ")
    switch_off(f"network.{group}-name", home=endpoint.home)
    switch_on(f"network.{group}-unreachable", home=endpoint.home)
    assert connect(endpoint, host) == b""
    assert connect(endpoint, other).startswith(b"HTTP/1.1 200 ")


def test_an_inspecting_proxy_has_a_certificate_of_its_own(endpoint: Endpoint) -> None:
    switch_on("network.vault-tls", home=endpoint.home)
    with pytest.raises(ssl.SSLCertVerificationError):
        send(endpoint, "GET", f"{VAULT}/keys?api-version=7.4")
    careless = connection(endpoint, VAULT_HOST)
    careless._context = ssl._create_unverified_context()  # type: ignore[attr-defined]  # to look at it, no more
    careless.connect()
    shown = careless.sock.getpeercert(binary_form=True)
    assert isinstance(shown, bytes)
    assert b"Example Inspecting Proxy issuing CA" in shown
    careless.close()
    assert send(endpoint, "GET", f"https://{MAA}/certs").status == 200
    switch_off("network.vault-tls", home=endpoint.home)
    assert send(endpoint, "GET", f"{VAULT}/keys?api-version=7.4").status == 401


def test_a_connection_of_before_the_fault_does_not_outlive_it(endpoint: Endpoint) -> None:
    kept = connection(endpoint, MAA)
    kept.request("GET", "/certs")
    assert kept.getresponse().read()
    switch_on("network.maa-unreachable", home=endpoint.home)
    kept.request("GET", "/certs")
    with pytest.raises(ConnectionError):
        kept.getresponse()
    kept.close()
