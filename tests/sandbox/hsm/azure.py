"""A sandbox with a Managed HSM, reached as `tests.sandbox.vault.azure` reaches a vault; and holders of its domain."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from azure.keyvault.administration import KeyVaultAccessControlClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from skrkit.encoding import b64url
from skrkit.sandbox import entra
from skrkit.sandbox.hsm.app import app as hsm_app
from tests.sandbox.vault.azure import OPERATOR, SUBSCRIPTION, TENANT, Azure

ROLE = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/"
# The GUIDs stand here again, as Microsoft's page has them: what the sandbox says is held against these.
ROLES = {
    "Administrator": "a290e904-7015-4bba-90c8-60543313cdb4",
    "Crypto Officer": "515eb02d-2335-4d2d-92f2-b1cbdf9c3778",
    "Crypto User": "21dbd100-6940-42c2-9190-5d6cb909625b",
    "Policy Administrator": "4bd23610-cdcf-4971-bdee-bdc562cc28e4",
    "Crypto Auditor": "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3",
    "Crypto Service Encryption User": "33413926-3206-4cdd-b39a-83574fe37a17",
    "Crypto Service Release User": "21dbd100-6940-42c2-9190-5d6cb909625c",
    "Backup": "7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8",
    "Restore": "6efe6056-5259-49d2-8b3d-d3d73544b20b",
}
HOLDERS = [rsa.generate_private_key(65537, 2048) for _ in range(3)]


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "holder")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=365))
    return builder.sign(key, hashes.SHA256())


def jwk(key: rsa.RSAPrivateKey, **changed: Any) -> dict[str, Any]:
    """Return what the Azure CLI makes of a certificate: its key as JWK, with the certificate and its thumbprints."""
    der = certificate(key).public_bytes(Encoding.DER)
    numbers = key.public_key().public_numbers()
    made = {
        "kid": hashlib.sha1(der).hexdigest().upper(),
        "kty": "RSA",
        "key_ops": ["verify", "encrypt", "wrapKey"],
        "alg": "RSA-OAEP-256",
        "n": b64url(numbers.n.to_bytes(key.key_size // 8, "big")),
        "e": "AQAB",
        "x5c": [base64.b64encode(der).decode()],
        "x5t": b64url(hashlib.sha1(der).digest()),
        "x5t#S256": b64url(hashlib.sha256(der).digest()),
    }
    return made | changed


class HsmAzure(Azure):
    """One sandbox world with vaults, and the Managed HSM `pool`."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.apps["managedhsm.azure.net"] = hsm_app(self.world)

    def app_of(self, host: str) -> Any:
        return self.apps["managedhsm.azure.net"] if host.endswith(".managedhsm.azure.net") else super().app_of(host)

    def hsm_path(self, name: str = "pool") -> str:
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
        return f"{group}/providers/Microsoft.KeyVault/managedHSMs/{name}"

    def make_hsm(self, name: str = "pool", **properties: Any) -> requests.Response:
        body = {
            "location": "westeurope",
            "sku": {"family": "B", "name": "Standard_B1"},
            "properties": {"tenantId": TENANT, "initialAdminObjectIds": [OPERATOR.oid]} | properties,
        }
        return self.arm("PUT", f"{self.hsm_path(name)}?api-version=2026-05-15", body)

    def hsm(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        name: str = "pool",
        api: str = "7.5",
        principal: entra.Principal = OPERATOR,
        resource: str = "https://managedhsm.azure.net",
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Return the answer to a plain request to a Managed HSM."""
        token = self.credential(principal).get_token(f"{resource}/.default").token
        given = {"Authorization": f"Bearer {token}"} if headers is None else headers
        url = f"https://{name}.managedhsm.azure.net{path}"
        return self.session().request(
            method, url, params={"api-version": api} if api else {}, json=body, headers=given, timeout=5
        )

    def activate(self, name: str = "pool", *, required: int = 2) -> dict[str, Any]:
        answer = self.hsm("POST", "/securitydomain/download",
                          {"certificates": [jwk(key) for key in HOLDERS], "required": required}, name=name)  # fmt: skip
        assert answer.status_code == 202, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def grant(
        self,
        role: str,
        *,
        scope: str = "/keys",
        to: entra.Principal = OPERATOR,
        guid: str = "aaaaaaaa-0000-4000-8000-000000000001",
    ) -> requests.Response:
        where = "" if scope == "/" else scope
        body = {"properties": {"roleDefinitionId": ROLE + ROLES[role], "principalId": to.oid}}
        return self.hsm("PUT", f"{where}/providers/Microsoft.Authorization/roleAssignments/{guid}", body)

    def hsm_keys(self, principal: entra.Principal = OPERATOR) -> KeyClient:
        return KeyClient("https://pool.managedhsm.azure.net", self.credential(principal), **self.options())

    def hsm_cryptography(self, key: Any) -> CryptographyClient:
        return CryptographyClient(key, self.credential(), **self.options())

    def roles(self, principal: entra.Principal = OPERATOR) -> KeyVaultAccessControlClient:
        url = "https://pool.managedhsm.azure.net"
        return KeyVaultAccessControlClient(url, self.credential(principal), **self.options())
