"""A token, claim by claim: what each means, which evidence it comes from, when it ends, and who vouches for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from skrkit.errors import UsageError
from skrkit.lab.clock import moment as moment_of
from skrkit.lab.countdown import count_down
from skrkit.lab.display import SHOWN_CHARACTERS, SHOWN_ROWS, Display, text_of
from skrkit.render.claims import NOT_RECOGNISED, claim_notes
from skrkit.render.html import box, code, details, heading, live, table, text, verdict
from skrkit.render.view import View, scalar, shortened, view_of
from skrkit.token.decode import UnverifiedToken, decode_jwt
from skrkit.token.verify import VerifiedToken
from skrkit.wire import Json

_TIMES = {"iat": "issued", "nbf": "valid from", "exp": "valid until"}


def explore_token(token: VerifiedToken | UnverifiedToken | str | bytes, *, now: datetime | None = None) -> Display:
    """Return a display of a JWT: signature state, times, header, and its claims as a tree, each with its meaning.

    `now` (aware) is what times are counted from; the clock of this kernel's world when None. In a live notebook the
    times count on, each second; what stands still says from when it is. Text is decoded, and not verified.
    Raises `ParseError` for text that is no JWT, `UsageError` for what is no token. The token itself never shows.
    """
    if isinstance(token, str | bytes):
        token = decode_jwt(token)
    if not isinstance(token, VerifiedToken | UnverifiedToken):
        raise UsageError(
            what="token to explore",
            where="lab.explore_token()",
            expected="a JWT as text, or a decoded or verified token",
            found=type(token).__name__,
            fix="lab.explore_token(world.attested.token)",
        )
    moment = moment_of(now)
    notes = claim_notes(token.fields())
    meaning: Callable[[str], str] = lambda path: notes.get(f"claims.{path}", "")  # noqa: E731 - a name for the closure
    top = heading(token.title, (f"{len(token.claims)} claims", f"{len(token.raw)} characters"))
    top += f"<p>Signature: {_state(token)}</p>"
    rest = details("Header", _tree(dict(token.header), "", lambda _path: ""))
    rest += details("Claims", _tree(token.claims, "", meaning), is_open=True)
    view = shortened(view_of(token), rows=SHOWN_ROWS, characters=SHOWN_CHARACTERS)
    words = View(heading=view.heading, facts=view.facts, blocks=(*_time_lines(token.claims, moment), *view.blocks))
    still = box(top + _times(token.claims, moment) + rest)
    return Display(text_of(words), still, lambda: _widget(top, token.claims, now, rest))


def _widget(top: str, claims: Mapping[str, Json], now: datetime | None, rest: str) -> Any:
    """Return the same view as a widget, whose times count on from `now`, or with the clock of this kernel's world."""
    import ipywidgets as widgets

    ahead = None if now is None else now - datetime.now(UTC)

    def draw() -> str:
        seen = moment_of() if ahead is None else datetime.now(UTC) + ahead
        return live(_times(claims, seen, to_the_second=True))

    times = widgets.HTML(value=draw())
    if _moments(claims, moment_of(now)):
        count_down(times, draw)
    return widgets.VBox([widgets.HTML(value=live(top)), times, widgets.HTML(value=live(rest))])


def _state(token: VerifiedToken | UnverifiedToken) -> str:
    if isinstance(token, VerifiedToken):
        said = f"by key {token.key_id} of {token.issuer}, at {token.verified_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{verdict('ok', '✓ verified')} {text(said)}"
    return f"{verdict('not-checked')} Anybody could have written these claims. verify_token() makes trust of them."


def _moments(
    claims: Mapping[str, Json], now: datetime, *, to_the_second: bool = False
) -> list[tuple[str, str, str, str]]:
    found = []
    for name, words in _TIMES.items():
        value = claims.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 33:
            at = datetime.fromtimestamp(value, UTC)
            far = distance((at - now).total_seconds(), to_the_second=to_the_second)
            found.append((name, words, f"{at:%Y-%m-%d %H:%M:%S} UTC", far))
    return found


def distance(seconds: float, *, to_the_second: bool = False) -> str:
    """Return how far away a time is: "in 7 h 59 min", "12 s ago"; in its two largest units, or down to the second."""
    whole = int(abs(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = parts[first:] if to_the_second else parts[first : first + 2]
    said = " ".join(f"{count} {unit}" for count, unit in shown)
    return f"in {said}" if seconds > 0 else f"{said} ago"


def _times(claims: Mapping[str, Json], now: datetime, *, to_the_second: bool = False) -> str:
    rows = [
        (code(name), text(words), text(at), f"<strong>{text(far)}</strong>")
        for name, words, at, far in _moments(claims, now, to_the_second=to_the_second)
    ]
    return table(("claim", "", "time", f"seen from {now:%H:%M:%S} UTC"), rows) if rows else ""


def _time_lines(claims: Mapping[str, Json], now: datetime) -> tuple[str, ...]:
    return tuple(f"{words} {at}, {far}" for _, words, at, far in _moments(claims, now))


def _tree(value: dict[str, Json] | list[Json], path: str, meaning: Callable[[str], str]) -> str:
    members = value.items() if isinstance(value, dict) else ((f"[{place}]", item) for place, item in enumerate(value))
    items = []
    for name, member in members:
        at = f"{path}.{name}" if path else name
        note = meaning(at)
        said = f"<br><small>{text(note)}</small>" if note and note != NOT_RECOGNISED else ""
        said = "<br><small>– not a claim that skrkit knows</small>" if note == NOT_RECOGNISED else said
        if isinstance(member, dict | list) and member:
            count = f"{len(member)} {'members' if isinstance(member, dict) else 'items'}"
            inner = said.removeprefix("<br>") + _tree(member, at, meaning)
            items.append(f"<li>{details(f'{name}: {count}', inner)}</li>")
        else:
            items.append(f"<li>{code(name)}: <strong>{code(_short(scalar(member)))}</strong>{said}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _short(value: str) -> str:
    return value if len(value) <= 200 else f"{value[:160]}… ({len(value)} characters)"
