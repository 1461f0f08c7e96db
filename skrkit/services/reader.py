"""Resources as the services' own JSON: one GET with a bearer token, for who looks at a thing and does not manage it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from skrkit.encoding import json_object
from skrkit.errors import ServiceError
from skrkit.services.azure_errors import azure_call
from skrkit.services.rest import RestClient

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json

VM_API = "2024-07-01"
VAULT_API = "2023-07-01"
KEYS_API = "7.5"
AUTHORIZATION_API = "2022-04-01"
MAX_PAGES = 50  # of a list; of one principal's roles there is one
_AUTHORIZATION = "/providers/Microsoft.Authorization"


class Reader:
    """Reads as the identity of its side of the cloud: the operator, or the VM inside one. Use as a context manager.

    `tokens` are access tokens that are known already, by the host they are for. Every method raises `ServiceError`
    with the service's own code and message, and `ParseError` for an odd answer.
    """

    def __init__(self, cloud: Cloud, *, tokens: Mapping[str, str] | None = None) -> None:
        self.cloud = cloud
        self._rest = RestClient(cloud)
        self._credential: Any = None
        self._tokens = dict(tokens or {})

    def __enter__(self) -> Reader:
        self._rest.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._rest.__exit__(*raised)

    def token(self, host: str) -> str:
        """Return an access token for the service at `https://<host>`: a secret, kept for as long as this reader."""
        if host not in self._tokens:
            with azure_call(f"access token for {host}"):
                if self._credential is None:
                    self._credential = self.cloud.credential()
                endpoints = self.cloud.endpoints
                resource = endpoints.management_resource if host == endpoints.management else f"https://{host}"
                self._tokens[host] = self._credential.get_token(f"{resource}/.default").token
        return self._tokens[host]

    def vm(self, resource_id: str) -> dict[str, Json]:
        """Return a VM as Resource Manager knows it."""
        return self._resource(resource_id, VM_API)

    def vault(self, resource_id: str) -> dict[str, Json]:
        """Return a vault as Resource Manager knows it, its access policies and firewall included."""
        return self._resource(resource_id, VAULT_API)

    def hsm(self, resource_id: str) -> dict[str, Json]:
        """Return a Managed HSM as Resource Manager knows it, its activation and firewall included; not its roles."""
        return self._resource(resource_id, VAULT_API)

    def key(self, vault_url: str, name: str, version: str = "") -> dict[str, Json]:
        """Return a key's bundle: public key, attributes, release policy. Needs key permission `get`."""
        path = f"keys/{name}/{version}" if version else f"keys/{name}"
        return self._get(f"{vault_url}/{path}?api-version={KEYS_API}", self._audience(vault_url))

    def key_resource(self, vault_id: str, name: str) -> dict[str, Json]:
        """Return a key as Resource Manager knows it, its release policy included. Needs no key permission."""
        return self._resource(f"{vault_id}/keys/{name}", VAULT_API)

    def deleted_key(self, vault_url: str, name: str) -> dict[str, Json]:
        """Return a key that was deleted and can be recovered. Needs key permission `get`."""
        return self._get(f"{vault_url}/deletedkeys/{name}?api-version={KEYS_API}", self._audience(vault_url))

    def _audience(self, vault_url: str) -> str:
        """Return the host that a token for the keys at an address is for: not the same for a Managed HSM."""
        endpoints = self.cloud.endpoints
        in_hsm = vault_url.endswith(f".{endpoints.managedhsm_suffix}")
        return endpoints.managedhsm_suffix if in_hsm else endpoints.vault_suffix

    def role_assignments(self, scope: str, object_id: str) -> list[dict[str, Json]]:
        """Return the role assignments of a principal, and of its groups, at a scope and above it."""
        asked = quote(f"atScope() and assignedTo('{object_id}')")
        path = f"{scope}{_AUTHORIZATION}/roleAssignments?api-version={AUTHORIZATION_API}&$filter={asked}"
        return [each for each in self._listed(path) if isinstance(each, dict)]

    def role_definition(self, scope: str, role_id: str) -> dict[str, Json]:
        """Return a role, its name and what it allows, as who may read it at a scope and perhaps nowhere above."""
        return self._resource(
            f"{scope}{_AUTHORIZATION}/roleDefinitions/{role_id.rpartition('/')[2]}", AUTHORIZATION_API
        )

    def own_permissions(self, scope: str) -> list[Json]:
        """Return what the caller's own roles allow at a scope, a member a role."""
        return self._listed(f"{scope}{_AUTHORIZATION}/permissions?api-version={AUTHORIZATION_API}")

    def _listed(self, path: str) -> list[Json]:
        """Return a list of Resource Manager, all of its pages. Raises `ServiceError` for a page that is elsewhere."""
        host = self.cloud.endpoints.management
        found: list[Json] = []
        url = f"https://{host}{path}"
        for _ in range(MAX_PAGES):
            page = self._get(url, host)
            value = page.get("value")
            found += value if isinstance(value, list) else []
            url = str(page.get("nextLink") or "")
            if not url:
                return found
            if urlsplit(url).scheme != "https" or urlsplit(url).hostname != host:  # it would get the token
                break
        raise ServiceError(
            what="list of Resource Manager",
            where=f"GET {path.partition('?')[0]}",
            expected=f"at most {MAX_PAGES} pages, each at https://{host}",
            found=f"a next page at {url.partition('?')[0]}",
            fix="Check the proxy and the address: this is not Resource Manager's answer.",
        )

    def _resource(self, resource_id: str, api_version: str) -> dict[str, Json]:
        host = self.cloud.endpoints.management
        return self._get(f"https://{host}{resource_id}?api-version={api_version}", host)

    def _get(self, url: str, audience: str) -> dict[str, Json]:
        headers = {"Authorization": f"Bearer {self.token(audience)}"}
        where = f"GET {url.partition('?')[0]}"
        with azure_call(where.rpartition("/")[2]):
            body = self._rest.send("GET", url, headers=headers)
        return json_object(body, what="answer", where=where)
