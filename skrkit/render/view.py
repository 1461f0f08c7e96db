"""What a view says, not how it looks: headings, rows, annotated bytes, steps. Terminal and notebook draw the same.

Nothing here is formatted for a width or a colour, and nothing prints. `view_of` and its siblings turn what the
product knows (a parsed artefact, the steps of a verification, an error) into a `View`. The descriptions are named
tuples and not dataclasses: six of those would take 2 ms of the 50 that `skrkit inspect` takes in all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from skrkit.wire import Described, Json, Span

if TYPE_CHECKING:
    from skrkit.artefact import Artefact
    from skrkit.attestation.result import AttestationResult, StepResult
    from skrkit.errors import SkrkitError

MAX_DEPTH = 32  # a token nests five deep; deeper than this is said, not drawn
DIGEST_PREFIX = 16  # hex digits of a SHA-256 that a heading shows: enough to compare two files by eye

Verdict: TypeAlias = Literal["ok", "failed", "not-checked", "warning", "skipped"]


class Row(NamedTuple):
    """One name and its value as text, `depth` steps inside the rows above it. `note` is what the value means."""

    name: str
    value: str = ""
    note: str = ""
    depth: int = 0


class Rows(NamedTuple):
    """Names and values in order; a nested value stands below its parent, one step deeper."""

    rows: tuple[Row, ...]
    title: str = ""


class Bytes(NamedTuple):
    """Bytes with the spans that explain them, in order of offset. Bytes no span covers are shown as such."""

    data: bytes
    spans: tuple[Span, ...]
    title: str = ""


class Step(NamedTuple):
    """One step of a verification: its stable id, its verdict, a detail, and for a failure what to try."""

    id: str
    verdict: Verdict
    detail: str = ""
    fix: str = ""


class Steps(NamedTuple):
    """The steps of a verification, in order."""

    steps: tuple[Step, ...]
    title: str = ""


class View(NamedTuple):
    """A heading, facts that fit beside it, and blocks below: rows, bytes, steps, prose, or further views."""

    heading: str
    facts: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


Block: TypeAlias = "Rows | Bytes | Steps | View | str"


def view_of(
    described: Described,
    *,
    notes: Mapping[str, str] | None = None,
    facts: Iterable[str] = (),
    annotated: bool = False,
    blocks: Iterable[Block] = (),
) -> View:
    """Return the view of a parsed artefact: kind, size and SHA-256 prefix, then its fields with their meaning.

    `notes` maps the dotted path of a field to its meaning and wins over the spans' own; a token without them gets the
    claims catalogue's. `facts` and `blocks` are
    added at the end of theirs. `annotated` adds the bytes with their spans.
    """
    raw = described.raw
    fields = described.fields()
    if notes is None and described.kind == "jwt":
        from skrkit.render.claims import claim_notes

        notes = claim_notes(fields)
    meanings = {**_meanings(described.spans(), fields), **{_key(path): text for path, text in (notes or {}).items()}}
    shown: list[Block] = [Rows(rows=tuple(rows_of(fields, meanings)))]
    if annotated:
        shown.append(Bytes(title="Bytes", data=raw, spans=described.spans()))
    digest = hashlib.sha256(raw).hexdigest()[:DIGEST_PREFIX]
    return View(
        heading=described.title,
        facts=(described.kind, _counted(len(raw), "byte"), f"SHA-256 {digest}", *facts),
        blocks=(*shown, *blocks),
    )


def view_of_json(title: str, value: Json) -> View:
    """Return the view of a JSON value: its members as rows, nested as they are."""
    if isinstance(value, dict | list) and value:
        return View(heading=title, blocks=(Rows(rows=tuple(rows_of(value))),))
    return View(heading=title, blocks=(scalar(value),))


def view_of_steps(steps: Iterable[StepResult], *, title: str = "Verification steps") -> View:
    """Return the view of a verification: each step, and how many of each verdict in the heading's facts."""
    shown = tuple(
        Step(id=step.id, verdict=step.verdict, detail=step.detail, fix="" if step.error is None else step.error.fix)
        for step in steps
    )
    verdicts = [step.verdict for step in shown]
    names: tuple[tuple[Verdict, str], ...] = (("ok", "ok"), ("failed", "failed"), ("not-checked", "not checked"))
    facts = tuple(f"{verdicts.count(verdict)} {name}" for verdict, name in names)
    return View(heading=title, facts=facts, blocks=(Steps(steps=shown),))


def view_of_result(result: AttestationResult) -> View:
    """Return the view of a local verification: verdict and root, every step, and what the run does not show."""
    steps = view_of_steps(result.steps)
    return View(
        heading=f"{result.title}: {result.verdict}",
        facts=(f"root: {result.root or 'none'}", *steps.facts),
        blocks=(*steps.blocks, *result.notes),
    )


def view_of_error(error: SkrkitError) -> View:
    """Return the view of an error: what and where as heading, then expected, found, fix and source."""
    rows = [("expected", error.expected), ("found", error.found), ("fix", error.fix), ("source", error.source)]
    return View(
        heading=f"error: {error.what} at {error.where}",
        blocks=(Rows(rows=tuple(Row(name=name, value=value) for name, value in rows if value)),),
    )


