"""The small readings that checks stand on: proxies, clocks, certificates, banks, challenges, grants, refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.doctor import clock, imds, outside, vault
from skrkit.doctor.evidence import _der, active_banks
from skrkit.doctor.host import Host
from skrkit.doctor.visit import Names, Visit
from skrkit.errors import ParseError, ServiceError
from skrkit.services.recording import HttpExchange
from skrkit.services.roles import HeldRole, Permission

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://p:1"}, ""),  # IMDS is plain HTTP
        ({"HTTP_PROXY": "http://p:3128"}, "p:3128"),
        ({"http_proxy": "p:3128"}, "p:3128"),
        ({"ALL_PROXY": "socks5://p"}, "p"),
        ({"HTTP_PROXY": "http://user:secret@p:3128"}, "p:3128"),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "169.254.169.254"}, ""),
        ({"HTTP_PROXY": "http://p:3128", "no_proxy": "localhost, 169.254.169.254"}, ""),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "*"}, ""),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "169.254.0.0/16"}, ""),
        ({"HTTP_PROXY": "http://p:3128", "NO_PROXY": "10.0.0.0/8,.corp,nonsense/99"}, "p:3128"),
        ({"HTTP_PROXY": "http://p:nonsense"}, "p"),
    ],
)
def test_a_proxy_stands_before_imds_unless_it_is_exempt(environ: dict[str, str], proxy: str) -> None:
    assert imds.proxy_in_the_way(environ) == proxy


@pytest.mark.parametrize("no_proxy", ["169.254.169.254", "169.254.0.0/16", "localhost,10.0.0.0/8", "*"])
def test_exemptions_are_read_as_requests_reads_them(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests.utils

    monkeypatch.setenv("HTTP_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    bypassed = requests.utils.should_bypass_proxies("http://169.254.169.254/metadata", no_proxy=None)
    environ = {"HTTP_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert (imds.proxy_in_the_way(environ) == "") == bypassed


def answer(url: str, **headers: str) -> HttpExchange:
    return HttpExchange(
        method="GET", url=url, headers={}, body=None, status=200, response_headers=headers, response_body=None
    )


def visit(**more: Any) -> Visit:
    cloud = replace(Cloud.azure(tenant="t", subscription="s"), now=lambda: NOW)
    return Visit(host=Host(system="Linux", architecture="x86_64"), names=Names(), inside=cloud, **more)


def clock_of(found: Visit) -> Any:
    (check,) = clock.CHECKS
    return check.run(found)


def test_the_last_date_that_came_by_https_is_believed() -> None:
    exchanges = [
        answer("https://a.example/x?secret=1", Date="Wed, 25 Nov 2026 11:00:00 GMT"),
        answer("https://b.example/x", date="Wed, 25 Nov 2026 12:00:30 GMT"),
        answer("http://169.254.169.254/metadata", Date="Wed, 25 Nov 2026 01:00:00 GMT"),
        answer("https://c.example/x", Date="nonsense"),
        answer("https://d.example/x"),
    ]
    assert clock.date_of(exchanges) == ("b.example, by its Date header", datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC))
    assert clock.date_of([]) is None
    assert clock_of(visit(exchanges=exchanges)).verdict == "ok"


@pytest.mark.parametrize(("date", "word"), [("11:00:00", "3600 s fast"), ("12:05:00", "300 s slow")])
def test_a_clock_that_is_off_is_named_with_its_direction(date: str, word: str) -> None:
    exchanges = [answer("https://a.example", Date=f"Wed, 25 Nov 2026 {date} GMT")]
    found = clock_of(visit(exchanges=exchanges))
    assert (found.verdict, found.cause) == ("failed", "machine.clock-skew")
    assert word in found.evidence


def test_a_token_from_the_future_proves_a_slow_clock_and_an_old_one_proves_nothing() -> None:
    assert clock_of(visit(issued=[("IMDS", NOW + timedelta(minutes=30))])).cause == "machine.clock-skew"
    assert clock_of(visit(issued=[("IMDS", NOW - timedelta(seconds=5))])).verdict == "ok"
    assert clock_of(visit(issued=[("IMDS", NOW - timedelta(hours=5))])).verdict == "not-checked"
    assert clock_of(visit(exchanges=[answer("https://a.example")])).verdict == "not-checked"
    assert clock_of(visit()).verdict == "skipped"


def test_the_ak_certificate_of_a_real_vtpm_is_found_before_its_padding(captures: Path) -> None:
    der = (captures / "azure-trusted-launch-vtpm" / "akcert.der").read_bytes()
    for padded in (der, der + bytes(4096 - len(der))):
        assert _der(padded).issuer.rfc4514_string() == "CN=Global Virtual TPM CA - 03"


@pytest.mark.parametrize("data", [bytes(4096), b"", b"\x30\x82\x01\x00" + b"x" * 300, b"certificate"])
def test_an_index_without_a_certificate_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ParseError) as refused:
        _der(data)
    assert refused.value.what == "AK certificate"
    assert refused.value.found == ("zeros" if not any(data) else f"{len(data)} bytes that are none")


def test_a_bank_is_active_if_a_pcr_is_in_it() -> None:
    # TPML_PCR_SELECTION as TPM2_GetCapability gives it: sha1 empty, sha256 all 24, sha384 PCR 0. TCG, part 2.
    data = bytes.fromhex("00000003000403000000000b03ffffff000c03010000")
    assert active_banks(data) == (0x000B, 0x000C)


def test_a_challenge_is_read_as_key_vault_writes_it() -> None:
    header = 'Bearer authorization="https://login.microsoftonline.com/tenant-id", resource="https://vault.azure.net"'
    expected = {
        "authorization": "https://login.microsoftonline.com/tenant-id",
        "resource": "https://vault.azure.net",
    }
    assert vault.challenge_of({"WWW-Authenticate": header}) == expected
    assert vault.challenge_of({"Content-Type": "x"}) == {}


@pytest.mark.parametrize(
    ("status", "found", "about_target"),
    [
        (403, "HTTP 403 Forbidden: Target environment attestation statement cannot be verified.", True),
        (400, 'HTTP 400 BadParameter: The property "target" is not a token.', True),
        (400, "HTTP 400 BadParameter: AKV.SKR.1001: The exportable attribute is only supported", False),
        (403, "HTTP 403 Forbidden: does not have keys release permission on key vault", False),
        (403, "HTTP 403 Forbidden: Operation release is not allowed on a disabled key.", False),
        (404, "HTTP 404 KeyNotFound", False),
        (401, "HTTP 401 Unauthorized", False),
    ],
)
def test_a_preflight_tells_the_target_from_what_is_looked_at_before_it(
    status: int, found: str, about_target: bool
) -> None:
    refused = ServiceError(what="w", where="h", expected="e", found=found, fix="f", status=status)
    assert vault.is_about_target(refused) is about_target


def resources(properties: dict[str, Any], identity: dict[str, Any]) -> Visit:
    return visit(vm={"identity": identity}, vault={"properties": properties}, outside=Cloud.azure())


def granted(*grants: tuple[str, list[str]]) -> dict[str, Any]:
    return {"accessPolicies": [{"objectId": oid, "permissions": {"keys": keys}} for oid, keys in grants]}


def grant_of(found: Visit) -> Any:
    (check,) = (check for check in outside.CHECKS if check.id == "vault.grant")
    return check.run(found)


OWN = {"type": "SystemAssigned", "principalId": "AAAA"}


@pytest.mark.parametrize(
    ("properties", "verdict", "cause"),
    [
        (granted(("aaaa", ["Release"])), "ok", ""),
        (granted(("aaaa", ["release", "get"])), "warning", ""),
        (granted(("aaaa", ["get"])), "failed", "access.release-missing"),
        (granted(("operator", ["get", "create"])), "failed", "access.release-missing"),
        (granted(("bbbb", ["release"])), "failed", "access.stale-object-id"),
        (granted(("aaaa", ["get"]), ("bbbb", ["release"])), "failed", "access.release-missing"),
        (granted(("aaaa", ["release"])) | {"enableRbacAuthorization": True}, "failed", "access.rbac-mode"),
        ({"enableRbacAuthorization": True, "accessPolicies": []}, "not-checked", ""),
        ({}, "skipped", ""),
    ],
)
def test_the_grant_is_judged_by_the_vaults_own_record(
    properties: dict[str, Any], verdict: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> tuple[HeldRole, ...]:
        raise ServiceError(what="w", where="GET", expected="success", found="HTTP 403", fix="f", status=403)

    monkeypatch.setattr("skrkit.services.roles.list_held", forbidden)
    found = grant_of(resources(properties, OWN))
    assert (found.verdict, found.cause) == (verdict, cause)


def role(name: str, *data_actions: str, conditional: bool = False) -> HeldRole:
    permission = Permission(data_actions=data_actions)
    return HeldRole(role=name, scope="/v", assignment_id="/a", permissions=(permission,), conditional=conditional)


KEYS = "Microsoft.KeyVault/vaults/keys"
RELEASE_USER = role("Key Vault Crypto Service Release User", f"{KEYS}/release/action")
CRYPTO_USER = role("Key Vault Crypto User", f"{KEYS}/read", f"{KEYS}/decrypt/action")


@pytest.mark.parametrize(
    ("held", "policies", "verdict", "cause", "said"),
    [
        ((RELEASE_USER,), [], "ok", "", "Release User lets object id AAAA release, and nothing more."),
        ((RELEASE_USER, CRYPTO_USER), [], "warning", "", "its roles also cover Microsoft.KeyVault/vaults/keys/decrypt"),
        (
            (role("Key Vault Crypto Officer", f"{KEYS}/*"),),
            [],
            "warning",
            "",
            "also cover Microsoft.KeyVault/vaults/ke",
        ),
        (
            (CRYPTO_USER,),
            [],
            "failed",
            "access.wrong-role",
            "has Key Vault Crypto User, which does not cover a release",
        ),
        ((), [], "failed", "access.role-missing", "has no role at the key, the vault or above"),
        ((), [("aaaa", ["release"])], "failed", "access.rbac-mode", "this vault goes by roles, and ignores it"),
        ((RELEASE_USER,), [("aaaa", ["release"])], "ok", "", "and nothing more"),
        ((role("Custom", f"{KEYS}/release/action", conditional=True),), [], "not-checked", "", "under a condition"),
    ],
)
def test_a_vault_with_roles_is_judged_by_them(
    held: tuple[HeldRole, ...],
    policies: list[Any],
    verdict: str,
    cause: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skrkit.services.roles.list_held", lambda *_: held)
    found = grant_of(resources(granted(*policies) | {"enableRbacAuthorization": True}, OWN))
    assert (found.verdict, found.cause) == (verdict, cause)
    assert said in found.evidence


def test_every_identity_of_a_vm_is_known() -> None:
    several: dict[str, Any] = {
        "userAssignedIdentities": {"x": {"principalId": "1"}, "y": {"principalId": "2"}, "z": {}}
    }
    assert outside.principals_of({"identity": several}) == ("1", "2")
    assert outside.principals_of({"identity": several | OWN}) == ("AAAA", "1", "2")
    assert outside.principals_of({}) == ()
