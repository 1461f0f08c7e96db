"""The browser and JupyterLab that the tests of a module share.

Screenshots and figures go to SKRKIT_SCREENSHOTS, or to the test run's own folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.jupyter import PLACES, THEMES, Lab, chromium, jupyter


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots and figures go."""
    given = os.environ.get("SKRKIT_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless and offline. Not for the session: while it is there, no other test can run an event loop."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(browser: Any, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """`skrkit lab` on copies of the notebooks, in the light theme at first, with a sandbox of its own."""
    folder = tmp_path_factory.mktemp("jupyter")
    began = time.monotonic()
    with jupyter(folder, theme=THEMES[0]):
        yield Lab(theme=THEMES[0], browser=browser, shots=shots, state=folder / PLACES["SKRKIT_HOME"], began=began)
