"""User-assigned identities: Azure's own client for them, the VM that has some, and each refusal to the letter."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.resource.resources import ResourceManagementClient

from tests.sandbox.arm.test_arm_clients import VM, vm_id
from tests.sandbox.vault.azure import STRANGER, SUBSCRIPTION, TENANT, Azure, error_of

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
IDENTITIES = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
API = "?api-version=2024-11-30"
VM_API = "?api-version=2026-04-01"
HERE: Any = {"location": "West Europe", "tags": {"a": "b"}}


@pytest.fixture
def identities(azure: Azure) -> Any:
    return ManagedServiceIdentityClient(azure.credential(), SUBSCRIPTION, **azure.options()).user_assigned_identities


def identity_id(name: str) -> str:
    return f"{IDENTITIES}/{name}"


def make(azure: Azure, *names: str) -> list[dict[str, str]]:
    """Make identities and return what a VM's resource says of each."""
    made = [azure.arm("PUT", identity_id(name) + API, HERE) for name in names]
    assert {answer.status_code for answer in made} == {201}
    properties = [answer.json()["properties"] for answer in made]
    return [{name: each[name] for name in ("principalId", "clientId")} for each in properties]


def vm_with(azure: Azure, identity: Any) -> Any:
    answer = azure.arm("PUT", vm_id() + VM_API, VM | ({"identity": identity} if identity else {}))
    assert answer.status_code == 201, answer.text
    return answer.json().get("identity")


def patched(azure: Azure, identity: Any) -> Any:
    answer = azure.arm("PATCH", vm_id() + VM_API, {"identity": identity})
    assert answer.status_code == 200, answer.text
    return answer.json().get("identity")


def of(kind: str, **named: Any) -> dict[str, Any]:
    return {"type": kind, "userAssignedIdentities": {identity_id(name): value for name, value in named.items()}}


# --- the resource


def test_azure_s_own_client_makes_reads_changes_and_deletes_one(azure: Azure, identities: Any) -> None:
    made = identities.create_or_update("rg", "one", HERE)
    assert (made.id, made.name, made.location, made.tags) == (identity_id("one"), "one", "westeurope", {"a": "b"})
    assert made.type == "Microsoft.ManagedIdentity/userAssignedIdentities"
    assert made.tenant_id == TENANT
    principal = azure.world.store.get("principal", made.principal_id)
    assert principal == {
        "oid": made.principal_id, "appid": made.client_id, "tid": TENANT, "mirid": identity_id("one")
    }  # fmt: skip
    again = identities.create_or_update("rg", "one", {"location": "westeurope"})
    assert (again.principal_id, again.client_id, again.tags) == (made.principal_id, made.client_id, {})
    changed = identities.update("rg", "one", {"tags": {"x": "y"}})
    assert (changed.principal_id, changed.tags) == (made.principal_id, {"x": "y"})
    assert identities.get("RG", "ONE").as_dict() == changed.as_dict()
    azure.make_group("rg2")
    identities.create_or_update("rg2", "two", HERE)
    assert [each.name for each in identities.list_by_resource_group("rg")] == ["one"]
    assert [each.name for each in identities.list_by_subscription()] == ["one", "two"]
    identities.delete("rg", "one")
    assert azure.world.store.get("principal", made.principal_id) is None
    with pytest.raises(ResourceNotFoundError, match="userAssignedIdentities/one' under resource group 'rg' was not"):
        identities.get("rg", "one")
    identities.delete("rg", "one")  # 204: it is gone already
    assert identities.create_or_update("rg", "one", HERE).principal_id != made.principal_id


def test_the_generic_client_makes_one_and_the_group_takes_it_along(azure: Azure, identities: Any) -> None:
    client = ResourceManagementClient(azure.credential(), SUBSCRIPTION, **azure.options())
    made = client.resources.begin_create_or_update_by_id(identity_id("one"), HERE, api_version="2024-11-30").result()
    oid = made.as_dict()["properties"]["principalId"]
    listed = client.resources.list(filter="resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities'")
    assert [each.name for each in listed] == ["one"]
    assert client.providers.register("Microsoft.ManagedIdentity").registration_state == "Registered"
    client.resource_groups.begin_delete("rg").wait()
    assert azure.world.store.get("principal", oid) is None
    assert list(identities.list_by_subscription()) == []


def test_an_identity_stays_where_it_is(identities: Any) -> None:
    identities.create_or_update("rg", "one", HERE)
    with pytest.raises(ResourceExistsError) as caught:
        identities.create_or_update("rg", "one", {"location": "northeurope"})
    assert caught.value.error is not None
    assert (caught.value.error.code, caught.value.error.message) == (
        "InvalidResourceLocation",
        (
            "The resource 'one' already exists in location 'westeurope' in resource group 'rg'. A resource with the "
            "same name cannot be created in location 'northeurope'. Please select a new resource name."
        ),
    )


@pytest.mark.parametrize("name", ["ab", "-abc", "_abc", "a b c", "a.bc", "a" * 129])
def test_names_that_no_identity_has(azure: Azure, name: str) -> None:
    answer = azure.arm("PUT", identity_id(name) + API, HERE)
    assert error_of(answer)[:2] == (400, "InvalidResourceName")
    assert azure.arm("PUT", identity_id("a" * 128) + API, HERE).status_code == 201


