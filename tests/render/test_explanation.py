"""The view of an explanation: the cause first, what is not sure called so, and a stranger's text made harmless."""

from __future__ import annotations

import io
from dataclasses import replace

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.catalogue import catalogue, cause_named
from skrkit.diagnosis.explain import explain
from skrkit.render.explanation import view_of_catalogue, view_of_cause, view_of_explanation
from skrkit.render.html import html_of
from skrkit.render.plain import write
from skrkit.render.view import View


def text_of(view: View, width: int = 100) -> str:
    stream = io.StringIO()
    write(view, stream, width=width, colour=False)
    return stream.getvalue()


def case_of(message: str, inner: str = "") -> Case:
    body = {"error": {"code": "Forbidden", "message": message, "innererror": {"code": inner}}}
    exchange = Exchange(service="vault", method="POST", url="https://v.vault.azure.net/keys/k/release", status=403)
    return Case(exchanges=(Exchange(**{**_members(exchange), "response_body": body}),))  # type: ignore[arg-type]


def _members(exchange: Exchange) -> dict[str, object]:
    return {name: getattr(exchange, name) for name in exchange.__dataclass_fields__}


def test_the_cause_stands_first_with_its_fix() -> None:
    lines = text_of(
        view_of_explanation(explain(case_of("Operation release is not allowed on a disabled key.")))
    ).splitlines()
    assert lines[0] == "Why the release failed: The key is disabled"
    assert lines[2] == "key.disabled · likely"
    assert any(line.startswith("fix ") and "Enable the version" in line for line in lines)


def test_what_is_only_possible_is_not_called_the_cause() -> None:
    refused = "Target environment attestation statement cannot be verified."
    text = text_of(view_of_explanation(explain(case_of(refused))))
    assert text.startswith("Why the release failed: one of several, not known which")
    assert "It would look the same if" in text


def test_nothing_known_and_nothing_refused() -> None:
    assert text_of(view_of_explanation(explain(case_of("?")))).startswith("Why the release failed: not known")
    assert text_of(view_of_explanation(explain(Case()))).startswith("Why the release failed: it did not")


def test_a_strangers_text_draws_nothing() -> None:
    view = view_of_explanation(explain(case_of("\x1b[2J on a disabled key.<script>alert(1)</script>", "KeyDisabled")))
    assert "\x1b" not in text_of(view)
    assert "<script>" not in html_of(view)


def test_the_catalogue_and_one_of_it() -> None:
    causes = tuple(catalogue())
    text = text_of(view_of_catalogue(causes))
    assert all(cause.id in text for cause in causes)
    one = text_of(view_of_cause(cause_named("key.disabled")))
    assert "skrkit sandbox fault --off key.disabled" in one
    assert "{vault}" in one


def test_what_would_be_refused_next_is_not_told_as_what_was_refused() -> None:
    """The vault's words fit several causes; that the token at hand is none is proved, and not what the vault said."""
    case = replace(case_of("Target environment attestation does not meet key release policy requirements."), token=b"x")
    explanation = explain(case)
    assert explanation.findings[0].certainty == "possible"
    shown = text_of(view_of_explanation(explanation))
    assert shown.startswith("Why the release failed: one of several, not known which")
    assert "Also: What was sent is no token" in shown
