"""JupyterLab as `skrkit lab` starts it, and a real browser in front of it. Skips aloud where one of them is absent.

Chromium resolves no name and reaches nothing but loopback: what these tests see works offline. Screenshots and figures
go to SKRKIT_SCREENSHOTS, or to the test run's own folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PORT, TOKEN = 9461, "a-token-for-the-tests"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OFFLINE = [
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SETTINGS = {
    "notification": ("apputils-extension", {"checkForUpdates": False, "fetchNews": "false"}),
    "tracker": ("notebook-extension", {"windowingMode": "none"}),  # or cells out of sight are not in the page
}
CONNECTED = """() => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext, kernel = session?.session?.kernel;
  return !!kernel && session.isReady && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


@dataclass
class Lab:
    """A running JupyterLab in one theme, on copies of the notebooks."""

    theme: str
    browser: Any
    shots: Path
    figures: dict[str, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def open(self, notebook: str) -> Any:
        """Return a page with a notebook in it. What the browser complains of is kept in `seen`."""
        self.seen.clear()
        scheme = "dark" if "Dark" in self.theme else "light"
        page = self.browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme=scheme)
        page.on("console", lambda message: self.seen.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.seen.append(str(error)))
        page.on("request", lambda request: self._check_local(request.url))
        page.goto(f"http://127.0.0.1:{PORT}/lab/tree/{notebook}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        return page

    def _check_local(self, url: str) -> None:
        if not url.startswith((f"http://127.0.0.1:{PORT}/", "data:", "blob:", f"ws://127.0.0.1:{PORT}/")):
            self.seen.append(f"asks {url}")

    def run_all(self, page: Any) -> None:
        """Run every cell, and wait until each has run."""
        page.wait_for_function(CONNECTED, timeout=60_000)
        page.evaluate("window.jupyterapp.commands.execute('runmenu:run-all')")
        page.wait_for_function(
            """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(
                prompt => /^\\[\\d+\\]:?$/.test(prompt.textContent.trim()))""",
            timeout=120_000,
        )

    def shoot(self, page: Any, name: str) -> None:
        """Keep a screenshot of the whole notebook, up to 12000 pixels of it."""
        height = page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
        page.set_viewport_size({"width": 1280, "height": min(height + 120, 12_000)})
        page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
        page.wait_for_timeout(500)  # the page has grown: let it be drawn
        page.screenshot(path=str(self.shots / f"{name}-{self.theme.split()[-1].lower()}.png"))
        page.set_viewport_size({"width": 1280, "height": 1000})

    def close(self, page: Any) -> None:
        """Close a page, and end its kernel: Jupyter would keep it."""
        page.close()
        for kernel in json.loads(_asked("GET", "/api/kernels")):
            _asked("DELETE", f"/api/kernels/{kernel['id']}")


def _asked(method: str, path: str) -> bytes:
    address = f"http://127.0.0.1:{PORT}{path}"
    request = urllib.request.Request(address, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: bytes = answer.read()
    return body


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots and figures go."""
    given = os.environ.get("SKRKIT_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless and offline."""
    for name in ("jupyterlab", "ipywidgets", "playwright"):
        pytest.importorskip(name, reason=f"NO BROWSER RUNS: {name} is not installed")
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"NO BROWSER RUNS: none of {', '.join(CHROMIUM)} is installed")
    api: Any = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, headless=True, args=OFFLINE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", params=["JupyterLab Light", "JupyterLab Dark"])
def lab(
    request: pytest.FixtureRequest, browser: Any, shots: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """`skrkit lab` on copies of the notebooks, with a sandbox of its own."""
    from skrkit.sandbox import process

    folder = tmp_path_factory.mktemp("jupyter")
    copies = folder / "notebooks"
    shutil.copytree(NOTEBOOKS, copies, ignore=shutil.ignore_patterns("*.py", "src"))
    began = time.monotonic()
    server = _started(folder, copies, request.param)
    try:
        made = Lab(theme=request.param, browser=browser, shots=shots)
        page = made.open("00_start_here.ipynb")
        made.figures["start to usable page, s"] = round(time.monotonic() - began, 1)
        made.close(page)
        yield made
        (shots / f"figures-{request.param.split()[-1].lower()}.json").write_text(json.dumps(made.figures, indent=1))
    finally:
        server.terminate()
        server.wait(30)
        process.down(folder / "state")


def _started(folder: Path, copies: Path, theme: str) -> subprocess.Popen[bytes]:
    for name, (extension, value) in {**SETTINGS, "themes": ("apputils-extension", {"theme": theme})}.items():
        path = folder / "settings" / "@jupyterlab" / extension / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    (folder / "config").mkdir()
    config = {"LabApp": {"expose_app_in_browser": True}}
    (folder / "config" / "jupyter_lab_config.json").write_text(json.dumps(config))
    places = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "IPYTHONDIR": "ipython",
        "SKRKIT_HOME": "state",
    }
    environment = {**os.environ, **{name: str(folder / place) for name, place in places.items()}}
    command = [sys.executable, "-m", "skrkit", "lab", str(copies), "--no-browser", "--port", str(PORT)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**environment, "JUPYTER_TOKEN": TOKEN}, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            _asked("GET", "/api")
            return server
        except OSError:
            time.sleep(0.1)
    server.kill()
    raise AssertionError((folder / "log").read_text()[-2000:])
