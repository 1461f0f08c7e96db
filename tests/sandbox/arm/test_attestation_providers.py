"""Providers of one's own, through Azure's own clients: made, given policies and signers, asked for tokens, deleted."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from skrkit.cloud import Cloud
from skrkit.provision.identity import enable
from skrkit.provision.stage import Stage
from skrkit.sandbox.endpoint import Endpoint
from skrkit.walkthrough import Walk
from tests.sandbox.running import STAGE, send

management = pytest.importorskip("azure.mgmt.attestation", reason="azure-mgmt-attestation is not installed (extra dev)")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # msrest's own
    attestation = pytest.importorskip("azure.security.attestation", reason="azure-security-attestation (extra dev)")

GROUP = STAGE.resource_group
PERMIT = "version= 1.0; authorizationrules { => permit(); };"


@pytest.fixture(scope="module")
def cloud(sandbox: Endpoint) -> Cloud:
    return Cloud.sandbox(home=sandbox.home)


@pytest.fixture(scope="module")
def providers(cloud: Cloud) -> Any:
    options = cloud.client_options() | {
        "base_url": "https://management.azure.com",
        "credential_scopes": ["https://management.azure.com/.default"],
    }
    client = management.AttestationManagementClient(cloud.credential(), cloud.subscription, **options)
    return client.attestation_providers


def make(providers: Any, name: str, **properties: Any) -> Any:
    return providers.create(GROUP, name, {"location": "West Europe", "properties": properties})


@pytest.fixture
def mine(providers: Any) -> Iterator[Any]:
    """A provider in AAD mode."""
    yield make(providers, "Mine01")
    providers.delete(GROUP, "mine01")


def administration(cloud: Cloud, url: str, **more: Any) -> Any:
    options = cloud.client_options() | {"retry_total": 0}
    return attestation.AttestationAdministrationClient(url, cloud.credential(), **options, **more)


class Signer:
    """A policy signer: an RSA key and its certificate, as PEM and in `x5c`."""

    def __init__(self, name: str, *, authority: bool = True) -> None:
        key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.pem = self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def keys(self) -> dict[str, Any]:
        return {"signing_key": self.key_pem, "signing_certificate": self.pem}

    @property
    def jwk(self) -> dict[str, Any]:
        der = self.certificate.public_bytes(Encoding.DER)
        return {"kty": "RSA", "x5c": [base64.b64encode(der).decode()]}


def code_of(error: pytest.ExceptionInfo[HttpResponseError]) -> tuple[int | None, str]:
    response = error.value.response
    assert response is not None
    return response.status_code, str(json.loads(response.text())["error"]["code"])


# --- the resource --------------------------------------------------------------------------------------------


def test_a_provider_from_cradle_to_grave(providers: Any) -> None:
    made = make(providers, "Cradle")
    assert made.properties.attest_uri == "https://cradle.weu.attest.azure.net"
    assert (made.properties.trust_model, made.properties.status, made.location) == ("AAD", "Ready", "westeurope")
    assert providers.get(GROUP, "cradle").id == made.id
    changed = providers.update(GROUP, "Cradle", {"tags": {"a": "b"}})
    assert changed.tags == {"a": "b"}
    assert "Cradle" in [each.name for each in providers.list_by_resource_group(GROUP).value]
    assert "Cradle" in [each.name for each in providers.list().value]
    providers.delete(GROUP, "Cradle")
    providers.delete(GROUP, "Cradle")  # 204
    with pytest.raises(ResourceNotFoundError):
        providers.get(GROUP, "Cradle")


def test_the_shared_providers_are_the_default_ones(providers: Any) -> None:
    assert providers.get_default_by_location("westeurope").properties.attest_uri == (
        "https://sharedweu.weu.attest.azure.net"
    )
    uris = {each.location: each.properties.attest_uri for each in providers.list_default().value}
    assert len(uris) == 59
    assert uris["eastus2"] == "https://sharedeus2.eus2.attest.azure.net"
    with pytest.raises(ResourceNotFoundError):
        providers.get_default_by_location("atlantis")


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("a-b", {"location": "westeurope", "properties": {}}, 400, "InvalidResourceName"),
        ("fine", {"location": "atlantis", "properties": {}}, 400, "LocationNotAvailableForResourceType"),
        ("sharedweu", {"location": "westeurope", "properties": {}}, 409, "Conflict"),
        ("fine", {"location": "westeurope", "properties": {"publicNetworkAccess": "Maybe"}}, 400, "BadRequest"),
        (
            "fine",
            {"location": "westeurope", "properties": {"policySigningCertificates": {"keys": [{"kty": "RSA"}]}}},
            400,
            "InvalidOperation",
        ),
    ],
)
def test_what_cannot_be_made(providers: Any, name: str, body: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(HttpResponseError) as error:
        providers.create(GROUP, name, body)
    assert code_of(error) == (status, code)
    with pytest.raises(ResourceNotFoundError):
        providers.get(GROUP, "fine")


def test_a_provider_that_is_deleted_answers_no_more_and_comes_back_as_another(
    sandbox: Endpoint, providers: Any, cloud: Cloud
) -> None:
    url = make(providers, "phoenix").properties.attest_uri
    administration(cloud, url).set_policy("SevSnpVm", PERMIT)
    before = send(sandbox, "GET", f"{url}/certs").json()
    providers.delete(GROUP, "phoenix")
    assert send(sandbox, "GET", f"{url}/certs").status == 404
    make(providers, "phoenix")
    assert send(sandbox, "GET", f"{url}/certs").json() != before
    text, _ = administration(cloud, url).get_policy("SevSnpVm")
    assert text == "version= 1.0;authorizationrules{=> permit();};"
    providers.delete(GROUP, "phoenix")


# --- policies in AAD mode ------------------------------------------------------------------------------------


def test_a_policy_is_set_read_and_reset(cloud: Cloud, mine: Any) -> None:
    """The client verifies each answer's signature by the provider's /certs, and the hash of what it has sent."""
    client = administration(cloud, mine.properties.attest_uri)
    result, _ = client.set_policy("AzureGuest", PERMIT)
    assert str(result.policy_resolution) in ("Updated", "PolicyModification.UPDATED")
    wrapped: Any = attestation.AttestationPolicyToken(PERMIT)
    assert result.policy_token_hash == hashlib.sha256(wrapped.to_jwt_string().encode()).digest()
    assert client.get_policy("azureGuest")[0] == PERMIT  # the type in any case
    result, _ = client.reset_policy("AzureGuest")
    assert str(result.policy_resolution) in ("Removed", "PolicyModification.REMOVED")
    assert "x-ms-azurevm-dbxvalidated" in client.get_policy("AzureGuest")[0]


def test_a_type_without_a_default_has_no_policy(cloud: Cloud, mine: Any) -> None:
    client = administration(cloud, mine.properties.attest_uri)
    assert client.get_policy("Tpm")[0] == ""
    client.set_policy("Tpm", PERMIT)
    assert client.get_policy("Tpm")[0] == PERMIT


def test_a_signed_policy_names_its_signer(cloud: Cloud, mine: Any) -> None:
    signer = Signer("anybody")
    client = administration(cloud, mine.properties.attest_uri, **signer.keys)
    result, _ = client.set_policy("SevSnpVm", PERMIT)
    assert result.policy_signer.certificates[0].replace("\n", "") in signer.pem.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("version=1.0\n[", "PolicyParsingError", "Line: '2', Column: '1'"),
        ("version=1.0;authorizationrules{=>permit()};", "PolicyParsingError", "expecting ';'"),
    ],
)
def test_a_policy_that_does_not_parse(cloud: Cloud, mine: Any, text: str, code: str, words: str) -> None:
    with pytest.raises(HttpResponseError) as error:
        administration(cloud, mine.properties.attest_uri).set_policy("SevSnpVm", text)
    assert code_of(error) == (400, code)
    assert words in json.loads(error.value.response.text())["error"]["message"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [  # Azure's troubleshooting guide has the first two, words included
        (PERMIT.replace(".", ""), "InvalidOperation", "Malformed JWT: Could not find first period in the token."),
        ("eyJhbGciOiJub25lIn0.a).", "InvalidOperation", "Unknown base64 character: 41 (')')"),
        ("eyJhbGciOiJub25lIn0.e30.", "InvalidOperation", "AttestationPolicy"),
        ("eyJhbGciOiJub25lIn0.e30", "InvalidOperation", "second period"),
        ("eyJhbGciOiJub25lIn0.e30.AAAA", "InvalidOperation", "has a signature"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "InvalidParameter", "algorithm"),
        ("e30.e30.", "InvalidOperation", "no JSON object with alg"),
        ("é", "InvalidOperation", "JSON Web Signature"),
    ],
)
def test_what_is_no_policy_token(sandbox: Endpoint, cloud: Cloud, mine: Any, body: str, code: str, words: str) -> None:
    answer = send(
        sandbox,
        "PUT",
        f"{mine.properties.attest_uri}/policies/SevSnpVm?api-version=2020-10-01",
        body.encode(),
        Authorization=f"Bearer {cloud.credential().get_token('https://attest.azure.net/.default').token}",
        Content_Type="text/plain",
    )
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)
    assert words in answer.json()["error"]["message"]


# --- who may -------------------------------------------------------------------------------------------------


def test_a_shared_provider_shows_its_policies_and_keeps_them(cloud: Cloud) -> None:
    client = administration(cloud, STAGE.attestation)
    assert client.get_policy("SevSnpVm")[0] == "version= 1.0;authorizationrules{=> permit();};"
    with pytest.raises(HttpResponseError) as error:
        client.set_policy("SevSnpVm", PERMIT)
    assert code_of(error) == (401, "Unauthorized")
    with pytest.raises(HttpResponseError) as error:
        client.reset_policy("SevSnpVm")
    assert code_of(error) == (401, "Unauthorized")
    assert client.get_policy_management_certificates()[0] == []


def test_without_a_role_it_is_401(sandbox: Endpoint, cloud: Cloud, mine: Any) -> None:
    url = f"{mine.properties.attest_uri}/policies/SevSnpVm?api-version=2020-10-01"
    wrong = cloud.credential().get_token("https://vault.azure.net/.default").token
    for bearer in ("", "Bearer x", f"Bearer {wrong}"):
        answer = send(sandbox, "GET", url, Authorization=bearer)
        assert (answer.status, answer.json()["error"]["code"]) == (401, "Unauthorized")
        assert (
            "https://attest.azure.net"
            in {name.lower(): value for name, value in answer.headers.items()}["www-authenticate"]
        )


def assign(sandbox: Endpoint, cloud: Cloud, role: str, scope: str, principal: str) -> None:
    """Give a role by its GUID, as the operator."""
    token = cloud.credential().get_token("https://management.azure.com/.default").token
    url = f"https://management.azure.com{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    definition = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    properties = {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal"}
    body = {"properties": properties}
    answer = send(sandbox, "PUT", f"{url}?api-version=2022-04-01", body, Authorization=f"Bearer {token}")
    assert answer.status == 201, answer.body


def test_roles_decide_who_may(sandbox: Endpoint, cloud: Cloud, mine: Any) -> None:
    """A VM's identity may do nothing, then read as Attestation Reader, then change as Attestation Contributor."""
    principal = enable(cloud, STAGE).object_id
    client = administration(cloud.enter(STAGE.vm), mine.properties.attest_uri)
    with pytest.raises(HttpResponseError) as error:
        client.get_policy("SevSnpVm")
    assert code_of(error) == (401, "Unauthorized")
    assign(sandbox, cloud, "fd1bd22b-8476-40bc-a0bc-69b95687b9f3", mine.id, principal)
    assert client.get_policy("SevSnpVm")[0]
    with pytest.raises(HttpResponseError) as error:
        client.set_policy("SevSnpVm", PERMIT)
    assert code_of(error) == (401, "Unauthorized")
    assign(sandbox, cloud, "bbf86eb8-f7b4-4cce-96e4-18cddf81d86e", mine.id, principal)
    client.set_policy("SevSnpVm", PERMIT)
    assert client.get_policy("SevSnpVm")[0] == PERMIT


