"""The rules of exportable keys, the doors of the vault, and the words of each refusal."""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from typing import Any

import pytest
import requests

from skrkit.encoding import b64url
from skrkit.sandbox import entra
from tests.sandbox.vault.attested import POLICY, encoded
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, Azure, error_of

SKR_1001 = (
    "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'."
)
SKR_1004 = "AKV.SKR.1004: Exportable keys must have release policy."
SKR_1005 = "AKV.SKR.1005: Non-exportable keys must not have release policy."
SKR_1013 = "AKV.SKR.1013: Malformed Key Release Policy - Unable to Json Deserialize the policy object."
SKR_1014 = "AKV.SKR.1014: Cannot modify the exportable state of a key."
SKR_1020 = "AKV.SKR.1020: Immutable Key Release Policy cannot be modified."


def create(azure: Azure, name: str = "k", /, *, api: str = "7.6", vault: str = "premium", **body: Any) -> Any:
    return azure.vault("POST", f"/keys/{name}/create", {"kty": "EC-HSM"} | body, api=api, vault=vault)


def exportable(policy: Any = POLICY, **members: Any) -> dict[str, Any]:
    return {"attributes": {"exportable": True}, "release_policy": {"data": encoded(policy), **members}}


def changed(**members: Any) -> dict[str, Any]:
    policy = json.loads(json.dumps(POLICY))
    policy["anyOf"][0].update(members)
    result: dict[str, Any] = policy
    return result


@pytest.mark.parametrize(
    ("body", "vault", "api", "message"),
    [
        (exportable(), "standard", "7.6", SKR_1001),
        (exportable(), "premium", "7.2", SKR_1001),
        ({"attributes": {"exportable": True}}, "premium", "7.6", SKR_1004),
        ({"attributes": {"exportable": True}, "release_policy": {}}, "premium", "7.6", SKR_1004),
        ({"release_policy": {"data": encoded(POLICY)}}, "premium", "7.6", SKR_1005),
        (exportable() | {"kty": "EC"}, "premium", "7.6", "AKV.SKR.1006: "),
        (exportable({"x": 1}), "premium", "7.6", SKR_1013),
    ],
)
def test_each_rule_of_exportable_keys(azure: Azure, body: Any, vault: str, api: str, message: str) -> None:
    status, code, inner, found = error_of(create(azure, api=api, vault=vault, **body))
    assert (status, code, inner) == (400, "BadParameter", "")
    assert found == message or found.startswith(message if message.endswith(": ") else "\0")
    assert azure.world.store.list("vault-key") == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"attributes": {"exportable": "true"}}, '"exportable" must be true or false'),
        ({"attributes": {"exportable": 1}}, '"exportable" must be true or false'),
        (exportable(immutable="true"), '"immutable" must be true or false'),
        (exportable(immutable=1), '"immutable" must be true or false'),
        (exportable(contentType=7), '"contentType" must be a string'),
        (exportable() | {"release_policy": encoded(POLICY)}, '"release_policy" must be an object'),
    ],
)
def test_what_is_nearly_true_is_refused_and_not_taken_for_false(azure: Azure, body: Any, words: str) -> None:
    """A key that somebody wanted exportable, or a policy immutable, must not come out otherwise without a word."""
    assert words in error_of(create(azure, **body))[3]
    assert create(azure, "there", **exportable()).status_code == 200
    changed = error_of(azure.vault("PATCH", "/keys/there", body))
    assert (changed[0], words in changed[3]) == (400, True)


M = {"claim": "c", "equals": "v"}
MALFORMED: dict[str, str] = {
    "not base64url": "{}",
    "padded": base64.urlsafe_b64encode(b'{"version":"1.0.0"} ').decode(),
    "an array": encoded([POLICY]),
    "no anyOf": encoded({"version": "1.0.0"}),
    "empty anyOf": encoded({"version": "1.0.0", "anyOf": []}),
    "both allOf and anyOf": encoded(changed(anyOf=[M])),
    "neither": encoded({"version": "1.0.0", "anyOf": [{"authority": "https://a.example"}]}),
    "no operator": encoded(changed(allOf=[{"claim": "c"}])),
    "value an object": encoded(changed(allOf=[{"claim": "c", "equals": {}}])),
    "unknown operator": encoded(changed(allOf=[{"claim": "c", "matches": "v"}])),
    "allOf on top": encoded({"version": "1.0.0", "allOf": POLICY["anyOf"]}),
    "encoded twice": b64url(encoded(POLICY).encode()),
    "with a byte order mark": b64url(b"\xef\xbb\xbf" + json.dumps(POLICY).encode()),
}


