"""Whether an event's payload is what was measured: the payload hashed again and held against the event's digests.

Replaying a log proves its digests, not its payloads: an edited text leaves every PCR as it was. For the types whose
digest is over the payload, hashing it again shows the edit; for the others the payload is a label without proof.
Source: TCG PC Client Platform Firmware Profile, "Event Types"; GRUB's and EDK2's practice, seen in real logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from skrkit.evidence.eventtypes import AUTHORITY_PADDING, IMAGE_TYPES, EventType, type_name, variable_parts
from skrkit.tpm.algorithms import hash_bytes
from skrkit.wire import Json

Verdict: TypeAlias = Literal["match", "differs", "cannot-be-checked"]
Candidates: TypeAlias = tuple[tuple[str, bytes], ...]

_GRUB_PREFIXES = (b"grub_cmd: ", b"kernel_cmdline: ", b"module_cmdline: ")
_WHOLE = "the digest is over the payload"
_DATA_ONLY = "the digest is over the variable's data only, so its name is not covered"
_ALL_BUT_ONE = "the digest is over the payload without its last byte, as older EDK2 and shim measure it"
_TEXT = "the digest is over the text without prefix and NUL"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadFinding:
    """What hashing an event's payload again showed. `index` counts the Spec ID event as 0."""

    index: int
    pcr_index: int
    event_type: int
    verdict: Verdict
    detail: str

    def to_json(self) -> dict[str, Json]:
        """Return the finding as JSON members."""
        return {
            "index": self.index,
            "pcr_index": self.pcr_index,
            "event_type": type_name(self.event_type),
            "verdict": self.verdict,
            "detail": self.detail,
        }


def check_payload(
    *, index: int, pcr_index: int, event_type: int, digests: Mapping[int, bytes], payload: bytes
) -> PayloadFinding:
    """Return the finding for one event. `digests` are by TPM_ALG_ID; one that differs in any bank is a difference."""
    strict, candidates = _candidates(event_type, payload)
    verdict: Verdict = "cannot-be-checked"
    detail = _unproven(event_type)
    for said, measured in candidates:
        if all(hash_bytes(alg, measured) == digest for alg, digest in digests.items()):
            verdict, detail = "match", said
            break
    else:
        if strict:
            verdict, detail = "differs", "the payload does not hash to the event's digests: it is not what was measured"
    return PayloadFinding(index=index, pcr_index=pcr_index, event_type=event_type, verdict=verdict, detail=detail)


def _candidates(event_type: int, payload: bytes) -> tuple[bool, Candidates]:
    """Return whether one candidate must match, and the byte strings that may have been measured."""
    rule = _STRICT.get(event_type)
    if rule is not None:
        return True, rule(payload)
    if event_type == EventType.EV_IPL:
        return _ipl(payload)
    if event_type in _MAYBE:
        return False, _whole(payload)
    return False, ()


def _whole(payload: bytes) -> Candidates:
    return ((_WHOLE, payload),)


def _text(payload: bytes) -> Candidates:
    bare = payload.removesuffix(b"\0")
    return ((_WHOLE, payload), (_TEXT, bare))


def _variable(payload: bytes) -> Candidates:
    parts = variable_parts(payload)
    return _whole(payload) if parts is None else ((_WHOLE, payload), (_DATA_ONLY, parts[2]))


def _authority(payload: bytes) -> Candidates:
    parts = variable_parts(payload, padding=AUTHORITY_PADDING)
    if parts is None:
        return _whole(payload)
    return ((_WHOLE, payload), (_ALL_BUT_ONE, payload[:-1]), (_DATA_ONLY, parts[2]))


def _ipl(payload: bytes) -> tuple[bool, Candidates]:
    for prefix in _GRUB_PREFIXES:
        if payload.startswith(prefix):
            return True, ((_TEXT, payload.removeprefix(prefix).removesuffix(b"\0")),)
    return False, _whole(payload)  # systemd-stub measures the text it logs; GRUB and shim log the name of a file


_STRICT: dict[int, Callable[[bytes], Candidates]] = {
    EventType.EV_SEPARATOR: _whole,
    EventType.EV_S_CRTM_VERSION: _whole,
    EventType.EV_NONHOST_INFO: _whole,
    EventType.EV_OMIT_BOOT_DEVICE_EVENTS: _text,
    EventType.EV_ACTION: _text,
    EventType.EV_EFI_ACTION: _text,
    EventType.EV_EFI_GPT_EVENT: _whole,
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG: _whole,
    EventType.EV_EFI_VARIABLE_BOOT: _variable,  # EDK2 measures the data only
    EventType.EV_EFI_VARIABLE_BOOT2: _whole,
    EventType.EV_EFI_VARIABLE_AUTHORITY: _authority,
}
_MAYBE = frozenset(
    {
        EventType.EV_POST_CODE,
        EventType.EV_EVENT_TAG,
        EventType.EV_S_CRTM_CONTENTS,
        EventType.EV_CPU_MICROCODE,
        EventType.EV_PLATFORM_CONFIG_FLAGS,
        EventType.EV_TABLE_OF_DEVICES,
        EventType.EV_COMPACT_HASH,
        EventType.EV_NONHOST_CONFIG,
        EventType.EV_EFI_GPT_EVENT2,
    }
)


def _unproven(event_type: int) -> str:
    if event_type == EventType.EV_NO_ACTION:
        return "never extended, so nothing vouches for it"
    if event_type in IMAGE_TYPES:
        return "the digest is the PE/COFF Authenticode hash of an image that the log does not hold"
    return "the digest is over something that the log does not hold; the payload is a label"
