"""Steps 1 to 3 on a running sandbox: what they change, and what they leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential
from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters
from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters

from skrkit.cloud import Cloud, IdentityChoice
from skrkit.errors import ServiceError, UsageError
from skrkit.policy.templates import cvm_policy
from skrkit.provision import access, identity, key, roles
from skrkit.provision.stage import Stage, set_stage, vault_body
from skrkit.services import arm
from skrkit.services.identities import ask_imds, list_identities
from skrkit.services.reader import Reader
from skrkit.services.roles import list_held
from skrkit.token.decode import decode_jwt
from tests.sandbox.running import staged

OID = "33333333-3333-4333-8333-333333333333"
STAGE = Stage()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with staged(tmp_path_factory.mktemp("provision")) as endpoint:
        yield Cloud.sandbox(home=endpoint.home)


def make_vault(cloud: Cloud, name: str, **changes: Any) -> Stage:
    stage = Stage(vault=name)
    body = vault_body(cloud, stage)
    body["properties"] |= changes
    with arm.key_vaults(cloud) as vaults:
        parameters = VaultCreateOrUpdateParameters(body)
        vaults.vaults.begin_create_or_update(stage.resource_group, name, parameters).result()
    return stage


def policies(cloud: Cloud, stage: Stage) -> list[Any]:
    with arm.key_vaults(cloud) as vaults:
        found: list[Any] = vaults.vaults.get(stage.resource_group, stage.vault).as_dict()["properties"][
            "accessPolicies"
        ]
    return found


def test_an_identity_is_switched_on_once_and_named_by_its_object_id(cloud: Cloud) -> None:
    first, second = identity.enable(cloud, STAGE), identity.enable(cloud, STAGE)
    assert first.object_id == second.object_id
    assert [made.name for made in first.artefacts] == ["vm-before", "vm-after", "identities", "identity-object-id"]
    assert second.artefacts[0].title == "The VM before: its identity is on already"


def test_a_grant_adds_release_and_keeps_what_was_there(cloud: Cloud) -> None:
    stage = make_vault(cloud, "grant-vault")
    before = policies(cloud, stage)
    done = access.grant(cloud, stage, OID)
    assert (done.permissions, done.may_release) == (("release",), True)
    after = policies(cloud, stage)
    assert [policy for policy in after if policy["objectId"] != OID] == before
    assert [made.name for made in done.artefacts] == ["vault-before", "grant", "vault-after", "preflight"]


def roles_of(cloud: Cloud, scope: str, object_id: str) -> list[tuple[str, str]]:
    with Reader(cloud) as reader:
        return [(held.role, held.scope) for held in list_held(reader, scope, object_id)]


def identity_of(cloud: Cloud) -> str:
    return identity.enable(cloud, STAGE).object_id


def test_a_vault_with_roles_gets_the_role_at_each_key_and_no_access_policy(cloud: Cloud) -> None:
    stage, object_id = make_vault(cloud, "roles-vault", enableRbacAuthorization=True), identity_of(cloud)
    before = policies(cloud, stage)
    done = access.grant(cloud, stage, object_id)
    assert (done.permissions, done.may_release) == ((), True)
    assert policies(cloud, stage) == before
    assert [made.name for made in done.artefacts] == ["vault-before", "role-assignments", "preflight"]
    keys = stage.key_ids(cloud)
    assert [scope.rpartition("/")[2] for scope in keys] == ["release-me", "release-me-ec", "release-me-platform"]
    role = "Key Vault Crypto Service Release User"
    for scope in keys:
        assert roles_of(cloud, scope, object_id) == [(role, scope)]
    assert roles_of(cloud, stage.vault_id(cloud), object_id) == []
    assert access.preflight({"properties": {"enableRbacAuthorization": True}}, object_id, done.roles) == {
        "mode": "roles",
        "object_id": object_id,
        "may_release": True,
        "roles": [{"role": role, "scope": keys[0]}],
        "beyond_release": [],
    }


def test_a_role_is_granted_once_and_taken_away_again(cloud: Cloud) -> None:
    stage, object_id = make_vault(cloud, "roles-twice", enableRbacAuthorization=True), identity_of(cloud)
    first, second = access.grant(cloud, stage, object_id), access.grant(cloud, stage, object_id)
    assert [role.assignment_id for role in first.roles] == [role.assignment_id for role in second.roles]
    roles.assign(cloud, "Key Vault Reader", [stage.vault_id(cloud)], object_id)
    assert len(access.revoke(cloud, stage, object_id)) == 3
    assert access.revoke(cloud, stage, object_id) == []
    assert roles_of(cloud, stage.key_ids(cloud)[0], object_id) == [("Key Vault Reader", stage.vault_id(cloud))]


def test_a_role_that_somebody_assigned_before_is_enough(cloud: Cloud) -> None:
    stage, object_id = make_vault(cloud, "roles-before", enableRbacAuthorization=True), identity_of(cloud)
    scope = stage.key_ids(cloud)[0]
    with arm.role_assignments(cloud) as client:
        (role,) = client.role_definitions.list(scope, filter="roleName eq 'Key Vault Crypto Service Release User'")
        body = RoleAssignmentCreateParameters(
            role_definition_id=str(role.id), principal_id=object_id, principal_type="ServicePrincipal"
        )
        other = client.role_assignments.create(scope, "b1b1b1b1-0000-4000-8000-000000000001", body)
    done = access.grant(cloud, stage, object_id)
    assert [held.assignment_id for held in done.roles] == [other.id]


def test_an_access_policy_is_taken_away_again_and_others_stay(cloud: Cloud) -> None:
    stage = make_vault(cloud, "undo-vault")
    before = policies(cloud, stage)
    access.grant(cloud, stage, OID)
    assert access.revoke(cloud, stage, OID) == [f"release for {OID} in the access policies of undo-vault"]
    assert policies(cloud, stage) == before
    assert access.revoke(cloud, stage, OID) == []


def test_an_identity_that_the_directory_does_not_know_is_waited_for(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("skrkit.provision.roles.time.sleep", waited.append)
    stage = make_vault(cloud, "roles-unknown", enableRbacAuthorization=True)
    with pytest.raises(ServiceError) as caught:
        access.grant(cloud, stage, OID)
    assert caught.value.code == "PrincipalNotFound"
    assert waited == [2, 4, 8, 16]


def test_a_stage_that_wants_roles_refuses_a_vault_with_access_policies(cloud: Cloud) -> None:
    stage = replace(make_vault(cloud, "policy-vault"), rbac=True)
    with pytest.raises(UsageError) as caught:
        access.grant(cloud, stage, OID)
    assert (caught.value.where, caught.value.found) == ("/properties/enableRbacAuthorization", "false")
    assert "--enable-rbac-authorization true" in caught.value.fix


def test_a_standard_vault_is_refused_before_a_grant(cloud: Cloud) -> None:
    stage = make_vault(cloud, "standard-vault", sku={"family": "A", "name": "standard"})
    before = policies(cloud, stage)
    with pytest.raises(UsageError) as caught:
        access.grant(cloud, stage, OID)
    assert (caught.value.what, caught.value.expected, caught.value.found) == (
        "vault standard-vault",
        "premium",
        "standard",
    )
    assert policies(cloud, stage) == before


def test_a_key_that_is_there_is_taken_with_the_same_policy_and_refused_with_another(cloud: Cloud) -> None:
    url, policy = STAGE.vault_url(cloud), cvm_policy(STAGE.attestation)
    first = key.create(cloud, url, "once", policy)
    assert key.create(cloud, url, "once", policy).kid == first.kid
    with pytest.raises(UsageError) as caught:
        key.create(cloud, url, "once", cvm_policy("https://sharedneu.neu.attest.azure.net"))
    assert caught.value.found == "a key with another policy"
    assert first.kid.startswith(caught.value.where.rpartition("/")[0])


def test_a_token_is_asked_of_imds_and_is_not_shown(cloud: Cloud) -> None:
    identity.enable(cloud, STAGE)
    request, token = identity.request_token(cloud.enter(STAGE.vm))
    assert (request.name, token.name) == ("imds-token-request", "access-token")
    assert isinstance(request.body, dict)
    assert isinstance(request.body["request"], dict)
    assert "169.254.169.254/metadata/identity/oauth2/token" in str(request.body["request"]["line"])
    assert "eyJ" not in str(request.to_json())
    assert token.saved is None


# --- user-assigned identities


def user_stage(name: str, **more: Any) -> Stage:
    """A VM of its own, so that no other test's identities are on it."""
    return Stage(vm=f"cvm-{name}", user_identity=f"identity-{name}", **{"identity": "user"} | more)


