"""AMD's key distribution service, kdsintf.amd.com, for the sandbox's own silicon.

Source: AMD 57230, KDS interface. Simplified: a chip's VCEK is known for the one TCB that the chip reports, where AMD
derives one for any; and equal requests are never throttled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skrkit.sandbox.chipcerts import LINE

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

# Query parameter to byte of the TCB, for Milan and Genoa
_SPL = {"blSPL": 0, "teeSPL": 1, "snpSPL": 6, "ucodeSPL": 7}


def app(world: World) -> Starlette:
    """Return the ASGI app of `kdsintf.amd.com`: VCEK (DER), `cert_chain` (PEM, ASK then ARK) and CRL (DER)."""

    async def cert_chain(request: Request) -> Response:
        if _line(request) != LINE:
            return _no("There is no such product line here.")
        pem = await run_in_threadpool(lambda: world.silicon.chain_pem)
        return Response(pem, media_type="application/x-pem-file")

    async def crl(request: Request) -> Response:
        if _line(request) != LINE:
            return _no("There is no such product line here.")
        return Response(await run_in_threadpool(world.silicon.crl_der), media_type="application/pkix-crl")

    async def vcek(request: Request) -> Response:
        if _line(request) != LINE:
            return _no("There is no such product line here.")
        return await run_in_threadpool(_vcek, world, request)

    return Starlette(
        routes=[
            Route("/vcek/v1/{line}/cert_chain", cert_chain, methods=["GET"]),
            Route("/vcek/v1/{line}/crl", crl, methods=["GET"]),
            Route("/vcek/v1/{line}/{chip}", vcek, methods=["GET"]),
        ]
    )


def _line(request: Request) -> str:
    return str(request.path_params["line"])


def _no(reason: str, status: int = 404) -> Response:
    return PlainTextResponse(reason, status)


def _vcek(world: World, request: Request) -> Response:
    try:
        chip_id = bytes.fromhex(str(request.path_params["chip"]))
    except ValueError:
        return _no("The chip id must be 128 hex digits.", 400)
    if len(chip_id) != 64:
        return _no("The chip id must be 128 hex digits.", 404)
    tcb = bytearray(8)
    for name, at in _SPL.items():
        text = request.query_params.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 256):
            return _no(f"{name} must be a number from 0 to 255.", 400)
        tcb[at] = int(text)
    chip = world.silicon.chip(chip_id)
    if chip is None or chip.tcb != bytes(tcb):
        return _no("There is no VCEK for this chip and this TCB.")
    return Response(chip.vcek.public_bytes(Encoding.DER), media_type="application/pkix-cert")
