"""IMDS through the door of a VM: the identity it speaks for, the host's certificates, and the VM that ARM made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from skrkit.sandbox.endpoint import Endpoint, VmDoor, read_endpoint
from tests.sandbox import running
from tests.sandbox.running import IMDS, LOGIN, STAGE, Answer, bearer, send

NAME = "cvm-imds"
TOKEN = "/metadata/identity/oauth2/token"
VAULT = "https://vault.azure.net"


@dataclass(frozen=True)
class Machine:
    """A VM of these tests' own, whose identity comes in the course of them."""

    endpoint: Endpoint
    door: VmDoor
    body: Any
    token: str

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        named = {"Metadata": "true"} | headers
        url = IMDS + path
        return send(self.endpoint, method, url, port=self.door.proxy_port, **named)

    def arm(self, method: str, body: Any = None) -> Answer:
        url = running.vm_url(self.endpoint, NAME)
        answer = send(self.endpoint, method, url, body, Authorization=bearer(self.token))
        assert answer.status < 300, answer.body
        return answer


@pytest.fixture(scope="module")
def machine(sandbox: Endpoint) -> Iterator[Machine]:
    token = running.operator_token(sandbox)
    body = {**running.vm_body(sandbox, NAME), "tags": {"a": "1", "b": "two"}}
    made = send(sandbox, "PUT", running.vm_url(sandbox, NAME), body, Authorization=bearer(token))
    assert made.status == 201, made.body
    now = read_endpoint(sandbox.home)
    assert now is not None
    machine = Machine(sandbox, now.vm(NAME), made.json(), token)
    yield machine
    machine.arm("DELETE")


@pytest.fixture(scope="module")
def identity(machine: Machine) -> Any:
    """The principal id after the VM was given a system-assigned identity. Tests before this see a VM without one."""
    before = machine.get(f"{TOKEN}?api-version=2018-02-01&resource={VAULT}")
    assert (before.status, before.json()) == (
        400, {"error": "invalid_request", "error_description": "Identity not found"},
    )  # fmt: skip
    machine.arm("PATCH", {"identity": {"type": "SystemAssigned"}})
    return machine.arm("GET").json()["identity"]


def test_instance(machine: Machine) -> None:
    document = machine.get("/metadata/instance?api-version=2021-12-13").json()
    compute = document["compute"]
    assert compute["name"] == NAME
    assert compute["vmId"] == machine.body["properties"]["vmId"]
    assert compute["resourceId"].lower() == machine.body["id"].lower()
    assert compute["subscriptionId"] == machine.endpoint.subscription
    assert compute["resourceGroupName"].lower() == STAGE.resource_group
    assert (compute["location"], compute["vmSize"]) == ("westeurope", "Standard_DC2as_v5")
    assert compute["securityProfile"] == {
        "secureBootEnabled": "true", "virtualTpmEnabled": "true", "encryptionAtHost": "false",
        "securityType": "ConfidentialVM",
    }  # fmt: skip
    assert compute["tags"] == "a:1;b:two"
    assert compute["tagsList"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "two"}]
    assert document["network"]["interface"][0]["ipv4"]["subnet"][0]["prefix"] == "24"


def test_a_token_speaks_for_the_vm(machine: Machine, identity: Any) -> None:
    said = machine.get(f"{TOKEN}?api-version=2018-02-01&resource={VAULT}").json()
    assert all(isinstance(value, str) for value in said.values())
    assert (said["token_type"], said["resource"], said["refresh_token"]) == ("Bearer", VAULT, "")
    assert int(said["expires_in"]) >= 3600
    tenant = machine.endpoint.tenant
    keys = jwt.PyJWKSet.from_dict(send(machine.endpoint, "GET", f"{LOGIN}/{tenant}/discovery/keys").json())
    key = keys[jwt.get_unverified_header(said["access_token"])["kid"]]
    claims = jwt.decode(said["access_token"], key, algorithms=["RS256"], audience=VAULT)
    assert claims["oid"] == claims["sub"] == identity["principalId"]
    assert (claims["tid"], claims["appid"]) == (tenant, said["client_id"])
    assert claims["exp"] == int(said["expires_on"])
    mirid = claims["xms_mirid"]
    assert "/resourcegroups/" in mirid
    assert mirid.lower() == machine.body["id"].lower()


def test_only_its_own_identity_can_be_named(machine: Machine, identity: Any) -> None:
    base = f"{TOKEN}?api-version=2018-02-01&resource={VAULT}"
    client = machine.get(base).json()["client_id"]
    other = "00000000-0000-0000-0000-000000000000"
    own = {"client_id": client, "object_id": identity["principalId"]}
    for name, value in own.items():
        assert machine.get(f"{base}&{name}={value}").status == 200
        refused = machine.get(f"{base}&{name}={other}")
        assert (refused.status, refused.json()["error_description"]) == (400, "Identity not found")
    assert machine.get(f"{base}&msi_res_id=/subscriptions/{other}/x").status == 400


def test_a_wrong_path_of_the_identity_service(machine: Machine) -> None:
    answer = machine.get("/metadata/identity/oauth2/tokens?api-version=2018-02-01")
    assert (answer.status, answer.json()["error"]) == (401, "unknown_source")
    info = machine.get("/metadata/identity/info?api-version=2018-02-01")
    assert info.json() == {"tenantId": machine.endpoint.tenant}


def test_the_certificates_of_the_host_form_a_chain(machine: Machine) -> None:
    """Signatures are checked by cryptography alone: RSASSA-PSS with SHA-384 up to a root that signs itself."""
    said = machine.get("/metadata/THIM/amd/certification").json()
    members = ("vcekCert", "tcbm", "certificateChain", "cacheControl")  # each a text, as Microsoft's clients read them
    assert {name: type(value) for name, value in said.items()} == dict.fromkeys(members, str)
    (vcek,) = x509.load_pem_x509_certificates(said["vcekCert"].encode())
    ask, ark = x509.load_pem_x509_certificates(said["certificateChain"].encode())
    for certificate, issuer in ((vcek, ask), (ask, ark), (ark, ark)):
        key = issuer.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        assert key.key_size == 4096
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)
        certificate.verify_directly_issued_by(issuer)
    leaf = vcek.public_key()
    assert isinstance(leaf, ec.EllipticCurvePublicKey)
    assert leaf.curve.name == "secp384r1"
    assert len(said["tcbm"]) == 16
    assert said["tcbm"] == said["tcbm"].upper()
    assert int(said["tcbm"], 16) > 0
    assert int(said["cacheControl"]) > 0
    assert "\r" not in said["vcekCert"] + said["certificateChain"]
