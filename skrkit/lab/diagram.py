"""The sequence diagram of the four steps: six parties, the messages between them, the current step lit.

It is an SVG in a data URI, so that it draws in an untrusted notebook too, and follows light and dark by itself. The
`alt` text says every message in words.
"""

from __future__ import annotations

import base64
from typing import NamedTuple
from xml.sax.saxutils import escape

from skrkit.artefact import STEP_TITLES
from skrkit.errors import UsageError
from skrkit.lab.display import Display
from skrkit.render.html import text

PARTIES = ("VM", "IMDS", "Entra ID", "MAA", "Key Vault", "AMD")
_COLUMN, _LEFT, _TOP, _ROW, _BAND = 158, 90, 58, 34, 30
_WIDTH = _LEFT * 2 + _COLUMN * (len(PARTIES) - 1)
_STYLE = (
    "text{font:13px sans-serif;fill:#1b1b1b}.b{font-weight:bold}.l{stroke:#707070}.m{stroke:#1b1b1b;fill:none}"
    ".h{fill:#1b1b1b}.g{fill:#e4eefc;stroke:#2f6fbd}.q{fill:none;stroke:#8a8a8a}.p{fill:#ffffff;stroke:#707070}"
    "text.d,.d text{fill:#6b6b6b}.d .m{stroke:#8a8a8a}.d .h{fill:#8a8a8a}"
    ".n{fill:#ffffff;stroke:none}.k{fill:#e4eefc;stroke:none}"
    "@media (prefers-color-scheme:dark){text{fill:#e8e8e8}.l{stroke:#9a9a9a}.m{stroke:#e8e8e8}.h{fill:#e8e8e8}"
    ".g{fill:#17304f;stroke:#6aa5e8}.q{stroke:#808080}.p{fill:#1b1b1b;stroke:#9a9a9a}"
    ".n{fill:#111111}.k{fill:#17304f}text.d,.d text{fill:#9a9a9a}.d .m{stroke:#7a7a7a}.d .h{fill:#7a7a7a}}"
)


class Message(NamedTuple):
    """One message. Without `to` it is what a party does by itself, or what the operator does to it."""

    step: int
    sender: str
    to: str
    words: str


MESSAGES = (
    Message(1, "VM", "", "operator: turn the identity on"),
    Message(1, "VM", "IMDS", "token for Key Vault, please"),
    Message(1, "IMDS", "Entra ID", "as the VM's identity"),
    Message(1, "Entra ID", "VM", "access token"),
    Message(2, "Key Vault", "", "operator: allow this identity: release"),
    Message(3, "Key Vault", "", "operator: new key, exportable, with policy"),
    Message(4, "AMD", "IMDS", "certificate of the chip (VCEK), its chain"),
    Message(4, "IMDS", "VM", "VCEK and chain"),
    Message(4, "VM", "", "read HCL report; quote; ephemeral key"),
    Message(4, "VM", "MAA", "evidence and nonce"),
    Message(4, "MAA", "", "verify, up to AMD's root"),
    Message(4, "MAA", "VM", "attestation token, sealed to the vTPM"),
    Message(4, "VM", "Key Vault", "release: access token and attestation token"),
    Message(4, "Key Vault", "", "token signed by MAA? policy: yes"),
    Message(4, "Key Vault", "VM", "key, wrapped for the vTPM, in a signed answer"),
    Message(4, "VM", "", "the vTPM unwraps it; proof"),
)


def sequence(step: int = 0) -> Display:
    """Return the diagram with one step lit, 1 to 4; 0 lights none. Raises `UsageError` for another step."""
    if step not in range(5) or isinstance(step, bool):
        raise UsageError(
            what="lab.sequence", where="step", expected="0, 1, 2, 3 or 4", found=repr(step), fix="lab.sequence(step=1)"
        )
    words = in_words(step)
    data = base64.b64encode(svg(step).encode("utf-8")).decode("ascii")
    alt = text(words.replace("\n", " "))
    title = f"Step {step}: {STEP_TITLES[step]}" if step else "The four steps"
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{alt}" title="{text(title)}" width="{_WIDTH}">'
    return Display(words, image)


def in_words(step: int) -> str:
    """Return the messages as sentences, those of the step alone when there is one."""
    lines = [f"Parties: {', '.join(PARTIES)}."]
    for number in (step,) if step else (1, 2, 3, 4):
        lines.append(f"Step {number}: {STEP_TITLES[number]}.")
        lines += [f"  {_sentence(message)}." for message in MESSAGES if message.step == number]
    return "\n".join(lines)


