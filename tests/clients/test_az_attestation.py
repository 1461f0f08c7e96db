"""`az attestation`: what it sends, and what it needs of the answers to print them.

It is an extension of the Azure CLI that no package registry has. The first tests are therefore its request form, and
not the client: URLs, api-versions, headers and bodies as version 1.0.0 of the extension sends them, and members of the
answers as its recordings of Azure have them (Azure/azure-cli-extensions, src/attestation). The last test is the client
itself, where SKRKIT_AZ_EXTENSIONS names a folder that holds it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from skrkit.sandbox.endpoint import Endpoint
from tests.clients.test_curl import b64url, claims_of
from tests.clients.test_guide import AZ, GUIDE
from tests.sandbox.running import ARM, STAGE, Answer, bearer, operator_token, send, skrkit

ATTEST = "https://attest.azure.net"
PROVIDERS = "providers/Microsoft.Attestation/attestationProviders"
MANAGEMENT, ENDPOINT, DATA = "2020-10-01", "2021-06-01", "2022-08-01"  # the api-versions, by what they are for
EXTENSIONS = os.environ.get("SKRKIT_AZ_EXTENSIONS", "")
POLICY = 'version= 1.0;\nauthorizationrules { [type=="x-ms-compliance-status"] => permit(); };\n'
RESOURCE = {"id", "name", "type", "location", "properties"}
PROPERTIES = {"trustModel", "status", "attestUri"}
SWITCHES = {"publicNetworkAccess", "tpmAttestationAuthentication"}
REGISTERED = {"exp", "iat", "iss", "nbf"}
Az = Callable[..., Answer]


@pytest.fixture(scope="module")
def az(sandbox: Endpoint) -> Az:
    """Send a request as the extension does: an ARM path from the subscription on, or a URL; a text is JSON too."""
    tokens = {True: operator_token(sandbox), False: operator_token(sandbox, ATTEST)}

    def sent(method: str, where: str, version: str, body: Any = None) -> Answer:
        arm = not where.startswith("https://")
        url = f"{ARM}/subscriptions/{sandbox.subscription}/{where}" if arm else where
        headers = {"Accept": "application/json", "Authorization": bearer(tokens[arm])}
        if body is not None:
            headers["Content-Type"] = "application/json"
        text = None if body is None else json.dumps(body)
        return send(sandbox, method, f"{url}?api-version={version}", text, port=None, **headers)

    return sent


def path(name: str = "") -> str:
    return f"resourceGroups/{STAGE.resource_group}/{PROVIDERS}/{name}".rstrip("/")


def token_of(answer: Answer, provider: str) -> Any:
    """The claims of an answer about policies or signers, with its header and registered claims held to recordings."""
    assert answer.status == 200, answer.body
    assert answer.json().keys() == {"token"}
    token = answer.json()["token"]
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "RS256", "jku": f"{provider}/certs", "kid": header["kid"], "typ": "JWT"}
    claims = claims_of(token)
    assert claims["iss"] == provider
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["nbf"] == claims["iat"]
    return {name: value for name, value in claims.items() if name not in REGISTERED}


class Signer:
    """A policy signer with a certificate that it made itself, and what it signs."""

    def __init__(self, name: str) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(self.key.public_key())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = made.serial_number(x509.random_serial_number()).sign(self.key, hashes.SHA256())

    @property
    def x5c(self) -> list[str]:
        return [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]

    @property
    def jwk(self) -> dict[str, Any]:
        """As the extension makes it of a PEM file, and as Azure shows it."""
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "x5c": self.x5c}

    def signed(self, payload: dict[str, Any]) -> str:
        return jwt.encode(payload, self.key, "RS256", headers={"x5c": self.x5c, "typ": None})


def wrapped(text: str) -> dict[str, str]:
    return {"AttestationPolicy": b64url(text.encode())}


@pytest.fixture
def provider(az: Az) -> Iterator[str]:
    """`az attestation create`, and at the end `delete`. The extension sends an empty list of keys."""
    body = {"location": "westeurope", "properties": {"policySigningCertificates": {"keys": []}}}
    made = az("PUT", path("azform"), MANAGEMENT, body)
    assert made.status == 201
    assert made.json().keys() == RESOURCE
    assert made.json()["properties"] == {
        "trustModel": "AAD", "status": "Ready", "attestUri": "https://azform.weu.attest.azure.net",
    }  # fmt: skip
    assert {name.lower(): value for name, value in made.headers.items()}["location"] == (
        "https://azform.weu.attest.azure.net/"
    )
    yield made.json()["properties"]["attestUri"]
    gone = az("DELETE", path("azform"), MANAGEMENT)
    assert (gone.status, gone.body) == (200, b"")


def test_show_list_and_update(az: Az, provider: str) -> None:
    shown = az("GET", path("azform"), MANAGEMENT).json()
    assert (shown.keys(), shown["properties"].keys()) == (RESOURCE, PROPERTIES)
    for where in (path(), PROVIDERS):
        listed = az("GET", where, MANAGEMENT).json()
        assert listed.keys() == {"value"}
        assert shown in listed["value"]
    changed = az("PATCH", path("azform"), MANAGEMENT, {"tags": {"a": "b"}}).json()
    assert changed == {**shown, "tags": {"a": "b"}}
    assert az("PUT", path("azform"), MANAGEMENT, {"location": "westeurope", "properties": {}}).status == 200


def test_where_the_data_plane_is_comes_from_a_newer_version(az: Az, provider: str) -> None:
    """The client reads `attestUri` of this answer before every call about policies and signers."""
    found = az("GET", path("azform"), ENDPOINT).json()
    assert found["properties"] == {
        "trustModel": "AAD", "status": "Ready", "attestUri": provider, **dict.fromkeys(SWITCHES),
    }  # fmt: skip


def test_the_default_providers(az: Az) -> None:
    one = az("GET", "providers/Microsoft.Attestation/locations/West%20US/defaultProvider", MANAGEMENT).json()
    assert one == {
        "id": "/providers/Microsoft.Attestation/attestationProviders/sharedwus", "name": "sharedwus",
        "type": "Microsoft.Attestation/attestationProviders", "location": "West US",
        "properties": {"trustModel": "AAD", "status": "Ready", "attestUri": "https://sharedwus.wus.attest.azure.net"},
    }  # fmt: skip
    every = az("GET", "providers/Microsoft.Attestation/defaultProviders", MANAGEMENT).json()
    assert "sharedwus" in [each["name"] for each in every["value"]]


def test_policy_set_show_and_reset(az: Az, provider: str) -> None:
    """A policy travels as a JSON string; its text in a JWS of PyJWT, whose header also has `typ`."""
    url = f"{provider}/policies/SevSnpVm"
    sent = jwt.encode(wrapped(POLICY), key="", algorithm="none")
    said = token_of(az("PUT", url, DATA, sent), provider)
    assert said == {
        "x-ms-policy-result": "Updated",
        "x-ms-policy-token-hash": b64url(hashlib.sha256(sent.encode()).digest()),
    }
    shown = token_of(az("GET", url, DATA), provider)
    assert shown == {"x-ms-policy": sent}
    read = jwt.decode(shown["x-ms-policy"], algorithms=["RS256"], options={"verify_signature": False})
    text = base64.b64decode(read["AttestationPolicy"].replace("-", "+").replace("_", "/") + "==").decode("ascii")
    assert text == POLICY
    assert token_of(az("POST", f"{url}:reset", DATA, "eyJhbGciOiJub25lIn0.."), provider) == {
        "x-ms-policy-result": "Removed"
    }
    default = token_of(az("GET", url, DATA), provider)["x-ms-policy"]
    assert re.fullmatch(r"eyJhbGciOiJub25lIn0\.eyJBdHRlc3RhdGlvblBvbGljeSI6I[A-Za-z0-9_-]+\.", default)


def test_signers_and_what_they_sign(az: Az) -> None:
    first, second = Signer("first"), Signer("second")
    body = {"location": "westeurope", "properties": {"policySigningCertificates": {"keys": [first.jwk]}}}
    made = az("PUT", path("azsigned"), MANAGEMENT, body).json()
    assert made["properties"]["trustModel"] == "Isolated"
    url = made["properties"]["attestUri"]
    try:
        assert token_of(az("GET", f"{url}/certificates", DATA), url) == {
            "x-ms-policy-certificates": {"keys": [first.jwk]}
        }
        token = first.signed({"policyCertificate": {"kty": "RSA", "x5c": second.x5c}})
        thumbprint = hashlib.sha1(second.certificate.public_bytes(Encoding.DER)).hexdigest().upper()
        for action, result, left in (("add", "IsPresent", [first, second]), ("remove", "IsAbsent", [first])):
            assert token_of(az("POST", f"{url}/certificates:{action}", DATA, token), url) == {
                "x-ms-certificate-thumbprint": thumbprint,
                "x-ms-policycertificates-result": result,
            }
            listed = token_of(az("GET", f"{url}/certificates", DATA), url)["x-ms-policy-certificates"]["keys"]
            assert listed == [each.jwk for each in left]
        said = token_of(az("PUT", f"{url}/policies/SevSnpVm", DATA, first.signed(wrapped(POLICY))), url)
        assert said["x-ms-policy-signer"] == first.jwk
        gone = az("POST", f"{url}/policies/SevSnpVm:reset", DATA, first.signed({}))
        assert token_of(gone, url) == {"x-ms-policy-result": "Removed"}  # without the signer: as recorded
    finally:
        az("DELETE", path("azsigned"), MANAGEMENT)


@pytest.mark.skipif(
    AZ is None or not Path(EXTENSIONS, "attestation").is_dir(),
    reason="NO EXTENSION `attestation` OF THE AZURE CLI: its requests were sent, but not by it. Install it, and set "
    "SKRKIT_AZ_EXTENSIONS=the folder that holds `attestation`.",
)
def test_the_client_itself(sandbox: Endpoint, tmp_path: Path) -> None:
    assert AZ is not None
    first, second = Signer("first"), Signer("second")
    files = {
        "policy": POLICY,
        "signer.pem": first.certificate.public_bytes(Encoding.PEM).decode(),
        "signed": first.signed(wrapped(POLICY)),
        "another": first.signed({"policyCertificate": {"kty": "RSA", "x5c": second.x5c}}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    variables = {
        "AZURE_CONFIG_DIR": str(tmp_path / "azure"),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "AZURE_EXTENSION_DIR": EXTENSIONS,
        "PATH": f"{Path(AZ).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ("sh", str(GUIDE / "azure_cli_attestation.sh"), STAGE.resource_group)
    arguments = (str(tmp_path / name) for name in files)
    done = skrkit(sandbox.home, "sandbox", "exec", "--", *command, *arguments, seconds=300, **variables)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
