"""Several clients at once, a killed process, and a second sandbox over the same state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skrkit.sandbox.store import Store
from skrkit.sandbox.vault.documents import Keys
from tests.sandbox.vault.attested import POLICY, claims, encoded, token
from tests.sandbox.vault.azure import Azure


def test_sixteen_creates_of_one_name_are_sixteen_versions(azure: Azure) -> None:
    def create(_: int) -> str:
        answer = azure.vault("POST", "/keys/k/create", {"kty": "EC-HSM"})
        assert answer.status_code == 200
        return str(answer.json()["key"]["kid"])

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(create, range(16)))
    shown = azure.vault("GET", "/keys/k/versions").json()["value"]
    assert {item["kid"] for item in shown} == made
    assert len(made) == 16
    assert azure.vault("GET", "/keys/k").json()["key"]["kid"] in made


def test_one_of_two_policies_wins_and_none_is_mixed(azure: Azure) -> None:
    def create(exportable: bool) -> int:
        body: dict[str, Any] = {"kty": "EC-HSM"}
        if exportable:
            body |= {"attributes": {"exportable": True}, "release_policy": {"data": encoded(POLICY)}}
        return azure.vault("POST", "/keys/k/create", body).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(create, [True, False] * 6))
    assert set(statuses) == {200, 400}
    bundle = azure.vault("GET", "/keys/k").json()
    assert bundle["attributes"]["exportable"] is ("release_policy" in bundle)


def test_state_survives(azure: Azure, tmp_path: Path) -> None:
    body = {"kty": "EC-HSM", "attributes": {"exportable": True}, "release_policy": {"data": encoded(POLICY)}}
    assert azure.vault("POST", "/keys/k/create", body).status_code == 200
    before = azure.vault("POST", "/keys/k/release", {"target": token(azure, claims(azure))})
    azure.world.store.close()
    again = Azure(tmp_path)  # the same file, as after a kill
    after = again.vault("POST", "/keys/k/release", {"target": token(again, claims(again))})
    assert (before.status_code, after.status_code) == (200, 200)
    again.world.store.close()


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    keys = Keys(store=store, vault="v")
    with pytest.raises(TypeError):
        keys.write({"name": "k", "current": "0"}, {"version": "1", "pem": object()})  # not JSON: the second write fails
    assert store.list("vault-key-name") == []
    store.close()
