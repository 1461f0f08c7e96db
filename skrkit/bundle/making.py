"""The making of a bundle out of a case: redaction, checks, manifest. Bytes out; no file, no socket, no clock."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from skrkit.bundle import manifest as manifests
from skrkit.bundle.archive import pack
from skrkit.bundle.bundle import DOCTOR, VERSIONS
from skrkit.bundle.carried import carried_by, shown_ids
from skrkit.bundle.contents import SIGNED_TOKEN, Part, json_part, parts_of
from skrkit.bundle.identifiers import Pseudonyms
from skrkit.bundle.manifest import Manifest, entry_of, manifest_bytes
from skrkit.bundle.outcomes import CHECKS, outcomes_of
from skrkit.bundle.redaction import Redaction, check_no_secrets
from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.case_json import without_token
from skrkit.encoding import b64url
from skrkit.errors import SkrkitError
from skrkit.wire import Json

_EVIDENCE_CHECKS = ("evidence", "claims")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What goes into a bundle. By default raw evidence does, and identifiers and the signed token do not.

    The signed attestation token opens the vault to whoever holds it as long as it lives: eight hours.
    """

    with_identifiers: bool = False
    with_evidence: bool = True
    with_token: bool = False


def make_bundle(
    case: Case,
    *,
    now: datetime,
    skrkit: str,
    versions: Mapping[str, Json] | None = None,
    doctor: Mapping[str, Json] | None = None,
    choice: Choice | None = None,
) -> bytes:
    """Return the bundle of a case, with what every check says of it at the time of the case, `now` if it has none.

    The outcomes are made of what is in the bundle, so that they come out again. Raises `VerificationError` (step
    `bundle.secrets`) if something that looks like a secret would stand in it.
    """
    chosen = choice or Choice()
    dated = case if case.at is not None else replace(case, at=now)
    whole = dated if chosen.with_token else without_token(dated)
    redaction = _redaction(whole, doctor or {}, chosen)
    kept = _redacted(whole, redaction, chosen)
    outcomes = outcomes_of(kept)
    notes = _changed(dated, outcomes)
    if not chosen.with_evidence:
        before = outcomes_of(whole)
        outcomes |= {name: _object(redaction.json(before[name])) for name in _EVIDENCE_CHECKS if name in before}
    parts = parts_of(kept)
    for check in CHECKS:
        if check.name in outcomes:
            parts[f"report/{check.name}.json"] = json_part(outcomes[check.name], check.title)
    if doctor:
        parts[DOCTOR] = json_part(redaction.json(dict(doctor)), "Doctor's report")
    if versions:
        parts[VERSIONS] = json_part(dict(versions), "Versions of what made this")
    check_no_secrets({name: part.data for name, part in parts.items() if name != SIGNED_TOKEN})
    made = _manifest(parts, kept, case, redaction, chosen, captured=dated.at or now, skrkit=skrkit, notes=notes)
    return pack({**{name: part.data for name, part in parts.items()}, manifests.NAME: manifest_bytes(made)})


def _redaction(case: Case, doctor: Mapping[str, Json], chosen: Choice) -> Redaction:
    if chosen.with_identifiers:
        return Redaction(pseudonyms=None)
    shown = shown_ids(case.evidence)
    pseudonyms = Pseudonyms(kept=frozenset(shown.values()) if chosen.with_evidence else frozenset())
    for text, kind in ((shown.get("vm", ""), "guid"), (shown.get("chip", ""), "chip")):
        pseudonyms.name(kind, text)
    for document, kind in ((case.vm, "vm"), (case.vault, "vault"), (case.instance, "vm")):
        pseudonyms.name(kind, str(document.get("name") or ""))
    for name in ("vault", "key", "vm", "resource_group"):
        pseudonyms.learn({name: case.asked.get(name, "")})
    for part in (case.asked, case.error, case.access_token, case.claims, case.token_header, case.token_verdict):
        pseudonyms.learn(dict(part))
    for part in (case.key, case.vault, case.vm, case.instance, case.machine, doctor):
        pseudonyms.learn(dict(part))
    for exchange in case.exchanges:
        pseudonyms.learn(_exchange_texts(exchange))
    pseudonyms.learn([case.authority, case.policy.decode("utf-8", "replace")])
    return Redaction(pseudonyms=pseudonyms)


def _exchange_texts(exchange: Exchange) -> list[Json]:
    headers: list[Json] = [dict(exchange.request_headers), dict(exchange.response_headers)]
    return [exchange.url, exchange.error, exchange.request_body, exchange.response_body, *headers]


