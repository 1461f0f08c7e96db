"""Start, ensure, reset: from nothing, twice, in any order, and in each bad case with one message that says the fix."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from skrkit import lab
from skrkit.errors import UsageError
from skrkit.lab import session
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import ENDPOINT_FILE, STATE_FILE


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without the line ends that keep it narrow."""
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 88
    return " ".join(printed.split())


def test_start_says_in_a_sentence_what_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = lab.start()
    assert cloud.world == "sandbox"
    assert _said(capsys).startswith(f"The sandbox has started. Tenant {cloud.tenant}.")
    assert lab.start().tenant == cloud.tenant
    assert _said(capsys).startswith(f"The sandbox runs already. Tenant {cloud.tenant}.")


@pytest.mark.parametrize("step", [3, 0, 4, 2, 1])
def test_ensure_makes_what_a_step_needs_in_any_order_and_twice(
    home: Path, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    world = lab.ensure(step=step)
    assert (world.identity is not None, world.access is not None) == (step >= 1, step >= 2)
    assert len(world.keys) == (3 if step >= 3 else 0)
    assert (world.attested is not None, world.released is not None) == (step >= 4, step >= 4)
    assert {artefact.step for artefact in world.artefacts} == set(range(1, step + 1))
    said = _said(capsys)
    assert said.startswith(f"Step {step} is done" if step else "The stage is set")
    assert "confidential VM cvm-1" in said
    assert world.identity is None or world.identity.object_id in said


def test_the_same_key_is_released_again_and_not_a_new_version(home: Path) -> None:
    assert lab.ensure(step=3).keys[0].version == lab.ensure(step=3).keys[0].version


def test_no_secret_is_in_what_a_cell_can_show_of_a_world(home: Path) -> None:
    world = lab.ensure(step=4)
    endpoint = process.running(home)
    assert endpoint is not None
    shown = repr(world) + repr(world.released) + repr(world.attested)
    for secret in (endpoint.secret, endpoint.client_secret, "PRIVATE KEY", "127.0.0.1", str(home)):
        assert secret not in shown
    assert world.attested is not None
    assert world.attested.token.raw.decode() not in shown


@pytest.mark.parametrize("step", [-1, 5, "3", 2.5, True, None])
def test_another_step_is_refused(step: object) -> None:
    with pytest.raises(UsageError) as caught:
        lab.ensure(step=step)  # type: ignore[arg-type] # what an attendee may write
    assert (caught.value.where, caught.value.expected) == ("step", "0, 1, 2, 3 or 4")
    assert caught.value.found == repr(step)


def test_an_artefact_of_a_later_step_is_named_with_the_call_that_makes_it(home: Path) -> None:
    world = lab.ensure(step=1)
    assert world.artefact("1/vm-after").name == "vm-after"
    with pytest.raises(UsageError) as caught:
        world.artefact("4/hcl-report")
    assert "1/vm-after" in caught.value.expected
    assert (caught.value.found, caught.value.fix) == ("'4/hcl-report'", "lab.ensure(step=4)")


def test_reset_makes_a_new_tenant_and_ensure_builds_on_it(fresh_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = lab.ensure(step=1)
    lab.reset()
    endpoint = process.running(fresh_home)
    assert endpoint is not None
    assert endpoint.tenant != before.cloud.tenant
    assert endpoint.tenant in _said(capsys)
    after = lab.ensure(step=1)
    assert after.identity is not None
    assert before.identity is not None
    assert after.identity.object_id != before.identity.object_id


def test_a_port_that_somebody_took_meanwhile_is_no_obstacle(fresh_home: Path) -> None:
    tenant = lab.start().tenant
    endpoint = process.running(fresh_home)
    assert endpoint is not None
    process.down(fresh_home)
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", endpoint.port))
        taken.listen()
        assert lab.start().tenant == tenant
        moved = process.running(fresh_home)
        assert moved is not None
        assert moved.port != endpoint.port


def test_a_killed_sandbox_is_started_again_with_what_was_in_it(fresh_home: Path) -> None:
    tenant = lab.ensure(step=1).cloud.tenant
    process.down(fresh_home)
    world = lab.ensure(step=1)
    assert world.cloud.tenant == tenant


def test_state_of_another_version_is_one_message_and_reset_is_its_fix(fresh_home: Path) -> None:
    lab.start()
    process.down(fresh_home)
    with closing(sqlite3.connect(fresh_home / STATE_FILE)) as state:
        state.execute("PRAGMA user_version=99")
        state.commit()
    with pytest.raises(UsageError) as caught:
        lab.start()
    assert caught.value.what == "state of the sandbox"
    assert caught.value.expected == "one that this version of skrkit can read"
    assert caught.value.found == "one that another version wrote"
    assert "lab.reset()" in caught.value.fix
    with pytest.raises(UsageError, match="state of the sandbox"):
        lab.ensure(step=0)
    lab.reset()
    assert lab.start().world == "sandbox"


def test_a_sandbox_of_another_version_is_restarted_with_its_state(
    fresh_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = lab.start().tenant
    old = process.running(fresh_home)
    path = fresh_home / ENDPOINT_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "0.0.1"}))
    capsys.readouterr()
    assert lab.start().tenant == tenant
    new = process.running(fresh_home)
    assert old is not None
    assert new is not None
    assert new.pid != old.pid
    assert "It was of skrkit 0.0.1" in _said(capsys)


def test_an_old_python_is_told_which_kernel_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "OLDEST_PYTHON", (99, 1))
    with pytest.raises(UsageError) as caught:
        lab.start()
    assert caught.value.what == "Python of this kernel"
    assert caught.value.found == ".".join(map(str, sys.version_info[:3]))
    assert caught.value.where == sys.executable
    assert "Change Kernel" in caught.value.fix


def test_a_kernel_without_the_packages_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "NEEDED", ("cryptography", "no_such_package.below", "nor_this"))
    with pytest.raises(UsageError) as caught:
        lab.start()
    assert caught.value.what == "packages of this kernel"
    assert caught.value.found == "no no_such_package.below, nor_this"
    assert "pip install 'skrkit[lab]'" in caught.value.fix


def test_without_ipywidgets_the_line_says_that_views_stand_still(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "has_widgets", lambda: False)
    lab.start()
    said = _said(capsys)
    assert "Views stand still, because ipywidgets is not installed: pip install 'skrkit[lab]'" in said


def test_importing_the_package_does_no_work_and_loads_no_widgets() -> None:
    code = (
        "import sys; from skrkit import lab; dir(lab); "
        "print([name for name in ('ipywidgets', 'azure', 'cryptography', 'rich', 'skrkit.sandbox') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in lab.__all__:
        assert getattr(lab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lab.nothing  # noqa: B018 - that it raises


def test_no_module_takes_the_place_of_a_public_name() -> None:
    from importlib import import_module
    from pkgutil import iter_modules

    for module in iter_modules(lab.__path__):
        import_module(f"skrkit.lab.{module.name}")
        assert module.name not in lab.__all__
    assert callable(lab.tamper)
    assert callable(lab.ledger)
