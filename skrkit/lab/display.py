"""What a notebook shows: text, HTML that stands still, and a widget where there is somebody to touch it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skrkit.artefact import Artefact
from skrkit.errors import SkrkitError, UsageError
from skrkit.render.html import html_of
from skrkit.render.layout import lines_of
from skrkit.render.view import Block, Rows, View, shortened
from skrkit.wire import Described, Json

TEXT_WIDTH = 100
SHOWN_ROWS = 96  # of one block: an SNP report is whole, an event log is its first events
SHOWN_CHARACTERS = 256  # of one value
HIDDEN = "(a secret: not shown)"
_SECRET_MEMBERS = frozenset({"access_token", "refresh_token", "client_secret", "password"})
_PRIVATE_JWK = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})
_JWT = re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*")
_PRIVATE_PEM = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")


class Display:
    """One thing to see. `repr` is text; a notebook takes the HTML, and the widget where a kernel and its manager run.

    `widget` makes the widget when it is first shown; without ipywidgets the HTML stands alone.
    """

    def __init__(self, text: str, html: str, widget: Callable[[], Any] | None = None) -> None:
        self._text = text
        self._html = html
        self._make = widget
        self._widget: Any = None

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return text, HTML and, where it can be made, the widget's view: the front end takes the best it can draw."""
        bundle: dict[str, Any] = {"text/plain": self._text, "text/html": self._html}
        widget = self.widget
        if widget is not None:
            made = widget._repr_mimebundle_(include=include, exclude=exclude)
            data = made[0] if isinstance(made, tuple) else made
            bundle.update({kind: value for kind, value in (data or {}).items() if kind not in bundle})
        return bundle

    @property
    def widget(self) -> Any:
        """The widget, made on the first call; None where there is none or ipywidgets is not installed."""
        if self._widget is None and self._make is not None:
            try:
                import ipywidgets  # noqa: F401 - whether it is there
            except ImportError:
                return None
            self._widget = self._make()
        return self._widget


def view_display(view: View, widget: Callable[[], Any] | None = None) -> Display:
    """Return a view as a display: its lines as text, its blocks as HTML."""
    return Display(text_of(view), html_of(view), widget)


def text_of(view: View) -> str:
    """Return a view as plain text, 100 columns wide."""
    out = io.StringIO()
    for line in lines_of(view, TEXT_WIDTH):
        out.write("".join(part for _, part in line).rstrip() + "\n")
    return out.getvalue().rstrip("\n")


def show(thing: object, *, full: bool = False) -> Display:
    """Return a display of an artefact, a parsed model, a verification, a decision, an error, JSON, or bytes.

    What is long is cut to its first rows, and it is said how many more there are; `full` shows all of it.
    Secrets do not show: bearer tokens and private members of a JWK are left out by name, and a private key is refused.
    Raises `UsageError` for anything else, a `ReleasedKey` among it.
    """
    view = _view_of(thing)
    if not full:
        keep = thing.points_at if isinstance(thing, Artefact) else ()
        view = shortened(view, rows=SHOWN_ROWS, characters=SHOWN_CHARACTERS, keep=keep)
    return view_display(_without_secret_text(view))


def _without_secret_text(view: View) -> View:
    """Return the view with every token and private key in its values left out, whatever model they came from."""
    blocks: list[Block] = []
    for block in view.blocks:
        if isinstance(block, Rows):
            blocks.append(Rows(tuple(row._replace(value=_safe(row.value)) for row in block.rows), block.title))
        elif isinstance(block, View):
            blocks.append(_without_secret_text(block))
        else:
            blocks.append(_safe(block) if isinstance(block, str) else block)
    return View(heading=_safe(view.heading), facts=view.facts, blocks=tuple(blocks))


def _safe(text: str) -> str:
    if _PRIVATE_PEM.search(text):
        return HIDDEN
    return _JWT.sub(lambda found: f"(a token of {len(found[0])} characters: not shown)", text)


