"""The policy workbench: edit a release policy; see it parsed, remarked on, encoded, and held against a token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from skrkit.errors import PolicyError, SkrkitError, UsageError
from skrkit.lab.chooser import chooser
from skrkit.lab.display import Display, text_of
from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint import lint_policy
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import encode_policy, parse_policy
from skrkit.render.decision import decision_html, view_of_decision
from skrkit.render.html import box, code, details, heading, live, preformatted, table, text, verdict
from skrkit.render.view import View, view_of_error
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.token.verify import VerifiedToken

Claims: TypeAlias = "VerifiedToken | Mapping[str, Json]"


def policy_workbench(
    policy: ReleasePolicy | str | Mapping[str, Json],
    token: Claims,
    *,
    others: Mapping[str, Claims] | None = None,
) -> Display:
    """Return a workbench: the policy, its encoded form, and the decision over a token, clause by clause.

    In a live notebook the policy is a text to edit and each change is evaluated at once; `others` are further tokens
    to choose from, by name. Claims in a mapping are taken as they are. Raises `UsageError` for what is no policy.
    """
    source = _source(policy)
    tokens: dict[str, Claims] = {"this token": token, **(others or {})}
    evaluated = assess_html(source, token)
    static = box(heading("Policy workbench") + preformatted(source) + evaluated)
    return Display(assess_text(source, token), static, lambda: _workbench(source, tokens))


def _source(policy: ReleasePolicy | str | Mapping[str, Json]) -> str:
    if isinstance(policy, ReleasePolicy):
        return json.dumps(policy.fields(), indent=2, ensure_ascii=False)
    if isinstance(policy, str):
        return policy
    if isinstance(policy, Mapping):
        return json.dumps(policy, indent=2, ensure_ascii=False)
    raise UsageError(
        what="policy",
        where="lab.policy_workbench()",
        expected="a parsed policy, or its JSON",
        found=type(policy).__name__,
        fix="lab.policy_workbench(world.keys[0].policy, world.attested.token)",
    )


def _workbench(source: str, tokens: Mapping[str, Claims]) -> Any:
    import ipywidgets as widgets

    names, claims = list(tokens), list(tokens.values())
    at = [0]  # the place of the token that is chosen
    area = widgets.Textarea(
        value=source,
        description="Policy",
        layout=widgets.Layout(width="98%", height="260px"),
        style={"description_width": "52px"},
    )
    back = widgets.Button(description="As it was", tooltip="Put the first text of the policy back")
    shown = widgets.HTML(value=live(assess_html(source, claims[0])), layout=widgets.Layout(width="98%"))

    def again(_change: object = None) -> None:
        shown.value = live(assess_html(area.value, claims[at[0]]))

    def choose(place: int) -> None:
        at[0] = place
        again()

    def restore(_button: object) -> None:
        area.value = source

    area.observe(again, names="value")
    back.on_click(restore)
    choice = [chooser(names, "Token", choose)] if len(names) > 1 else []
    title = widgets.HTML(value=live(heading("Policy workbench")))
    return widgets.VBox([title, area, widgets.HBox([back, *choice]), shown])


def assess_html(source: str, token: Claims) -> str:
    """Return what there is to say of a policy's text: the mistake with its pointer, or remarks, encoding, decision."""
    try:
        policy = parse_policy(source)
        decision = evaluate(policy, token)
    except SkrkitError as error:
        return _mistake(error)
    answer = verdict("ok", "✓ yes") if decision.holds else verdict("failed", "✗ no")
    said = "The key would be released." if decision.holds else "The key would not be released."
    said_of_it = remarks(policy)
    listed = "<ul>" + "".join(f"<li>{text(remark)}</li>" for remark in said_of_it) + "</ul>" if said_of_it else "none"
    encoded = encode_policy(policy)
    return (
        f"<p>Policy: {verdict('ok', '✓ parsed')} Decision: {answer} {said}</p>"
        + decision_html(decision.to_json())
        + f"<p>Remarks: {listed}</p>"
        + details(f"Encoded, as release_policy.data: {len(encoded)} characters", preformatted(encoded))
    )


def assess_text(source: str, token: Claims) -> str:
    """Return the same as plain text."""
    try:
        policy = parse_policy(source)
        decision = evaluate(policy, token)
    except SkrkitError as error:
        return text_of(view_of_error(error))
    view = view_of_decision(decision.to_json())
    said_of_it = tuple(f"Remark: {remark}" for remark in remarks(policy))
    encoded = f"Encoded: {encode_policy(policy)}"
    return text_of(View(heading=view.heading, facts=view.facts, blocks=(*view.blocks, *said_of_it, encoded)))


def _mistake(error: SkrkitError) -> str:
    rows = [("where", code(error.where)), ("expected", text(error.expected)), ("found", text(error.found))]
    rows += [("fix", text(error.fix))]
    word = "✗ not a policy" if isinstance(error, PolicyError) else "✗ not evaluated"
    return f"<p>Policy: {verdict('failed', word)} {text(error.what)}</p>" + table((), rows)


def remarks(policy: ReleasePolicy) -> list[str]:
    """Return what lint says of a policy that parses, a sentence or two each: its weight, the place, what, why, fix."""
    return [
        f"{finding.severity.value}, at {finding.pointer or 'the whole'}: {finding.what}. {finding.why} {finding.fix}"
        for finding in lint_policy(policy)
    ]
