"""Each fault of identity, network, access token, access, key and policy: the flow fails as it says, and works again.

Codes and texts are those of Azure's documents and of recorded answers, written down here a second time.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest

from skrkit.errors import ReleaseRefused, ServiceError, SkrkitError, UsageError
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import listed, switch_all_off, switch_off, switch_on
from skrkit.sandbox.faults.table import GROUPS, all_faults, faults_of
from tests.sandbox.faults.faulted import cloud_of, raw_release, release
from tests.sandbox.running import STAGE

OURS = ("identity", "network", "access-token", "access", "key", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a fault looks to the flow: the error, HTTP status (0: none), code, and words in what was found."""

    error: type[SkrkitError] = ServiceError
    status: int = 0
    code: str = ""
    words: str = ""


def refused(code: str, words: str) -> Seen:
    """A release that Key Vault refuses with 403."""
    return Seen(error=ReleaseRefused, words=f"HTTP 403 {code}: {words}")


NOT_MET = refused(
    "Forbidden/AccessDenied", "Target environment attestation does not meet key release policy requirements."
)


def unauthorized(words: str) -> Seen:
    """A release that Key Vault answers with 401, because of the access token."""
    return Seen(status=401, code="Unauthorized", words=words)


NOT_FOUND = "A key with (name/id) {} was not found in this key vault. If you recently deleted this key"

LOOKS: dict[str, Seen] = {
    "identity.none": Seen(code="CredentialUnavailableError", words="Identity not found"),
    "identity.several": Seen(
        code="CredentialUnavailableError",
        words="Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in "
        "the token request",
    ),
    "identity.wrong-selector": Seen(code="CredentialUnavailableError", words="Identity not found"),
    "identity.imds-throttled": Seen(status=429, words="HTTP 429"),
    "identity.imds-down": Seen(status=500, words="HTTP 500"),
    "identity.imds-proxied": Seen(status=403, words="HTTP 403"),
    "network.vault-name": Seen(code="ServiceRequestError", words="Tunnel connection failed: 502 Host Not Found"),
    "network.vault-unreachable": Seen(code="ServiceResponseError", words="Remote end closed connection"),
    "network.vault-tls": Seen(code="ServiceRequestError", words="CERTIFICATE_VERIFY_FAILED"),
    "network.vault-throttled": Seen(status=429, code="Throttled", words="Reason: VaultRequestTypeLimitReached"),
    "network.vault-unavailable": Seen(status=503, code="ServiceUnavailable"),
    "network.maa-name": Seen(code="ServiceRequestError", words="Tunnel connection failed: 502 Host Not Found"),
    "network.maa-unreachable": Seen(code="ServiceResponseError", words="Remote end closed connection"),
    "network.maa-throttled": Seen(status=429, words="HTTP 429"),
    "network.maa-unavailable": Seen(status=503, words="HTTP 503"),
    "network.thim-unavailable": Seen(status=503, words="HTTP 503"),
    "access-token.missing": unauthorized("AKV10000: Request is missing a Bearer or PoP token."),
    "access-token.wrong-audience": unauthorized(
        "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com.",
    ),
    "access-token.wrong-tenant": unauthorized("AKV10032: Invalid issuer. Expected one of"),
    "access-token.expired": unauthorized("[TokenExpired] Error validating token: 'S2S12086'."),
    "access-token.unknown-key": unauthorized("AKV10046: Unable to resolve the key used for signature validation"),
    "access.release-missing": refused("Forbidden/AccessDenied", "The user, group or application 'appid="),
    "access.stale-object-id": refused("Forbidden/AccessDenied", "The user, group or application 'appid="),
    "access.not-propagated": refused("Forbidden/AccessDenied", "The user, group or application 'appid="),
    "access.rbac-mode": refused("Forbidden/ForbiddenByRbac", "Caller is not authorized to perform action on resource."),
    "access.firewall-address": refused(
        "Forbidden/ForbiddenByFirewall", "Client address is not authorized and caller is not a trusted service."
    ),
    "access.private-only": refused(
        "Forbidden/ForbiddenByConnection",
        "Public network access is disabled and request is not from a trusted service nor via an approved private link.",
    ),
    "key.disabled": refused("Forbidden/KeyDisabled", "Operation release is not allowed on a disabled key."),
    "key.not-exportable": refused("Forbidden/KeyOperationForbidden", "Operation release is not permitted on this key."),
    "key.not-found": Seen(status=404, code="KeyNotFound", words=NOT_FOUND.format(STAGE.key)),
    "key.deleted": Seen(status=404, code="KeyNotFound", words=NOT_FOUND.format(STAGE.key)),
    **{fault.name: NOT_MET for fault in faults_of("policy")},
}
ELSEWHERE = {"access.get-missing", "key.wrong-version"}  # not met by a client that may not read, and names no version


