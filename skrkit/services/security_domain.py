"""The security domain of a Managed HSM: its download, which makes the HSM active."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skrkit.encoding import b64url
from skrkit.errors import ServiceError, UsageError
from skrkit.services.azure_errors import azure_call
from skrkit.services.hsm import local_roles

if TYPE_CHECKING:
    from azure.keyvault.administration import KeyVaultAccessControlClient
    from cryptography import x509

    from skrkit.cloud import Cloud
    from skrkit.wire import Json

RECIPIENTS, MIN_QUORUM = range(3, 11), 2
TIMEOUT_S, POLL_S = 600.0, 5.0  # how long an activation takes is not written anywhere


def activate(
    cloud: Cloud,
    hsm_url: str,
    recipients: Sequence[x509.Certificate],
    *,
    quorum: int,
    keep: Callable[[bytes], None] = lambda _domain: None,
) -> bytes:
    """Return the security domain of a Managed HSM, sealed to the recipients: with its download the HSM is active.

    Any `quorum` of the recipients' private keys restore the HSM after a disaster, and nothing else does: `keep` gets
    the domain as soon as it is here, before anything is waited for. The caller is
    an administrator of the HSM. Raises `UsageError` for recipients that the HSM would not take, `ServiceError` when it
    refuses. Source: Azure REST API, Key Vault: HSM Security Domain, Download.
    """
    from azure.core.rest import HttpRequest

    check_recipients(recipients, quorum)
    body = {"certificates": [_recipient(each) for each in recipients], "required": quorum}
    with azure_call(f"activation of {hsm_url}"), local_roles(cloud, hsm_url) as client:
        response = client.send_request(HttpRequest("POST", f"{hsm_url}/securitydomain/download", json=body))
        _raise_for_status(response)
        domain = str(json.loads(response.text())["value"]).encode()
        keep(domain)
        _wait_until_active(client, hsm_url)
    return domain


def _wait_until_active(client: KeyVaultAccessControlClient, hsm_url: str) -> None:
    from azure.core.rest import HttpRequest

    until = time.monotonic() + TIMEOUT_S
    while True:
        response = client.send_request(HttpRequest("GET", f"{hsm_url}/securitydomain/download/pending"))
        _raise_for_status(response)
        said = json.loads(response.text())
        if said.get("status") == "Success":
            return
        if said.get("status") == "Failed" or time.monotonic() >= until:
            raise ServiceError(
                what=f"activation of {hsm_url}",
                where="GET /securitydomain/download/pending",
                expected="status Success",
                found=f"{said.get('status')}: {said.get('status_details') or 'no details'}",
                fix="Download the security domain again: az keyvault security-domain download --hsm-name HSM …",
            )
        time.sleep(POLL_S)


def _raise_for_status(response: Any) -> None:
    """Raise azure-core's error for a refusal: its subclasses by status, as the SDK's own calls do."""
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
        map_error,
    )

    if response.status_code < 400:
        return
    errors: Any = {401: ClientAuthenticationError, 404: ResourceNotFoundError}
    map_error(status_code=response.status_code, response=response, error_map=errors)
    raise HttpResponseError(response=response)


def check_recipients(recipients: Sequence[x509.Certificate], quorum: int) -> None:
    """Return nothing if an HSM would take these certificates for its domain. Raises `UsageError`."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    keys = [each.public_key() for each in recipients]
    small = [place for place, key in enumerate(keys) if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048]
    expected, found = "", ""
    if len(recipients) not in RECIPIENTS:
        expected, found = "3 to 10 certificates", str(len(recipients))
    elif small:
        expected, found = "RSA keys of 2048 bits or more", f"another key in certificate {small[0] + 1}"
    elif not MIN_QUORUM <= quorum <= len(recipients):
        expected, found = f"a quorum of {MIN_QUORUM} to {len(recipients)}", str(quorum)
    if expected:
        raise UsageError(
            what="recipients of the security domain",
            where="activate()",
            expected=expected,
            found=found,
            fix="openssl req -newkey rsa:2048 -nodes -keyout holder1.key -x509 -days 365 -out holder1.cer   for each",
            source="Microsoft's documents on the security domain of Managed HSM",
        )


def _recipient(certificate: x509.Certificate) -> dict[str, Json]:
    """Return a certificate as the JSON Web Key that the HSM asks for (RFC 7517 section 4)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    numbers = key.public_numbers()
    sha1 = certificate.fingerprint(hashes.SHA1())  # noqa: S303  # x5t is SHA-1 by its definition
    return {
        "kid": sha1.hex().upper(),
        "kty": "RSA",
        "key_ops": ["verify", "encrypt", "wrapKey"],
        "alg": "RSA-OAEP-256",
        "n": b64url(numbers.n.to_bytes(key.key_size // 8, "big")),
        "e": b64url(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")],
        "x5t": b64url(sha1),
        "x5t#S256": b64url(certificate.fingerprint(hashes.SHA256())),
    }