def test_what_an_identity_is_not_made_of(azure: Azure) -> None:
    assert error_of(azure.arm("PUT", identity_id("one") + API, {}))[:2] == (400, "LocationRequired")
    elsewhere = identity_id("one").replace("/rg/", "/nowhere/")
    for method in ("PUT", "GET", "DELETE", "PATCH"):
        assert error_of(azure.arm(method, elsewhere + API, HERE))[:2] == (404, "ResourceGroupNotFound")
    assert error_of(azure.arm("PATCH", identity_id("one") + API, HERE))[:2] == (404, "ResourceNotFound")
    answer = azure.arm("PUT", identity_id("one") + API, HERE, principal=STRANGER)
    assert error_of(answer)[:2] == (403, "AuthorizationFailed")
    assert "'Microsoft.ManagedIdentity/userAssignedIdentities/write'" in error_of(answer)[3]
    federated = f"{identity_id('one')}/federatedIdentityCredentials/f{API}"
    assert error_of(azure.arm("PUT", federated, HERE))[:2] == (501, "NotInSandbox")
    assert azure.world.store.list("principal") == []


# --- the VM that has some


@pytest.mark.parametrize("kind", ["UserAssigned", "SystemAssigned, UserAssigned", "systemassigned,userassigned"])
def test_a_vm_is_made_with_what_it_names(azure: Azure, kind: str) -> None:
    one, two = make(azure, "one", "two")
    identity = vm_with(azure, of(kind, one={}, two={}))
    assert identity["userAssignedIdentities"] == {identity_id("one"): one, identity_id("two"): two}
    assert ("principalId" in identity, "tenantId" in identity) == ("system" in kind.lower(),) * 2
    assert identity["type"] == ("UserAssigned" if kind == "UserAssigned" else "SystemAssigned, UserAssigned")
    assert azure.arm("GET", vm_id() + VM_API).json()["identity"] == identity


def test_the_compute_client_gives_and_takes_them(azure: Azure) -> None:
    one, two = make(azure, "one", "two")
    vm_with(azure, {"type": "SystemAssigned"})
    machines: Any = ComputeManagementClient(azure.credential(), SUBSCRIPTION, **azure.options()).virtual_machines
    both = machines.begin_update("rg", "cvm", {"identity": of("SystemAssigned, UserAssigned", one={})}).result()
    assert both.identity.user_assigned_identities[identity_id("one")].client_id == one["clientId"]
    oid = both.identity.principal_id
    more = machines.begin_update("rg", "cvm", {"identity": of("SystemAssigned, UserAssigned", two={})}).result()
    assert set(more.identity.user_assigned_identities) == {identity_id("one"), identity_id("two")}
    less = machines.begin_update("rg", "cvm", {"identity": of("SystemAssigned, UserAssigned", one=None)}).result()
    assert set(less.identity.user_assigned_identities) == {identity_id("two")}
    assert less.identity.user_assigned_identities[identity_id("two")].principal_id == two["principalId"]
    assert less.identity.principal_id == oid
    machines.begin_delete("rg", "cvm").wait()
    assert azure.world.store.get("principal", oid) is None
    assert azure.world.store.get("principal", two["principalId"]) is not None  # it is no part of the VM


STEPS: tuple[tuple[str, Any, str, set[str], bool], ...] = (
    # method, identity of the body, the type that is then there, which user-assigned ones, an identity of its own
    ("PATCH", of("UserAssigned", two={}), "UserAssigned", {"one", "two"}, False),
    ("PATCH", of("UserAssigned", one=None, three={}), "UserAssigned", {"two", "three"}, False),
    ("PATCH", {"type": "SystemAssigned, UserAssigned"}, "SystemAssigned, UserAssigned", {"two", "three"}, True),
    ("PUT", of("SystemAssigned, UserAssigned", one={}), "SystemAssigned, UserAssigned", {"one"}, True),
    ("PUT", None, "SystemAssigned, UserAssigned", {"one"}, True),
    ("PATCH", of("UserAssigned", nobody=None), "UserAssigned", {"one"}, False),
    ("PATCH", {"type": "SystemAssigned"}, "SystemAssigned", set(), True),
    ("PATCH", of("UserAssigned", one={}), "UserAssigned", {"one"}, False),
    ("PATCH", {"type": "None"}, "", set(), False),
)


def test_a_patch_merges_and_a_put_sets(azure: Azure) -> None:
    make(azure, "one", "two", "three")
    vm_with(azure, of("UserAssigned", one={}))
    for method, identity, kind, names, own in STEPS:
        body = {"PATCH": {}, "PUT": VM}[method] | ({"identity": identity} if identity else {})
        answer = azure.arm(method, vm_id() + VM_API, body)
        assert answer.status_code == 200, answer.text
        found = answer.json().get("identity") or {}
        assert (found.get("type", ""), "principalId" in found) == (kind, own), identity
        assert {name.rpartition("/")[2] for name in found.get("userAssignedIdentities", {})} == names, identity


