"""IMDS of a VM: its rules, its refusals to the letter, what it says of the VM and of its identity."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import jwt
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from skrkit.sandbox import entra, imds
from skrkit.sandbox.cast import ensure_cast
from skrkit.sandbox.store import Store
from skrkit.sandbox.world import World
from tests.sandbox.maa.asgi_call import Answer, ask

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RESOURCE_ID = "/subscriptions/s-1/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/cvm"
OID = "0d000000-0000-4000-8000-000000000001"
TOKEN = "/metadata/identity/oauth2/token?api-version=2018-02-01"
VAULT = "https://vault.azure.net"
VM: dict[str, Any] = {
    "id": RESOURCE_ID,
    "tags": {"team": "a", "cost": "7"},
    "identity": {"type": "SystemAssigned", "principalId": OID},
    "zones": ["1"],
    "properties": {
        "hardwareProfile": {"vmSize": "Standard_DC2as_v5"},
        "securityProfile": {
            "securityType": "ConfidentialVM",
            "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
        },
        "storageProfile": {"imageReference": {"publisher": "p", "offer": "o", "sku": "s", "version": "v"}},
        "osProfile": {
            "adminUsername": "u",
            "computerName": "inside",
            "linuxConfiguration": {"disablePasswordAuthentication": True},
        },
    },
}


@dataclass
class FakeMachine:
    """What IMDS asks of a machine. The real one answers in test_door.py and in tests/clients."""

    resource_id: str = RESOURCE_ID.lower()
    name: str = "cvm"
    region: str = "westeurope"
    vm_id: str = "6506b531-1634-431e-99d2-42b7d3414ad0"
    secure_boot: bool = True

    def thim(self) -> dict[str, str]:
        return {"vcekCert": "v", "tcbm": "DB18000000000004", "certificateChain": "c", "cacheControl": "86400"}


class FakeMachines:
    def get(self, resource_id: str) -> FakeMachine | None:
        return FakeMachine() if resource_id == RESOURCE_ID.lower() else None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store(tmp_path / "state.db")
    tenant = ensure_cast(store, NOW)["tenant"]
    store.put("arm", RESOURCE_ID.lower(), VM)
    store.put("principal", OID, {"oid": OID, "appid": "app-1", "tid": tenant, "mirid": RESOURCE_ID})
    nobody = cast(Any, None)
    machines = cast(Any, FakeMachines())
    yield World(home=tmp_path, store=store, tls=nobody, silicon=nobody, machines=machines, now=lambda: NOW)
    store.close()


def get(
    world: World, path: str, *, vm: str | None = RESOURCE_ID.lower(), method: str = "GET", **headers: str | None
) -> Answer:
    """Send a request with `Metadata: true` and `headers` besides (None takes one away) through the door of `vm`."""
    named = {"metadata": "true"} | {name.replace("_", "-").lower(): value for name, value in headers.items()}
    sent = [(name.encode(), value.encode()) for name, value in named.items() if value is not None]
    served: ASGIApp = imds.app(world)

    async def through_the_door(scope: Scope, receive: Receive, send: Send) -> None:
        await served({**scope, "state": {"vm": vm}, "headers": [*scope["headers"], *sent]}, receive, send)

    return ask(through_the_door, method, f"http://169.254.169.254{path}")


def test_versions(world: World) -> None:
    answer = get(world, "/metadata/versions")
    versions = answer.json()["apiVersions"]
    assert (answer.status, versions[0], versions[-1], len(versions)) == (200, "2017-03-01", "2025-04-07", 34)
    assert versions == sorted(set(versions))
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


NO_HEADER = "Required metadata header not specified"
BAD_VERSION = {
    "error": "Bad request. api-version is invalid or was not specified in the request. "
    "For more information refer to aka.ms/azureimds",
    "newest-versions": ["2025-04-07", "2024-07-17", "2024-03-15"],
}


@pytest.mark.parametrize(
    ("path", "headers", "status", "body"),
    [
        ("/metadata/instance", {}, 400, BAD_VERSION),
        ("/metadata/instance?api-version=2030-01-01", {}, 400, BAD_VERSION),
        ("/metadata/identity/oauth2/token?resource=x", {}, 400, BAD_VERSION),
        ("/metadata/instance?api-version=2021-02-01", {"Metadata": None}, 400,
         {"error": f"Bad request: . {NO_HEADER}"}),
        ("/metadata/versions", {"Metadata": "yes"}, 400, {"error": f"Bad request: . {NO_HEADER}"}),
        ("/metadata/THIM/amd/certification", {"Metadata": None}, 400, {"error": f"Bad request: . {NO_HEADER}"}),
        (f"{TOKEN}&resource={VAULT}", {"Metadata": None}, 400,
         {"error": "invalid_request", "error_description": NO_HEADER}),
        (f"{TOKEN}&resource={VAULT}&client_id=another", {}, 400,
         {"error": "invalid_request", "error_description": "Identity not found"}),
        (f"{TOKEN}&resource={VAULT}&msi_res_id=/another", {}, 400,
         {"error": "invalid_request", "error_description": "Identity not found"}),
        ("/metadata/identity/oauth2/nothing", {}, 401,
         {"error": "unknown_source", "error_description": "Unknown Source /metadata/identity/oauth2/nothing"}),
        ("/metadata/instance/compute/nothing?api-version=2021-02-01", {}, 404, {"error": "Not found"}),
        ("/metadata/instance/network/interface/1?api-version=2021-02-01", {}, 404, {"error": "Not found"}),
        ("/metadata/instance/network/interface/-1?api-version=2021-02-01", {}, 404, {"error": "Not found"}),
    ],
)  # fmt: skip
def test_refusals_have_imds_own_bodies(
    world: World, path: str, headers: dict[str, Any], status: int, body: dict[str, Any]
) -> None:
    answer = get(world, path, **headers)
    assert (answer.status, answer.json()) == (status, body)


@pytest.mark.parametrize(
    ("path", "headers", "words"),
    [
        ("/metadata/versions", {"X_Forwarded_For": "10.0.0.1"}, "X-Forwarded-For is not allowed"),
        (f"{TOKEN}&resource={VAULT}", {"X_Forwarded_For": ""}, "X-Forwarded-For is not allowed"),
        ("/metadata/instance?api-version=2021-02-01&api-version=2021-02-01", {}, "Duplicate query parameter: api-vers"),
        ("/metadata/instance/compute/name?api-version=2021-02-01", {}, "format=text"),
        ("/metadata/instance/compute?api-version=2021-02-01&format=text", {}, "format=text"),
    ],
)
def test_refusals_whose_words_are_inferred(world: World, path: str, headers: dict[str, Any], words: str) -> None:
    answer = get(world, path, **headers)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_a_token_needs_a_resource_that_the_tenant_knows(world: World) -> None:
    missing, unknown = get(world, TOKEN), get(world, f"{TOKEN}&resource=https://example.com")
    assert (missing.status, missing.json()["error"]) == (400, "invalid_request")
    assert "resource" in missing.json()["error_description"]
    assert (unknown.status, unknown.json()["error"]) == (400, "invalid_resource")
    assert unknown.json()["error_description"].startswith("AADSTS50001: The application named https://example.com was")


def test_a_token_is_the_vms_own(world: World) -> None:
    chosen = ("", "&client_id=APP-1", f"&object_id={OID}", f"&msi_res_id={RESOURCE_ID}", f"&mi_res_id={RESOURCE_ID}")
    for selector in chosen:
        said = get(world, f"{TOKEN}&resource={VAULT}{selector}").json()
        who = entra.authenticate(world, f"Bearer {said.pop('access_token')}", audiences=[VAULT])
        assert (who.oid, who.appid, who.tid) == (OID, "app-1", world.tenant)
        assert who.mirid == RESOURCE_ID.replace("resourceGroups", "resourcegroups")
        at = int(NOW.timestamp())
        assert said == {
            "client_id": "app-1", "expires_in": "86399", "ext_expires_in": "86399", "expires_on": str(at + 86400),
            "not_before": str(at), "refresh_token": "", "resource": VAULT, "token_type": "Bearer",
        }  # fmt: skip


def test_a_vm_without_an_identity_gets_no_token(world: World) -> None:
    for identity in (None, {"type": "None"}, {"type": "SystemAssigned", "principalId": "gone"}):
        world.store.put("arm", RESOURCE_ID.lower(), VM | {"identity": identity})
        answer = get(world, f"{TOKEN}&resource={VAULT}")
        assert answer.json() == {"error": "invalid_request", "error_description": "Identity not found"}
        assert answer.status == 400


IDENTITIES = "/subscriptions/s-1/resourceGroups/RG/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
USERS = {
    f"{IDENTITIES}/{name}": {"principalId": f"0d000000-0000-4000-8000-00000000000{number}", "clientId": f"app-{number}"}
    for number, name in ((2, "two"), (3, "three"))
}
TWO, THREE = USERS
SEVERAL = (
    "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token "
    "request"
)


def give(world: World, *, own: bool, users: tuple[str, ...] = ()) -> None:
    """Give the VM its own identity or none, and these user-assigned ones."""
    identity: dict[str, Any] = {
        "type": "of no matter here",
        "userAssignedIdentities": {each: USERS[each] for each in users},
    }
    world.store.put("arm", RESOURCE_ID.lower(), VM | {"identity": identity | ({"principalId": OID} if own else {})})
    for resource_id in users:
        oid, appid = USERS[resource_id]["principalId"], USERS[resource_id]["clientId"]
        world.store.put("principal", oid, {"oid": oid, "appid": appid, "tid": world.tenant, "mirid": resource_id})


def asked(world: World, selector: str = "") -> str:
    """The object id that a token is for, or the refusal: status, error and description in one text."""
    answer = get(world, f"{TOKEN}&resource={VAULT}{selector}")
    said = answer.json()
    if answer.status != 200:
        assert set(said) == {"error", "error_description"}
        return f"{answer.status} {said['error']}: {said['error_description']}"
    claims = jwt.decode(said["access_token"], options={"verify_signature": False})
    assert (said["client_id"], claims["sub"]) == (claims["appid"], claims["oid"])
    return str(claims["oid"])


NOT_FOUND = "400 invalid_request: Identity not found"


@pytest.mark.parametrize(
    ("own", "users", "expected"),
    [
        (True, (), OID),
        (True, (TWO,), OID),
        (True, (TWO, THREE), OID),
        (False, (TWO,), USERS[TWO]["principalId"]),
        (False, (TWO, THREE), f"400 invalid_request: {SEVERAL}"),
        (False, (), NOT_FOUND),
    ],
)
def test_which_identity_a_request_without_a_name_gets(
    world: World, own: bool, users: tuple[str, ...], expected: str
) -> None:
    give(world, own=own, users=users)
    assert asked(world) == expected


@pytest.mark.parametrize("own", [True, False])
def test_each_id_of_an_identity_names_it(world: World, own: bool) -> None:
    give(world, own=own, users=(TWO, THREE))
    for resource_id, ids in USERS.items():
        oid = ids["principalId"]
        named = [
            f"client_id={ids['clientId'].upper()}",
            *(f"{name}={oid}" for name in ("object_id", "principal_id")),
            *(f"{name}={quote(resource_id.lower())}" for name in ("msi_res_id", "mi_res_id")),
        ]
        assert {asked(world, f"&{each}") for each in named} == {oid}
    expected = OID if own else NOT_FOUND
    assert {asked(world, f"&{each}") for each in ("client_id=app-1", f"object_id={OID}")} == {expected}


@pytest.mark.parametrize(
    "selector",
    [
        "client_id=app-9",
        f"client_id={USERS[TWO]['principalId']}",  # an object id in the place of a client id
        "object_id=app-2",
        f"msi_res_id={IDENTITIES}/four",
        "mi_res_id=two",
        "client_id=",
        f"client_id=app-2&object_id={USERS[THREE]['principalId']}",  # two that do not agree
    ],
)
def test_a_name_that_no_identity_of_the_vm_has(world: World, selector: str) -> None:
    give(world, own=True, users=(TWO, THREE))
    assert asked(world, f"&{selector}") == NOT_FOUND


def test_an_identity_that_was_deleted_is_not_found_and_still_counts(world: World) -> None:
    give(world, own=False, users=(TWO, THREE))
    world.store.delete("principal", USERS[TWO]["principalId"])
    assert asked(world, "&client_id=app-2") == NOT_FOUND
    assert asked(world) == f"400 invalid_request: {SEVERAL}"
    assert asked(world, "&client_id=app-3") == USERS[THREE]["principalId"]
    give(world, own=False, users=(TWO,))
    world.store.delete("principal", USERS[TWO]["principalId"])
    assert asked(world) == NOT_FOUND


def leaves(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if children is None:
        yield value
    else:
        for child in children:
            yield from leaves(child)


def test_every_primitive_is_a_text(world: World) -> None:
    said = get(world, "/metadata/instance?api-version=2025-04-07").json()
    assert set(said) == {"compute", "network"}
    found = list(leaves(said))
    assert len(found) > 30
    assert all(isinstance(leaf, str) for leaf in found)


def test_what_it_says_of_the_vm(world: World) -> None:
    compute = get(world, "/metadata/instance/compute?api-version=2021-12-13").json()
    assert compute["resourceId"] == RESOURCE_ID
    assert (compute["subscriptionId"], compute["resourceGroupName"], compute["name"]) == ("s-1", "RG", "cvm")
    assert (compute["vmSize"], compute["zone"]) == ("Standard_DC2as_v5", "1")
    assert compute["osProfile"] == {
        "adminUsername": "u", "computerName": "inside", "disablePasswordAuthentication": "true"
    }  # fmt: skip
    assert compute["securityProfile"] == {
        "secureBootEnabled": "true", "virtualTpmEnabled": "true", "encryptionAtHost": "false",
        "securityType": "ConfidentialVM",
    }  # fmt: skip
    assert compute["tags"] == "team:a;cost:7"
    assert compute["tagsList"] == [{"name": "team", "value": "a"}, {"name": "cost", "value": "7"}]


def test_a_leaf_is_text_and_names_are_found_in_any_case(world: World) -> None:
    answer = get(world, "/metadata/instance/Compute/vmid?api-version=2021-12-13&format=TEXT")
    assert (answer.status, answer.body) == (200, b"6506b531-1634-431e-99d2-42b7d3414ad0")
    assert answer.headers["content-type"].startswith("text/plain")
    prefix = "/metadata/instance/network/interface/0/ipv4/subnet/0/prefix?api-version=2021-12-13&format=text"
    assert get(world, prefix).body == b"24"


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("2017-03-01", {"name", "vmId", "location", "vmSize"}, {"tags", "resourceId", "securityProfile", "userData"}),
        ("2019-03-11", {"tags", "resourceId", "zone"}, {"tagsList", "securityProfile", "userData"}),
        ("2020-12-01", {"tagsList", "securityProfile", "osProfile"}, {"userData"}),
        ("2021-01-01", {"userData"}, set()),
    ],
)
def test_a_member_newer_than_the_version_is_absent(
    world: World, version: str, present: set[str], absent: set[str]
) -> None:
    compute = get(world, f"/metadata/instance/compute?api-version={version}").json()
    assert present <= set(compute)
    assert not absent & set(compute)
    old = get(world, "/metadata/instance/compute/securityProfile?api-version=2021-05-01").json()
    assert set(old) == {"secureBootEnabled", "virtualTpmEnabled"}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"properties": None, "tags": None, "zones": None},
        {
            "properties": {"osProfile": None, "securityProfile": "x", "hardwareProfile": [], "userData": None},
            "zones": [],
        },
    ],
)
def test_a_vm_document_that_says_little_still_has_an_instance(world: World, said: dict[str, Any]) -> None:
    world.store.put("arm", RESOURCE_ID.lower(), {"id": RESOURCE_ID} | said)
    compute = get(world, "/metadata/instance/compute?api-version=2021-12-13").json()
    assert (compute["name"], compute["vmSize"], compute["userData"]) == ("cvm", "", "")


def test_thim_and_identity_info(world: World) -> None:
    assert get(world, "/metadata/THIM/amd/certification").json() == FakeMachine().thim()
    info = get(world, "/metadata/identity/info?api-version=2018-02-01")
    assert info.json() == {"tenantId": world.tenant}


def test_outside_a_vm_there_is_none(world: World) -> None:
    for vm in (None, "/subscriptions/s/deleted"):
        answer = get(world, "/metadata/versions", vm=vm)
        assert (answer.status, answer.json()["error"]) == (403, "no_imds_here")
        assert "unreachable" in answer.json()["error_description"]  # the word that azure-identity looks for


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods(world: World, method: str) -> None:
    assert get(world, "/metadata/versions", method=method).status == 405


@pytest.mark.parametrize("path", ["/", "/metadata", "/metadata/attested", "/metadata/THIM/tvm/certificate"])
def test_unknown_paths(world: World, path: str) -> None:
    assert get(world, path).status == 404


def test_the_document_is_not_changed_by_reading(world: World) -> None:
    before = copy.deepcopy(world.store.get("arm", RESOURCE_ID.lower()))
    get(world, "/metadata/instance?api-version=2021-12-13")
    assert world.store.get("arm", RESOURCE_ID.lower()) == before