def names_of(made: identity.Identity) -> list[str]:
    return [each.name for each in made.artefacts]


def test_a_user_assigned_identity_is_made_once_and_assigned_once(cloud: Cloud) -> None:
    stage = user_stage("once")
    set_stage(cloud, stage)
    first, second = identity.enable(cloud, stage), identity.enable(cloud, stage)
    expected = ["vm-before", "user-identity", "vm-after", "identities", "identity-object-id"]
    assert names_of(first) == names_of(second) == expected
    assert first.artefacts[0].title == "The VM before: no identity"
    assert first.artefacts[1].title == "The user-assigned identity: made now"
    assert second.artefacts[0].title == "The VM before: its identity is on already"
    assert second.artefacts[1].title == "The user-assigned identity: there already"
    assert first.object_id == second.object_id
    assert first.tenant_id == cloud.tenant
    assert first.choice == IdentityChoice(resource_id=stage.user_identity_id(cloud))
    (only,) = first.all
    assert list_identities(cloud, stage.vm_id(cloud)) == (only,)
    assert (only.kind, only.object_id) == ("user-assigned", first.object_id)
    asked = ask_imds(cloud.enter(stage.vm))  # the only one: IMDS takes it by itself
    assert replace(asked, resource_id=only.resource_id) == only
    assert asked.named_by(IdentityChoice(resource_id=only.resource_id))


