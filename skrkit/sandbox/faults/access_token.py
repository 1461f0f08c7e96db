"""Faults of the caller's access token: what a vault finds wrong with it, though the client means well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt

from skrkit.sandbox.faults.fault import Fault

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

VAULT, MANAGEMENT = "https://vault.azure.net", "https://management.azure.com"
OTHER_TENANT = "11111111-2222-3333-4444-555555555555"
_EARLIER_S = 2 * 86400  # a managed identity's token lives a day


def arriving(world: World, authorization: str | None) -> str | None:
    """Return the Authorization header of a request as it reaches a vault; None where the client in a VM sent none."""
    if world.faulty("access-token.missing") and "xms_mirid" in _claims((authorization or "").rpartition(" ")[2]):
        return None
    return authorization


def issued(world: World, token: str) -> str:
    """Return a managed identity's token as IMDS gives it out: the token, or one that is wrong in one way."""
    if world.faulty("access-token.wrong-audience"):
        claims = _claims(token)
        return _signed(world, claims | {"aud": MANAGEMENT if claims["aud"] != MANAGEMENT else VAULT})
    if world.faulty("access-token.wrong-tenant"):
        home = f"https://sts.windows.net/{OTHER_TENANT}/"
        return _signed(world, _claims(token) | {"tid": OTHER_TENANT, "iss": home, "idp": home})
    if world.faulty("access-token.expired"):
        claims = _claims(token)
        return _signed(world, claims | {name: claims[name] - _EARLIER_S for name in ("iat", "nbf", "exp")})
    if world.faulty("access-token.unknown-key"):
        return _signed_by_another(world, _claims(token))
    return token


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a token whose signature is somebody else's to check; none of what is no token."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return {}
    return claims


def _signed(world: World, claims: dict[str, Any]) -> str:
    from skrkit.sandbox.entra import sign_claims

    return sign_claims(world, claims)


def _signed_by_another(world: World, claims: dict[str, Any]) -> str:
    """Return a token signed by a key that no vault knows, made on the spot and kept for as long as the process."""
    from skrkit.sandbox import keygen

    key = world.cache.get("unknown-entra-key")
    if key is None:
        key = world.cache["unknown-entra-key"] = keygen.rsa_key("fault/entra-key", 2048)
    kid = "unknown-to-key-vault"
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid, "x5t": kid})


def _token(name: str, title: str, does: str) -> Fault:
    return Fault(name=f"access-token.{name}", group="access-token", title=title, does=does)


FAULTS: tuple[Fault, ...] = (
    _token(
        "missing",
        "The request has no access token",
        "Requests from a VM reach any vault without their Authorization header.",
    ),
    _token(
        "wrong-audience",
        "The access token is for another service",
        "IMDS gives out tokens for Resource Manager where Key Vault was asked for.",
    ),
    _token(
        "wrong-tenant",
        "The access token is of another tenant",
        "IMDS gives out tokens that another tenant issued.",
    ),
    _token(
        "expired",
        "The access token has expired",
        "IMDS gives out tokens whose time was over yesterday, and says that they live for a day.",
    ),
    _token(
        "unknown-key",
        "The access token is signed by a key that Key Vault does not know",
        "IMDS gives out tokens that are signed by a key that Entra ID does not publish.",
    ),
)
