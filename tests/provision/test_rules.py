"""What steps 1 and 2 read of a VM and a vault, on resources in the shape of Azure's documents."""

from __future__ import annotations

from typing import Any

import pytest

from skrkit.cloud import Cloud, IdentityChoice
from skrkit.errors import UsageError
from skrkit.provision.access import check_premium, preflight
from skrkit.provision.identity import check_confidential, choice_of, identity_update, known_choice
from skrkit.provision.plan import plan_of
from skrkit.provision.stage import Stage
from skrkit.services.identities import default_of, identities_of

OID = "33333333-3333-4333-8333-333333333333"
USER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/user-1"


def vault(*permissions: str, oid: str = OID, **properties: Any) -> dict[str, Any]:
    policy = {"tenantId": "t", "objectId": oid, "permissions": {"keys": list(permissions)}}
    sku = {"family": "A", "name": "premium"}
    return {"name": "v", "properties": {"sku": sku, "accessPolicies": [policy], **properties}}


SYSTEM = {"type": "SystemAssigned", "principalId": OID, "tenantId": "t"}
OF_USER = {"type": "UserAssigned", "userAssignedIdentities": {USER: {"principalId": "p", "clientId": "c"}}}
BOTH = SYSTEM | OF_USER | {"type": "SystemAssigned, UserAssigned"}
OTHER = USER[:-1] + "other"


@pytest.mark.parametrize(
    ("identity", "own", "user", "update"),
    [
        (None, True, "", {"type": "SystemAssigned"}),
        (SYSTEM, True, "", None),
        (OF_USER, True, "", {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {USER: {}}}),
        (BOTH, True, USER, None),
        (None, False, USER, {"type": "UserAssigned", "userAssignedIdentities": {USER: {}}}),
        (OF_USER, False, USER.upper(), None),
        (OF_USER, False, OTHER, {"type": "UserAssigned", "userAssignedIdentities": {USER: {}, OTHER: {}}}),
        (SYSTEM, False, USER, {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {USER: {}}}),
        (None, True, USER, {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {USER: {}}}),
        (OF_USER, True, USER, {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {USER: {}}}),
    ],
)
def test_an_identity_takes_no_other_away(identity: Any, own: bool, user: str, update: Any) -> None:
    assert identity_update({"identity": identity}, own=own, user=user) == update


def test_an_identity_made_anew_is_assigned_again() -> None:
    vm = {"identity": OF_USER}
    again = {"type": "UserAssigned", "userAssignedIdentities": {USER: {}}}
    assert identity_update(vm, own=False, user=USER, principal="P") is None
    assert identity_update(vm, own=False, user=USER, principal="q") == again


def test_the_identities_in_a_vm_s_resource() -> None:
    own, user = identities_of({"id": "/vm", "identity": BOTH})
    assert (own.kind, own.object_id, own.client_id, own.resource_id) == ("system-assigned", OID, "", "/vm")
    assert (user.kind, user.object_id, user.client_id, user.resource_id) == ("user-assigned", "p", "c", USER)
    assert identities_of({"identity": OF_USER}) == (user,)
    for nothing in ({}, {"identity": None}, {"identity": {"type": "None"}}, {"identity": 7}):
        assert identities_of(nothing) == ()
    dead = {"type": "UserAssigned", "userAssignedIdentities": {USER: None}}
    assert [each.object_id for each in identities_of({"identity": dead})] == [""]


def test_which_identity_imds_takes_by_itself() -> None:
    own, user = identities_of({"id": "/vm", "identity": BOTH})
    assert default_of((own, user)) is own
    assert default_of((user,)) is user
    assert default_of((user, user)) is None
    assert default_of(()) is None


@pytest.mark.parametrize(
    ("by", "query"),
    [
        ("client-id", {"client_id": "c"}),
        ("object-id", {"object_id": "p"}),
        ("resource-id", {"msi_res_id": USER}),
    ],
)
def test_a_choice_names_one_identity_alone(by: str, query: dict[str, str]) -> None:
    own, user = identities_of({"id": "/vm", "identity": BOTH})
    choice = choice_of(by, user)
    assert choice.query() == query
    assert (user.named_by(choice), own.named_by(choice)) == (True, False)


