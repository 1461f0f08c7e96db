"""Faults of state: an operator mends them by Azure's own means and keeps what was mended; any order comes back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.keyvault.keys import KeyReleasePolicy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.errors import UsageError
from skrkit.policy.parse import decode_policy
from skrkit.sandbox import entra
from skrkit.sandbox.faults.fault import Fault
from skrkit.sandbox.faults.table import all_faults, fault_named
from tests.sandbox.vault.attested import POLICY, claims, encoded, token
from tests.sandbox.vault.azure import OPERATOR, SUBSCRIPTION, TENANT, Azure

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers"
VAULT = f"{GROUP}/Microsoft.KeyVault/vaults/premium"
VM = f"{GROUP}/Microsoft.Compute/virtualMachines/cvm"
RELEASE_USER = "08bbd89e-9f13-488c-ac41-acfcb10c90ab"
KINDS = ("arm", "principal", "role-assignment", "vault-key-name", "vault-key", "vault-deleted-key")
STATE = [fault for fault in all_faults() if fault.kind == "state"]
POLICIES = [fault.name for fault in STATE if fault.group == "policy"]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A vault, a VM whose identity may release, and two releasable keys, one of them for platform tokens."""
    made = set_up(tmp_path_factory.mktemp("state"))
    yield made
    made.world.store.close()


def set_up(home: Path) -> Azure:
    azure = Azure(home)
    azure.make_group()
    azure.make_vault(permissions=["get", "list", "create", "update", "delete", "recover", "purge", "release"])
    azure.world.machines.create(VM, name="cvm")  # type: ignore[call-arg]  # a stand-in, see its class
    vm = {"id": VM, "name": "cvm", "type": "Microsoft.Compute/virtualMachines", "location": "westeurope"}
    azure.world.store.put("arm", VM.lower(), vm | {"tags": {}, "properties": {"vmId": "1"}})
    assert patch_vm(azure, {"type": "SystemAssigned"}).status_code == 200
    grant(azure, principal(azure), "release")
    for name in ("skr", "platform"):
        azure.keys().create_ec_key(name, hardware_protected=True, exportable=True, release_policy=policy_of(name))
    return azure


def policy_of(name: str) -> KeyReleasePolicy:
    text = json.dumps(POLICY)
    return KeyReleasePolicy((text.replace("x-ms-isolation-tee.", "") if name == "platform" else text).encode())


def patch_vm(azure: Azure, identity: dict[str, Any]) -> Any:
    return azure.arm("PATCH", f"{VM}?api-version=2024-07-01", {"identity": identity})


def patch_vault(azure: Azure, **properties: Any) -> None:
    answer = azure.arm("PATCH", f"{VAULT}?api-version=2024-11-01", {"properties": properties})
    assert answer.status_code == 200, answer.text


def grant(azure: Azure, object_id: str, permission: str) -> None:
    policy = {"tenantId": TENANT, "objectId": object_id, "permissions": {"keys": [permission]}}
    path = f"{VAULT}/accessPolicies/add?api-version=2024-11-01"
    answer = azure.arm("PUT", path, {"properties": {"accessPolicies": [policy]}})
    assert answer.status_code == 200, answer.text


def the_vm(azure: Azure) -> dict[str, Any]:
    found: dict[str, Any] = azure.arm("GET", f"{VM}?api-version=2024-07-01").json()
    return found


def principal(azure: Azure) -> str:
    return str(the_vm(azure)["identity"]["principalId"])


def state(azure: Azure) -> dict[str, Any]:
    """Everything that a fault of state can change, but for the times at which Resource Manager was asked."""
    found = {kind: dict(azure.world.store.list(kind)) for kind in KINDS}
    for document in found["arm"].values():
        document.pop("systemData", None)
    return found


def on(azure: Azure, name: str) -> None:
    azure.world.faults.switch_on(azure.world, fault_named(name))


def off(azure: Azure, name: str) -> str:
    return azure.world.faults.switch_off(azure.world, fault_named(name))


def released(azure: Azure) -> int:
    """The status of a release of "skr" by the operator, who may do everything but get around the vault's rules."""
    answer = azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure))})
    return int(answer.status_code)


# --- off is as before


