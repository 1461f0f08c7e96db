"""The browser and JupyterLab that the tests of this folder share, in both themes.

Screenshots and figures go to SKRKIT_SCREENSHOTS, or to the test run's own folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.jupyter import PLACES, Lab, chromium, jupyter


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


@pytest.fixture(scope="module", params=["JupyterLab Light", "JupyterLab Dark"])
def lab(
    request: pytest.FixtureRequest, browser: Any, shots: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """`skrkit lab` on copies of the notebooks, with a sandbox of its own."""
    began = time.monotonic()
    folder = tmp_path_factory.mktemp("jupyter")
    with jupyter(folder, theme=request.param):
        made = Lab(theme=request.param, browser=browser, shots=shots, state=folder / PLACES["SKRKIT_HOME"])
        page = made.open("00_start_here.ipynb")
        made.wait_for_kernel(page)
        made.figures["start to usable page, s"] = round(time.monotonic() - began, 1)
        made.close(page)
        yield made
    (shots / f"figures-{request.param.split()[-1].lower()}.json").write_text(json.dumps(made.figures, indent=1))
