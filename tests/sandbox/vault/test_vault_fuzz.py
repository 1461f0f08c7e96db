"""Any JSON in, an answer out: 2xx or a refusal in Azure's shape, never an exception."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.sandbox.arm.app import ROUTES as ARM_ROUTES
from skrkit.sandbox.vault.app import ROUTES as VAULT_ROUTES
from tests.sandbox.arm.test_arm_clients import VAULT, VM
from tests.sandbox.vault.attested import POLICY, encoded
from tests.sandbox.vault.azure import SUBSCRIPTION, Azure

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["RSA-HSM", "EC", "AAAA"])
MEMBERS = [
    "kty", "key_size", "crv", "key_ops", "attributes", "enabled", "nbf", "exp", "exportable", "tags", "release_policy",
    "data", "immutable", "contentType", "key", "Hsm", "n", "e", "d", "x", "y", "target", "enc", "nonce", "alg", "value",
    "digest", "location", "properties", "identity", "type", "accessPolicies", "permissions", "keys", "objectId",
    "tenantId", "sku", "name", "family", "hardwareProfile", "vmSize", "securityProfile", "storageProfile", "osProfile",
    "keyOps", "createMode", "softDeleteRetentionInDays", "networkAcls", "publicNetworkAccess", "zones",
]  # fmt: skip


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4)


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | _objects(inner), max_leaves=6)
BODIES = _objects(VALUES)
POSTED = [(method, path) for method, path, _, _ in VAULT_ROUTES if method in ("POST", "PUT", "PATCH")]
WRITTEN = [(method, path) for method, path, _, _ in ARM_ROUTES if method in ("POST", "PUT", "PATCH")]
PLAIN = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """One sandbox for the whole file, with a vault, two keys and a VM to write over."""
    home: Path = tmp_path_factory.mktemp("fuzz")
    made = Azure(home)
    made.make_group()
    made.make_vault("premium")
    made.vault("POST", "/keys/rsa/create", {"kty": "RSA-HSM"})
    made.vault("POST", "/keys/ec/create", {"kty": "EC"})
    path = "/providers/Microsoft.Compute/virtualMachines/cvm?api-version=2026-04-01"
    made.arm("PUT", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg{path}", VM)
    yield made
    made.world.store.close()


def _answered(answer: Any) -> None:
    if answer.status_code >= 400:
        assert answer.status_code < 500 or answer.json()["error"]["code"] == "NotInSandbox"
        assert set(answer.json()["error"]) >= {"code", "message"}


@PLAIN
@given(route=st.sampled_from(POSTED), name=st.sampled_from(["rsa", "ec"]), body=BODIES)
def test_the_vault_answers(azure: Azure, route: tuple[str, str], name: str, body: Any) -> None:
    method, path = route
    _answered(azure.vault(method, path.format(name=name, version="0" * 32), body))
    if "{version}" in path:
        _answered(azure.vault(method, path.replace("/{version}", "").format(name=name), body))


@PLAIN
@given(route=st.sampled_from(WRITTEN), body=BODIES)
def test_resource_manager_answers(azure: Azure, route: tuple[str, str], body: Any) -> None:
    method, path = route
    names = {"subscription": SUBSCRIPTION, "group": "rg", "vault": "premium", "vm": "cvm", "kind": "add",
             "name": "k", "location": "westeurope", "namespace": "Microsoft.Compute",
             "scope": f"/subscriptions/{SUBSCRIPTION}"}  # fmt: skip
    _answered(azure.arm(method, path.format_map(defaultdict(lambda: "other", names)) + "?api-version=2026-05-15", body))


GOOD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vm": ("PUT", "/providers/Microsoft.Compute/virtualMachines/cvm2", VM | {"identity": {"type": "SystemAssigned"}}),
    "vault": ("PUT", "/providers/Microsoft.KeyVault/vaults/other", VAULT),
    "patched vm": ("PATCH", "/providers/Microsoft.Compute/virtualMachines/cvm", VM),
    "patched vault": ("PATCH", "/providers/Microsoft.KeyVault/vaults/premium", VAULT),
    "created": ("POST", "/keys/made/create", {
        "kty": "EC-HSM", "crv": "P-256", "key_ops": ["sign"], "attributes": {"exportable": True, "exp": 1 << 33},
        "tags": {"a": "b"}, "release_policy": {"data": encoded(POLICY), "contentType": "t", "immutable": False},
    }),
    "imported": ("PUT", "/keys/brought", {"key": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}}),
    "updated": ("PATCH", "/keys/ec", {"attributes": {"enabled": True}, "tags": {"a": "b"}, "key_ops": ["sign"]}),
    "released": ("POST", "/keys/ec/release", {"target": "a.b.c", "enc": "RSA_AES_KEY_WRAP_256", "nonce": "n"}),
}  # fmt: skip


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every member and item of a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, inner in members for path in ((*at, name), *_places(inner, (*at, name)))]


@PLAIN
@given(data=st.data(), name=st.sampled_from(list(GOOD)), value=VALUES)
def test_one_odd_member_in_a_good_body(azure: Azure, data: Any, name: str, value: Any) -> None:
    method, path, good = GOOD[name]
    body = json.loads(json.dumps(good))
    *outer, last = data.draw(st.sampled_from(_places(good)))
    parent = body
    for step in outer:
        parent = parent[step]
    parent[last] = value
    if path.startswith("/keys"):
        _answered(azure.vault(method, path, body))
    else:
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
        _answered(azure.arm(method, f"{group}{path}?api-version=2026-05-15", body))
