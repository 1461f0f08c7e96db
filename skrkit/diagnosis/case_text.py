"""A case from what people have at hand: an error body, a saved exchange, a curl dump, an exception's text.

Whatever it is, it is a stranger's text: it is searched for what a service says, and an access token in it is dropped.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.case_json import MARK, MAX_CASE_BYTES, MAX_DEPTH, MAX_EXCHANGES, case_of
from skrkit.diagnosis.har import rows_of_har
from skrkit.diagnosis.refusal import service_at, service_time
from skrkit.encoding import json_value
from skrkit.errors import ParseError, SkrkitError
from skrkit.token.decode import check_depth
from skrkit.wire import Json

MAX_TEXT = 64 << 10  # of prose: a traceback with a body in it has some kilobytes
MAX_EMBEDDED = 16  # places in it that are tried as JSON
LEFT_OUT = "<left out>"
_NO_CONTROLS = dict.fromkeys((*range(9), *range(14, 27), *range(28, 32)))  # colours begin with 27
_MOSTLY = 0.95
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-ms-authorization-auxiliary"}
)
_SECRET_MEMBERS = frozenset(
    {"access_token", "refresh_token", "id_token", "client_secret", "client_assertion", "assertion", "token", "key_hsm"}
)
_STATUS_OF_CODE = {
    "Forbidden": 403,
    "AccessDenied": 403,
    "Unauthorized": 401,
    "BadParameter": 400,
    "InvalidParameter": 400,
    "InvalidOperation": 400,
    "PolicyEvaluationError": 400,
    "PolicyParsingError": 400,
    "invalid_request": 400,
    "invalid_resource": 400,
    "KeyNotFound": 404,
    "VaultNotFound": 404,
    "Conflict": 409,
    "Throttled": 429,
}
_SERVICE_OF_CODE = {
    "PolicyEvaluationError": "maa",
    "PolicyParsingError": "maa",
    "InvalidParameter": "maa",
    "invalid_request": "imds",
    "invalid_resource": "imds",
    "KeyNotFound": "vault",
    "BadParameter": "vault",
    "Throttled": "vault",
    "Forbidden": "vault",
}
_ERROR_MEMBERS = ("what", "where", "expected", "found")
_STATUS_LINE = r"(?m)^(?:< )?HTTP/[0-9.]+ (\d{3})[^\r\n]*$"
_REQUEST_LINE = r"(?m)^> ([A-Z]+) (\S+) HTTP"
_HOST_LINE = r"(?mi)^> Host: (\S+)\s*$"
_HEADER_LINE = r"^(?:< )?([A-Za-z0-9-]{1,64}): ?(.*)$"
_END_OF_HEADERS = r"\n(?:< ?)?\n"  # curl -v marks the empty line as well
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?(?:/[^\s\"'<>,)\]}]*)?")
_METHOD = r"\b(GET|POST|PUT|PATCH|DELETE)\s+(https?://\S+)"
_STATUS_WORDS = r"(?i)(?:\bRESPONSE|\bStatus(?: code)?|\bHTTP(?: status)?)[: ]+(\d{3})\b"
_CODE_LINE = r"(?mi)^\s*(?:Code|Error ?Code)\s*:\s*(\S{1,100})\s*$"
_MESSAGE_LINE = r"(?m)^\s*Message\s*:\s*(.+)$"
_LEAD = r"\((\w{2,60})\) (.+)"
_INNER = r"(?s)Inner error:\s*(\{.*)"
_OWN = r"(?m)^error: (?P<what>.+?) at (?P<where>.+)$"
_OWN_MEMBER = r"(?m)^  (expected|found|fix|source): (.+)$"


def case_of_text(data: bytes) -> Case:
    """Return the case in whatever `data` is: a case's JSON, an error, an exchange, or prose.

    Its time is its own, else the Date of the answer, else not known. Raises `ParseError` for nothing at all, for JSON
    in which nothing was refused, and for what is too large.
    """
    if len(data) > MAX_CASE_BYTES:
        raise _no_case(f"at most {MAX_CASE_BYTES} bytes", f"{len(data)} bytes")
    if data.startswith(b"PK\x03\x04"):
        raise _no_case("one case", "a zip archive: for a bundle, skrkit bundle replay FILE")
    text = _text(data).strip()
    if len(text.translate(_NO_CONTROLS)) < len(text) * _MOSTLY:
        raise _no_case("text", "binary data: for evidence and certificates, skrkit inspect FILE")
    if not text:
        raise _no_case("an answer of a service, an error, or a case", "nothing")
    case = _of_json(text) if text[0] in "[{" else None
    if case is None:
        case = _of_prose(text[:MAX_TEXT])
    return case if case.at is not None else replace(case, at=service_time(case))


def _no_case(expected: str, found: str) -> ParseError:
    return ParseError(
        what="case",
        where="the whole text",
        expected=expected,
        found=found,
        fix="Pass the answer that was refused, with its body: curl -i, the exception's text, or `skrkit … --json`.",
    )


def _text(data: bytes) -> str:
    """Return the text in whatever encoding it is: a wrong one spoils letters, and not the codes among them."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _of_json(text: str) -> Case | None:
    """Return the case in a JSON text; None for what only begins like one."""
    try:
        value = json_value(text, what="case", where="the whole text", limit=MAX_CASE_BYTES)
    except ParseError:
        return None
    if isinstance(value, dict) and MARK in value:
        return case_of(value)
    check_depth(value, what="case", where="the whole text", limit=MAX_DEPTH)
    archived = rows_of_har(value)
    rows = archived[-MAX_EXCHANGES:] if archived is not None else value if isinstance(value, list) else [value]
    found = [case for case in (_of_member(row) for row in rows[:MAX_EXCHANGES]) if case is not None]
    if not found:
        raise _no_case("an error, or an exchange with request and response", "JSON without either")
    exchanges = tuple(exchange for case in found for exchange in case.exchanges)
    return replace(found[-1], exchanges=exchanges)


