"""The TCG event log: what was measured into the PCRs since power-on. Little-endian, no trust until replayed.

The first record has the old SHA-1 form and holds the Spec ID structure; every other is a TCG_PCR_EVENT2. Logs that
have only the old form (TPM 1.2, "Spec ID Event00") are refused by name: Azure's are crypto-agile.
Source: TCG PC Client Platform Firmware Profile, "Event Logging".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from skrkit.errors import ParseError, UsageError
from skrkit.evidence.eventpayloads import PayloadFinding, check_payload
from skrkit.evidence.eventtypes import (
    EventType,
    describe_payload,
    startup_locality,
    type_meaning,
    type_name,
    variable_parts,
)
from skrkit.tpm.algorithms import DIGEST_BYTES, Alg, TpmCursor, alg_name, hash_bytes
from skrkit.tpm.pcr import PCR_COUNT
from skrkit.wire import Json, Span, where

MAX_LOG_BYTES = 1 << 20  # a Linux boot with GRUB's commands has 45 kB
MAX_EVENT_BYTES = 1 << 18  # the largest seen is a dbx of 18 kB
MAX_ALGORITHMS = 8
SIGNATURE = b"Spec ID Event03\0"
_WHOLE_LOG = "Pass the whole binary log, /sys/kernel/security/tpm0/binary_bios_measurements."
SECURE_BOOT_PCR = 7
SOURCE = "TCG PC Client Platform Firmware Profile"
_LOCALITIES = frozenset({0, 3, 4})  # who started the TPM: firmware (0, 3) or a hardware CRTM (4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecId:
    """The Spec ID structure of the first record. `algorithms` are the log's banks: TPM_ALG_ID and digest size."""

    platform_class: int
    spec_version_minor: int
    spec_version_major: int
    spec_errata: int
    uintn_size: int
    algorithms: tuple[tuple[int, int], ...]
    vendor_info: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A TCG_PCR_EVENT2. `digests` are by TPM_ALG_ID; `index` counts the Spec ID record as 0; `offset` is in the log."""

    index: int
    offset: int
    pcr_index: int
    event_type: int
    digests: Mapping[int, bytes]
    payload: bytes

    @property
    def type_name(self) -> str:
        """The event type's name, or its number in hex."""
        return type_name(self.event_type)

    @property
    def extended(self) -> bool:
        """Whether the event's digests went into a PCR; an EV_NO_ACTION is for readers only."""
        return self.event_type != EventType.EV_NO_ACTION

    def finding(self) -> PayloadFinding:
        """Return whether the payload hashes to the digests."""
        return check_payload(
            index=self.index,
            pcr_index=self.pcr_index,
            event_type=self.event_type,
            digests=self.digests,
            payload=self.payload,
        )

    def to_json(self) -> dict[str, Json]:
        """Return the event as JSON members; the payload as decoded, its bytes only if they are few."""
        members: dict[str, Json] = {
            "index": self.index,
            "pcr_index": self.pcr_index,
            "event_type": self.type_name,
            "digests": {alg_name(alg): digest.hex() for alg, digest in self.digests.items()},
            "event_size": len(self.payload),
        }
        decoded = describe_payload(self.event_type, self.payload)
        return members | ({"event": decoded} if decoded else {"event_bytes": self.payload[:256].hex()})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLog:
    """A parsed event log: the Spec ID and the events after it."""

    kind: ClassVar[str] = "tcg-event-log"
    title: ClassVar[str] = "TCG event log"

    raw: bytes
    spec_id: SpecId
    events: tuple[Event, ...]

    @property
    def banks(self) -> tuple[str, ...]:
        """The banks that the log has digests for, in its own order: "sha1", "sha256"..."""
        return tuple(alg_name(alg) for alg, _ in self.spec_id.algorithms)

    def replay(self, bank: str = "sha256") -> dict[int, bytes]:
        """Return the PCRs that the log leads to in one bank, by index; a PCR that no event touches is not there.

        Every PCR starts at zero, PCR 0 at the startup locality if the log names one. EV_NO_ACTION is not extended.
        Raises `UsageError` for a bank that the log does not have, `ParseError` for an event without its digest.
        """
        alg, size = self._bank(bank)
        pcrs: dict[int, bytes] = {}
        locality = self.startup_locality()
        if locality is not None:
            pcrs[0] = bytes(size - 1) + bytes([locality])
        for event in self.events:
            if not event.extended:
                continue
            digest = event.digests.get(alg)
            if digest is None:
                raise _refuse(event.offset, 12, "digests", expected=f"a {bank} digest", found="none of that bank")
            pcrs[event.pcr_index] = hash_bytes(alg, pcrs.get(event.pcr_index, bytes(size)) + digest)
        return dict(sorted(pcrs.items()))

    def _bank(self, bank: str) -> tuple[int, int]:
        for alg, size in self.spec_id.algorithms:
            if alg_name(alg) == bank:
                return alg, size
        raise UsageError(
            what="event log bank",
            where="argument `bank`",
            expected=f"one of {', '.join(self.banks)}",
            found=repr(bank),
            fix="Replay a bank that the log has digests for; Azure attests sha256.",
        )

    def startup_locality(self) -> int | None:
        """Return the locality that TPM2_Startup came from, if the log says so: it is PCR 0's first value."""
        for event in self.events:
            if not event.extended and (locality := startup_locality(event.payload)) is not None:
                return locality
        return None

    def payload_findings(self) -> tuple[PayloadFinding, ...]:
        """Return, for each event, whether its payload is what was measured: match, differs or cannot-be-checked."""
        return tuple(event.finding() for event in self.events)

    def secure_boot_variables(self) -> dict[str, bytes]:
        """Return what firmware measured of secure boot: the variables by name, with their content.

        They are in PCR 7, before its separator, and the first of a name counts: whoever runs later can extend that PCR
        too, by a variable of any name and content, and the log would still replay. A payload that is not what was
        measured says nothing.
        """
        found: dict[str, bytes] = {}
        for event in self.events:
            if event.pcr_index != SECURE_BOOT_PCR:
                continue
            if event.event_type == EventType.EV_SEPARATOR:
                break
            if event.event_type != EventType.EV_EFI_VARIABLE_DRIVER_CONFIG or event.finding().verdict != "match":
                continue
            parts = variable_parts(event.payload)
            if parts is not None:
                found.setdefault(parts[1], parts[2])
        return found

    def secure_boot(self) -> bool | None:
        """Return whether secure boot was on, if the log has the variable that says so."""
        return {b"\0": False, b"\x01": True}.get(self.secure_boot_variables().get("SecureBoot", b""))

    def _complete_banks(self) -> tuple[str, ...]:
        extended = [event for event in self.events if event.extended]
        algorithms = [alg for alg, _ in self.spec_id.algorithms]
        return tuple(alg_name(alg) for alg in algorithms if all(alg in event.digests for event in extended))

    def fields(self) -> dict[str, Json]:
        """Return the Spec ID, the count of each type, the replayed PCRs of each complete bank, every event."""
        spec = self.spec_id
        counts = Counter(event.type_name for event in self.events)
        return {
            "platform_class": spec.platform_class,
            "spec_version": f"{spec.spec_version_major}.{spec.spec_version_minor}",
            "spec_errata": spec.spec_errata,
            "uintn_size": spec.uintn_size,
            "algorithms": {alg_name(alg): size for alg, size in spec.algorithms},
            "vendor_info": spec.vendor_info.hex(),
            "event_count": len(self.events),
            "event_types": dict(counts),
            "pcrs": {bank: {str(i): v.hex() for i, v in self.replay(bank).items()} for bank in self._complete_banks()},
            "events": [event.to_json() for event in self.events],
        }

    def spans(self) -> tuple[Span, ...]:
        """Return the annotated bytes, by reading them again."""
        cursor = _cursor(self.raw, silent=False)
        _read(cursor)
        return tuple(cursor.recorded)


