"""Layout tables, annotated spans and a bounds-checked cursor: how skrkit reads bytes.

A fixed layout is a tuple of `Field` rows, one row a field, with the offset written out so that a row can be
held against the specification. A sequential format is read with `Cursor`, which never runs past the end.
Both end in `Span` rows, which say where a value stands, what it is and what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from skrkit.errors import ParseError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A value that `json.dumps` takes as it is. Bytes are lower-case hex text in it, unless a format says otherwise."""

Endian: TypeAlias = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a layout table: `size` bytes at `offset`, and a note for the reader."""

    name: str
    offset: int
    size: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An annotated range of bytes: `offset` and `size` in bytes, from the start of the model's `raw`.

    `value` is the decoded value as JSON; `meaning` is a sentence for a reader; `source` names the table it comes from.
    """

    offset: int
    size: int
    name: str
    value: Json
    meaning: str = ""
    source: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the span as JSON members; empty `meaning` and `source` are left out."""
        members: dict[str, Json] = {"offset": self.offset, "size": self.size, "name": self.name, "value": self.value}
        if self.meaning:
            members["meaning"] = self.meaning
        if self.source:
            members["source"] = self.source
        return members


@runtime_checkable
class Described(Protocol):
    """A parsed artefact that can show itself: what every `parse_*` and `decode_*` returns."""

    kind: ClassVar[str]  # "hcl-report", "snp-report", "jwt"...: the name `skrkit inspect --as` takes
    title: ClassVar[str]  # "Azure HCL report": what a heading says

    @property
    def raw(self) -> bytes:
        """The bytes as received."""
        ...

    def fields(self) -> dict[str, Json]:
        """The decoded values, by the specification's own names in lower case."""
        ...

    def spans(self) -> tuple[Span, ...]:
        """The annotated bytes, in order of offset. Empty for a format that is text."""
        ...


def check_layout(fields: Iterable[Field], *, size: int) -> None:
    """Return nothing if the rows cover `size` bytes with neither gap nor overlap; raise `AssertionError` if not.

    For tests: a layout table is checked there, so that importing a module does no work.
    """
    at = 0
    for row in fields:
        if row.offset != at:
            raise AssertionError(f"{row.name}: offset 0x{row.offset:X} where the row before ends at 0x{at:X}")
        at += row.size
    if at != size:
        raise AssertionError(f"layout ends at 0x{at:X}, not at 0x{size:X}")


def where(offset: int, size: int) -> str:
    """Return the words that an error uses for a range of bytes: "byte 0x4C8, 4 bytes"."""
    return f"byte 0x{offset:X}, {size} byte{'' if size == 1 else 's'}"


def is_zero(data: bytes) -> bool:
    """Return whether every byte is zero (true of no bytes at all)."""
    return not any(data)


@dataclass(slots=True)
class Cursor:
    """A reader over `data` that never runs past the end and can record the spans it reads.

    `what` is the structure's name for errors; `base` is added to the offsets of spans and errors, for a
    structure that stands inside another one.
    """

    data: bytes
    what: str
    endian: Endian = "big"
    base: int = 0
    fix: str = "The bytes are truncated or of another kind; capture them again, or name their kind with --as."
    source: str = ""
    at: int = 0
    recorded: list[Span] = field(default_factory=list)

    @property
    def left(self) -> int:
        """The bytes that are left."""
        return len(self.data) - self.at

    def take(self, size: int, name: str) -> bytes:
        """Return the next `size` bytes. Raises `ParseError` if fewer are left."""
        if size > self.left:
            raise ParseError(
                what=f"{self.what} {name}",
                where=where(self.base + self.at, size),
                expected=f"{size} more byte{'' if size == 1 else 's'}",
                found=f"{self.left} left",
                fix=self.fix,
                source=self.source,
            )
        start, self.at = self.at, self.at + size
        return self.data[start : self.at]

    def uint(self, size: int, name: str, meaning: str = "") -> int:
        """Return the next `size` bytes as an unsigned integer in the cursor's byte order, and record the span."""
        value = int.from_bytes(self.take(size, name), self.endian)
        self.record(size, name, value, meaning)
        return value

    def sized(self, prefix: int, name: str, *, limit: int, meaning: str = "") -> bytes:
        """Return bytes with a length of `prefix` bytes before them (a TPM2B has 2), and record the span.

        `limit` is the largest size that is believed. Raises `ParseError` beyond it.
        """
        size = int.from_bytes(self.take(prefix, f"{name} size"), self.endian)
        if size > limit:
            raise ParseError(
                what=f"{self.what} {name} size",
                where=where(self.base + self.at - prefix, prefix),
                expected=f"at most {limit}",
                found=str(size),
                fix=self.fix,
                source=self.source,
            )
        value = self.take(size, name)
        self.record(size + prefix, name, value.hex(), meaning)
        return value

    def record(self, size: int, name: str, value: Json, meaning: str = "") -> None:
        """Record the `size` bytes just read as a span."""
        self.recorded.append(
            Span(
                offset=self.base + self.at - size,
                size=size,
                name=name,
                value=value,
                meaning=meaning,
                source=self.source,
            )
        )

    def end(self) -> None:
        """Return nothing if no byte is left. Raises `ParseError` for trailing bytes."""
        if self.left:
            raise ParseError(
                what=f"{self.what} end",
                where=where(self.base + self.at, self.left),
                expected="no more bytes",
                found=f"{self.left} trailing",
                fix=self.fix,
                source=self.source,
            )


def pointer(*steps: str | int) -> str:
    """Return the JSON pointer (RFC 6901) to a member: `pointer("anyOf", 0)` is "/anyOf/0"."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def walk(value: Json, at: str = "") -> Iterator[tuple[str, Json]]:
    """Return every leaf of a JSON value with its JSON pointer, in document order."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from walk(member, at + pointer(name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from walk(member, at + pointer(index))
    else:
        yield at, value
