"""What a teardown would remove, what it removed, what stays and what that costs, as views."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skrkit.provision.stage import USER_ASSIGNED
from skrkit.provision.teardown import GROUP, HSM, KEY, VAULT, VM, Found, Inventory, Remaining, TornDown
from skrkit.render.view import Row, Rows, View

if TYPE_CHECKING:
    from skrkit.endpoints import Endpoints

# Words and no figures: prices differ by region, contract and day. Where the documents do not say, neither do these.
COSTS = {
    VM: "is billed by time while it is allocated, stopped or not; deallocated, its disk goes on being billed",
    "Microsoft.Compute/disks": "is billed by its size for as long as it is there, attached or not",
    "Microsoft.Network/publicIPAddresses": "is billed by time, attached or not",
    VAULT: "is billed by operations, and for the HSM keys in it",
    HSM: "is billed by the hour from its creation on, used or not, and goes on being billed while it is soft-deleted",
    KEY: "is billed by the month, each version by itself; the price page says what counts as a key in use",
    USER_ASSIGNED: "costs nothing",
    GROUP: "costs nothing itself",
}
_DELETED = {
    VAULT: "does nothing that would be billed; whether its HSM keys still are, the documents do not say",
    KEY: "whether a soft-deleted key is billed, the documents do not say",
}
_PRICES = (
    "Prices, by region: https://azure.microsoft.com/pricing/calculator",
    "As a list, without signing in: https://prices.azure.com/api/retail/prices?$filter=armRegionName%20eq%20'{region}'",
)


def cost_of(found: Found) -> str:
    """Return what it costs to leave this, in words; an empty text where nothing is known."""
    known = _DELETED.get(found.type) if found.deleted else None
    return known or COSTS.get(found.type, "")


def plan_of_teardown(inventory: Inventory, *, purge: bool) -> list[str]:
    """Return one sentence for each thing that a teardown would remove, in order, and what would stay of it."""
    lines = [f"Key {each.name} in {each.url}: delete" for each in inventory.keys if not each.deleted]
    lines += [f"{each.type} {each.name}: delete" for each in inventory.resources]
    lines += [f"Resource group {each.name}: delete, if nothing else is in it" for each in inventory.groups]
    soft = [each for each in inventory.resources if each.type in (VAULT, HSM)]
    soft += [each for each in inventory.keys if not each.deleted]
    already = [each for each in (*inventory.deleted, *inventory.keys) if each.deleted]
    if purge:
        lines += [f"{each.name}: purge, which nobody can undo, unless purge protection forbids it" for each in soft]
        lines += [
            f"{each.name}, which is soft-deleted: "
            + (f"stays until {each.purge_date}, purge protection forbids it" if each.protected else "purge")
            for each in already
        ]
    else:
        lines += [f"{each.name}: stays soft-deleted, and its name taken; --purge ends that" for each in soft]
        lines += [f"{each.name}: is soft-deleted until {each.purge_date}, and stays so" for each in already]
    return lines


def view_of_costs(inventory: Inventory, endpoints: Endpoints) -> View:
    """Return the view of what it costs to leave what is there."""
    found = (*inventory.resources, *inventory.keys, *inventory.deleted)
    return View(heading="What it costs to leave it", blocks=(_costs(found), *_prices(found, endpoints)))


def view_of_teardown(torn: TornDown, endpoints: Endpoints) -> View:
    """Return the view of a teardown: what went, what remains and why, and what that costs."""
    rows = [Row(name=each.name, value=each.type, note="removed") for each in torn.removed]
    rows += [Row(name=each.name, value=each.type, note="purged") for each in torn.purged]
    blocks: list[Rows | View | str] = [Rows(title="Gone", rows=tuple(rows))] if rows else ["Nothing was there."]
    if torn.remaining:
        left = [row for each in torn.remaining for row in _remaining(each)]
        blocks.append(Rows(title="Remains", rows=tuple(left)))
        found = [each.found for each in torn.remaining]
        blocks.append(View(heading="What it costs to leave it", blocks=(_costs(found), *_prices(found, endpoints))))
    facts = (f"{len(torn.removed)} removed", f"{len(torn.purged)} purged", f"{len(torn.remaining)} remain")
    return View(heading="Teardown", facts=facts, blocks=tuple(blocks))


def _remaining(remaining: Remaining) -> Iterable[Row]:
    yield Row(name=remaining.found.name, value=remaining.found.type, note=remaining.why)
    if remaining.fix:
        yield Row(name="ends with", value=remaining.fix, depth=1)


def _costs(found: Iterable[Found]) -> Rows | str:
    said = {each.type if not each.deleted else f"{each.type}, soft-deleted": cost_of(each) for each in found}
    rows = tuple(Row(name=kind, value=words) for kind, words in said.items() if words)
    return Rows(rows=rows) if rows else "Nothing of it is billed, as far as the documents say."


def _prices(found: Iterable[Found], endpoints: Endpoints) -> tuple[str, ...]:
    if endpoints.name != "AzureCloud":
        return (f"Prices of {endpoints.title}: in its own portal.",)
    region = next((each.location for each in found if each.location), "westeurope")
    return tuple(line.format(region=region) for line in _PRICES)
