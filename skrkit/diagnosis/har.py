"""An HTTP archive (HAR), as browsers and proxies export it: its requests to Azure as saved requests and responses."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from skrkit.diagnosis.refusal import service_at
from skrkit.wire import Json

MAX_ENTRIES = 10_000  # a session of a browser has some thousand


def rows_of_har(value: Json) -> list[Json] | None:
    """Return request and response of each entry for a service of Azure, up to the last that failed; None for no HAR.

    Of an archive without a service of Azure every entry is taken: it may be a proxy's that has other names.
    Source: HTTP Archive (HAR) format 1.2, section 3: `log.entries`.
    """
    log = value.get("log") if isinstance(value, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        return None
    rows = [_row(entry) for entry in entries[-MAX_ENTRIES:] if isinstance(entry, dict)]
    asked = [row for row in rows if service_at(str(_part(row, "request").get("url")))] or rows
    failed = [place for place, row in enumerate(asked) if _has_failed(_part(row, "response").get("status"))]
    return list(asked[: failed[-1] + 1] if failed else asked)


def _row(entry: Mapping[str, Json]) -> dict[str, Json]:
    request, response = _part(entry, "request"), _part(entry, "response")
    return {
        "request": {
            "method": request.get("method"),
            "url": request.get("url"),
            "headers": _headers(request.get("headers")),
            "body": _part(request, "postData").get("text"),
        },
        "response": {
            "status": response.get("status"),
            "headers": _headers(response.get("headers")),
            "body": _text(_part(response, "content")),
        },
    }


def _part(whole: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = whole.get(name)
    return found if isinstance(found, dict) else {}


def _has_failed(status: Json) -> bool:
    return not isinstance(status, int) or status == 0 or status >= 400


def _headers(value: Json) -> dict[str, Json]:
    pairs = value if isinstance(value, list) else []
    return {str(pair.get("name")): str(pair.get("value")) for pair in pairs if isinstance(pair, dict)}


def _text(content: Mapping[str, Json]) -> Json:
    """Return the body of an answer: text, which stands in base64 where the archive says so."""
    text = content.get("text")
    if isinstance(text, str) and content.get("encoding") == "base64":
        try:
            return base64.b64decode(text, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return text
    return text