@pytest.mark.parametrize("ids", [{}, {"client_id": "a", "object_id": "b"}, {"resource_id": ""}])
def test_a_choice_of_none_or_of_two_is_refused(ids: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        IdentityChoice(**ids)
    assert caught.value.expected == "one of client_id, object_id and resource_id"
    assert caught.value.found == (", ".join(ids) if len(ids) > 1 else "none of them")


def test_inside_the_vm_only_the_resource_id_is_known() -> None:
    cloud = Cloud.azure(subscription="s")
    expected = IdentityChoice(
        resource_id="/subscriptions/s/resourceGroups/skrkit-rg/providers/Microsoft.ManagedIdentity/"
        "userAssignedIdentities/skrkit-identity"
    )
    assert known_choice(cloud, Stage()) is None
    assert known_choice(cloud, Stage(identity="both")) == expected
    assert known_choice(cloud, Stage(identity="user", user_identity=USER)) == IdentityChoice(resource_id=USER)
    with pytest.raises(UsageError) as caught:
        known_choice(cloud, Stage(identity="user", identity_by="client-id"))
    assert caught.value.fix == "--identity-by resource-id"


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("identity", "none", "system or user or both"),
        ("identity_by", "client_id", "client-id or object-id or resource-id"),
        ("user_identity", "ab", "3 to 128 letters"),
        ("user_identity", "a/b", "3 to 128 letters"),
        ("user_identity", "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/vvv", "3 to 128"),
    ],
)
def test_what_cannot_be_an_identity_is_refused(member: str, value: str, expected: str) -> None:
    given: Any = {member: value}
    with pytest.raises(UsageError) as caught:
        Stage(**given)
    assert expected in caught.value.expected
    assert caught.value.found == repr(value)


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
    "url", [" ", "sharedweu.weu.attest.azure.net", "http://a.b", "https://a.b/c", "https://a.b?x", "https://u@a.b", "https://a.b:1",
            "https://a b.c", "https://"],
)  # fmt: skip
def test_what_cannot_be_a_provider_s_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Stage(attestation=url)
    assert (caught.value.what, caught.value.found) == ("attestation provider", url)


def test_a_provider_s_url_loses_its_slash_before_it_becomes_an_authority() -> None:
    assert Stage(attestation="https://a.b.attest.azure.net/").attestation == "https://a.b.attest.azure.net"


def test_the_provider_is_that_of_the_region_unless_one_is_named() -> None:
    assert Stage().attestation == "https://sharedweu.weu.attest.azure.net"
    assert Stage(location="East US 2").attestation == "https://sharedeus2.eus2.attest.azure.net"
    assert Stage(location="eastus2", attestation="https://a.b.attest.azure.net").attestation.startswith("https://a.b.")
    assert Stage(location="atlantis", attestation="https://a.b.attest.azure.net").location == "atlantis"
    with pytest.raises(UsageError) as caught:
        Stage(location="atlantis")
    assert (caught.value.where, caught.value.found) == ("Stage.location", "'atlantis'")


def test_the_plan_says_how_access_is_granted() -> None:
    either, by_role = plan_of(Stage(), (2,))[1], plan_of(Stage(rbac=True), (2,))[1]
    role = "assign Key Vault Crypto Service Release User to that identity, at each key alone"
    assert by_role == f"Vault skrkit-vault: {role}"
    assert either.endswith(f"(merged, no entry lost); if it goes by Azure roles, {role}")


def test_the_plan_of_step_4_alone_promises_nothing_else() -> None:
    (line,) = plan_of(Stage(), (4,))
    assert "NV index 0x01400002" in line  # what it writes
    assert len(plan_of(Stage(), (1, 2, 3, 4))) == 4
    assert len(plan_of(Stage(), (2,))) == 2


def test_the_plan_says_which_identity_the_vm_gets() -> None:
    said = {kind: plan_of(Stage(identity=kind, user_identity="mine"), (1,))[0] for kind in ("system", "user", "both")}
    assert "switch its system-assigned identity on" in said["system"]
    assert "assign it the user-assigned identity mine, which is made if it is not there" in said["user"]
    assert "system-assigned" not in said["user"]
    assert all(words in said["both"] for words in ("system-assigned identity on", "user-assigned identity mine"))
