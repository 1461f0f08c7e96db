"""Local role definitions and assignments, over HTTP. Codes and texts of refusals are not known (inferred)."""

from __future__ import annotations

import re
import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.hsm import roles
from skrkit.sandbox.hsm.resource import HsmResource
from skrkit.sandbox.roles.builtin import Role
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.errors import bad_parameter
from skrkit.sandbox.web import AzureError

PROVIDER = "providers/Microsoft.Authorization"
_FILTER = re.compile(r"(atScope\(\))|principalId\s+eq\s+'([^']*)'", re.IGNORECASE)
_ROLE_ID = re.compile(rf"/?(?:Microsoft\.KeyVault/)?{re.escape(PROVIDER)}/roleDefinitions/([^/]+)", re.IGNORECASE)
_LISTS = (
    ("actions", "actions"),
    ("notActions", "not_actions"),
    ("dataActions", "data"),
    ("notDataActions", "not_data"),
)


def scope_of(call: Call) -> str:
    """Return the scope in the path: "/", "/keys" or "/keys/<name>"."""
    return call.path["scope"] or "/"


def _hsm(call: Call) -> HsmResource:
    assert isinstance(call.vault, HsmResource)
    return call.vault


def _guid(call: Call) -> str:
    try:
        return str(uuid.UUID(call.path["guid"]))
    except ValueError:
        raise bad_parameter(f"The name '{call.path['guid']}' is not a GUID.") from None


# --- definitions


def _shown_role(role: Role) -> Document:
    permission = {shown: list(getattr(role, name)) for shown, name in _LISTS}
    return {
        "id": f"Microsoft.KeyVault/{PROVIDER}/roleDefinitions/{role.guid}",
        "name": role.guid,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "description": role.description,
            "type": "CustomRole" if role.custom else "AKVBuiltInRole",
            "permissions": [permission],
            "assignableScopes": list(role.scopes),
        },
    }


def list_definitions(call: Call) -> Response:
    """Return the HSM's roles: the nine that it came with, and its own."""
    return JSONResponse({"value": [_shown_role(role) for role in roles.all_roles(call.world, _hsm(call))]})


def _require_role(call: Call, guid: str) -> Role:
    role = roles.find_role(call.world, _hsm(call), guid)
    if role is None:
        raise AzureError(404, "RoleDefinitionNotFound", f"The role definition '{guid}' was not found")
    return role


def get_definition(call: Call) -> Response:
    """Return one role."""
    return JSONResponse(_shown_role(_require_role(call, _guid(call))))


def put_definition(call: Call) -> Response:
    """Return 201 with a custom role, new or changed. It is made at "/" alone, and can be assigned everywhere."""
    guid = _guid(call)
    if scope_of(call) != "/":
        raise bad_parameter("A role definition is made at the scope '/' alone.")
    properties = _object(call.body.get("properties"), "properties")
    permissions = properties.get("permissions") or []
    if not isinstance(permissions, list) or len(permissions) > 1:
        raise bad_parameter("The property 'permissions' must be a list of at most one permission.")
    given = _object(permissions[0], "permissions") if permissions else {}
    with call.lock:
        known = roles.find_role(call.world, _hsm(call), guid)
        if known is not None and not known.custom:
            raise bad_parameter(f"The role '{known.name}' is built in, and cannot be changed.")
        role = Role(
            guid=guid,
            custom=True,
            name=str(properties.get("roleName") or ""),
            description=str(properties.get("description") or ""),
            actions=_texts(given, "actions"),
            not_actions=_texts(given, "notActions"),
            data=_texts(given, "dataActions"),
            not_data=_texts(given, "notDataActions"),
        )
        roles.keep_role(call.world, _hsm(call), role)
    return JSONResponse(_shown_role(role), 201)


def delete_definition(call: Call) -> Response:
    """Return a custom role that was removed. Raises 409 while it is assigned."""
    with call.lock:
        role = _require_role(call, _guid(call))
        if not role.custom:
            raise bad_parameter(f"The role '{role.name}' is built in, and cannot be deleted.")
        if any(each["role"] == role.guid for each in roles.assignments(call.world, _hsm(call))):
            raise AzureError(409, "RoleDefinitionHasAssignments", "There are existing role assignments of this role")
        roles.remove_role(call.world, _hsm(call), role.guid)
    return JSONResponse(_shown_role(role))


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_parameter(f"The property '{name}' must be an object.")
    return value


