"""Teardown on a running sandbox: what has the tag goes, what has it not stays, and what remains is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters
from azure.mgmt.resource.resources.models import ResourceGroup

from skrkit.cloud import Cloud
from skrkit.endpoints import US_GOVERNMENT
from skrkit.policy.templates import cvm_policy
from skrkit.provision import identity, key, teardown
from skrkit.provision.stage import USER_ASSIGNED, Stage, set_stage, vault_body
from skrkit.provision.tags import is_ours
from skrkit.provision.teardown import GROUP, KEY, VAULT, VM, Found, Inventory, Scope, TornDown, find, tear_down
from skrkit.provision.teardown_view import COSTS, cost_of, plan_of_teardown, view_of_costs, view_of_teardown
from skrkit.render.plain import write
from skrkit.sandbox import process
from skrkit.services import arm
from skrkit.services.vault import key_client
from tests.sandbox.running import skrkit, staged

STAGE = Stage(identity="both")


@pytest.fixture
def cloud(tmp_path: Any) -> Iterator[Cloud]:
    with staged(tmp_path) as endpoint:
        yield Cloud.sandbox(home=endpoint.home)


def add_vault(cloud: Cloud, name: str, *, tags: dict[str, str], **properties: Any) -> Stage:
    stage = replace(STAGE, vault=name)
    body = vault_body(cloud, stage) | {"tags": tags}
    body["properties"] |= properties
    with arm.key_vaults(cloud) as vaults:
        parameters = VaultCreateOrUpdateParameters(body)
        vaults.vaults.begin_create_or_update(stage.resource_group, name, parameters).result()
    return stage


def names(found: Any) -> list[tuple[str, str]]:
    return [(each.type, each.name) for each in found]


def text_of(view: Any) -> str:
    import io

    out = io.StringIO()
    write(view, out)
    return out.getvalue()


def test_all_that_a_walk_made_is_found_in_the_order_of_its_removal(cloud: Cloud) -> None:
    identity.enable(cloud, STAGE)
    found = find(cloud, Scope())
    made = [(VM, STAGE.vm), (USER_ASSIGNED, STAGE.user_identity), (VAULT, STAGE.vault)]
    assert names(found.resources) == made
    assert names(found.groups) == [(GROUP, STAGE.resource_group)]
    assert (found.keys, found.deleted) == ((), ())


def test_it_goes_and_its_vault_waits(cloud: Cloud) -> None:
    identity.enable(cloud, STAGE)
    told: list[tuple[str, str]] = []
    torn = tear_down(cloud, Scope(), progress=lambda what, found: told.append((what, found.name)))
    assert [name for _, name in told] == [STAGE.vm, STAGE.user_identity, STAGE.vault, STAGE.resource_group]
    assert [(each.found.name, each.fix) for each in torn.remaining] == [(STAGE.vault, "skrkit teardown --purge --yes")]
    assert torn.remaining[0].found.purge_date in torn.remaining[0].why
    with arm.resource_groups(cloud) as groups:
        assert not groups.resource_groups.check_existence(STAGE.resource_group)
    assert names(tear_down(cloud, Scope(), purge=True).purged) == [(VAULT, STAGE.vault)]
    assert find(cloud, Scope()).empty
    set_stage(cloud, STAGE)  # its names are free again


def test_nothing_else_goes(cloud: Cloud) -> None:
    add_vault(cloud, "somebodys", tags={"owner": "skrkit"})
    torn = tear_down(cloud, Scope(), purge=True)
    assert (VAULT, "somebodys") not in names(torn.removed)
    assert [(each.found.name, each.found.type) for each in torn.remaining] == [(STAGE.resource_group, GROUP)]
    assert "somebodys" in torn.remaining[0].why
    with arm.key_vaults(cloud) as vaults:
        assert vaults.vaults.get(STAGE.resource_group, "somebodys").name == "somebodys"


def test_a_group_that_was_there_before_stays(cloud: Cloud) -> None:
    with arm.resource_groups(cloud) as groups:
        groups.resource_groups.create_or_update("before", ResourceGroup(location="westeurope", tags={"cost": "1"}))
    set_stage(cloud, Stage(resource_group="before", vault="another-vault"))
    with arm.resource_groups(cloud) as groups:
        assert groups.resource_groups.get("before").tags == {"cost": "1"}
    torn = tear_down(cloud, Scope(resource_group="before"))
    assert names(torn.removed) == [(VM, STAGE.vm), (VAULT, "another-vault")]
    assert names(find(cloud, Scope()).groups) == [(GROUP, STAGE.resource_group)]


def test_a_protected_vault_is_not_purged_and_says_until_when(cloud: Cloud) -> None:
    add_vault(cloud, "guarded", tags={"skrkit": "deploy"}, enablePurgeProtection=True, softDeleteRetentionInDays=7)
    torn = tear_down(cloud, Scope(), purge=True)
    assert names(torn.purged) == [(VAULT, STAGE.vault)]
    (left,) = torn.remaining
    assert (left.found.name, left.found.protected, left.fix) == ("guarded", True, "")
    assert left.why.startswith(f"soft-deleted and purge-protected until {left.found.purge_date}: nobody can purge it")


def test_keys_in_a_vault_of_somebody_else_go_alone(cloud: Cloud) -> None:
    stage = add_vault(cloud, "somebodys", tags={})
    url = stage.vault_url(cloud)
    key.create(cloud, url, "ours", cvm_policy(stage.attestation))
    with key_client(cloud, url) as keys:
        keys.create_rsa_key("theirs", size=2048)
    scope = Scope(key_urls=(url,))
    torn = tear_down(cloud, scope)
    assert names(torn.removed)[0] == (KEY, "ours")
    waiting = [each.found for each in torn.remaining if each.found.type == KEY]
    assert [(each.name, each.protected) for each in waiting] == [("ours", False)]
    assert (KEY, "ours") in names(tear_down(cloud, scope, purge=True).purged)
    with key_client(cloud, url) as keys:
        assert [each.name for each in keys.list_properties_of_keys()] == ["theirs"]
        assert list(keys.list_deleted_keys()) == []


def test_the_plan_says_what_would_stay_and_does_nothing(cloud: Cloud) -> None:
    inventory = find(cloud, Scope())
    plan = plan_of_teardown(inventory, purge=False)
    assert plan == [
        f"{VM} {STAGE.vm}: delete",
        f"{VAULT} {STAGE.vault}: delete",
        f"Resource group {STAGE.resource_group}: delete, if nothing else is in it",
        f"{STAGE.vault}: stays soft-deleted, and its name taken; --purge ends that",
    ]
    assert plan_of_teardown(inventory, purge=True)[-1].startswith(f"{STAGE.vault}: purge, which nobody can undo")
    assert find(cloud, Scope()) == inventory


def test_costs_are_words_without_figures(cloud: Cloud) -> None:
    inventory = find(cloud, Scope())
    shown = text_of(view_of_costs(inventory, cloud.endpoints))
    assert "prices.azure.com" in shown
    assert not any(character.isdigit() or character in "$€" for words in COSTS.values() for character in words)
    assert "prices.azure.com" not in text_of(view_of_costs(inventory, US_GOVERNMENT))
    deleted = replace(inventory.resources[-1], deleted=True)
    assert cost_of(deleted) != cost_of(inventory.resources[-1])


def test_a_teardown_with_nothing_to_do_says_so(cloud: Cloud) -> None:
    assert "Nothing was there." in text_of(view_of_teardown(TornDown(), cloud.endpoints))
    assert plan_of_teardown(Inventory(), purge=True) == []


def test_something_of_another_type_is_left_and_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(teardown.REMOVABLE, VM)
    torn = tear_down(cloud, Scope())
    assert [each.found.name for each in torn.remaining if each.found.type == VM] == [STAGE.vm]
    assert all(each.name != STAGE.vm for each in torn.removed)


@pytest.mark.parametrize(("tags", "ours"), [({"SKRKIT": "x"}, True), ({"skrkit2": "x"}, False), (None, False)])
def test_the_tag_is_a_name_in_any_case(tags: dict[str, str] | None, ours: bool) -> None:
    assert is_ours(tags) is ours


def test_the_command_plans_first(cloud: Cloud) -> None:
    assert cloud.ca_file is not None
    home = cloud.ca_file.parent
    planned = skrkit(home, "teardown", "--json")
    assert planned.returncode == 0, planned.stderr
    document = json.loads(planned.stdout)
    assert (document["done"], len(document["found"])) == (False, 3)
    assert "Nothing was done. Add --yes to do it." in skrkit(home, "teardown").stdout
    done = skrkit(home, "teardown", "--purge", "--yes", "--json")
    assert [each["name"] for each in json.loads(done.stdout)["purged"]] == [STAGE.vault]
    assert skrkit(home, "teardown").stdout == "There is nothing with skrkit's tag here.\n"
    refused = skrkit(home, "teardown", "--cloud", "azure", AZURE_SUBSCRIPTION_ID="")
    assert refused.returncode == 2
    assert "no --subscription" in refused.stderr


def test_all_that_a_template_deployed_goes(tmp_path: Any) -> None:
    try:
        deployed = skrkit(tmp_path, "deploy", "--public-ip", "--json")
        made = {each["id"].lower() for each in json.loads(deployed.stdout)["resources"]}
        done = skrkit(tmp_path, "teardown", "--purge", "--yes", "--json")
        document = json.loads(done.stdout)
        gone = {each["resource_id"].lower() for each in document["removed"]}
        # A key and an access policy are of their vault, and go with it.
        vault = next(each for each in gone if "/vaults/" in each)
        assert {each for each in made if not each.startswith(f"{vault}/")} <= gone
        assert document["removed"][-1]["type"] == GROUP
        assert document["remaining"] == []
    finally:
        process.reset(tmp_path)


def test_what_ends_a_soft_delete_is_said_for_the_cloud_that_it_is_in() -> None:
    """The command alone would go to the sandbox."""
    there = Found(type=VAULT, name="v", resource_id="/v", deleted=True)
    government = Cloud.azure(subscription="s", name=US_GOVERNMENT.name)
    assert teardown._waiting(Cloud.azure(subscription="s"), there).fix == (
        "skrkit teardown --cloud azure --subscription s --purge --yes"
    )
    assert teardown._waiting(government, there).fix == (
        "skrkit teardown --cloud azure --subscription s --azure-cloud AzureUSGovernment --purge --yes"
    )
