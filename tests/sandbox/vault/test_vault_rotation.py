"""Rotation policies by Azure's own client, the rotation that they bring about, and the limit on creates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction

from skrkit.sandbox import settings
from skrkit.sandbox.vault.rotation import moved
from tests.sandbox.vault.attested import POLICY, claims, encoded, token
from tests.sandbox.vault.azure import SUBSCRIPTION, Azure, error_of

ROTATE = {"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}
ARM_KEY = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/premium/keys/armed"
THROTTLED = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"


def set_policy(azure: Azure, actions: Any, *, name: str = "k", **attributes: Any) -> Any:
    return azure.vault("PUT", f"/keys/{name}/rotationpolicy", {"lifetimeActions": actions, "attributes": attributes})


def create(azure: Azure, name: str = "k", **body: Any) -> Any:
    answer = azure.vault("POST", f"/keys/{name}/create", {"kty": "EC-HSM"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def exportable() -> dict[str, Any]:
    return {"attributes": {"exportable": True}, "release_policy": {"data": encoded(POLICY)}}


def versions(azure: Azure, name: str = "k") -> int:
    return len(azure.vault("GET", f"/keys/{name}/versions").json()["value"])


# --- the policy


def test_the_sdk_sets_and_reads_a_policy(azure: Azure) -> None:
    keys = azure.keys()
    keys.create_rsa_key("k", size=2048)
    actions = [
        KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_before_expiry="P1M"),
        KeyRotationLifetimeAction(KeyRotationPolicyAction.notify, time_before_expiry="P30D"),
    ]
    made = keys.update_key_rotation_policy("k", KeyRotationPolicy(), lifetime_actions=actions, expires_in="P1Y2M3D")
    read = keys.get_key_rotation_policy("k")
    for each in (made, read):
        assert each.id == "https://premium.vault.azure.net/keys/k/rotationpolicy"
        assert each.expires_in == "P1Y2M3D"
        assert [(a.action, a.time_before_expiry, a.time_after_create) for a in each.lifetime_actions] == [
            (KeyRotationPolicyAction.rotate, "P1M", None),
            (KeyRotationPolicyAction.notify, "P30D", None),
        ]
        assert each.created_on == each.updated_on == azure.clock.time.replace(microsecond=0)


def test_a_key_without_a_policy_has_the_default_one_and_no_actions_bring_it_back(azure: Azure) -> None:
    create(azure)
    notify = [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}]
    assert azure.vault("GET", "/keys/k/rotationpolicy").json()["lifetimeActions"] == notify
    assert set_policy(azure, [ROTATE]).json()["lifetimeActions"] == [ROTATE]
    assert set_policy(azure, []).json()["lifetimeActions"] == notify


@pytest.mark.parametrize(
    ("actions", "attributes"),
    [
        ([ROTATE | {"trigger": {"timeAfterCreate": "P6D"}}], {}),  # 7 days at least
        ([ROTATE | {"trigger": {"timeBeforeExpiry": "P6D"}}], {"expiryTime": "P90D"}),
        ([ROTATE | {"trigger": {"timeBeforeExpiry": "P30D"}}], {}),  # before an expiry that is not there
        ([ROTATE | {"trigger": {"timeAfterCreate": "P30D", "timeBeforeExpiry": "P30D"}}], {"expiryTime": "P90D"}),
        ([ROTATE | {"trigger": {}}], {}),
        ([ROTATE | {"action": {"type": "Notify"}}], {}),  # timeAfterCreate applies to Rotate alone
        ([ROTATE | {"action": {"type": "Delete"}}], {}),
        ([ROTATE, ROTATE], {}),
        ([ROTATE | {"trigger": {"timeAfterCreate": "30 days"}}], {}),
        ([ROTATE | {"trigger": {"timeAfterCreate": "P"}}], {}),
        ([ROTATE | {"trigger": {"timeAfterCreate": "PT8H"}}], {}),
        ([ROTATE | {"trigger": {"timeAfterCreate": 30}}], {}),
        (["Rotate"], {}),
        ("Rotate", {}),
        ([], {"expiryTime": "P27D"}),  # 28 days at least
    ],
)
def test_a_policy_that_cannot_be_is_refused_and_not_kept(azure: Azure, actions: Any, attributes: Any) -> None:
    create(azure)
    before = azure.vault("GET", "/keys/k/rotationpolicy").json()
    status, code, _, message = error_of(set_policy(azure, actions, **attributes))
    assert (status, code) == (400, "BadParameter"), message
    assert azure.vault("GET", "/keys/k/rotationpolicy").json() == before


def test_a_policy_needs_a_key_and_permissions_of_its_own(azure: Azure) -> None:
    assert azure.vault("GET", "/keys/none/rotationpolicy").status_code == 404
    assert set_policy(azure, [ROTATE], name="none").status_code == 404
    azure.make_vault("plain", permissions=["get", "create", "update", "rotate"])
    assert azure.vault("POST", "/keys/k/create", {"kty": "EC"}, vault="plain").status_code == 200
    for method, word in (("GET", "getrotationpolicy"), ("PUT", "setrotationpolicy")):
        status, _, inner, message = error_of(azure.vault(method, "/keys/k/rotationpolicy", {}, vault="plain"))
        assert (status, inner) == (403, "AccessDenied")
        assert f"does not have keys {word} permission" in message


# --- rotation


def test_a_key_is_rotated_when_its_time_has_come(azure: Azure) -> None:
    first = create(azure, **exportable(), tags={"a": "b"})
    assert set_policy(azure, [ROTATE], expiryTime="P90D").status_code == 200
    azure.clock.time += timedelta(days=30) - timedelta(seconds=1)
    assert azure.vault("GET", "/keys/k").json()["key"]["kid"] == first["key"]["kid"]
    azure.clock.time += timedelta(seconds=1)
    second = azure.vault("GET", "/keys/k").json()
    now = int(azure.clock.time.timestamp())
    assert second["key"]["kid"] != first["key"]["kid"]
    assert second["key"]["x"] != first["key"]["x"]
    assert second["attributes"]["created"] == now
    assert second["attributes"]["exp"] == now + 90 * 86400
    assert (second["tags"], second["release_policy"]) == (first["tags"], first["release_policy"])
    assert versions(azure) == 2
    azure.clock.time += timedelta(days=30)
    body = {"target": token(azure, claims(azure))}
    assert azure.vault("POST", "/keys/k/release", body).status_code == 200  # whoever asks: it need not be a reader
    assert versions(azure) == 3


def test_a_key_is_rotated_before_it_expires(azure: Azure) -> None:
    created = int(azure.clock.time.timestamp())
    create(azure, attributes={"exp": created + 60 * 86400})
    trigger = {"timeBeforeExpiry": "P20D"}
    assert set_policy(azure, [ROTATE | {"trigger": trigger}], expiryTime="P60D").status_code == 200
    azure.clock.time += timedelta(days=39)
    azure.vault("GET", "/keys/k")
    assert versions(azure) == 1
    azure.clock.time += timedelta(days=1)
    azure.vault("GET", "/keys/k")
    assert versions(azure) == 2


def test_an_old_version_stays_what_it_was_and_a_disabled_key_stays_whole(azure: Azure) -> None:
    first = create(azure)
    version = first["key"]["kid"].rpartition("/")[2]
    set_policy(azure, [ROTATE])
    azure.vault("PATCH", "/keys/k", {"attributes": {"enabled": False}})
    azure.clock.time += timedelta(days=31)
    azure.vault("GET", "/keys/k")
    assert versions(azure) == 1
    azure.vault("PATCH", "/keys/k", {"attributes": {"enabled": True}})
    assert azure.vault("GET", f"/keys/k/{version}").json()["key"] == first["key"]
    assert versions(azure) == 2


def test_the_policy_goes_with_deletion_recovery_new_versions_and_backup(azure: Azure) -> None:
    create(azure)
    set_policy(azure, [ROTATE], expiryTime="P90D")
    create(azure)
    blob = azure.vault("POST", "/keys/k/backup").json()
    azure.vault("DELETE", "/keys/k")
    azure.vault("POST", "/deletedkeys/k/recover")
    assert azure.vault("GET", "/keys/k/rotationpolicy").json()["lifetimeActions"] == [ROTATE]
    azure.make_vault("other")
    assert azure.vault("POST", "/keys/restore", blob, vault="other").status_code == 200
    restored = azure.vault("GET", "/keys/k/rotationpolicy", vault="other").json()
    assert (restored["lifetimeActions"], restored["attributes"]["expiryTime"]) == ([ROTATE], "P90D")
    assert restored["id"] == "https://other.vault.azure.net/keys/k/rotationpolicy"


def test_rotation_on_request_gives_the_expiry_of_the_policy(azure: Azure) -> None:
    create(azure)
    set_policy(azure, [], expiryTime="P1M")
    rotated = azure.vault("POST", "/keys/k/rotate").json()
    assert datetime.fromtimestamp(rotated["attributes"]["exp"], UTC) == datetime(2026, 12, 24, 12, 0, tzinfo=UTC)


def test_resource_manager_gives_a_policy_with_the_key(azure: Azure) -> None:
    rotation = {
        "attributes": {"expiryTime": "P90D"},
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "rotate"}}],
    }
    body = {"properties": {"kty": "EC-HSM", "rotationPolicy": rotation}}
    made = azure.arm("PUT", f"{ARM_KEY}?api-version=2026-05-15", body).json()["properties"]["rotationPolicy"]
    assert made["lifetimeActions"] == rotation["lifetimeActions"]
    assert made["attributes"]["expiryTime"] == "P90D"
    read = azure.vault("GET", "/keys/armed/rotationpolicy").json()
    assert read["lifetimeActions"] == [ROTATE]
    bad = {"properties": {"kty": "EC-HSM", "rotationPolicy": {"lifetimeActions": [1]}}}
    assert azure.arm("PUT", f"{ARM_KEY}2?api-version=2026-05-15", bad).status_code == 400
    assert azure.vault("GET", "/keys/armed2").status_code == 404


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-01-31", "P1M", "2026-02-28"),
        ("2024-01-31", "P1M", "2024-02-29"),
        ("2026-11-24", "P2M", "2027-01-24"),
        ("2026-11-24", "P1Y1M1D", "2027-12-25"),
        ("2026-03-31", "-P1M", "2026-02-28"),
        ("2026-01-15", "-P18M", "2024-07-15"),
    ],
)
def test_months_are_calendar_months(start: str, duration: str, end: str) -> None:
    at = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())
    found = moved(at, duration.removeprefix("-"), back=duration.startswith("-"))
    assert datetime.fromtimestamp(found, UTC).date().isoformat() == end


# --- the limit


def statuses(azure: Azure, count: int, body: dict[str, Any], *, vault: str = "premium", start: int = 0) -> list[int]:
    return [
        azure.vault("POST", f"/keys/n{start + each}/create", body, vault=vault).status_code for each in range(count)
    ]


def test_without_the_setting_nothing_is_counted(azure: Azure) -> None:
    assert statuses(azure, 25, {"kty": "EC-HSM"}) == [200] * 25


def test_creates_and_releases_share_one_bucket(azure: Azure) -> None:
    create(azure, **exportable())
    settings.switch(azure.world, settings.VAULT_LIMITS, on=True)
    assert statuses(azure, 9, {"kty": "EC-HSM"}) == [200] * 9
    body = {"target": token(azure, claims(azure))}
    assert azure.vault("POST", "/keys/k/release", body).status_code == 200
    refused = azure.vault("POST", "/keys/k/release", body)
    assert error_of(refused) == (429, "Throttled", "", THROTTLED)
    assert "Retry-After" not in refused.headers
    assert azure.vault("POST", "/keys/k/rotate").status_code == 429
    assert azure.vault("GET", "/keys/k").status_code == 200  # other operations have their own, wide limits
    assert statuses(azure, 1, {"kty": "EC"}, vault="standard") == [200]  # another vault, another bucket
    azure.clock.time += timedelta(seconds=10)
    assert azure.vault("POST", "/keys/k/release", body).status_code == 200


def test_refused_calls_do_not_count_and_the_window_slides(azure: Azure) -> None:
    settings.switch(azure.world, settings.VAULT_LIMITS, on=True)
    assert statuses(azure, 5, {"kty": "EC-HSM"}) == [200] * 5
    azure.clock.time += timedelta(seconds=6)
    assert statuses(azure, 8, {"kty": "EC-HSM"}, start=5) == [200] * 5 + [429] * 3
    azure.clock.time += timedelta(seconds=4)  # the first five are out of the window, the three refused never were in
    assert statuses(azure, 6, {"kty": "EC-HSM"}, start=13) == [200] * 5 + [429]


def test_software_keys_weigh_half(azure: Azure) -> None:
    settings.switch(azure.world, settings.VAULT_LIMITS, on=True)
    assert statuses(azure, 21, {"kty": "EC"}) == [200] * 20 + [429]
    azure.clock.time += timedelta(seconds=10)
    assert statuses(azure, 5, {"kty": "EC-HSM"}, start=30) == [200] * 5
    assert statuses(azure, 11, {"kty": "EC"}, start=40) == [200] * 10 + [429]
    settings.switch(azure.world, settings.VAULT_LIMITS, on=False)
    assert statuses(azure, 2, {"kty": "EC-HSM"}, start=60) == [200] * 2
