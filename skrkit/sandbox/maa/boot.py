"""What the event log says of the boot, after its replay has been held against the quoted PCRs.

How the real service derives these claims is not published (inferred): here secure boot and the signature databases
come from the measured variables in PCR 7, and the Windows-only flags have the values that Linux tokens show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from skrkit.errors import SkrkitError
from skrkit.sandbox.maa.refusal import malformed, refused
from skrkit.sandbox.uefivars import digests

REPLAYED = frozenset(range(8))
"""The PCRs that firmware owns, which the log must lead to. Others can be extended later, by the running system."""

STEP = "eventlog.replay_eq_pcrs"
PARSE_STEP = "eventlog.parse"
PAYLOAD_STEP = "eventlog.payloads"
SECURE_BOOT_PCR = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What was measured: whether secure boot was on, and which variables have the content that is known good."""

    secure_boot: bool
    known_good: frozenset[str]  # of "PK", "KEK", "db", "dbx"

    def without(self, name: str) -> Boot:
        """Return the boot as it is to a service that does not know this variable's content."""
        return replace(self, known_good=self.known_good - {name})


NOTHING = Boot(secure_boot=False, known_good=frozenset())


def read_boot(log: bytes, pcrs: Mapping[int, bytes]) -> Boot:
    """Return what the log says, once it replays to the attested `pcrs` (SHA-256 bank).

    An empty log is accepted, as by the real service, and says nothing: every claim that rests on it is false.
    Raises `AzureError` 400: not a log, a replay that differs, a payload that is not what was measured.
    """
    from skrkit.evidence.eventlog import parse_event_log

    if not log:
        return NOTHING
    try:
        parsed = parse_event_log(log)
        replayed = parsed.replay("sha256")
    except SkrkitError as cause:
        raise malformed(PARSE_STEP, cause) from None
    _check_replay(replayed, pcrs)
    for event in parsed.events:
        if event.pcr_index in REPLAYED and event.finding().verdict == "differs":
            raise refused(PAYLOAD_STEP, f"event {event.index} of the log is not what its digest was made of.")
    if SECURE_BOOT_PCR not in pcrs:
        return NOTHING  # nothing vouches for the variables
    variables = parsed.secure_boot_variables()
    good = {name for name, known in digests().items() if hashlib.sha256(variables.get(name, b"")).hexdigest() == known}
    return Boot(secure_boot=variables.get("SecureBoot") == b"\x01", known_good=frozenset(good))


def _check_replay(replayed: Mapping[int, bytes], pcrs: Mapping[int, bytes]) -> None:
    for pcr in sorted(REPLAYED & pcrs.keys()):
        if replayed.get(pcr, bytes(32)) != pcrs[pcr]:
            raise refused(STEP, f"the event log does not lead to the quoted value of PCR {pcr}.")
