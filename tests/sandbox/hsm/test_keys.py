from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import JsonWebKey, KeyReleasePolicy
from azure.keyvault.keys.crypto import EncryptionAlgorithm, SignatureAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap
from cryptography.hazmat.primitives.serialization import load_der_private_key

from skrkit.encoding import b64url, b64url_bytes
from skrkit.release.request import Enc
from skrkit.release.response import parse_release_response, verify_release
from skrkit.release.unwrap import unwrap
from tests.sandbox.hsm.azure import HsmAzure
from tests.sandbox.vault.attested import KEK, POLICY, ciphertext, claims, encoded, part, token
from tests.sandbox.vault.azure import STRANGER, error_of

HSM = "https://pool.managedhsm.azure.net"
# A policy as sent, and as a Managed HSM writes it: members in alphabetical order, no white space.
SENT = (
    "eyJ2ZXJzaW9uIjoiMS4wLjAiLCJhbnlPZiI6W3siYXV0aG9yaXR5IjoiaHR0cHM6Ly9hdHRlc3QtYS5leGFtcGxlIiwiYWxsT2YiOlt7ImNsYWlt"
    "IjoieC1tcy1hdHRlc3RhdGlvbi10eXBlIiwiZXF1YWxzIjoic2V2c25wdm0ifV19XX0"
)
WRITTEN = (
    "eyJhbnlPZiI6W3siYWxsT2YiOlt7ImNsYWltIjoieC1tcy1hdHRlc3RhdGlvbi10eXBlIiwiZXF1YWxzIjoic2V2c25wdm0ifV0sImF1dGhvcml0"
    "eSI6Imh0dHBzOi8vYXR0ZXN0LWEuZXhhbXBsZSJ9XSwidmVyc2lvbiI6IjEuMC4wIn0"
)


def ordered(text: str) -> bool:
    """Return whether every object of a JSON text has its members in order of name."""
    sorts: list[bool] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        sorts.append(names == sorted(names))

    json.loads(text, object_pairs_hook=look)
    return bool(sorts) and all(sorts)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no.to.ken"}, {"Authorization": "Basic eDp5"}])
def test_without_a_token_there_is_a_challenge_and_an_empty_body(azure: HsmAzure, headers: dict[str, str]) -> None:
    answer = azure.hsm("GET", "/keys", headers=headers)
    assert answer.status_code == 401
    assert answer.content == b""
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer authorization="https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111", '
        'resource="https://managedhsm.azure.net"'
    )


@pytest.mark.parametrize(
    "resource", ["https://vault.azure.net", "https://management.azure.com", "https://managedhsm.azure.net/"]
)
def test_a_token_for_another_audience_is_none(azure: HsmAzure, resource: str) -> None:
    answer = azure.hsm("GET", "/keys", resource=resource)
    assert (answer.status_code, answer.content) == (401, b"")


def test_a_token_for_the_hsm_is_none_for_a_vault(azure: HsmAzure) -> None:
    azure.make_vault("premium")
    bearer = azure.credential().get_token("https://managedhsm.azure.net/.default").token
    answer = azure.vault("GET", "/keys", headers={"Authorization": f"Bearer {bearer}"})
    assert error_of(answer)[3].startswith("AKV10022: Invalid audience. Expected https://vault.azure.net")