def _view_of(thing: object) -> View:
    from skrkit.render import view

    if isinstance(thing, View):
        return thing
    if isinstance(thing, Artefact):
        return _view_of_artefact(thing)
    answer = _view_of_answer(thing)
    if answer is not None:
        return answer
    if isinstance(thing, bytes | bytearray | memoryview):
        return _view_of_bytes(bytes(thing))
    if isinstance(thing, Described):
        return _view_of_described(thing)
    if thing is None or isinstance(thing, Mapping | str | int | float) or _is_list(thing):
        return view.view_of_json(_title(thing), without_secrets(thing))
    raise UsageError(
        what="thing to show",
        where="lab.show()",
        expected="an artefact, a parsed model, a result, a decision, an error, JSON or bytes",
        found=type(thing).__name__,
        fix="Show its fields: lab.show(thing.fields()). Secrets, as a released key is, are never shown.",
    )


def _view_of_answer(thing: object) -> View | None:
    """Return the view of what a verification, a policy or a failure says, or None for any other thing."""
    from skrkit.attestation.result import AttestationResult
    from skrkit.policy.evaluate import Decision
    from skrkit.render.decision import decision_in, view_of_decision
    from skrkit.render.policy import view_of_policy_answer
    from skrkit.render.view import view_of_error, view_of_result

    if isinstance(thing, AttestationResult):
        return view_of_result(thing)
    if isinstance(thing, SkrkitError):
        return view_of_error(thing)
    decision = thing.to_json() if isinstance(thing, Decision) else decision_in(thing)
    return view_of_policy_answer(thing) if decision is None else view_of_decision(decision)


def _view_of_described(described: Described) -> View:
    from skrkit.render.comparison import view_of_comparison
    from skrkit.render.view import view_of
    from skrkit.token.comparison import ClaimComparison

    return view_of_comparison(described) if isinstance(described, ClaimComparison) else view_of(described)


def _view_of_artefact(artefact: Artefact) -> View:
    from dataclasses import replace

    from skrkit.render.decision import decision_in, view_of_decision
    from skrkit.render.view import view_of_artefact

    if isinstance(artefact.body, Described):
        return view_of_artefact(artefact)
    decision = decision_in(artefact.body)
    if decision is None:
        return view_of_artefact(replace(artefact, body=without_secrets(artefact.body)))
    shown = view_of_decision(decision)
    proves, following = f"Proves: {artefact.proves}", f"Next: {artefact.next}"
    return View(heading=artefact.title, facts=(shown.heading, *shown.facts), blocks=(proves, *shown.blocks, following))


def _is_list(thing: object) -> bool:
    return isinstance(thing, Sequence | set | frozenset)


def _title(thing: object) -> str:
    if isinstance(thing, Mapping):
        return f"Object, {len(thing)} member{'' if len(thing) == 1 else 's'}"
    if isinstance(thing, str | int | float) or thing is None:
        return "Value"
    return f"List, {len(thing)} item{'' if len(thing) == 1 else 's'}"  # type: ignore[arg-type] # a collection by now


def without_secrets(value: object) -> Json:
    """Return a value as JSON to be shown: bytes as hex, bearer tokens and private members of a JWK left out."""
    if isinstance(value, Mapping):
        private = _PRIVATE_JWK if "kty" in value else frozenset()
        return {
            str(name): HIDDEN if str(name).lower() in _SECRET_MEMBERS or name in private else without_secrets(member)
            for name, member in value.items()
        }
    if isinstance(value, str):
        return _safe(value)
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, bytes | bytearray):
        return HIDDEN if b"PRIVATE KEY-----" in value else bytes(value).hex()
    if isinstance(value, Described):
        return without_secrets(value.fields())
    if isinstance(value, Sequence | set | frozenset):
        return [without_secrets(item) for item in value]
    return repr(value)


def _view_of_bytes(data: bytes) -> View:
    import hashlib

    from skrkit.render.view import Bytes

    if _PRIVATE_PEM.search(data[:4096].decode("latin-1")):
        return View(heading="Bytes", facts=(f"{len(data)} bytes",), blocks=(HIDDEN,))
    digest = hashlib.sha256(data).hexdigest()[:16]
    shown = Bytes(data=data, spans=()) if data else "(no bytes)"
    return View(heading="Bytes", facts=(f"{len(data)} bytes", f"SHA-256 {digest}"), blocks=(shown,))