# --- isolated mode -------------------------------------------------------------------------------------------


@pytest.fixture
def isolated(providers: Any) -> Iterator[tuple[str, Signer]]:
    signer = Signer("first")
    made = make(providers, "isolated01", policySigningCertificates={"keys": [signer.jwk]})
    assert made.properties.trust_model == "Isolated"
    yield made.properties.attest_uri, signer
    providers.delete(GROUP, "isolated01")


def test_an_isolated_provider_takes_signed_policies_alone(cloud: Cloud, isolated: tuple[str, Signer]) -> None:
    url, signer = isolated
    with pytest.raises(HttpResponseError) as error:
        administration(cloud, url).set_policy("SevSnpVm", PERMIT)
    assert code_of(error) == (400, "InvalidOperation")
    with pytest.raises(HttpResponseError) as error:
        administration(cloud, url, **Signer("stranger").keys).set_policy("SevSnpVm", PERMIT)
    assert code_of(error) == (400, "InvalidParameter")
    with pytest.raises(HttpResponseError) as error:
        administration(cloud, url).reset_policy("SevSnpVm")
    assert code_of(error) == (400, "InvalidOperation")
    client = administration(cloud, url, **signer.keys)
    client.set_policy("SevSnpVm", PERMIT)
    assert client.get_policy("SevSnpVm")[0] == PERMIT
    client.reset_policy("SevSnpVm")


