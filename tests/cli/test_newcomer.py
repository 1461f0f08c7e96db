"""`skrkit walkthrough` as a newcomer runs it: what is shown whole, and what is said when the world misbehaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skrkit.sandbox import process
from tests.sandbox.running import environment, skrkit

# What a company's laptop or a developer's shell has set, and the sandbox must neither use nor trip over.
MISLEADING: dict[str, Any] = {
    "HTTPS_PROXY": "http://proxy.invalid:3128",
    "https_proxy": "http://proxy.invalid:3128",
    "HTTP_PROXY": "http://proxy.invalid:3128",
    "http_proxy": "http://proxy.invalid:3128",
    "ALL_PROXY": "socks5://proxy.invalid:1080",
    "NO_PROXY": "*",
    "REQUESTS_CA_BUNDLE": "absent.pem",
    "SSL_CERT_FILE": "absent.pem",
    "AZURE_AUTHORITY_HOST": "login.invalid",
    "AZURE_REGIONAL_AUTHORITY_NAME": "westeurope",
    "AZURE_TENANT_ID": "not-the-sandbox",
    "AZURE_CLIENT_ID": "not-the-sandbox",
    "AZURE_CLIENT_SECRET": "not-the-sandbox",
    "AZURE_SUBSCRIPTION_ID": "not-the-sandbox",
    "TPM2TOOLS_TCTI": "device:absent",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made: Path = tmp_path_factory.mktemp("walk")
    yield made
    process.reset(made)


def test_the_four_steps_under_a_misleading_environment(home: Path) -> None:
    done = skrkit(home, "walkthrough", **MISLEADING)
    assert (done.returncode, done.stderr) == (0, "")
    for step in range(1, 5):
        assert f"Step {step} of 4" in done.stdout
    assert "A key was released to an attested VM" in done.stdout


def test_what_the_sentences_speak_of_is_not_cut(home: Path) -> None:
    shown = skrkit(home, "walkthrough").stdout
    after = shown.split("The VM after: an identity of its own")[1].split("\nNext: ")[0]
    assert "principalId" in after
    report = shown.split("\nThe SNP report\n")[1].split("\nNext: ")[0]
    assert [
        name for name in ("\nreported_tcb", "\nchip_id", "\nmeasurement", "\nreport_data") if name not in report
    ] == []
    assert " more\n" in report


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_the_terminal(home: Path, columns: int) -> None:
    shown = skrkit(home, "walkthrough", "--step", "2", COLUMNS=str(columns)).stdout
    assert max(map(len, shown.splitlines())) <= columns


def test_a_reader_that_goes_away_is_no_failure_of_ours(home: Path) -> None:
    command = [sys.executable, "-m", "skrkit", "walkthrough"]
    with subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as walk:
        assert walk.stdout is not None
        assert walk.stderr is not None
        walk.stdout.readline()
        walk.stdout.close()
        said = walk.stderr.read()
        assert (walk.wait(60), said) == (141, b"")


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
def test_a_killed_sandbox_is_named_and_its_state_is_kept(tmp_path: Path) -> None:
    try:
        first = process.up(tmp_path)

        def kill_soon() -> None:
            machines = tmp_path / "machines"
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not (machines.is_dir() and any(machines.iterdir())):
                time.sleep(0.01)
            os.kill(first.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_soon)
        killer.start()
        done = skrkit(tmp_path, "walkthrough")
        killer.join()
        assert done.returncode == 7, done.stderr
        assert "found: it ended in the middle" in done.stderr
        assert "fix: Run the same command again" in done.stderr
        again = skrkit(tmp_path, "walkthrough")
        assert (again.returncode, again.stderr) == (0, "")
        second = process.running(tmp_path)
        assert second is not None
        assert second.tenant == first.tenant
    finally:
        process.reset(tmp_path)
