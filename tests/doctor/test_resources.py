"""Checks on what Resource Manager, a token and a TPM say, each seen to fail: bodies in Azure's form, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.doctor.check import Outcome
from skrkit.doctor.checks import ALL
from skrkit.doctor.host import Host
from skrkit.doctor.visit import Names, Visit
from skrkit.encoding import b64url
from skrkit.errors import ServiceError

NAMES = Names(resource_group="g", vm="m", vault="myvault", key="k")


def run(check_id: str, **known: Any) -> Outcome:
    reader = known.pop("reader", None)
    attester = known.pop("attester", None)
    cloud = Cloud.azure(tenant="t", subscription="s")
    visit = Visit(host=Host(system="Linux", architecture="x86_64"), names=NAMES, inside=cloud, outside=cloud, **known)
    visit._reader = SimpleNamespace(cloud=cloud, **(reader or {}))  # type: ignore[assignment]  # in place of Azure
    visit._attester = attester
    (check,) = (check for check in ALL if check.id == check_id)
    return visit.with_remedy(check.run(visit))


def vm(security: str | None = "ConfidentialVM", secure_boot: bool = True, **identity: Any) -> dict[str, Any]:
    profile = {"securityType": security, "uefiSettings": {"secureBootEnabled": secure_boot, "vTpmEnabled": True}}
    properties = {"securityProfile": profile if security else {}}
    body: dict[str, Any] = {"location": "westeurope", "properties": properties}
    return body | ({"identity": identity} if identity else {})


SYSTEM: dict[str, Any] = {"type": "SystemAssigned", "principalId": "oid"}
TWO: dict[str, Any] = {
    "type": "UserAssigned",
    "userAssignedIdentities": {"a": {"principalId": "1"}, "b": {"principalId": "2"}},
}


@pytest.mark.parametrize(
    ("body", "verdict", "cause"),
    [
        (vm(**SYSTEM), "ok", ""),
        (vm(None, **SYSTEM), "failed", "machine.not-a-cvm"),
        (vm("TrustedLaunch", **SYSTEM), "failed", "machine.not-a-cvm"),
        (vm(), "failed", "identity.none"),
        (vm(**TWO), "failed", "identity.several"),
        (vm(**(TWO | SYSTEM)), "ok", ""),
        (vm(secure_boot=False, **SYSTEM), "failed", "evidence.secure-boot-off"),
    ],
)
def test_the_vm_as_a_resource(body: dict[str, Any], verdict: str, cause: str) -> None:
    asked: list[str] = []

    def answer(resource_id: str) -> dict[str, Any]:
        asked.append(resource_id)
        return body

    found = run("vm.resource", reader={"vm": answer})
    assert (found.verdict, found.cause, bool(found.fix)) == (verdict, cause, verdict == "failed")
    assert asked == ["/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/m"]


def vault(sku: str = "premium", **properties: Any) -> dict[str, Any]:
    return {"properties": {"sku": {"family": "A", "name": sku}, "tenantId": "t", **properties}}


DENY = {
    "bypass": "AzureServices",
    "defaultAction": "Deny",
    "ipRules": [{"value": "1.2.3.4"}],
    "virtualNetworkRules": [],
}


@pytest.mark.parametrize(
    ("body", "verdict", "cause", "words"),
    [
        (vault(), "ok", "", "goes by access policies, open to every network"),
        (vault("Premium", enableRbacAuthorization=True), "ok", "", "goes by roles"),
        (vault("standard"), "failed", "key.standard-vault", "only Premium has HSM keys"),
        (vault(publicNetworkAccess="Disabled"), "warning", "access.private-only", "only a private endpoint"),
        (vault(networkAcls=DENY), "warning", "access.firewall-address", "1 address rules and 0 subnets"),
    ],
)
def test_the_vault_as_a_resource(body: dict[str, Any], verdict: str, cause: str, words: str) -> None:
    found = run("vault.resource", reader={"vault": lambda _id: body})
    assert (found.verdict, found.cause) == (verdict, cause)
    assert words in found.evidence


def policy(*conditions: dict[str, Any], authority: str = "https://sharedweu.weu.attest.azure.net") -> dict[str, Any]:
    text = json.dumps({"version": "1.0.0", "anyOf": [{"authority": authority, "allOf": list(conditions)}]})
    return {"release_policy": {"data": b64url(text.encode())}}


def test_the_policys_text_is_linted() -> None:
    tee = {"claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm"}
    compliant = {"claim": "x-ms-isolation-tee.x-ms-compliance-status", "equals": "azure-compliant-cvm"}
    debug = {"claim": "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable", "equals": "false"}
    assert run("policy.lint", key=policy(tee, compliant, debug)).verdict in ("ok", "warning")
    wrong = run("policy.lint", key=policy(tee | {"claim": "x-ms-isolation-tee.x-ms-atestation-type"}))
    assert wrong.verdict in ("failed", "warning")
    assert wrong.fix
    assert wrong.facts["findings"]
    http = run("policy.lint", key=policy(tee, authority="http://sharedweu.weu.attest.azure.net"))
    assert http.verdict == "failed"
    assert run("policy.lint").verdict == "skipped"


def token(**tee: Any) -> Any:
    claims = {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-compliance-status": "azure-compliant-cvm",
        "x-ms-sevsnpvm-is-debuggable": False,
    }
    return SimpleNamespace(claims={"x-ms-isolation-tee": claims | tee, "secureboot": True})


@pytest.mark.parametrize(
    ("attested", "verdict", "cause"),
    [
        (token(), "ok", ""),
        (token(**{"x-ms-attestation-type": "tdxvm"}), "failed", "policy.kind-of-token"),
        (token(**{"x-ms-compliance-status": None}), "warning", "policy.compliance-status"),
        (token(**{"x-ms-sevsnpvm-is-debuggable": True}), "warning", "evidence.debug-vm"),
        (token(**{"x-ms-sevsnpvm-is-debuggable": "false"}), "warning", "evidence.debug-vm"),
        (SimpleNamespace(claims={}), "failed", "policy.kind-of-token"),
    ],
)
def test_what_the_token_says(attested: Any, verdict: str, cause: str) -> None:
    found = run("maa.claims", attested=attested)
    assert (found.verdict, found.cause) == (verdict, cause)


def test_a_vtpm_without_a_sha256_bank_is_refused() -> None:
    sha1_only = bytes.fromhex("00000002000403ffffff000b03000000")  # TPML_PCR_SELECTION
    tpm = SimpleNamespace(get_capability=lambda *_a: (False, sha1_only))
    found = run("pcr.banks", attester=SimpleNamespace(tpm=tpm, pcrs=(0,)))
    assert found.verdict == "failed"
    assert "Active banks: sha1." in found.evidence


def test_a_vtpm_without_its_attestation_key_is_refused() -> None:
    def sizes(index: int) -> Any:
        if index == 0x01400002:
            raise ServiceError(what="w", where="h", expected="e", found="f", fix="x", code="TPM_RC_HANDLE")
        return SimpleNamespace(data_size=2600)

    tpm = SimpleNamespace(nv_read_public=sizes, handles=lambda _first: ())
    found = run("vtpm.nv-indexes", attester=SimpleNamespace(tpm=tpm))
    assert found.verdict == "failed"
    assert "no attestation key at 0x81000003" in found.evidence
    there = SimpleNamespace(nv_read_public=sizes, handles=lambda _first: (0x81000003,))
    assert run("vtpm.nv-indexes", attester=SimpleNamespace(tpm=there)).verdict == "ok"


def test_nobody_signed_in_is_told_to_sign_in() -> None:
    def nobody(_host: str) -> str:
        raise ServiceError(
            what="access token",
            where="the credential",
            expected="an access token",
            found="DefaultAzureCredential failed",
            fix="Sign in: az login",
            code="ClientAuthenticationError",
        )

    found = run("outside.sign-in", reader={"token": nobody})
    assert (found.verdict, found.fix, found.cause) == ("failed", "Sign in: az login", "")


@pytest.mark.parametrize(
    ("attributes", "verdict", "cause"),
    [
        ({"enabled": True, "exportable": True}, "ok", ""),
        ({"enabled": False, "exportable": True}, "failed", "key.disabled"),
        ({"enabled": True, "exportable": False}, "failed", "key.not-exportable"),
        ({"enabled": True}, "failed", "key.not-exportable"),
        ({"enabled": True, "exportable": True, "nbf": 4_000_000_000}, "failed", ""),
        ({"enabled": True, "exportable": True, "exp": 1_000_000_000}, "failed", ""),
    ],
)
def test_a_key_is_judged_by_its_attributes(attributes: dict[str, Any], verdict: str, cause: str) -> None:
    key = {"kid": "https://myvault.vault.azure.net/keys/k/1", "kty": "RSA-HSM"}
    body = {"key": key, "attributes": attributes, "release_policy": {"data": ""}}
    found = run("key.attributes", reader={"key": lambda _url, _name: body})
    assert (found.verdict, found.cause) == (verdict, cause)
    assert bool(found.fix) == (verdict == "failed")
    unbound = run("key.attributes", reader={"key": lambda _url, _name: body | {"release_policy": None}})
    assert unbound.verdict == "failed"


def test_what_was_not_named_is_skipped_and_says_how_to_name_it() -> None:
    cloud = Cloud.azure()
    visit = Visit(host=Host(system="Linux", architecture="x86_64"), names=Names(), inside=cloud, outside=cloud)
    for check_id, option in (
        ("vm.resource", "--vm"),
        ("vault.resource", "--vault"),
        ("vault.reachable", "--vault"),
        ("key.attributes", "--key"),
        ("release.preflight", "--key"),
        ("maa.reachable", "--attestation"),
        ("release.done", "--release"),
    ):
        (check,) = (check for check in ALL if check.id == check_id)
        found = check.run(visit)
        assert found.verdict == "skipped"
        assert option in found.evidence
    assert replace(visit.names, vm="m").vm == "m"
