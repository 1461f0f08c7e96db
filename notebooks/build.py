"""Build the notebooks: one Markdown source each, executed in a fresh kernel on a seeded sandbox of its own.

    python notebooks/build.py              all of them
    python notebooks/build.py 01 04        these
    python notebooks/build.py --check      build into memory, and compare with what is committed

A source is Markdown. A fence that opens with three backticks and `python` is a code cell; all else is prose, one cell
between two fences. The committed `.ipynb` is what people open; the source is what people review.

Each notebook begins on the same sandbox: made from a seed, with a clock that stands still. So a rebuild makes the same
outputs, alone or with the others, and `--check` finds each word that differs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comparison

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
MAX_CELL_LINES = 12
MAX_FILE_BYTES = 500_000
CELL_TIMEOUT_S = 120
SEED, CLOCK = "notebooks", "2026-06-01T09:00:00Z"
MADE_WITH = ("SKRKIT_SEED", "SKRKIT_CLOCK")
AT_ONCE = 2  # a kernel and its sandbox wait for each other
_FENCE = re.compile(r"^```python\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
_WIDGET_TYPES = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
_FORBIDDEN = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a signed token": re.compile(r"eyJ[\w-]{16,}\.eyJ[\w-]{16,}\.[\w-]{16,}"),
    "a bearer token": re.compile(r"Bearer [\w-]{16,}"),
    "a client secret": re.compile(r"client_secret[\"' :=&#;a-z0-9]{1,12}[\w~.-]{24,}"),
    "a path of a machine": re.compile(
        r"(?<![\w.:/])/(?:home|root|tmp|work|Users|var|opt|usr)/[\w.-]+|[A-Z]:\\\\?Users"
    ),
    "a loopback address": re.compile(r"127\.0\.0\.1:\d+"),
}


def names() -> list[str]:
    """Return the notebooks' names in their order, without a suffix."""
    return sorted(source.stem for source in SOURCES.glob("*.md"))


def cells_of(text: str) -> Iterator[tuple[str, str]]:
    """Return ("markdown" or "code", source) for each cell of a Markdown source, in order. Empty prose is no cell."""
    at = 0
    for fence in _FENCE.finditer(text):
        if prose := text[at : fence.start()].strip():
            yield "markdown", prose
        yield "code", fence.group(1).rstrip()
        at = fence.end()
    if prose := text[at:].strip():
        yield "markdown", prose


def unexecuted(name: str) -> Any:
    """Return the notebook of a source, without outputs. Cells have stable ids: cell-01, cell-02..."""
    from nbformat import v4

    notebook = v4.new_notebook()
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for number, (kind, source) in enumerate(
        cells_of((SOURCES / f"{name}.md").read_text(encoding="utf-8")), start=1
    ):
        make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
        notebook.cells.append(make(source, id=f"cell-{number:02}"))
    return notebook


def execute(notebook: Any, *, home: Path, folder: Path) -> None:
    """Run every cell in a fresh kernel whose sandbox keeps its state in `home`. Raises at the first cell that fails."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=[
            "--log-level=ERROR"
        ],  # else the kernel talks about its transport at each start
        resources={"metadata": {"path": str(folder)}},
    )
    # A seed of this shell's own would be another one than the state's.
    mine = {name: value for name, value in os.environ.items() if name not in MADE_WITH}
    client.execute(env={**mine, "SKRKIT_HOME": str(home)})


def normalise(notebook: Any) -> None:
    """Take out what differs from run to run and says nothing: widget views, addresses of objects, metadata."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.get("outputs"):
            cell.outputs = list(_joined(cell.outputs))
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = {}
            if "text" in output:
                output.text = _ADDRESS.sub("", output.text)
            data = output.get("data", {})
            for kind in _WIDGET_TYPES:
                data.pop(kind, None)
            for kind, value in data.items():
                if isinstance(value, str):
                    data[kind] = _ADDRESS.sub("", value)


def _joined(outputs: Sequence[Any]) -> Iterator[Any]:
    """Return the outputs with what was printed in one piece: a kernel sends it in as many as it took time for."""
    last: Any = None
    for output in outputs:
        is_text = output["output_type"] == "stream"
        if is_text and last is not None and last.get("name") == output["name"]:
            last.text += output.text
            continue
        last = output if is_text else None
        yield output


