"""Random bytes."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from skrkit.encoding import b64url
from skrkit.sandbox import chance
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.errors import bad_parameter

MAX_BYTES = 128


def random_bytes(call: Call) -> Response:
    """Return 1 to 128 random bytes."""
    count = call.body.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_BYTES:
        raise bad_parameter(f"The property 'count' must be between 1 and {MAX_BYTES}.")  # (inferred)
    return JSONResponse({"value": b64url(chance.token_bytes("hsm/rng", count))})