def test_the_keys_sdk_makes_every_kind_of_key(azure: HsmAzure) -> None:
    client = azure.hsm_keys()
    assert client.create_rsa_key("rsa", hardware_protected=True, size=3072).key_type == "RSA-HSM"
    assert client.create_rsa_key("soft").key_type == "RSA-HSM"  # taken, and kept in the HSM all the same
    ec = client.create_ec_key("ec", hardware_protected=True, curve="P-384")
    assert (ec.key_type, ec.key.crv) == ("EC-HSM", "P-384")  # type: ignore[attr-defined]
    oct_key = client.create_oct_key("oct", hardware_protected=True, size=192)
    assert oct_key.key_type == "oct-HSM"
    assert [each.name for each in client.list_properties_of_keys()] == ["ec", "oct", "rsa", "soft"]
    updated = client.update_key_properties("oct", tags={"a": "b"})
    assert updated.properties.tags == {"a": "b"}
    rotated = client.rotate_key("oct")
    assert rotated.properties.version != oct_key.properties.version
    assert len(list(client.list_properties_of_key_versions("oct"))) == 2
    assert len(client.get_random_bytes(64)) == 64
    assert client.begin_delete_key("oct").result().name == "oct"
    with pytest.raises(HttpResponseError, match="deletedKeys/read/action"):
        client.get_deleted_key("oct")  # a Crypto User deletes, and does not see what is deleted


def test_members_stand_in_order_of_name_and_the_operations_in_the_hsms(azure: HsmAzure) -> None:
    answer = azure.hsm("POST", "/keys/k/create", {"kty": "RSA-HSM", "attributes": {"exportable": True},
                                                  "release_policy": {"data": SENT}})  # fmt: skip
    assert ordered(answer.text)
    bundle = answer.json()
    assert list(bundle) == ["attributes", "key", "release_policy"]
    assert bundle["key"]["e"] == "AQAB"
    assert bundle["key"]["key_ops"] == ["wrapKey", "decrypt", "encrypt", "unwrapKey", "sign", "verify"]
    assert bundle["key"]["kid"].startswith(f"{HSM}/keys/k/")
    assert "hsmPlatform" not in bundle["attributes"]
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "x-ms-keyvault-service-version" not in answer.headers


def test_a_policy_is_sorted_and_its_booleans_stay(azure: HsmAzure) -> None:
    body = {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": {"data": SENT}}
    assert azure.hsm("POST", "/keys/vector/create", body).json()["release_policy"]["data"] == WRITTEN
    policy = {
        "version": "1.0.0",
        "anyOf": [{"authority": "https://a.example", "allOf": [{"claim": "t", "equals": True}]}],
    }
    made = azure.hsm_keys().create_rsa_key(
        "boolean",
        hardware_protected=True,
        exportable=True,
        release_policy=KeyReleasePolicy(json.dumps(policy).encode()),
    )
    stored = made.properties.release_policy
    assert stored is not None
    assert stored.encoded_policy == (
        b'{"anyOf":[{"allOf":[{"claim":"t","equals":true}],"authority":"https://a.example"}],"version":"1.0.0"}'
    )


NO_VERSION = encoded({"anyOf": POLICY["anyOf"]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"attributes": {"exportable": True}}, "Exportable keys must have release policy (Activity ID: {id})"),
        ({"release_policy": {"data": SENT}}, "Non-exportable keys must not have release policy (Activity ID: {id})"),
        ({"attributes": {"exportable": True}, "release_policy": {"data": NO_VERSION}},
         "Key Release Policy: missing 'version' property (Activity ID: {id})"),
    ],
)  # fmt: skip
def test_the_rules_of_exportable_keys_have_the_hsms_own_words(azure: HsmAzure, body: Any, message: str) -> None:
    answer = azure.hsm("POST", "/keys/k/create", {"kty": "RSA-HSM"} | body)
    wanted = message.replace("{id}", answer.headers["x-ms-request-id"])
    assert error_of(answer) == (400, "BadParameter", "", wanted)


def test_an_oct_key_that_is_too_large_has_the_words_that_are_known(azure: HsmAzure) -> None:
    answer = azure.hsm("PUT", "/keys/k", {"key": {"kty": "oct-HSM", "k": b64url(bytes(65))}})
    assert error_of(answer)[3] == (
        "JSON Web Key: k property of oct key is too large, maximum size is 64 "
        f"(Activity ID: {answer.headers['x-ms-request-id']})"
    )
    assert azure.hsm("PUT", "/keys/k", {"key": {"kty": "oct-HSM", "k": b64url(bytes(33))}}).status_code == 400


