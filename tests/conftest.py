"""What the tests share: where the captures are, and a loud word when they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine and of what else it does, and nothing of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

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
