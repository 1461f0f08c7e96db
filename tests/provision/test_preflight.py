"""The preflight: each right of each step, missing one at a time, and the command of each run as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.errors import ServiceError
from skrkit.provision import access, identity, roles
from skrkit.provision.preflight import check
from skrkit.provision.rights import Preflight, Right, view_of_preflight
from skrkit.provision.stage import Stage, set_stage
from skrkit.sandbox import principals
from skrkit.services.reader import Reader
from tests.sandbox.running import staged

POLICIES = Stage()
ROLES = Stage(vault="skrkit-roles", rbac=True)
RELEASE = "Key Vault Crypto Service Release User"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with staged(tmp_path_factory.mktemp("preflight")) as endpoint:
        set_stage(Cloud.sandbox(home=endpoint.home), ROLES)
        yield endpoint.home


@pytest.fixture(scope="module")
def operator(home: Path) -> Cloud:
    return Cloud.sandbox(home=home)


def asked(cloud: Cloud, stage: Stage, *steps: int) -> Preflight:
    with Reader(cloud) as reader:
        return check(reader, stage, steps=steps or (1, 2, 3, 4))


def verdicts(found: Preflight) -> list[tuple[int, str, str]]:
    return [(right.step, right.action.rpartition("Microsoft.")[2], right.verdict) for right in found.rights]


def as_principal(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[Cloud, str]:
    """A new principal without a role: the cloud as it sees it, and its object id."""
    made = principals.create(name, home=home)
    for variable, value in made.environment.items():
        if variable.startswith(("AZURE_", "SKRKIT_")):
            monkeypatch.setenv(variable, value)
    cloud = Cloud.sandbox(home=home)
    assert cloud.operator == made.object_id
    return cloud, made.object_id


def test_a_vault_with_access_policies_before_and_after_the_steps(operator: Cloud) -> None:
    stage = replace(POLICIES, key="policy-key")
    before = asked(operator, stage)
    assert verdicts(before) == [
        (1, "Compute/virtualMachines/read", "ok"),
        (1, "Compute/virtualMachines/write", "ok"),
        (2, "KeyVault/vaults/read", "ok"),
        (2, "KeyVault/vaults/accessPolicies/write", "ok"),
        (3, "keys get", "ok"),
        (3, "keys create", "ok"),
        (4, "KeyVault/vaults/keys/release/action", "failed"),
    ]
    assert before.rights[-1].command == "az vm identity assign --resource-group skrkit-rg --name cvm-1"
    assert (before.mode, before.exit_code, before.identity) == ("access policies", 6, "")
    object_id = identity.enable(operator, stage).object_id
    (missing,) = [right for right in asked(operator, stage).rights if right.verdict != "ok"]
    assert missing.command == (
        f"az keyvault set-policy --name skrkit-vault --object-id {object_id} --key-permissions release"
    )
    access.grant(operator, stage, object_id)
    after = asked(operator, stage)
    assert (after.complete, after.exit_code, after.identity, after.beyond) == (True, 0, object_id, ())


def test_a_vault_with_roles_before_and_after_the_grant(operator: Cloud) -> None:
    object_id = identity.enable(operator, ROLES).object_id
    before = asked(operator, ROLES)
    assert verdicts(before)[3:] == [
        (2, "Authorization/roleAssignments/write", "ok"),
        (3, "KeyVault/vaults/keys/read", "ok"),
        (3, "KeyVault/vaults/keys/create/action", "ok"),
        (4, "KeyVault/vaults/keys/release/action", "failed"),
    ]
    key = ROLES.key_ids(operator)[0]
    assert before.rights[-1].command == (
        f'az role assignment create --role "{RELEASE}" --assignee-object-id {object_id} '
        f"--assignee-principal-type ServicePrincipal --scope {key}"
    )
    access.grant(operator, ROLES, object_id)
    assert asked(operator, ROLES).complete
    roles.assign(operator, "Key Vault Reader", [ROLES.vault_id(operator)], object_id)
    beyond = asked(operator, ROLES)
    assert beyond.complete
    assert "Microsoft.KeyVault/vaults/*/read" in beyond.beyond
    access.revoke(operator, ROLES, object_id)
    roles.unassign(operator, "Key Vault Reader", [ROLES.vault_id(operator)], object_id)
    assert not asked(operator, ROLES).complete


# What a caller with nothing lacks, in the order of the steps, and the role that each command gives it.
LACKS = (
    (1, "Compute/virtualMachines/read", "Virtual Machine Contributor"),
    (2, "KeyVault/vaults/read", "Key Vault Contributor"),
    (2, "Authorization/roleAssignments/write", "Role Based Access Control Administrator"),
    (3, "KeyVault/vaults/keys/read", "Key Vault Crypto Officer"),
)


def missing(found: Preflight) -> Right:
    return next(right for right in found.rights if right.verdict == "failed")


def run_command(operator: Cloud, command: str) -> str:
    """Do what `az role assignment create` does, with the options as the command has them; return the role."""
    words = shlex.split(command)
    assert words[:4] == ["az", "role", "assignment", "create"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    assert given["--assignee-principal-type"] == "ServicePrincipal"
    roles.assign(operator, given["--role"], [given["--scope"]], given["--assignee-object-id"])
    return given["--role"]


def test_each_command_gives_what_is_missing_and_leads_to_the_next(
    home: Path, operator: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_id = identity.enable(operator, ROLES).object_id
    access.grant(operator, ROLES, object_id)
    caller, _ = as_principal(home, monkeypatch, "climber")
    unread = [right for right in asked(caller, ROLES).rights if right.verdict == "not-checked"]
    assert [right.step for right in unread] == [2, 3, 3, 4]
    assert {right.found for right in unread} == {"The vault could not be read.", "The VM could not be read."}
    for step, action, role in LACKS:
        found = missing(asked(caller, ROLES))
        assert (found.step, found.action.rpartition("Microsoft.")[2], found.who) == (step, action, "you")
        assert run_command(operator, found.command) == role
    done = asked(caller, ROLES)
    assert done.complete, verdicts(done)
    assert done.identity == object_id


def test_a_vm_contributor_has_step_1_and_no_other(home: Path, operator: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    caller, object_id = as_principal(home, monkeypatch, "vm-contributor")
    roles.assign(operator, "Virtual Machine Contributor", [POLICIES.vm_id(operator)], object_id)
    assert asked(caller, POLICIES, 1).exit_code == 0
    assert [asked(caller, POLICIES, step).exit_code for step in (2, 3, 4)] == [6, 6, 6]
    user = asked(caller, replace(POLICIES, identity="user"), 1)
    assert user.rights[-1].action == "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
    assert "Managed Identity Operator" in user.rights[-1].command


def test_a_role_with_a_condition_does_not_pass_for_the_right_to_assign(
    home: Path, operator: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, object_id = as_principal(home, monkeypatch, "data-access")
    administrator = "Key Vault Data Access Administrator"
    roles.assign(operator, administrator, [ROLES.vault_id(operator)], object_id)
    found = asked(caller, ROLES, 2)
    right = found.rights[-1]
    assert (right.verdict, found.exit_code) == ("not-checked", 6)
    assert administrator in right.found


def test_names_that_are_not_there_are_an_error_and_no_missing_permission(operator: Cloud) -> None:
    for stage in (replace(POLICIES, vm="nowhere"), replace(POLICIES, vault="nowhere")):
        with pytest.raises(ServiceError) as caught:
            asked(operator, stage)
        assert caught.value.status == 404


def test_an_access_policy_of_a_user_through_an_application_is_not_the_identity_s() -> None:
    policy: dict[str, Any] = {"objectId": "a", "applicationId": "b", "permissions": {"keys": ["release"]}}
    assert access.key_permissions({"properties": {"accessPolicies": [policy]}}, "a") == ()


def test_the_view_says_who_lacks_what_and_what_grants_it(operator: Cloud) -> None:
    found = asked(operator, replace(POLICIES, key="other", vm="cvm-1"), 3)
    view = view_of_preflight(found)
    assert view.heading == "May this identity release this key?"
    assert view.facts == ("the vault goes by access policies",)
    assert view.blocks[-1] == "Nothing is missing."
    assert found.fields()["complete"] is True
    assert not Preflight(caller="", identity="", mode="", rights=()).complete  # nothing asked is nothing known