def view_of_artefact(artefact: Artefact) -> View:
    """Return the view of an artefact of the flow: what it proves, its body, and what the next step needs of it."""
    shown = _view_of_body(artefact)
    return View(
        heading=artefact.title,
        facts=shown.facts,
        blocks=(f"Proves: {artefact.proves}", *shown.blocks, f"Next: {artefact.next}"),
    )


def _view_of_body(artefact: Artefact) -> View:
    body = artefact.body
    if not isinstance(body, Described):
        return view_of_json(artefact.title, body)
    if body.kind == "attestation-result":
        from skrkit.attestation.result import AttestationResult

        assert isinstance(body, AttestationResult)
        return view_of_result(body)
    return view_of(body)


def shortened(view: View, *, rows: int, characters: int, keep: Collection[str] = ()) -> View:
    """Return the view with at most `rows` rows in each block and `characters` in each value; what is cut is said.

    Rows below a dotted path in `keep` ("claims.iss"), and the rows above it, are shown wherever they stand.
    """
    return View(
        heading=view.heading,
        facts=view.facts,
        blocks=tuple(_shortened_block(block, rows, characters, keep) for block in view.blocks),
    )


def _shortened_block(block: Block, rows: int, characters: int, keep: Collection[str]) -> Block:
    if isinstance(block, View):
        return shortened(block, rows=rows, characters=characters, keep=keep)
    if not isinstance(block, Rows):
        return block
    kept: list[Row] = []
    skipped = 0
    for number, (row, path) in enumerate(zip(block.rows, _paths(block.rows), strict=True)):
        if number >= rows and not any(_in_line(path, kept_path) for kept_path in keep):
            skipped += 1
            continue
        if skipped:
            kept.append(_left_out(skipped))
            skipped = 0
        kept.append(_shortened_row(row, characters))
    if skipped:
        kept.append(_left_out(skipped))
    return Rows(rows=tuple(kept), title=block.title)


def _paths(rows: Iterable[Row]) -> Iterator[str]:
    """Return each row's dotted path: its name after those of the rows it stands in."""
    above: list[str] = []
    for row in rows:
        above[row.depth :] = [row.name]
        yield ".".join(above)


def _in_line(path: str, kept: str) -> bool:
    return path == kept or path.startswith(f"{kept}.") or kept.startswith(f"{path}.")


def _left_out(count: int) -> Row:
    return Row(name=f"… {count} more")


def _shortened_row(row: Row, characters: int) -> Row:
    if len(row.value) <= characters or " " in row.value[:characters]:  # prose is read, hex is recognised
        return row
    return row._replace(value=f"{row.value[:characters]}… ({len(row.value)} characters)")


def rows_of(value: Json, meanings: Mapping[str, str] | None = None) -> Iterator[Row]:
    """Return the members of an object or array as rows, each below its parent; `meanings` by dotted path."""
    return _rows(value, meanings or {}, "", 0)


def _rows(value: Json, meanings: Mapping[str, str], path: str, depth: int) -> Iterator[Row]:
    if isinstance(value, dict):
        members: list[tuple[str, Json]] = list(value.items())
    elif isinstance(value, list):
        members = [(f"[{index}]", item) for index, item in enumerate(value)]
    else:
        members = [("", value)]
    for name, member in members:
        at = f"{path}.{name}" if path else name
        note = meanings.get(_key(at), "")
        if not isinstance(member, dict | list) or _is_flat(member):
            text = scalar(member)
            yield Row(name=name, value=text, note="" if note == text else note, depth=depth)
        elif depth + 1 >= MAX_DEPTH:
            yield Row(name=name, value="(nested deeper than is shown; see --json)", depth=depth)
        else:
            yield Row(name=name, note=note, depth=depth)
            yield from _rows(member, meanings, at, depth + 1)


def _is_flat(value: Json) -> bool:
    if isinstance(value, dict):
        return not value
    return isinstance(value, list) and all(
        item is None or isinstance(item, bool | int | float) or (isinstance(item, str) and len(item) < 24)
        for item in value
    )


def scalar(value: Json) -> str:
    """Return a value without members, or a list of such, as a reader wants to see it: text without quotes."""
    if isinstance(value, str):
        return value if value else '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(scalar(item) for item in value) if value else "[]"
    if value is None:
        return "null"
    return "{}" if isinstance(value, dict) else str(value)


def _meanings(spans: Iterable[Span], fields: dict[str, Json]) -> dict[str, str]:
    """Return the meaning of fields by path: the span of that name, or of its last part where that is unmistakable."""
    found: dict[str, str] = {}
    for span in spans:
        key = _key(span.name)
        # Two spans of one name that mean different things would give a field a meaning that is not its own.
        found[key] = span.meaning if found.get(key, span.meaning) == span.meaning else ""
    inner = [(name, member) for name, member in fields.items() if isinstance(member, dict)]
    last = [_key(name) for _, parent in inner for name in parent] + [_key(name) for name in fields]
    for name, parent in inner:
        for part in map(_key, parent):
            if last.count(part) == 1:
                found.setdefault(f"{_key(name)}.{part}", found.get(part, ""))
    return found


def _key(path: str) -> str:
    """Return a path without case and underscores: a span says `nameAlg` where a field says `name_alg`."""
    return path.replace("_", "").replace("-", "").lower()


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
