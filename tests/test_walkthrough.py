"""The order of a walk: what a step takes along, what it shows, and that Azure is not touched too early."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skrkit import walkthrough
from skrkit.artefact import Collector
from skrkit.cloud import Cloud
from skrkit.errors import ServiceError, UsageError
from skrkit.provision import access, identity
from skrkit.provision.stage import Stage
from skrkit.walkthrough import Walk

STAGE = Stage(resource_group="g", vm="m")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that would change something, by name, none of which does."""
    calls: list[str] = []

    def enable(_cloud: Cloud, _stage: Stage, *, show: Any = None) -> identity.Identity:
        calls.append("identity")
        Collector(1, show).add("made", "T", {}, proves="P.", next="N.")
        return identity.Identity(object_id="o", tenant_id="t", artefacts=())

    def grant(_cloud: Cloud, _stage: Stage, object_id: str, *, show: Any = None) -> access.Access:
        calls.append(f"access {object_id}")
        Collector(2, show).add("made", "T", {}, proves="P.", next="N.")
        return access.Access(permissions=(), may_release=True, artefacts=())

    def keys(_walk: Walk) -> tuple[()]:
        calls.append("keys")
        return ()

    monkeypatch.setattr(identity, "enable", enable)
    monkeypatch.setattr(access, "grant", grant)
    monkeypatch.setattr(Walk, "_keys", keys)
    monkeypatch.setattr(Walk, "_release", lambda _walk, _keys, reads: calls.append(f"release reads={reads}"))
    return calls


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Azure as this VM sees it: IMDS says that it is `m` in `g`."""
    compute = {"compute": {"name": "M", "resourceGroupName": "G"}}
    monkeypatch.setattr("skrkit.services.imds.fetch_instance", lambda _cloud: compute)
    return replace(Cloud.azure(), enter_vm=lambda cloud, _vm: cloud)


@pytest.mark.parametrize(
    ("steps", "calls"),
    [
        ((1,), ["identity"]),
        ((2,), ["identity", "access o"]),
        ((3,), ["identity", "access o", "keys"]),
        ((4,), ["release reads=False"]),
        ((1, 2, 3, 4), ["identity", "access o", "keys", "release reads=True"]),
    ],
)
def test_a_step_in_azure_takes_along_those_before_it(
    azure: Cloud, done: list[str], steps: tuple[int, ...], calls: list[str]
) -> None:
    shown = Walk(cloud=azure, stage=STAGE, steps=steps, doing=lambda _what: nullcontext()).run()
    assert done == calls
    assert {artefact.step for artefact in shown} <= set(steps)


@pytest.mark.parametrize("steps", [(4,), (1, 2, 3, 4)])
def test_another_machine_is_noticed_before_anything_is_changed(
    azure: Cloud, done: list[str], steps: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        Walk(cloud=azure, stage=replace(STAGE, vm="other"), steps=steps).run()
    assert (caught.value.expected, caught.value.found) == ("VM other in g", "VM M in G")
    assert done == []


def test_no_imds_is_noticed_before_anything_is_changed(
    azure: Cloud, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_cloud: Cloud) -> Any:
        raise ServiceError(what="IMDS instance", where="the network", expected="an answer", found="none", fix="-")

    monkeypatch.setattr("skrkit.services.imds.fetch_instance", silent)
    with pytest.raises(ServiceError):
        Walk(cloud=azure, stage=STAGE).run()
    assert done == []


def test_what_was_made_before_a_failure_is_kept(azure: Cloud, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise ServiceError(what="x", where="x", expected="x", found="x", fix="x")

    monkeypatch.setattr(access, "grant", refused)
    walk = Walk(cloud=azure, stage=STAGE)
    with pytest.raises(ServiceError):
        walk.run()
    assert [artefact.step for artefact in walk.artefacts] == [1]


def test_the_keys_of_a_vm_that_may_not_read_them_are_those_of_step_3() -> None:
    walk = Walk(cloud=Cloud.azure(), stage=STAGE)
    keys = walk._known_keys()
    assert [key.name for key in keys] == [STAGE.key, STAGE.ec_key, STAGE.platform_key]
    assert {key.version for key in keys} == {""}  # the latest
    assert keys[0].policy == keys[1].policy != keys[2].policy
    assert walkthrough.ALL_STEPS == (1, 2, 3, 4)
