"""What reading and releasing a key costs on the server side, beside the bare cryptography of a release."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.sandbox.maa.keys import signing_key
from skrkit.sandbox.vault.call import find_vault
from skrkit.sandbox.vault.signing import signer
from tests.sandbox.vault.attested import KEK, POLICY, PROVIDER, claims, encoded, token
from tests.sandbox.vault.azure import OPERATOR, Azure, Credential

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A sandbox with one releasable RSA-2048 key."""
    home: Path = tmp_path_factory.mktemp("bench")
    made = Azure(home)
    made.make_group()
    made.make_vault("premium")
    body = {
        "kty": "RSA-HSM",
        "attributes": {"exportable": True},
        "release_policy": {"data": encoded(POLICY)},
    }
    assert made.vault("POST", "/keys/skr/create", body).status_code == 200
    yield made
    made.world.store.close()


class Caller:
    """Sends one request to the app again and again, on one event loop, as a server would."""

    def __init__(self, azure: Azure, method: str, path: str, body: bytes = b"") -> None:
        self.loop = asyncio.new_event_loop()
        self.app = azure.app_of("premium.vault.azure.net")
        self.body = body
        bearer = Credential(azure.world, OPERATOR).get_token("https://vault.azure.net/.default").token
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
            "path": path, "raw_path": path.encode(), "query_string": b"api-version=7.6", "root_path": "",
            "headers": [
                (b"host", b"premium.vault.azure.net"), (b"content-type", b"application/json"),
                (b"authorization", f"Bearer {bearer}".encode()),
            ],
            "client": ("127.0.0.1", 1), "server": ("premium.vault.azure.net", 443),
        }  # fmt: skip

    def __call__(self) -> int:
        return self.loop.run_until_complete(self._exchange())

    async def _exchange(self) -> int:
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        await self.app(dict(self.scope), receive, send)
        return status


@contextmanager
def calling(azure: Azure, method: str, path: str, body: bytes = b"") -> Iterator[Caller]:
    """Give a caller whose event loop is closed afterwards, with its worker threads."""
    caller = Caller(azure, method, path, body)
    try:
        yield caller
    finally:
        caller.loop.run_until_complete(caller.loop.shutdown_default_executor())
        caller.loop.close()


@pytest.mark.benchmark(group="vault get")
def test_get_key(azure: Azure, benchmark: BenchmarkFixture) -> None:
    with calling(azure, "GET", "/keys/skr") as call:
        assert benchmark(call) == 200


@pytest.mark.benchmark(group="vault get")
def test_bare_token_check(azure: Azure, benchmark: BenchmarkFixture) -> None:
    """The one RSA verification that every request needs."""
    key = rsa.generate_private_key(65537, 2048)
    bearer = jwt.encode({"aud": "a"}, key, "RS256")
    public = key.public_key()
    benchmark(lambda: jwt.decode(bearer, public, algorithms=["RS256"], audience="a"))


@pytest.mark.benchmark(group="vault release")
def test_release(azure: Azure, benchmark: BenchmarkFixture) -> None:
    body = json.dumps({"target": token(azure, claims(azure))}).encode()
    with calling(azure, "POST", "/keys/skr/release", body) as call:
        assert benchmark(call) == 200


@pytest.mark.benchmark(group="vault release")
def test_bare_release(azure: Azure, benchmark: BenchmarkFixture) -> None:
    """One RSA verification, key loading, OAEP, AES-KWP, one RSA signature: nothing else. The bearer is known."""
    _, stored = azure.world.store.list("vault-key", "premium/skr/")[0]
    pem = stored["pem"].encode()
    attestation = signing_key(azure.world, PROVIDER).key
    vault = find_vault(azure.world, "premium")
    assert vault is not None
    public, service = attestation.public_key(), signer(azure.world, vault).key
    message = os.urandom(4000)
    signature = attestation.sign(message, padding.PKCS1v15(), hashes.SHA256())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    wrapping = KEK.public_key()

    def bare() -> None:
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        private = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        aes_key = os.urandom(32)
        wrapping.encrypt(aes_key, oaep)
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        aes_key_wrap_with_padding(aes_key, der)
        service.sign(message, padding.PKCS1v15(), hashes.SHA256())

    benchmark(bare)