def _of_member(row: Json) -> Case | None:
    if not isinstance(row, dict):
        return None
    if all(isinstance(row.get(name), str) for name in ("error", *_ERROR_MEMBERS)):
        return Case(error=row)
    response = row.get("response")
    if isinstance(response, dict):
        return _of_exchange(row.get("request"), response)
    if isinstance(row.get("error", row.get("Error")), dict | str):
        return Case(exchanges=(_answered(row, 0),))
    return None


def _of_exchange(request: Json, response: Mapping[str, Json]) -> Case:
    """Return the case of a saved request and response, as skrkit's `--save` and other recorders write them."""
    asked: Mapping[str, Json] = request if isinstance(request, dict) else {}
    method, _, url = str(asked.get("line") or "").partition(" ")
    token, body = _without_secrets(asked.get("body"))
    status = response.get("status", response.get("status_code", response.get("statusCode")))
    exchange = _answered(
        _body(response.get("body")),
        status if isinstance(status, int) and not isinstance(status, bool) and 0 <= status <= 999 else 0,
        method=method or str(asked.get("method") or ""),
        url=url or str(asked.get("url") or ""),
        headers=_headers(response.get("headers")),
        error=str(response.get("error") or ""),
    )
    exchange = replace(exchange, request_headers=_headers(asked.get("headers")), request_body=body)
    return Case(exchanges=(exchange,), token=token)


def request_of_text(data: bytes, exchange: Exchange) -> tuple[Exchange, bytes]:
    """Return an exchange with the request in a file, and the attestation token that was in it, if one was.

    The file holds the body in JSON, or a request as `_of_exchange` reads it: `line` or `method` and `url`, `headers`,
    `body`. Raises `ParseError` for anything else.
    """
    value = json_value(_text(data), what="request", where="the whole text", limit=MAX_CASE_BYTES)
    check_depth(value, what="request", where="the whole text", limit=MAX_DEPTH)
    if not isinstance(value, dict):
        raise _no_case("a request in JSON", "JSON of another kind")
    whole = "line" in value or "url" in value
    case = _of_exchange(value if whole else {"body": value}, {})
    asked = case.exchanges[0]
    changed = replace(
        exchange,
        method=asked.method or exchange.method,
        url=asked.url or exchange.url,
        service=service_at(asked.url) or exchange.service,
        request_headers=asked.request_headers or exchange.request_headers,
        request_body=asked.request_body,
    )
    return changed, case.token


def _body(body: Json) -> Json:
    """Return a body that was saved as the text of its JSON as JSON."""
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
        try:
            return json_value(body, what="body", where="/response/body")
        except ParseError:
            return body
    return body


def _headers(value: Json) -> dict[str, str]:
    members = value if isinstance(value, dict) else {}
    return {
        name: LEFT_OUT if name.lower() in _SECRET_HEADERS else str(member)[:2048] for name, member in members.items()
    }


def _without_secrets(body: Json) -> tuple[bytes, Json]:
    """Return the attestation token in a request to release, and the body without it and without other secrets."""
    members = _body(body)
    if not isinstance(members, dict):
        return b"", None if members is None else LEFT_OUT
    target = members.get("target")
    kept: dict[str, Json] = {
        name: LEFT_OUT if name.lower() in _SECRET_MEMBERS or name == "target" else value
        for name, value in members.items()
    }
    is_token = isinstance(target, str) and target.startswith("eyJ") and target.isascii()
    return (target.encode("ascii") if is_token and isinstance(target, str) else b""), kept


