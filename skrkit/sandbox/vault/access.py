"""Who may do what: the challenge, the token, the network, and the vault's access policies or Azure roles."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.faults import access_token
from skrkit.sandbox.faults.access import not_yet
from skrkit.sandbox.roles.assignment import allows
from skrkit.sandbox.vault import errors
from skrkit.sandbox.vault.call import VaultResource
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.world import World

RESOURCE = "https://vault.azure.net"
APP_ID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"  # Key Vault's own application id, an audience that it takes too
NOT_IN_ALL = frozenset({"purge", "release"})  # `all` leaves out purge (documented); for release it is not known


def authenticated(world: World, authorization: str | None) -> Principal:
    """Return the caller whom the bearer token names. Raises `AzureError` 401 with the challenge."""
    from skrkit.sandbox.entra import TokenRefused, authenticate

    authorization = access_token.arriving(world, authorization)
    try:
        return authenticate(world, authorization, audiences=(RESOURCE, APP_ID))
    except TokenRefused as refused:
        challenge = f'Bearer authorization="https://login.microsoftonline.com/{world.tenant}", resource="{RESOURCE}"'
        message = _token_words(refused.reason, authorization, world.tenant)
        raise AzureError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge}) from None


def _token_words(reason: str, authorization: str | None, tenant: str) -> str:
    if reason == "missing":
        return "AKV10000: Request is missing a Bearer or PoP token."
    if reason == "audience":
        found = _unverified_claim(authorization, "aud")
        return f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {found}."
    if reason == "issuer":
        found = _unverified_claim(authorization, "iss")
        return f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{tenant}/, found {found}."
    if reason == "expired":
        return "[TokenExpired] Error validating token: 'S2S12086'."
    return "AKV10046: Unable to resolve the key used for signature validation"


def _unverified_claim(authorization: str | None, name: str) -> str:
    """Return a claim of a token that nobody verified: only for the words of its refusal."""
    try:
        payload = (authorization or "").rsplit(" ", 1)[-1].split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))[name])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return ""


def check_network(world: World, vault: VaultResource, caller: Principal, address: str) -> None:
    """Raise `AzureError` 403 unless the vault lets in public clients, as all of the sandbox's are, at this address."""
    if str(vault.properties.get("publicNetworkAccess", "Enabled")).lower() == "disabled":
        raise errors.forbidden(
            "Public network access is disabled and request is not from a trusted service nor via an approved private "
            f"link.\r\nVault: {vault.name};location={vault.region}",
            "ForbiddenByConnection",
        )
    rules = vault.properties.get("networkAcls") or {}
    if str(rules.get("defaultAction", "Allow")).lower() == "deny" and not _listed(address, rules.get("ipRules")):
        raise errors.forbidden(
            "Client address is not authorized and caller is not a trusted service.\r\n"
            f"Client address: {address}\r\nCaller: {_who(world, caller)}\r\n"
            f"Vault: {vault.name};location={vault.region}",
            "ForbiddenByFirewall",
        )


def _listed(address: str, rules: Any) -> bool:
    """Return whether an address is in a firewall's rules, `[{"value": address or CIDR range}]`."""
    values = [str(rule.get("value")) for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    for value in values:
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(value, strict=False):
                return True
        except ValueError:  # not a range, which a vault would not have taken
            continue
    return False


def _who(world: World, caller: Principal) -> str:
    return f"appid={caller.appid};oid={caller.oid};iss=https://sts.windows.net/{world.tenant}/"


def check_permission(world: World, vault: VaultResource, caller: Principal, permission: str, key: str) -> None:
    """Raise `AzureError` 403 unless an access policy, or in a vault with roles a role, lets the caller do this.

    `permission` is the access policy's word for it; a role is looked for at the key, the vault and above.
    """
    who = _who(world, caller)
    if vault.properties.get("enableRbacAuthorization"):
        action, scope = data_action(permission), str(vault.body["id"]) + (f"/keys/{key}" if key else "")
        if not_yet(world, caller, permission) or not allows(world, caller.oid, action, scope, data=True):
            raise _refused_by_rbac(vault, who, action, scope)
        return
    for policy in () if not_yet(world, caller, permission) else vault.properties["accessPolicies"]:
        if str(policy["objectId"]).lower() != caller.oid.lower() or policy.get("applicationId"):
            continue  # an applicationId asks for a user through an application, which the sandbox has not
        granted = {str(name).lower() for name in policy["permissions"].get("keys", [])}
        if permission.lower() in granted or ("all" in granted and permission.lower() not in NOT_IN_ALL):
            return
    raise errors.forbidden(
        f"The user, group or application '{who}' does not have keys {permission} permission on key vault "
        f"'{vault.name};location={vault.region}'. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125287",
        "AccessDenied",
    )


_RBAC_ACTIONS = {
    "get": "keys/read", "list": "keys/read", "delete": "keys/delete",
    "wrapKey": "keys/wrap/action", "unwrapKey": "keys/unwrap/action",
    "getrotationpolicy": "keyrotationpolicies/read", "setrotationpolicy": "keyrotationpolicies/write",
}  # fmt: skip


def data_action(permission: str) -> str:
    """Return the data action that a role must have for what access policies call `permission`."""
    return f"Microsoft.KeyVault/vaults/{_RBAC_ACTIONS.get(permission, f'keys/{permission}/action')}"


def _refused_by_rbac(vault: VaultResource, who: str, action: str, scope: str) -> AzureError:
    return errors.forbidden(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: {who}\r\nAction: '{action}'\r\nResource: '{scope}'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"
        f"Vault: {vault.name};location={vault.region}",
        "ForbiddenByRbac",
    )
