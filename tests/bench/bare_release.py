"""A sandbox whose releases are their cryptography alone: what the same clients get from a server that does no more.

    python -m tests.bench.bare_release --home HOME

The first release is a real one, and its answer is every other's. Doors, TLS, HTTP and all other requests are the
sandbox's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from starlette.requests import Request
from starlette.responses import Response

from skrkit.sandbox import __main__ as sandbox
from skrkit.sandbox.vault import app
from skrkit.sandbox.world import World

_PKCS1, _SHA256 = padding.PKCS1v15(), hashes.SHA256()
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


def bare_release(
    *, pem: bytes, attestation: rsa.RSAPublicKey, signed: tuple[bytes, bytes], kek: rsa.RSAPublicKey, service: Any
) -> Callable[[], None]:
    """Return one release's cryptography: verification, key loading, OAEP, AES-KWP and signature; the bearer is known.

    `signed` is what the attestation provider signed, and its signature. No HTTP, no checks, no JSON.
    """
    numbers, (message, signature) = kek.public_numbers(), signed

    def release() -> None:
        attestation.verify(signature, message, _PKCS1, _SHA256)
        private = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        wrapping = rsa.RSAPublicNumbers(numbers.e, numbers.n).public_key()  # another one in each token
        aes_key = os.urandom(32)
        wrapping.encrypt(aes_key, _OAEP)
        aes_key_wrap_with_padding(aes_key, private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        service.sign(message, _PKCS1, _SHA256)

    return release


def _of_any_keys() -> Callable[[], None]:
    """Return the cryptography of a release of an RSA-2048 key, for a token of 4,000 bytes."""
    attestation, kek, released, service = (rsa.generate_private_key(65537, 2048) for _ in range(4))
    message = os.urandom(4000)
    return bare_release(
        pem=released.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        attestation=attestation.public_key(),
        signed=(message, attestation.sign(message, _PKCS1, _SHA256)),
        kek=kek.public_key(),
        service=service,
    )


def main() -> int:
    """Run the sandbox until it is stopped, and return its exit code."""
    answer, release, known = app._finished, _of_any_keys(), b""

    def finished(world: World, lock: Any, table: Any, request: Request, raw: bytes) -> Response:
        nonlocal known
        wanted = request.scope["path"].endswith("/release") and "authorization" in request.headers
        if wanted and known:
            release()
            return Response(known, media_type="application/json")
        answered = answer(world, lock, table, request, raw)
        if wanted and answered.status_code == 200:
            known = bytes(answered.body)
            assert "value" in json.loads(known)
        return answered

    app._finished = finished
    return sandbox.main()


if __name__ == "__main__":
    sys.exit(main())
