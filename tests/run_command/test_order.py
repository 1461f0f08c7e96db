"""Orders and their scripts: judged by a real shell, sha256sum and xz, and by telling them from any other script."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

import skrkit.run_command.order as order_module
from skrkit.errors import UsageError
from skrkit.run_command.order import MAX_SCRIPT_BYTES, Order, joined, lines_of, order_in, script_of
from skrkit.wire import Json

PIECE = b"a piece of a package" * 100
RELEASE = Order(do="release", build="0.1.0-abc", members={"stage": {"vm": "o'brien"}, "steps": [1, 4]})


def piece(data: bytes, *, sha256: str = "") -> Order:
    digest = sha256 or hashlib.sha256(data).hexdigest()
    members: dict[str, Json] = {"number": 0, "sha256": digest, "text": base64.b64encode(data).decode()}
    return Order(do="piece", build="0.1.0-abc", members=members)


INSTALL = Order(do="install", build="0.1.0-abc", members={"pieces": 1, "sha256": "0" * 64, "wheel": "skrkit.whl"})
ANSWER = Order(do="answer", build="0.1.0-abc", members={"slice": 3, "sha256": "0" * 64})
ORDERS = (RELEASE, piece(PIECE), INSTALL, ANSWER)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.do)
def test_a_script_gives_its_order_back_through_the_lines_of_a_body(order: Order) -> None:
    assert order_in(joined(lines_of(script_of(order)))) == order


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.do)
def test_a_shell_can_read_every_script(order: Order) -> None:
    done = subprocess.run(["/bin/sh", "-n"], input=script_of(order).encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda script: script + "rm -rf /tmp/x\n",
        lambda script: script.replace("set -eu\n", "set -eu\nid\n"),
        lambda script: script.replace("exec ", "id; exec "),
        lambda script: script.replace('"release"', '"reboot"'),
        lambda script: script.replace("0.1.0-abc", "../../bin", 1),
        lambda script: script.removeprefix("#!/bin/sh\n"),
        lambda _script: "id",
        lambda _script: "",
        lambda _script: "#!/bin/sh\n# skrkit run command []\n",
        lambda _script: "#!/bin/sh\n# skrkit run command {}\n",
        lambda _script: "#!/bin/sh\n# skrkit run command " + "[" * 100_000,
    ],
)
def test_any_other_script_has_no_order(change: object) -> None:
    assert callable(change)
    assert order_in(change(script_of(RELEASE))) is None


def test_a_quote_in_a_name_does_not_end_the_shells_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "HOME", str(tmp_path))
    python = tmp_path / "0.1.0-abc" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(["/bin/sh"], input=script_of(RELEASE), text=True, capture_output=True, check=True)
    *_, folder, given = done.stdout.splitlines()
    assert folder == str(tmp_path)
    assert json.loads(given)["stage"] == {"vm": "o'brien"}


def test_a_vm_without_skrkit_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "HOME", str(tmp_path))
    done = subprocess.run(["/bin/sh"], input=script_of(RELEASE), text=True, capture_output=True, check=True)
    assert done.stdout == "skrkit-absent\n"


def test_a_piece_is_written_for_root_alone_and_held_against_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_module, "HOME", str(tmp_path / "made"))
    done = subprocess.run(["/bin/sh"], input=script_of(piece(PIECE)), text=True, capture_output=True, check=True)
    written = tmp_path / "made" / "piece-0"
    assert (done.stdout, written.read_bytes()) == ("skrkit-piece 0\n", PIECE)
    assert written.stat().st_mode & 0o077 == 0
    wrong = subprocess.run(
        ["/bin/sh"], input=script_of(piece(PIECE, sha256="0" * 64)), text=True, capture_output=True, check=False
    )
    assert wrong.returncode != 0
    assert "skrkit-piece" not in wrong.stdout


def test_a_script_that_is_too_long_is_not_made() -> None:
    with pytest.raises(UsageError) as caught:
        script_of(piece(b"x" * MAX_SCRIPT_BYTES))
    assert caught.value.expected == f"at most {MAX_SCRIPT_BYTES} bytes"
