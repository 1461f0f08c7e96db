"""What goes to `POST /keys/{name}/{version}/release`, and the three ways in which the key may come back wrapped."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

from skrkit.errors import UsageError
from skrkit.wire import Json

OaepHash: TypeAlias = Literal["sha1", "sha256", "sha384"]
OaepScheme: TypeAlias = Literal["oaep-sha1", "oaep-sha256", "oaep-sha384"]

_HASHES: dict[str, OaepHash] = {
    "CKM_RSA_AES_KEY_WRAP": "sha1",
    "RSA_AES_KEY_WRAP_256": "sha256",
    "RSA_AES_KEY_WRAP_384": "sha384",
}
_SCHEMES: dict[OaepHash, OaepScheme] = {"sha1": "oaep-sha1", "sha256": "oaep-sha256", "sha384": "oaep-sha384"}


class Enc(Enum):
    """How the key is wrapped: an AES-256 key under RSA-OAEP, and the private key under that AES key (RFC 5649).

    The three differ in the OAEP hash alone, which is also the hash of MGF1; the OAEP label is empty.
    Source: Key Vault REST API, `enc` of the release operation; the service takes the first when none is sent.
    """

    CKM_RSA_AES_KEY_WRAP = "CKM_RSA_AES_KEY_WRAP"
    RSA_AES_KEY_WRAP_256 = "RSA_AES_KEY_WRAP_256"
    RSA_AES_KEY_WRAP_384 = "RSA_AES_KEY_WRAP_384"

    @property
    def hash(self) -> OaepHash:
        """The OAEP and MGF1 hash."""
        return _HASHES[self.value]

    @property
    def tpm_scheme(self) -> OaepScheme:
        """The scheme that the vTPM's RSA_Decrypt is asked for."""
        return _SCHEMES[self.hash]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """The body of a release request. `target` is the attestation token, compact form: a secret, never shown.

    `nonce` is free text for freshness, or None. `enc` is always sent, although the service has a default: a
    client that asked can check what it got. Raises `UsageError` for an empty target or nonce.
    Source: Key Vault REST API, KeyReleaseParameters.
    """

    target: str = field(repr=False)
    nonce: str | None = None
    enc: Enc = Enc.RSA_AES_KEY_WRAP_256

    def __post_init__(self) -> None:
        """Refuse what the service would refuse, before anything is sent."""
        for name, value in (("target", self.target), ("nonce", self.nonce)):
            if value == "":
                raise UsageError(
                    what=f"release request {name}",
                    where=f"/{name}",
                    expected="text of at least one character",
                    found="empty text",
                    fix="Pass the attestation token as MAA gave it." if name == "target" else "Leave the nonce out.",
                )

    def body(self) -> dict[str, Json]:
        """Return the JSON body that is sent. It holds the token: a secret until the token expires."""
        members: dict[str, Json] = {"target": self.target, "enc": self.enc.value}
        if self.nonce is not None:
            members["nonce"] = self.nonce
        return members
