"""The key leg: what the vault says of the key, held against the key's own bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading
from skrkit.wire import Json

_RULES = {  # AKV.SKR numbers: the rules about exportable keys, which only their making and changing can break
    "1003": "key.exportable-fixed",
    "1004": "key.no-policy",
    "1005": "key.policy-without-exportable",
    "1006": "key.software-type",
    "1013": "key.policy-encoding",
    "1014": "key.exportable-fixed",
    "1016": "key.policy-on-version",
    "1020": "key.policy-immutable",
}
_RULE = r"AKV\.SKR\.(\d{4})"
_OPERATION = r"Operation (\w+) is not (?:permitted|allowed)"
_NAMED = r"\(name/id\) ([^\s]{1,200}?) was not found"
_SENTENCES = (
    ("Exportable keys must have release policy", "key.no-policy"),
    ("Non-exportable keys must not have release policy", "key.policy-without-exportable"),
    ("missing 'version' property", "key.policy-version-missing"),
    ("Hardware key operation not allowed on standard vault", "key.standard-vault"),
    ("purge protection is enabled", "key.purge-protected"),
    ("k property of oct key is too large", "key.import-oct-size"),
    ("deleted but recoverable", "key.name-reserved"),
    ("Object is being deleted", "key.being-deleted"),
    ("on an expired key", "key.expired"),
    ("not yet valid", "key.not-yet-valid"),
)
_INNER = {
    "ObjectIsDeletedButRecoverable": "key.name-reserved",
    "ObjectIsBeingDeleted": "key.being-deleted",
    "KeyExpired": "key.expired",
    "KeyNotYetValid": "key.not-yet-valid",
}


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return what is wrong with the key: its state, its kind, its name, or the rule that a change of it breaks."""
    refusal, words = reading.refusal, reading.refusal.words
    rule = re.search(_RULE, words)
    if rule is not None:
        yield from _rule(reading, rule.group(1))
    elif refusal.inner == "KeyDisabled" or "on a disabled key" in words:
        yield _disabled(reading, "likely")
    elif refusal.inner == "KeyOperationForbidden" or "is not permitted on this key" in words:
        yield from _forbidden(reading)
    elif refusal.code == "KeyNotFound" or re.search(_NAMED, words):
        yield from _not_found(reading)
    else:
        cause = _INNER.get(refusal.inner) or next((cause for text, cause in _SENTENCES if text in words), "")
        if cause:
            yield reading.find(cause, "likely", expected="success", found=str(refusal)[:300])


def foresee(reading: Reading) -> Iterator[Finding]:
    """Return what the key's bundle alone shows: a release would fail by it."""
    if _attribute(reading, "enabled") is False:
        yield _disabled(reading, "proved")
    if _attribute(reading, "exportable") is False:
        yield _not_exportable(reading)


def _attribute(reading: Reading, name: str) -> Json:
    """Return an attribute of the key, in the vault's form or in the Azure command line's."""
    return reading.part(reading.case.key, "attributes", name)


def _rule(reading: Reading, number: str) -> Iterator[Finding]:
    if number == "1001":
        sku = reading.part(reading.case.vault, "properties", "sku", "name")
        standard = str(sku).lower() == "standard"
        found = f"SKU {sku}" if sku else str(reading.refusal)[:300]
        yield reading.find(
            "key.standard-vault", "proved" if standard else "likely", expected="a Premium vault", found=found
        )
        if not standard:
            found = "a client that may be older"
            yield reading.find("key.api-version", "possible", expected="api-version 7.3 or later", found=found)
    elif number in _RULES:
        yield reading.find(_RULES[number], "likely", expected="success", found=str(reading.refusal)[:300])


def _disabled(reading: Reading, otherwise: str) -> Finding:
    proved = _attribute(reading, "enabled") is False or otherwise == "proved"
    return reading.find(
        "key.disabled",
        "proved" if proved else "likely",
        expected="enabled true",
        found="enabled false" if proved else str(reading.refusal)[:300],
        where="/attributes/enabled" if proved else "",
    )


def _not_exportable(reading: Reading) -> Finding:
    return reading.find(
        "key.not-exportable",
        "proved",
        expected="exportable true",
        found="exportable false",
        where="/attributes/exportable",
    )


def _forbidden(reading: Reading) -> Iterator[Finding]:
    """Return whether the key can be released at all, or only lacks this operation."""
    operation = re.search(_OPERATION, reading.refusal.words)
    name = operation.group(1) if operation else "release"
    if name == "release" and _attribute(reading, "exportable") is False:
        yield _not_exportable(reading)
        return
    ops = reading.part(reading.case.key, "key", "key_ops")
    listed = [str(op) for op in ops] if isinstance(ops, list) else []
    if name == "release" and not reading.case.key:
        found = str(reading.refusal)[:300]
        yield reading.find("key.not-exportable", "likely", expected="an exportable key", found=found)
    yield reading.find(
        "key.not-released",
        "proved"
        if listed and name not in listed and name != "release"
        else "likely"
        if reading.case.key
        else "possible",
        expected=f"{name} among the key's operations",
        found=", ".join(listed) or str(reading.refusal)[:300],
        where="/key/key_ops" if listed else "",
    )


def _not_found(reading: Reading) -> Iterator[Finding]:
    """Return why the key is not there: deleted, another version, or never there."""
    named = re.search(_NAMED, reading.refusal.words)
    name, _, version = (named.group(1) if named else _path_name(reading.refusal.url)).partition("/")
    deleted = reading.case.key.get("recoveryId") or reading.case.key.get("deletedDate")
    if deleted:
        yield reading.find(
            "key.deleted",
            "proved",
            expected=f"key {name}",
            found="a deleted key of this name",
            where="/recoveryId",
            evidence=(f"deletedDate {reading.case.key.get('deletedDate')}",),
        )
        return
    kid = reading.part(reading.case.key, "key", "kid")
    there = isinstance(kid, str) and f"/keys/{name.lower()}/" in f"{kid.lower()}/"
    if version:
        yield reading.find(
            "key.wrong-version",
            "proved" if there else "likely",
            expected=f"a version that key {name} has",
            found=version,
            evidence=(f"the key is there: {kid}",) if there else (),
        )
    if there:
        return
    yield reading.find(
        "key.not-found",
        "possible" if version else "likely",
        expected="a key of this name in this vault",
        found=f"none called {name}" if name else "none",
    )
    found = "a name that a deleted key may hold"
    yield reading.find("key.deleted", "possible", expected=f"key {name}", found=found)


def _path_name(url: str) -> str:
    parts = url.split("?", maxsplit=1)[0].split("/keys/", maxsplit=1)
    return parts[1].removesuffix("/release").rstrip("/") if len(parts) == 2 else ""
