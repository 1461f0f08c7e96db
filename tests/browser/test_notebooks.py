"""JupyterLab opens the notebooks, runs them without an error, and the widgets draw and react: light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.jupyter import NOTEBOOKS, REACTION, Lab

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("0[1-7]_*.ipynb"))
# The beginnings of tables that do not end within their output: what stands at their right is out of sight.
TOO_WIDE = """() => [...document.querySelectorAll('.jp-OutputArea-output table')].filter(table => {
  const right = table.closest('.jp-OutputArea-output').getBoundingClientRect().right;
  return table.getBoundingClientRect().right > right + 1;
}).map(table => table.innerText.slice(0, 80))"""
# Whether the times of a token are others than before.
COUNTED = """before => [...document.querySelectorAll('.jp-OutputArea-output .widget-html table')]
  .some(table => table.innerText.includes('valid until') && table.innerText !== before)"""


def test_the_notebooks_are_there() -> None:
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05", "06", "07"]


@pytest.fixture(scope="module", params=NAMES)
def opened(request: pytest.FixtureRequest, lab: Lab) -> Iterator[tuple[str, Any]]:
    """A notebook by name, and a page with it: first as it is committed, then run."""
    page = lab.open(f"{request.param}.ipynb")
    yield request.param, page
    lab.close(page)


def test_an_untrusted_notebook_shows_its_outputs_without_running(lab: Lab, opened: tuple[str, Any]) -> None:
    name, page = opened
    page.wait_for_function("document.querySelectorAll('.jp-OutputArea-output').length > 3")
    shown = page.locator(".jp-OutputArea-output")
    assert page.locator(".jp-OutputArea-output svg, .jp-OutputArea-output script").count() == 0
    for image in page.locator(".jp-OutputArea-output img").all():
        assert image.evaluate("image => image.naturalWidth") > 400
        assert len(image.get_attribute("alt") or "") > 40
    texts = "\n".join(shown.all_inner_texts())
    assert "<IPython" not in texts
    assert " at 0x7" not in texts
    assert page.evaluate(TOO_WIDE) == []
    lab.shoot(page, f"{name}-untrusted")
    assert lab.complaints() == []


def test_run_all_finishes_without_an_error_and_asks_nobody_outside(lab: Lab, opened: tuple[str, Any]) -> None:
    name, page = opened
    lab.run_all(page)
    lab.shoot(page, name)
    assert lab.complaints() == []


def _react(lab: Lab, page: Any, what: str, selector: str, value: str | int, event: str, marker: str) -> None:
    took = page.evaluate(REACTION, [selector, value, event, marker])
    lab.figures[f"{what}, ms"] = round(took, 1)


def test_the_byte_explorer_lights_the_field_that_is_chosen(lab: Lab) -> None:
    page = lab.open("05_inside_the_evidence.ipynb")
    lab.run_all(page)
    field = page.locator(".widget-text input[type=number], .widget-inline-hbox input[type=number]").first
    field.focus()
    before = page.locator(".jp-Notebook :text('bold on yellow')").first.locator("xpath=..").inner_text()
    page.keyboard.press("ArrowUp")
    page.wait_for_function(
        """before => [...document.querySelectorAll('.jp-Notebook p')].filter(
            line => line.textContent.startsWith('bold on yellow'))[0]?.textContent !== before""",
        arg=before,
    )
    assert page.evaluate("document.activeElement.type") == "number"  # the arrow stayed in the widget
    names = page.locator(".widget-select select").first.locator("option").all_inner_texts()
    name = names[5].split()[-1]
    _react(lab, page, "byte explorer", ".widget-select select", 5, "change", f": the bytes of {name}")
    assert page.locator(".widget-select select").first.evaluate("list => list.selectedIndex") == 5
    hex_lines = page.locator(".widget-html pre").first
    drawn, lines = hex_lines.evaluate(
        "it => [it.clientHeight / parseFloat(getComputedStyle(it).lineHeight), it.innerText]"
    )
    assert round(drawn) == len(lines.splitlines())  # no line of hex is broken
    lab.shoot(page, "byte-explorer")
    lab.close(page)


def test_the_policy_workbench_evaluates_each_change(lab: Lab) -> None:
    page = lab.open("06_policy_workbench.ipynb")
    lab.run_all(page)
    area = ".widget-textarea textarea"
    text = page.locator(area).first.input_value()
    assert page.locator(":text('The key would be released')").count() >= 1
    wrong = text.replace("azure-compliant-cvm", "azure-compliant-uvm")
    assert wrong != text
    _react(lab, page, "policy workbench, no", area, wrong, "input", "The key would not be released")
    _react(lab, page, "policy workbench, mistake", area, wrong[:-3], "input", "not a policy")
    lab.shoot(page, "policy-workbench")
    page.locator("button:has-text('As it was')").first.click()
    page.wait_for_function(f"text => document.querySelector('{area}').value === text", arg=text)
    lab.close(page)


def test_the_tamper_panel_names_the_step_that_catches_a_fault(lab: Lab) -> None:
    page = lab.open("07_troubleshooting.ipynb")
    lab.run_all(page)
    assert page.locator(".widget-dropdown select").count() > 0, "notebook 07 shows its tamper panel"
    faults = page.locator(".widget-dropdown select").first.locator("option").all_inner_texts()
    caught = "Caught by hcl.report_data_eq_hash_of_variable_data"
    _react(lab, page, "tamper panel", ".widget-dropdown select", faults.index("runtime-claims"), "change", caught)
    lab.shoot(page, "tamper-panel")
    lab.close(page)


def test_the_token_explorer_counts_down_in_the_page(lab: Lab) -> None:
    page = lab.open("04_key_release.ipynb")
    lab.run_all(page)
    times = page.locator(".jp-OutputArea-output .widget-html table:has-text('valid until')").first
    first = times.inner_text()
    assert re.search(r"valid until\s.*\sin \d+ h \d+ min \d+ s", first)
    page.wait_for_function(COUNTED, arg=first, timeout=5_000)
    lab.shoot(page, "token-explorer")
    lab.close(page)
    assert lab.complaints() == []