def parse_event_log(data: bytes) -> EventLog:
    """Return the crypto-agile TCG event log in `data`, as Linux and Windows hand it out, to its last byte.

    Linux: /sys/kernel/security/tpm0/binary_bios_measurements. Raises `ParseError`: above 1 MiB, a log in the old SHA-1
    form, an unknown bank, a PCR outside 0 to 23, two startup localities, truncated or trailing bytes.
    """
    if len(data) > MAX_LOG_BYTES:
        raise _refuse(0, len(data), "size", expected=f"at most {MAX_LOG_BYTES} bytes", found=f"{len(data)} bytes")
    return _read(_cursor(data, silent=True))


def _cursor(data: bytes, *, silent: bool) -> TpmCursor:
    return TpmCursor(data, "TCG event log", endian="little", silent=silent, source=SOURCE, fix=_WHOLE_LOG)


def _refuse(offset: int, size: int, name: str, *, expected: str, found: str, fix: str = _WHOLE_LOG) -> ParseError:
    return ParseError(
        what=f"TCG event log {name}",
        where=where(offset, size),
        expected=expected,
        found=found,
        fix=fix,
        source=SOURCE,
    )


def _read(cursor: TpmCursor) -> EventLog:
    spec_id = _read_spec_id(cursor)
    sizes = dict(spec_id.algorithms)
    events: list[Event] = []
    while cursor.left:
        events.append(_read_event(cursor, len(events) + 1, sizes))
    localities = {startup_locality(e.payload) for e in events if not e.extended} - {None}
    if len(localities) > 1 or not localities <= _LOCALITIES:
        found = ", ".join(sorted(str(locality) for locality in localities))
        raise _refuse(0, len(cursor.data), "StartupLocality", expected="one of 0, 3 or 4", found=found)
    return EventLog(raw=cursor.data, spec_id=spec_id, events=tuple(events))


