"""Who may do what in a Managed HSM: the challenge, the token, the local role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from skrkit.sandbox.faults import access_token
from skrkit.sandbox.faults.access import not_yet
from skrkit.sandbox.hsm import roles
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.hsm.resource import HsmResource
    from skrkit.sandbox.world import World

RESOURCE = "https://managedhsm.azure.net"

# What a vault's route asks of an access policy -> what a Managed HSM's asks of a local role
_ACTIONS = {
    "get": "keys/read/action", "list": "keys/read/action", "update": "keys/write/action", "create": "keys/create",
    "delete": "keys/delete", "wrapKey": "keys/wrap/action", "unwrapKey": "keys/unwrap/action",
    "getrotationpolicy": "keys/read/action", "setrotationpolicy": "keys/write/action",  # (inferred)
}  # fmt: skip
_OF_DELETED = {"get": "read/action", "list": "read/action", "recover": "recover/action", "purge": "delete"}


class Unauthenticated(AzureError):
    """The 401 of a Managed HSM, which has a challenge and an empty body, whatever is wrong with the token."""

    def __init__(self, tenant: str) -> None:
        challenge = f'Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="{RESOURCE}"'
        super().__init__(401, "Unauthorized", "", headers={"WWW-Authenticate": challenge})

    def response(self) -> Response:
        """Return the HTTP response."""
        return Response(status_code=self.status, headers=self.headers)


def authenticated(world: World, authorization: str | None) -> Principal:
    """Return the caller whom the bearer token names. Raises `Unauthenticated`."""
    from skrkit.sandbox.entra import TokenRefused, authenticate

    try:
        return authenticate(world, access_token.arriving(world, authorization), audiences=(RESOURCE,))
    except TokenRefused:
        raise Unauthenticated(world.tenant) from None


def key_action(permission: str, path: str) -> str:
    """Return the data action of a route of a vault, by the permission that it asks for there."""
    if path.startswith("/deletedkeys"):
        return f"{roles.PREFIX}/keys/deletedKeys/{_OF_DELETED[permission]}"
    return f"{roles.PREFIX}/{_ACTIONS.get(permission, f'keys/{permission}/action')}"


def check_role(world: World, hsm: HsmResource, caller: Principal, action: str, scope: str) -> None:
    """Raise `AzureError` 403 unless a local role of the caller covers the action; the status is inferred."""
    delayed = action.endswith("/keys/release/action") and not_yet(world, caller, "release")
    if delayed or not roles.allows(world, hsm, caller.oid, action, scope):
        raise AzureError(403, "AccessDenied", f"Not authorized to access {action} on {scope}")