@pytest.mark.parametrize("name", list(MALFORMED))
def test_malformed_policies(azure: Azure, name: str) -> None:
    body: dict[str, Any] = {"attributes": {"exportable": True}, "release_policy": {"data": MALFORMED[name]}}
    assert error_of(create(azure, **body)) == (400, "BadParameter", "", SKR_1013)


def test_a_malformed_policy_of_a_key_that_is_not_exportable_is_dropped(azure: Azure) -> None:
    answer = create(azure, release_policy={"data": encoded({"x": 1})})
    assert answer.status_code == 200
    assert "release_policy" not in answer.json()


def test_a_policy_is_rewritten_as_vaults_do(azure: Azure) -> None:
    text = json.dumps(
        {"anyOf": [{"allOf": [{"equals": True, "claim": "c"}, M], "authority": "https://a.example"}],
         "version": "1.0.0"}, indent=2,
    )  # fmt: skip
    body: dict[str, Any] = {"attributes": {"exportable": True}, "release_policy": {"data": b64url(text.encode())}}
    stored = create(azure, **body).json()["release_policy"]
    assert list(stored) == ["contentType", "data", "immutable"]
    assert (stored["contentType"], stored["immutable"]) == ("application/json; charset=utf-8", False)
    assert base64.urlsafe_b64decode(stored["data"] + "==") == (
        b'{"version":"1.0.0","anyOf":[{"authority":"https://a.example","allOf":[{"claim":"c","equals":"true"},'
        b'{"claim":"c","equals":"v"}]}]}'
    )


def test_the_vector_of_the_reference(azure: Azure) -> None:
    vector = (
        "eyJ2ZXJzaW9uIjoiMS4wLjAiLCJhbnlPZiI6W3siYXV0aG9yaXR5IjoiaHR0cHM6Ly9hdHRlc3QtYS5leGFtcGxlIiwiYWxsT2YiOlt7ImNsYWlt"
        "IjoieC1tcy1hdHRlc3RhdGlvbi10eXBlIiwiZXF1YWxzIjoic2V2c25wdm0ifV19XX0"
    )
    body: dict[str, Any] = {"attributes": {"exportable": True}, "release_policy": {"data": vector}}
    assert create(azure, **body).json()["release_policy"]["data"] == vector


def test_exportable_belongs_to_the_name(azure: Azure) -> None:
    assert create(azure, **exportable()).status_code == 200
    assert error_of(create(azure))[3].startswith("AKV.SKR.1003: ")
    second = create(azure, attributes={"exportable": True})
    assert second.json()["release_policy"]["data"] == encoded_compact(POLICY)
    other = create(azure, **exportable(changed(authority="https://other.example")))
    assert error_of(other)[3].startswith("AKV.SKR.1016: ")
    assert create(azure, "plain").status_code == 200
    assert error_of(create(azure, "plain", **exportable()))[3].startswith("AKV.SKR.1003: ")


def encoded_compact(policy: Any) -> str:
    return b64url(json.dumps(policy, separators=(",", ":")).encode())


def test_updates_of_exportable_keys(azure: Azure) -> None:
    version = create(azure, **exportable()).json()["key"]["kid"].rsplit("/", 1)[1]
    fresh = {"release_policy": {"data": encoded(changed(authority="https://other.example"))}}

    def patch(body: Any, path: str = "/keys/k/") -> tuple[int, str, str, str]:
        return error_of(azure.vault("PATCH", path, body))

    assert patch({"attributes": {"exportable": False}}) == (400, "BadParameter", "", SKR_1014)
    assert patch(fresh, f"/keys/k/{version}")[3].startswith("AKV.SKR.1016: ")
    assert patch({"release_policy": {"data": "e30"}})[3] == SKR_1013
    good = azure.vault("PATCH", "/keys/k/", fresh | {"attributes": {"exportable": True}})
    assert json.loads(base64.urlsafe_b64decode(good.json()["release_policy"]["data"] + "==")) == changed(
        authority="https://other.example"
    )
    fresh["release_policy"]["immutable"] = True  # type: ignore[assignment]
    assert azure.vault("PATCH", "/keys/k/", fresh).json()["release_policy"]["immutable"] is True
    assert patch({"release_policy": {"data": encoded(POLICY)}}) == (400, "BadParameter", "", SKR_1020)
    assert create(azure, "plain").status_code == 200
    assert patch(fresh, "/keys/plain") == (400, "BadParameter", "", SKR_1005)


