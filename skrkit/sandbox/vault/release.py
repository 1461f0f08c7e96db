"""Secure key release: hold the attestation token against the key's policy, then wrap the key for the VM and sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.responses import Response

from skrkit.encoding import b64url_bytes
from skrkit.errors import ParseError, SkrkitError
from skrkit.sandbox.faults import network
from skrkit.sandbox.faults import response as faults
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault import bundle, errors, throttle
from skrkit.sandbox.vault.bundle import in_order
from skrkit.sandbox.vault.call import EXPORTABLE_FROM, Call, at_least
from skrkit.sandbox.vault.crypto import usable
from skrkit.sandbox.vault.material import released_material
from skrkit.sandbox.vault.signing import signer
from skrkit.sandbox.vault.wrapping import DEFAULT_ENC, OAEP_HASH, key_hsm, wrapped

if TYPE_CHECKING:
    from skrkit.policy.model import ReleasePolicy
    from skrkit.sandbox.world import World
    from skrkit.token.jwks import Jwks
    from skrkit.token.verify import VerifiedToken

KNOWN = 64  # policies and key sets that were parsed lately
KEK_BITS = range(2048, 4097)  # the service's own bounds are not known (inferred)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingKey:
    """The key that the attested machine can decrypt with: the KEK."""

    kid: str
    key: rsa.RSAPublicKey


def release_key(call: Call) -> Response:
    """Return `{"value": <JWS>}` with the wrapped private key.

    The order of the refusals (inferred), after token, network and permission:

    1. 404 the key is not there. 2. 403 it is disabled. 3. 403 it is not exportable. 4. 400 target, enc or nonce.
    5. 403 the token is not one that an authority of the policy vouches for. 6. 403 its claims do not meet the policy.
    7. 403 it names no RSA key to wrap with.
    """
    if not call.vault.is_hsm:  # which has no limit of that kind
        network.check_throttle(call.world)
    if not at_least(call.api_version, EXPORTABLE_FROM):
        raise errors.bad_parameter(f"Release is supported from API version '{EXPORTABLE_FROM}' on.")
    named, version = usable(call, "release")  # (1) (2)
    throttle.check(call, hsm=version["kty"].endswith("-HSM"))
    if not named["exportable"] or named["release_policy"] is None:
        raise errors.operation_not_permitted("release")  # (3)
    target, enc, nonce = _request(call.body)  # (4)
    policy = _policy(named["release_policy"]["data"])
    token = _verified(call.world, policy, target)  # (5)
    _evaluate(policy, token)  # (6)
    kek = _wrapping_key(token.claims)  # (7)
    going_out = faults.GoingOut(
        private=released_material(version), kek=kek.key, enc=enc, signer=signer(call.world, call.vault)
    )
    going_out = faults.changed(call.world, going_out)
    enc = going_out.enc
    ciphertext = faults.changed_ciphertext(call.world, wrapped(going_out.private, going_out.kek, enc))
    wrapped_key = key_hsm(ciphertext, kid=kek.kid, enc=enc, in_order=call.vault.is_hsm)
    payload = _payload(call, named, version, enc=enc, nonce=nonce, key_hsm=wrapped_key)
    signed = going_out.signer.sign(faults.changed_payload(call.world, payload))
    value = faults.changed_signature(call.world, signed)  # base64url and dots: nothing in it that JSON would escape
    return Response(f'{{"value":"{value}"}}', media_type="application/json")


def _request(body: Mapping[str, Any]) -> tuple[str, str, str | None]:
    target, enc, nonce = body.get("target"), body.get("enc"), body.get("nonce")
    if not isinstance(target, str) or not target:
        raise errors.bad_parameter('The property "target" is required.')
    enc = DEFAULT_ENC if enc is None else enc
    if not isinstance(enc, str) or enc not in OAEP_HASH:
        raise errors.bad_parameter(f"The property \"enc\" has the value '{enc}', which is not supported.")
    if nonce is not None and not isinstance(nonce, str):
        raise errors.bad_parameter('The property "nonce" must be a string.')
    return target, enc, nonce


@lru_cache(maxsize=KNOWN)
def _policy(data: str) -> ReleasePolicy:
    from skrkit.policy.parse import parse_policy

    return parse_policy(b64url_bytes(data, what="release policy data", where="/release_policy/data"))


@lru_cache(maxsize=KNOWN)
def _keys(text: str) -> Jwks:
    from skrkit.token.jwks import parse_jwks

    return parse_jwks(text)


def _verified(world: World, policy: ReleasePolicy, target: str) -> VerifiedToken:
    """Return the token as verified by the keys of the authority in the policy that its `iss` names.

    Keys come from nowhere else: not from `jku`, and not from an issuer that the policy does not list. Such a token
    does not meet the policy, whoever signed it.
    """
    from skrkit.policy.model import issuer_form
    from skrkit.token.verify import verify_by_issuer

    def keys_of(issuer: str) -> Jwks:
        authority = issuer_form(issuer)
        if all(clause.issuer != authority for clause in policy.root):
            raise errors.policy_not_met()
        return _keys(_published_keys(world, authority))

    try:
        return verify_by_issuer(target, keys_of=keys_of, now=world.now())
    except SkrkitError:
        raise errors.target_not_verified() from None


def _published_keys(world: World, authority: str) -> str:
    """Return the JWK set of an attestation provider of this sandbox. Any other authority cannot be verified here."""
    from skrkit.sandbox.maa.keys import published_keys

    parts = urlsplit(authority)
    if parts.scheme != "https" or parts.path or not parts.hostname:
        raise errors.target_not_verified()
    if not parts.hostname.endswith(".attest.azure.net"):
        raise errors.target_not_verified()
    return published_keys(world, parts.hostname)


def _evaluate(policy: ReleasePolicy, token: VerifiedToken) -> None:
    from skrkit.policy.evaluate import evaluate

    if not evaluate(policy, token).holds:
        raise errors.policy_not_met()


def _wrapping_key(claims: Mapping[str, Any]) -> WrappingKey:
    """Return the first RSA key for encryption in the top-level `x-ms-runtime.keys`, which is the guest's own.

    `x-ms-isolation-tee.x-ms-runtime.keys` holds the paravisor's keys and is not looked at.
    """
    runtime = claims.get("x-ms-runtime")
    keys = runtime.get("keys") if isinstance(runtime, dict) else None
    for entry in keys if isinstance(keys, list) else []:
        if isinstance(entry, dict) and entry.get("kty") == "RSA" and _for_encryption(entry):
            return _rsa_wrapping_key(entry)
    raise errors.target_not_verified()


def _for_encryption(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops")
    if isinstance(operations, list) and "encrypt" in operations:
        return True
    return entry.get("key_use") == "enc" or entry.get("use") == "enc"


def _rsa_wrapping_key(entry: Mapping[str, Any]) -> WrappingKey:
    kid = entry.get("kid")
    if not isinstance(kid, str) or not kid:
        raise errors.target_not_verified()
    try:
        numbers = [
            int.from_bytes(b64url_bytes(str(entry.get(name, "")), what=f"JWK {name}", where=f"/{name}"), "big")
            for name in ("n", "e")
        ]
        key = rsa.RSAPublicNumbers(n=numbers[0], e=numbers[1]).public_key()
    except (ParseError, ValueError):
        raise errors.target_not_verified() from None
    if key.key_size not in KEK_BITS:
        raise errors.target_not_verified()
    return WrappingKey(kid=kid, key=key)


def _payload(
    call: Call, named: Document, version: Document, *, enc: str, nonce: str | None, key_hsm: str
) -> dict[str, Any]:
    """Return the payload as a vault writes it: `request.kid` as called, no `contentType` in the policy.

    A Managed HSM has `contentType` there, a `kty` without -HSM (for EC and oct inferred), and members in order of name.
    `nonce` stands in `request` when one was sent (inferred: no recording has one).
    """
    request: dict[str, Any] = {"api-version": call.api_version, "enc": enc}
    request["kid"] = bundle.key_id(call.vault, named["name"], call.version)
    if nonce is not None:
        request["nonce"] = nonce
    key: dict[str, Any] = {
        "key": bundle.public_jwk(call, named, version) | {"key_hsm": key_hsm},
        "attributes": bundle.attributes(call, named, version),
    }
    if version["tags"] is not None:
        key["tags"] = version["tags"]
    policy = named["release_policy"]
    key["release_policy"] = {"data": policy["data"], "immutable": policy["immutable"]}
    payload: dict[str, Any] = {"request": request, "response": {"key": key}}
    if call.vault.is_hsm:
        key["key"]["kty"] = version["kty"].removesuffix("-HSM")
        key["release_policy"]["contentType"] = policy["contentType"]
        payload = in_order(payload)
    return payload