def _redacted(case: Case, redaction: Redaction, chosen: Choice) -> Case:
    def documents(value: Mapping[str, Json]) -> dict[str, Json]:
        return _object(redaction.json(dict(value)))

    def texts(value: Mapping[str, str]) -> dict[str, str]:
        return {name: str(text) for name, text in documents(dict(value)).items()}

    exchanges = tuple(
        Exchange(
            service=exchange.service,
            method=exchange.method,
            url=str(redaction.json(exchange.url)),
            request_headers=texts(exchange.request_headers),
            request_body=redaction.json(exchange.request_body),
            status=exchange.status,
            response_headers=texts(exchange.response_headers),
            response_body=redaction.json(exchange.response_body),
            error=str(redaction.json(exchange.error)),
        )
        for exchange in case.exchanges
    )
    return replace(
        case,
        error=documents(case.error),
        exchanges=exchanges,
        access_token=documents(case.access_token),
        claims=documents(case.claims),
        token_header=documents(case.token_header),
        token_verdict=documents(case.token_verdict),
        jwks=case.jwks if chosen.with_identifiers else _plain_keys(case.jwks),
        authority=str(redaction.json(case.authority)),
        policy=redaction.text(case.policy),
        key=documents(case.key),
        vault=documents(case.vault),
        vm=documents(case.vm),
        instance=documents(case.instance),
        evidence=case.evidence if chosen.with_evidence else {},
        asked=texts(case.asked),
        machine=documents(case.machine),
    )


def _plain_keys(jwks: bytes) -> bytes:
    """Return a key set as plain numbers: certificates name the provider, which may be the customer's own."""
    from skrkit.token.jwks import parse_jwks

    if not jwks:
        return b""
    try:
        keys = parse_jwks(jwks).keys
    except SkrkitError:
        return b""
    entries: list[Json] = []
    for key in keys:
        entry: dict[str, Json] = {"kid": key.kid, "kty": key.kty}
        entry |= {name: text for name, text in (("use", key.use), ("alg", key.alg)) if text}
        if key.modulus:
            numbers = {"n": key.modulus, "e": key.exponent}
            entry |= {
                name: b64url(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in numbers.items()
            }
        entries.append(entry)
    return (json.dumps({"keys": entries}, indent=2) + "\n").encode()


def _changed(whole: Case, outcomes: Mapping[str, Mapping[str, Json]]) -> list[str]:
    """Return a note if what was left out or replaced changes what the explanation says first."""
    before = _first_cause(outcomes_of(whole).get("explanation", {}))
    after = _first_cause(outcomes.get("explanation", {}))
    if before == after:
        return []
    said = f"of the whole case it was {before or 'none'}, here it is {after or 'none'}."
    return [f"What was left out or replaced changes the explanation: {said}"]


def _first_cause(explanation: Mapping[str, Json]) -> str:
    findings = explanation.get("findings")
    first = findings[0] if isinstance(findings, list) and findings else {}
    return str(first.get("cause") or "") if isinstance(first, dict) else ""


def _manifest(
    parts: Mapping[str, Part],
    kept: Case,
    case: Case,
    redaction: Redaction,
    chosen: Choice,
    *,
    captured: datetime,
    skrkit: str,
    notes: list[str],
) -> Manifest:
    left_out = []
    if case.token and not chosen.with_token:
        left_out.append("The signed attestation token: its header, claims and the verdict on it are here instead.")
    if case.evidence and not chosen.with_evidence:
        left_out.append("The raw evidence: what was verified of it is recorded, and cannot be verified again.")
    if case.jwks and not chosen.with_identifiers:
        left_out.append("The certificates beside the provider's keys: the keys are here as numbers.")
    return Manifest(
        raw=b"",
        skrkit=skrkit,
        captured_at=captured,
        world=case.world,
        entries=tuple(
            entry_of(name, part.data, kind=part.kind, title=part.title) for name, part in sorted(parts.items())
        ),
        redaction=_redaction_members(redaction),
        carried=tuple(carried_by(kept.evidence)),
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def _redaction_members(redaction: Redaction) -> dict[str, Json]:
    secrets: dict[str, Json] = dict(sorted(redaction.secrets.items()))
    how = "Secrets are replaced by the first 8 hex digits of their SHA-256 and their length."
    if redaction.pseudonyms is None:
        return {"identifiers": "kept", "secrets": secrets, "how": how}
    used = Counter(redaction.pseudonyms.counts)
    return {
        "identifiers": "pseudonyms",
        "replaced": dict(sorted(used.items())),
        "secrets": secrets,
        "how": f"{how} An identifier has one pseudonym of its own form wherever it stands; the list is kept nowhere. "
        "Raw evidence is unchanged: what it shows is listed under `carried`, and stays readable elsewhere too.",
    }


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