def test_hardware_keys_need_a_premium_vault(azure: Azure) -> None:
    expected = (403, "Forbidden", "", "Hardware key operation not allowed on standard vault")
    for kty in ("RSA-HSM", "EC-HSM"):
        assert error_of(create(azure, vault="standard", kty=kty)) == expected
    assert create(azure, vault="standard", kty="EC").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"kty": None}, {"kty": "oct-HSM"}, {"kty": "RSA", "key_size": 1024}, {"kty": "RSA", "key_size": "2048"},
        {"crv": "P-192"}, {"key_ops": ["encrypt"]}, {"key_ops": ["fly"]}, {"key_ops": "sign"},
        {"attributes": {"enabled": "yes"}}, {"attributes": {"exp": -1}}, {"attributes": {"nbf": 2, "exp": 1}},
        {"attributes": []}, {"tags": {str(n): "" for n in range(16)}}, {"tags": {"a": "b" * 257}}, {"tags": {"a": 1}},
    ],
)  # fmt: skip
def test_bad_parameters_make_no_key(azure: Azure, body: dict[str, Any]) -> None:
    assert error_of(create(azure, **body))[:2] == (400, "BadParameter")
    assert azure.world.store.list("vault-key") == []


def test_a_name_is_letters_digits_and_hyphens(azure: Azure) -> None:
    assert error_of(create(azure, "a_b"))[:2] == (400, "BadParameter")
    assert error_of(create(azure, "a" * 128))[:2] == (400, "BadParameter")
    assert create(azure, "a" * 127).status_code == 200


def test_what_a_key_may_do_depends_on_its_state(azure: Azure) -> None:
    azure.vault("POST", "/keys/r/create", {"kty": "RSA", "key_ops": ["sign", "verify", "decrypt"]})
    digest = {"alg": "RS256", "value": b64url(bytes(32))}
    check = {"alg": "RS256", "digest": b64url(bytes(32)), "value": b64url(bytes(256))}

    def use(operation: str, body: Any) -> Any:
        answer = azure.vault("POST", f"/keys/r/{operation}", body)
        return answer.status_code if answer.status_code == 200 else error_of(answer)

    assert use("sign", digest) == 200
    assert use("encrypt", digest) == (
        403, "Forbidden", "KeyOperationForbidden", "Operation encrypt is not permitted on this key.",
    )  # fmt: skip
    now = int(azure.clock.time.timestamp())
    azure.vault("PATCH", "/keys/r/", {"attributes": {"exp": now + 10}})
    azure.clock.time += timedelta(seconds=10)
    assert use("sign", digest)[:3] == (403, "Forbidden", "KeyExpired")
    assert use("verify", check) == 200
    azure.vault("PATCH", "/keys/r/", {"attributes": {"nbf": now + 100, "exp": now + 200}})
    assert use("sign", digest)[:3] == (403, "Forbidden", "KeyNotYetValid")
    azure.vault("PATCH", "/keys/r/", {"attributes": {"enabled": False}})
    expected = (403, "Forbidden", "KeyDisabled", "Operation verify is not allowed on a disabled key.")
    assert use("verify", check) == expected
    assert azure.vault("GET", "/keys/r/").status_code == 200


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("sign", {"alg": "RS256", "value": b64url(bytes(31))}), ("sign", {"alg": "ES256", "value": b64url(bytes(32))}),
        ("sign", {"alg": "RS256"}), ("sign", {"value": b64url(bytes(32))}), ("sign", {"alg": "RS256", "value": "a+b="}),
        ("sign", {"alg": "RSNULL", "value": b64url(bytes(300))}), ("encrypt", {"alg": "A128KW", "value": "AA"}),
        ("encrypt", {"alg": "RSA-OAEP", "value": b64url(bytes(300))}),
        ("decrypt", {"alg": "RSA-OAEP", "value": b64url(bytes(256))}), ("decrypt", {"alg": "RSA-OAEP", "value": "AA"}),
    ],
)  # fmt: skip
def test_bad_operands(azure: Azure, operation: str, body: dict[str, Any]) -> None:
    azure.vault("POST", "/keys/r/create", {"kty": "RSA"})
    assert error_of(azure.vault("POST", f"/keys/r/{operation}", body))[:2] == (400, "BadParameter")


