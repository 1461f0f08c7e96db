"""A case as one JSON document, and back. The signed token is left out unless it is asked for.

The document has `skrkit_case`, its version, and the members of `Case` that are known. Bytes are base64. Whoever holds
the attestation token can show it to a vault until it expires: without it, its header and claims stand in its place, and
what its verification said.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from datetime import datetime
from typing import Any

from skrkit.diagnosis.case import EVIDENCE_NAMES, Case, Exchange
from skrkit.encoding import any_b64_bytes, json_object, json_type
from skrkit.errors import ParseError
from skrkit.token.decode import check_depth
from skrkit.wire import Json, pointer

VERSION = 1
MARK = "skrkit_case"
MAX_CASE_BYTES = 8 << 20  # evidence is some 200 kB, a recorded walk as much
MAX_EXCHANGES = 256
MAX_DEPTH = 64
_TEXTS = ("authority", "world")
_BYTES = ("token", "jwks", "policy")
_TEXT_OBJECTS = ("asked", "amd_roots")
_OBJECTS = (
    "error",
    "access_token",
    "claims",
    "token_header",
    "token_verdict",
    "key",
    "vault",
    "vm",
    "instance",
    "machine",
)
_FIX = "Pass the case as `skrkit explain --save` or `skrkit bundle` wrote it."


def case_to_json(case: Case, *, with_token: bool = False) -> dict[str, Json]:
    """Return the case as JSON members; what is not known is left out."""
    kept = case if with_token else without_token(case)
    members: dict[str, Json] = {MARK: VERSION}
    if kept.at is not None:
        members["at"] = kept.at.isoformat()
    for name in _TEXTS:
        members[name] = getattr(kept, name)
    for name in (*_OBJECTS, *_TEXT_OBJECTS):
        members[name] = dict(getattr(kept, name))
    for name in _BYTES:
        members[name] = _b64(getattr(kept, name))
    members["faults"] = list(kept.faults)
    members["exchanges"] = [_exchange_json(exchange) for exchange in kept.exchanges]
    members["evidence"] = {name: _b64(data) for name, data in kept.evidence.items()}
    return {name: value for name, value in members.items() if value not in ("", {}, [])}


def without_token(case: Case) -> Case:
    """Return the case with the signed token replaced by its header, its claims and what its verification says."""
    from skrkit.diagnosis.verification import decoded_token, token_verdict

    if not case.token:
        return case
    verdict, token = token_verdict(case), decoded_token(case)
    if token is None:
        return replace(case, token=b"", token_verdict=verdict)
    return replace(case, token=b"", claims=token.claims, token_header=token.header, token_verdict=verdict)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _exchange_json(exchange: Exchange) -> dict[str, Json]:
    """Return an exchange as JSON members, by the names of its fields; empty ones are left out, a status never."""
    members: dict[str, Json] = {}
    for field in fields(exchange):
        value: Any = getattr(exchange, field.name)
        if value != field_default(field):
            members[field.name] = dict(value) if isinstance(value, Mapping) else value
    return members


def field_default(field: Field[Any]) -> Any:
    """Return what a member is when it is not known; a status always is, if only as 0."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return {"request_body": None, "response_body": None, "status": MISSING}.get(field.name, "")


def case_from_json(data: bytes | str) -> Case:
    """Return the case in a JSON document.

    Raises `ParseError`, by name, for a member that is unknown or of another type, for a document above 8 MiB, and for
    one that nests deeper than 64.
    """
    document = json_object(data, what="case", where="the whole document", limit=MAX_CASE_BYTES)
    return case_of(document)


