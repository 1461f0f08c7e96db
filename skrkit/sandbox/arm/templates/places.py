"""Where a template is deployed to, and the ids of resources there: subscription, resource group, their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from skrkit.sandbox.arm.templates.arguments import Arguments, text, wrong
from skrkit.sandbox.arm.templates.refusals import ExpressionError

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_NET_FORMAT = re.compile(r"'([^']*)'|yyyy|yy|MM|M|dd|d|HH|H|hh|mm|m|ss|s|fff|tt|.", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The scope of a deployment: a resource group, or with `group` None the subscription."""

    tenant: str
    subscription: str
    group: str | None
    read_group: Callable[[str], dict[str, Any] | None] = field(repr=False)

    @property
    def base(self) -> str:
        """The id that ids of resources in this place begin with."""
        return f"/subscriptions/{self.subscription}" + (f"/resourceGroups/{self.group}" if self.group else "")

    def group_resource(self, name: str) -> dict[str, Any]:
        """Return a resource group as `resourceGroup()` gives it."""
        found = self.read_group(name)
        if found is None:
            raise ExpressionError(f"Resource group '{name}' could not be found.")
        return found

    def subscription_resource(self) -> dict[str, Any]:
        """Return the subscription as `subscription()` gives it."""
        return {
            "id": f"/subscriptions/{self.subscription}",
            "subscriptionId": self.subscription,
            "tenantId": self.tenant,
            "displayName": "skrkit sandbox",
        }

    def tenant_resource(self) -> dict[str, Any]:
        """Return the tenant as `tenant()` gives it, as far as the sandbox has one."""
        return {"id": f"/tenants/{self.tenant}", "tenantId": self.tenant, "displayName": "skrkit sandbox"}


@dataclass(frozen=True, slots=True)
class Clock:
    """The time and the identifiers that the defaults of parameters may use."""

    now: datetime
    new_guid: Callable[[], str]

    def utc_now(self, form: str) -> str:
        """Return the time in a custom date format of .NET; "" is the documented default."""
        return net_time(
            self.now, {"": "yyyyMMddTHHmmssZ", "u": "yyyy-MM-dd HH:mm:ssZ", "d": "M/d/yyyy"}.get(form, form)
        )


def net_time(moment: datetime, form: str) -> str:
    """Return a time in a custom date format of .NET: years to milliseconds and quoted text are known."""
    parts = {
        "yyyy": f"{moment.year:04}", "yy": f"{moment.year % 100:02}", "MM": f"{moment.month:02}",
        "M": str(moment.month),
        "dd": f"{moment.day:02}", "d": str(moment.day), "HH": f"{moment.hour:02}", "H": str(moment.hour),
        "hh": f"{(moment.hour + 11) % 12 + 1:02}", "mm": f"{moment.minute:02}", "m": str(moment.minute),
        "ss": f"{moment.second:02}", "s": str(moment.second), "fff": f"{moment.microsecond // 1000:03}",
        "tt": "AM" if moment.hour < 12 else "PM",
    }  # fmt: skip
    return _NET_FORMAT.sub(lambda match: match[1] if match[1] is not None else parts.get(match[0], match[0]), form)


def id_of(resource_type: str, names: list[str]) -> str:
    """Return the part of an id from `/providers/` on: a type of n segments has n - 1 names."""
    provider, *kinds = resource_type.split("/")
    pairs = "/".join(f"{kind}/{name}" for kind, name in zip(kinds, names, strict=True))
    return f"/providers/{provider}/{pairs}"


def split_id(resource_id: str) -> tuple[str, list[str]]:
    """Return the type and the names that an id says, of the innermost provider; ("", []) where it says none."""
    _, found, rest = resource_id.rpartition("/providers/")
    provider, *segments = rest.split("/")
    if not found or len(segments) % 2 or not segments:
        return "", []
    return "/".join((provider, *segments[::2])), segments[1::2]


def _checked(function: str, resource_type: str, names: list[str]) -> str:
    wanted = len(resource_type.split("/")) - 1
    if wanted < 1 or len(names) != wanted:
        raise ExpressionError(
            f"Unable to evaluate template language function '{function}': the type '{resource_type}' requires "
            f"'{max(wanted, 1)}' resource name argument(s). Please see "
            f"https://aka.ms/arm-functions#{function.lower()} for usage details."
        )
    return id_of(resource_type, names)


def _texts(function: str, given: Arguments) -> list[str]:
    return [text(function, part) for part in given]


def _around_type(function: str, given: list[str]) -> tuple[list[str], str, list[str]]:
    """Return what stands before the resource type, the type, and the names: the type is the first with a slash."""
    place = next((at for at, part in enumerate(given[:3]) if "/" in part), None)
    if place is None:
        raise wrong(function, "a resource type such as 'Microsoft.Compute/virtualMachines'", given[0])
    return given[:place], given[place], given[place + 1 :]


def resource_id(place: Place, given: Arguments) -> str:
    """Return the id that `resourceId` gives: a subscription, a group or both may stand before the type."""
    before, kind, names = _around_type("resourceId", _texts("resourceId", given))
    tail = _checked("resourceId", kind, names)
    if not before:
        return place.base + tail
    subscription = before[0] if len(before) == 2 or _GUID.match(before[0]) else place.subscription
    if len(before) == 1 and _GUID.match(before[0]):
        return f"/subscriptions/{subscription}{tail}"
    return f"/subscriptions/{subscription}/resourceGroups/{before[-1]}{tail}"


def subscription_resource_id(place: Place, given: Arguments) -> str:
    """Return the id of a resource of the subscription, whose own id may stand before the type."""
    before, kind, names = _around_type("subscriptionResourceId", _texts("subscriptionResourceId", given))
    tail = _checked("subscriptionResourceId", kind, names)
    return f"/subscriptions/{before[0] if before else place.subscription}{tail}"


def tenant_resource_id(given: Arguments) -> str:
    """Return the id of a resource of the tenant."""
    kind, *names = _texts("tenantResourceId", given)
    return _checked("tenantResourceId", kind, names)


def extension_resource_id(given: Arguments) -> str:
    """Return the id of a resource that is applied to another one."""
    base, kind, *names = _texts("extensionResourceId", given)
    return base.rstrip("/") + _checked("extensionResourceId", kind, names)


def environment() -> dict[str, Any]:
    """Return Azure's public cloud as `environment()` gives it, documented, as far as this project uses it."""
    return {
        "name": "AzureCloud",
        "resourceManager": "https://management.azure.com/",
        "portal": "https://portal.azure.com",
        "graph": "https://graph.windows.net/",
        "authentication": {
            "loginEndpoint": "https://login.microsoftonline.com/",
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {"keyvaultDns": ".vault.azure.net", "storage": "core.windows.net"},
    }