def test_an_ec_key_signs_with_its_own_curve_only(azure: Azure) -> None:
    create(azure, "e", crv="P-384")
    for algorithm, size in (("ES256", 32), ("ES512", 64), ("RS256", 32), ("ES384", 32)):
        answer = azure.vault("POST", "/keys/e/sign", {"alg": algorithm, "value": b64url(bytes(size))})
        assert error_of(answer)[:2] == (400, "BadParameter")
    assert azure.vault("POST", "/keys/e/encrypt", {"alg": "RSA1_5", "value": "AA"}).status_code == 403


def test_not_found(azure: Azure) -> None:
    tail = (
        " was not found in this key vault. If you recently deleted this key you may be able to recover it using the "
        "correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
    )
    version = "0" * 32
    for path, name in (("/keys/none", "none"), (f"/keys/none/{version}", f"none/{version}")):
        assert error_of(azure.vault("GET", path)) == (404, "KeyNotFound", "", f"A key with (name/id) {name}{tail}")
    create(azure, "k")
    assert error_of(azure.vault("GET", f"/keys/k/{version}"))[1] == "KeyNotFound"
    assert error_of(azure.vault("GET", "/deletedkeys/k")) == (404, "KeyNotFound", "", "Deleted Key not found: k")
    assert azure.vault("GET", "/keys/k/versions").json()["nextLink"] is None
    assert azure.vault("GET", "/keys/none/versions").json()["value"] == []


def test_purge_protection(azure: Azure) -> None:
    azure.make_vault("safe", enablePurgeProtection=True, softDeleteRetentionInDays=7)
    shown = create(azure, vault="safe").json()["attributes"]
    assert (shown["recoveryLevel"], shown["recoverableDays"]) == ("CustomizedRecoverable", 7)
    azure.vault("DELETE", "/keys/k", vault="safe")
    status, code, _, message = error_of(azure.vault("DELETE", "/deletedkeys/k", vault="safe"))
    assert (status, code) == (403, "Forbidden")
    assert message == (
        'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will '
        "automatically purge it after the retention period has passed.\r\nVault: safe;location=westeurope"
    )


# --- doors


def ask(azure: Azure, token: str | None, path: str = "/keys?api-version=7.6") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return azure.session().get(f"https://premium.vault.azure.net{path}", headers=headers, timeout=5)


def issued(azure: Azure, resource: str = "https://vault.azure.net", principal: Any = OPERATOR) -> str:
    token: str = entra.issue_token(azure.world, principal=principal, resource=resource, lifetime_s=600)
    return token


def test_the_challenge(azure: Azure) -> None:
    answer = ask(azure, None)
    expected = (401, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.")
    assert error_of(answer) == expected
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="https://vault.azure.net"'
    )


def test_each_bad_token_is_named(azure: Azure) -> None:
    for audience in ("https://management.azure.com", "https://vault.azure.net/", "https://managedhsm.azure.net"):
        message = f"AKV10022: Invalid audience. Expected https://vault.azure.net, found: {audience}."
        assert error_of(ask(azure, issued(azure, audience))) == (401, "Unauthorized", "", message)
    guest = entra.Principal(oid=OPERATOR.oid, appid=OPERATOR.appid, tid=SUBSCRIPTION, mirid=None)
    message = (
        f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{TENANT}/, "
        f"found https://sts.windows.net/{SUBSCRIPTION}/."
    )
    assert error_of(ask(azure, issued(azure, principal=guest))) == (401, "Unauthorized", "", message)
    token = issued(azure)
    broken = token[:-10] + ("A" * 10 if not token.endswith("A" * 10) else "B" * 10)
    message = "AKV10046: Unable to resolve the key used for signature validation"
    assert error_of(ask(azure, broken)) == (401, "Unauthorized", "", message)
    assert error_of(ask(azure, "no token"))[:2] == (401, "Unauthorized")
    azure.clock.time += timedelta(seconds=1200)
    message = "[TokenExpired] Error validating token: 'S2S12086'."
    assert error_of(ask(azure, token)) == (401, "Unauthorized", "", message)


