"""In real kernels: errors in their words alone, an interrupted cell, a restart, two kernels on one sandbox."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("default")  # Jupyter's own warnings are not ours to fix


AFTER_IDLE_S = 1.0  # a busy machine's kernel says it is idle before the last of its streams has come


class Kernel:
    """One kernel, its client, and what a cell said: texts of its streams, results and errors."""

    def __init__(self, home: Path) -> None:
        manager: Any = pytest.importorskip("jupyter_client.manager", reason="NO KERNEL RUNS: pip install 'skrkit[lab]'")
        pytest.importorskip("ipykernel", reason="NO KERNEL RUNS: pip install 'skrkit[lab]'")
        self.manager = manager.KernelManager(kernel_name="python3")
        environment = {**os.environ, "SKRKIT_HOME": str(home)}
        self.manager.start_kernel(env=environment, extra_arguments=["--log-level=ERROR"])
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def begin(self, code: str) -> str:
        """Send a cell and return at once."""
        return str(self.client.execute(code))

    def said(self, message: str) -> tuple[str, str]:
        """Wait until a cell has run; return the status of its reply and all that it showed."""
        texts, patience = [], 60.0
        while True:
            try:
                got = self.client.get_iopub_msg(timeout=patience)
            except queue.Empty:
                if patience == AFTER_IDLE_S:
                    break
                raise
            if got["parent_header"].get("msg_id") != message:
                continue
            kind, content = got["msg_type"], got["content"]
            if kind == "status" and content["execution_state"] == "idle":
                patience = AFTER_IDLE_S
            texts.append(content.get("text") or "\n".join(content.get("traceback", ())))
            texts.append(content.get("data", {}).get("text/plain", ""))
        return self._status(message), "".join(texts)

    def _status(self, message: str) -> str:
        """The status in the reply to a message: `wait_for_ready` may leave replies to its own questions before it."""
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == message:
                return str(reply["content"]["status"])

    def run(self, code: str) -> tuple[str, str]:
        """Run a cell."""
        return self.said(self.begin(code))

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(shared_home: Path) -> Iterator[Kernel]:
    started = Kernel(shared_home)
    yield started
    started.end()


def test_an_error_of_skrkit_is_shown_in_its_words_and_fails_the_cell(kernel: Kernel) -> None:
    assert kernel.run("from skrkit import lab; lab.start()")[0] == "ok"
    status, shown = kernel.run("lab.ensure(step=9)")
    assert status == "error"
    assert "error: lab.ensure at step" in shown
    assert "0, 1, 2, 3 or 4" in shown
    assert "fix" in shown
    assert "Traceback" not in shown
    assert "session.py" not in shown
    status, shown = kernel.run("1 / 0")  # an error of the attendee's own keeps its traceback
    assert status == "error"
    assert "ZeroDivisionError" in shown
    assert "Traceback" in shown


def test_an_interrupted_cell_loses_nothing(kernel: Kernel) -> None:
    kernel.run("from skrkit import lab; lab.start()")
    message = kernel.begin("world = lab.ensure(step=4)")
    time.sleep(0.4)
    kernel.manager.interrupt_kernel()
    kernel.said(message)  # interrupted, or done before that: both are fine
    status, shown = kernel.run("world = lab.ensure(step=4); world.step, world.released is not None")
    assert (status, "(4, True)" in shown) == ("ok", True)


def test_after_a_restart_the_world_is_still_there(kernel: Kernel) -> None:
    code = "from skrkit import lab; lab.ensure(step=3).keys[0].version"
    before = kernel.run(code)
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    assert before[0] == "ok"
    assert kernel.run(code) == before


def test_two_kernels_on_one_sandbox_do_not_disturb_each_other(kernel: Kernel, shared_home: Path) -> None:
    other = Kernel(shared_home)
    try:
        code = "from skrkit import lab; world = lab.ensure(step=4); world.released is not None, world.cloud.tenant"
        messages = [each.begin(code) for each in (kernel, other)]
        answers = [each.said(message) for each, message in zip((kernel, other), messages, strict=True)]
        assert [status for status, _ in answers] == ["ok", "ok"]
        assert all("(True, " in shown for _, shown in answers)
        assert answers[0][1][-40:] == answers[1][1][-40:]
    finally:
        other.end()
