"""A guest token's own claims, recomputed from the quote, the event log, the paravisor's claims and the request.

How the service derives claims from the event log is not published: what is said here is inferred from its tokens and
marked so. A log counts only if it replays to the PCR values given.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError
from skrkit.token.claims_guest import GUEST
from skrkit.token.recompute_runtime import paravisor_document
from skrkit.token.recomputed import Answer, ClaimEvidence, NotRecomputed, Recomputed, unreadable
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.evidence.eventlog import Event, EventLog

_P = "x-ms-azurevm-"
_BANK = "sha256"
_FIRMWARE_PCRS = range(8)  # those that the log must lead to; the others can be extended later
_WINDOWS_PCRS = range(11, 15)  # where Windows measures tagged events; Linux's shim has its own in PCR 14, not tagged
# What tokens of Linux guests say where Windows would have measured something.
_WITHOUT_WINDOWS: Mapping[str, Json] = {
    "bootdebug-enabled": False,
    "debuggersdisabled": True,
    "elam-enabled": False,
    "flightsigning-enabled": False,
    "hvci-policy": 0,
    "hypervisordebug-enabled": False,
    "is-windows": False,
    "kerneldebug-enabled": False,
    "signingdisabled": True,
    "testsigning-enabled": False,
}
_KNOWN_CONTENT = {
    "dbvalidated": "db",
    "dbxvalidated": "dbx",
    "default-securebootkeysvalidated": "PK, KEK and db",
}
_REQUEST_TEXT = {"ostype": "OSType", "osdistro": "OSDistro", "osbuild": "OSBuild"}
_REQUEST_PLAIN = {
    "attestation-protocol-ver": "AttestationProtocolVersion",
    "osversion-major": "OSVersionMajor",
    "osversion-minor": "OSVersionMinor",
}


def guest_claims(evidence: ClaimEvidence) -> dict[str, Answer]:
    """Return the guest's claims by name, each with its value or why it has none; all of the catalogue's are there."""
    answers: dict[str, Answer] = {
        fact.path: NotRecomputed("nothing published says how it is made", only_maa=True) for fact in GUEST
    }
    for name, variable in _KNOWN_CONTENT.items():
        why = f"which contents of {variable} the service accepts is not published"
        answers[_P + name] = NotRecomputed(why, only_maa=True)
    answers |= dict(_of_log(evidence))
    answers |= dict(_of_request(evidence.request))
    answers[f"{_P}attested-pcrs"] = _attested_pcrs(evidence)
    answers[f"{_P}vmid"] = _vm_id(evidence)
    return answers


def _attested_pcrs(evidence: ClaimEvidence) -> Answer:
    if not evidence.quote:
        return NotRecomputed("no quote was given")
    from skrkit.tpm.algorithms import Alg
    from skrkit.tpm.attest import parse_attest

    try:
        quote = parse_attest(evidence.quote)
    except SkrkitError as error:
        return unreadable(error)
    if not quote.is_quote:
        return NotRecomputed("the structure given is not a quote")
    pcrs: list[Json] = [pcr for selection in quote.pcr_select if selection.alg == Alg.SHA256 for pcr in selection.pcrs]
    return Recomputed(value=pcrs, source="TPM quote, PCR selection of the SHA-256 bank")


def _vm_id(evidence: ClaimEvidence) -> Answer:
    document = paravisor_document(evidence)
    if isinstance(document, NotRecomputed):
        return document
    configuration = document.get("vm-configuration")
    value = configuration.get("vmUniqueId") if isinstance(configuration, dict) else None
    if not isinstance(value, str):
        return NotRecomputed("the runtime claims have no vmUniqueId")
    at = "runtime claims /vm-configuration/vmUniqueId"
    return Recomputed(value=value, source=at, any_case=True, inferred=True)


def _of_log(evidence: ClaimEvidence) -> Iterator[tuple[str, Answer]]:
    names = ("secureboot", *(_P + name for name in _WITHOUT_WINDOWS))
    log = _replayed(evidence)
    if isinstance(log, NotRecomputed):
        for name in names:
            yield name, log
        return
    secure_boot = log.secure_boot()
    if secure_boot is None:
        yield "secureboot", NotRecomputed("no event with a payload that was measured says SecureBoot")
    else:
        at = "event log, PCR 7, variable SecureBoot" + ("" if evidence.pcrs else "; not held against PCR values")
        yield "secureboot", Recomputed(value=secure_boot, source=at, inferred=True)
    measured = sorted({event.pcr_index for event in log.events if _is_of_windows(event)})
    for name, value in _WITHOUT_WINDOWS.items():
        if measured:
            why = f"PCR {', '.join(map(str, measured))} has tagged events: what Windows measured is not read"
            yield _P + name, NotRecomputed(why)
        else:
            source = "event log: no tagged event of Windows in PCR 11 to 14"
            yield _P + name, Recomputed(value=value, source=source, inferred=True)


def _is_of_windows(event: Event) -> bool:
    from skrkit.evidence.eventtypes import EventType

    return event.pcr_index in _WINDOWS_PCRS and event.event_type == EventType.EV_EVENT_TAG


def _replayed(evidence: ClaimEvidence) -> EventLog | NotRecomputed:
    """Return the log if it parses and leads to the PCR values given, as far as there are any."""
    if not evidence.event_log:
        return NotRecomputed("no event log was given")
    from skrkit.evidence.eventlog import parse_event_log

    try:
        log = parse_event_log(evidence.event_log)
        replayed = log.replay(_BANK)
    except SkrkitError as error:
        return unreadable(error)
    for pcr in _FIRMWARE_PCRS:
        if pcr in evidence.pcrs and replayed.get(pcr, bytes(32)) != evidence.pcrs[pcr]:
            return NotRecomputed(f"the event log does not lead to the value of PCR {pcr}: it vouches for nothing")
    return log


def _of_request(request: Mapping[str, Json]) -> Iterator[tuple[str, Answer]]:
    for name, member in {**_REQUEST_TEXT, **_REQUEST_PLAIN}.items():
        if member not in request:
            yield _P + name, NotRecomputed("the request to the service was not given")
            continue
        value = request[member]
        if name in _REQUEST_TEXT:
            value = _decoded(value)
        elif name.startswith("osversion") and isinstance(value, str) and value.isdecimal():
            value = int(value)  # one of Microsoft's clients sends "04"
        yield _P + name, Recomputed(value=value, source=f"request /{member}")


def _decoded(value: Json) -> Json:
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return value