@pytest.mark.parametrize(
    ("kek", "plain", "wrapped"),
    [
        (  # RFC 3394 section 4.6
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
        ),
    ],
)
def test_an_imported_oct_key_wraps_as_the_rfc_says(azure: HsmAzure, kek: str, plain: str, wrapped: str) -> None:
    azure.hsm_keys().import_key("oct", JsonWebKey(kty="oct-HSM", k=bytes.fromhex(kek)))
    # By hand: the SDK wraps with an oct key itself, with one that it makes up where it was given none.
    both = {"wrapkey": (plain, wrapped), "unwrapkey": (wrapped, plain)}
    for operation, (given, wanted) in both.items():
        body = {"alg": "A256KW", "value": b64url(bytes.fromhex(given))}
        answer = azure.hsm("POST", f"/keys/oct/{operation}", body).json()
        assert b64url_bytes(answer["value"], what="value", where="/").hex().upper() == wanted
    spoilt = b64url(bytes.fromhex(wrapped)[:-1] + b"\0")
    assert azure.hsm("POST", "/keys/oct/unwrapkey", {"alg": "A256KW", "value": spoilt}).status_code == 400


def test_an_oct_key_encrypts_what_others_decrypt(azure: HsmAzure) -> None:
    secret = bytes(range(32))
    key = azure.hsm_keys().import_key("oct", JsonWebKey(kty="oct-HSM", k=secret))
    crypto = azure.hsm_cryptography(key)
    sealed = crypto.encrypt(EncryptionAlgorithm.a256_gcm, b"a secret", additional_authenticated_data=b"with this")
    assert sealed.iv is not None
    assert sealed.tag is not None
    assert AESGCM(secret).decrypt(sealed.iv, sealed.ciphertext + sealed.tag, b"with this") == b"a secret"
    again = crypto.decrypt(EncryptionAlgorithm.a256_gcm, sealed.ciphertext, iv=sealed.iv,
                           authentication_tag=sealed.tag, additional_authenticated_data=b"with this")  # fmt: skip
    assert again.plaintext == b"a secret"
    with pytest.raises(HttpResponseError, match="parameter is incorrect"):
        crypto.decrypt(EncryptionAlgorithm.a256_gcm, sealed.ciphertext, iv=sealed.iv, authentication_tag=sealed.tag)
    padded = crypto.encrypt(EncryptionAlgorithm.a256_cbcpad, b"of any length", iv=bytes(16))
    assert (
        crypto.decrypt(EncryptionAlgorithm.a256_cbcpad, padded.ciphertext, iv=bytes(16)).plaintext == b"of any length"
    )
    with pytest.raises(HttpResponseError, match="does not fit a key of 256 bits"):
        crypto.encrypt(EncryptionAlgorithm.a128_gcm, b"x")


def test_an_rsa_key_of_the_hsm_signs(azure: HsmAzure) -> None:
    key = azure.hsm_keys().create_rsa_key("rsa", hardware_protected=True)
    crypto = azure.hsm_cryptography(key)
    digest = bytes(range(32))
    signed = crypto.sign(SignatureAlgorithm.ps256, digest)
    assert crypto.verify(SignatureAlgorithm.ps256, digest, signed.signature).is_valid


def test_an_oct_key_neither_signs_nor_takes_such_an_operation(azure: HsmAzure) -> None:
    azure.hsm("POST", "/keys/k/create", {"kty": "oct-HSM"})
    bundle = azure.hsm("GET", "/keys/k").json()["key"]
    assert set(bundle) == {"kid", "key_ops", "kty"}
    answer = azure.hsm("POST", f"{bundle['kid'].removeprefix(HSM)}/sign", {"alg": "HS256", "value": b64url(bytes(32))})
    assert error_of(answer)[2] == "KeyOperationForbidden"
    assert azure.hsm("POST", "/keys/j/create", {"kty": "oct-HSM", "key_ops": ["sign"]}).status_code == 400


