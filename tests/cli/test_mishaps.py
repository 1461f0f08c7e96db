"""What a hurried user gets wrong, each answered with one error that says what to do. None is called a bug."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.running import skrkit


@pytest.mark.parametrize("port", ["0", "-1", "65536", "80a", "٨٠٨٠"])
def test_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    done = skrkit(tmp_path, "sandbox", "up", "--port", port)
    assert done.returncode == 2
    assert f"found: argument --port: '{port}' is no port" in done.stderr or "argument --port: expected" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_whose_lock_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "sandbox.lock").mkdir()
    done = skrkit(tmp_path, "sandbox", "reset", "--yes")
    assert done.returncode == 2
    assert done.stderr.startswith("error: sandbox state folder at ")
    assert "fix: Set SKRKIT_HOME to a folder of your own" in done.stderr


def test_verify_words_an_unreadable_file_as_inspect_does(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.bin")
    for command in ("inspect", "verify"):
        done = skrkit(tmp_path, command, absent)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[0] == f"error: file at {absent!r}"
        assert "fix: Check the path." in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="`>&-` is of POSIX shells")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_bug(captures: Path, closed: str) -> None:
    report = captures / "azure-snp-milan-v3" / "hcl-report.bin"
    line = f"exec '{sys.executable}' -m skrkit inspect '{report}' {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
