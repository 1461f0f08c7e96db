"""The Azure CLI's commands of the catalogue, each as the requests that it makes, sent to a sandbox as bare HTTP.

`COMMANDS` has one row a command: its words, and what it asks.
"""

from __future__ import annotations

import json
import shlex
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.faults.faulted import claims_of
from tests.sandbox.hsm.azure import HOLDERS, jwk
from tests.sandbox.running import (
    ARM,
    Answer,
    bearer,
    group_url,
    operator_token,
    send,
    vm_body,
    vm_url,
)

VAULT_API, KEYS_API, ROLES_API, NETWORK_API = "2024-11-01", "2025-07-01", "2022-04-01", "2024-05-01"
ATTESTATION_API = "2020-10-01"
COMPUTE_API, HSM_API, HSM_KEYS_API = "2024-07-01", "2026-05-15", "7.5"

Options = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the commands are typed: an operator who has signed in, and a folder with the files that they read."""

    endpoint: Endpoint
    folder: Path

    def az(self, command: str) -> Any:
        """Return what the last request of a command answers, as JSON.

        Raises `AssertionError` for a command without a row, and for a request that is refused.
        """
        program, *words = shlex.split(command)
        assert program == "az", command
        options: dict[str, tuple[str, ...]] = {}
        plain = words[: _first_option(words)]
        name = ""
        for word in words[len(plain) :]:
            if word.startswith("--"):
                options[name := word[2:]] = ()
            else:
                options[name] += (word,)
        return COMMANDS[" ".join(plain)](self, options)

    @property
    def operator(self) -> str:
        """The object id of who has signed in."""
        return str(claims_of(operator_token(self.endpoint))["oid"])

    def arm(self, method: str, path: str, api: str, body: Any = None) -> Any:
        """Return Resource Manager's answer about a path, or about a whole resource id."""
        url = path if path.startswith("https:") else f"{ARM}{path}"
        query = "&" if "?" in url else "?"
        token = operator_token(self.endpoint)
        answer = send(self.endpoint, method, f"{url}{query}api-version={api}", body, Authorization=bearer(token))
        return _json(answer, method, url)

    def vault(self, method: str, vault: str, path: str, body: Any = None) -> Any:
        """Return a vault's answer."""
        url = f"https://{vault}.vault.azure.net{path}?api-version={KEYS_API}"
        token = operator_token(self.endpoint, "https://vault.azure.net")
        return _json(send(self.endpoint, method, url, body, Authorization=bearer(token)), method, url)

    def hsm(self, method: str, hsm: str, path: str, body: Any = None) -> Any:
        """Return a Managed HSM's answer."""
        url = f"https://{hsm}.managedhsm.azure.net{path}?api-version={HSM_KEYS_API}"
        token = operator_token(self.endpoint, "https://managedhsm.azure.net")
        return _json(send(self.endpoint, method, url, body, Authorization=bearer(token)), method, url)

    def make_security_group(self, name: str) -> None:
        """Make the security group that a rule is to be in."""
        path = f"{self.group({})}/providers/Microsoft.Network/networkSecurityGroups/{name}"
        self.arm("PUT", path, NETWORK_API, {"location": "westeurope"})

    def group(self, options: Options) -> str:
        """Return the URL of the resource group of a command, the stage's where it names none."""
        return group_url(self.endpoint, *options.get("resource-group", ()))

    def vault_url(self, options: Options) -> str:
        """Return the URL of a vault as a resource: the CLI looks for its group by itself."""
        return f"{self.group(options)}/providers/Microsoft.KeyVault/vaults/{_one(options, 'name')}"


def _first_option(words: list[str]) -> int:
    return next((place for place, word in enumerate(words) if word.startswith("--")), len(words))


def _json(answer: Answer, method: str, url: str) -> Any:
    assert answer.status < 300, f"{method} {url}: {answer.status} {answer.body[:500]!r}"
    return answer.json() if answer.body else {}


def _one(options: Options, name: str) -> str:
    (value,) = options[name]
    return value


# --- VMs


def _vm_show(desk: Desk, options: Options) -> Any:
    return desk.arm("GET", vm_url(desk.endpoint, _one(options, "name")), COMPUTE_API)


def _vm_restart(desk: Desk, options: Options) -> Any:
    vm = f"{desk.group(options)}/providers/Microsoft.Compute/virtualMachines/{_one(options, 'name')}"
    return desk.arm("POST", f"{vm}/restart", COMPUTE_API)


def _vm_create(desk: Desk, options: Options) -> Any:
    assert options["security-type"] == ("ConfidentialVM",)
    name = "made-by-az"
    vm = f"{desk.group(options)}/providers/Microsoft.Compute/virtualMachines/{name}"
    made = desk.arm("PUT", vm, COMPUTE_API, vm_body(desk.endpoint, name))
    desk.arm("DELETE", vm, COMPUTE_API)
    return made


def _vm_usage(desk: Desk, options: Options) -> Any:
    subscription = f"{ARM}/subscriptions/{desk.endpoint.subscription}"
    location = _one(options, "location")
    return desk.arm("GET", f"{subscription}/providers/Microsoft.Compute/locations/{location}/usages", COMPUTE_API)