def test_signers_are_added_and_removed_by_a_signer(cloud: Cloud, isolated: tuple[str, Signer]) -> None:
    url, first = isolated
    second = Signer("second")
    client = administration(cloud, url)
    shown, _ = client.get_policy_management_certificates()
    assert [x509.load_pem_x509_certificate(chain[0].encode()) for chain in shown] == [first.certificate]
    result, _ = client.add_policy_management_certificate(second.pem, **first.keys)
    assert str(result.certificate_resolution) in ("IsPresent", "CertificateModification.IS_PRESENT")
    der = second.certificate.public_bytes(Encoding.DER)
    assert result.certificate_thumbprint.lower() == hashlib.sha1(der).hexdigest()
    client.set_policy("SevSnpVm", PERMIT, **second.keys)
    with pytest.raises(HttpResponseError) as error:
        client.remove_policy_management_certificate(first.pem, **Signer("stranger").keys)
    assert code_of(error) == (400, "InvalidParameter")
    client.remove_policy_management_certificate(first.pem, **second.keys)
    with pytest.raises(HttpResponseError) as error:
        client.set_policy("SevSnpVm", PERMIT, **first.keys)
    assert code_of(error) == (400, "InvalidParameter")
    with pytest.raises(HttpResponseError) as error:  # the last one stays
        client.remove_policy_management_certificate(second.pem, **second.keys)
    assert code_of(error) == (400, "InvalidOperation")


