"""A case as the files of a bundle, and back: each part a file of its own, which a person can read with any tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from skrkit.diagnosis.case import EVIDENCE_NAMES, Case, Exchange
from skrkit.encoding import json_object, json_value, member
from skrkit.errors import ParseError
from skrkit.wire import Json, pointer

ABOUT = "case/about.json"
EXCHANGES = "case/exchanges.json"
TOKEN = "case/token.json"  # noqa: S105 - a file's name
SIGNED_TOKEN = "case/token.jwt"  # noqa: S105 - a file's name
JWKS = "case/jwks.json"
POLICY = "case/policy.json"
# Members of a case that are JSON objects, each its own file.
OBJECTS = {
    "access_token": ("case/access-token.json", "Claims of the caller's token at the vault"),
    "key": ("case/key.json", "The key as the vault describes it"),
    "vault": ("case/vault.json", "The vault as Resource Manager describes it"),
    "vm": ("case/vm.json", "The VM as Resource Manager describes it"),
    "instance": ("case/instance.json", "The VM as IMDS describes it"),
    "machine": ("case/machine.json", "What the machine says of itself"),
}
EVIDENCE = {
    "hcl-report": ("evidence/hcl-report.bin", "hcl-report", "Azure HCL report, NV index 0x01400001"),
    "vcek": ("evidence/vcek.pem", "certificate", "VCEK certificate"),
    "chain": ("evidence/chain.pem", "certificate", "AMD's certificates above it"),
    "ak-certificate": ("evidence/ak-certificate.der", "certificate", "AK certificate, NV index 0x01C101D0"),
    "ak-public": ("evidence/ak-public.bin", "tpm2b-public", "Attestation key, TPM2B_PUBLIC"),
    "quote": ("evidence/quote.bin", "tpms-attest", "TPM quote"),
    "quote-signature": ("evidence/quote-signature.bin", "tpm-signature", "The quote's signature"),
    "pcrs": ("evidence/pcrs.json", "pcrs", "PCR values"),
    "event-log": ("evidence/event-log.bin", "tcg-event-log", "TCG event log"),
    "key-public": ("evidence/key-public.bin", "tpm2b-public", "Ephemeral key, TPM2B_PUBLIC"),
    "key-certify": ("evidence/key-certify.bin", "tpms-attest", "The ephemeral key's certification"),
    "key-certify-signature": ("evidence/key-certify-signature.bin", "tpm-signature", "Its signature"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file before it is packed: its bytes, its kind and what it is."""

    data: bytes
    kind: str
    title: str