def _identity_assign(desk: Desk, options: Options) -> Any:
    before = _vm_show(desk, options).get("identity") or {}
    others = before.get("userAssignedIdentities") or {}
    identity: dict[str, Any] = {"type": "SystemAssigned, UserAssigned" if others else "SystemAssigned"}
    if others:
        identity["userAssignedIdentities"] = {name: {} for name in others}
    return desk.arm("PATCH", vm_url(desk.endpoint, _one(options, "name")), COMPUTE_API, {"identity": identity})


def _identity_show(desk: Desk, options: Options) -> Any:
    return _vm_show(desk, options).get("identity") or {}


def _vm_update(desk: Desk, options: Options) -> Any:
    wanted = {"secureBootEnabled": _one(options, "enable-secure-boot") == "true"}
    body = {"properties": {"securityProfile": {"uefiSettings": wanted}}}
    return desk.arm("PATCH", vm_url(desk.endpoint, _one(options, "name")), COMPUTE_API, body)


# --- sign-in, networks, providers


def _login(desk: Desk, _options: Options) -> Any:
    return {"signed in": bool(operator_token(desk.endpoint))}


def _access_token(desk: Desk, options: Options) -> Any:
    return {"token": bool(operator_token(desk.endpoint, _one(options, "resource")))}


def _security_rule(desk: Desk, options: Options) -> Any:
    group = f"{desk.group(options)}/providers/Microsoft.Network/networkSecurityGroups/{_one(options, 'nsg-name')}"
    rule = {
        "priority": int(_one(options, "priority")),
        "direction": _one(options, "direction"),
        "access": _one(options, "access"),
        "protocol": _one(options, "protocol"),
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": _one(options, "destination-address-prefixes"),
        "destinationPortRange": _one(options, "destination-port-ranges"),
    }
    return desk.arm("PUT", f"{group}/securityRules/{_one(options, 'name')}", NETWORK_API, {"properties": rule})


def _default_provider(desk: Desk, options: Options) -> Any:
    provider = f"{ARM}/subscriptions/{desk.endpoint.subscription}/providers/Microsoft.Attestation"
    return desk.arm("GET", f"{provider}/locations/{_one(options, 'location')}/defaultProvider", ATTESTATION_API)


# --- vaults


def _set_policy(desk: Desk, options: Options) -> Any:
    """The permissions that are named take the place of those that the identity has: so does the CLI."""
    url = desk.vault_url(options)
    properties = desk.arm("GET", url, VAULT_API)["properties"]
    object_id, keys = _one(options, "object-id"), list(options["key-permissions"])
    policies = properties["accessPolicies"]
    known = next((policy for policy in policies if policy["objectId"].lower() == object_id.lower()), None)
    if known is None:
        permissions: dict[str, Any] = {"keys": keys}
        known = {"tenantId": properties["tenantId"], "objectId": object_id, "permissions": permissions}
        policies.append(known)
    known["permissions"]["keys"] = keys
    return desk.arm("PATCH", url, VAULT_API, {"properties": {"accessPolicies": policies}})


def _network_rule(desk: Desk, options: Options) -> Any:
    url = desk.vault_url(options)
    rules = desk.arm("GET", url, VAULT_API)["properties"].get("networkAcls") or {}
    rules["ipRules"] = [*rules.get("ipRules", ()), {"value": _one(options, "ip-address")}]
    return desk.arm("PATCH", url, VAULT_API, {"properties": {"networkAcls": rules}})


def _vault_update(desk: Desk, options: Options) -> Any:
    changed: dict[str, Any] = {}
    if "public-network-access" in options:
        changed["publicNetworkAccess"] = _one(options, "public-network-access")
    if "sku" in options:
        changed["sku"] = {"family": "A", "name": _one(options, "sku")}
    assert changed
    return desk.arm("PATCH", desk.vault_url(options), VAULT_API, {"properties": changed})


def _deleted_vaults(desk: Desk, _options: Options) -> Any:
    subscription = f"{ARM}/subscriptions/{desk.endpoint.subscription}"
    return desk.arm("GET", f"{subscription}/providers/Microsoft.KeyVault/deletedVaults", VAULT_API)


# --- keys


def _key(options: Options) -> tuple[str, str]:
    return _one(options, "vault-name"), f"/keys/{_one(options, 'name')}"


def _key_create(desk: Desk, options: Options) -> Any:
    vault, path = _key(options)
    body = {
        "kty": _one(options, "kty"),
        "key_size": int(_one(options, "size")),
        "attributes": {"exportable": _one(options, "exportable") == "true"},
        "release_policy": _policy_file(desk, options),
    }
    return desk.vault("POST", vault, f"{path}/create", body)


def _set_attributes(desk: Desk, options: Options) -> Any:
    vault, path = _key(options)
    attributes: dict[str, Any] = {}
    if "enabled" in options:
        attributes["enabled"] = _one(options, "enabled") == "true"
    for option, member in (("expires", "exp"), ("not-before", "nbf")):
        if option in options:
            attributes[member] = int(datetime.fromisoformat(_one(options, option)).timestamp())
    body: dict[str, Any] = {"attributes": attributes} if attributes else {}
    if "ops" in options:
        body["key_ops"] = list(options["ops"])
    if "policy" in options:
        body["release_policy"] = _policy_file(desk, options)
    assert body
    return desk.vault("PATCH", vault, f"{path}/", body)


