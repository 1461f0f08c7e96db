"""Role assignments at any scope, the caller's own permissions there, and deny assignments, of which there are none."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import applications
from skrkit.sandbox.arm import errors, role_definitions
from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.operations import rfc3339
from skrkit.sandbox.roles import assignment, definition
from skrkit.sandbox.roles.builtin import OWNER, Role
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

TYPE = assignment.TYPE
_FILTER = re.compile(r"(principalId\s+eq|assignedTo\()\s*'([^']*)'\s*\)?", re.IGNORECASE)
_ROLE_ID = re.compile(r"(?:/subscriptions/[^/]+)?/providers/Microsoft\.Authorization/roleDefinitions/([^/]+)", re.I)
_RESOURCE = re.compile(r"(/subscriptions/[^/]+/resourceGroups/[^/]+)(/providers/[^/]+/[^/]+/[^/]+)?(/.*)?", re.I)


def put_assignment(call: Call) -> Response:
    """Return the assignment, 201 if it is new. One of this name is never changed."""
    name, scope = _checked_name(call.path["assignment"]), _checked_scope(call)
    properties = call.object_of("properties")
    role, principal = _checked_role(call, properties), _checked_principal(call, properties)
    _require_may_assign(call, f"{TYPE}/write", role)
    if properties.get("condition"):
        raise errors.not_here("conditions of role assignments")  # one that is ignored would give more than it says
    with call.lock, call.world.store.transaction():
        before = _find(call, name)
        if before is not None:
            if not _same(before, scope, role, principal):
                raise AzureError(
                    409,
                    "RoleAssignmentUpdateNotPermitted",
                    "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                )
            return JSONResponse(_shown(call, before))  # (inferred)
        if any(_same(each, scope, role, principal) for each in assignment.of_principal(call.world, principal)):
            raise AzureError(409, "RoleAssignmentExists", "The role assignment already exists.")
        made = assignment.make(call.world, principal=principal, role=role, scope=scope, name=name, by=call.caller.oid)
        if isinstance(properties.get("description"), str):
            made["description"] = properties["description"]
            assignment.write(call.world, made)
    return JSONResponse(_shown(call, made), 201)


def _checked_name(name: str) -> str:
    try:
        return str(uuid.UUID(name))
    except ValueError:
        raise bad_request(
            f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",  # (inferred)
            code="InvalidRoleAssignmentId",
        ) from None


def _checked_scope(call: Call) -> str:
    """Return the scope of the path, which must be there: the subscription, a group, or a resource with what it holds.

    Of what lies in a resource (a vault's key) it is not asked whether it is there (inferred).
    """
    scope = call.path["scope"].rstrip("/")
    subscription = f"/subscriptions/{call.world.subscription}"
    if scope.lower() == subscription:
        return scope
    found = _RESOURCE.fullmatch(scope)
    if found is None or not assignment.is_within(scope, subscription):
        raise errors.not_here(f"role assignments at '{scope or '/'}': a scope is the subscription or lies in it")
    group, resource, below = found.groups()
    if call.read(group) is None:
        raise errors.no_group(group.rpartition("/")[2])
    if resource is None and below:
        raise errors.bad_request(f"The scope '{scope}' is not valid.", code="InvalidScope")  # (inferred)
    if resource is not None and call.read(group + resource) is None:
        _, _, namespace, kind, name = resource.split("/")
        raise errors.no_resource(f"{namespace}/{kind}", name, group.rpartition("/")[2])
    return scope


def _checked_role(call: Call, properties: dict[str, Any]) -> Role:
    given = str(properties.get("roleDefinitionId") or "")
    found = _ROLE_ID.fullmatch(given)
    if found is None:
        raise bad_request(
            f"The role definition ID '{given}' is not valid.", code="InvalidRoleDefinitionId"
        )  # the words are not known to the letter (inferred)
    role = definition.find(call.world, found[1])
    if role is None:
        bare = found[1].replace("-", "")
        raise bad_request(
            f"The specified role definition with ID '{bare}' does not exist.", code="RoleDefinitionDoesNotExist"
        )
    return role


def _checked_principal(call: Call, properties: dict[str, Any]) -> str:
    given = str(properties.get("principalId") or "")
    try:
        principal = str(uuid.UUID(given))
    except ValueError:
        raise bad_request(
            f"The principal ID '{given}' is not valid. Principal ID must be a GUID.",
            code="InvalidPrincipalId",  # (inferred)
        ) from None
    bare = principal.replace("-", "")
    if not applications.exists(call.world, principal):
        raise bad_request(
            f"Principal {bare} does not exist in the directory {call.world.tenant}. Check that you have the correct "
            "principal ID. If you are creating this principal and then immediately assigning a role, this error might "
            "be related to a replication delay. In this case, set the role assignment principalType property to a "
            "value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
            code="PrincipalNotFound",
        )
    kind = properties.get("principalType") or "ServicePrincipal"
    if kind != "ServicePrincipal":  # the sandbox has no users and no groups
        raise bad_request(
            f"The PrincipalId '{bare}' has type 'ServicePrincipal' , which is different from specified PrinciaplType "
            f"'{kind}'.",
            code="UnmatchedPrincipalType",  # (inferred)
        )
    return principal


def _require_may_assign(call: Call, action: str, role: Role) -> None:
    """The route has asked for the action; a role with a condition allows it for some roles alone."""
    if not assignment.may_assign(call.world, call.caller.oid, action, call.url_path, role):
        raise errors.unauthorised(call.caller.oid, action, call.url_path)


def _same(document: Document, scope: str, role: Role, principal: str) -> bool:
    return (
        str(document["scope"]).lower() == scope.lower()
        and document["role"] == role.guid
        and str(document["principal"]).lower() == principal
    )


def _find(call: Call, name: str) -> Document | None:
    return next((each for each in assignment.everywhere(call.world) if str(each["name"]).lower() == name.lower()), None)


def _at_path(call: Call) -> Document | None:
    found = _find(call, call.path["assignment"])
    scope = call.path["scope"].rstrip("/").lower()
    return found if found is not None and str(found["scope"]).rstrip("/").lower() == scope else None


def get_assignment(call: Call) -> Response:
    """Return one assignment."""
    found = _at_path(call)
    if found is None:
        bare = call.path["assignment"].replace("-", "")
        raise AzureError(404, "RoleAssignmentNotFound", f"The role assignment '{bare}' is not found.")  # (inferred)
    return JSONResponse(_shown(call, found))


def delete_assignment(call: Call) -> Response:
    """Return the assignment that was deleted, 204 if it was not there. The last owner's stays."""
    with call.lock:
        found = _at_path(call)
        if found is None:
            return Response(status_code=204)
        role = definition.find(call.world, str(found["role"]))
        if role is not None:
            _require_may_assign(call, f"{TYPE}/delete", role)
        _require_other_owner(call, found)
        assignment.remove(call.world, found)
    return JSONResponse(_shown(call, found))


def _require_other_owner(call: Call, found: Document) -> None:
    subscription = f"/subscriptions/{call.world.subscription}"
    owners = [
        each
        for each in assignment.everywhere(call.world)
        if each["role"] == OWNER.guid and str(each["scope"]).lower() == subscription
    ]
    if [found["id"]] == [each["id"] for each in owners]:
        raise AzureError(
            400,
            "CannotDeleteLastRbacAdminAssignment",
            "The last RBAC admin assignment cannot be deleted.",
        )  # (inferred)


def list_assignments(call: Call) -> Response:
    """Return the assignments at a scope, above it and below; `$filter` by atScope(), principalId, assignedTo()."""
    scope = call.path["scope"].rstrip("/")
    found = assignment.everywhere(call.world)
    at_scope, principal = _asked(call.query.get("$filter", ""))
    shown = [
        each
        for each in found
        if (assignment.is_within(scope, each["scope"]) or (not at_scope and assignment.is_within(each["scope"], scope)))
        and principal in ("", str(each["principal"]).lower())
    ]
    return JSONResponse({"value": [_shown(call, each) for each in shown]})


def _asked(expression: str) -> tuple[bool, str]:
    """Return whether a filter leaves out what lies below the scope, and the principal that it asks for, or ""."""
    at_scope, principal = False, ""
    for part in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else []:
        match = _FILTER.fullmatch(part.strip())
        if part.strip().lower() == "atscope()":
            at_scope = True
        elif match is not None:
            principal = match[2].lower()
        else:
            raise errors.not_here(f"the filter {part.strip()!r} of role assignments")
    return at_scope, principal


def _shown(call: Call, document: Document) -> Document:
    made = rfc3339(datetime.fromisoformat(document.get("created") or _owner_since(call)))
    role = definition.find(call.world, str(document["role"]))
    return {
        "id": document["id"],
        "type": TYPE,
        "name": document["name"],
        "properties": {
            "roleDefinitionId": "" if role is None else role_definitions.shown_id(call, role),
            "principalId": document["principal"],
            "principalType": document["kind"],
            "scope": document["scope"],
            "condition": None,
            "conditionVersion": None,
            "createdOn": made,
            "updatedOn": made,
            "createdBy": document["by"],
            "updatedBy": document["by"],
            "delegatedManagedIdentityResourceId": None,
            "description": document["description"],
        },
    }


def _owner_since(call: Call) -> str:
    return str((call.world.store.get("settings", assignment.OWNER_MADE) or {})["at"])


def list_permissions(call: Call) -> Response:
    """Return what the caller's roles allow at a scope, a member a role; anybody may ask it of itself (inferred)."""
    roles = assignment.roles_at(call.world, call.caller.oid, call.path["scope"])
    value = [
        {
            "actions": list(role.actions),
            "notActions": list(role.not_actions),
            "dataActions": list(role.data),
            "notDataActions": list(role.not_data),
        }
        for role in roles
    ]
    return JSONResponse({"value": value})


def list_deny_assignments(_call: Call) -> Response:
    """Return an empty list: nobody but Azure itself makes deny assignments."""
    return JSONResponse({"value": []})


_AUTHORISATION = "{scope}/providers/Microsoft.Authorization"
_ASSIGNMENT = _AUTHORISATION + "/roleAssignments/{assignment}"
_ROLE = _AUTHORISATION + "/roleDefinitions/{role}"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("PUT", _ASSIGNMENT, f"{TYPE}/write", put_assignment),
    ("GET", _ASSIGNMENT, f"{TYPE}/read", get_assignment),
    ("DELETE", _ASSIGNMENT, f"{TYPE}/delete", delete_assignment),
    ("GET", _AUTHORISATION + "/roleAssignments", f"{TYPE}/read", list_assignments),
    ("GET", _AUTHORISATION + "/roleDefinitions", "", role_definitions.list_definitions),
    ("GET", _ROLE, "", role_definitions.get_definition),
    ("PUT", _ROLE, f"{role_definitions.TYPE}/write", role_definitions.put_definition),
    ("DELETE", _ROLE, f"{role_definitions.TYPE}/delete", role_definitions.delete_definition),
    ("GET", _AUTHORISATION + "/permissions", "", list_permissions),
    ("GET", _AUTHORISATION + "/denyAssignments", "Microsoft.Authorization/denyAssignments/read", list_deny_assignments),
)
