"""The bundle's manifest: what is in it, by size and SHA-256, what was replaced, and what could not be.

Nobody signs it. Its hashes show accidents and careless edits; who means to deceive writes a manifest to fit. What a
bundle proves, it proves by the signatures in the evidence.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, NoReturn

from skrkit.encoding import json_object, member
from skrkit.errors import ParseError, VerificationError
from skrkit.wire import Json, Span, pointer

NAME = "manifest.json"
FORMAT = "skrkit-bundle"
VERSION = 1
_WHAT = "bundle manifest"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KNOWN = frozenset(
    {"format", "version", "skrkit", "captured_at", "world", "files", "redaction", "carried", "left_out", "notes"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a bundle. `kind` is what `skrkit inspect --as` takes, or "json"; `sha256` is hex."""

    name: str
    kind: str
    title: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Json]:
        """Return the entry as JSON members."""
        return {"name": self.name, "kind": self.kind, "title": self.title, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A parsed manifest. `captured_at` (aware) is the time that every check is made for.

    `redaction` says what was replaced, how often and how. `carried` are the identifiers that raw evidence shows, since
    signed bytes cannot be changed: file, identifier, place. `left_out` and `notes` are sentences.
    """

    kind: ClassVar[str] = "bundle-manifest"
    title: ClassVar[str] = "Evidence bundle"

    raw: bytes = field(repr=False)
    skrkit: str
    captured_at: datetime
    world: str
    entries: tuple[Entry, ...]
    redaction: Mapping[str, Json]
    carried: tuple[Mapping[str, Json], ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def fields(self) -> dict[str, Json]:
        """Return the manifest as its JSON document."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "skrkit": self.skrkit,
            "captured_at": self.captured_at.isoformat(),
            "world": self.world,
            "files": [entry.to_json() for entry in self.entries],
            "redaction": dict(self.redaction),
            "carried": [dict(row) for row in self.carried],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a manifest is text."""
        return ()


def entry_of(name: str, data: bytes, *, kind: str, title: str) -> Entry:
    """Return the entry of a file."""
    return Entry(name=name, kind=kind, title=title, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the manifest's text, always the same for the same manifest."""
    return (json.dumps(manifest.fields(), indent=2, ensure_ascii=False) + "\n").encode()


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest in `data`. Raises `ParseError`: another format, a newer version, an unknown member."""
    document = json_object(data, what=_WHAT, where=NAME)
    if document.get("format") != FORMAT:
        _refuse("/format", FORMAT, repr(document.get("format")), "Pass a file that `skrkit bundle create` wrote.")
    version = member(document, "version", int, what=_WHAT)
    if version != VERSION:
        _refuse("/version", str(VERSION), str(version), "Update skrkit: this bundle is of another version's format.")
    for name in document.keys() - _KNOWN:
        _refuse(pointer(name), "no such member", "it", "Take the bundle again; its manifest was written by hand.")
    captured = str(member(document, "captured_at", str, what=_WHAT))
    return Manifest(
        raw=data,
        skrkit=str(member(document, "skrkit", str, what=_WHAT)),
        captured_at=_time(captured),
        world=str(member(document, "world", str, what=_WHAT)),
        entries=tuple(_entry(item, index) for index, item in enumerate(_list(document, "files"))),
        redaction=_object(member(document, "redaction", dict, what=_WHAT), "/redaction"),
        carried=tuple(_object(row, pointer("carried", at)) for at, row in enumerate(_list(document, "carried"))),
        left_out=tuple(map(str, _list(document, "left_out"))),
        notes=tuple(map(str, _list(document, "notes"))),
    )


def check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Return nothing if the files are those of the manifest, each as it was, and no other.

    Raises `VerificationError`: `bundle.missing`, `bundle.extra`, `bundle.size`, `bundle.sha256`.
    """
    listed = {entry.name for entry in manifest.entries}
    for entry in manifest.entries:
        data = files.get(entry.name)
        if data is None:
            _differs("bundle.missing", entry.name, f"{entry.size} bytes", "no such file")
        if len(data) != entry.size:
            _differs("bundle.size", entry.name, f"{entry.size} bytes", f"{len(data)} bytes")
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            _differs("bundle.sha256", entry.name, f"SHA-256 {entry.sha256}", f"SHA-256 {found}")
    for name in files:
        if name != NAME and name not in listed:
            _differs("bundle.extra", name, "no file that the manifest does not list", "one")


def _differs(step: str, name: str, expected: str, found: str) -> NoReturn:
    raise VerificationError(
        what=f"evidence bundle, {name}",
        where=NAME,
        expected=expected,
        found=found,
        fix="Take the bundle again from who made it: this one was changed since.",
        step=step,
    )


def _entry(item: Json, index: int) -> Entry:
    at = pointer("files", index)
    row = _object(item, at)
    sha256 = str(member(row, "sha256", str, what=_WHAT, at=at))
    size = member(row, "size", int, what=_WHAT, at=at)
    if not _SHA256.fullmatch(sha256):
        _refuse(f"{at}/sha256", "64 lower-case hex digits", repr(sha256[:70]), "Take the bundle again.")
    assert isinstance(size, int)
    name, kind, title = (str(member(row, part, str, what=_WHAT, at=at)) for part in ("name", "kind", "title"))
    return Entry(name=name, kind=kind, title=title, size=size, sha256=sha256)


def _time(text: str) -> datetime:
    try:
        moment: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        _refuse("/captured_at", "a time with its zone, ISO 8601", repr(text[:40]), "Take the bundle again.")
    return moment


def _list(document: dict[str, Json], name: str) -> list[Json]:
    value = member(document, name, list, what=_WHAT)
    assert isinstance(value, list)
    return value


def _object(value: Json, at: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        _refuse(at, "an object", "another type", "Take the bundle again.")
    return value


def _refuse(where: str, expected: str, found: str, fix: str) -> NoReturn:
    raise ParseError(what=_WHAT, where=where, expected=expected, found=found, fix=fix)
