"""A key in all its ways: each rule of exportable keys on each path, windows of validity, disabled keys, backups."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.keyvault.keys import JsonWebKey, KeyReleasePolicy, KeyType
from cryptography.hazmat.primitives.asymmetric import ec

from skrkit.encoding import b64url
from tests.sandbox.vault.attested import POLICY, claims, encoded, token
from tests.sandbox.vault.azure import SUBSCRIPTION, Azure, error_of

OWN = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
DIGEST = b64url(b"\1" * 32)


def own_jwk(kty: str = "EC-HSM", **members: Any) -> dict[str, Any]:
    point = OWN.public_key().public_numbers()
    octets = {"x": point.x, "y": point.y, "d": OWN.private_numbers().private_value}
    coordinates = {name: b64url(value.to_bytes(32, "big")) for name, value in octets.items()}
    return {"kty": kty, "crv": "P-256", **coordinates, **members}


def releasable(policy: Any = POLICY, **members: Any) -> dict[str, Any]:
    return {"attributes": {"exportable": True}, "release_policy": {"data": encoded(policy), **members}}


# --- every way in is held to the same rules

BY_CREATE = ("POST", "/keys/k/create", {"kty": "EC-HSM"})
BY_IMPORT = ("PUT", "/keys/k", {"key": own_jwk()})
BY_IMPORT_AS_HSM = ("PUT", "/keys/k", {"key": own_jwk("EC"), "Hsm": True})
BY_GO_CLIENT = ("PUT", "/keys/k", {"key": own_jwk("EC"), "hsm": True})
WAYS = (BY_CREATE, BY_IMPORT, BY_IMPORT_AS_HSM, BY_GO_CLIENT)
PREMIUM_ONLY = (
    "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'."
)
RULES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "1001, api-version": (releasable(), {"api": "7.2"}, PREMIUM_ONLY),
    "1001, vault": (releasable(), {"vault": "standard"}, PREMIUM_ONLY),
    "1004": ({"attributes": {"exportable": True}}, {}, "AKV.SKR.1004: Exportable keys must have release policy."),
    "1005": (
        {"release_policy": {"data": encoded(POLICY)}},
        {},
        "AKV.SKR.1005: Non-exportable keys must not have release policy.",
    ),
    "1013": (
        {"attributes": {"exportable": True}, "release_policy": {"data": json.dumps(POLICY)}},
        {},
        "AKV.SKR.1013: Malformed Key Release Policy - Unable to Json Deserialize the policy object.",
    ),
}


@pytest.mark.parametrize("way", WAYS, ids=("create", "import", "import Hsm", "import hsm"))
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_on_each_way_in(azure: Azure, way: tuple[str, str, dict[str, Any]], rule: str) -> None:
    method, path, body = way
    more, where, message = RULES[rule]
    assert error_of(azure.vault(method, path, body | more, **where)) == (400, "BadParameter", "", message)  # type: ignore[arg-type]
    assert azure.world.store.count("vault-key") == 0


@pytest.mark.parametrize("way", WAYS, ids=("create", "import", "import Hsm", "import hsm"))
def test_each_way_makes_a_key_that_can_be_released(azure: Azure, way: tuple[str, str, dict[str, Any]]) -> None:
    method, path, body = way
    made = azure.vault(method, path, body | releasable()).json()
    assert (made["key"]["kty"], made["attributes"]["exportable"]) == ("EC-HSM", True)
    answer = azure.vault("POST", "/keys/k/release", {"target": token(azure, claims(azure))})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/keys/k/create", {"kty": "EC"}),
        ("PUT", "/keys/k", {"key": own_jwk("EC")}),
    ],
)
def test_a_software_key_cannot_be_exportable(azure: Azure, method: str, path: str, body: dict[str, Any]) -> None:
    status, code, _, message = error_of(azure.vault(method, path, body | releasable()))
    assert (status, code) == (400, "BadParameter")
    assert message.startswith("AKV.SKR.1006: ")


@pytest.mark.parametrize("way", WAYS, ids=("create", "import", "import Hsm", "import hsm"))
def test_a_name_stays_what_it_is(azure: Azure, way: tuple[str, str, dict[str, Any]]) -> None:
    method, path, body = way
    assert azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"} | releasable()).status_code == 200
    assert error_of(azure.vault(method, path, body))[3].startswith("AKV.SKR.1003: ")
    assert azure.vault("POST", "/keys/p/create", {"kty": "EC-HSM"}).status_code == 200
    assert error_of(azure.vault(method, path.replace("/keys/k", "/keys/p"), body | releasable()))[3].startswith(
        "AKV.SKR.1003: "
    )


def test_resource_manager_is_held_to_the_rules_too(azure: Azure) -> None:
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/premium/keys/k"
    for rule in ("1004", "1005", "1013"):
        more, _, message = RULES[rule]
        answer = azure.arm("PUT", f"{path}?api-version=2026-05-15", {"properties": {"kty": "EC-HSM"} | more})
        assert answer.status_code == 400
        assert message in answer.text.replace('\\"', '"')
    good = {"properties": {"kty": "EC-HSM"} | releasable()}
    made = azure.arm("PUT", f"{path}?api-version=2026-05-15", good).json()["properties"]
    assert made["attributes"]["exportable"] is True
    assert "immutable" not in made["release_policy"]


def test_an_immutable_policy_stays_whatever_comes(azure: Azure) -> None:
    assert azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"} | releasable(immutable=True)).status_code == 200
    before = azure.vault("GET", "/keys/k").json()
    other = {"version": "1.0.0", "anyOf": [POLICY["anyOf"][0] | {"authority": "https://other.weu.attest.azure.net"}]}
    immutable = "AKV.SKR.1020: Immutable Key Release Policy cannot be modified."
    for change in ({"data": encoded(other)}, {"data": encoded(POLICY), "immutable": False}):
        assert error_of(azure.vault("PATCH", "/keys/k", {"release_policy": change}))[3] == immutable
    assert error_of(azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"} | releasable(other)))[3] == immutable
    assert azure.vault("GET", "/keys/k").json() == before
    assert azure.vault("POST", "/keys/k/rotate").json()["release_policy"] == before["release_policy"]
    assert azure.vault("PATCH", "/keys/k", {"tags": {"a": "b"}}).status_code == 200  # what is no policy may change


def test_the_sdk_imports_an_own_key_with_a_policy(azure: Azure) -> None:
    jwk = JsonWebKey(
        kty="EC-HSM", crv="P-256", **{name: _octets(own_jwk()[name]) for name in ("x", "y", "d")}
    )  # fmt: skip
    policy = KeyReleasePolicy(json.dumps(POLICY).encode(), immutable=True)
    made: Any = azure.keys().import_key("k", jwk, hardware_protected=True, exportable=True, release_policy=policy)
    assert (made.key_type, made.properties.exportable) == (KeyType.ec_hsm, True)
    assert made.properties.release_policy.immutable is True


def _octets(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- when a key may be used

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "encrypt": ("RSA-HSM", {"alg": "RSA-OAEP", "value": b64url(b"x")}),
    "wrapKey": ("RSA-HSM", {"alg": "RSA-OAEP", "value": b64url(b"x")}),
    "decrypt": ("RSA-HSM", {"alg": "RSA-OAEP"}),
    "unwrapKey": ("RSA-HSM", {"alg": "RSA-OAEP"}),
    "sign": ("EC-HSM", {"alg": "ES256", "value": DIGEST}),
    "verify": ("EC-HSM", {"alg": "ES256", "digest": DIGEST}),
    "release": ("EC-HSM", {}),
}
OPEN_OUTSIDE = {"decrypt", "unwrapKey", "verify", "release"}


def prepared(azure: Azure, operation: str) -> dict[str, Any]:
    """Make the key, and what the operation is done with; return its body."""
    kty, body = CALLS[operation]
    body = dict(body)
    assert azure.vault("POST", "/keys/k/create", {"kty": kty} | releasable()).status_code == 200
    if operation in ("decrypt", "unwrapKey"):
        sealed = azure.vault("POST", "/keys/k/encrypt", CALLS["encrypt"][1])
        body["value"] = sealed.json()["value"]
    if operation == "verify":
        body["value"] = azure.vault("POST", "/keys/k/sign", CALLS["sign"][1]).json()["value"]
    if operation == "release":
        body["target"] = token(azure, claims(azure))
    return body


@pytest.mark.parametrize("operation", CALLS)
def test_the_window_of_validity(azure: Azure, operation: str) -> None:
    """Azure's documents: outside the window all is refused but decrypt, release, unwrap and verify."""
    body = prepared(azure, operation)
    now = int(azure.clock.time.timestamp())
    windows = {"before nbf": {"nbf": now + 60}, "at exp": {"exp": now}, "inside": {"nbf": now, "exp": now + 1}}
    for window, attributes in windows.items():
        wide = {"nbf": 0, "exp": 4_000_000_000} | attributes
        assert azure.vault("PATCH", "/keys/k", {"attributes": wide}).status_code == 200
        answer = azure.vault("POST", f"/keys/k/{operation.lower()}", body)
        if window == "inside" or operation in OPEN_OUTSIDE:
            assert answer.status_code == 200, (window, answer.text)
        else:
            status, code, inner, _ = error_of(answer)
            assert (status, code) == (403, "Forbidden")
            assert inner == ("KeyExpired" if window == "at exp" else "KeyNotYetValid")


