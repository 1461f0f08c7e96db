"""A sandbox without door and process: Azure's own clients talk to the ASGI apps through a `requests` adapter."""

from __future__ import annotations

import asyncio
import io
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

from skrkit.sandbox import entra
from skrkit.sandbox.arm.app import app as arm_app
from skrkit.sandbox.silicon import Silicon
from skrkit.sandbox.store import Store
from skrkit.sandbox.tls import TlsAuthority
from skrkit.sandbox.vault.app import app as vault_app
from skrkit.sandbox.world import World

TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
OPERATOR = entra.Principal(
    oid="33333333-3333-4333-8333-333333333333", appid="44444444-4444-4444-8444-444444444444", tid=TENANT, mirid=None
)
STRANGER = entra.Principal(
    oid="55555555-5555-4555-8555-555555555555", appid="66666666-6666-4666-8666-666666666666", tid=TENANT, mirid=None
)
ARM = "https://management.azure.com"
VAULT_API = "2025-07-01"


@dataclass
class Switch:
    """What stands for a machine: whether it is on."""

    power: str = "running"

    def reboot(self) -> None:
        self.power = "running"

    def shut_down(self, power: str) -> None:
        self.power = power


class Machines:
    """Records which machines were made and deleted: these tests are about resources, not about chips."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self._switches: dict[str, Switch] = {}

    def create(self, resource_id: str, **facts: Any) -> None:
        assert resource_id.lower() not in self.made
        self.made[resource_id.lower()] = facts
        self._switches[resource_id.lower()] = Switch()

    def get(self, resource_id: str) -> Any:
        return self._switches.get(resource_id.lower())

    def delete(self, resource_id: str) -> bool:
        self._switches.pop(resource_id.lower(), None)
        return self.made.pop(resource_id.lower(), None) is not None


@dataclass
class Clock:
    """A clock that a test can set."""

    time: datetime = field(default_factory=lambda: datetime(2026, 11, 24, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.time


class InProcess(BaseAdapter):
    """Answers requests by the ASGI app of the host. Nothing touches the network; an unknown host is an error."""

    def __init__(self, azure: Azure) -> None:
        super().__init__()
        self.azure = azure

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        url = urlsplit(str(request.url))
        assert url.scheme == "https"
        self.azure.seen.append(f"{request.method} {url.path}")
        body = request.body or b""
        assert isinstance(body, str | bytes)
        raw = body.encode() if isinstance(body, str) else body
        headers = [(k.lower().encode("latin-1"), str(v).encode("latin-1")) for k, v in request.headers.items()]
        headers = [(b"host", url.netloc.encode()), *headers]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method,
            "scheme": "https", "path": url.path, "raw_path": url.path.encode(), "query_string": url.query.encode(),
            "root_path": "", "headers": headers, "client": ("127.0.0.1", 50000), "server": (url.hostname, 443),
        }  # fmt: skip
        status, answered, content = asyncio.run(_exchange(self.azure.app_of(str(url.hostname)), scope, raw))
        shown = HTTPResponse(
            body=io.BytesIO(content), headers=answered, status=status, preload_content=False, decode_content=False
        )
        response: requests.Response = HTTPAdapter().build_response(request, shown)
        return response

    def close(self) -> None:
        return


async def _exchange(app: Any, scope: MutableMapping[str, Any], body: bytes) -> tuple[int, Any, bytes]:
    status, headers, content = 0, [], b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, headers, content
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"]]
        else:
            content += message.get("body", b"")

    await app(scope, receive, send)
    return status, dict(headers), content


class Credential:
    """What Entra would give: a token of this principal for the resource that a scope names."""

    def __init__(self, world: World, principal: entra.Principal) -> None:
        self.world = world
        self.principal = principal

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        resource = scopes[0].removesuffix("/.default")
        token = entra.issue_token(self.world, principal=self.principal, resource=resource, lifetime_s=3600)
        return AccessToken(token, int(datetime.now(UTC).timestamp()) + 3600)


class Azure:
    """One sandbox world with its apps, and Azure's clients for it."""

    def __init__(self, home: Path) -> None:
        self.clock = Clock()
        self.machines = Machines()
        self.seen: list[str] = []
        store = Store(home / "state.sqlite")
        store.put(
            "settings",
            "cast",
            {
                "tenant": TENANT,
                "subscription": SUBSCRIPTION,
                "operator_oid": OPERATOR.oid,
                "client_id": OPERATOR.appid,
                "client_secret": "secret",
            },
        )
        self.world = World(
            home=home,
            store=store,
            tls=TlsAuthority(store, self.clock),
            silicon=Silicon(store, self.clock),
            machines=self.machines,  # type: ignore[arg-type]
            now=self.clock,
        )
        self.apps = {"management.azure.com": arm_app(self.world), "vault.azure.net": vault_app(self.world)}

    def app_of(self, host: str) -> Any:
        return self.apps["management.azure.com"] if host == "management.azure.com" else self._vaults(host)

    def _vaults(self, host: str) -> Any:
        assert host.endswith(".vault.azure.net"), f"a test asked for {host}"
        return self.apps["vault.azure.net"]

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", InProcess(self))
        return session

    def options(self) -> dict[str, Any]:
        transport = RequestsTransport(session=self.session(), session_owner=False)
        return {"transport": transport, "retry_total": 0, "polling_interval": 0}

    def credential(self, principal: entra.Principal = OPERATOR) -> Any:
        return Credential(self.world, principal)

    def arm(
        self, method: str, path: str, body: Any = None, *, principal: entra.Principal = OPERATOR
    ) -> requests.Response:
        """Return the answer to a plain request to Resource Manager; `path` with its query."""
        token = self.credential(principal).get_token(f"{ARM}/.default").token
        given = {"Authorization": f"Bearer {token}"}
        return self.session().request(method, ARM + path, json=body, headers=given, timeout=5)

    def vault(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        vault: str = "premium",
        api: str = VAULT_API,
        principal: entra.Principal = OPERATOR,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Return the answer to a plain request to a vault."""
        token = self.credential(principal).get_token("https://vault.azure.net/.default").token
        given = {"Authorization": f"Bearer {token}"} | (headers or {})
        url = f"https://{vault}.vault.azure.net{path}"
        query = {"api-version": api} if api else {}
        return self.session().request(method, url, params=query, json=body, headers=given, timeout=5)

    def keys(self, vault: str = "premium", principal: entra.Principal = OPERATOR, **options: Any) -> KeyClient:
        url = f"https://{vault}.vault.azure.net"
        return KeyClient(url, self.credential(principal), **self.options(), **options)

    def cryptography(self, key: Any) -> CryptographyClient:
        return CryptographyClient(key, self.credential(), **self.options())

    def make_group(self, name: str = "rg") -> None:
        answer = self.arm("PUT", f"/subscriptions/{SUBSCRIPTION}/resourcegroups/{name}?api-version=2025-04-01",
                          {"location": "westeurope"})  # fmt: skip
        assert answer.status_code in (200, 201), answer.text

    def make_vault(
        self, name: str = "premium", *, sku: str = "premium", permissions: list[str] | None = None, **properties: Any
    ) -> dict[str, Any]:
        body = {
            "location": "westeurope",
            "properties": {
                "tenantId": TENANT,
                "sku": {"family": "A", "name": sku},
                "enableRbacAuthorization": False,
                "accessPolicies": [
                    {
                        "tenantId": TENANT,
                        "objectId": OPERATOR.oid,
                        "permissions": {"keys": permissions or ["all", "release", "purge"]},
                    }
                ],
            }
            | properties,
        }
        path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/{name}"
        answer = self.arm("PUT", f"{path}?api-version=2026-05-15", body)
        assert answer.status_code in (200, 201), answer.text
        made: dict[str, Any] = answer.json()
        return made


def error_of(answer: requests.Response) -> tuple[int, str, str, str]:
    """Return status, code, inner code and message of a refusal."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("innererror", {}).get("code", ""), error["message"]
