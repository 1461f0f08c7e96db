"""What steps 1 and 2 read of a VM and a vault, on resources in the shape of Azure's documents."""

from __future__ import annotations

from typing import Any

import pytest

from skrkit.errors import UsageError
from skrkit.provision.access import check_premium, preflight
from skrkit.provision.identity import check_confidential, principal_of, with_system_assigned
from skrkit.provision.plan import plan_of
from skrkit.provision.stage import Stage

OID = "33333333-3333-4333-8333-333333333333"
USER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"


def vault(*permissions: str, oid: str = OID, **properties: Any) -> dict[str, Any]:
    policy = {"tenantId": "t", "objectId": oid, "permissions": {"keys": list(permissions)}}
    sku = {"family": "A", "name": "premium"}
    return {"name": "v", "properties": {"sku": sku, "accessPolicies": [policy], **properties}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"type": "SystemAssigned"}),
        ({"identity": None}, {"type": "SystemAssigned"}),
        (
            {"identity": {"type": "UserAssigned", "userAssignedIdentities": {USER: {"principalId": "p"}}}},
            {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {USER: {}}},
        ),
    ],
)
def test_a_system_assigned_identity_takes_no_other_away(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert with_system_assigned(before) == after


def test_only_the_system_assigned_identity_is_the_vm_s_own() -> None:
    assert (
        principal_of({"identity": {"type": "UserAssigned", "userAssignedIdentities": {USER: {"principalId": "p"}}}})
        == ""
    )
    assert principal_of({"identity": {"type": "SystemAssigned", "principalId": OID}}) == OID


@pytest.mark.parametrize(
    ("profile", "found"),
    [(None, "nothing: an ordinary VM"), ({}, "nothing"), ({"securityType": "TrustedLaunch"}, "Trusted")],
)
def test_a_vm_that_is_not_confidential_is_refused(profile: Any, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_confidential({"name": "m", "properties": {"securityProfile": profile}})
    assert (caught.value.what, caught.value.expected) == ("VM m", "ConfidentialVM")
    assert found in caught.value.found
    check_confidential({"properties": {"securityProfile": {"securityType": "ConfidentialVM"}}})


@pytest.mark.parametrize("sku", [None, {}, {"family": "A", "name": "standard"}])
def test_a_vault_without_hsm_keys_is_refused(sku: Any) -> None:
    with pytest.raises(UsageError) as caught:
        check_premium(vault(sku=sku))
    assert caught.value.expected == "premium"
    assert caught.value.found in ("standard", "nothing")
    check_premium(vault(sku={"family": "A", "name": "Premium"}))


@pytest.mark.parametrize(
    ("resource", "may", "beyond"),
    [
        (vault("release"), True, []),
        (vault("Release", "Get"), True, ["get"]),
        (vault("get", "list"), False, ["get", "list"]),
        (vault("release", oid="44444444-3333-4333-8333-333333333333"), False, []),
        (vault("release", oid=OID.upper()), True, []),
        (vault(accessPolicies=[]), False, []),
        (vault(accessPolicies=None), False, []),
        ({}, False, []),
    ],
)
def test_a_preflight_says_what_the_access_policies_say(resource: dict[str, Any], may: bool, beyond: list[str]) -> None:
    said = preflight(resource, OID)
    assert (said["mode"], said["may_release"], said["beyond_release"]) == ("access policies", may, beyond)


def test_a_preflight_of_a_vault_with_roles_knows_nothing_whatever_its_policies_say() -> None:
    said = preflight(vault("release", enableRbacAuthorization=True), OID)
    assert (said["mode"], said["may_release"]) == ("roles", None)
    assert "Key Vault Crypto Service Release User" in str(said["not_checked"])


@pytest.mark.parametrize(
    "name", ["", "ab", "1vault", "a" * 25, "https://v.vault.azure.net", "v.vault.azure.net", "a/b#", "vault\n"]
)
def test_what_cannot_be_a_vault_s_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Stage(vault=name)
    assert caught.value.found == repr(name)


@pytest.mark.parametrize(
    "url", ["", "sharedweu.weu.attest.azure.net", "http://a.b", "https://a.b/c", "https://a.b?x", "https://u@a.b", "https://a.b:1",
            "https://a b.c", "https://"],
)  # fmt: skip
def test_what_cannot_be_a_provider_s_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Stage(attestation=url)
    assert (caught.value.what, caught.value.found) == ("attestation provider", url)


def test_a_provider_s_url_loses_its_slash_before_it_becomes_an_authority() -> None:
    assert Stage(attestation="https://a.b.attest.azure.net/").attestation == "https://a.b.attest.azure.net"


def test_the_plan_of_step_4_alone_promises_nothing_else() -> None:
    (line,) = plan_of(Stage(), (4,))
    assert "NV index 0x01400002" in line  # what it writes
    assert len(plan_of(Stage(), (1, 2, 3, 4))) == 4
    assert len(plan_of(Stage(), (2,))) == 2