def test_the_root_of_a_signer_must_be_an_authority(cloud: Cloud, mine: Any) -> None:
    with pytest.raises(HttpResponseError) as error:
        administration(cloud, mine.properties.attest_uri, **Signer("leaf", authority=False).keys).set_policy(
            "SevSnpVm", PERMIT
        )
    assert code_of(error) == (400, "InvalidParameter")
    assert "Unable to find issuer certificate CN=leaf" in str(error.value)


def test_a_provider_in_aad_mode_has_no_signers(cloud: Cloud, mine: Any) -> None:
    client = administration(cloud, mine.properties.attest_uri)
    assert client.get_policy_management_certificates()[0] == []
    with pytest.raises(HttpResponseError) as error:
        client.add_policy_management_certificate(Signer("one").pem, **Signer("two").keys)
    assert code_of(error) == (400, "InvalidOperation")


# --- the four steps ------------------------------------------------------------------------------------------


def test_a_key_is_released_to_a_vm_that_a_provider_of_ones_own_vouches_for(
    cloud: Cloud, mine: Any, sandbox: Endpoint
) -> None:
    """All the way: the provider's policy issues a claim, the vault takes the provider's keys, and after it is gone no
    more."""
    url = mine.properties.attest_uri
    rules = 'c:[type=="secureboot"] => issue(type="booted-securely", value=c.value);'
    policy = f"version= 1.0; authorizationrules {{ => permit(); }}; issuancerules {{ {rules} }};"
    administration(cloud, url).set_policy("AzureGuest", policy)
    walk = Walk(cloud=cloud, stage=replace(STAGE, attestation=url, key="of-mine"))
    walk.run()
    assert walk.attested is not None
    claims = walk.attested.token.claims
    assert claims["iss"] == url
    assert claims["x-ms-policy"] == {"booted-securely": True}
    encoded = base64.urlsafe_b64encode(policy.encode()).rstrip(b"=")
    hashed = base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()).rstrip(b"=").decode()
    assert claims["x-ms-policy-hash"] == hashed
    assert walk.released is not None


def test_another_region_has_its_own_authority(cloud: Cloud) -> None:
    stage = Stage(location="northeurope", resource_group="skrkit-neu", vm="cvm-neu", vault="skrkit-vault-neu")
    walk = Walk(cloud=cloud, stage=stage)
    walk.run()
    assert walk.attested is not None
    assert walk.attested.token.claims["iss"] == "https://sharedneu.neu.attest.azure.net"
    assert walk.released is not None