@pytest.mark.parametrize("fault", STATE, ids=lambda fault: fault.name)
def test_a_fault_changes_something_and_off_puts_all_of_it_back(azure: Azure, fault: Fault) -> None:
    before = state(azure)
    on(azure, fault.name)
    assert state(azure) != before
    assert off(azure, fault.name).startswith("Put back: ")
    assert state(azure) == before


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(toggled=st.lists(st.sampled_from([fault.name for fault in STATE]), min_size=2, max_size=8))
def test_whatever_the_order_nothing_stays(azure: Azure, toggled: list[str]) -> None:
    before, faults = state(azure), azure.world.faults
    for name in toggled:
        moment = state(azure), faults.names()
        try:
            (off if faults.is_on(name) else on)(azure, name)
        except UsageError:  # one fault has taken away what another needs
            assert (state(azure), faults.names()) == moment
    faults.switch_all_off(azure.world)
    assert (state(azure), faults.names()) == (before, [])


def test_what_is_not_there_cannot_be_broken(tmp_path: Path) -> None:
    azure = Azure(tmp_path)
    for fault in STATE:
        with pytest.raises(UsageError) as raised:
            on(azure, fault.name)
        assert raised.value.fix == "skrkit walkthrough   and then switch the fault on"
    assert azure.world.faults.names() == []
    azure.world.store.close()


# --- what an operator mends stays mended


def recreated(azure: Azure) -> None:
    keys = azure.keys()
    if azure.vault("GET", "/keys/skr").status_code == 200:
        keys.begin_delete_key("skr").wait()
        keys.purge_deleted_key("skr")
    keys.create_ec_key("skr", hardware_protected=True, exportable=True, release_policy=policy_of("skr"))


def both_identities(azure: Azure) -> None:
    """What step 1 of the walkthrough sends: the VM's own identity, beside those that it has."""
    others = the_vm(azure)["identity"]["userAssignedIdentities"]
    wanted = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {name: {} for name in others}}
    answer = patch_vm(azure, wanted)
    assert answer.status_code == 200, answer.text
    assert answer.json()["identity"]["userAssignedIdentities"] == others


def policy_again(azure: Azure) -> None:
    body = {"release_policy": {"data": encoded(POLICY)}}
    assert azure.vault("PATCH", "/keys/skr/", body).status_code == 200


def recovered(azure: Azure) -> None:
    azure.keys().begin_recover_deleted_key("skr").wait()


Mend = Callable[[Azure], Any]
MENDED: dict[str, tuple[Mend, str]] = {
    "identity.none": (lambda azure: patch_vm(azure, {"type": "SystemAssigned"}), "cvm (has an identity again)"),
    "identity.several": (both_identities, "cvm (its identities were changed since)"),
    "access.release-missing": (
        lambda azure: grant(azure, principal(azure), "release"),
        "in premium (was granted again)",
    ),
    "access.get-missing": (lambda azure: grant(azure, OPERATOR.oid, "get"), "in premium (was granted again)"),
    "access.stale-object-id": (
        lambda azure: grant(azure, principal(azure), "release"),
        "cvm (its new object id was granted access)",
    ),
    "access.rbac-mode": (
        lambda azure: patch_vault(azure, enableRbacAuthorization=False),
        "premium (its enableRbacAuthorization was changed since)",
    ),
    "access.firewall-address": (
        lambda azure: patch_vault(azure, networkAcls={"defaultAction": "Deny", "ipRules": [{"value": "127.0.0.0/8"}]}),
        "premium (its networkAcls was changed since)",
    ),
    "access.private-only": (
        lambda azure: patch_vault(azure, publicNetworkAccess="Enabled"),
        "premium (its publicNetworkAccess was changed since)",
    ),
    "key.disabled": (
        lambda azure: azure.keys().update_key_properties("skr", enabled=True),
        "skr (enabled or removed since)",
    ),
    "key.not-exportable": (recreated, "skr (another key has the name)"),
    "key.not-found": (recreated, "skr (another key has the name)"),
    "key.deleted": (recovered, "skr (is there again)"),
    **dict.fromkeys(POLICIES, (policy_again, "skr (its policy was changed since)")),
}


