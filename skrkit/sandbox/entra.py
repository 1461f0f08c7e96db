"""Entra ID: discovery, keys, client-credential tokens, and the check that every other service makes of a bearer."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, unquote_plus

import jwt
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skrkit.encoding import b64url
from skrkit.sandbox import chance
from skrkit.sandbox.entra_documents import HOST, instance_discovery, openid_configuration
from skrkit.sandbox.entra_keys import SigningKey, signing_key
from skrkit.sandbox.web import AzureError, JSONResponse, azure_error, body_bytes

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

SERVICE_PRINCIPAL_LIFETIME_S = 3599
# Resources that this tenant has a service principal for; another is AADSTS500011 as in a real tenant.
RESOURCES = (
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://vault.azure.net",
    "https://managedhsm.azure.net",
    "https://attest.azure.net",
    "https://graph.microsoft.com",
    "https://storage.azure.com",
)
_A_DAY = {"Cache-Control": "max-age=86400, private"}
_NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
_LOCK = threading.Lock()
MAX_KNOWN_TOKENS = 256
_UNPRINTABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")  # what no error_description has: RFC 6749 section 5.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a token speaks for: object id, application id, tenant, and for a managed identity its resource's id."""

    oid: str
    appid: str
    tid: str
    mirid: str | None = None


