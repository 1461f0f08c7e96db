"""Steps 0 and 2 with a Managed HSM on a running sandbox; and what is refused before anything is asked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.mgmt.keyvault.models import ManagedHsm
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from skrkit.cloud import Cloud
from skrkit.errors import ReleaseRefused, ServiceError, UsageError
from skrkit.policy.templates import cvm_policy
from skrkit.provision import access, hsm, identity, key
from skrkit.provision.plan import check_azure_names, plan_of
from skrkit.provision.stage import Stage, set_stage
from skrkit.release.request import Enc, ReleaseRequest
from skrkit.services import arm
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ROLE, assign, held_roles, local_roles
from skrkit.services.security_domain import activate
from skrkit.services.vault import Vault, key_client
from tests.sandbox.running import staged

STAGE = Stage(hsm="pool")
OID = "33333333-3333-4333-8333-333333333333"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with staged(tmp_path_factory.mktemp("hsm")) as endpoint:
        made = Cloud.sandbox(home=endpoint.home)
        set_stage(made, STAGE)
        yield made


def resting(cloud: Cloud, name: str) -> Stage:
    """Return a stage whose HSM is there, and not activated."""
    stage = Stage(hsm=name)
    with arm.key_vaults(cloud) as client:
        body = ManagedHsm(hsm.hsm_body(cloud, stage))
        client.managed_hsms.begin_create_or_update(stage.resource_group, name, body).result()
    return stage


def holder(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "holder")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


RSA_HOLDERS = [holder(rsa.generate_private_key(65537, 2048)) for _ in range(3)]


def test_the_stage_is_set_twice_with_one_hsm_and_one_role_of_the_operator(cloud: Cloud) -> None:
    set_stage(cloud, STAGE)
    with local_roles(cloud, STAGE.vault_url(cloud)) as client:
        held = [(role.role, role.scope) for role in held_roles(client, "any", cloud.operator)]
    assert sorted(held) == [("Managed HSM Administrator", "/"), (CRYPTO_USER_ROLE, "/keys")]


def test_the_grant_is_the_release_role_at_each_key_and_nothing_more(cloud: Cloud) -> None:
    first, second = access.grant(cloud, STAGE, OID), access.grant(cloud, STAGE, OID)
    assert (first.may_release, first.permissions) == (True, ())
    assert [made.name for made in first.artefacts] == ["hsm", "role-assignments", "preflight"]
    said: Any = [made.body for made in first.artefacts]
    assert [each["scope"] for each in said[1]["assignments"]] == [f"/keys/{name}" for name in STAGE.keys]
    assert said[2] == {
        "mode": "local roles",
        "object_id": OID,
        "may_release": True,
        "roles": [{"role": "Managed HSM Crypto Service Release User", "scope": "/keys/release-me"}],
        "beyond_release": [],
    }
    assert second.artefacts[1].body == first.artefacts[1].body


def test_a_grant_that_goes_further_is_listed_and_revoke_takes_ours_alone(cloud: Cloud) -> None:
    other = "44444444-4444-4444-8444-444444444444"
    with local_roles(cloud, STAGE.vault_url(cloud)) as client:
        assign(client, CRYPTO_USER_ROLE, "/keys", other)
    said: Any = access.grant(cloud, STAGE, other).artefacts[-1].body
    assert "Microsoft.KeyVault/managedHsm/keys/create" in said["beyond_release"]
    assert len(access.revoke(cloud, STAGE, other)) == len(STAGE.keys) == 4
    assert access.revoke(cloud, STAGE, other) == []
    with local_roles(cloud, STAGE.vault_url(cloud)) as client:
        assert [role.role for role in held_roles(client, STAGE.key, other)] == [CRYPTO_USER_ROLE]


def test_a_role_that_the_hsm_does_not_have_is_named(cloud: Cloud) -> None:
    with (
        local_roles(cloud, STAGE.vault_url(cloud)) as client,
        pytest.raises(UsageError, match=r"expected Key Vault Reader"),
    ):
        assign(client, "Key Vault Reader", "/", OID)


def test_an_hsm_that_is_not_activated_is_refused_with_the_command_that_activates_it(cloud: Cloud) -> None:
    stage = resting(cloud, "resting")
    with pytest.raises(UsageError) as refused:
        access.grant(cloud, stage, OID)
    assert (refused.value.expected, refused.value.found) == ("Active", "NotActivated")
    assert refused.value.fix.startswith("az keyvault security-domain download --hsm-name resting ")
    with pytest.raises(ServiceError, match=r"not activated") as asked:
        key.create(cloud, stage.vault_url(cloud), "k", cvm_policy(stage.attestation))
    assert asked.value.fix.startswith("Download the security domain with three to ten certificates")


def test_activation_gives_a_domain_sealed_to_each_holder(cloud: Cloud) -> None:
    stage = resting(cloud, "activated")
    domain = json.loads(activate(cloud, stage.vault_url(cloud), RSA_HOLDERS, quorum=3))
    assert domain["SharedKeys"]["required"] == 3
    assert len(domain["SharedKeys"]["enc_shares"]) == 3
    assert access.grant(cloud, stage, OID).may_release


@pytest.mark.parametrize(
    ("recipients", "quorum", "expected"),
    [
        (RSA_HOLDERS[:2], 2, "3 to 10 certificates"),
        (RSA_HOLDERS * 4, 2, "3 to 10 certificates"),
        ([*RSA_HOLDERS[:2], holder(ec.generate_private_key(ec.SECP256R1()))], 2, "RSA keys of 2048 bits or more"),
        ([*RSA_HOLDERS[:2], holder(rsa.generate_private_key(65537, 1024))], 2, "RSA keys of 2048 bits or more"),
        (RSA_HOLDERS, 1, "a quorum of 2 to 3"),
        (RSA_HOLDERS, 4, "a quorum of 2 to 3"),
    ],
)
def test_recipients_are_checked_before_anything_is_sent(
    cloud: Cloud, recipients: list[x509.Certificate], quorum: int, expected: str
) -> None:
    with pytest.raises(UsageError, match=expected):
        activate(cloud, "https://nobody.managedhsm.azure.net", recipients, quorum=quorum)


def test_what_the_hsm_says_of_an_activation_comes_through(cloud: Cloud) -> None:
    with pytest.raises(ServiceError, match=r"the same key twice \(Activity ID: ") as refused:
        activate(cloud, STAGE.vault_url(cloud), [*RSA_HOLDERS[:2], RSA_HOLDERS[0]], quorum=2)
    assert refused.value.status == 400
    with pytest.raises(ServiceError, match=r"ManagedHsmNotFound"):
        activate(cloud, "https://nobody.managedhsm.azure.net", RSA_HOLDERS, quorum=2)


@pytest.mark.parametrize("key_type", ["RSA-HSM", "EC-HSM", "oct-HSM"])
def test_each_kind_of_key_is_made_once_with_the_policy_as_the_hsm_writes_it(cloud: Cloud, key_type: Any) -> None:
    policy = cvm_policy(STAGE.attestation)
    name = f"made-{key_type.lower()}"
    first = key.create(cloud, STAGE.vault_url(cloud), name, policy, key_type=key_type)
    assert first.policy.raw.startswith(b'{"anyOf":[{"allOf":[{"claim":')
    assert first.policy.root == policy.root
    assert key.create(cloud, STAGE.vault_url(cloud), name, policy, key_type=key_type).version == first.version
    rewritten = next(made for made in first.artefacts if made.name == "policy-rewritten")
    assert "sorts the members" in rewritten.proves


def test_the_token_of_the_vm_is_for_managed_hsms(cloud: Cloud) -> None:
    identity.enable(cloud, STAGE)
    _, token = identity.request_token(cloud.enter(STAGE.vm), STAGE.token_resource(cloud))
    said: Any = token.body
    assert said["claims"]["aud"] == "https://managedhsm.azure.net"


def test_the_plan_names_the_hsm_and_its_own_role() -> None:
    lines = plan_of(STAGE, (1, 2, 3, 4))
    assert lines[1] == f"Managed HSM pool: assign {RELEASE_ROLE} (a local role) to that identity, at each key alone"
    assert "release-me-oct" in lines[2]
    assert "release-me-oct" not in plan_of(Stage(), (3,))[2]


@pytest.mark.parametrize(
    ("given", "missing"),
    [({"hsm": "mine"}, ""), ({"hsm": ""}, "--hsm"), ({"hsm": None}, "--vault"), ({"vault": "v", "hsm": None}, "")],
)
def test_in_azure_the_hsm_or_the_vault_has_a_name(given: dict[str, Any], missing: str) -> None:
    names = {"resource_group": "g", "vm": "m", "key": "k", "attestation": "https://a.example", "subscription": "s"}
    arguments = argparse.Namespace(**{"vault": None} | names | given)
    if not missing:
        check_azure_names(arguments)
        return
    with pytest.raises(UsageError, match=rf"found no {missing}\."):
        check_azure_names(arguments)


@pytest.mark.parametrize("given", [{"hsm": "https://x.managedhsm.azure.net"}, {"hsm": "a"}, {"hsm": "x", "rbac": True}])
def test_a_stage_that_could_be_no_hsm_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Stage(**given)


def test_a_release_without_the_local_role_is_refused_with_what_mends_it(cloud: Cloud) -> None:
    stage = resting(cloud, "guarded")
    activate(cloud, stage.vault_url(cloud), RSA_HOLDERS, quorum=2)
    identity.enable(cloud, stage)
    request = ReleaseRequest(target="a.b.c", nonce="n", enc=Enc.RSA_AES_KEY_WRAP_256)
    with key_client(cloud.enter(stage.vm), stage.vault_url(cloud)) as releaser:
        vault = Vault(url=stage.vault_url(cloud), reader=None, releaser=releaser)
        with pytest.raises(ReleaseRefused) as refused:
            vault.release("k", "", request)
    assert refused.value.found.startswith(
        "HTTP 403 AccessDenied: Not authorized to access Microsoft.KeyVault/managedHsm/keys/release/action on /keys/k"
    )
    assert refused.value.fix == "Assign the local role Managed HSM Crypto Service Release User at /keys or at the key."
    assert vault.encrypt_symmetric("k", "", b"message") is None