def _read_spec_id(cursor: TpmCursor) -> SpecId:
    header = (cursor.uint(4, "pcrIndex"), cursor.uint(4, "eventType"))
    digest = cursor.take(DIGEST_BYTES[Alg.SHA1], "digest")
    cursor.record(len(digest), "digest", digest.hex(), "zero: the Spec ID record is never extended")
    size = cursor.uint(4, "eventSize")
    start = cursor.at
    signature = cursor.take(len(SIGNATURE), "signature")
    if header != (0, EventType.EV_NO_ACTION) or any(digest) or signature != SIGNATURE:
        found = f"event type {type_name(header[1])}, {signature!r}"
        expected = "an EV_NO_ACTION with 'Spec ID Event03': a crypto-agile log"
        fix = "Logs in the old SHA-1 form are not read; take one of firmware that logs for a TPM 2.0."
        raise _refuse(0, cursor.at, "first record", expected=expected, found=found, fix=fix)
    cursor.record(len(SIGNATURE), "signature", "Spec ID Event03", "a crypto-agile log")
    spec_id = SpecId(
        platform_class=cursor.uint(4, "platformClass", "0: client, 1: server"),
        spec_version_minor=cursor.uint(1, "specVersionMinor"),
        spec_version_major=cursor.uint(1, "specVersionMajor"),
        spec_errata=cursor.uint(1, "specErrata"),
        uintn_size=cursor.uint(1, "uintnSize", "1: 32-bit, 2: 64-bit firmware"),
        algorithms=_read_algorithms(cursor),
        vendor_info=cursor.sized(1, "vendorInfo", limit=255),
    )
    if cursor.at - start != size:
        raise _refuse(start - 4, 4, "eventSize", expected=f"{cursor.at - start}, the Spec ID's size", found=str(size))
    return spec_id


def _read_algorithms(cursor: TpmCursor) -> tuple[tuple[int, int], ...]:
    count = cursor.uint(4, "numberOfAlgorithms")
    if not 0 < count <= MAX_ALGORITHMS:
        raise cursor.refuse(4, "numberOfAlgorithms", expected=f"1 to {MAX_ALGORITHMS}", found=str(count))
    algorithms: dict[int, int] = {}
    known = {int(alg): size for alg, size in DIGEST_BYTES.items()}
    for _ in range(count):
        alg, size = cursor.uint(2, "algorithmId"), cursor.uint(2, "digestSize")
        if alg in algorithms or known.get(alg) != size:
            expected = "each of sha1, sha256, sha384 and sha512 once at most, with its own size"
            raise cursor.refuse(4, "algorithm", expected=expected, found=f"{alg_name(alg)} of {size} bytes")
        algorithms[alg] = size
    return tuple(algorithms.items())


def _read_event(cursor: TpmCursor, index: int, sizes: Mapping[int, int]) -> Event:
    offset = cursor.at
    pcr_index = cursor.uint(4, f"event {index} pcrIndex")
    event_type = int.from_bytes(cursor.take(4, f"event {index} eventType"), "little")
    cursor.record(4, f"event {index} eventType", type_name(event_type), type_meaning(event_type))
    # Windows logs EV_NO_ACTION records for no PCR at all, with index 0xFFFFFFFF (inferred from its WBCL format)
    if pcr_index >= PCR_COUNT and event_type != EventType.EV_NO_ACTION:
        raise _refuse(offset, 4, f"event {index} pcrIndex", expected="0 to 23", found=str(pcr_index))
    digests = _read_digests(cursor, index, sizes)
    payload = cursor.sized(4, f"event {index} event", limit=MAX_EVENT_BYTES)
    return Event(
        index=index, offset=offset, pcr_index=pcr_index, event_type=event_type, digests=digests, payload=payload
    )


def _read_digests(cursor: TpmCursor, index: int, sizes: Mapping[int, int]) -> dict[int, bytes]:
    count = cursor.uint(4, f"event {index} digestCount")
    if not 0 < count <= len(sizes):
        raise cursor.refuse(4, f"event {index} digestCount", expected=f"1 to {len(sizes)}", found=str(count))
    digests: dict[int, bytes] = {}
    for _ in range(count):
        alg = int.from_bytes(cursor.take(2, f"event {index} algorithmId"), "little")
        if alg not in sizes or alg in digests:
            expected = "each algorithm of the Spec ID once at most"
            raise cursor.refuse(2, f"event {index} algorithmId", expected=expected, found=alg_name(alg))
        digests[alg] = cursor.take(sizes[alg], f"event {index} digest")
        cursor.record(2 + sizes[alg], f"event {index} digest {alg_name(alg)}", digests[alg].hex())
    return digests