def _texts(given: dict[str, Any], name: str) -> tuple[str, ...]:
    values = given.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise bad_parameter(f"The property '{name}' must be a list of texts.")
    return tuple(values)


# --- assignments


def _shown(document: Document) -> Document:
    scope = str(document["scope"])
    return {
        "id": f"{scope.rstrip('/')}/{PROVIDER}/roleAssignments/{document['name']}",
        "name": document["name"],
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "scope": scope,
            "roleDefinitionId": f"Microsoft.KeyVault/{PROVIDER}/roleDefinitions/{document['role']}",
            "principalId": document["principal"],
        },
    }


def list_assignments(call: Call) -> Response:
    """Return the assignments at a scope and above it (inferred), not those below: a key's show at that key alone."""
    scope, principal = scope_of(call), _asked_principal(call.query.get("$filter", ""))
    found = [
        document
        for document in roles.assignments(call.world, _hsm(call))
        if roles.is_within(scope, str(document["scope"])) and principal in ("", str(document["principal"]).lower())
    ]
    return JSONResponse({"value": [_shown(document) for document in found]})


def _asked_principal(expression: str) -> str:
    if not expression.strip():
        return ""
    match = _FILTER.fullmatch(expression.strip())
    if match is None:
        raise bad_parameter(f"The filter {expression!r} is not supported: atScope() or principalId eq '...'")
    return (match[2] or "").lower()


def _require(call: Call) -> Document:
    guid = _guid(call)
    for document in roles.assignments(call.world, _hsm(call)):
        if document["name"] == guid and str(document["scope"]).lower() == scope_of(call).lower():
            return document
    raise AzureError(404, "RoleAssignmentNotFound", f"The role assignment '{guid}' was not found")


def get_assignment(call: Call) -> Response:
    """Return one assignment, at its own scope."""
    return JSONResponse(_shown(_require(call)))


def put_assignment(call: Call) -> Response:
    """Return 201 with a new assignment. An assignment never changes, and none says the same as another."""
    guid = _guid(call)
    properties = _object(call.body.get("properties"), "properties")
    match = _ROLE_ID.fullmatch(str(properties.get("roleDefinitionId") or ""))
    if match is None:
        raise bad_parameter("The property 'roleDefinitionId' is not the id of a role definition.")
    try:
        principal = str(uuid.UUID(str(properties.get("principalId"))))
    except ValueError:
        raise bad_parameter("The property 'principalId' must be the GUID of an object in Entra ID.") from None
    with call.lock:
        role = _require_role(call, match[1])
        same = (scope_of(call).lower(), role.guid, principal)
        for known in roles.assignments(call.world, _hsm(call)):
            if known["name"] == guid or (str(known["scope"]).lower(), known["role"], known["principal"]) == same:
                raise AzureError(409, "RoleAssignmentExists", "The role assignment already exists")
        made = roles.assign(call.world, _hsm(call), guid=guid, principal=principal, role=role, scope=scope_of(call))
    return JSONResponse(_shown(made), 201)


def delete_assignment(call: Call) -> Response:
    """Return an assignment that was removed."""
    with call.lock:
        document = _require(call)
        roles.remove_assignment(call.world, _hsm(call), str(document["name"]))
    return JSONResponse(_shown(document))


_SCOPE = "{scope}"  # nothing for the whole HSM, /keys, or /keys/<name>
_DEFINITIONS, _ASSIGNMENTS = (f"{_SCOPE}/{PROVIDER}/{kind}" for kind in ("roleDefinitions", "roleAssignments"))

# method, path, the data action that a local role must cover, handler
ROUTES = (
    ("GET", _DEFINITIONS, "roleDefinitions/read/action", list_definitions),
    ("GET", _DEFINITIONS + "/{guid}", "roleDefinitions/read/action", get_definition),
    ("PUT", _DEFINITIONS + "/{guid}", "roleDefinitions/write/action", put_definition),
    ("DELETE", _DEFINITIONS + "/{guid}", "roleDefinitions/delete/action", delete_definition),
    ("GET", _ASSIGNMENTS, "roleAssignments/read/action", list_assignments),
    ("GET", _ASSIGNMENTS + "/{guid}", "roleAssignments/read/action", get_assignment),
    ("PUT", _ASSIGNMENTS + "/{guid}", "roleAssignments/write/action", put_assignment),
    ("DELETE", _ASSIGNMENTS + "/{guid}", "roleAssignments/delete/action", delete_assignment),
)
