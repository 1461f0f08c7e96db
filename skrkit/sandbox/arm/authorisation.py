"""May the caller: the action of a route at its scope, and at the resources that its body links to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import VAULT_TYPE, VM_TYPE, Call
from skrkit.sandbox.roles import assignment
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.world import World

ASSIGN_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
JOIN_INTERFACE = "Microsoft.Network/networkInterfaces/join/action"


def require(world: World, caller: Principal, action: str, scope: str) -> None:
    """Raise `AzureError` 403 unless a role of the caller, at the scope or above it, allows the action."""
    if not assignment.allows(world, caller.oid, action, scope):
        raise errors.unauthorised(caller.oid, action, scope)


def scope_of(method: str, path: str) -> str:
    """Return what a request acts on: its path, without the verb that a POST ends in."""
    return path.rpartition("/")[0] if method == "POST" else path


def require_linked(call: Call, action: str) -> None:
    """Raise `AzureError` 403 unless the caller may use what the body links to, beside the resource itself."""
    if call.method not in ("PUT", "PATCH"):
        return
    if action == f"{VAULT_TYPE}/write":
        _require_mode_change(call)
    missing = [
        (linked, resource_id)
        for linked, resource_id in _links(call.body if action == f"{VM_TYPE}/write" else {})
        if not assignment.allows(call.world, call.caller.oid, linked, resource_id)
    ]
    if missing:
        raise _linked_refusal(call, action, missing)


def _links(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the actions that a VM's body asks for elsewhere: at each identity it is given, each NIC it joins.

    What is no id of a resource is left to who reads the body.
    """
    identity = _object(body.get("identity"))
    given = _object(identity.get("userAssignedIdentities"))
    links = [(ASSIGN_IDENTITY, resource_id) for resource_id, value in given.items() if value is not None]
    interfaces = _object(_object(body.get("properties")).get("networkProfile")).get("networkInterfaces")
    ids = [each.get("id") for each in interfaces if isinstance(each, dict)] if isinstance(interfaces, list) else []
    links += [(JOIN_INTERFACE, resource_id) for resource_id in ids if isinstance(resource_id, str)]
    return [(action, resource_id) for action, resource_id in links if resource_id.lower().startswith("/subscriptions/")]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _linked_refusal(call: Call, action: str, missing: list[tuple[str, str]]) -> AzureError:
    client = call.caller.oid
    actions, scopes = ",".join(linked for linked, _ in missing), ",".join(scope for _, scope in missing)
    return AzureError(
        403,
        "LinkedAuthorizationFailed",
        f"The client '{client}' with object id '{client}' has permission to perform action '{action}' on scope "
        f"'{call.url_path}'; however, it does not have permission to perform action(s) '{actions}' on the linked "
        f"scope(s) '{scopes}' (respectively) or the linked scope(s) are invalid.",
    )


def _require_mode_change(call: Call) -> None:
    """Who lets a vault go by roles, or no longer, decides who has access: it takes the right to assign roles."""
    wanted = _object(call.body.get("properties")).get("enableRbacAuthorization")
    vault = call.read(call.resource_id(VAULT_TYPE, call.path["vault"]))
    if vault is None or not isinstance(wanted, bool):
        return
    if wanted != bool(vault["properties"].get("enableRbacAuthorization")):
        # That it takes this permission is documented; the words of the refusal are those of any other (inferred).
        require(call.world, call.caller, f"{assignment.TYPE}/write", str(vault["id"]))
