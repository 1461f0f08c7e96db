"""Recognition: unwrap what bytes came in, find their kind by its marks, parse them, and look inside.

The rule. Binary is told from text first: text is UTF-8 without control characters. Binary goes by its marks
(`inspect.binary`); text that begins as JSON, PEM or a compact JWS is that and nothing else; other text is hex before
it is base64 (`unwrap_text` has the rule and its reason), and what it decodes to starts again from the top. A kind is
never guessed from a file's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from skrkit.errors import ParseError, SkrkitError
from skrkit.inspect.binary import binary_kinds, der_length, looks_like, tpm2b_body
from skrkit.inspect.kinds import KINDS, Kind, kind_named, parse_as
from skrkit.wire import Described, is_zero

MAX_LAYERS = 8  # base64 of JSON with base64 of hex is four; more is a riddle, not a file
_UTF8_MARK = b"\xef\xbb\xbf"
_BYTE_ORDER_MARKS = (_UTF8_MARK, b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A parsed artefact, `path` of the encodings that were unwrapped to reach it, and what stands inside it.

    `path` is outermost first: ("json /token", "base64url"). `nested` pairs a JSON pointer into the artefact's fields
    with what was recognised there, or with the error that says why it was not.
    """

    described: Described
    path: tuple[str, ...] = ()
    nested: tuple[tuple[str, Recognised | SkrkitError], ...] = ()


def recognise(data: bytes, *, as_kind: str | None = None) -> Recognised:
    """Return what `data` is, parsed, with the encodings it came in and what stands inside it.

    `as_kind` names the kind and leaves only the encodings to be found. Raises `ParseError` that says what was tried
    when nothing is recognised, the parser's own error when the mark of a kind is there but the rest is broken, and
    `UsageError` for an unknown `as_kind`.
    """
    kind = None if as_kind is None else kind_named(as_kind)
    if not data:
        raise ParseError(
            what="input",
            where="byte 0x0",
            expected="bytes or text to recognise",
            found="none: it is empty",
            fix="Check the command that should have written it.",
        )
    path, described = _searched(data) if kind is None else _forced(kind, data)
    from skrkit.inspect.nested import nested_in

    return Recognised(described=described, path=path, nested=nested_in(described))


def _searched(data: bytes) -> tuple[tuple[str, ...], Described]:
    path: list[str] = []
    tried: list[str] = []
    for _ in range(MAX_LAYERS):
        described = _by_mark(data, tried)
        if described is not None:
            return tuple(path), described
        layer = _unwrap(data)
        if layer is None:
            break
        label, data = layer
        path.append(label)
    raise _unknown(data, path, tried)


def _by_mark(data: bytes, tried: list[str]) -> Described | None:
    """Return `data` parsed as the kind whose mark it bears, or None. Raises the error of a kind with a strong mark."""
    text = _text(data)
    for name in binary_kinds(data) if text is None else _text_kind(text):
        try:
            return parse_as(KINDS[name], data if text is None else _exact(data, text))
        except SkrkitError as error:
            if not KINDS[name].is_weak:
                raise
            tried.append(f"{name} ({error.what} at {error.where}: expected {error.expected}, found {error.found})")
    return None


def _text(data: bytes) -> bytes | None:
    """Return trimmed text, or None for binary. No text has a NUL, so most binary is told at once."""
    if b"\0" in data or data.startswith(_BYTE_ORDER_MARKS):
        return None
    from skrkit.inspect.text import as_text

    return as_text(data)


def _exact(data: bytes, text: bytes) -> bytes:
    """Return JSON and PEM as they are, line break at the end and all, and a token without: it is its characters."""
    return text if text.startswith(b"eyJ") else data


def _text_kind(text: bytes) -> tuple[str, ...]:
    from skrkit.inspect import text as marks

    if marks.is_json(text):
        kind = marks.json_kind(marks.read_json(text))
    elif marks.is_pem(text):
        kind = marks.pem_kind(text)
    else:
        kind = marks.token_kind(text)
    return () if kind is None else (kind,)


def _unwrap(data: bytes) -> tuple[str, bytes] | None:
    """Return the next layer inside, with the name of what was around it, or None when there is none."""
    if data.startswith(_BYTE_ORDER_MARKS):
        return _unmarked(data)
    text = _text(data)
    if text is None:
        return _unwrap_binary(data)
    from skrkit.inspect import text as marks

    if marks.is_json(text):
        return marks.unwrap_json(marks.read_json(text))
    return None if marks.is_pem(text) else marks.unwrap_text(text)


def _unmarked(data: bytes) -> tuple[str, bytes] | None:
    """Return the text behind a byte order mark as UTF-8: PowerShell's `>` writes UTF-16 with one."""
    if data.startswith(_UTF8_MARK):
        return "utf-8 with byte order mark", data[len(_UTF8_MARK) :]
    try:
        return "utf-16", data.decode("utf-16").encode("utf-8")
    except UnicodeError:
        return None


def _unwrap_binary(data: bytes) -> tuple[str, bytes] | None:
    """Return what stands in zero padding (an NV index keeps its size) or in a TPM2B, where that bears a mark."""
    length = der_length(data)
    if length and length < len(data) and is_zero(data[length:]):
        return "zero padding", data[:length]
    body = tpm2b_body(data)
    return ("tpm2b", body) if body and binary_kinds(body) else None


def _forced(kind: Kind, data: bytes) -> tuple[tuple[str, ...], Described]:
    """Return `data`, or what it encodes, parsed as `kind`. Raises the error of the innermost layer that fits."""
    layers: list[tuple[tuple[str, ...], bytes]] = []
    inner: tuple[str, bytes] | None = ("", data)
    while inner is not None and len(layers) < MAX_LAYERS:
        label, data = inner
        layers.append(((*layers[-1][0], label) if layers else (), data))
        try:
            inner = _unwrap(data)
        except ParseError:
            inner = None
    fitting = [
        (path, layer if text is None else _exact(layer, text))
        for path, layer in layers
        if kind.fits(text := _text(layer))
    ]
    failure: SkrkitError | None = None
    for path, layer in fitting or layers:
        try:
            return path, parse_as(kind, layer)
        except SkrkitError as error:
            failure = error
    assert failure is not None  # there is one layer at least
    raise failure


def _unknown(data: bytes, path: list[str], tried: list[str]) -> ParseError:
    text = _text(data)
    if text is None:
        found = looks_like(data) + "; tried the marks of every binary kind"
    else:
        from skrkit.inspect.text import describe

        found = describe(text) + "; tried JSON, PEM, compact JWS, hex, base64 and base64url"
    if tried:
        found += ", and " + ", ".join(tried)
    return ParseError(
        what="kind of artefact",
        where="the bytes inside " + ", inside ".join(reversed(path)) if path else "the whole input",
        expected="the mark of a kind that skrkit shows",
        found=found,
        fix="If you know its kind, name it: --as " + "|".join(KINDS) + ". A raw signature, digest or nonce has no "
        "kind: `skrkit verify` takes it beside what it belongs to.",
    )
