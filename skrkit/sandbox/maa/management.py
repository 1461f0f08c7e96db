"""The part of a provider that its owner uses: policies and policy signers. Bearer tokens and roles decide who may.

Whoever may not gets 401, with or without a token, as in the real service. A shared provider shows its policies to
everybody with a token, and nobody may change them. The words of the refusals are not known (inferred).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skrkit.sandbox.faults import network
from skrkit.sandbox.maa import policy, signers
from skrkit.sandbox.maa.providers import Provider
from skrkit.sandbox.maa.token import sign_answer
from skrkit.sandbox.web import AzureError, JSONResponse, body_bytes, new_request_id
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

AUDIENCES = ("https://attest.azure.net", "https://attest.azure.net/")
MAX_UPLOAD_BYTES = 1 << 20
_MEMBERS = ("policyCertificateToAdd", "policyCertificateToRemove")
_ACTION = "Microsoft.Attestation/attestationProviders/attestation"

Answer = Callable[["World", Provider, str, str], dict[str, Json]]
"""From world, provider, attestation type and uploaded text to the claims of the answer."""


def routes(world: World, provider: Callable[[Request], Provider]) -> list[Route]:
    """Return the routes of policies and signers. `provider` finds the one that a request asks."""
    from skrkit.sandbox.arm.call import arm_lock

    def route(path: str, method: str, verb: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            network.check_maa(world)
            asked = provider(request)
            text = "" if method == "GET" else _text(await body_bytes(request, limit=MAX_UPLOAD_BYTES))
            return await run_in_threadpool(answered, asked, request, text)

        def answered(asked: Provider, request: Request, text: str) -> Response:
            _authorise(world, asked, verb, request.headers.get("authorization"))
            kind = _kind(request)
            with arm_lock(world):  # a provider is deleted under it
                claims = answer(world, asked, kind, text)
            token = sign_answer(world, asked.host, claims)
            return JSONResponse({"token": token}, headers={"x-ms-request-id": new_request_id()})

        return Route(path, endpoint, methods=[method])

    return [
        route("/policies/{kind}:reset", "POST", "delete", _reset_policy),
        route("/policies/{kind}", "GET", "read", _get_policy),
        route("/policies/{kind}", "PUT", "write", _set_policy),
        route("/certificates", "GET", "read", lambda world, asked, _kind, _text: signers.listing(world, asked)),
        route("/certificates:add", "POST", "write", _add_signer),
        route("/certificates:remove", "POST", "delete", _remove_signer),
    ]


def _kind(request: Request) -> str:
    """Return the attestation type of the path in lower case, "" where there is none; `api-version` must be there."""
    if not request.query_params.get("api-version"):
        raise AzureError(400, "InvalidParameter", "The query parameter 'api-version' is required.")
    kind = str(request.path_params.get("kind", "")).lower()
    if kind and kind not in policy.TYPES:
        raise AzureError(404, "ResourceNotFound", "There is no attestation type of this name.")
    return kind


def _authorise(world: World, asked: Provider, verb: str, authorization: str | None) -> None:
    from skrkit.sandbox.entra import TokenRefused, authenticate
    from skrkit.sandbox.roles.assignment import allows, ensure_owner

    try:
        caller = authenticate(world, authorization, audiences=AUDIENCES)
    except TokenRefused as refused:
        raise _unauthorised(world, f"The access token was not taken: {refused.reason}.") from None
    if asked.shared:
        if verb == "read":
            return
        raise _unauthorised(world, "The policies and signers of a shared provider cannot be changed.")
    ensure_owner(world)
    if not allows(world, caller.oid, f"{_ACTION}/{verb}", asked.resource_id):
        raise _unauthorised(
            world,
            f"The client with object id '{caller.oid}' does not have authorization to perform action "
            f"'{_ACTION}/{verb}' over scope '{asked.resource_id}'.",
        )


def _unauthorised(world: World, message: str) -> AzureError:
    challenge = f'Bearer authorization="https://login.windows.net/{world.tenant}", resource="https://attest.azure.net"'
    return AzureError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge})


def _text(raw: bytes) -> str:
    """Return an uploaded JWS: as it is, as a JSON string, or for a signer as the member of an object (2025-06-01)."""
    try:
        text = raw.decode("ascii").strip()
        sent = json.loads(text) if text[:1] in ('"', "{") else text
    except (ValueError, RecursionError):
        sent = None
    if isinstance(sent, dict):
        sent = next((sent[name] for name in _MEMBERS if name in sent), None)
    if not isinstance(sent, str):
        raise AzureError(400, "InvalidOperation", "The request body must be a JSON Web Signature.")
    return sent


def _get_policy(world: World, asked: Provider, kind: str, _text: str) -> dict[str, Json]:
    found = policy.in_force(world, asked.host, kind)
    return {} if found is None else {"x-ms-policy": found.jws}  # without one, no member (inferred)


def _set_policy(world: World, asked: Provider, kind: str, text: str) -> dict[str, Json]:
    return policy.set_policy(world, asked, kind, text)


def _reset_policy(world: World, asked: Provider, kind: str, text: str) -> dict[str, Json]:
    return policy.reset_policy(world, asked, kind, text)


def _add_signer(world: World, asked: Provider, _kind: str, text: str) -> dict[str, Json]:
    return signers.change(world, asked, text, add=True)


def _remove_signer(world: World, asked: Provider, _kind: str, text: str) -> dict[str, Json]:
    return signers.change(world, asked, text, add=False)