def json_part(value: Json, title: str) -> Part:
    """Return a JSON value as a file's content, always the same text for the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return Part(data=(text + "\n").encode("utf-8", "surrogatepass"), kind="json", title=title)


def parts_of(case: Case) -> dict[str, Part]:
    """Return the files of a case; what is not known has no file."""
    parts = {ABOUT: json_part(_about(case), "When, where, what was asked for, and how it ended")}
    if case.exchanges:
        rows: list[Json] = [_exchange_json(exchange) for exchange in case.exchanges]
        parts[EXCHANGES] = json_part(rows, "Requests and answers, in order")
    if case.claims or case.token_header or case.token_verdict:
        token: dict[str, Json] = {
            "header": dict(case.token_header),
            "claims": dict(case.claims),
            "verdict": dict(case.token_verdict),
        }
        parts[TOKEN] = json_part(token, "The attestation token without its signature, and what verified it")
    if case.token:
        parts[SIGNED_TOKEN] = Part(data=case.token, kind="jwt", title="The signed attestation token")
    if case.jwks:
        parts[JWKS] = Part(data=case.jwks, kind="jwks", title="The provider's keys")
    if case.policy:
        parts[POLICY] = Part(data=case.policy, kind="release-policy", title="The key's release policy")
    for name, (path, title) in OBJECTS.items():
        value: Mapping[str, Json] = getattr(case, name)
        if value:
            parts[path] = json_part(dict(value), title)
    for name, data in case.evidence.items():
        path, kind, title = EVIDENCE[name]
        parts[path] = Part(data=data, kind=kind, title=title)
    return parts


def _about(case: Case) -> dict[str, Json]:
    return {
        "at": None if case.at is None else case.at.isoformat(),
        "world": case.world,
        "faults": list(case.faults),
        "authority": case.authority,
        "amd_roots": dict(case.amd_roots),
        "asked": dict(case.asked),
        "error": dict(case.error),
    }


def _exchange_json(exchange: Exchange) -> dict[str, Json]:
    return {
        "service": exchange.service,
        "method": exchange.method,
        "url": exchange.url,
        "request_headers": dict(exchange.request_headers),
        "request_body": exchange.request_body,
        "status": exchange.status,
        "response_headers": dict(exchange.response_headers),
        "response_body": exchange.response_body,
        "error": exchange.error,
    }


def case_of(files: Mapping[str, bytes]) -> Case:
    """Return the case in the files of a bundle. Raises `ParseError` with the file's name for one that is malformed."""
    about = _object(files, ABOUT)
    token = _object(files, TOKEN)
    parts: dict[str, dict[str, Json]] = {name: _object(files, path) for name, (path, _) in OBJECTS.items()}
    return Case(
        at=_time(about.get("at")),
        error=_member(about, "error", ABOUT),
        exchanges=tuple(_exchange(row, index) for index, row in enumerate(_rows(files))),
        token=files.get(SIGNED_TOKEN, b""),
        claims=_member(token, "claims", TOKEN),
        token_header=_member(token, "header", TOKEN),
        token_verdict=_member(token, "verdict", TOKEN),
        jwks=files.get(JWKS, b""),
        authority=str(about.get("authority") or ""),
        policy=files.get(POLICY, b""),
        evidence={name: files[EVIDENCE[name][0]] for name in EVIDENCE_NAMES if EVIDENCE[name][0] in files},
        asked={name: str(value) for name, value in _member(about, "asked", ABOUT).items()},
        world=str(about.get("world") or ""),
        faults=_faults(about),
        amd_roots={name: str(value) for name, value in _member(about, "amd_roots", ABOUT).items()},
        **parts,
    )


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Json]:
    data = files.get(name)
    return {} if data is None else json_object(data, what="evidence bundle", where=name)


def _member(document: dict[str, Json], name: str, where: str) -> dict[str, Json]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise _refused(where, pointer(name), "an object")
    return value


def _faults(about: dict[str, Json]) -> tuple[str, ...]:
    names = about.get("faults", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _refused(ABOUT, "/faults", "an array of names")
    return tuple(map(str, names))


def _rows(files: Mapping[str, bytes]) -> list[Json]:
    data = files.get(EXCHANGES)
    rows = [] if data is None else json_value(data, what="evidence bundle", where=EXCHANGES)
    if not isinstance(rows, list):
        raise _refused(EXCHANGES, "", "an array")
    return rows


def _exchange(row: Json, index: int) -> Exchange:
    at = pointer(index)
    if not isinstance(row, dict):
        raise _refused(EXCHANGES, at, "an object")
    status = member(row, "status", int, what=EXCHANGES, at=at)
    assert isinstance(status, int)
    return Exchange(
        service=str(member(row, "service", str, what=EXCHANGES, at=at)),
        method=str(member(row, "method", str, what=EXCHANGES, at=at)),
        url=str(member(row, "url", str, what=EXCHANGES, at=at)),
        request_headers=_headers(row, "request_headers"),
        request_body=row.get("request_body"),
        status=status,
        response_headers=_headers(row, "response_headers"),
        response_body=row.get("response_body"),
        error=str(member(row, "error", str, what=EXCHANGES, at=at)),
    )


def _headers(row: dict[str, Json], name: str) -> dict[str, str]:
    return {header: str(value) for header, value in _member(row, name, EXCHANGES).items()}


def _time(text: Json) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _refused(ABOUT, "/at", "a time with its zone")
    return moment


def _refused(name: str, at: str, expected: str) -> ParseError:
    return ParseError(
        what="evidence bundle",
        where=f"{name}{at}",
        expected=expected,
        found="something else",
        fix="Take the bundle again: this file was written by hand.",
    )
