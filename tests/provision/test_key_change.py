"""An own key brought in, a new version, another policy: on a running sandbox, with keys that OpenSSL's program made."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyClient, KeyReleasePolicy
from azure.keyvault.keys._shared import http_challenge_cache
from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from skrkit.cloud import Cloud
from skrkit.errors import ServiceError, UsageError
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import parse_policy
from skrkit.provision import key, key_change
from skrkit.provision.stage import Stage, vault_body
from skrkit.services import arm
from tests.sandbox.running import staged

OPENSSL = shutil.which("openssl")
STAGE = Stage(vault="key-change-vault")
PRIVATE_NAMES = {"d", "p", "q", "dp", "dq", "qi"}


def policy(*authorities: str, value: Any = "azure-compliant-cvm") -> ReleasePolicy:
    claim = {"claim": "x-ms-isolation-tee.x-ms-compliance-status", "equals": value}
    clauses = [{"authority": f"https://{each}.attest.azure.net", "allOf": [claim]} for each in authorities]
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": clauses}, indent=2).encode())


POLICY = policy("sharedweu.weu")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    http_challenge_cache.clear()
    with staged(tmp_path_factory.mktemp("key-change")) as endpoint:
        made = Cloud.sandbox(home=endpoint.home)
        body = vault_body(made, STAGE)
        body["properties"]["accessPolicies"][0]["permissions"]["keys"] = ["all"]
        with arm.key_vaults(made) as vaults:
            parameters = VaultCreateOrUpdateParameters(body)
            vaults.vaults.begin_create_or_update(STAGE.resource_group, STAGE.vault, parameters).result()
        yield made


@pytest.fixture
def url(cloud: Cloud) -> str:
    return STAGE.vault_url(cloud)


@pytest.fixture
def keys(cloud: Cloud, url: str) -> Iterator[KeyClient]:
    with KeyClient(url, cloud.credential(), **cloud.client_options()) as client:
        yield client


def pem(*options: str) -> bytes:
    if OPENSSL is None:
        pytest.skip("the program openssl is not installed: no key of another maker")
    return subprocess.run([OPENSSL, "genpkey", *options], check=True, capture_output=True).stdout


def rsa_pem(bits: int = 2048) -> bytes:
    return pem("-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


def ec_pem(curve: str) -> bytes:
    return pem("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}")


def names(found: key.ReleasableKey) -> list[str]:
    return [artefact.name for artefact in found.artefacts]


def body_of(found: key.ReleasableKey, name: str) -> Any:
    return next(artefact.body for artefact in found.artefacts if artefact.name == name)


def test_an_own_rsa_key_comes_in_as_an_exportable_hsm_key(cloud: Cloud, url: str, keys: Any) -> None:
    own = rsa_pem(3072)
    made = key_change.import_key(cloud, url, "own-rsa", own, POLICY)
    there = keys.get_key("own-rsa")
    private: Any = load_pem_private_key(own, None)
    numbers = private.public_key().public_numbers()
    assert int.from_bytes(there.key.n, "big") == numbers.n
    assert (there.key_type, there.properties.exportable) == ("RSA-HSM", True)
    assert (made.version, made.policy.root) == (there.properties.version, POLICY.root)
    assert names(made) == [
        "own-key", "policy-text", "key-request", "policy-rewritten", "key-bundle", "policy-differences",
    ]  # fmt: skip
    assert body_of(made, "own-key")["bits"] == 3072


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521", "secp256k1"])
def test_own_keys_on_every_curve(cloud: Cloud, url: str, keys: Any, curve: str) -> None:
    own = ec_pem(curve)
    key_change.import_key(cloud, url, f"own-{curve}", own, POLICY)
    private: Any = load_pem_private_key(own, None)
    point = private.public_key().public_numbers()
    there = keys.get_key(f"own-{curve}").key
    assert (int.from_bytes(there.x, "big"), int.from_bytes(there.y, "big")) == (point.x, point.y)


def test_no_private_number_is_shown(cloud: Cloud, url: str) -> None:
    own = rsa_pem()
    made = key_change.import_key(cloud, url, "own-hidden", own, POLICY)
    jwk = body_of(made, "key-request")["request"]["body"]["key"]
    assert set(jwk) >= PRIVATE_NAMES
    assert all(str(jwk[name]).startswith("<sha256 ") for name in PRIVATE_NAMES)
    shown = json.dumps([artefact.to_json() for artefact in made.artefacts])
    assert b"".join(own.splitlines()[1:-1]).decode()[:60] not in shown


def test_a_second_import_is_a_second_version(cloud: Cloud, url: str, keys: Any) -> None:
    first = key_change.import_key(cloud, url, "own-twice", ec_pem("P-256"), POLICY)
    second = key_change.import_key(cloud, url, "own-twice", ec_pem("P-256"), POLICY)
    assert first.version != second.version
    assert len(list(keys.list_properties_of_key_versions("own-twice"))) == 2


def test_what_is_no_key_of_a_vault_is_refused_here(cloud: Cloud, url: str) -> None:
    encrypted = pem("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:secret")
    cases = {
        "an encrypted one": encrypted,
        "no private key that OpenSSL reads": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "an RSA key of 1024 bits": rsa_pem(1024),
        "a key of another kind": pem("-algorithm", "ED25519"),
        "a key on secp224r1": ec_pem("secp224r1"),
        f"{(64 << 10) + 1} bytes": b"x" * ((64 << 10) + 1),
    }
    for found, given in cases.items():
        with pytest.raises(UsageError) as refused:
            key_change.import_key(cloud, url, "own-bad", given, POLICY)
        assert refused.value.found == found
        assert refused.value.expected.startswith("an unencrypted RSA key of 2048, 3072 or 4096 bits")


def test_a_new_version_has_other_material_and_the_same_policy(cloud: Cloud, url: str, keys: Any) -> None:
    first = key.create(cloud, url, "versions", POLICY)
    before = keys.get_key("versions")
    second = key_change.new_version(cloud, url, "versions")
    after = keys.get_key("versions")
    assert second.version == after.properties.version != first.version
    assert after.key.n != before.key.n
    assert second.policy.root == POLICY.root
    assert names(second) == ["version-before", "key-request", "policy-rewritten", "key-bundle"]
    assert body_of(second, "version-before")["kid"] == first.kid


def test_a_changed_policy_shows_who_gains_and_who_loses(cloud: Cloud, url: str, keys: Any) -> None:
    key.create(cloud, url, "changing", POLICY)
    wanted = policy("sharedweu.weu", "sharedneu.neu")
    changed = key_change.change_policy(cloud, url, "changing", wanted)
    assert names(changed) == [
        "policy-before", "policy-change", "key-request", "policy-rewritten", "key-bundle", "policy-differences",
    ]  # fmt: skip
    found = body_of(changed, "policy-change")
    assert (found["effect"], found["lost"]) == ("looser", [])
    assert [each["issuer"] for each in found["gained"]] == ["https://sharedneu.neu.attest.azure.net"]
    assert parse_policy(keys.get_key("changing").properties.release_policy.encoded_policy).root == wanted.root
    line = body_of(changed, "key-request")["request"]["line"]
    assert "/keys/changing?" in line.replace("/?", "?")  # without a version


def test_what_the_service_wrote_otherwise_is_named_by_its_place(cloud: Cloud, url: str) -> None:
    sent = policy("sharedweu.weu", value=True)
    made = key_change.import_key(cloud, url, "rewritten", ec_pem("P-256"), sent)
    found = body_of(made, "policy-differences")
    assert found["effect"] == "same"
    assert found["rewritten"] == [{"pointer": "/anyOf/0/allOf/0/equals", "sent": True, "stored": "true"}]
    assert found["bytes_sent"] == len(sent.raw) > found["bytes_stored"]


def test_a_policy_that_cannot_change_is_refused_before_it_is_sent(cloud: Cloud, url: str, keys: Any) -> None:
    fixed = KeyReleasePolicy(POLICY.raw, immutable=True)
    keys.create_ec_key("fixed", hardware_protected=True, exportable=True, release_policy=fixed)
    with pytest.raises(UsageError) as refused:
        key_change.change_policy(cloud, url, "fixed", policy("sharedneu.neu"))
    assert refused.value.found == "an immutable one: neither it nor the flag can change any more"
    with pytest.raises(HttpResponseError, match=r"AKV\.SKR\.1020"):  # as the vault says itself
        keys.update_key_properties("fixed", release_policy=KeyReleasePolicy(policy("sharedneu.neu").raw))


def test_a_key_without_a_policy_gets_none(cloud: Cloud, url: str, keys: Any) -> None:
    keys.create_ec_key("plain")
    with pytest.raises(UsageError) as rotated:
        key_change.new_version(cloud, url, "plain")
    with pytest.raises(UsageError) as changed:
        key_change.change_policy(cloud, url, "plain", POLICY)
    for refused in (rotated.value, changed.value):
        assert (refused.what, refused.found) == ("key plain", "a key without one")
    with pytest.raises(ServiceError) as missing:
        key_change.new_version(cloud, url, "not-there")
    assert (missing.value.status, missing.value.code) == (404, "KeyNotFound")
