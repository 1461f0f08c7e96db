"""Steps 1 to 3 on a running sandbox: what they change, and what they leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters

from skrkit.cloud import Cloud
from skrkit.errors import UsageError
from skrkit.policy.templates import cvm_policy
from skrkit.provision import access, identity, key
from skrkit.provision.stage import Stage, vault_body
from skrkit.services import arm
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


def test_a_vault_with_roles_is_left_alone_and_the_command_is_shown(cloud: Cloud) -> None:
    stage = make_vault(cloud, "roles-vault", enableRbacAuthorization=True)
    before = policies(cloud, stage)
    done = access.grant(cloud, stage, OID)
    assert (done.permissions, done.may_release) == ((), None)
    assert policies(cloud, stage) == before
    assert [made.name for made in done.artefacts] == ["vault-before", "role-needed", "preflight"]
    role = done.artefacts[1].body
    assert isinstance(role, dict)
    assert role["granted"] is False
    for part in ("az role assignment create", OID, stage.vault_id(cloud), "'Key Vault Crypto Service Release User'"):
        assert part in str(role["command"])


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