def _released(azure: HsmAzure, body: dict[str, Any], enc: str, **more: Any) -> tuple[str, dict[str, Any]]:
    made = azure.hsm("POST", "/keys/k/create", body | {
        "attributes": {"exportable": True}, "release_policy": {"data": encoded(POLICY)}}).json()  # fmt: skip
    asked = {"target": token(azure, claims(azure)), "enc": enc} | more
    answer = azure.hsm("POST", "/keys/k/release", asked)
    assert answer.status_code == 200, answer.text
    value: str = answer.json()["value"]
    return value, made


@pytest.mark.parametrize(
    ("enc", "hashed"),
    [
        ("CKM_RSA_AES_KEY_WRAP", hashes.SHA1()),
        ("RSA_AES_KEY_WRAP_256", hashes.SHA256()),
        ("RSA_AES_KEY_WRAP_384", hashes.SHA384()),
    ],
)
@pytest.mark.parametrize(("size", "length"), [(128, 280), (192, 288), (256, 296)])
def test_a_symmetric_key_is_released_as_its_bytes(
    azure: HsmAzure, enc: str, hashed: hashes.HashAlgorithm, size: int, length: int
) -> None:
    value, made = _released(azure, {"kty": "oct-HSM", "key_size": size}, enc)
    both = ciphertext(value)
    assert len(both) == length  # of the table in Key Vault's reference for a wrapping key of 2048 bits
    aes_key = KEK.decrypt(both[:256], padding.OAEP(padding.MGF1(hashed), hashed, None))
    secret = aes_key_unwrap_with_padding(aes_key, both[256:])
    assert len(secret) * 8 == size
    # It is the HSM's own key: what the HSM wraps with it, the released bytes unwrap.
    wrapped = azure.hsm("POST", f"{made['key']['kid'].removeprefix(HSM)}/wrapkey",
                        {"alg": f"A{size}KW", "value": b64url(bytes(32))}).json()["value"]  # fmt: skip
    assert aes_key_wrap(secret, bytes(32)) == b64url_bytes(wrapped, what="wrapped", where="/value")
    assert part(value, 1)["response"]["key"]["key"]["kty"] == "oct"