def _sentence(message: Message) -> str:
    if message.to:
        return f"{message.sender} to {message.to}: {message.words}"
    return f"At {message.sender}: {message.words}"


def svg(step: int) -> str:
    """Return the diagram as SVG text, with light and dark inside. Nothing in it comes from outside."""
    parts: list[str] = []
    at = _TOP
    for number in (1, 2, 3, 4):
        messages = [message for message in MESSAGES if message.step == number]
        height = _BAND + _ROW * len(messages)
        parts.append(_band(number, at, height, lit=number == step))
        faded = ' class="d"' if step and number != step else ""
        lines = "".join(
            _message(one, at + _BAND + _ROW * place + 16, number == step) for place, one in enumerate(messages)
        )
        parts.append(f"<g{faded}>{lines}</g>")
        at += height + 6
    lifelines = "".join(f'<path class="l" stroke-dasharray="4 4" d="M{_x(p)} 40V{at + 4}"/>' for p in PARTIES)
    bands = "".join(part for part in parts if part.startswith("<rect"))
    others = "".join(part for part in parts if not part.startswith("<rect"))
    size = f'width="{_WIDTH}" height="{at + 8}" viewBox="0 0 {_WIDTH} {at + 8}"'
    heads = "".join(_head(party) for party in PARTIES)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{_STYLE}</style>'
        f"{bands}{lifelines}{heads}{others}{_titles(step)}</svg>"
    )


def _x(party: str) -> int:
    return _LEFT + _COLUMN * PARTIES.index(party)


def _head(party: str) -> str:
    x = _x(party)
    return (
        f'<rect class="p" x="{x - 52}" y="8" width="104" height="30" rx="4"/>'
        f'<text class="b" x="{x}" y="28" text-anchor="middle">{escape(party)}</text>'
    )


def _band(number: int, at: int, height: int, *, lit: bool) -> str:
    width = ' stroke-width="2.5"' if lit else ""
    return f'<rect class="{"g" if lit else "q"}" x="4" y="{at}" width="{_WIDTH - 8}" height="{height}" rx="6"{width}/>'


def _titles(step: int) -> str:
    shown, at = [], _TOP
    for number in (1, 2, 3, 4):
        lit = number == step
        mark = "▶ " if lit else ""
        kind = "b" if lit else ("d" if step else "b")
        ground = _ground(12, at + 4, len(STEP_TITLES[number]) * 7 + 70, 20, lit)
        title = f"{mark}Step {number}: {escape(STEP_TITLES[number])}"
        shown.append(f'{ground}<text class="{kind}" x="16" y="{at + 19}">{title}</text>')
        at += _BAND + _ROW * sum(message.step == number for message in MESSAGES) + 6
    return "".join(shown)


def _ground(x: float, y: float, width: float, height: float, lit: bool) -> str:
    """Return what hides the lifelines behind a text."""
    return f'<rect class="{"k" if lit else "n"}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'


def _message(message: Message, y: int, lit: bool) -> str:
    width = 2 if lit else 1
    long = len(message.words) * 7.2
    if not message.to:
        x = _x(message.sender)
        left = x - long - 22 if x + long + 30 > _WIDTH else x + 12
        box = f'<rect class="p" x="{left:g}" y="{y - 13}" width="{long + 10:g}" height="24" rx="3"/>'
        dot = f'<circle class="h" cx="{x}" cy="{y - 1}" r="4"/>'
        return f'{box}{dot}<text x="{left + 5:g}" y="{y + 4}">{escape(message.words)}</text>'
    start, end = _x(message.sender), _x(message.to)
    back = -1 if end > start else 1
    head = f'<path class="h" d="M{end} {y + 6}l{9 * back} -5v10z"/>'
    middle = (start + end) / 2
    if long > abs(end - start) - 12:  # too long to stand between the two: it begins at the left one
        middle = min(start, end) + long / 2 + 8
    ground = _ground(middle - long / 2, y - 12, long, 15, lit)
    return (
        f'<path class="m" stroke-width="{width}" d="M{start} {y + 6}H{end}"/>{head}{ground}'
        f'<text x="{middle:g}" y="{y}" text-anchor="middle">{escape(message.words)}</text>'
    )