def _policy_file(desk: Desk, options: Options) -> dict[str, str]:
    text = json.dumps(json.loads((desk.folder / _one(options, "policy")).read_text(encoding="utf-8")))
    return {"data": _base64url(text.encode())}


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _key_show(desk: Desk, options: Options) -> Any:
    vault, path = _key(options)
    return desk.vault("GET", vault, f"{path}/")


def _key_list(desk: Desk, options: Options) -> Any:
    return desk.vault("GET", _one(options, "vault-name"), "/keys")


def _key_versions(desk: Desk, options: Options) -> Any:
    vault, path = _key(options)
    return desk.vault("GET", vault, f"{path}/versions")


def _key_recover(desk: Desk, options: Options) -> Any:
    return desk.vault("POST", _one(options, "vault-name"), f"/deletedkeys/{_one(options, 'name')}/recover")


# --- roles

_WHO = "principalId"


def _assign_role(desk: Desk, options: Options) -> Any:
    """Resource Manager knows roles by id: the CLI looks the name up. An assignment that is there it leaves as it is."""
    scope = f"{ARM}{_one(options, 'scope')}/providers/Microsoft.Authorization"
    role = _one(options, "role").replace(" ", "%20")
    found = desk.arm("GET", f"{scope}/roleDefinitions?$filter=roleName%20eq%20'{role}'", ROLES_API)["value"]
    properties = {
        "roleDefinitionId": found[0]["id"],
        "principalId": _one(options, "assignee-object-id"),
        "principalType": _one(options, "assignee-principal-type"),
    }
    for made in desk.arm("GET", f"{scope}/roleAssignments", ROLES_API)["value"]:
        if all(made["properties"][name].lower() == properties[name].lower() for name in ("roleDefinitionId", _WHO)):
            return made
    return desk.arm("PUT", f"{scope}/roleAssignments/{uuid.uuid4()}", ROLES_API, {"properties": properties})


def _role_assignments(desk: Desk, options: Options) -> Any:
    scope = f"{ARM}/subscriptions/{desk.endpoint.subscription}/providers/Microsoft.Authorization"
    who = _one(options, "assignee")
    return desk.arm("GET", f"{scope}/roleAssignments?$filter=principalId%20eq%20'{who}'", ROLES_API)


# --- Managed HSMs


def _security_domain(desk: Desk, options: Options) -> Any:
    """The Managed HSM is made first, where there is none: its security domain is what activates it."""
    hsm, holders = _one(options, "hsm-name"), options["sd-wrapping-keys"]
    made = f"{desk.group({})}/providers/Microsoft.KeyVault/managedHSMs/{hsm}"
    properties = {"tenantId": desk.endpoint.tenant, "initialAdminObjectIds": [desk.operator]}
    sku = {"family": "B", "name": "Standard_B1"}
    desk.arm("PUT", made, HSM_API, {"location": "westeurope", "sku": sku, "properties": properties})
    certificates = [jwk(key) for key in HOLDERS[: len(holders)]]
    asked = {"certificates": certificates, "required": int(_one(options, "sd-quorum"))}
    return desk.hsm("POST", hsm, "/securitydomain/download", asked)


def _local_role(desk: Desk, options: Options) -> Any:
    hsm, scope = _one(options, "hsm-name"), _one(options, "scope")
    named = [
        role["id"]
        for role in desk.hsm("GET", hsm, "/providers/Microsoft.Authorization/roleDefinitions")["value"]
        if role["properties"]["roleName"] == _one(options, "role")
    ]
    properties = {"roleDefinitionId": named[0], _WHO: _one(options, "assignee-object-id")}
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    return desk.hsm("PUT", hsm, path, {"properties": properties})


COMMANDS: Mapping[str, Callable[[Desk, Options], Any]] = MappingProxyType(
    {
        "vm show": _vm_show,
        "vm restart": _vm_restart,
        "vm create": _vm_create,
        "vm list-usage": _vm_usage,
        "vm identity assign": _identity_assign,
        "vm identity show": _identity_show,
        "vm update": _vm_update,
        "login": _login,
        "account get-access-token": _access_token,
        "network nsg rule create": _security_rule,
        "attestation get-default-by-location": _default_provider,
        "keyvault set-policy": _set_policy,
        "keyvault network-rule add": _network_rule,
        "keyvault update": _vault_update,
        "keyvault list-deleted": _deleted_vaults,
        "keyvault key create": _key_create,
        "keyvault key set-attributes": _set_attributes,
        "keyvault key show": _key_show,
        "keyvault key list": _key_list,
        "keyvault key list-versions": _key_versions,
        "keyvault key recover": _key_recover,
        "keyvault security-domain download": _security_domain,
        "keyvault role assignment create": _local_role,
        "role assignment create": _assign_role,
        "role assignment list": _role_assignments,
    }
)
