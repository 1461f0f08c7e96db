"""Faults of the release response: the vault, or something between it and the VM, sends what a client must refuse."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.encoding import b64url, b64url_bytes
from skrkit.sandbox import chance, keygen
from skrkit.sandbox.faults.fault import Fault
from skrkit.sandbox.faults.network import foreign_authority
from skrkit.sandbox.faults.token import key_of

if TYPE_CHECKING:
    from skrkit.sandbox.tls import TlsAuthority
    from skrkit.sandbox.vault.material import PrivateKey
    from skrkit.sandbox.vault.signing import Signer
    from skrkit.sandbox.world import World

OTHER_HOST = "vault.contoso.example"
OTHER_NONCE = "the nonce of another request"
OTHER_KEY = "another-key"
MIDDLEBOX = "Whatever stands between the VM and the vault"


def _fault(name: str, title: str, does: str) -> Fault:
    return Fault(name=f"response.{name}", group="response", title=title, does=does, attack=True)


# In the order in which a client meets them: of two that are on, the one further up shows first.
FAULTS: tuple[Fault, ...] = (
    _fault(
        "signature",
        "The response's signature does not hold",
        "One bit of the release response's signature is flipped on the way.",
    ),
    _fault(
        "chain",
        "The response is signed under an unknown authority",
        f"{MIDDLEBOX} signs the response itself, with a certificate of an authority of its own.",
    ),
    _fault(
        "host",
        "The response is signed for another host",
        f"The response is signed with a certificate of a trusted authority, for {OTHER_HOST} and not for a vault.",
    ),
    _fault(
        "other-key",
        "The response is about another key",
        "The response says that it holds another key than the one that was asked for.",
    ),
    _fault(
        "enc",
        "The response was made with another enc",
        "The vault wraps with another hash than the request's enc asks for, and says so.",
    ),
    _fault(
        "nonce",
        "The response answers another request",
        "The response echoes the nonce of another request: it is an old one.",
    ),
    _fault(
        "transfer-key",
        "The key is wrapped for another machine",
        "The private key is wrapped for another key than this VM's transfer key, under that one's name.",
    ),
    _fault(
        "ciphertext",
        "The wrapped key was changed",
        "One bit of the wrapped private key is flipped before the response is signed.",
    ),
    _fault(
        "key-substituted",
        "The wrapped key is not the vault's",
        "The response holds a private key of an attacker's making, wrapped as it should be.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOut:
    """What a release is made of: the private key, the key it is wrapped for, how, and who signs the response."""

    private: PrivateKey | bytes = field(repr=False)
    kek: rsa.RSAPublicKey
    enc: str
    signer: Signer


def changed(world: World, going_out: GoingOut) -> GoingOut:
    """Return what a release is made of, with what the faults that are on put in its place."""
    if world.faulty("response.key-substituted"):
        going_out = replace(going_out, private=_substitute(world, going_out.private))
    if world.faulty("response.transfer-key"):
        going_out = replace(going_out, kek=key_of(world, "another machine").public_key())
    if world.faulty("response.enc"):
        going_out = replace(going_out, enc=_other_enc(going_out.enc))
    if world.faulty("response.chain"):
        return replace(going_out, signer=_unknown_signer(world))
    if world.faulty("response.host"):
        return replace(going_out, signer=_signer_of_other_host(world))
    return going_out


def _substitute(world: World, private: PrivateKey | bytes) -> PrivateKey | bytes:
    """Return another key of the same kind and size."""
    if isinstance(private, bytes):
        return chance.token_bytes("fault/substitute", len(private))
    if isinstance(private, rsa.RSAPrivateKey):
        return keygen.rsa_key("fault/substitute", private.key_size)
    return keygen.ec_key("fault/substitute", private.curve)


def _other_enc(enc: str) -> str:
    from skrkit.sandbox.vault.wrapping import DEFAULT_ENC, OAEP_HASH

    return DEFAULT_ENC if enc != DEFAULT_ENC else next(name for name in OAEP_HASH if name != DEFAULT_ENC)


def _unknown_signer(world: World) -> Signer:
    from skrkit.sandbox.vault.signing import NAMES

    return _issued(world, foreign_authority(world), NAMES)


def _signer_of_other_host(world: World) -> Signer:
    return _issued(world, world.tls, (OTHER_HOST,))


def _issued(world: World, authority: TlsAuthority, names: tuple[str, ...]) -> Signer:
    from skrkit.sandbox.vault.signing import signer_of

    key = key_of(world, "a middlebox")
    return signer_of(key, authority.issue(names[0], list(names), key=key, now=world.now()).chain)


def changed_ciphertext(world: World, ciphertext: bytes) -> bytes:
    """Return the wrapped key as it is sent."""
    return _flipped(ciphertext) if world.faulty("response.ciphertext") else ciphertext


def changed_payload(world: World, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a response as it is signed."""
    if world.faulty("response.nonce"):
        payload["request"]["nonce"] = OTHER_NONCE
    if world.faulty("response.other-key"):
        key = payload["response"]["key"]["key"]
        front, _, version = str(key["kid"]).rpartition("/")
        key["kid"] = f"{front.rpartition('/')[0]}/{OTHER_KEY}/{version}"
    return payload


def changed_signature(world: World, signed: str) -> str:
    """Return a signed response as it is sent."""
    if not world.faulty("response.signature"):
        return signed
    covered, _, signature = signed.rpartition(".")
    return f"{covered}.{b64url(_flipped(b64url_bytes(signature, what='signature', where='the response')))}"


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])
