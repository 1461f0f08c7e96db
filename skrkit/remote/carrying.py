"""Artefacts as bytes and back: what a walk in the VM made, shown elsewhere as if it had been made there.

A parsed artefact travels as the bytes that it was parsed from, and is parsed again on arrival. One that would not
come back the same travels as its fields. Bytes that several artefacts share travel once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from skrkit import errors
from skrkit.artefact import Artefact
from skrkit.attestation.result import AttestationResult, StepResult
from skrkit.encoding import json_object
from skrkit.errors import ParseError, SkrkitError
from skrkit.inspect.kinds import KINDS, parse_as
from skrkit.run_command.answer import MAX_ANSWER_BYTES
from skrkit.token.verify import VerifiedToken
from skrkit.wire import Described, Json, Span

_RESULT = AttestationResult.kind
_TOKEN = "verified-token"  # noqa: S105 - a kind of artefact
_TEXTS = ("name", "title", "proves", "next")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedToken:
    """A token that the VM has verified, to look at: nobody verified it here, and nothing here takes it for verified."""

    kind: ClassVar[str] = VerifiedToken.kind
    title: ClassVar[str] = VerifiedToken.title

    raw: bytes
    said: dict[str, Json]

    def fields(self) -> dict[str, Json]:
        """Return what the VM said of the token: header, claims, and which key verified it when."""
        return self.said

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a token is text."""
        return ()


def carried(artefacts: Sequence[Artefact], *, error: SkrkitError | None = None) -> bytes:
    """Return artefacts, and the error that ended their walk if one did, as one JSON document."""
    blobs: dict[str, Json] = {}
    rows: list[Json] = [_row(artefact, blobs) for artefact in artefacts]
    document: dict[str, Json] = {"artefacts": rows, "blobs": blobs}
    if error is not None:
        document["error"] = _error_json(error)
    return json.dumps(document, separators=(",", ":")).encode()


def _row(artefact: Artefact, blobs: dict[str, Json]) -> dict[str, Json]:
    body = artefact.body
    row: dict[str, Json] = {name: getattr(artefact, name) for name in _TEXTS}
    row |= {"step": artefact.step, "points_at": list(artefact.points_at)}
    if artefact.raw is not None:
        row["raw"] = _blob(artefact.raw, blobs)
    if not isinstance(body, Described):
        row["body"] = body
    elif isinstance(body, AttestationResult):
        row |= {"kind": _RESULT, "body": _result_json(body), "bytes": _blob(body.raw, blobs)}
    elif isinstance(body, VerifiedToken | CarriedToken):
        row |= {"kind": _TOKEN, "body": body.fields(), "bytes": _blob(body.raw, blobs)}
    elif _comes_back(body):
        row |= {"kind": body.kind, "bytes": _blob(body.raw, blobs)}
    else:
        row["body"] = body.fields()
        row.setdefault("raw", _blob(body.raw, blobs))
    return row


def _comes_back(body: Described) -> bool:
    """Return whether the bytes of a parsed artefact alone say all that it shows."""
    if body.kind not in KINDS:
        return False
    try:
        return parse_as(KINDS[body.kind], body.raw).fields() == body.fields()
    except SkrkitError:
        return False


def _blob(data: bytes, blobs: dict[str, Json]) -> str:
    name = hashlib.sha256(data).hexdigest()
    blobs[name] = base64.b64encode(data).decode("ascii")
    return name


def _result_json(result: AttestationResult) -> dict[str, Json]:
    steps: list[Json] = []
    for step in result.steps:
        members: dict[str, Json] = {"id": step.id, "verdict": step.verdict, "detail": step.detail}
        if step.error is not None:
            members["error"] = _error_json(step.error)
        steps.append(members)
    return {"steps": steps, "verdict": result.verdict, "root": result.root, "notes": list(result.notes)}


def _error_json(error: SkrkitError) -> dict[str, Json]:
    members: dict[str, Json] = {each.name: getattr(error, each.name) for each in fields(error)}
    return {"error": type(error).__name__, **members}


def parse_carried(document: bytes) -> tuple[tuple[Artefact, ...], SkrkitError | None]:
    """Return the artefacts, and the error that ended their walk, or None. Raises `ParseError` for other bytes."""
    members: dict[str, Any] = json_object(
        document, what="answer of the VM", where="its document", limit=MAX_ANSWER_BYTES
    )
    try:
        blobs = {name: base64.b64decode(text, validate=True) for name, text in members.get("blobs", {}).items()}
        for name, data in blobs.items():
            if hashlib.sha256(data).hexdigest() != name:
                raise _unreadable(f"blob {name[:16]}: other bytes")
        made = tuple(_artefact(row, blobs) for row in members["artefacts"])
        error = _error(members["error"]) if "error" in members else None
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as cause:
        raise _unreadable(f"{type(cause).__name__}: {cause}") from cause
    return made, error


def _artefact(row: dict[str, Any], blobs: dict[str, bytes]) -> Artefact:
    kind, data = row.get("kind"), blobs[row["bytes"]] if "bytes" in row else b""
    body: Described | Json
    if kind is None:
        body = row["body"]
    elif kind == _RESULT:
        body = _result(row["body"], data)
    elif kind == _TOKEN:
        body = CarriedToken(raw=data, said=dict(row["body"]))
    else:
        body = parse_as(KINDS[kind], data)
    return Artefact(
        step=int(row["step"]),
        body=body,
        raw=blobs[row["raw"]] if "raw" in row else None,
        points_at=tuple(map(str, row["points_at"])),
        **{name: str(row[name]) for name in _TEXTS},
    )


def _result(members: dict[str, Any], raw: bytes) -> AttestationResult:
    steps = tuple(
        StepResult(
            str(step["id"]),
            step["verdict"],
            str(step["detail"]),
            _error(step["error"]) if "error" in step else None,
        )
        for step in members["steps"]
    )
    return AttestationResult(
        steps=steps,
        verdict=members["verdict"],
        report=None,
        root=str(members["root"]),
        notes=tuple(map(str, members["notes"])),
        raw=raw,
    )


def _error(members: dict[str, Any]) -> SkrkitError:
    """Return the error that such members are of: one of the six by its name, with what else it says."""
    kind = getattr(errors, str(members["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, SkrkitError)):
        raise _unreadable(f"an error by the name {members['error']!r}")
    made: SkrkitError = kind(**{name: value for name, value in members.items() if name != "error"})
    return made


def _unreadable(found: str) -> ParseError:
    return ParseError(
        what="answer of the VM",
        where="its document",
        expected="artefacts as this version of skrkit carries them",
        found=found,
        fix="Run the same command again; the VM must run the same skrkit, which it is given.",
    )
