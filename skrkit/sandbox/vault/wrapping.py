"""How a released key is wrapped: a fresh AES-256 key under the VM's RSA key, the private key under that AES key."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skrkit.encoding import b64url
from skrkit.sandbox import chance
from skrkit.sandbox.vault.material import PrivateKey

# `enc` of a release request -> the hash of OAEP and of its MGF1. The AES key has 256 bits in all three.
OAEP_HASH: dict[str, hashes.HashAlgorithm] = {
    "CKM_RSA_AES_KEY_WRAP": hashes.SHA1(),  # noqa: S303  # the mechanism's own default
    "RSA_AES_KEY_WRAP_256": hashes.SHA256(),
    "RSA_AES_KEY_WRAP_384": hashes.SHA384(),
}
DEFAULT_ENC = "CKM_RSA_AES_KEY_WRAP"
AES_KEY_BYTES = 32


def wrapped(private: PrivateKey | bytes, kek: rsa.RSAPublicKey, enc: str) -> bytes:
    """Return RSA-OAEP(kek, K) followed by AES-KWP(K, PKCS#8 DER of `private`), K fresh; the first part as long as kek.

    A symmetric key is wrapped as it is, without PKCS#8.

    Source: PKCS#11 v3.0 section 2.1.21 (CKM_RSA_AES_KEY_WRAP); RFC 5649 for the padding.
    """
    hashed = OAEP_HASH[enc]
    aes_key = chance.token_bytes("release/kek", AES_KEY_BYTES)
    first = kek.encrypt(aes_key, padding.OAEP(padding.MGF1(hashed), hashed, None))
    material = (
        private
        if isinstance(private, bytes)
        else private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    )
    return first + aes_key_wrap_with_padding(aes_key, material)


def key_hsm(ciphertext: bytes, *, kid: str, enc: str, in_order: bool = False) -> str:
    """Return the `key_hsm` member: base64url of the JSON around a wrapped key. `kid` is the wrapping key's.

    `in_order` sorts the members by name, as a Managed HSM does.
    """
    document = {
        "schema_version": "1.0",
        "header": {"kid": kid, "alg": "dir", "enc": enc},
        "ciphertext": b64url(ciphertext),
    }
    return b64url(json.dumps(document, separators=(",", ":"), sort_keys=in_order).encode())