def test_api_versions(azure: Azure) -> None:
    assert error_of(ask(azure, issued(azure), "/keys"))[:2] == (400, "BadParameter")
    message = "The specified version (7.9) is not recognized. Consider using the latest supported version (2025-07-01)."
    assert error_of(ask(azure, issued(azure), "/keys?api-version=7.9")) == (400, "BadParameter", "", message)
    assert "exportable" not in create(azure, api="7.2").json()["attributes"]
    assert "hsmPlatform" not in create(azure, api="7.4").json()["attributes"]
    assert create(azure, api="7.5").json()["attributes"]["hsmPlatform"] == "2"


def test_headers_of_an_answer_and_of_a_refusal(azure: Azure) -> None:
    for path, status in (("/keys", 200), ("/keys/none", 404)):
        answer = azure.vault("GET", path, headers={"x-ms-client-request-id": "abc"})
        assert answer.status_code == status
        assert answer.headers["x-ms-keyvault-region"] == "westeurope"
        assert answer.headers["x-ms-client-request-id"] == "abc"
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-ms-request-id"])
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"


def test_a_vault_that_is_not_there(azure: Azure) -> None:
    answer = azure.vault("GET", "/keys", vault="nobody")
    assert error_of(answer)[:2] == (404, "VaultNotFound")
    assert "No vault is called nobody" in error_of(answer)[3]


def test_a_vault_with_roles_refuses_everybody(azure: Azure) -> None:
    azure.make_vault("roles", enableRbacAuthorization=True)
    status, code, inner, message = error_of(azure.vault("POST", "/keys/k/release", {}, vault="roles"))
    assert (status, code, inner) == (403, "Forbidden", "ForbiddenByRbac")
    lines = message.split("\r\n")
    assert lines[0] == "Caller is not authorized to perform action on resource."
    assert f"Caller: appid={OPERATOR.appid};oid={OPERATOR.oid};iss=https://sts.windows.net/{TENANT}/" in lines
    assert "Action: 'Microsoft.KeyVault/vaults/keys/release/action'" in lines
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    assert f"Resource: '{group}/providers/Microsoft.KeyVault/vaults/roles/keys/k'" in lines
    assert lines[-1] == "Vault: roles;location=westeurope"


def test_a_private_vault_refuses_everybody(azure: Azure) -> None:
    azure.make_vault("private", publicNetworkAccess="Disabled")
    assert error_of(azure.vault("GET", "/keys", vault="private"))[:3] == (403, "Forbidden", "ForbiddenByConnection")


def test_a_grant_to_another_is_no_grant(azure: Azure) -> None:
    answer = azure.vault("GET", "/keys", principal=STRANGER)
    assert error_of(answer)[:3] == (403, "Forbidden", "AccessDenied")
    assert "does not have keys list permission on key vault 'premium;location=westeurope'" in error_of(answer)[3]


@pytest.mark.parametrize(
    "query", ["maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=%25", "$skiptoken=e30="]
)
def test_bad_pages(azure: Azure, query: str) -> None:
    answer = ask(azure, issued(azure), f"/keys?api-version=7.6&{query}")
    assert error_of(answer)[:2] == (400, "BadParameter")


def test_verbs_can_be_overridden_and_others_are_not_here(azure: Azure) -> None:
    create(azure)
    answer = azure.vault("POST", "/keys/k", {"tags": {"a": "b"}}, headers={"X-HTTP-METHOD": "PATCH"})
    assert answer.json()["tags"] == {"a": "b"}
    assert error_of(azure.vault("GET", "/secrets"))[:2] == (501, "NotInSandbox")
    assert azure.vault("POST", "/keys/k/create", None).status_code == 400


def test_a_body_that_is_no_object(azure: Azure) -> None:
    bodies: list[Any] = [[], "text", {"kty": "EC", "x": "y" * 300_000}]
    for body in bodies:
        answer = azure.vault("POST", "/keys/k/create", body)
        assert answer.status_code in (400, 413)
        assert answer.json()["error"]["code"] in ("BadParameter", "RequestEntityTooLarge")
