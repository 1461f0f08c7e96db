"""JupyterLab as `skrkit lab` starts it, and pages of a real browser in front of it: for the tests and the benchmarks.

Chromium resolves no name and reaches nothing but loopback: what is seen here works offline.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
PORT, TOKEN = 9461 + int(WORKER), "a-token-for-the-tests"  # workers open browsers at the same time
START_S, END_S = 60, 30
THEMES = ("JupyterLab Light", "JupyterLab Dark")
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
PLACES = {
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "IPYTHONDIR": "ipython",
    "SKRKIT_HOME": "state",
}
CONNECTED = """() => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext, kernel = session?.session?.kernel;
  return !!kernel && session.isReady && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
ALL_RUN = """errors => document.querySelector(errors) !== null
  || [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(
    prompt => /^\\[\\d+\\]:?$/.test(prompt.textContent.trim()))"""
NONE_RUN = """() => document.querySelector('.jp-OutputArea-output') === null
  && [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(prompt => !/\\d/.test(prompt.textContent))"""
DRAWN = """() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"""
# How long from an input event in the page until the widget's output has changed: kernel, both sockets, drawing in it.
REACTION = """([selector, value, event, marker]) => new Promise((done, failed) => {
  const input = document.querySelector(selector), output = input.closest('.jp-OutputArea-output');
  const began = performance.now(), until = setTimeout(() => failed(new Error('no reaction')), 10000);
  const seen = () => {
    if (!output.innerText.includes(marker)) return;
    watcher.disconnect(); clearTimeout(until); done(performance.now() - began);
  };
  const watcher = new MutationObserver(seen);
  watcher.observe(output, {subtree: true, childList: true, characterData: true});
  const kind = input.tagName === 'TEXTAREA' ? HTMLTextAreaElement
    : input.tagName === 'SELECT' ? HTMLSelectElement : HTMLInputElement;
  const property = input.tagName === 'SELECT' ? 'selectedIndex' : 'value';
  Object.getOwnPropertyDescriptor(kind.prototype, property).set.call(input, value);
  input.dispatchEvent(new Event(event, {bubbles: true}));
})"""


