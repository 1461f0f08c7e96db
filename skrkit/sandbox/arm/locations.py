"""What there is before there is any resource: the tenant, and the regions that a resource can be in."""

from __future__ import annotations

import re

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.errors import bad_request, other_location
from skrkit.token.providers import SHARED_PROVIDERS

_REGION = re.compile(r"[A-Za-z0-9]{1,40}")


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
    """Raise `AzureError` 400 for a body whose `location` cannot be the name of a region: it goes into headers too.

    Which of them have which resources is not known here. Azure's text goes on with a list of all of them. 409 for a
    resource that is there already, in another region: there it stays.
    """
    location = call.body.get("location")
    if isinstance(location, str) and location and not _REGION.fullmatch(location.replace(" ", "")):
        raise bad_request(
            f"The provided location '{location}' is not available for resource group.",
            code="LocationNotAvailableForResourceGroup",
        )
    if call.method != "PUT" or "group" not in call.path or not isinstance(location, str) or not location:
        return
    before, wanted = call.read(call.url_path), location.lower().replace(" ", "")
    if before is not None and "/providers/" in call.url_path.lower() and before.get("location", wanted) != wanted:
        raise other_location(before, call.path["group"], wanted)


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/tenants", "", list_tenants),
    ("GET", "/subscriptions/{subscription}/locations", "Microsoft.Resources/subscriptions/locations/read",
     list_locations),
)  # fmt: skip
