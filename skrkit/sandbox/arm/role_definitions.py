"""Role definitions: the built-in ones, and roles that the operator makes."""

from __future__ import annotations

import re
import uuid
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.authorisation import require
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.roles import assignment, definition
from skrkit.sandbox.roles.builtin import Role
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

TYPE = "Microsoft.Authorization/roleDefinitions"
_READ = f"{TYPE}/read"
_MADE = "2016-12-14T02:04:45.1393855Z"  # a time in the shape of Azure's, where each built-in role has its own
_FILTER = re.compile(r"(roleName|type)\s+eq\s+'([^']*)'", re.IGNORECASE)


def shown_id(call: Call, role: Role) -> str:
    """Return a role's id as Resource Manager shows it."""
    return f"/subscriptions/{call.world.subscription}/providers/{TYPE}/{role.guid}"


def _shown(call: Call, role: Role) -> Document:
    permission = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data),
        "notDataActions": list(role.not_data),
    }
    return {
        "id": shown_id(call, role),
        "type": TYPE,
        "name": role.guid,
        "properties": {
            "roleName": role.name,
            "type": "CustomRole" if role.custom else "BuiltInRole",
            "description": role.description,
            "assignableScopes": list(role.scopes),
            "permissions": [permission],
            "createdOn": _MADE,
            "updatedOn": _MADE,
            "createdBy": None,
            "updatedBy": None,
        },
    }


def list_definitions(call: Call) -> Response:
    """Return the roles that can be assigned at a scope; `$filter` by roleName, type, atScope(), atScopeAndBelow()."""
    _require_read(call)
    found = definition.all_roles(call.world)
    for name, value in _asked(call.query.get("$filter", "")):
        wanted = value.lower()
        if name == "rolename":
            found = [role for role in found if role.name.lower() == wanted]
        else:
            found = [role for role in found if wanted == ("customrole" if role.custom else "builtinrole")]
    return JSONResponse({"value": [_shown(call, role) for role in found]})


def _require_read(call: Call) -> None:
    if call.path["scope"].strip("/"):  # at the root, the built-in roles are everybody's to read
        require(call.world, call.caller, _READ, call.path["scope"])


def _asked(expression: str) -> list[tuple[str, str]]:
    asked = []
    for part in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else []:
        if part.strip().lower() in ("atscope()", "atscopeandbelow()"):
            continue  # what can be assigned at a scope is the same everywhere in one subscription
        match = _FILTER.fullmatch(part.strip())
        if match is None:
            raise errors.not_here(f"the filter {part.strip()!r} of role definitions")
        asked.append((match[1].lower(), match[2]))
    return asked


def get_definition(call: Call) -> Response:
    """Return one role."""
    _require_read(call)
    return JSONResponse(_shown(call, _require_role(call)))


def _require_role(call: Call) -> Role:
    role = definition.find(call.world, call.path["role"])
    if role is None:
        raise AzureError(
            404,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{call.path['role']}' does not exist.",
        )
    return role


def put_definition(call: Call) -> Response:
    """Return a custom role, 201 if it is new."""
    guid = call.path["role"].lower()
    try:
        uuid.UUID(guid)
    except ValueError:
        raise bad_request(
            f"The role definition ID '{guid}' is not valid. The role definition ID must be a GUID.",  # (inferred)
            code="InvalidRoleDefinitionId",
        ) from None
    with call.lock:
        before = definition.find(call.world, guid)
        if before is not None and not before.custom:
            raise AzureError(403, "RoleDefinitionPermissionDenied", "Built-in roles cannot be changed.")  # (inferred)
        role = _checked(call, guid)
        taken = [other for other in definition.all_roles(call.world) if other.name.lower() == role.name.lower()]
        if any(other.guid != guid for other in taken):
            raise AzureError(
                409,
                "RoleDefinitionWithSameNameExists",  # (inferred)
                "A custom role with the same name already exists in this directory. Use a different name.",
            )
        definition.keep(call.world, role)
    return JSONResponse(_shown(call, role), 201)


def _checked(call: Call, guid: str) -> Role:
    properties = call.object_of("properties")
    name, scopes = properties.get("roleName"), properties.get("assignableScopes")
    if not isinstance(name, str) or not name.strip():
        raise bad_request("The property 'roleName' of a role definition is missing.", code="InvalidRequestContent")
    if not isinstance(scopes, list) or not scopes or not all(_in_subscription(call, scope) for scope in scopes):
        raise bad_request(
            "The property 'assignableScopes' must list scopes of this subscription.", code="InvalidRequestContent"
        )
    given = properties.get("permissions")
    permissions = given if isinstance(given, list) else []
    if len(permissions) != 1 or not isinstance(permissions[0], dict):
        raise bad_request("A role definition has one member in 'permissions'.", code="InvalidRequestContent")
    patterns = {member: _texts(permissions[0].get(member)) for member in _PATTERNS}
    return Role(
        guid=guid,
        name=name,
        description=str(properties.get("description") or ""),
        actions=patterns["actions"],
        not_actions=patterns["notActions"],
        data=patterns["dataActions"],
        not_data=patterns["notDataActions"],
        custom=True,
        scopes=tuple(str(scope) for scope in scopes),
    )


_PATTERNS = ("actions", "notActions", "dataActions", "notDataActions")


def _in_subscription(call: Call, scope: Any) -> bool:
    return isinstance(scope, str) and assignment.is_within(scope, f"/subscriptions/{call.world.subscription}")


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise bad_request("The patterns of a role definition must be arrays of texts.", code="InvalidRequestContent")
    return tuple(value)


def delete_definition(call: Call) -> Response:
    """Return the custom role that was deleted, 204 if it was not there. One that is assigned is kept."""
    with call.lock:
        role = definition.find(call.world, call.path["role"])
        if role is None:
            return Response(status_code=204)
        if not role.custom:
            raise AzureError(403, "RoleDefinitionPermissionDenied", "Built-in roles cannot be deleted.")  # (inferred)
        if any(each["role"] == role.guid for each in assignment.everywhere(call.world)):
            raise bad_request(
                "There are existing role assignments referencing role. Delete them before deleting the role.",
                code="RoleDefinitionHasAssignments",
            )  # the code is Azure's, the words are not known to the letter (inferred)
        call.world.store.delete(definition.ROLE_KIND, role.guid)
    return JSONResponse(_shown(call, role))