def _answered(
    body: Json,
    status: int,
    *,
    method: str = "",
    url: str = "",
    headers: Mapping[str, str] | None = None,
    error: str = "",
) -> Exchange:
    """Return the exchange of an answer; status and service are read off its code where they are not known."""
    from skrkit.diagnosis.refusal import body_words

    code, _inner, _message, structured = body_words(body)
    service = service_at(url)
    return Exchange(
        service=service or (_SERVICE_OF_CODE.get(code, "") if structured else ""),
        method=method[:16],
        url=url[:2048],
        status=status or _STATUS_OF_CODE.get(code, 0),
        response_headers=dict(headers or {}),
        response_body=body,
        error=error[:MAX_TEXT],
    )


def _of_prose(text: str) -> Case:
    """Return the case in a text that is no JSON document: skrkit's own words, a curl dump, an exception."""
    own = _own_error(text)
    if own:
        return Case(error=own)
    dumped = _of_dump(text)
    if dumped is not None:
        return Case(exchanges=(dumped,))
    body = _embedded(text) or _of_exception(text)
    status = re.search(_STATUS_WORDS, text)
    method, url = _request(text)
    exchange = _answered(body, int(status.group(1)) if status else 0, method=method, url=url)
    return Case(exchanges=(exchange if body is not None else replace(exchange, error=_tokenless(text)),))


def _own_error(text: str) -> dict[str, Json]:
    """Return skrkit's error as it stands on stderr: "error: <what> at <where>", and its members below."""
    begin = re.search(_OWN, text)
    if begin is None:
        return {}
    members: dict[str, Json] = dict(re.findall(_OWN_MEMBER, text[begin.end() :]))
    if "found" not in members:
        return {}
    return {"error": "SkrkitError", "what": begin["what"], "where": begin["where"], **members}


def _of_dump(text: str) -> Exchange | None:
    """Return the last answer of `curl -i` or `curl -v`: status line, headers, an empty line, the body."""
    lines = list(re.finditer(_STATUS_LINE, text))
    if not lines:
        return None
    rest = text[lines[-1].end() :].lstrip("\r\n").replace("\r\n", "\n")
    head, body = [*re.split(_END_OF_HEADERS, rest, maxsplit=1), ""][:2]
    pairs = (re.match(_HEADER_LINE, line) for line in head.split("\n"))
    headers: dict[str, Json] = {found.group(1): found.group(2) for found in pairs if found is not None}
    method, url = _request(text)
    value = _body(body.strip()) if body.strip() else None
    if isinstance(value, str):
        value = _embedded(value) or value
    return _answered(value, int(lines[-1].group(1)), method=method, url=url, headers=_headers(headers))


def _request(text: str) -> tuple[str, str]:
    """Return method and URL of a request that a text names: of curl -v, of a log line, or the first Azure address."""
    line, host = re.search(_REQUEST_LINE, text), re.search(_HOST_LINE, text)
    if line is not None and host is not None:
        scheme = "http" if host.group(1).startswith("169.254.") else "https"
        return line.group(1), f"{scheme}://{host.group(1)}{line.group(2)}"
    named = re.search(_METHOD, text)
    if named is not None:
        return named.group(1), named.group(2)
    urls = [found.group() for found in re.finditer(_URL, text)]
    known = next((url for url in urls if service_at(url)), "")
    return "", known


def _embedded(text: str) -> Json:
    """Return the first JSON object with an error in it that stands anywhere in a text, or None."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    for found in islice(re.finditer(r"\{\s*\"[Ee]rror\"", text), MAX_EMBEDDED):
        try:
            value: Any = decoder.raw_decode(text, found.start())[0]
            check_depth(value, what="body", where="the text", limit=MAX_DEPTH)
        except (ValueError, RecursionError, SkrkitError):
            continue
        return value  # type: ignore[no-any-return]  # a JSON object
    return None


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _of_exception(text: str) -> Json:
    """Return the body that an SDK's exception was made of: "(Code) message", "Code:", "Message:", "Inner error:"."""
    line, lead = re.search(_CODE_LINE, text), re.search(_LEAD, text)
    code = line.group(1).strip('"') if line else lead.group(1) if lead else ""
    said = re.search(_MESSAGE_LINE, text)
    message = said.group(1) if said else lead.group(2) if lead else ""
    if not code or not message:
        return None
    error: dict[str, Json] = {"code": code, "message": message.strip()}
    inner = re.search(_INNER, text)
    if inner is not None:
        inside = re.search(r'"code"\s*:\s*"(\w{1,60})"', inner.group(1))
        error["innererror"] = {"code": inside.group(1)} if inside else None
    return {"error": error}


def _tokenless(text: str) -> str:
    """Return a text without what looks like a token in it."""
    return re.sub(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}", LEFT_OUT, text)