class TokenRefused(Exception):
    """A bearer token that is not taken, and why. Each service words this in its own way."""

    def __init__(
        self, reason: Literal["missing", "audience", "issuer", "expired", "signature"], detail: str = ""
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def issuer(tenant: str) -> str:
    """Return the `iss` of a v1.0 token, with its trailing slash."""
    return f"https://sts.windows.net/{tenant}/"


def issue_token(world: World, *, principal: Principal, resource: str, lifetime_s: int) -> str:
    """Return a v1.0 access token for `resource`, exactly as it was asked for, signed RS256.

    Claims are those of an app-only token: a managed identity has `xms_mirid` and `appidacr` 2, a service principal
    with a secret `appidacr` 1.
    """
    now = world.now()
    at = int(now.timestamp())
    claims: dict[str, Any] = {
        "aud": resource,
        "iss": issuer(principal.tid),
        "iat": at,
        "nbf": at,
        "exp": int((now + timedelta(seconds=lifetime_s)).timestamp()),
        "appid": principal.appid,
        "appidacr": "2" if principal.mirid else "1",
        "idp": issuer(principal.tid),
        "idtyp": "app",
        "oid": principal.oid,
        "sub": principal.oid,
        "tid": principal.tid,
        "uti": b64url(chance.token_bytes("entra/uti", 16)),
        "ver": "1.0",
    }
    if principal.mirid:
        claims["xms_mirid"] = principal.mirid.replace("/resourceGroups/", "/resourcegroups/")
    return sign_claims(world, claims)


def sign_claims(world: World, claims: Mapping[str, Any]) -> str:
    """Return an access token of these claims, signed RS256 by the tenant's key."""
    key = signing_key(world)
    return jwt.encode(dict(claims), key.key, algorithm="RS256", headers={"kid": key.kid, "x5t": key.kid})


def authenticate(world: World, authorization: str | None, *, audiences: Collection[str]) -> Principal:
    """Return who the bearer token speaks for. Checks signature, times, issuer and audience, in that order.

    `authorization` is the header's value. Raises `TokenRefused`.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused("missing")
    claims = _verified_claims(world, token.strip())
    at = world.now().timestamp()
    if not (isinstance(claims.get("exp"), int) and claims["exp"] > at and isinstance(claims.get("nbf"), int)):
        raise TokenRefused("expired", str(claims.get("exp")))
    if claims["nbf"] > at + 300:  # the slack that Azure's services give a clock
        raise TokenRefused("expired", str(claims["nbf"]))
    if claims.get("iss") != issuer(world.tenant):
        raise TokenRefused("issuer", str(claims.get("iss")))
    if claims.get("aud") not in audiences:
        raise TokenRefused("audience", str(claims.get("aud")))
    return Principal(
        oid=str(claims["oid"]), appid=str(claims["appid"]), tid=str(claims["tid"]), mirid=claims.get("xms_mirid")
    )


def _verified_claims(world: World, token: str) -> dict[str, Any]:
    """Return the claims of a token that this tenant signed, which is checked once for each text of a token.

    Times, issuer and audience are the caller's to check, each time.
    """
    key = signing_key(world)
    known: dict[tuple[str, str], dict[str, Any]] = world.cache.setdefault("verified-tokens", {})
    claims = known.get((key.kid, token))
    if claims is None:
        claims = _with_signature_checked(key, token)
        with _LOCK:
            if len(known) >= MAX_KNOWN_TOKENS:
                known.pop(next(iter(known)))  # the oldest
            known[key.kid, token] = claims
    return claims


def _with_signature_checked(key: SigningKey, token: str) -> dict[str, Any]:
    only_signature = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    options: Any = {**only_signature, "require": ["aud", "iss", "exp", "nbf", "oid", "appid", "tid"]}
    try:
        if jwt.get_unverified_header(token).get("kid") != key.kid:
            raise TokenRefused("signature", "unknown kid")
        return jwt.decode(token, key.key.public_key(), algorithms=["RS256"], options=options)
    except jwt.PyJWTError as cause:
        raise TokenRefused("signature", str(cause)) from None


def app(world: World) -> Starlette:
    """Return the ASGI app of `login.microsoftonline.com`."""

    def openid(request: Request) -> Response:
        document = _openid(world, request.path_params["tenant"], "v2.0" in request.url.path)
        return JSONResponse(document, headers=_A_DAY)

    def keys(request: Request) -> Response:
        _known_tenant(world, request.path_params["tenant"])
        return JSONResponse({"keys": [signing_key(world).jwk()]})

    async def token(request: Request) -> Response:
        form, v2 = _form(await body_bytes(request)), "/v2.0/" in request.url.path
        try:
            given = _basic(request.headers.get("authorization"))
            return await run_in_threadpool(_token, world, request.path_params["tenant"], form | given, v2=v2)
        except AzureError as refused:
            if refused.status == 401 and "authorization" in request.headers:
                refused.headers["WWW-Authenticate"] = f'Basic realm="{HOST}"'  # RFC 6749 section 5.2
            raise

    routes = [
        Route("/common/discovery/instance", _instance),
        Route("/{tenant}/v2.0/.well-known/openid-configuration", openid),
        Route("/{tenant}/.well-known/openid-configuration", openid),
        Route("/{tenant}/discovery/v2.0/keys", keys),
        Route("/{tenant}/discovery/keys", keys),
        Route("/{tenant}/oauth2/v2.0/token", token, methods=["POST"]),
        Route("/{tenant}/oauth2/token", token, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={AzureError: azure_error})


def _instance(request: Request) -> Response:
    return JSONResponse(instance_discovery(request.query_params.get("authorization_endpoint", "")), headers=_A_DAY)


def _known_tenant(world: World, tenant: str) -> str:
    if tenant.lower() in ("common", "organizations"):
        return tenant.lower()
    if tenant.lower() != world.tenant:
        raise _refused(
            400,
            "invalid_tenant",
            90002,
            f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into "
            "the correct cloud.",
        )
    return world.tenant


def _openid(world: World, asked: str, v2: bool) -> dict[str, Any]:
    tenant = _known_tenant(world, asked)
    named = tenant if tenant == world.tenant else "{tenantid}"  # braces and all: whoever reads it puts a tenant there
    return openid_configuration(tenant, issuer=f"https://{HOST}/{named}/v2.0" if v2 else issuer(named), v2=v2)


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:  # not ASCII, not UTF-8 inside, or too many
        raise _refused(400, "invalid_request", 9002014, "The request body is not a valid form.") from None
    return {name: values[0] for name, values in fields.items()}


def _basic(authorization: str | None) -> dict[str, str]:
    """Return client id and secret of HTTP Basic (RFC 6749 section 2.3.1), form-encoded inside; empty without it."""
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, colon, secret = base64.b64decode(text, validate=True).decode("ascii").partition(":")
        if not colon:
            raise ValueError
        return {"client_id": unquote_plus(client_id, errors="strict"), "client_secret": unquote_plus(secret)}
    except (binascii.Error, ValueError):
        raise _refused(  # the words are not known (inferred)
            401, "invalid_client", 7000218, "The Authorization header does not hold a client id and a secret."
        ) from None


def _token(world: World, tenant: str, form: Mapping[str, str], *, v2: bool) -> Response:
    if _known_tenant(world, tenant) != world.tenant:
        raise _refused(  # which tenant an application's token is of, nobody can tell from `common` (inferred)
            400,
            "invalid_request",
            50059,
            "No tenant-identifying information found in either the request or implied by any provided credentials.",
        )
    for name in ("grant_type", "client_id"):
        if not form.get(name):
            message = f"The request body must contain the following parameter: '{name}'."
            raise _refused(400, "invalid_request", 900144, message)
    if form["grant_type"] != "client_credentials":
        message = f"The app requested an unsupported grant type '{form['grant_type']}'."
        raise _refused(400, "unsupported_grant_type", 70003, message)
    principal = _client(world, form)
    resource = _resource(form, world.tenant)
    token = issue_token(world, principal=principal, resource=resource, lifetime_s=SERVICE_PRINCIPAL_LIFETIME_S)
    lifetime: int | str = SERVICE_PRINCIPAL_LIFETIME_S if v2 else str(SERVICE_PRINCIPAL_LIFETIME_S)
    members = {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}
    if not v2:  # the v1 endpoint writes numbers as texts, and says more
        at = int(world.now().timestamp())
        members |= {"not_before": str(at), "expires_on": str(at + SERVICE_PRINCIPAL_LIFETIME_S), "resource": resource}
    return JSONResponse(members, headers=_NO_STORE)


def _client(world: World, form: Mapping[str, str]) -> Principal:
    """Return who a client id and its secret sign in as. Raises `AzureError` for either that is wrong."""
    from skrkit.sandbox.applications import is_secret_of, principal_of

    client_id = form["client_id"]
    principal = principal_of(world, client_id)
    if principal is None:
        raise _refused(
            400,
            "unauthorized_client",
            700016,
            f"Application with identifier '{client_id}' was not found in the directory '{world.tenant}'.",
        )
    if "client_secret" not in form:
        message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        raise _refused(401, "invalid_client", 7000218, message)
    if not is_secret_of(world, client_id, form["client_secret"]):
        raise _refused(
            401,
            "invalid_client",
            7000215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
            f"not the client secret ID, for a secret added to app '{client_id}'.",
        )
    return principal


def _resource(form: Mapping[str, str], tenant: str) -> str:
    scope = form.get("scope", "")
    resource = form.get("resource") or scope.removesuffix("/.default")
    if not form.get("resource") and not scope.endswith("/.default"):
        raise _refused(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. It must end in /.default.",
        )
    if not known_resource(resource):
        raise unknown_resource(resource, tenant)
    return resource


def known_resource(resource: str) -> bool:
    """Return whether the tenant has a service principal for the resource, one trailing slash aside."""
    return resource.removesuffix("/") in RESOURCES


def unknown_resource(resource: str, tenant: str) -> AzureError:
    """Return AADSTS500011, Entra's answer for a resource that the tenant does not know."""
    return _refused(
        400,
        "invalid_resource",
        500011,
        f"The resource principal named {resource} was not found in the tenant named {tenant}.",
    )


def _refused(status: int, error: str, number: int, message: str) -> AzureError:
    trace, correlation = chance.uuid4("entra/trace"), chance.uuid4("entra/correlation")
    message = _UNPRINTABLE.sub("?", message)
    at = chance.utc_now().strftime("%Y-%m-%d %H:%M:%SZ")
    return AzureError(
        status,
        error,
        f"AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}",
        flat=True,
        headers=_NO_STORE,
        extra={
            "error_codes": [number],
            "timestamp": at,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://{HOST}/error?code={number}",
        },
    )