@pytest.mark.parametrize("name", MENDED)
def test_an_operator_mends_it_and_off_leaves_it_so(tmp_path: Path, name: str) -> None:
    azure = set_up(tmp_path)
    mend, found = MENDED[name]
    on(azure, name)
    mend(azure)
    mended = state(azure)
    if not name.startswith("policy."):
        assert released(azure) == 200
    said = off(azure, name)
    assert found in said.partition("Left as it is: ")[2]
    now = state(azure)
    for kind in KINDS:  # what was not mended, of another key, was put back
        changed = {
            each for each in mended[kind].keys() | now[kind].keys() if mended[kind].get(each) != now[kind].get(each)
        }
        assert all("/platform" in each for each in changed), changed
    assert released(azure) == 200
    azure.world.store.close()


def by_roles(tmp_path: Path) -> tuple[Azure, str]:
    """A sandbox whose vault goes by roles and whose VM's identity has the release role; and that identity."""
    azure = set_up(tmp_path)
    patch_vault(azure, enableRbacAuthorization=True, accessPolicies=[])
    assign_release(azure, principal(azure))
    return azure, principal(azure)


def assign_release(azure: Azure, object_id: str) -> None:
    role = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{RELEASE_USER}"
    path = f"{VAULT}/keys/skr/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
    properties = {"roleDefinitionId": role, "principalId": object_id, "principalType": "ServicePrincipal"}
    answer = azure.arm("PUT", path, {"properties": properties})
    assert answer.status_code == 201, answer.text


def as_the_vm(azure: Azure) -> int:
    """The status of a release of "skr" by the VM's identity."""
    vm = entra.Principal(oid=principal(azure), appid="any", tid=TENANT, mirid=VM)
    answer = azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure))}, principal=vm)
    return int(answer.status_code)


@pytest.mark.parametrize("name", ["access.release-missing", "access.stale-object-id"])
def test_a_grant_by_role_is_taken_away_and_put_back(tmp_path: Path, name: str) -> None:
    azure, _ = by_roles(tmp_path)
    before = state(azure)
    assert as_the_vm(azure) == 200
    on(azure, name)
    assert as_the_vm(azure) == 403
    assert off(azure, name).startswith("Put back: ")
    assert (state(azure), as_the_vm(azure)) == (before, 200)
    azure.world.store.close()


@pytest.mark.parametrize("name", ["access.release-missing", "access.stale-object-id"])
def test_a_role_that_an_operator_assigned_since_stays(tmp_path: Path, name: str) -> None:
    azure, _ = by_roles(tmp_path)
    on(azure, name)
    assign_release(azure, principal(azure))
    mended = state(azure)
    assert "grant" in off(azure, name).partition("Left as it is: ")[2]
    assert (state(azure), as_the_vm(azure)) == (mended, 200)
    azure.world.store.close()


def test_a_role_at_a_vault_that_is_gone_is_not_put_back(tmp_path: Path) -> None:
    azure, object_id = by_roles(tmp_path)
    on(azure, "access.release-missing")
    assert azure.arm("DELETE", f"{VAULT}?api-version=2024-11-01").status_code == 200
    assert off(azure, "access.release-missing") == f"Left as it is: a role of {object_id} at skr (gone)."
    azure.world.store.close()


def test_every_fault_of_state_is_mended_here() -> None:
    assert MENDED.keys() == {fault.name for fault in STATE}


def test_a_key_that_was_purged_and_a_vm_that_is_gone_stay_so(tmp_path: Path) -> None:
    azure = set_up(tmp_path)
    on(azure, "key.deleted")
    azure.keys().purge_deleted_key("skr")
    assert "Left as it is: skr (was purged)." in off(azure, "key.deleted")
    on(azure, "identity.none")
    on(azure, "access.private-only")
    assert azure.arm("DELETE", f"{VM}?api-version=2024-07-01").status_code == 202
    assert azure.arm("DELETE", f"{VAULT}?api-version=2024-11-01").status_code == 200
    assert off(azure, "identity.none") == "Left as it is: cvm (gone)."
    assert off(azure, "access.private-only") == "Left as it is: premium (gone)."
    azure.world.store.close()


