"""Attestation tokens for release tests, made by PyJWT with the key of a provider of the sandbox, and their undoing."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key

from skrkit.encoding import b64url
from skrkit.sandbox.maa.keys import signing_key
from tests.sandbox.vault.azure import Azure

PROVIDER = "sharedweu.weu.attest.azure.net"
KEK = rsa.generate_private_key(65537, 2048)
PARAVISOR = rsa.generate_private_key(65537, 2048)  # of the other x-ms-runtime, which a release does not look at
POLICY: dict[str, Any] = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": f"https://{PROVIDER}",
            "allOf": [
                {"claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm"},
                {"claim": "x-ms-isolation-tee.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
            ],
        }
    ],
}


def encoded(policy: Any) -> str:
    return b64url(json.dumps(policy).encode())


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    n = numbers.n.to_bytes(key.key_size // 8, "big")
    return {"kid": kid, "kty": "RSA", "e": "AQAB", "n": b64url(n)} | (members or {"key_ops": ["encrypt"]})


def claims(azure: Azure) -> dict[str, Any]:
    """Return the claims of a good token, in the shape of a confidential VM's."""
    now = int(azure.clock.time.timestamp())
    return {
        "iss": f"https://{PROVIDER}",
        "iat": now,
        "nbf": now,
        "exp": now + 28800,
        "x-ms-attestation-type": "azurevm",
        "x-ms-isolation-tee": {
            "x-ms-attestation-type": "sevsnpvm",
            "x-ms-compliance-status": "azure-compliant-cvm",
            "x-ms-runtime": {"keys": [rsa_jwk(PARAVISOR, "HCLAkPub")]},
        },
        "x-ms-runtime": {"keys": [rsa_jwk(KEK, "TpmEphemeralEncryptionKey")]},
    }


def token(azure: Azure, content: dict[str, Any], *, key: Any = None, **header: Any) -> str:
    """Return the token over the claims, signed by the provider, or by another `key`."""
    provider = signing_key(azure.world, PROVIDER)
    fields = {"jku": f"https://{PROVIDER}/certs", "kid": provider.kid} | header
    return jwt.encode(content, key or provider.key, "RS256", headers=fields)


def part(jws: str, number: int) -> dict[str, Any]:
    text = jws.split(".")[number]
    document: dict[str, Any] = json.loads(_bytes(text))
    return document


def envelope(jws: str) -> dict[str, Any]:
    """Return the JSON inside `key_hsm`."""
    document: dict[str, Any] = json.loads(_bytes(part(jws, 1)["response"]["key"]["key"]["key_hsm"]))
    return document


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def ciphertext(jws: str) -> bytes:
    return _bytes(envelope(jws)["ciphertext"])


def unwrapped(jws: str, hashed: hashes.HashAlgorithm, kek: rsa.RSAPrivateKey = KEK) -> Any:
    """Return the released private key, unwrapped as the documents say."""
    both, size = ciphertext(jws), kek.key_size // 8
    aes_key = kek.decrypt(both[:size], padding.OAEP(padding.MGF1(hashed), hashed, None))
    assert len(aes_key) == 32
    return load_der_private_key(aes_key_unwrap_with_padding(aes_key, both[size:]), None)
