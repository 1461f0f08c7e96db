"""What `build.py --check` finds: a changed claim, a changed word, an output that is gone; and what it lets pass."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.conftest import NOTEBOOKS, load_builder

COMPARISON = load_builder().comparison
NAME = "04_key_release"
COMMITTED: dict[str, Any] = json.loads((NOTEBOOKS / f"{NAME}.ipynb").read_text(encoding="utf-8"))


def compared(change: Callable[[dict[str, Any]], None]) -> list[Any]:
    """The differences between the committed notebook and a copy of it that was changed."""
    other = copy.deepcopy(COMMITTED)
    change(other)
    found: list[Any] = COMPARISON.differences(NAME, COMMITTED, other)
    return found


def outputs(notebook: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield cell["id"], output


def replaced(form: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    """A change of the first text in the outputs, of one form, that holds `old`."""

    def change(notebook: dict[str, Any]) -> None:
        for _, output in outputs(notebook):
            text = "".join(output.get("data", {}).get(form, ""))
            if old in text:
                output["data"][form] = text.replace(old, new, 1)
                return
        raise AssertionError(f"no {form} has {old!r}")

    return change


def test_a_notebook_is_like_itself() -> None:
    assert compared(lambda _: None) == []


@pytest.mark.parametrize("form", ["text/plain", "text/html"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x-ms-sevsnpvm-is-debuggable", "x-ms-sevsnpvm-is-debugable"),
        ("vouches for every claim", "vouches for each claim"),
        ("reported_tcb", "reported_tcp"),
    ],
)
def test_a_changed_claim_name_or_word(form: str, old: str, new: str) -> None:
    (found,) = compared(replaced(form, old, new))
    assert found.notebook == NAME
    assert form in found.where
    common = next(place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    assert old[common:] in found.committed
    assert new[common:] in found.rebuilt
    assert str(found).splitlines() == [
        f"{NAME}, {found.cell}, {found.where}:",
        f"  committed  {found.committed}",
        f"  rebuilt    {found.rebuilt}",
    ]


def test_the_place_is_named_to_the_line() -> None:
    def change(notebook: dict[str, Any]) -> None:
        cell = next(cell for cell in notebook["cells"] if cell["id"] == "cell-02")
        cell["outputs"][0]["text"] = [*cell["outputs"][0]["text"], "and one line more\n"]

    (found,) = compared(change)
    lines = len(next(cell for cell in COMMITTED["cells"] if cell["id"] == "cell-02")["outputs"][0]["text"])
    assert (found.cell, found.where) == ("cell-02", f"stdout, line {lines + 1}")
    assert (found.committed, found.rebuilt) == ("(no such line)", "and one line more")


def test_a_missing_output_and_a_missing_form() -> None:
    def no_output(notebook: dict[str, Any]) -> None:
        next(cell for cell in notebook["cells"] if cell.get("outputs"))["outputs"].clear()

    def no_html(notebook: dict[str, Any]) -> None:
        next(output for _, output in outputs(notebook) if "text/html" in output.get("data", {}))["data"].pop(
            "text/html"
        )

    (found,) = compared(no_output)
    assert (found.where, found.rebuilt) == ("the kinds of its outputs", "none")
    (found,) = compared(no_html)
    assert "text/html" in found.committed
    assert "text/html" not in found.rebuilt


def test_another_source_and_another_number_of_cells() -> None:
    def source(notebook: dict[str, Any]) -> None:
        notebook["cells"][1]["source"] = ["1 + 1"]

    (found,) = compared(source)
    assert found.where == "source, line 1"
    (found,) = compared(lambda notebook: notebook["cells"].pop())
    assert (found.committed, found.rebuilt) == (
        f"{len(COMMITTED['cells'])} cells",
        f"{len(COMMITTED['cells']) - 1} cells",
    )


def test_a_notebook_that_is_not_there(builder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builder, "HERE", tmp_path)
    (found,) = builder.unlike("01_managed_identity", {"cells": []})
    assert (found.where, found.committed, found.rebuilt) == ("its file", "none", "a notebook")


@pytest.mark.parametrize("form", ["text/plain", "text/html"])
@pytest.mark.parametrize(
    "label", ["der_sha256", "EncryptedInnerKey", "wrapped_kek", "sealed-envelope", "release-response", "key-hsm"]
)
def test_what_openssl_draws_may_differ_and_its_name_may_not(form: str, label: str) -> None:
    """Hex after the name is another one: no difference. The name, or a value that is no hex, is one."""
    place = re.compile(
        rf"(\b{label}\b(?! · \d+ bytes · SHA-256 [0-9a-f]{{16}}\w)(?:</?(?!wbr)[^<>]*>|\s| · \d+ bytes · SHA-256 )+)"
        r"((?:[0-9a-f]|<wbr>|\s){16,})"
    )

    def become(value: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
        def change(notebook: dict[str, Any]) -> None:
            done = 0
            for _, output in outputs(notebook):
                if form in output.get("data", {}):
                    text = "".join(output["data"][form])
                    output["data"][form], count = place.subn(lambda m: m[1] + value(m[2]), text)
                    done += count
            assert done, f"no {label} in any {form}"

        return change

    other = str.maketrans("0123456789acdf", "123456789acdf0")  # not b and e: a tag has them
    assert compared(become(lambda digits: digits.translate(other))) == []
    assert compared(become(lambda digits: "none" + digits)) != []
    assert compared(replaced(form, label, label.upper())) != []


def test_the_installed_versions_may_differ_and_their_names_may_not() -> None:
    said = "{'python': '3.11.7', 'skrkit': '0.1.0', 'azure-identity': '1.27.0b1'}"
    newer = "{'python': '3.14.0', 'skrkit': '0.2.0', 'azure-identity': '1.30.2'}"
    assert COMPARISON.masked(said) == COMPARISON.masked(newer)
    assert COMPARISON.masked(said) != COMPARISON.masked(said.replace("azure-identity", "azure-identities"))
    assert COMPARISON.masked(said) != COMPARISON.masked(said.replace("3.11.7", "none"))


def test_every_mask_has_a_reason_and_hides_something_that_is_committed() -> None:
    texts = [
        text
        for path in NOTEBOOKS.glob("*.ipynb")
        for _, output in outputs(json.loads(path.read_text(encoding="utf-8")))
        for _, text in COMPARISON.texts(output)
    ]
    for mask in COMPARISON.MASKS:
        assert mask.name
        assert len(mask.reason) > 20
        assert any(mask.pattern.search(text) for text in texts), f"nothing needs the mask {mask.name!r}"
    hidden = sum(len(match[2]) for text in texts for mask in COMPARISON.MASKS for match in mask.pattern.finditer(text))
    assert hidden < sum(map(len, texts)) / 200  # half a percent: what a reader sees is held to the letter
