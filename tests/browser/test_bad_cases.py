"""What a room does: two browsers on one sandbox, a page without the widgets' manager, a sandbox that has ended."""

from __future__ import annotations

import re
from typing import Any

from tests.browser.jupyter import ERRORS, Lab

MANAGER = "**/@jupyter-widgets/**"
WRITTEN = "() => document.querySelectorAll('.jp-OutputArea-output').length"


def test_two_browsers_run_two_notebooks_on_one_sandbox_at_once(lab: Lab) -> None:
    pages = [lab.open("02_access_policy.ipynb"), lab.open("03_exportable_key.ipynb")]
    for page in pages:
        lab.begin_all(page)
    for page in pages:
        lab.end_all(page)  # no cell has failed in either
    for page in pages:
        _run_cell(page, 'world = lab.ensure(step=3); print("SEEN", world.cloud.tenant, world.keys[0].version)')
    seen = {page.locator("pre:has-text('SEEN')").first.inner_text().partition("SEEN")[2].strip() for page in pages}
    assert len(seen) == 1  # one sandbox, and neither browser's key went the way of the other's
    assert re.fullmatch(r"[0-9a-f-]{36} [0-9a-f]{32}", seen.pop())
    lab.close(*pages)
    assert lab.complaints() == []


def test_two_browsers_on_one_notebook_share_its_kernel_and_both_finish(lab: Lab) -> None:
    pages = [lab.open("01_managed_identity.ipynb"), lab.open("01_managed_identity.ipynb")]
    for page in pages:
        lab.begin_all(page)
    for page in pages:
        lab.end_all(page)
        assert page.evaluate(WRITTEN) > 10
    lab.close(*pages)


def test_without_the_widgets_manager_the_views_stand_still_and_say_all(lab: Lab) -> None:
    page = lab.open("06_policy_workbench.ipynb", without=MANAGER)
    lab.run_all(page)
    assert page.locator(".jupyter-widgets").count() == 0
    workbench = page.locator(".jp-OutputArea-output:has-text('Policy workbench')").first
    for said in ("azure-compliant-cvm", "The key would be released.", "Remarks:"):
        assert said in workbench.inner_text()
    assert "model_id" not in page.locator(".jp-Notebook").inner_text()
    lab.shoot(page, "policy-workbench-without-manager")
    lab.close(page)
    lab.complaints()  # that the manager was not found is what the browser says of it, too


def test_a_sandbox_that_ends_under_a_notebook_is_one_message_with_the_fix(lab: Lab) -> None:
    page = lab.open("01_managed_identity.ipynb")
    lab.run_all(page)
    lab.end_sandbox()
    _run_cell(page, 'keys.get_key("absent")')
    page.wait_for_selector(ERRORS)
    said = page.locator(ERRORS).inner_text()
    assert "error: sandbox at the address that this cell asked" in said
    assert "Run lab.start(), then this cell again." in said
    assert "Traceback" not in said
    lab.close(page)


def _run_cell(page: Any, code: str) -> None:
    """Write a cell at the end of the notebook, and run it."""
    page.evaluate(
        """async code => {
          const panel = window.jupyterapp.shell.currentWidget, notebook = panel.content;
          notebook.activeCellIndex = notebook.widgets.length - 1;
          await window.jupyterapp.commands.execute('notebook:insert-cell-below');
          notebook.activeCell.model.sharedModel.setSource(code);
          await window.jupyterapp.commands.execute('notebook:run-cell');
        }""",
        code,
    )
