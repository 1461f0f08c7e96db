"""Get and list keys, versions and deleted keys, in pages."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.vault import bundle, errors, rotation
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.documents import PAGE


def get_key(call: Call) -> Response:
    """Return the bundle of the version in the path, or of the current one. A disabled key can be read."""
    return JSONResponse(bundle.key_bundle(call, *rotation.found(call)))


def list_keys(call: Call) -> Response:
    """Return a page of keys, by name; the ids have no version."""
    limit, after = _limit(call), _after(call)
    page = call.keys.names(after, limit + 1)
    items = [
        bundle.item(call, named, version, with_version=False) for named, version in call.keys.with_current(page[:limit])
    ]
    last = page[limit - 1]["name"] if len(page) > limit else ""
    return _page(call, "/keys", items, last, limit)


def list_versions(call: Call) -> Response:
    """Return a page of the versions of a key, in no order that means anything; empty for a name that is not there."""
    limit, after = _limit(call), _after(call)
    named = call.keys.name(call.name)
    page = call.keys.versions(call.name, after, limit + 1) if named is not None else []
    items = [bundle.item(call, named, version, with_version=True) for version in page[:limit] if named is not None]
    last = page[limit - 1]["version"] if len(page) > limit else ""
    return _page(call, f"/keys/{call.name}/versions", items, last, limit)


def list_deleted(call: Call) -> Response:
    """Return a page of deleted keys, by name."""
    limit, after = _limit(call), _after(call)
    page = call.keys.deleted_names(after, limit + 1)
    now = call.world.now().timestamp()
    items = []
    for deleted in page[:limit]:
        version = call.keys.current(deleted["named"])
        if version is None or deleted["scheduledPurgeDate"] <= now:
            continue
        shown = bundle.item(call, deleted["named"], version, with_version=False)
        items.append(shown | bundle.deleted_members(call, deleted))
    last = page[limit - 1]["named"]["name"] if len(page) > limit else ""
    return _page(call, "/deletedkeys", items, last, limit)


def _limit(call: Call) -> int:
    text = call.query.get("maxresults", str(PAGE))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= PAGE:
        raise errors.bad_parameter(f'The parameter "maxresults" must be between 1 and {PAGE}, found {text!r}.')
    return int(text)


def _after(call: Call) -> str:
    token = call.query.get("$skiptoken", "")
    if not token:
        return ""
    try:
        return str(json.loads(base64.b64decode(token, validate=True))["NextMarker"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise errors.bad_parameter('The parameter "$skiptoken" is not one of this vault.') from None


def _page(call: Call, path: str, items: list[dict[str, Any]], last: str, limit: int) -> Response:
    link = None
    if last:
        token = base64.b64encode(json.dumps({"NextMarker": last}).encode()).decode("ascii")
        query = urlencode({"api-version": call.api_version, "$skiptoken": token, "maxresults": limit}, safe="$")
        link = f"{call.vault.url}:443{path}?{query}"
    return JSONResponse({"value": items, "nextLink": link})
