"""Release: what comes out, for whom, and each refusal by itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyExportEncryptionAlgorithm, KeyReleasePolicy
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.sandbox.vault import attested
from tests.sandbox.vault.attested import KEK, POLICY, PROVIDER, claims, encoded, rsa_jwk, token
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, Azure, error_of

VERIFIED = "Target environment attestation statement cannot be verified."
REQUIREMENTS = "Target environment attestation does not meet key release policy requirements."
ENCS = {
    "CKM_RSA_AES_KEY_WRAP": hashes.SHA1(),
    "RSA_AES_KEY_WRAP_256": hashes.SHA256(),
    "RSA_AES_KEY_WRAP_384": hashes.SHA384(),
}


@pytest.fixture
def keys(azure: Azure) -> Any:
    return azure.keys()


@pytest.fixture
def key(keys: Any) -> Any:
    return make(keys)


def make(keys: Any, name: str = "skr", policy: Any = POLICY, **kind: Any) -> Any:
    release_policy = KeyReleasePolicy(json.dumps(policy).encode())
    return keys.create_ec_key(name, hardware_protected=True, exportable=True, release_policy=release_policy, **kind)


@pytest.mark.parametrize("enc", list(ENCS))
def test_the_sdk_releases_an_rsa_key(azure: Azure, keys: Any, enc: str) -> None:
    policy = KeyReleasePolicy(json.dumps(POLICY).encode())
    made = keys.create_rsa_key("skr", size=2048, hardware_protected=True, exportable=True, release_policy=policy)
    released = keys.release_key(
        "skr", token(azure, claims(azure)), algorithm=KeyExportEncryptionAlgorithm(enc), nonce="n-1"
    )
    assert "POST /keys/skr//release" in azure.seen  # the SDK's doubled slash, answered and not redirected
    private = attested.unwrapped(released.value, ENCS[enc])
    assert private.public_key().public_numbers().n == int.from_bytes(made.key.n, "big")
    assert len(attested.ciphertext(released.value)) in (1480, 1488)
    request = attested.part(released.value, 1)["request"]
    assert request == {
        "api-version": "2025-07-01", "enc": enc, "kid": "https://premium.vault.azure.net/keys/skr", "nonce": "n-1",
    }  # fmt: skip
    versioned = keys.release_key("skr", token(azure, claims(azure)), version=made.properties.version)
    request = attested.part(versioned.value, 1)["request"]
    assert request["enc"] == "CKM_RSA_AES_KEY_WRAP"
    assert request["kid"] == made.id
    assert "nonce" not in request


@pytest.mark.parametrize(("curve", "size"), [("P-256", 408), ("P-384", 456), ("P-521", 512), ("P-256K", 400)])
def test_ec_keys_have_the_sizes_of_the_reference(azure: Azure, keys: Any, curve: str, size: int) -> None:
    made = make(keys, curve=curve)
    jws = keys.release_key("skr", token(azure, claims(azure))).value
    assert len(attested.ciphertext(jws)) == size
    private = attested.unwrapped(jws, hashes.SHA1())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.public_key().public_numbers().x == int.from_bytes(made.key.x, "big")


def test_the_answer_is_signed_by_the_leaf_of_a_chain(azure: Azure, keys: Any, key: Any) -> None:
    jws = keys.release_key("skr", token(azure, claims(azure))).value
    header = attested.part(jws, 0)
    leaf, issuing, root = (x509.load_der_x509_certificate(base64.b64decode(text)) for text in header["x5c"])
    der = base64.b64decode(header["x5c"][0])
    assert header["alg"] == "RS256"
    assert header["kid"] == hashlib.sha1(der).hexdigest().upper()
    assert base64.urlsafe_b64decode(header["x5t#S256"] + "=") == hashlib.sha256(der).digest()
    jwt.PyJWS(algorithms=["RS256"]).decode(jws, key=leaf.public_key(), algorithms=["RS256"])  # type: ignore[arg-type]
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "vault.azure.net", "*.vault.azure.net", "*.vaultcore.azure.net",
    ]  # fmt: skip
    azure.world.cache.clear()  # as after a restart
    again = keys.release_key("skr", token(azure, claims(azure))).value
    assert attested.part(again, 0)["kid"] == header["kid"]


def test_the_answer_has_the_shape_of_a_real_one(azure: Azure, key: Any, captures: Path) -> None:
    path = captures / "maa-token-and-akv-release" / "release-response.json"
    real = json.loads(path.read_text())["value"]
    policy = {"data": encoded(POLICY)}
    body = {"kty": "RSA-HSM", "attributes": {"exportable": True, "nbf": 1, "exp": 1 << 32}, "tags": {},
            "release_policy": policy}  # fmt: skip
    assert azure.vault("POST", "/keys/shape/create", body, api="7.3").status_code == 200
    answer = azure.vault("POST", "/keys/shape/release", {"target": token(azure, claims(azure))}, api="7.3")
    made = answer.json()["value"]
    assert _names(attested.part(made, 0)) == _names(attested.part(real, 0))
    assert _names(attested.part(made, 1)) == _names(attested.part(real, 1))
    assert _names(attested.envelope(made)) == _names(attested.envelope(real))
    mine, theirs = (attested.part(jws, 1)["response"]["key"]["release_policy"] for jws in (made, real))
    assert mine == theirs  # POLICY is the real one's policy; both services rewrote it to the same text


def _names(document: Any, at: str = "") -> list[str]:
    """Return the member names of a document in order, nested ones with their path."""
    if isinstance(document, dict):
        return [name for key, value in document.items() for name in (f"{at}/{key}", *_names(value, f"{at}/{key}"))]
    return []


def test_our_own_client_takes_the_answer(azure: Azure, keys: Any) -> None:
    from skrkit.release.key_hsm import parse_key_hsm
    from skrkit.release.response import parse_release_response, verify_release
    from skrkit.release.unwrap import Enc

    make(keys)
    answer = azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure)), "nonce": "abc"})
    verify_release(
        parse_release_response(answer.content),
        roots=[azure.world.tls.root],
        host="premium.vault.azure.net",
        enc=Enc("CKM_RSA_AES_KEY_WRAP"),
        nonce="abc",
        now=azure.clock.time,
    )
    key_hsm = attested.part(answer.json()["value"], 1)["response"]["key"]["key"]["key_hsm"]
    wrapped_kek, wrapped_key = parse_key_hsm(key_hsm).split()
    assert (len(wrapped_kek), len(wrapped_key)) == (256, 152)


# --- each refusal by itself: name -> one change -> status, code, inner code, message

Change = Callable[[Azure, dict[str, Any]], Any]


def _target(change: Callable[[Azure, dict[str, Any]], None], **header: Any) -> Change:
    def changed(azure: Azure, body: dict[str, Any]) -> None:
        content = claims(azure)
        change(azure, content)
        body["target"] = token(azure, content, **header)

    return changed


def _text(azure: Azure, body: dict[str, Any], text: str) -> None:
    body["target"] = text


def _tee(**members: Any) -> Change:
    return _target(lambda _, content: content["x-ms-isolation-tee"].update(members))


def _runtime(*entries: Any) -> Change:
    return _target(lambda _, content: content.update({"x-ms-runtime": {"keys": list(entries)}}))


def _patch(body: dict[str, Any]) -> Change:
    return lambda azure, _: azure.vault("PATCH", "/keys/skr/", body).raise_for_status()


OTHER = rsa.generate_private_key(65537, 2048)
SMALL = rsa.generate_private_key(65537, 1024)
UNVERIFIED = (403, "Forbidden", "AccessDenied", VERIFIED)
UNMET = (403, "Forbidden", "AccessDenied", REQUIREMENTS)
REFUSALS: dict[str, tuple[Change, tuple[int, str, str, str]]] = {
    "disabled key": (
        _patch({"attributes": {"enabled": False}}),
        (403, "Forbidden", "KeyDisabled", "Operation release is not allowed on a disabled key."),
    ),
    "no target": (
        lambda _, body: body.pop("target"),
        (400, "BadParameter", "", 'The property "target" is required.'),
    ),
    "empty target": (
        lambda _, body: body.update(target=""),
        (400, "BadParameter", "", 'The property "target" is required.'),
    ),
    "unknown enc": (
        lambda _, body: body.update(enc="RSA1_5"),
        (400, "BadParameter", "", "The property \"enc\" has the value 'RSA1_5', which is not supported."),
    ),
    "nonce no text": (
        lambda _, body: body.update(nonce=7),
        (400, "BadParameter", "", 'The property "nonce" must be a string.'),
    ),
    "target no JWT": (lambda azure, body: _text(azure, body, "not.a.jwt"), UNVERIFIED),
    "signed by another": (lambda azure, body: body.update(target=token(azure, claims(azure), key=OTHER)), UNVERIFIED),
    "unknown kid": (_target(lambda *_: None, kid="other"), UNVERIFIED),
    "jku elsewhere": (_target(lambda *_: None, jku="https://evil.example/certs"), UNVERIFIED),
    "alg none": (
        lambda azure, body: body.update(target=jwt.encode(claims(azure), "", "none")),
        UNVERIFIED,
    ),
    "changed payload": (
        lambda _, body: body.update(target=_flipped(body["target"])),
        UNVERIFIED,
    ),
    "expired": (_target(lambda _, content: content.update(_shifted(content, -28800 - 301))), UNVERIFIED),
    "not yet valid": (_target(lambda _, content: content.update(_shifted(content, 301))), UNVERIFIED),
    "no exp": (_target(lambda _, content: content.pop("exp")), UNVERIFIED),
    "no issuer": (_target(lambda _, content: content.pop("iss")), UNVERIFIED),
    "another region's provider": (
        _target(lambda _, content: content.update(iss="https://sharedneu.neu.attest.azure.net")),
        UNMET,
    ),
    "issuer not listed": (_target(lambda _, content: content.update(iss="https://evil.example")), UNMET),
    "claim missing": (_target(lambda _, content: content["x-ms-isolation-tee"].pop("x-ms-compliance-status")), UNMET),
    "claim at another level": (_target(lambda _, content: content.update(content.pop("x-ms-isolation-tee"))), UNMET),
    "claim different": (_tee(**{"x-ms-compliance-status": "azure-compliant-uvm"}), UNMET),
    "claim a list": (_tee(**{"x-ms-attestation-type": ["sevsnpvm"]}), UNMET),
    "no runtime": (_target(lambda _, content: content.pop("x-ms-runtime")), UNVERIFIED),
    "runtime a list": (_target(lambda _, content: content.update({"x-ms-runtime": []})), UNVERIFIED),
    "no keys": (_runtime(), UNVERIFIED),
    "key for signing": (_runtime(rsa_jwk(KEK, "k", key_ops=["sign"])), UNVERIFIED),
    "key without kid": (_runtime(rsa_jwk(KEK, "")), UNVERIFIED),
    "key too small": (_runtime(rsa_jwk(SMALL, "k")), UNVERIFIED),
    "key with no modulus": (_runtime({"kid": "k", "kty": "RSA", "e": "AQAB", "key_ops": ["encrypt"]}), UNVERIFIED),
    "EC key": (_runtime({"kid": "k", "kty": "EC", "use": "enc", "crv": "P-256", "x": "AA", "y": "AA"}), UNVERIFIED),
}


def _flipped(text: str) -> str:
    header, payload, signature = text.split(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    at = raw.index(b"azure-compliant-cvm")
    raw[at : at + 5] = b"Azure"
    return f"{header}.{base64.urlsafe_b64encode(bytes(raw)).rstrip(b'=').decode()}.{signature}"


def _shifted(content: dict[str, Any], seconds: int) -> dict[str, int]:
    return {name: content[name] + seconds for name in ("iat", "nbf", "exp")}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_each_refusal_has_the_words_of_key_vault(azure: Azure, key: Any, name: str) -> None:
    change, expected = REFUSALS[name]
    body: dict[str, Any] = {"target": token(azure, claims(azure))}
    assert azure.vault("POST", "/keys/skr/release", body).status_code == 200  # without the change it is released
    change(azure, body)
    assert error_of(azure.vault("POST", "/keys/skr/release", body)) == expected


def test_a_key_that_cannot_be_released(azure: Azure, keys: Any) -> None:
    keys.create_ec_key("plain", hardware_protected=True)
    with pytest.raises(HttpResponseError, match=r"Operation release is not permitted on this key\.") as raised:
        keys.release_key("plain", token(azure, claims(azure)))
    assert raised.value.status_code == 403
    missing = azure.vault("POST", "/keys/nowhere/release", {"target": "x"})
    assert error_of(missing)[:2] == (404, "KeyNotFound")
    old = azure.vault("POST", "/keys/plain/release", {"target": "x"}, api="7.2")
    assert error_of(old)[:2] == (400, "BadParameter")


def test_a_deleted_key_is_not_released(azure: Azure, keys: Any, key: Any) -> None:
    keys.begin_delete_key("skr", _polling_interval=0).wait()
    answer = azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure))})
    assert error_of(answer)[:2] == (404, "KeyNotFound")


def test_expiry_of_the_key_does_not_hinder_a_release(azure: Azure, key: Any) -> None:
    body = {"attributes": {"nbf": 1, "exp": 2}}
    assert azure.vault("PATCH", "/keys/skr/", body).status_code == 200
    assert azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure))}).status_code == 200


def test_permission_comes_before_everything_about_the_key(azure: Azure, key: Any) -> None:
    answer = azure.vault("POST", "/keys/nowhere/release", {"target": "x"}, principal=STRANGER)
    message = (
        f"The user, group or application 'appid={STRANGER.appid};oid={STRANGER.oid};"
        f"iss=https://sts.windows.net/{TENANT}/' does not have keys release permission on key vault "
        "'premium;location=westeurope'. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125287"
    )
    assert error_of(answer) == (403, "Forbidden", "AccessDenied", message)


def test_release_alone_is_enough_and_nothing_more(azure: Azure, key: Any) -> None:
    policy = {"tenantId": TENANT, "objectId": STRANGER.oid, "permissions": {"keys": ["release"]}}
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/premium"
    added = azure.arm(
        "PUT", f"{path}/accessPolicies/add?api-version=2026-05-15", {"properties": {"accessPolicies": [policy]}}
    )
    assert added.status_code == 200
    client = azure.keys(principal=STRANGER)
    assert client.release_key("skr", token(azure, claims(azure))).value
    with pytest.raises(HttpResponseError, match="does not have keys get permission"):
        client.get_key("skr")
    with pytest.raises(HttpResponseError, match="does not have keys create permission"):
        client.create_ec_key("mine")


def test_all_does_not_cover_release(azure: Azure) -> None:
    azure.make_vault("all-only", permissions=["all"])
    make(azure.keys("all-only"))
    answer = azure.vault("POST", "/keys/skr/release", {"target": token(azure, claims(azure))}, vault="all-only")
    assert error_of(answer)[:3] == (403, "Forbidden", "AccessDenied")
    assert f"oid={OPERATOR.oid}" in error_of(answer)[3]


def test_the_first_suitable_key_wraps(azure: Azure, keys: Any, key: Any) -> None:
    content = claims(azure)
    entries = [rsa_jwk(OTHER, "sig", key_ops=["verify"]), rsa_jwk(KEK, "first", use="enc"), rsa_jwk(OTHER, "second")]
    content["x-ms-runtime"] = {"keys": entries}
    jws = keys.release_key("skr", token(azure, content)).value
    assert attested.envelope(jws)["header"] == {"kid": "first", "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}
    assert attested.unwrapped(jws, hashes.SHA1()).curve.name == "secp256r1"


def test_an_authority_may_end_in_a_slash(azure: Azure, keys: Any) -> None:
    policy = {"version": "1.0.0", "anyOf": [{"authority": f"https://{PROVIDER}/", **_rest()}]}
    make(keys, "slash", policy)
    assert keys.release_key("slash", token(azure, claims(azure))).value


def _rest() -> dict[str, Any]:
    return {"allOf": [{"claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm"}]}


@pytest.mark.parametrize("authority", ["https://evil.example", "https://nobody.weu.attest.azure.net", "http://x"])
def test_an_authority_that_is_no_provider_here_vouches_for_nobody(azure: Azure, keys: Any, authority: str) -> None:
    make(keys, "far", {"version": "1.0.0", "anyOf": [{"authority": authority, **_rest()}]})
    content = claims(azure) | {"iss": authority}
    answer = azure.vault("POST", "/keys/far/release", {"target": token(azure, content, jku=f"{authority}/certs")})
    assert error_of(answer) == UNVERIFIED
