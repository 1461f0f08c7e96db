"""What the tests share: where the captures are, and a loud word when they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CAPTURES = Path(os.environ.get("SKRKIT_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of real bytes; a test that asks for it is skipped, aloud, where it is absent."""
    if not CAPTURES.is_dir():
        pytest.skip(f"NO CAPTURES at {CAPTURES}: nothing real is tested. Set SKRKIT_CAPTURES to the folder.")
    return CAPTURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CAPTURES.is_dir():
        terminalreporter.section("CAPTURES ABSENT")
        terminalreporter.write_line(f"{CAPTURES} is not there: parsers and verifiers were not held against real bytes.")
