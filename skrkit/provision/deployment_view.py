"""What a deployment would change, and what it made, as views for terminal and notebook alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from skrkit.render.view import Row, Rows, View, scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skrkit.provision.deployment import Change, Deployed, Order
    from skrkit.provision.deployment_hsm import Opened

_MEANING = {
    "Create": "would be made",
    "Delete": "would be deleted",
    "Ignore": "is there, and not in the template: it stays",
    "Deploy": "would be deployed; what would change is not known",
    "NoChange": "is there as the template has it",
    "Modify": "would be changed",
    "Unsupported": "cannot be predicted",
}


def view_of_prediction(order: Order, changes: Sequence[Change]) -> View:
    """Return the view of what a deployment would change: a row for each resource, and below it each changed member."""
    counted = Counter(change.kind for change in changes)
    rows: list[Row] = []
    for change in changes:
        rows.append(Row(name=_short(change.resource_id), value=change.kind, note=_MEANING.get(change.kind, "")))
        rows += [Row(name=path, depth=1) for path in change.paths]
        if change.reason:
            rows.append(Row(name="why", value=change.reason, depth=1))
    return View(
        heading=f"What deployment {order.name} would change in {order.stage.resource_group}",
        facts=tuple(f"{number} {kind}" for kind, number in sorted(counted.items())),
        blocks=(Rows(rows=tuple(rows)),),
    )


def view_of_deployed(deployed: Deployed) -> View:
    """Return the view of a deployment that succeeded: its resources and its outputs."""
    resources = tuple(Row(name=one.name, value=one.type, note=one.state) for one in deployed.resources)
    outputs = tuple(Row(name=name, value=scalar(value)) for name, value in deployed.outputs.items())
    return View(
        heading=f"Deployment {deployed.order.name} in {deployed.stage.resource_group}: Succeeded",
        facts=(f"{len(resources)} resources",),
        blocks=(Rows(title="Resources", rows=resources), Rows(title="Outputs", rows=outputs)),
    )


def view_of_opened(opened: Opened) -> View:
    """Return the view of what was done to a Managed HSM after its template, and of what is left to others."""
    done = tuple(Row(name=f"{number}", value=sentence) for number, sentence in enumerate(opened.done, 1))
    left = tuple(Row(name=f"{number}", value=command) for number, command in enumerate(opened.left, 1))
    blocks = [Rows(title=title, rows=rows) for title, rows in (("Done", done), ("Left to do", left)) if rows]
    return View(heading="After the template: what only the Managed HSM itself can do", blocks=tuple(blocks))


def _short(resource_id: str) -> str:
    """Return the part of an id that tells resources of a group apart: type and names."""
    return resource_id.rpartition("/providers/")[2] or resource_id
