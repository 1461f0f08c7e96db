"""What there is before there is any resource: the tenant, and the regions that a resource can be in."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.errors import bad_request, other_location
from skrkit.sandbox.web import AzureError
from skrkit.token.providers import SHARED_PROVIDERS


def list_tenants(call: Call) -> Response:
    """Return the one tenant."""
    tenant = call.world.tenant
    home = {"id": f"/tenants/{tenant}", "tenantId": tenant, "tenantCategory": "Home"}
    return JSONResponse({"value": [home]})


def list_locations(call: Call) -> Response:
    """Return the regions, each by its name alone: its place on the map, its pair and its zones are not known here."""
    base = f"/subscriptions/{call.world.subscription}/locations"
    found = [
        {
            "id": f"{base}/{name}",
            "name": name,
            "type": "Region",
            "displayName": name,
            "regionalDisplayName": name,
            "metadata": {"regionType": "Physical"},
        }
        for name in sorted(SHARED_PROVIDERS)
    ]
    return JSONResponse({"value": found})


def require_region(call: Call) -> None:
    """Raise `AzureError` 400 for a body whose `location` is no region; 409 for a resource that is in another already.

    Every region has every kind of resource here. A region's name goes into headers too.
    """
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        return
    wanted = location.lower().replace(" ", "")
    if wanted not in SHARED_PROVIDERS:
        raise _no_region(location, call.url_path)
    if call.method != "PUT" or "group" not in call.path or "/providers/" not in call.url_path.lower():
        return
    before = call.read(call.url_path)
    if before is not None and before.get("location", wanted) != wanted:
        raise other_location(before, call.path["group"], wanted)


def _no_region(location: str, path: str) -> AzureError:
    """Return the refusal in the words of public issues; of a group's, that its list is worded so is inferred."""
    below = path[path.lower().rfind("/providers/") :].split("/")[2:] if "/providers/" in path.lower() else []
    kind, regions = "/".join(below[:1] + below[1::2]), ",".join(sorted(SHARED_PROVIDERS))
    if not kind:
        return bad_request(
            f"The provided location '{location}' is not available for resource group. List of available regions is "
            f"'{regions}'.",
            code="LocationNotAvailableForResourceGroup",
        )
    return bad_request(
        f"The provided location '{location}' is not available for resource type '{kind}'. List of available regions "
        f"for the resource type is '{regions}'.",
        code="LocationNotAvailableForResourceType",
    )


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/tenants", "", list_tenants),
    ("GET", "/subscriptions/{subscription}/locations", "Microsoft.Resources/subscriptions/locations/read",
     list_locations),
)  # fmt: skip