@dataclass
class Lab:
    """A running JupyterLab, on copies of the notebooks. `theme` is what it wears.

    `state` is its sandbox's folder; `began` is when it was started, by `time.monotonic()`.
    """

    theme: str
    browser: Any
    shots: Path
    state: Path | None = None
    began: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def open(self, notebook: str, *, without: str = "", within: Any = None) -> Any:
        """Return a page with a notebook in it. What the browser complains of is kept in `seen`.

        No page shares a cookie, storage or cache with another: two pages are two browsers; but those that are opened
        `within` one context are of one browser. `without` is a pattern of addresses that this page does not get.
        """
        looks = {"viewport": {"width": 1280, "height": 1000}, "color_scheme": _scheme(self.theme)}
        page = self.browser.new_page(**looks) if within is None else within.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.seen.append(str(error)))
        page.on("request", lambda request: self._check_local(request.url))
        if without:
            page.route(without, lambda route: route.abort())
        # A workspace of its own: the server fails now and then when two pages write the same one at once.
        workspace = f"tests-{next(self._numbers)}"
        page.goto(f"http://127.0.0.1:{PORT}/lab/workspaces/{workspace}/tree/{notebook}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        return page

    def dress(self, page: Any, theme: str) -> None:
        """Change to another theme, as a person does in the menu, and wait until the page wears it."""
        self.theme = theme
        page.emulate_media(color_scheme=_scheme(theme))
        page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.seen.append(f"{message.text} {message.location.get('url', '')}".strip())

    def _check_local(self, url: str) -> None:
        if not url.startswith((f"http://127.0.0.1:{PORT}/", "data:", "blob:", f"ws://127.0.0.1:{PORT}/")):
            self.seen.append(f"asks {url}")

    def complaints(self) -> list[str]:
        """Return what the browser complained of since this was last asked."""
        said, self.seen[:] = list(self.seen), []
        return said

    def wait_for_kernel(self, page: Any) -> None:
        """Wait until the notebook's kernel answers."""
        page.wait_for_function(CONNECTED, timeout=60_000)

    def begin_all(self, page: Any) -> None:
        """Run every cell, and return at once. Nothing is in the page of what was there: neither outputs nor numbers."""
        self.wait_for_kernel(page)
        page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        page.wait_for_function(NONE_RUN)
        page.evaluate("void window.jupyterapp.commands.execute('runmenu:run-all')")

    def end_all(self, page: Any) -> None:
        """Wait until every cell has run. An error ends the wait: the cells after it will never run."""
        page.wait_for_function(ALL_RUN, arg=ERRORS, timeout=120_000)
        said = page.locator(ERRORS).all_inner_texts()
        assert said == [], said

    def run_all(self, page: Any) -> None:
        """Run every cell, and wait until each has run."""
        self.begin_all(page)
        self.end_all(page)

    def shoot(self, page: Any, name: str) -> None:
        """Keep a screenshot of the whole notebook, up to 12000 pixels of it."""
        height = page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
        page.set_viewport_size({"width": 1280, "height": min(height + 120, 12_000)})
        page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
        page.evaluate(DRAWN)  # the page has grown
        page.screenshot(path=str(self.shots / f"{name}-{self.theme.split()[-1].lower()}.png"))
        page.set_viewport_size({"width": 1280, "height": 1000})

    def keep_figures(self) -> None:
        """Write the figures so far beside the screenshots."""
        (self.shots / "figures.json").write_text(json.dumps(self.figures, indent=1))

    def end_sandbox(self) -> None:
        """End the sandbox under the notebooks; its state stays."""
        from skrkit.sandbox import process

        assert process.down(self.state), "a sandbox ran"

    def close(self, *pages: Any) -> None:
        """Close pages, and end all kernels: Jupyter would keep them."""
        for page in pages:
            page.close()
        for kernel in json.loads(asked("GET", "/api/kernels")):
            asked("DELETE", f"/api/kernels/{kernel['id']}")


def _scheme(theme: str) -> str:
    """Return what a browser is told of the colours that a person prefers, to go with a theme."""
    return "dark" if "Dark" in theme else "light"


def asked(method: str, path: str) -> bytes:
    """Return what the running JupyterLab answers."""
    address = f"http://127.0.0.1:{PORT}{path}"
    request = urllib.request.Request(address, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: bytes = answer.read()
    return body


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, headless and offline. Skips aloud where a part of it is absent."""
    for name in ("jupyterlab", "ipywidgets", "playwright"):
        pytest.importorskip(name, reason=f"NO BROWSER RUNS: {name} is not installed")
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"NO BROWSER RUNS: none of {', '.join(CHROMIUM)} is installed")
    api: Any = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, headless=True, args=OFFLINE)
        yield started
        started.close()


@contextmanager
def jupyter(
    folder: Path, *, theme: str = "JupyterLab Light", variables: Mapping[str, str] | None = None
) -> Iterator[None]:
    """`skrkit lab` on copies of the notebooks, with settings, state and a sandbox of its own in `folder`."""
    from skrkit.sandbox import process

    copies = folder / "notebooks"
    shutil.copytree(NOTEBOOKS, copies, ignore=shutil.ignore_patterns("*.py", "*.toml", "src", "__pycache__"))
    server = _started(folder, copies, theme, variables or os.environ)
    try:
        yield
    finally:
        server.terminate()
        server.wait(END_S)
        process.down(folder / PLACES["SKRKIT_HOME"])


def _started(folder: Path, copies: Path, theme: str, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    for name, (extension, value) in {**SETTINGS, "themes": ("apputils-extension", {"theme": theme})}.items():
        path = folder / "settings" / "@jupyterlab" / extension / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    (folder / "config").mkdir()
    config = {"LabApp": {"expose_app_in_browser": True}}
    (folder / "config" / "jupyter_lab_config.json").write_text(json.dumps(config))
    environment = {**variables, **{name: str(folder / place) for name, place in PLACES.items()}}
    command = [sys.executable, "-m", "skrkit", "lab", str(copies), "--no-browser", "--port", str(PORT)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**environment, "JUPYTER_TOKEN": TOKEN}, stdout=log, stderr=log)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            asked("GET", "/api")
            return server
        except OSError:
            time.sleep(0.05)
    server.kill()
    raise AssertionError((folder / "log").read_text()[-2000:])
