"""The HTTP face of a provider: attestation, published keys, discovery, policies. Everything else is 404."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skrkit.sandbox.faults import network
from skrkit.sandbox.maa import management
from skrkit.sandbox.maa.attest import attest_guest, attest_platform
from skrkit.sandbox.maa.keys import jwks_of
from skrkit.sandbox.maa.providers import Provider, find
from skrkit.sandbox.maa.tdx import refuse_tdx
from skrkit.sandbox.web import AzureError, JSONResponse, azure_error, host, json_body, new_request_id
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

MAX_REQUEST_BYTES = 4 << 20  # a real request has 30 to 60 kB, most of it the event log

Attest = Callable[["World", str, "dict[str, Json]"], str]

KINDS: dict[str, Attest] = {"azureguest": attest_guest, "sevsnpvm": attest_platform}
ABSENT = ("sgxenclave", "openenclave", "tpm")
TDX = "tdxvm"
CLAIMS_SUPPORTED = (
    "cnf", "nonce", "x-ms-ver", "x-ms-attestation-type", "x-ms-policy-hash", "x-ms-policy-signer",
    "x-ms-sgx-is-debuggable", "x-ms-sgx-mrenclave", "x-ms-sgx-mrsigner", "x-ms-sgx-svn", "x-ms-sgx-ehd",
    "x-ms-sgx-collateral", "is-debuggable", "sgx-mrsigner", "sgx-mrenclave", "product-id", "svn", "tee",
)  # fmt: skip


def app(world: World) -> Starlette:
    """Return the ASGI app of every `*.attest.azure.net` host; which provider answers follows from the Host header."""

    def asked(request: Request) -> Provider:
        return provider(world, host(request))

    async def attest(request: Request) -> Response:
        network.check_maa(world, attests=True)
        name = asked(request).host
        kind = str(request.path_params["kind"])
        handler = KINDS.get(kind.lower())
        if handler is None and kind.lower() != TDX:
            raise _unknown_kind(kind)
        if not request.query_params.get("api-version"):
            raise AzureError(400, "InvalidParameter", "The query parameter 'api-version' is required.")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise AzureError(415, "UnsupportedMediaType", "The content type must be application/json.")
        body = await json_body(request, code="InvalidParameter", limit=MAX_REQUEST_BYTES)
        if handler is None:
            raise refuse_tdx(body)
        try:
            return _answer({"token": await run_in_threadpool(handler, world, name, body)})
        except LookupError:
            provider(world, name)  # which says that it was deleted in the meantime, if that is why
            raise

    async def certs(request: Request) -> Response:
        network.check_maa(world)
        return _answer(await run_in_threadpool(jwks_of, world, asked(request).host))

    async def discovery(request: Request) -> Response:
        network.check_maa(world)
        return _answer(openid_configuration(asked(request).host))

    return Starlette(
        routes=[
            Route("/attest/{kind}", attest, methods=["POST"]),
            Route("/certs", certs, methods=["GET"]),
            Route("/.well-known/openid-configuration", discovery, methods=["GET"]),
            *management.routes(world, asked),
        ],
        exception_handlers={AzureError: azure_error, 404: _not_found, 405: _not_allowed},
    )


def provider(world: World, name: str) -> Provider:
    """Return the provider at a host name. Raises `AzureError` 404 for a host that is none."""
    found = find(world, name)
    if found is None:
        raise AzureError(
            404,
            "ResourceNotFound",
            f"There is no attestation provider at '{name}'. The sandbox has the shared providers, "
            "https://shared<abbr>.<abbr>.attest.azure.net, such as https://sharedweu.weu.attest.azure.net, and those "
            "that were made through Resource Manager.",
        )
    return found


def openid_configuration(name: str) -> dict[str, Json]:
    """Return a provider's discovery document, with the members and claims of a recorded one (September 2022)."""
    base = f"https://{name}"
    return {
        "response_types_supported": ["token", "none"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "revocation_endpoint": f"{base}/revoke",
        "issuer": base,
        "jwks_uri": f"{base}/certs",
        "claims_supported": [*CLAIMS_SUPPORTED],
    }


def _answer(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers={"x-ms-request-id": new_request_id()})


def _unknown_kind(kind: str) -> AzureError:
    if kind.lower() in ABSENT:
        return AzureError(
            404, "ResourceNotFound", f"The sandbox does not attest '{kind}', only AzureGuest and SevSnpVm."
        )
    return AzureError(404, "ResourceNotFound", "There is no attestation type of this name.")


async def _not_found(_request: Request, _error: Exception) -> Response:
    return AzureError(404, "ResourceNotFound", "The resource was not found.").response()


async def _not_allowed(_request: Request, _error: Exception) -> Response:
    return AzureError(405, "MethodNotAllowed", "The resource does not take this method.").response()
