"""What is kept of a deployment, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skrkit.sandbox.arm.operations import rfc3339
from skrkit.sandbox.arm.templates import refusals
from skrkit.sandbox.arm.templates.planning import DEPLOYMENT_TYPE, Planned
from skrkit.sandbox.arm.templates.preparing import Prepared

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

DEPLOYMENT_KIND = "arm-deployment"  # deployment id in lower case -> {"shown", "operations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A deployment that was carried out. `failures` are the errors of what could not be made."""

    prepared: Prepared
    id: str
    began: datetime
    ended: datetime
    correlation: str
    outputs: dict[str, Any] = field(repr=False)
    failures: tuple[dict[str, Any], ...]
    operations: tuple[dict[str, Any], ...]


def write_record(world: World, record: Record) -> None:
    """Keep a deployment; one of the same name before it is forgotten."""
    document = {"shown": shown(record), "operations": list(record.operations)}
    world.store.put(DEPLOYMENT_KIND, record.id.lower(), document)


def shown(record: Record) -> Document:
    """Return a deployment as Azure shows it: secure parameters and outputs without their values."""
    seconds = max((record.ended - record.began).total_seconds(), 0.0)
    made = [planned for planned in record.prepared.resources if planned.wanted and not planned.existing]
    properties = properties_of(record.prepared, record.correlation, record.ended) | {
        "provisioningState": "Failed" if record.failures else "Succeeded",
        "duration": f"PT{seconds:.7f}".rstrip("0").rstrip(".") + "S",
    }
    if record.failures:
        properties["error"] = refusals.failed(list(record.failures))
    else:
        properties["outputs"] = record.outputs
        properties["outputResources"] = [{"id": planned.id} for planned in made]
    return {
        "id": record.id,
        "name": record.prepared.name,
        "type": DEPLOYMENT_TYPE,
        "properties": properties,
    }


def properties_of(prepared: Prepared, correlation: str, now: datetime) -> dict[str, Any]:
    """Return what is known of a deployment before it is carried out."""
    return {
        "templateHash": prepared.template_hash,
        "parameters": {name: parameter.shown() for name, parameter in prepared.parameters.items()},
        "mode": prepared.mode,
        "provisioningState": "Accepted",
        "timestamp": rfc3339(now),
        "duration": "PT0S",
        "correlationId": correlation,
        "providers": list(_providers(prepared.resources)),
        "dependencies": list(_dependencies(prepared.resources)),
    }


def _providers(resources: tuple[Planned, ...]) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, list[str]]] = {}
    for planned in resources:
        namespace, _, kind = planned.type.partition("/")
        location = planned.source.get("location")
        places = found.setdefault(namespace, {}).setdefault(kind, [])
        if isinstance(location, str) and not location.startswith("[") and location not in places:
            places.append(location)
    for namespace, kinds in found.items():
        types = [{"resourceType": kind, "locations": places} for kind, places in kinds.items()]
        yield {"namespace": namespace, "resourceTypes": types}


def _dependencies(resources: tuple[Planned, ...]) -> Iterator[dict[str, Any]]:
    for planned in resources:
        if planned.waits_for:
            others = [resources[at] for at in sorted(planned.waits_for)]
            yield {"dependsOn": [_named(other) for other in others], **_named(planned)}


def _named(planned: Planned) -> dict[str, str]:
    return {"id": planned.id, "resourceType": planned.type, "resourceName": planned.name}