# --- what a vault's firewall lets in


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ({"defaultAction": "Allow", "ipRules": []}, 200),
        ({"defaultAction": "Deny", "ipRules": [{"value": "127.0.0.1"}]}, 200),
        ({"defaultAction": "deny", "ipRules": [{"value": "127.0.0.0/30"}]}, 200),
        ({"defaultAction": "Deny", "ipRules": [{"value": "203.0.113.0/24"}]}, 403),
        ({"defaultAction": "Deny"}, 403),
        ({}, 200),
    ],
)
def test_the_firewall_of_a_vault_filters_by_address(tmp_path: Path, rules: dict[str, Any], status: int) -> None:
    azure = set_up(tmp_path)
    patch_vault(azure, networkAcls=rules)
    answer = azure.vault("GET", "/keys/skr")
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["innererror"] == {"code": "ForbiddenByFirewall"}
    azure.world.store.close()


def test_the_two_identities_are_resources_and_one_that_was_there_stays(tmp_path: Path) -> None:
    azure = set_up(tmp_path)
    path = f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities"
    api = "?api-version=2024-11-30"
    mine = azure.arm("PUT", f"{path}/cvm-app-identity{api}", {"location": "westeurope"}).json()
    before = state(azure)
    on(azure, "identity.several")
    listed = azure.arm("GET", path + api).json()["value"]
    assert [each["name"] for each in listed] == ["cvm-app-identity", "cvm-backup-identity"]
    assert listed[0] == mine
    assigned = the_vm(azure)["identity"]["userAssignedIdentities"]
    assert assigned == {
        each["id"]: {name: each["properties"][name] for name in ("principalId", "clientId")} for each in listed
    }
    assert off(azure, "identity.several") == "Put back: what cvm had."
    assert state(azure) == before
    azure.world.store.close()


def test_user_assigned_identities_are_taken_away_one_by_one(tmp_path: Path) -> None:
    azure = set_up(tmp_path)
    on(azure, "identity.several")
    first, second = the_vm(azure)["identity"]["userAssignedIdentities"]
    answer = patch_vm(azure, {"type": "UserAssigned", "userAssignedIdentities": {first.upper(): {}, second: None}})
    assert list(answer.json()["identity"]["userAssignedIdentities"]) == [first]
    assert "principalId" not in answer.json()["identity"]
    answer = patch_vm(azure, {"type": "SystemAssigned"})
    assert answer.json()["identity"].keys() == {"type", "principalId", "tenantId"}
    assert "identity" not in patch_vm(azure, {"type": "None"}).json()
    assert off(azure, "identity.several") == "Left as it is: cvm (its identities were changed since)."
    azure.world.store.close()


# --- mistakes in any policy

SCALARS = st.one_of(st.booleans(), st.integers(0, 9), st.sampled_from(["azure-compliant-cvm", "sevsnpvm"]))
CLAIMS = st.sampled_from(
    ["x-ms-compliance-status", "x-ms-isolation-tee.x-ms-compliance-status", "secureboot", "x-ms-isolation-tee.a.b"]
)
CONDITIONS = st.builds(
    lambda claim, operator, value: {"claim": claim, operator: value},
    CLAIMS,
    st.sampled_from(["equals", "notEquals", "greater"]),
    SCALARS,
)
MEMBERS = st.recursive(
    CONDITIONS,
    lambda inner: st.builds(
        lambda rule, members: {rule: members},
        st.sampled_from(["anyOf", "allOf"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=5,
)
CLAUSES = st.builds(
    lambda authority, rule, members: {"authority": authority, rule: members},
    st.sampled_from(["https://sharedweu.weu.attest.azure.net", "https://sharedeus.eus.attest.azure.net/"]),
    st.sampled_from(["anyOf", "allOf"]),
    st.lists(MEMBERS, min_size=1, max_size=3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clauses=st.lists(CLAUSES, min_size=1, max_size=3), names=st.permutations(POLICIES).map(lambda all_: all_[:4]))
def test_a_mistake_leaves_any_policy_well_formed_and_comes_off_again(
    azure: Azure, clauses: list[Any], names: list[str]
) -> None:
    policy = {"data": encoded({"version": "1.0.0", "anyOf": clauses})}
    written = azure.vault("PATCH", "/keys/skr/", {"release_policy": policy})
    assert written.status_code == 200, written.text
    before = state(azure)
    for name in names:
        with suppress(UsageError):  # a policy in which this mistake cannot be made
            on(azure, name)
    for named in state(azure)["vault-key-name"].values():
        assert decode_policy(named["release_policy"]["data"]).root
    azure.world.faults.switch_all_off(azure.world)
    assert state(azure) == before