def test_every_fault_of_these_groups_is_looked_at() -> None:
    names = {fault.name for group in OURS for fault in faults_of(group)}
    assert names == LOOKS.keys() | ELSEWHERE
    assert len(names) == 48


@pytest.mark.parametrize("name", LOOKS)
def test_the_flow_meets_the_fault_and_nothing_of_it_stays(endpoint: Endpoint, name: str) -> None:
    cloud, seen = cloud_of(endpoint), LOOKS[name]
    switch_on(name, home=endpoint.home)
    with pytest.raises(seen.error) as raised:
        release(cloud)
    error = raised.value
    assert type(error) is seen.error
    assert seen.words in error.found
    if isinstance(error, ServiceError):
        assert (error.status, error.code) == (seen.status, seen.code or error.code)
    assert switch_off(name, home=endpoint.home)
    assert release(cloud).proof.message_bytes == 32


# --- the switchboard


def test_faults_survive_a_killed_sandbox(endpoint: Endpoint, target: str) -> None:
    names = ["network.vault-throttled", "key.disabled", "access.release-missing"]
    for name in names:
        switch_on(name, home=endpoint.home)
    os.kill(endpoint.pid, signal.SIGKILL)
    again = process.ensure_running(endpoint.home)
    assert again.pid != endpoint.pid
    assert sorted(str(fault["name"]) for fault in listed(home=endpoint.home) if fault["on"]) == sorted(names)
    assert raw_release(again, target).json()["error"]["innererror"] == {"code": "AccessDenied"}
    assert "Put back: release for" in switch_off("access.release-missing", home=endpoint.home)
    assert raw_release(again, target).status == 429
    assert switch_off("network.vault-throttled", home=endpoint.home) == "It behaves as Azure again."
    assert raw_release(again, target).json()["error"]["innererror"] == {"code": "KeyDisabled"}
    assert switch_all_off(home=endpoint.home) == {"key.disabled": "Put back: release-me."}
    assert raw_release(again, target).status == 200


def test_switching_twice_and_what_is_not_there(endpoint: Endpoint) -> None:
    first, second = (switch_on("key.disabled", home=endpoint.home) for _ in range(2))
    assert first == second
    assert first["on"] is True
    assert switch_off("key.disabled", home=endpoint.home) == "Put back: release-me."
    with pytest.raises(UsageError) as raised:
        switch_off("key.disabled", home=endpoint.home)
    assert (raised.value.expected, raised.value.found) == ("a fault that is on", "on are: none")
    for name, near in (("key.disbled", "key.disabled"), ("policy.case", "policy.letter-case"), ("nothing", "a dot")):
        with pytest.raises(UsageError) as raised:
            switch_on(name, home=endpoint.home)
        assert near in raised.value.expected
        assert raised.value.fix == "skrkit sandbox fault --list"
    assert switch_all_off(home=endpoint.home) == {}


def test_the_list_has_every_fault_and_no_secret(endpoint: Endpoint) -> None:
    switch_on("key.not-found", home=endpoint.home)  # which keeps private keys until it is switched off
    faults = listed(home=endpoint.home)
    assert [fault["name"] for fault in faults] == [fault.name for fault in all_faults()]
    assert [fault["group"] for fault in faults] == sorted((str(fault["group"]) for fault in faults), key=GROUPS.index)
    assert {fault["name"] for fault in faults if fault["on"]} == {"key.not-found"}
    assert "PRIVATE KEY" not in str(faults)


def test_a_fault_says_what_it_is(endpoint: Endpoint) -> None:
    for fault in all_faults():
        assert fault.name == f"{fault.group}.{fault.name.partition('.')[2]}"
        assert fault.title[0].isupper()
        assert not fault.title.endswith(".")
        assert fault.does.endswith((".", ".)"))
        assert fault.step in (1, 2, 3, 4)
        assert (fault.apply is None) == (fault.undo is None)