def test_an_identity_of_another_group_in_any_case(azure: Azure) -> None:
    azure.make_group("RG2")
    path = identity_id("One").replace("/rg/", "/RG2/")
    assert azure.arm("PUT", path + API, HERE).status_code == 201
    identity = vm_with(azure, {"type": "UserAssigned", "userAssignedIdentities": {path.lower(): {}}})
    assert list(identity["userAssignedIdentities"]) == [path]
    again = patched(azure, {"type": "UserAssigned", "userAssignedIdentities": {path.upper(): {}}})
    assert list(again["userAssignedIdentities"]) == [path]


def test_an_identity_that_is_deleted_leaves_a_dead_reference(azure: Azure) -> None:
    one, _ = make(azure, "one", "two")
    vm_with(azure, of("UserAssigned", one={}))
    assert azure.arm("DELETE", identity_id("one") + API).status_code == 200
    kept = azure.arm("GET", vm_id() + VM_API).json()["identity"]["userAssignedIdentities"]
    assert kept == {identity_id("one"): one}
    assert set(patched(azure, of("UserAssigned", one={}, two={}))["userAssignedIdentities"]) == {
        identity_id("one"), identity_id("two"),
    }  # fmt: skip
    (new,) = make(azure, "one")  # another identity of that name is another: it must be assigned
    stale = azure.arm("GET", vm_id() + VM_API).json()["identity"]["userAssignedIdentities"]
    assert stale[identity_id("one")] == one != new
    assert patched(azure, of("UserAssigned", one={}))["userAssignedIdentities"][identity_id("one")] == new


# --- what a VM is refused

NO_SUCH = identity_id("nobody")
OPERATION = (
    f"Identity operation for resource '{vm_id()}' failed with error 'Failed to perform resource identity operation."
)
REFUSED: dict[str, tuple[Any, str, str]] = {
    "none named": (
        {"type": "UserAssigned"}, "MissingIdentityIds",
        "The identity ids must not be null or empty for 'UserAssigned' identity type.",
    ),
    "all taken away": (
        of("SystemAssigned, UserAssigned", one=None), "MissingIdentityIds",
        "The identity ids must not be null or empty for 'SystemAssigned, UserAssigned' identity type.",
    ),
    "not there": (
        {"type": "UserAssigned", "userAssignedIdentities": {NO_SUCH: {}}}, "FailedIdentityOperation",
        OPERATION +
        " Status: 'BadRequest'. Response: '{\"error\":{\"code\":\"BadRequest\",\"message\":\"Resource '"
        + NO_SUCH + "' was not found.\"}}'.'.",
    ),
    "ids without their type": (
        of("SystemAssigned", one={}), "FailedIdentityOperation",
        (OPERATION +
        " Status: 'BadRequest'. Response: '{\"error\":{\"code\":\"BadRequest\",\"message\":\"The request format was "
        "unexpected, a non-UserAssigned identity type should not contain: userAssignedIdentities\"}}'.'."),
    ),
    "no id": (
        {"type": "UserAssigned", "userAssignedIdentities": {"one": {}}}, "LinkedInvalidPropertyId",
        ("Property id 'one' at path 'identity.userAssignedIdentities' is invalid. Expect fully qualified resource Id "
        "that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'."),
    ),
    "id of a VM": (
        {"type": "UserAssigned", "userAssignedIdentities": {vm_id("other"): {}}}, "LinkedInvalidPropertyId", "",
    ),
    "a list": ({"type": "UserAssigned", "userAssignedIdentities": [identity_id("one")]}, "InvalidRequestContent", ""),
    "a text": ({"type": "UserAssigned", "userAssignedIdentities": {identity_id("one"): "x"}},
               "InvalidRequestContent", ""),
    "no type": ({"userAssignedIdentities": {identity_id("one"): {}}}, "BadRequest", ""),
    "None and one": ({"type": "None, UserAssigned"}, "BadRequest", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_each_refusal_leaves_the_vm_as_it_is(azure: Azure, method: str, name: str) -> None:
    identity, code, message = REFUSED[name]
    make(azure, "one")
    body = VM | {"identity": identity}
    if method == "PATCH":
        body = {"identity": identity}
        vm_with(azure, {"type": "SystemAssigned"} if "all" in name else None)
    before = azure.world.store.list("arm"), azure.world.store.list("principal")
    answer = azure.arm(method, vm_id() + VM_API, body)
    assert error_of(answer)[:2] == (400, code)
    assert error_of(answer)[3] == message or not message
    assert (azure.world.store.list("arm"), azure.world.store.list("principal")) == before
    assert len(azure.machines.made) == (method == "PATCH")


def test_the_sdk_says_which_identity_was_not_found(azure: Azure) -> None:
    vm_with(azure, None)
    machines: Any = ComputeManagementClient(azure.credential(), SUBSCRIPTION, **azure.options()).virtual_machines
    with pytest.raises(HttpResponseError, match=r"FailedIdentityOperation[\s\S]*nobody' was not found") as caught:
        machines.begin_update("rg", "cvm", {"identity": of("UserAssigned", nobody={})})
    assert caught.value.status_code == 400