def findings(notebook: Any, secrets: Sequence[str] = ()) -> list[str]:
    """Return what must not be in committed outputs, each as "cell-07: a private key". `secrets` are looked for as well.

    An image is base64 and is not looked into: diagrams are drawn from the package's own words.
    """
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] in ("error",) or output.get("name") == "stderr":
                found.append(f"{cell['id']}: {output.get('ename') or 'text on stderr'}")
            text = re.sub(r"data:image/[\w+]+;base64,[\w+/=]+", "", _text_of(output))
            found += [
                f"{cell['id']}: {what}"
                for what, pattern in _FORBIDDEN.items()
                if pattern.search(text)
            ]
            found += [
                f"{cell['id']}: a secret of the sandbox"
                for secret in secrets
                if secret and secret in text
            ]
    return found


def _text_of(output: Mapping[str, Any]) -> str:
    parts = [str(output.get("text", "")), "\n".join(output.get("traceback", ()))]
    return "\n".join(parts + [str(value) for value in output.get("data", {}).values()])


@contextmanager
def temporary_sandbox(made: Path | None = None) -> Iterator[Path]:
    """A state folder for a sandbox that starts when it is first asked for, and ends here.

    It begins with nothing, or as `made`, the folder of a sandbox that has ended.
    """
    from skrkit.sandbox import process

    with tempfile.TemporaryDirectory(prefix="skrkit-notebooks-") as folder:
        home = Path(folder) / "state"
        if made is not None:
            shutil.copytree(made, home)
        try:
            yield home
        finally:
            process.down(home)


@contextmanager
def seeded_sandbox() -> Iterator[Path]:
    """The state folder of a sandbox that was made from the seed, with the clock, and has ended: what each begins with.

    Its slowest keys are made here, once: two of RSA-4096.
    """
    from skrkit.cloud import Cloud
    from skrkit.sandbox import process

    with temporary_sandbox() as home:
        process.up(home, seed=SEED, clock=CLOCK)
        Cloud.sandbox(home=home).amd_roots()
        process.down(home)
        yield home


def secrets_of(home: Path) -> list[str]:
    """Return the secrets of a running sandbox, which no output may hold."""
    from skrkit.sandbox.process import running

    endpoint = running(home)
    return [] if endpoint is None else [endpoint.secret, endpoint.client_secret]


def built(name: str, home: Path) -> Any:
    """Return a notebook with its outputs. Raises `ValueError` for an output that must not be committed."""
    notebook = unexecuted(name)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, home=home, folder=Path(folder))
    normalise(notebook)
    if wrong := findings(notebook, secrets_of(home)):
        raise ValueError(f"{name}: {'; '.join(wrong)}")
    return notebook


def rebuilt(name: str, made: Path) -> Any:
    """Return a notebook with its outputs, on a sandbox of its own that begins as `made`; says how long it took."""
    started = time.monotonic()
    with temporary_sandbox(made) as home:
        notebook = built(name, home)
    sys.stderr.write(f"{name}: {time.monotonic() - started:.1f} s\n")
    return notebook


def unlike(name: str, notebook: Any) -> list[comparison.Difference]:
    """Return where a notebook differs from the committed one of that name."""
    import nbformat

    target = HERE / f"{name}.ipynb"
    if not target.exists():
        return [comparison.absent(name)]
    committed = nbformat.read(target, as_version=4)
    return comparison.differences(name, committed, notebook)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check, and say how long each took. Returns 1 if a check finds a difference."""
    import nbformat

    parser = argparse.ArgumentParser(
        description="Build the notebooks, or check that they can be built again."
    )
    parser.add_argument(
        "numbers",
        nargs="*",
        metavar="NN",
        help="first digits of the names; none means all",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with the committed notebooks, write nothing",
    )
    options = parser.parse_args(arguments)
    wanted = [
        name for name in names() if not options.numbers or name[:2] in options.numbers
    ]
    different = []
    begun = time.monotonic()
    with seeded_sandbox() as made, ThreadPoolExecutor(AT_ONCE) as pool:
        for name, notebook in zip(
            wanted, pool.map(lambda name: rebuilt(name, made), wanted), strict=True
        ):
            found = unlike(name, notebook)
            if options.check:
                different += found
            elif found:  # else nothing is new in it but what a mask names
                nbformat.write(notebook, HERE / f"{name}.ipynb")
    sys.stderr.write(f"{len(wanted)} notebooks: {time.monotonic() - begun:.1f} s\n")
    for difference in different:
        sys.stderr.write(f"{difference}\n")
    if different:
        sys.stderr.write(
            "A rebuild differs from what is committed. If it should: make notebooks\n"
        )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
