"""Azure's own KeyClient and CryptographyClient, unmodified, against the vault."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.keyvault.keys import JsonWebKey, KeyCurveName, KeyType
from azure.keyvault.keys._shared import http_challenge_cache
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from skrkit.encoding import b64url
from tests.sandbox.vault.azure import Azure


@pytest.fixture
def keys(azure: Azure) -> Any:
    return azure.keys()


def test_an_rsa_key_is_created_and_read_back(azure: Azure, keys: Any) -> None:
    http_challenge_cache.clear()  # a process has one, and other tests have met this vault
    made = keys.create_rsa_key("k1", size=2048, tags={"a": "b"})
    assert made.id == f"https://premium.vault.azure.net/keys/k1/{made.properties.version}"
    assert made.properties.version is not None
    assert len(made.properties.version) == 32
    assert made.key_type == KeyType.rsa
    assert [str(getattr(op, "value", op)) for op in made.key_operations] == [
        "encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey",
    ]  # fmt: skip
    assert made.properties.recovery_level == "Recoverable+Purgeable"
    assert made.properties.recoverable_days == 90
    read = keys.get_key("k1")
    assert (read.id, read.key.n, read.key.e) == (made.id, made.key.n, b"\x01\x00\x01")
    assert keys.get_key("K1", made.properties.version).id == made.id
    assert read.properties.tags == {"a": "b"}
    # the first call of a client carries neither token nor body, and is answered by the challenge
    sent = [line for line in azure.seen if "/keys/" in line]
    assert sent == ["POST /keys/k1/create"] * 2 + ["GET /keys/k1/", f"GET /keys/K1/{made.properties.version}"]


@pytest.mark.parametrize(
    ("curve", "size", "algorithm"),
    [
        (KeyCurveName.p_256, 32, SignatureAlgorithm.es256),
        (KeyCurveName.p_384, 48, SignatureAlgorithm.es384),
        (KeyCurveName.p_521, 66, SignatureAlgorithm.es512),
        (KeyCurveName.p_256_k, 32, SignatureAlgorithm.es256_k),
    ],
)
def test_ec_keys_sign_what_another_implementation_verifies(
    azure: Azure, keys: Any, curve: KeyCurveName, size: int, algorithm: SignatureAlgorithm
) -> None:
    made = keys.create_ec_key("ec", curve=curve, hardware_protected=True)
    assert made.key_type == KeyType.ec_hsm
    assert (len(made.key.x), len(made.key.y)) == (size, size)
    name = {"ES256": "sha256", "ES384": "sha384", "ES512": "sha512", "ES256K": "sha256"}[algorithm.value]
    digest = hashlib.new(name, b"message").digest()
    client = azure.cryptography(made)
    signature = client.sign(algorithm, digest).signature
    assert len(signature) == 2 * size
    assert client.verify(algorithm, digest, signature).is_valid is True  # the SDK verifies with the public key, locally
    assert _verified_by_the_vault(azure, made, algorithm.value, digest, signature) is True
    assert _verified_by_the_vault(azure, made, algorithm.value, digest, bytes(len(signature))) is False
    assert _verified_by_the_vault(azure, made, algorithm.value, digest, signature[:-1]) is False


def _verified_by_the_vault(azure: Azure, key: Any, algorithm: str, digest: bytes, signature: bytes) -> Any:
    body = {"alg": algorithm, "digest": b64url(digest), "value": b64url(signature)}
    return azure.vault("POST", f"/keys/{key.name}/{key.properties.version}/verify", body).json()["value"]


def test_rsa_signatures_are_verified_by_the_sdk_with_the_public_key(azure: Azure, keys: Any) -> None:
    made = keys.create_rsa_key("sig", size=2048)
    client = azure.cryptography(made)
    for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        digest = hashlib.new(f"sha{algorithm[2:]}", b"message").digest()
        signature = client.sign(SignatureAlgorithm(algorithm), digest).signature
        public = rsa.RSAPublicNumbers(int.from_bytes(made.key.e, "big"), int.from_bytes(made.key.n, "big")).public_key()
        hashed = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
        scheme: Any = padding.PKCS1v15()
        if algorithm[0] == "P":
            scheme = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
        public.verify(signature, digest, scheme, utils.Prehashed(hashed))
        assert _verified_by_the_vault(azure, made, algorithm, digest, signature) is True
        assert _verified_by_the_vault(azure, made, algorithm, digest, bytes(256)) is False
    body = {"alg": "RSNULL", "value": b64url(b"any bytes")}
    raw = azure.vault("POST", "/keys/sig/sign", body).json()["value"]
    check = {"alg": "RSNULL", "digest": b64url(b"any bytes"), "value": raw}
    assert azure.vault("POST", "/keys/sig/verify", check).json() == {"value": True}


def test_the_sdk_encrypts_locally_and_the_vault_decrypts(azure: Azure, keys: Any) -> None:
    client = azure.cryptography(keys.create_rsa_key("enc", size=2048, hardware_protected=True))
    for algorithm in (EncryptionAlgorithm.rsa1_5, EncryptionAlgorithm.rsa_oaep, EncryptionAlgorithm.rsa_oaep_256):
        ciphertext = client.encrypt(algorithm, b"secret").ciphertext
        assert client.decrypt(algorithm, ciphertext).plaintext == b"secret"
    wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, bytes(32)).encrypted_key
    assert client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == bytes(32)
    body = {"alg": "RSA-OAEP", "value": b64url(b"by the vault")}
    made = azure.vault("POST", "/keys/enc/wrapkey", body).json()
    assert client.unwrap_key(KeyWrapAlgorithm.rsa_oaep, _bytes(made["value"])).key == b"by the vault"


def _bytes(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_an_imported_key_signs_as_the_original(azure: Azure, keys: Any) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.private_numbers()
    point = numbers.public_numbers
    x, y, d = (value.to_bytes(32, "big") for value in (point.x, point.y, numbers.private_value))
    jwk = JsonWebKey(kty="EC", crv="P-256", x=x, y=y, d=d, key_ops=["sign", "verify"])
    made = keys.import_key("mine", jwk, hardware_protected=True)
    assert made.key_type == KeyType.ec_hsm
    assert made.key.x == x
    digest = hashlib.sha256(b"m").digest()
    signature = azure.cryptography(made).sign(SignatureAlgorithm.es256, digest).signature
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    private.public_key().verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_an_imported_rsa_key_decrypts(azure: Azure, keys: Any) -> None:
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.private_numbers()
    values = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d, "p": numbers.p,
              "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}  # fmt: skip
    members = {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in values.items()}
    made = keys.import_key("mine", JsonWebKey(kty="RSA", **members))
    assert made.key_type == KeyType.rsa
    ciphertext = private.public_key().encrypt(b"x", padding.PKCS1v15())
    assert azure.cryptography(made).decrypt(EncryptionAlgorithm.rsa1_5, ciphertext).plaintext == b"x"


def test_versions_updates_and_rotation(keys: Any) -> None:
    first = keys.create_ec_key("v")
    second = keys.create_ec_key("v")
    assert first.id != second.id
    assert keys.get_key("v").id == second.id
    third = keys.rotate_key("v")
    assert {item.id for item in keys.list_properties_of_key_versions("v")} == {first.id, second.id, third.id}
    changed = keys.update_key_properties("v", first.properties.version, enabled=False, tags={"x": "y"})
    assert changed.properties.enabled is False
    assert keys.get_key("v").properties.enabled is True
    assert keys.get_key("v", first.properties.version).properties.tags == {"x": "y"}


def test_rotation_keeps_size_and_operations(keys: Any) -> None:
    made = keys.create_rsa_key("r", size=3072, key_operations=["sign"])
    turned = keys.rotate_key("r")
    assert len(made.key.n) == len(turned.key.n) == 384
    assert [str(getattr(op, "value", op)) for op in turned.key_operations] == ["sign"]


def test_delete_recover_purge(azure: Azure, keys: Any) -> None:
    made = keys.create_ec_key("gone")
    deleted = keys.begin_delete_key("gone", _polling_interval=0).result()
    assert deleted.recovery_id == "https://premium.vault.azure.net/deletedkeys/gone"
    assert deleted.scheduled_purge_date is not None
    assert deleted.deleted_date is not None
    assert (deleted.scheduled_purge_date - deleted.deleted_date).days == 90
    with pytest.raises(ResourceNotFoundError):
        keys.get_key("gone")
    with pytest.raises(ResourceExistsError, match="currently in a deleted but recoverable state"):
        keys.create_ec_key("gone")
    assert [item.name for item in keys.list_deleted_keys()] == ["gone"]
    assert keys.begin_recover_deleted_key("gone", _polling_interval=0).result().id == made.id
    keys.begin_delete_key("gone", _polling_interval=0).wait()
    keys.purge_deleted_key("gone")
    with pytest.raises(ResourceNotFoundError):
        keys.get_deleted_key("gone")
    assert azure.world.store.list("vault-key", "premium/gone/") == []
    assert keys.create_ec_key("gone").id != made.id


def test_a_deleted_key_is_purged_when_its_time_is_over(azure: Azure, keys: Any) -> None:
    from datetime import timedelta

    keys.create_ec_key("gone")
    keys.begin_delete_key("gone", _polling_interval=0).wait()
    azure.clock.time += timedelta(days=90)
    with pytest.raises(ResourceNotFoundError):
        keys.get_deleted_key("gone")
    assert azure.world.store.list("vault-key", "premium/gone/") == []


def test_a_backup_is_restored_with_all_versions(azure: Azure, keys: Any) -> None:
    first, second = keys.create_ec_key("b"), keys.create_ec_key("b")
    blob = keys.backup_key("b")
    assert blob is not None
    with pytest.raises(ResourceExistsError):
        keys.restore_key_backup(blob)
    keys.begin_delete_key("b", _polling_interval=0).wait()
    keys.purge_deleted_key("b")
    assert keys.restore_key_backup(blob).id == second.id
    assert keys.get_key("b", first.properties.version).key.x == first.key.x
    broken = azure.vault("POST", "/keys/restore", {"value": b64url(blob[:-1] + bytes([blob[-1] ^ 1]))})
    assert broken.json()["error"]["code"] == "BadParameter"


def test_ten_thousand_keys_are_listed_by_range(azure: Azure, keys: Any) -> None:
    made = keys.create_ec_key("template")
    store = azure.world.store
    named, version = (
        store.get("vault-key-name", "premium/template"),
        store.get("vault-key", f"premium/template/{made.properties.version}"),
    )
    assert named is not None
    assert version is not None
    with store.transaction():
        for number in range(10_000):
            name = f"key-{number:05}"
            store.put("vault-key-name", f"premium/{name}", named | {"name": name})
            store.put("vault-key", f"premium/{name}/{version['version']}", version)
    first = azure.vault("GET", "/keys?maxresults=25").json()
    assert len(first["value"]) == 25
    assert first["value"][0]["kid"] == "https://premium.vault.azure.net/keys/key-00000"
    assert first["nextLink"].startswith("https://premium.vault.azure.net:443/keys?api-version=2025-07-01&$skiptoken=")
    pages = keys.list_properties_of_keys(max_page_size=25).by_page()
    names = [item.name for _ in range(3) for item in next(pages)]
    assert names == [f"key-{number:05}" for number in range(75)]


def test_the_last_page_has_no_next_link(azure: Azure, keys: Any) -> None:
    for name in "abc":
        keys.create_ec_key(name)
    assert azure.vault("GET", "/keys?maxresults=3").json()["nextLink"] is None
    assert [item.name for item in keys.list_properties_of_keys(max_page_size=2)] == ["a", "b", "c"]
    assert list(azure.keys("standard").list_properties_of_keys()) == []
