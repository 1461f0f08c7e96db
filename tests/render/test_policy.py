"""The views of the policy tools: the same in terminal and notebook, and many findings of one kind as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skrkit.lab.display import show
from skrkit.policy.diff import diff_policies
from skrkit.policy.lint import lint_policy
from skrkit.policy.parse import parse_policy
from skrkit.policy.repair import repairs
from skrkit.policy.suggest import suggest_policies
from skrkit.policy.templates import cvm_policy, data_disk_policy
from skrkit.render.html import html_of
from skrkit.render.layout import lines_of
from skrkit.render.policy import (
    view_of_findings,
    view_of_meaning,
    view_of_policy_answer,
    view_of_repairs,
)
from skrkit.render.view import View
from skrkit.token.decode import decode_jwt
from tests.render.test_html import Checked

WEU = "https://sharedweu.weu.attest.azure.net"
GUEST, PLATFORM = cvm_policy(WEU), cvm_policy(WEU, guest=False)


@pytest.fixture
def claims(captures: Path) -> dict[str, Any]:
    return decode_jwt((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_bytes()).claims


def page(view: View, width: int = 80) -> str:
    lines = ["".join(text for _, text in line) for line in lines_of(view, width)]
    assert all(len(line) <= width for line in lines)
    return "\n".join(lines)


def test_each_answer_has_one_view_for_terminal_and_notebook(claims: dict[str, Any]) -> None:
    answers: dict[str, object] = {
        "Policy lint: 0 errors, 1 warning, 2 notes": lint_policy(PLATFORM),
        "Policies for this token, each stricter": suggest_policies(claims),
        "Smallest changes that would make it hold": repairs(PLATFORM, claims),
        "Policies compared: stricter": diff_policies(GUEST, suggest_policies(claims)[2].policy),
    }
    for heading, answer in answers.items():
        view = view_of_policy_answer(answer)
        assert view is not None
        assert page(view).startswith(heading)
        assert heading in Checked(html_of(view)).words
        assert heading in Checked(show(answer)._repr_html_()).words
    (repair,) = repairs(PLATFORM, claims)
    assert view_of_policy_answer(repair) == view_of_repairs((repair,))


def test_what_is_no_answer_has_no_view() -> None:
    for thing in ((), None, "text", (1, 2), (*lint_policy(PLATFORM), 1), GUEST):
        assert view_of_policy_answer(thing) is None


def test_many_findings_of_one_kind_are_one_and_counted() -> None:
    clause = PLATFORM.root[0].document()
    clauses = [
        {**clause, "authority": f"https://shared{x}.{x}.attest.azure.net/"} for x in ("weu", "neu", "eus", "uks")
    ]
    text = page(view_of_findings(lint_policy(parse_policy(json.dumps({"version": "1.0.0", "anyOf": clauses})))))
    assert text.startswith("Policy lint: 0 errors, 4 warnings, 12 notes")
    assert text.count("clause.platform") == 1
    assert "/anyOf/0, and 3 more like it" in text


def test_no_finding_is_said() -> None:
    assert page(view_of_findings(())).endswith("Nothing to say.")
    assert "No small change" in page(view_of_repairs(()))


def test_a_policys_meaning_has_its_groups_and_each_claims_meaning() -> None:
    text = page(view_of_meaning(data_disk_policy(WEU)))
    assert f"For tokens of {WEU}" in text
    assert "allOf" in text
    assert "one of" in text
    assert "equals tdxvm" in text
    clause = PLATFORM.root[0].document()
    same = json.dumps(
        {"version": "1.0.0", "anyOf": [{**clause, "authority": f"https://a{n}.example"} for n in range(9)]}
    )
    assert "https://a2.example, and of 6 more" in " ".join(page(view_of_meaning(parse_policy(same))).split())
