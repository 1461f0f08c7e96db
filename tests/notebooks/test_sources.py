"""What every notebook keeps to: short cells, public imports, nothing hidden, no secret; and its source makes it."""

from __future__ import annotations

import ast
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.conftest import NOTEBOOKS, load_builder

BUILDER = load_builder()
NAMES: list[str] = BUILDER.names()
NOT_FOR_LESSONS = ("skrkit.sandbox", "skrkit.cli", "skrkit.walkthrough", "tests")
ALLOWED = ("skrkit", "azure", "cryptography")
STANDARD = {
    "base64", "collections", "dataclasses", "datetime", "hashlib", "importlib", "json", "platform", "secrets", "struct",
}  # fmt: skip


def notebook(name: str) -> Any:
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def source_of(cell: Any) -> str:
    return "".join(cell["source"])


def code_of(name: str) -> list[str]:
    return [
        source
        for kind, source in BUILDER.cells_of((BUILDER.SOURCES / f"{name}.md").read_text("utf-8"))
        if kind == "code"
    ]


def lines_of(code: str) -> int:
    return sum(1 for line in code.splitlines() if line.strip())


def test_there_is_a_notebook_for_each_source_and_no_other() -> None:
    assert NAMES
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_is_what_its_source_makes(self, name: str) -> None:
        cells = [(cell["cell_type"], source_of(cell)) for cell in notebook(name)["cells"]]
        assert cells == [
            (kind, source) for kind, source in BUILDER.cells_of((BUILDER.SOURCES / f"{name}.md").read_text("utf-8"))
        ]

    def test_cells_are_short(self, name: str) -> None:
        sizes = [lines_of(code) for code in code_of(name)]
        assert max(sizes) <= BUILDER.MAX_CELL_LINES
        assert statistics.median(sizes) <= 5

    def test_prose_comes_first(self, name: str) -> None:
        kinds = [cell["cell_type"] for cell in notebook(name)["cells"]]
        assert kinds[0] == "markdown"

    def test_lines_fit(self, name: str) -> None:
        assert max(len(line) for code in code_of(name) for line in code.splitlines()) <= 88

    def test_imports_are_public(self, name: str) -> None:
        for code in code_of(name):
            for node in ast.walk(ast.parse(code)):
                modules = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [f"{node.module}.{alias.name}" for alias in node.names]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                for module in modules:
                    parts = module.split(".")
                    assert parts[0] in ALLOWED or parts[0] in STANDARD, module
                    assert not module.startswith(NOT_FOR_LESSONS), module
                    assert "*" not in module
                    assert not any(part.startswith("_") for part in parts), module

    def test_nothing_is_installed_or_hidden(self, name: str) -> None:
        assert not [code for code in code_of(name) if re.search(r"^\s*[!%]", code, re.MULTILINE)]
        for cell in notebook(name)["cells"]:
            assert cell["metadata"] == {}

    def test_has_predictions_questions_two_exercises_and_a_fault(self, name: str) -> None:
        text = (BUILDER.SOURCES / f"{name}.md").read_text("utf-8")
        assert "**Predict:**" in text
        assert "## Questions" in text
        asked = re.findall(r'^lab\.check\("(\d\d\.[a-z]+)", \.\.\.\)$', text, re.MULTILINE)
        assert len(asked) == 3
        assert asked[-1] == f"{name[:2]}.fault"
        assert all(exercise.startswith(name[:2]) for exercise in asked)

    def test_was_executed_without_a_hitch(self, name: str) -> None:
        counts = [cell["execution_count"] for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
        assert counts == list(range(1, len(counts) + 1))

    def test_no_output_has_a_secret_or_a_path(self, name: str) -> None:
        assert BUILDER.findings(joined(notebook(name))) == []

    def test_file_is_small(self, name: str) -> None:
        assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size <= BUILDER.MAX_FILE_BYTES

    def test_can_be_read_without_widgets_style_or_script(self, name: str) -> None:
        for cell in joined(notebook(name))["cells"]:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                if data:
                    assert "text/plain" in data
                page = data.get("text/html", "")
                assert not re.search(r"<(style|script|svg)\b", page), cell["id"]


def joined(document: Any) -> Any:
    """Return a notebook as nbformat reads it: multi-line values are one text."""
    for cell in document["cells"]:
        for output in cell.get("outputs", ()):
            for holder, names in ((output, ("text",)), (output.get("data", {}), tuple(output.get("data", {})))):
                for key in names:
                    if isinstance(holder.get(key), list):
                        holder[key] = "".join(holder[key])
    return document


STEP_OF = {"1": "01", "2": "02", "3": "03", "4": "04"}


def test_every_artefact_of_a_step_is_shown_in_its_notebook(sandbox_home: Path) -> None:
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.walkthrough import Walk

    text = {number: "\n".join(code_of(name)) for name in NAMES for number in [name[:2]]}
    walk = Walk(cloud=Cloud.sandbox(home=sandbox_home), stage=Stage())
    missing = [
        f"{made.step}/{made.name}"
        for made in walk.run()
        if f'"{made.step}/{made.name}"' not in text[STEP_OF[str(made.step)]]
    ]
    # what is before a step is read there with the SDK's own call
    assert set(missing) <= {"1/vm-before", "2/vault-before"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        (f"eyJ{'a' * 20}.eyJ{'b' * 20}.{'c' * 20}", "a signed token"),
        ("Authorization: Bearer " + "x" * 40, "a bearer token"),
        ('"client_secret": "' + "s" * 40 + '"', "a client secret"),
        ("in /home/someone/skrkit", "a path of a machine"),
        ("http://127.0.0.1:41234", "a loopback address"),
        ("it is HUSH", "a secret of the sandbox"),
    ],
)
def test_the_scan_finds(text: str, what: str) -> None:
    cell = {"id": "cell-01", "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}
    assert BUILDER.findings({"cells": [cell]}, ["HUSH"]) == [f"cell-01: {what}"]


@pytest.mark.parametrize(
    "text", ["Bearer <sha256 20f23ef1…, 1114 characters>", "/keys/release-me/1", "/anyOf/0/allOf/1"]
)
def test_the_scan_lets_pass(text: str) -> None:
    cell = {"id": "cell-01", "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}
    assert BUILDER.findings({"cells": [cell]}, [""]) == []