@pytest.mark.parametrize("operation", CALLS)
def test_a_disabled_key_does_nothing(azure: Azure, operation: str) -> None:
    body = prepared(azure, operation)
    azure.vault("PATCH", "/keys/k", {"attributes": {"enabled": False}})
    answer = azure.vault("POST", f"/keys/k/{operation.lower()}", body)
    words = f"Operation {operation} is not allowed on a disabled key."
    assert error_of(answer) == (403, "Forbidden", "KeyDisabled", words)
    assert azure.vault("GET", "/keys/k").json()["attributes"]["enabled"] is False
    azure.vault("PATCH", "/keys/k", {"attributes": {"enabled": True}})
    assert azure.vault("POST", f"/keys/k/{operation.lower()}", body).status_code == 200


def test_one_version_can_be_disabled_alone(azure: Azure) -> None:
    first = azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"} | releasable()).json()
    version = first["key"]["kid"].rpartition("/")[2]
    azure.vault("POST", "/keys/k/rotate")
    azure.vault("PATCH", f"/keys/k/{version}", {"attributes": {"enabled": False}})
    target = {"target": token(azure, claims(azure))}
    assert azure.vault("POST", f"/keys/k/{version}/release", target).status_code == 403
    assert azure.vault("POST", "/keys/k/release", target).status_code == 200


