"""The token: registered claims, JOSE header, RS256 signature. And the envelope that only the asking vTPM can open.

Sources: Azure Attestation, claim sets; TpmUnseal.cpp in github.com/Azure/confidential-computing-cvm-guest-attestation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skrkit.encoding import b64url
from skrkit.sandbox import chance
from skrkit.sandbox.faults import token as faults
from skrkit.sandbox.maa.keys import signing_key
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

LIFETIME_S = 28800  # 8 hours, in the real service not to be changed
ANSWER_LIFETIME_S = 3600  # of an answer about policies and signers
INNER_KEY_BITS = 256  # the real service's choice is not known


def _compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("utf-8")


def sign_token(world: World, host: str, claims: dict[str, Json]) -> str:
    """Return a token of attestation: the claims and the registered ones, signed; a fault may have another one."""
    token = _signed(world, host, {**claims, **_of_attestation(world, host)})
    return faults.wrong_token(world, host, token) or token


def sign_answer(world: World, host: str, claims: dict[str, Json]) -> str:
    """Return the token that answers a call about policies or signers: an hour long, without `jti` and `x-ms-ver`.

    So are those in the recordings of the Azure CLI's extension `attestation`.
    """
    return _signed(world, host, {**claims, **_registered(world, host, ANSWER_LIFETIME_S)})


def _registered(world: World, host: str, lifetime_s: int) -> dict[str, Json]:
    issued = int(world.now().timestamp())
    return {"exp": issued + lifetime_s, "iat": issued, "iss": f"https://{host}", "nbf": issued}


def _of_attestation(world: World, host: str) -> dict[str, Json]:
    jti = chance.token_bytes("maa/jti", 32).hex()
    return {**_registered(world, host, LIFETIME_S), "jti": jti, "x-ms-ver": "1.0"}


def _signed(world: World, host: str, claims: dict[str, Json]) -> str:
    """Return a compact JWS of the claims, members in alphabetical order at every level."""
    made = signing_key(world, host)
    header: dict[str, Json] = {"alg": "RS256", "jku": f"https://{host}/certs", "kid": made.kid, "typ": "JWT"}
    return compact_jws(header, claims, rs256(made.key))


def unsecured_token(world: World, host: str, claims: dict[str, Json]) -> str:
    """Return a token that nobody signed: what a draft policy is answered with, for nobody to rely on."""
    return compact_jws({"alg": "none", "typ": "JWT"}, {**claims, **_of_attestation(world, host)}, lambda _covered: b"")


def compact_jws(header: dict[str, Json], claims: dict[str, Json], sign: Callable[[bytes], bytes]) -> str:
    """Return the compact JWS over a header and claims. `sign` returns the signature over the bytes it is given."""
    text = f"{b64url(_compact(header))}.{b64url(_compact(claims))}"
    return f"{text}.{b64url(sign(text.encode('ascii')))}"


def rs256(key: rsa.RSAPrivateKey) -> Callable[[bytes], bytes]:
    """Return what signs with this key by RS256."""
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def seal_token(token: str, key: rsa.RSAPublicKey) -> str:
    """Return the envelope for a token, base64url without padding; inside, base64 with padding.

    AES-256-GCM with the additional data `Transport Key`; the AES key under RSAES-PKCS1-v1_5 for the ephemeral key.
    """
    inner, iv = chance.token_bytes("maa/inner-key", INNER_KEY_BITS // 8), chance.token_bytes("maa/iv", 12)
    sealed = AESGCM(inner).encrypt(iv, token.encode("ascii"), b"Transport Key")
    envelope: dict[str, Json] = {
        "AuthenticationData": _b64(sealed[-16:]),
        "EncryptedInnerKey": _b64(key.encrypt(inner, padding.PKCS1v15())),
        "EncryptionParams": {
            "BlockMode": "ChainingModeGCM",
            "BlockPadding": "PKCS7",
            "Cipher": "AES",
            "Iv": _b64(iv),
            "KeySizeInBits": INNER_KEY_BITS,
        },
        "Jwt": _b64(sealed[:-16]),
    }
    return b64url(_compact(envelope))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