@pytest.mark.parametrize(("kty", "named"), [("RSA-HSM", "RSA"), ("EC-HSM", "EC")])
def test_a_release_has_the_hsms_shape(azure: HsmAzure, kty: str, named: str) -> None:
    value, _ = _released(azure, {"kty": kty}, "RSA_AES_KEY_WRAP_256", nonce="n")
    payload = b64url_bytes(value.split(".")[1], what="payload", where="1").decode()
    assert ordered(payload)
    header, content = part(value, 0), json.loads(payload)
    assert sorted(header) == ["alg", "kid", "x5c", "x5t#S256"]
    assert header["kid"] == header["x5t#S256"]
    released = content["response"]["key"]
    assert released["key"]["kty"] == named
    assert set(released["release_policy"]) == {"contentType", "data", "immutable"}
    assert content["request"] == {
        "api-version": "7.5",
        "enc": "RSA_AES_KEY_WRAP_256",
        "kid": f"{HSM}/keys/k",
        "nonce": "n",
    }
    envelope = b64url_bytes(released["key"]["key_hsm"], what="key_hsm", where="1").decode()
    assert list(json.loads(envelope)) == ["ciphertext", "header", "schema_version"]
    leaf = x509.load_der_x509_certificate(_der(header["x5c"][0]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.pool.managedhsm.azure.net", "pool.managedhsm.azure.net"]
    assert jwt.decode(value, leaf.public_key(), ["RS256"], options={"verify_aud": False})  # type: ignore[arg-type]


def _der(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


def test_the_client_verifies_a_release_of_the_hsm_for_its_own_name_alone(azure: HsmAzure) -> None:
    value, made = _released(azure, {"kty": "EC-HSM"}, "RSA_AES_KEY_WRAP_384", nonce="n")
    terms: dict[str, Any] = {"roots": [azure.world.tls.root], "enc": Enc.RSA_AES_KEY_WRAP_384, "nonce": "n",
                             "now": azure.clock.time}  # fmt: skip
    verified = verify_release(parse_release_response(value), host="pool.managedhsm.azure.net", **terms)
    assert verified.signer == "CN=*.pool.managedhsm.azure.net"
    key = unwrap(verified.key_hsm, lambda wrapped, enc: KEK.decrypt(
        wrapped, padding.OAEP(padding.MGF1(hashes.SHA384()), hashes.SHA384(), None)))  # fmt: skip
    assert load_der_private_key(key.material, None).public_key() == key.public_key
    for host in ("other.managedhsm.azure.net", "pool.vault.azure.net", "managedhsm.azure.net"):
        with pytest.raises(Exception, match=r"DNS name|host|certificate"):
            verify_release(parse_release_response(value), host=host, **terms)
    assert made["key"]["kty"] == "EC-HSM"


def test_only_who_may_release_releases_and_only_for_a_good_token(azure: HsmAzure) -> None:
    _released(azure, {"kty": "RSA-HSM"}, "RSA_AES_KEY_WRAP_256")
    azure.grant(
        "Crypto Service Release User", scope="/keys/k", to=STRANGER, guid="dddddddd-0000-4000-8000-000000000000"
    )
    good = {"target": token(azure, claims(azure))}
    assert azure.hsm("POST", "/keys/k/release", good, principal=STRANGER).status_code == 200
    assert azure.hsm("GET", "/keys/k", principal=STRANGER).status_code == 403
    other = claims(azure) | {"x-ms-isolation-tee": {"x-ms-attestation-type": "tdxvm"}}
    refused = azure.hsm("POST", "/keys/k/release", {"target": token(azure, other)}, principal=STRANGER)
    status, code, inner, message = error_of(refused)
    assert (status, code, inner) == (403, "Forbidden", "AccessDenied")
    assert message.startswith(
        "Target environment attestation does not meet key release policy requirements (Activity ID: "
    )
    late = azure.hsm("POST", "/keys/k/release", {"target": "no.token.here"}, principal=STRANGER)
    assert error_of(late)[3].startswith("Target environment attestation statement cannot be verified (Activity ID: ")


def test_a_vault_and_an_hsm_of_one_name_have_keys_of_their_own(azure: HsmAzure) -> None:
    azure.make_vault("pool")
    azure.vault("POST", "/keys/theirs/create", {"kty": "RSA"}, vault="pool")
    azure.hsm("POST", "/keys/ours/create", {"kty": "RSA-HSM"})
    assert [each["kid"] for each in azure.hsm("GET", "/keys").json()["value"]] == [f"{HSM}/keys/ours"]
    shown = azure.vault("GET", "/keys", vault="pool").json()["value"]
    assert [each["kid"] for each in shown] == ["https://pool.vault.azure.net/keys/theirs"]


@pytest.mark.parametrize("count", [0, 129, -1, True, "8", None])
def test_random_bytes_are_1_to_128(azure: HsmAzure, count: Any) -> None:
    assert azure.hsm("POST", "/rng", {"count": count}).status_code == 400
    assert len(b64url_bytes(azure.hsm("POST", "/rng", {"count": 7}).json()["value"], what="v", where="/")) == 7


def test_slashes_collapse_and_an_unknown_path_says_so(azure: HsmAzure) -> None:
    assert azure.hsm("GET", "///providers/Microsoft.Authorization/roleDefinitions").status_code == 200
    assert error_of(azure.hsm("GET", "/secrets"))[:2] == (501, "NotInSandbox")
    assert error_of(azure.hsm("GET", "/keys", api=""))[:2] == (400, "BadParameter")
    assert error_of(azure.hsm("GET", "/keys", api="1.0"))[:2] == (400, "BadParameter")
    assert error_of(azure.hsm("GET", "/keys", name="nobody"))[:2] == (404, "ManagedHsmNotFound")