@pytest.mark.parametrize("by", ["client-id", "object-id", "resource-id"])
def test_with_both_each_id_chooses_the_one_that_was_granted(cloud: Cloud, by: str) -> None:
    stage = user_stage("both", identity="both", identity_by=by)
    set_stage(cloud, stage)
    made = identity.enable(cloud, stage)
    own, user = made.all
    assert (own.kind, user.kind, made.object_id) == ("system-assigned", "user-assigned", user.object_id)
    inside = cloud.enter(stage.vm, identity=made.choice)
    assert ask_imds(inside).object_id == user.object_id
    assert ask_imds(cloud.enter(stage.vm)).object_id == own.object_id
    request, token = identity.request_token(inside)
    assert isinstance(request.body, dict)
    assert isinstance(token.body, dict)
    assert isinstance(token.body["claims"], dict)
    assert token.body["claims"]["oid"] == user.object_id
    assert made.choice is not None
    (parameter,) = made.choice.query()
    assert f"&{parameter}=" in str(request.body["request"])
    rows = next(each.body for each in made.artefacts if each.name == "identities")
    assert isinstance(rows, list)
    assert [(row["imds_default"], row["acts_in_step_4"]) for row in rows if isinstance(row, dict)] == [
        (True, False),
        (False, True),
    ]


def test_azure_identity_alone_names_one_of_several(cloud: Cloud) -> None:
    first, second = user_stage("several"), replace(user_stage("several"), user_identity="identity-other")
    set_stage(cloud, first)
    identity.enable(cloud, first)
    made = identity.enable(cloud, second)
    assert made.artefacts[0].title == "The VM before: an identity, and not this one"
    inside = cloud.enter(first.vm)
    options = inside.client_options()

    def oid(**chosen: Any) -> str:
        token = ManagedIdentityCredential(**chosen, **options).get_token("https://vault.azure.net/.default").token
        return str(decode_jwt(token).claims["oid"])

    for each in made.all:
        assert oid(client_id=each.client_id) == each.object_id
        assert oid(identity_config={"client_id": each.client_id}) == each.object_id
        assert oid(identity_config={"object_id": each.object_id}) == each.object_id
        assert oid(identity_config={"resource_id": each.resource_id}) == each.object_id
    with pytest.raises(CredentialUnavailableError, match="Multiple user assigned identities exist, please specify"):
        oid()
    with pytest.raises(CredentialUnavailableError, match=r"\(invalid_request\) Identity not found"):
        oid(client_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(ServiceError, match="Multiple user assigned identities exist") as caught:
        ask_imds(inside)
    assert (caught.value.status, caught.value.what) == (400, "access token of the VM")
    assert "client_id, object_id or msi_res_id" in caught.value.fix


def test_an_identity_that_was_deleted_is_made_and_assigned_anew(cloud: Cloud) -> None:
    stage = user_stage("anew")
    set_stage(cloud, stage)
    before = identity.enable(cloud, stage)
    with arm.resource_groups(cloud) as client:
        client.resources.begin_delete_by_id(stage.user_identity_id(cloud), api_version="2024-11-30").result()
    with pytest.raises(ServiceError, match="Identity not found"):
        ask_imds(cloud.enter(stage.vm, identity=before.choice))
    after = identity.enable(cloud, stage)
    assert after.object_id != before.object_id
    assert ask_imds(cloud.enter(stage.vm, identity=after.choice)).object_id == after.object_id
