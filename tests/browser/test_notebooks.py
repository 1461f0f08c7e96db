"""JupyterLab opens the notebooks, runs them without an error, and the widgets draw and react: light and dark."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.jupyter import NOTEBOOKS, REACTION, THEMES, Lab

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


def test_the_lab_is_usable(lab: Lab) -> None:
    page = lab.open("00_start_here.ipynb")
    lab.wait_for_kernel(page)
    lab.figures["start to usable page, s"] = round(time.monotonic() - lab.began, 1)
    lab.close(page)


@dataclass
class Opened:
    """A notebook, and the one page that its tests share: first as it is committed, then run."""

    name: str
    page: Any
    has_run: bool = False


@pytest.fixture(scope="module")
def attendee(lab: Lab) -> Iterator[Any]:
    """The browser of one who opens the notebooks one after the other, and keeps what JupyterLab's pages consist of."""
    context = lab.browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context
    context.close()


@pytest.fixture(scope="module", params=NAMES)
def opened(request: pytest.FixtureRequest, lab: Lab, attendee: Any) -> Iterator[Opened]:
    """Each notebook in turn."""
    made = Opened(request.param, lab.open(f"{request.param}.ipynb", within=attendee))
    yield made
    lab.close(made.page)
    lab.keep_figures()


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest, lab: Lab, opened: Opened) -> str:
    """The theme that the page now wears."""
    lab.dress(opened.page, request.param)
    return lab.theme


@pytest.fixture
def ran(lab: Lab, opened: Opened, theme: str) -> Any:
    """The page of a notebook, which has run."""
    if not opened.has_run:
        lab.run_all(opened.page)
    opened.has_run = True
    return opened.page


@pytest.mark.usefixtures("theme")
def test_an_untrusted_notebook_shows_its_outputs_without_running(lab: Lab, opened: Opened) -> None:
    page = opened.page
    assert not opened.has_run
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
    lab.shoot(page, f"{opened.name}-untrusted")
    assert lab.complaints() == []


@pytest.mark.usefixtures("theme")
def test_run_all_finishes_without_an_error_and_asks_nobody_outside(lab: Lab, opened: Opened) -> None:
    """In the second theme it runs once more, in the same kernel."""
    lab.run_all(opened.page)
    opened.has_run = True
    lab.shoot(opened.page, opened.name)
    assert lab.complaints() == []


def its_own(name: str) -> pytest.MarkDecorator:
    """A test of what only one notebook has."""
    return pytest.mark.parametrize("opened", [name], indirect=True)


def _react(lab: Lab, page: Any, what: str, selector: str, value: str | int, event: str, marker: str) -> None:
    took = page.evaluate(REACTION, [selector, value, event, marker])
    lab.figures[f"{what}, {lab.theme.split()[-1].lower()}, ms"] = round(took, 1)


@its_own("05_inside_the_evidence")
def test_the_byte_explorer_lights_the_field_that_is_chosen(lab: Lab, ran: Any) -> None:
    page = ran
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


@its_own("06_policy_workbench")
def test_the_policy_workbench_evaluates_each_change(lab: Lab, ran: Any) -> None:
    page = ran
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


@its_own("07_troubleshooting")
def test_the_tamper_panel_names_the_step_that_catches_a_fault(lab: Lab, ran: Any) -> None:
    page = ran
    assert page.locator(".widget-dropdown select").count() > 0, "notebook 07 shows its tamper panel"
    faults = page.locator(".widget-dropdown select").first.locator("option").all_inner_texts()
    caught = {"measurement": "report.signature", "runtime-claims": "hcl.report_data_eq_hash_of_variable_data"}
    for fault, step in caught.items():
        place = faults.index(fault)
        _react(lab, page, "tamper panel", ".widget-dropdown select", place, "change", f"Caught by {step}")
    lab.shoot(page, "tamper-panel")


@its_own("04_key_release")
def test_the_token_explorer_counts_down_in_the_page(lab: Lab, ran: Any) -> None:
    page = ran
    times = page.locator(".jp-OutputArea-output .widget-html table:has-text('valid until')").first
    first = times.inner_text()
    assert re.search(r"valid until\s.*\sin \d+ h \d+ min \d+ s", first)
    page.wait_for_function(COUNTED, arg=first, timeout=5_000)
    lab.shoot(page, "token-explorer")
    assert lab.complaints() == []
