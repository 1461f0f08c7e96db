"""A live case holds what the walk saw and what stands around it, fails by name, and holds no secret but the token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from skrkit.cloud import Cloud
from skrkit.diagnosis.case import EVIDENCE_NAMES, Case
from skrkit.diagnosis.refusal import KEY_READ
from skrkit.doctor.gather import error_members, exchange_of, gather_case, service_of, version_of
from skrkit.doctor.kept import pcrs_json
from skrkit.errors import ServiceError
from skrkit.policy.evaluate import evaluate
from skrkit.policy.parse import parse_policy
from skrkit.provision.stage import Stage
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.services import arm
from skrkit.services.recording import HttpExchange
from skrkit.token.decode import decode_jwt
from tests.doctor.conftest import STAGE


@pytest.fixture(scope="module")
def healthy(home: Path) -> Case:
    return gather_case(Cloud.sandbox(home=home), STAGE)


def test_a_case_of_a_healthy_vm_has_every_part(healthy: Case) -> None:
    assert healthy.error == {}
    assert healthy.at is not None
    assert healthy.at.tzinfo is not None
    assert set(healthy.evidence) == set(EVIDENCE_NAMES)
    claims = decode_jwt(healthy.token).claims
    assert evaluate(parse_policy(healthy.policy), claims).holds
    assert healthy.access_token["aud"] == "https://vault.azure.net"
    assert healthy.asked["object_id"] == healthy.access_token["oid"]
    assert healthy.instance["securityProfile"] == {
        "encryptionAtHost": "false",
        "secureBootEnabled": "true",
        "securityType": "ConfidentialVM",
        "virtualTpmEnabled": "true",
    }
    assert healthy.vault["name"] == STAGE.vault
    assert healthy.vm["name"] == STAGE.vm
    assert json.loads(healthy.jwks)["keys"]
    assert healthy.world == "sandbox"
    assert list(healthy.amd_roots) == ["Milan"]


def test_the_exchanges_are_those_of_the_walk_in_its_order(healthy: Case) -> None:
    services = [exchange.service for exchange in healthy.exchanges]
    assert services[:4] == ["imds", "imds", "maa", "maa"]
    assert "arm" not in services  # what stands around the walk is read past the record
    asked = [(e.method, e.status) for e in healthy.exchanges if e.service == "vault" and e.status != 401]
    assert asked == [("POST", 200), ("GET", 200)]  # a 401 is the challenge, which the SDK remembers


def test_a_case_holds_no_secret_in_what_it_recorded(healthy: Case) -> None:
    recorded = json.dumps([asdict(exchange) for exchange in healthy.exchanges])
    assert healthy.token.decode() not in recorded
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.", recorded)  # how every JWT begins
    assert healthy.token.decode() not in repr(healthy)


def _principal(cloud: Cloud) -> str:
    with arm.compute(cloud) as compute:
        return str(compute.virtual_machines.get(STAGE.resource_group, STAGE.vm).identity.principal_id)  # type: ignore[union-attr]


@contextmanager
def _without_release(cloud: Cloud) -> Iterator[None]:
    from azure.mgmt.keyvault.models import AccessPolicyUpdateKind, VaultAccessPolicyParameters

    policy = {"tenantId": cloud.tenant, "objectId": _principal(cloud), "permissions": {"keys": ["release"]}}
    body = VaultAccessPolicyParameters({"properties": {"accessPolicies": [policy]}})
    with arm.key_vaults(cloud) as vaults:
        vaults.vaults.update_access_policy(STAGE.resource_group, STAGE.vault, AccessPolicyUpdateKind.REMOVE, body)
        try:
            yield
        finally:
            vaults.vaults.update_access_policy(STAGE.resource_group, STAGE.vault, AccessPolicyUpdateKind.ADD, body)


def test_a_refusal_is_the_error_and_its_exchange_the_last(operator: Cloud) -> None:
    with _without_release(operator):
        case = gather_case(operator, STAGE)
    assert case.error["error"] == "ReleaseRefused"
    assert "does not have keys release permission" in str(case.error["found"])
    last = case.exchanges[-1]
    assert (last.service, last.method, last.status) == ("vault", "POST", 403)
    assert isinstance(last.response_body, dict)
    assert case.token  # it was attested before
    assert {"vault", "key", "version", "enc", "nonce"} <= set(case.asked)


def test_attestation_alone_asks_no_vault(operator: Cloud) -> None:
    case = gather_case(operator, STAGE, release=False)
    assert case.error == {}
    assert case.token
    assert "vault" not in [exchange.service for exchange in case.exchanges]


def test_another_provider_than_there_is_ends_the_walk_with_the_evidence_in_hand(operator: Cloud) -> None:
    nowhere = "https://sharedweu.wue.attest.azure.net"
    case = gather_case(operator, replace(STAGE, attestation=nowhere))
    assert case.error["error"] == "ServiceError"
    assert case.exchanges[-1].service == "maa"
    assert case.authority == nowhere
    assert set(case.evidence) == set(EVIDENCE_NAMES)
    assert (case.token, case.jwks) == (b"", b"")


def test_a_key_that_is_not_there_is_unknown_and_refused(operator: Cloud) -> None:
    case = gather_case(operator, replace(STAGE, key="no-such-key"))
    assert (case.key, case.policy, case.asked["version"]) == ({}, b"", "")
    assert case.error["status"] == 404


def test_a_key_that_the_vault_does_not_show_resource_manager_does(operator: Cloud, healthy: Case, home: Path) -> None:
    """Its policy decides, whoever may read it: who may change the vault sees its keys without any key permission."""
    switch_on("access.get-missing", home=home)
    try:
        case = gather_case(operator, STAGE)
    finally:
        switch_off("access.get-missing", home=home)
    assert case.policy == healthy.policy
    assert case.asked["version"] == healthy.asked["version"]
    assert case.key["attributes"] == {
        name: value
        for name, value in dict(healthy.key["attributes"]).items()  # type: ignore[arg-type]  # an object
        if name != "recoverableDays"
    }
    unread = case.machine[KEY_READ]
    assert isinstance(unread, dict)
    assert unread["status"] == 403


def test_a_vm_that_is_not_there_is_the_error_and_nothing_is_asked(operator: Cloud) -> None:
    case = gather_case(operator, replace(STAGE, vm="nobody"))
    assert (case.error["error"], case.exchanges, case.evidence) == ("UsageError", (), {})
    assert case.vault["name"] == STAGE.vault


def test_a_service_is_known_by_its_host() -> None:
    endpoints = Cloud.azure().endpoints
    assert service_of("http://169.254.169.254/metadata/instance", endpoints) == "imds"
    assert service_of("https://login.microsoftonline.com/t/oauth2/v2.0/token", endpoints) == "entra"
    assert service_of("https://v.vault.azure.net/keys/k", endpoints) == "vault"
    assert service_of("https://sharedweu.weu.attest.azure.net/certs", endpoints) == "maa"
    assert service_of("https://vault.azure.net.example.com/", endpoints) == ""


def test_a_long_text_of_an_exchange_is_kept_as_its_digest() -> None:
    seen = HttpExchange(
        method="POST",
        url="https://sharedweu.weu.attest.azure.net/attest/AzureGuest",
        headers={},
        body={"AttestationInfo": "A" * 3000, "few": ["x"]},
        status=0,
        response_headers={},
        response_body=None,
        error="ServiceRequestError: refused",
    )
    kept = exchange_of(seen, Cloud.azure().endpoints)
    assert isinstance(kept.request_body, dict)
    assert "3000 characters" in str(kept.request_body["AttestationInfo"])
    assert kept.request_body["few"] == ["x"]
    assert (kept.status, kept.error) == (0, "ServiceRequestError: refused")


def test_small_readings() -> None:
    bundle = {"key": {"kid": "https://v.vault.azure.net/keys/k/0123"}}
    assert version_of(bundle) == "0123"  # type: ignore[arg-type]  # a literal's inferred type
    assert (version_of({}), version_of({"key": {"kid": "https://v.vault.azure.net/keys/k"}})) == ("", "")
    assert json.loads(pcrs_json({1: b"\1\2", 0: b"\0"})) == {"0": "00", "1": "0102"}
    error = ServiceError(what="w", where="h", expected="e", found="f", fix="x", status=429, code="Throttled")
    assert error_members(error) | {"status": 429, "code": "Throttled"} == error_members(error)


def test_a_stage_of_its_own_is_asked_for_by_its_names(operator: Cloud) -> None:
    case = gather_case(operator, Stage(vault="no-such-vault-here"), release=False)
    assert (case.vault, case.asked["vault"]) == ({}, "no-such-vault-here")
