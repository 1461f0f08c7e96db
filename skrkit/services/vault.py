"""Key Vault's data plane through its own SDK: create keys with a release policy, read them, release them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skrkit.errors import ServiceError
from skrkit.services.azure_errors import azure_call, refusal

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyClient

    from skrkit.cloud import Cloud
    from skrkit.release.request import ReleaseRequest
    from skrkit.wire import Json


def key_client(cloud: Cloud, vault_url: str, transport: Any = None) -> KeyClient:
    """Return the SDK's client for the keys of one vault, as the identity of this side of the cloud."""
    from azure.keyvault.keys import KeyClient

    return KeyClient(vault_url, cloud.credential(), **cloud.client_options(transport))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """The relying party: one vault. Reads with `reader`'s identity, releases with `releaser`'s (the VM's).

    They differ because the right to release does not include the right to read; inside a VM in Azure there is no
    reader.
    """

    url: str
    reader: KeyClient | None = field(repr=False)
    releaser: KeyClient = field(repr=False)

    @property
    def host(self) -> str:
        """The vault's host name."""
        return self.url.removeprefix("https://").rstrip("/")

    def release(self, key: str, version: str, request: ReleaseRequest) -> bytes:
        """Return the compact JWS of the answer. Raises `ReleaseRefused` with Key Vault's own words on a 403."""
        from azure.core.exceptions import AzureError, HttpResponseError
        from azure.keyvault.keys import KeyExportEncryptionAlgorithm

        from skrkit.services.azure_errors import service_error

        what = f"release of key {key}"
        algorithm = KeyExportEncryptionAlgorithm(request.enc.value)
        try:
            result = self.releaser.release_key(
                key, request.target, version=version or None, algorithm=algorithm, nonce=request.nonce
            )
        except HttpResponseError as error:
            raise refusal(error, what) from error
        except AzureError as error:
            raise service_error(error, what) from error
        if not result.value:
            raise ServiceError(
                what=what, where=self.url, expected="a signed response", found="nothing", fix="Try the release again."
            )
        return str(result.value).encode("ascii")

    def encrypt_symmetric(self, key: str, version: str, message: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Return nonce, ciphertext and tag of a message that an oct-HSM key of 256 bits sealed by AES-GCM, in the HSM.

        None without a reader.
        """
        from azure.keyvault.keys.crypto import EncryptionAlgorithm

        if self.reader is None:
            return None
        with azure_call(f"encryption with key {key}"):
            client = self.reader.get_cryptography_client(key, key_version=version or None)
            sealed = client.encrypt(EncryptionAlgorithm.a256_gcm, message)
        return bytes(sealed.iv or b""), bytes(sealed.ciphertext), bytes(sealed.tag or b"")

    def public_key(self, key: str, version: str) -> Mapping[str, Json] | None:
        """Return the key's public JWK members: kid, kty, key_ops, and n and e, or crv, x and y, in base64url.

        None without a reader.
        """
        from skrkit.encoding import b64url

        if self.reader is None:
            return None
        with azure_call(f"public half of key {key}"):
            found = self.reader.get_key(key, version or None)
        members: dict[str, Json] = {"kid": found.id, "kty": str(getattr(found.key_type, "value", found.key_type))}
        for name in ("n", "e", "x", "y"):
            value = getattr(found.key, name, None)
            if value is not None:
                members[name] = b64url(value)
        curve = getattr(found.key, "crv", None)
        if curve is not None:
            members["crv"] = str(getattr(curve, "value", curve))
        members["key_ops"] = [str(getattr(op, "value", op)) for op in found.key_operations]
        return members