# --- backup


def test_a_backup_goes_into_another_vault_of_the_subscription(azure: Azure) -> None:
    azure.make_vault("second")
    for _ in range(3):
        assert azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"} | releasable()).status_code == 200
    before: Any = azure.keys().get_key("k")
    blob = azure.keys().backup_key("k")
    with pytest.raises(ResourceExistsError):
        azure.keys().restore_key_backup(blob)
    restored: Any = azure.keys("second").restore_key_backup(blob)
    assert restored.id == str(before.id).replace("premium", "second")
    assert (restored.key.x, restored.properties.exportable) == (before.key.x, True)
    assert len(list(azure.keys("second").list_properties_of_key_versions("k"))) == 3
    target = {"target": token(azure, claims(azure))}
    assert azure.vault("POST", "/keys/k/release", target, vault="second").status_code == 200


def test_a_backup_is_a_copy_of_its_moment(azure: Azure) -> None:
    azure.make_vault("second")
    azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"})
    blob = azure.vault("POST", "/keys/k/backup").json()
    azure.vault("PATCH", "/keys/k", {"tags": {"later": "yes"}})
    assert "tags" not in azure.vault("POST", "/keys/restore", blob, vault="second").json()


def test_a_standard_vault_takes_no_backup_of_an_hsm_key(azure: Azure) -> None:
    azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"})
    blob = azure.vault("POST", "/keys/k/backup").json()
    refused = azure.vault("POST", "/keys/restore", blob, vault="standard")
    assert error_of(refused)[:2] == (403, "Forbidden")
    assert "Hardware key operation not allowed on standard vault" in refused.text
    azure.vault("POST", "/keys/s/create", {"kty": "EC"})
    soft = azure.vault("POST", "/keys/s/backup").json()
    assert azure.vault("POST", "/keys/restore", soft, vault="standard").status_code == 200


def test_a_deleted_name_takes_no_backup(azure: Azure) -> None:
    azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"})
    blob = azure.vault("POST", "/keys/k/backup").json()
    azure.vault("DELETE", "/keys/k")
    assert error_of(azure.vault("POST", "/keys/restore", blob))[:3] == (
        409,
        "Conflict",
        "ObjectIsDeletedButRecoverable",
    )
    azure.clock.time += timedelta(days=91)
    assert azure.vault("POST", "/keys/restore", blob).status_code == 200
