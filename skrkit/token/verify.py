"""The one way from a token to a verified token. The steps are numbered here and named in every failure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, ClassVar, NoReturn

from skrkit.encoding import json_type
from skrkit.errors import ParseError, UsageError, VerificationError
from skrkit.token.decode import UnverifiedToken, decode_jwt
from skrkit.token.jwks import Jwks, JwksKey
from skrkit.wire import Json, Span

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

RS256 = ("RS256",)  # all that MAA signs with
ALLOWED_ALGORITHMS = frozenset({"RS256", "PS256"})
MAX_LEEWAY_S = 300
MAA_LIFETIME_S = 8 * 3600  # MAA's exp is iat + 28800, not configurable
MIN_MODULUS_BITS = 2048
_FORBIDDEN_HEADERS = ("crit", "jwk", "x5c", "x5u", "b64", "zip", "enc")
_SOURCE = "Azure Attestation reference, token validation; RFC 7515, RFC 7519, RFC 8725"
_VERIFIED = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token that `verify_token` or `verify_by_issuer` has verified. There is no other way to make one.

    `claims` were read from the very bytes that the signature covers. `key_id` is the kid of the key that verified
    it, `verified_at` the time it was verified for.
    """

    header: Mapping[str, Json]
    claims: dict[str, Json] = field(repr=False)
    issuer: str
    key_id: str
    verified_at: datetime
    expires: datetime
    raw: bytes = field(repr=False)
    proof: InitVar[object]

    kind: ClassVar[str] = "jwt"
    title: ClassVar[str] = "JSON Web Token, verified"

    def __post_init__(self, proof: object) -> None:
        """Refuse everybody but `verify_token`."""
        if proof is not _VERIFIED:
            raise UsageError(
                what="VerifiedToken",
                where="its constructor",
                expected="to be called by verify_token alone",
                found="another caller",
                fix="Call verify_token(token, jwks=…, issuer=…, now=…).",
            )

    def fields(self) -> dict[str, Json]:
        """Return header, claims, and who vouches; never the token itself, which is a secret until it expires."""
        return {
            "header": dict(self.header),
            "claims": self.claims,
            "issuer": self.issuer,
            "key_id": self.key_id,
            "verified_at": self.verified_at.isoformat(),
            "expires": self.expires.isoformat(),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a JWT is text."""
        return ()


def verify_token(
    token: UnverifiedToken,
    *,
    jwks: Jwks,
    issuer: str,
    now: datetime,
    leeway_s: int = MAX_LEEWAY_S,
    algorithms: Collection[str] = RS256,
    max_lifetime_s: int | None = MAA_LIFETIME_S,
) -> VerifiedToken:
    """Return the token as verified by a key in `jwks`, which came from the configured `issuer` and nowhere else.

    Each step stops at the first failure with a `VerificationError` whose `step` is the name given here:

    1. `token.alg`: `alg` is one of `algorithms`, a subset of RS256 and PS256. None, HMAC and all others are refused.
    2. `token.header`: no crit, jwk, x5c, x5u, b64, zip or enc: a token brings no key and no rule of its own.
    3. `token.issuer`: `iss` is `issuer`, one trailing slash aside.
    4. `token.jku`: if there is one, it is `<issuer>/certs`. It is compared and never fetched.
    5. `token.kid`: `kid` names exactly one key of `jwks`.
    6. `token.key`: that key is RSA, of 2048 bits or more, for signing, and not for another algorithm.
    7. `token.signature`: the signature over header and payload as received.
    8. `token.times`: nbf and iat are not after now, exp is not before, `leeway_s` seconds aside; all three are there.
    9. `token.lifetime`: exp is at most `max_lifetime_s` after iat, leeway aside. None skips this, for other issuers.

    Not checked here: `aud` and `sub`, which MAA does not send; the claims, which a policy judges; revocation.
    `now` is aware, `leeway_s` 0 to 300, `issuer` an https URL: `UsageError` otherwise.
    Source: Azure Attestation reference, full validation recipe.
    """
    terms = _Terms(now=now, leeway_s=leeway_s, algorithms=algorithms, max_lifetime_s=max_lifetime_s)
    # From the bytes again: the model's claims may have been changed since.
    return _verified(decode_jwt(token.raw), jwks, issuer, terms)


def verify_by_issuer(text: str | bytes, *, keys_of: Callable[[str], Jwks], now: datetime) -> VerifiedToken:
    """Return the token as verified by the keys of the authority that its `iss` names, by the steps of `verify_token`.

    `keys_of` gives the keys of an authority that the caller trusts, and raises for every other name; it is the one to
    say which these are. Raises what it raises, `ParseError` for no JWT, `VerificationError` as `verify_token`.
    """
    seen = decode_jwt(text)
    named = seen.claims.get("iss")
    if not isinstance(named, str):
        fix = "Refuse the token: nobody says that it is theirs."
        _refuse("token.issuer", "token iss", "claims /iss", "a string", _shown(seen.claims, "iss"), fix)
    return _verified(seen, keys_of(named), named, _Terms(now=now))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    now: datetime
    leeway_s: int = MAX_LEEWAY_S
    algorithms: Collection[str] = RS256
    max_lifetime_s: int | None = MAA_LIFETIME_S


def _verified(seen: UnverifiedToken, jwks: Jwks, issuer: str, terms: _Terms) -> VerifiedToken:
    """Return the token if it passes every step. Nobody else has had `seen` since it was decoded."""
    now, leeway_s, max_lifetime_s = terms.now, terms.leeway_s, terms.max_lifetime_s
    _check_arguments(issuer, now, leeway_s, terms.algorithms, max_lifetime_s)
    algorithm = _algorithm(seen.header, terms.algorithms)  # (1)
    _header(seen.header)  # (2)
    base = issuer.removesuffix("/")
    _issuer(seen.claims, base)  # (3)
    _jku(seen.header, base)  # (4)
    key = _usable(_chosen(seen.header, jwks), algorithm)  # (5) (6)
    _signature(seen, key, algorithm)  # (7)
    expires = _times(seen.claims, now, leeway_s)  # (8)
    if max_lifetime_s is not None:
        _lifetime(seen.claims, max_lifetime_s, leeway_s)  # (9)
    return VerifiedToken(
        header=seen.header,
        claims=seen.claims,
        issuer=base,
        key_id=key.kid,
        verified_at=now,
        expires=expires,
        raw=seen.raw,
        proof=_VERIFIED,
    )


def _check_arguments(
    issuer: str, now: datetime, leeway_s: int, algorithms: Collection[str], max_lifetime_s: int | None
) -> None:
    if now.tzinfo is None or now.utcoffset() is None:
        _misused("now", "an aware datetime", "a naive one", "Pass datetime.now(UTC).")
    if not 0 <= leeway_s <= MAX_LEEWAY_S:
        _misused("leeway_s", f"0 to {MAX_LEEWAY_S} seconds", str(leeway_s), "Set the clock right instead.")
    if isinstance(algorithms, str) or not algorithms or not set(algorithms) <= ALLOWED_ALGORITHMS:
        _misused("algorithms", "RS256, PS256 or both", repr(algorithms), 'Pass ("RS256",).')
    if not issuer.startswith("https://") or not issuer.removeprefix("https://").removesuffix("/"):
        _misused("issuer", "an https URL", repr(issuer), "Pass the configured authority, such as the attestUri.")
    if max_lifetime_s is not None and max_lifetime_s <= 0:
        _misused("max_lifetime_s", "more than zero seconds, or None", str(max_lifetime_s), "Leave it out for MAA.")


def _misused(name: str, expected: str, found: str, fix: str) -> NoReturn:
    raise UsageError(what=f"verify_token {name}", where=f"argument {name}", expected=expected, found=found, fix=fix)


def _refuse(step: str, what: str, where: str, expected: str, found: str, fix: str) -> NoReturn:
    raise VerificationError(step=step, what=what, where=where, expected=expected, found=found, fix=fix, source=_SOURCE)


def _shown(members: Mapping[str, Json], name: str) -> str:
    """Return a member for an error: short, and nothing when it is absent."""
    if name not in members:
        return "nothing"
    value = members[name]
    return repr(value[:200]) if isinstance(value, str) else f"a JSON {json_type(value)}"


def _algorithm(header: Mapping[str, Json], algorithms: Collection[str]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        fix = "Refuse the token: the service signs RS256. none is a draft-policy answer or a forgery, HS256 a forgery."
        _refuse("token.alg", "token alg", "header /alg", " or ".join(sorted(algorithms)), _shown(header, "alg"), fix)
    return algorithm


def _header(header: Mapping[str, Json]) -> None:
    for name in _FORBIDDEN_HEADERS:
        if name in header:
            fix = "Refuse the token: keys come from the configured authority, and no extension is understood."
            _refuse("token.header", f"token header {name}", f"header /{name}", "nothing", "the member", fix)


def _issuer(claims: Mapping[str, Json], base: str) -> None:
    found = claims.get("iss")
    if not isinstance(found, str) or found.removesuffix("/") != base:
        fix = "Configure the provider that issued it, or attest with the one that is configured."
        _refuse("token.issuer", "token iss", "claims /iss", repr(base), _shown(claims, "iss"), fix)


def _jku(header: Mapping[str, Json], base: str) -> None:
    expected = f"{base}/certs"
    if "jku" in header and header["jku"] != expected:
        fix = "Refuse the token: it points to keys that are not its issuer's. Nothing was fetched."
        _refuse("token.jku", "token jku", "header /jku", repr(expected), _shown(header, "jku"), fix)


def _chosen(header: Mapping[str, Json], jwks: Jwks) -> JwksKey:
    kid = header.get("kid")
    entries = jwks.with_kid(kid) if isinstance(kid, str) else ()
    distinct = {(entry.kty, entry.modulus, entry.exponent) for entry in entries}
    if len(distinct) != 1:
        known = ", ".join(key.kid for key in jwks.keys)[:200]
        found = _shown(header, "kid") if not entries else f"{kid!r}, which names {len(distinct)} different keys"
        fix = "Fetch the keys again, once: they rotate. If the kid is still unknown, refuse the token."
        _refuse("token.kid", "token kid", "header /kid", f"one of the published keys: {known}", found, fix)
    return entries[0]


def _usable(key: JwksKey, algorithm: str) -> JwksKey:
    expected = f"an RSA key of {MIN_MODULUS_BITS} bits or more, use sig, alg {algorithm} if it has one"
    found = ""
    if key.kty != "RSA":
        found = f"kty {key.kty}"
    elif key.bits < MIN_MODULUS_BITS:
        found = f"{key.bits} bits"
    elif key.use not in ("", "sig"):
        found = f"use {key.use}"
    elif key.alg not in ("", algorithm):
        found = f"alg {key.alg}"
    if found:
        fix = "Fetch <issuer>/certs again; a key like this signs no attestation token."
        _refuse("token.key", "signing key", f"JWK {key.kid}", expected, found, fix)
    return key


@cache
def _algorithm_of(name: str) -> Algorithm:
    import jwt

    return jwt.PyJWS(algorithms=[name]).get_algorithm_by_name(name)


def _signature(token: UnverifiedToken, key: JwksKey, algorithm: str) -> None:
    import jwt

    try:
        public_key = key.public_key()
    except ParseError as error:
        _refuse("token.key", error.what, error.where, error.expected, error.found, error.fix)
    # Its decoder would go through the text once more, character by character: for a token of MAA as long as all else.
    covered = token.raw.rpartition(b".")[0]
    if not _algorithm_of(algorithm).verify(covered, public_key, token.signature):
        found = f"one that does not verify ({jwt.InvalidSignatureError.__name__})"
        fix = "Compare the token with what the service sent; take it again if it was cut or edited."
        expected = f"{algorithm} over header and payload by key {key.kid}"
        _refuse("token.signature", "token signature", "part 3", expected, found, fix)


def _times(claims: Mapping[str, Json], now: datetime, leeway_s: int) -> datetime:
    leeway = timedelta(seconds=leeway_s)
    for name in ("nbf", "iat"):
        moment = _moment(claims, name)
        if moment > now + leeway:
            expected = f"{now.isoformat()} or before, {leeway_s} s aside"
            fix = "Set this machine's clock; a token from the future is refused."
            _refuse("token.times", f"token {name}", f"claims /{name}", expected, moment.isoformat(), fix)
    expires = _moment(claims, "exp")
    if now >= expires + leeway:
        expected = f"after {now.isoformat()}, {leeway_s} s aside"
        fix = "Attest again: a token lives eight hours."
        _refuse("token.times", "token exp", "claims /exp", expected, f"{expires.isoformat()}, expired", fix)
    return expires


def _moment(claims: Mapping[str, Json], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 33:
        return datetime.fromtimestamp(value, UTC)
    found = str(value)[:40] if isinstance(value, int | float) else _shown(claims, name)
    fix = "Refuse the token: without this time it cannot be judged."
    _refuse("token.times", f"token {name}", f"claims /{name}", "whole seconds since 1970", found, fix)


def _lifetime(claims: Mapping[str, Json], max_lifetime_s: int, leeway_s: int) -> None:
    lifetime = _moment(claims, "exp") - _moment(claims, "iat")
    if not timedelta(0) <= lifetime <= timedelta(seconds=max_lifetime_s + leeway_s):
        expected = f"0 to {max_lifetime_s} s after iat, {leeway_s} s aside"
        found = f"{int(lifetime.total_seconds())} s"
        fix = "Refuse the token: MAA's live eight hours. Pass max_lifetime_s for another issuer."
        _refuse("token.lifetime", "token exp", "claims /exp", expected, found, fix)
