"""Faults of the attestation token: what Azure Attestation answers is not what it should be, or is not its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skrkit.encoding import b64url, b64url_bytes
from skrkit.sandbox import keygen
from skrkit.sandbox.faults.fault import Fault

if TYPE_CHECKING:
    from skrkit.sandbox.maa.keys import SigningKey
    from skrkit.sandbox.world import World

EARLIER = timedelta(hours=1)  # when a replayed token was issued
LONG_AGO = timedelta(hours=9)  # a token lives eight
EARLIER_NONCE = "an earlier request"
STRANGER = "intruder.weu.attest.azure.net"
"""Another tenant's provider in the same region: such providers may share the keys that they sign with."""
ELSEWHERE = "contoso.neu.attest.azure.net"
"""A provider that nobody here has configured, with keys of its own."""
FOREIGN_KEYS = "https://keys.attest.example/certs"


def _fault(name: str, title: str, does: str, *, attack: bool = False) -> Fault:
    return Fault(name=f"token.{name}", group="token", title=title, does=does, attack=attack)


# In the order in which a client meets them where several are on: the envelope is opened first; of the others, one token
# stands in for the right one, that of the first.
FAULTS: tuple[Fault, ...] = (
    _fault(
        "envelope",
        "The token is sealed to another key",
        "The envelope around the token is for another key than this VM's: its vTPM cannot open it.",
    ),
    _fault(
        "expired",
        "The token has expired",
        "Azure Attestation answers with a token that was issued nine hours ago, one more than a token lives.",
    ),
    _fault(
        "not-yet-valid",
        "The token is of the future",
        "Azure Attestation answers with a token that becomes valid in an hour.",
    ),
    _fault(
        "jku-swap",
        "The token names keys of somebody else",
        "An attacker signs the token with a key of his own, and its jku points to where that key is published.",
        attack=True,
    ),
    _fault(
        "algorithm-none",
        "The token is not signed",
        "The token's header says alg none, and its signature is empty.",
        attack=True,
    ),
    _fault(
        "algorithm-confusion",
        "The token is signed with the public key as a secret",
        "The token's header says alg HS256, and its HMAC is keyed with the provider's public key, which all know.",
        attack=True,
    ),
    _fault(
        "other-tenant",
        "The token is of another tenant's provider",
        "The token was issued by the provider of another tenant, which shares its signing key: the signature holds.",
        attack=True,
    ),
    _fault(
        "other-authority",
        "The token is of a provider that nobody configured",
        "The token was issued and signed by a provider that neither this client nor the release policy names.",
    ),
    _fault(
        "signing-key-rotated",
        "The token's signing key is not published",
        "Azure Attestation signs with a new key, whose kid its /certs does not have.",
    ),
    _fault(
        "signature",
        "The token's signature does not hold",
        "One bit of the token's signature is flipped on the way.",
    ),
    _fault(
        "replayed",
        "The token is an old one",
        "The token answers an earlier request: its nonce and its transfer key are those of an hour ago.",
        attack=True,
    ),
    _fault(
        "other-vm",
        "The token is another VM's",
        "The token's transfer key and VM id are those of another confidential VM, which alone opens what is wrapped.",
        attack=True,
    ),
    _fault(
        "no-transfer-key",
        "The token has no transfer key",
        "The token's x-ms-runtime.keys is empty: nothing to wrap a key for.",
    ),
    _fault(
        "truncated",
        "The token is cut off",
        "The token ends in the middle of its claims: it is no JWT.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Right:
    """The token as it should be, its parts to be changed, and the key that the provider signs with."""

    world: World
    header: dict[str, Any]
    claims: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)
    signing_key: SigningKey = field(repr=False)

    def signed(self, *, header: Mapping[str, Any] | None = None, key: rsa.RSAPrivateKey | None = None) -> str:
        """Return the token over the claims as they are now, by the provider's key or another."""
        from skrkit.sandbox.maa.token import compact_jws, rs256

        return compact_jws({**self.header, **(header or {})}, self.claims, rs256(key or self.signing_key.key))

    def move(self, by: timedelta) -> None:
        """Move every time of the claims."""
        for name in ("iat", "nbf", "exp"):
            self.claims[name] += int(by.total_seconds())

    def give_transfer_key(self, owner: str) -> None:
        """Put in another transfer key, where the token has one."""
        runtime = self.claims.get("x-ms-runtime", {})
        if "client-payload" in runtime:  # of guest attestation
            modulus = key_of(self.world, owner).public_key().public_numbers().n
            runtime["keys"][0]["n"] = b64url(modulus.to_bytes(256, "big"))


def wrong_token(world: World, host: str, token: str) -> str | None:
    """Return what stands in for a token of the provider at `host` while a fault of this group is on, else None."""
    made = next((make for name, make in _TOKENS.items() if world.faulty(name)), None)
    if made is None:
        return None
    from skrkit.sandbox.maa.keys import signing_key

    header, claims = (json.loads(b64url_bytes(part, what="JWT", where="the token")) for part in token.split(".")[:2])
    right = _Right(
        world=world,
        header=header,
        claims=claims,
        text=token,
        signing_key=signing_key(world, host),
    )
    return made(right)


def sealing_key(world: World, key: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    """Return the key that a token is sealed to: the one of the VM that asked, unless a fault has another."""
    return key_of(world, "another machine").public_key() if world.faulty("token.envelope") else key


def key_of(world: World, owner: str) -> rsa.RSAPrivateKey:
    """Return the RSA-2048 key of somebody who has no business here, made on the first call."""
    key: rsa.RSAPrivateKey | None = world.cache.get(f"fault/key of {owner}")
    if key is None:
        key = world.cache[f"fault/key of {owner}"] = keygen.rsa_key(f"fault/{owner}", 2048)
    return key


def _expired(right: _Right) -> str:
    right.move(-LONG_AGO)
    return right.signed()


def _not_yet_valid(right: _Right) -> str:
    right.move(EARLIER)
    return right.signed()


def _jku_swap(right: _Right) -> str:
    key = key_of(right.world, "an attacker")
    return right.signed(header={"jku": FOREIGN_KEYS, "kid": _kid(key)}, key=key)


def _kid(key: rsa.RSAPrivateKey) -> str:
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")


def _unsigned(right: _Right) -> str:
    from skrkit.sandbox.maa.token import compact_jws

    return compact_jws({**right.header, "alg": "none"}, right.claims, lambda _covered: b"")


def _public_key_as_secret(right: _Right) -> str:
    from skrkit.sandbox.maa.token import compact_jws

    secret = right.signing_key.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return compact_jws(
        {**right.header, "alg": "HS256"}, right.claims, lambda covered: hmac.digest(secret, covered, "sha256")
    )


def _other_tenant(right: _Right) -> str:
    right.claims["iss"] = f"https://{STRANGER}"
    return right.signed(header={"jku": f"https://{STRANGER}/certs"})


def _other_authority(right: _Right) -> str:
    key = key_of(right.world, ELSEWHERE)
    right.claims["iss"] = f"https://{ELSEWHERE}"
    return right.signed(header={"jku": f"https://{ELSEWHERE}/certs", "kid": _kid(key)}, key=key)


def _unpublished_key(right: _Right) -> str:
    key = key_of(right.world, "the next rotation")
    return right.signed(header={"kid": _kid(key)}, key=key)


def _changed_signature(right: _Right) -> str:
    covered, _, signature = right.text.rpartition(".")
    signed = bytearray(b64url_bytes(signature, what="signature", where="the token"))
    signed[-1] ^= 1
    return f"{covered}.{b64url(bytes(signed))}"


def _replayed(right: _Right) -> str:
    right.move(-EARLIER)
    right.give_transfer_key("an earlier attestation")
    payload = right.claims.get("x-ms-runtime", {}).get("client-payload")
    if payload is None:  # of platform attestation
        right.claims["nonce"] = EARLIER_NONCE
    else:
        payload["nonce"] = base64.b64encode(EARLIER_NONCE.encode()).decode("ascii")
    return right.signed()


def _of_other_vm(right: _Right) -> str:
    from skrkit.sandbox.faults.paravisor import NEIGHBOUR

    right.give_transfer_key("another VM")
    if "x-ms-azurevm-vmid" in right.claims:
        right.claims["x-ms-azurevm-vmid"] = NEIGHBOUR.upper()
    runtime = right.claims.get("x-ms-isolation-tee", right.claims).get("x-ms-runtime", {})
    runtime.get("vm-configuration", {})["vmUniqueId"] = NEIGHBOUR.upper()
    return right.signed()


def _without_transfer_key(right: _Right) -> str:
    right.claims.get("x-ms-runtime", {})["keys"] = []
    return right.signed()


def _cut_off(right: _Right) -> str:
    header, claims, _ = right.text.split(".")
    return f"{header}.{claims[: len(claims) // 2]}"


_TOKENS: Mapping[str, Callable[[_Right], str]] = {
    "token.expired": _expired,
    "token.not-yet-valid": _not_yet_valid,
    "token.jku-swap": _jku_swap,
    "token.algorithm-none": _unsigned,
    "token.algorithm-confusion": _public_key_as_secret,
    "token.other-tenant": _other_tenant,
    "token.other-authority": _other_authority,
    "token.signing-key-rotated": _unpublished_key,
    "token.signature": _changed_signature,
    "token.replayed": _replayed,
    "token.other-vm": _of_other_vm,
    "token.no-transfer-key": _without_transfer_key,
    "token.truncated": _cut_off,
}