def case_of(document: dict[str, Json]) -> Case:
    """Return the case in a JSON document that was read already. Raises `ParseError` as `case_from_json` does."""
    check_depth(document, what="case", where="the whole document", limit=MAX_DEPTH)
    if document.get(MARK) != VERSION or isinstance(document.get(MARK), bool):
        raise _refused(f"case {MARK}", pointer(MARK), str(VERSION), repr(document.get(MARK))[:40])
    known = {MARK, "at", "exchanges", "evidence", "faults", *_TEXTS, *_BYTES, *_OBJECTS, *_TEXT_OBJECTS}
    for name in document:
        if name not in known:
            raise _refused("case member", pointer(name), f"one of {', '.join(sorted(known))}", repr(name)[:80])
    members: dict[str, Any] = {name: _typed(document, name, str, "") for name in _TEXTS}
    members |= {name: _typed(document, name, dict, "") for name in _OBJECTS}
    members |= {name: _texts(document, name, "") for name in _TEXT_OBJECTS}
    members |= {name: _bytes(document, name, "") for name in _BYTES}
    return Case(
        at=_time(document),
        exchanges=_exchanges(document),
        faults=_faults(document),
        evidence=_evidence(_typed(document, "evidence", dict, "")),
        **members,
    )


def _refused(what: str, where: str, expected: str, found: str) -> ParseError:
    return ParseError(what=what, where=where, expected=expected, found=found, fix=_FIX)


_EMPTY: dict[type, Any] = {str: "", dict: {}, list: [], int: 0}
_NAMES = {str: "a string", dict: "an object", list: "an array", int: "a whole number"}


def _typed(parent: dict[str, Json], name: str, kind: type, at: str) -> Any:
    value = parent.get(name, _EMPTY[kind])
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _refused(f"case {name}", at + pointer(name), _NAMES[kind], f"a JSON {json_type(value)}")
    return value


def _texts(parent: dict[str, Json], name: str, at: str) -> dict[str, str]:
    found: dict[str, Json] = _typed(parent, name, dict, at)
    return {member: _typed(found, member, str, at + pointer(name)) for member in found}


def _bytes(parent: dict[str, Json], name: str, at: str) -> bytes:
    text = _typed(parent, name, str, at)
    return any_b64_bytes(text, what=f"case {name}", where=at + pointer(name))


def _time(document: dict[str, Json]) -> datetime | None:
    text = _typed(document, "at", str, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _refused("case at", "/at", "a time with its zone, ISO 8601", repr(text)[:60])
    return moment


def _faults(document: dict[str, Json]) -> tuple[str, ...]:
    rows: list[Json] = _typed(document, "faults", list, "")
    for index, row in enumerate(rows):
        if not isinstance(row, str):
            raise _refused("case faults", pointer("faults", index), "a string", f"a JSON {json_type(row)}")
    return tuple(map(str, rows))


def _evidence(found: dict[str, Json]) -> dict[str, bytes]:
    for name in found:
        if name not in EVIDENCE_NAMES:
            where = pointer("evidence", name)
            raise _refused("evidence", where, f"one of {', '.join(EVIDENCE_NAMES)}", repr(name)[:80])
    return {name: _bytes(found, name, "/evidence") for name in found}


def _exchanges(document: dict[str, Json]) -> tuple[Exchange, ...]:
    rows: list[Json] = _typed(document, "exchanges", list, "")
    if len(rows) > MAX_EXCHANGES:
        raise _refused("case exchanges", "/exchanges", f"at most {MAX_EXCHANGES}", str(len(rows)))
    return tuple(_exchange(row, pointer("exchanges", index)) for index, row in enumerate(rows))


def _exchange(row: Json, at: str) -> Exchange:
    if not isinstance(row, dict):
        raise _refused("exchange", at, "an object", f"a JSON {json_type(row)}")
    known = {field.name for field in fields(Exchange)}
    for name in row:
        if name not in known:
            raise _refused("exchange member", at + pointer(name), f"one of {', '.join(sorted(known))}", repr(name)[:80])
    texts = {name: _typed(row, name, str, at) for name in ("service", "method", "url", "error")}
    status = _typed(row, "status", int, at)
    if "status" not in row or not 0 <= status <= 999:
        raise _refused("exchange status", at + pointer("status"), "0 to 999", str(row.get("status"))[:40])
    return Exchange(
        status=status,
        request_headers=_texts(row, "request_headers", at),
        response_headers=_texts(row, "response_headers", at),
        request_body=row.get("request_body"),
        response_body=row.get("response_body"),
        **texts,
    )


def case_text(case: Case, *, with_token: bool = False) -> str:
    """Return the case as the text of a file."""
    return json.dumps(case_to_json(case, with_token=with_token), indent=2) + "\n"
