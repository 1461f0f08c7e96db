"""`skrkit inspect`: show what a file is and what every field of it means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from skrkit.cli.reading import read_input
from skrkit.errors import SkrkitError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from skrkit.inspect.recognise import Recognised
    from skrkit.render.view import Block, View
    from skrkit.wire import Json


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a file is and what every field of it means",
        description="Recognise a file by its own marks, in whatever encoding it came (hex, base64, base64url, PEM, "
        "JSON, a JWT), and show its fields with their meaning. Nothing is verified: see `skrkit verify`.",
    )
    parser.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    parser.add_argument("--as", dest="kind", metavar="KIND", help="say what it is; an unknown KIND lists the kinds")
    parser.add_argument("--hex", action="store_true", help="show the annotated bytes as well")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Return 0 once the file is shown on stdout."""
    from skrkit.inspect.recognise import recognise

    if namespace.kind is not None:
        from skrkit.inspect.kinds import kind_named

        kind_named(namespace.kind)  # a wrong name is said before a file is read, or waited for
    recognised = recognise(read_input(namespace.file), as_kind=namespace.kind)
    if namespace.json:
        import json

        print(json.dumps(document_of(recognised, annotated=namespace.hex), indent=2))
    else:
        from skrkit.render.plain import write

        write(view_of_recognised(recognised, annotated=namespace.hex), sys.stdout)
    return 0


def document_of(recognised: Recognised, *, annotated: bool = False) -> dict[str, Json]:
    """Return the JSON document of an artefact: kind and fields; encodings, spans and nested where there are any."""
    described = recognised.described
    document: dict[str, Json] = {"kind": described.kind, "fields": described.fields()}
    if recognised.path:
        document["encodings"] = list(recognised.path)
    if annotated:
        document["spans"] = [span.to_json() for span in described.spans()]
    if recognised.nested:
        nested: dict[str, Json] = {}
        for at, inner in recognised.nested:
            nested[at] = dict(inner.to_json()) if isinstance(inner, SkrkitError) else document_of(inner)
        document["nested"] = nested
    return document


def view_of_recognised(recognised: Recognised, *, annotated: bool = False) -> View:
    """Return the view of an artefact with the encodings it came in and what stands inside it."""
    from skrkit.render.view import view_of, view_of_error

    described = recognised.described
    blocks: list[Block] = []
    for at, inner in recognised.nested:
        blocks.append(f"Inside, at {at}:")
        blocks.append(view_of_error(inner) if isinstance(inner, SkrkitError) else view_of_recognised(inner))
    return view_of(
        described,
        notes=_notes(described.kind),
        facts=("from " + ", then ".join(recognised.path),) if recognised.path else (),
        annotated=annotated,
        blocks=blocks,
    )


def _notes(kind: str) -> Mapping[str, str] | None:
    """Return what the fields of a kind mean, or None where its spans say it or the view knows."""
    modules = {
        "thim": "skrkit.inspect.thim",
        "pcrs": "skrkit.evidence.pcrs",
        "certificate": "skrkit.inspect.certificate",
        "public-key": "skrkit.inspect.public_key",
    }
    if kind not in modules:
        return None
    from importlib import import_module

    notes: dict[str, str] = import_module(modules[kind]).meanings()
    return notes
