"""The event log parser and replay, on a log of a real SEV-SNP machine and against tpm2_eventlog."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError, UsageError
from skrkit.evidence.eventlog import MAX_EVENT_BYTES, MAX_LOG_BYTES, EventLog, parse_event_log
from skrkit.evidence.eventtypes import describe_payload, type_meaning
from skrkit.wire import Described

# From the capture's README
TYPES = {
    "EV_S_CRTM_VERSION": 1,
    "EV_NONHOST_INFO": 1,
    "EV_EFI_VARIABLE_DRIVER_CONFIG": 5,
    "EV_SEPARATOR": 8,
    "EV_PLATFORM_CONFIG_FLAGS": 3,
    "EV_EFI_VARIABLE_BOOT": 4,
    "EV_EFI_ACTION": 4,
    "EV_EFI_GPT_EVENT": 1,
    "EV_EFI_BOOT_SERVICES_APPLICATION": 2,
    "EV_IPL": 85,
    "EV_EFI_VARIABLE_AUTHORITY": 1,
    "EV_EVENT_TAG": 1,
}
PCRS = {
    0: "50597a27846e91d025eef597abbc89f72bff9af849094db97b0684d8bc4c515e",
    1: "57344e1cc8c6619413df33013a7cd67915459f967395af41db21c1fa7ca9c307",
    2: "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    3: "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    4: "abe8b3fa6aecb36c2fd93c6f6edde661c21b353d007410a2739d69bfa7e1b9be",
    5: "0b0e1903aeb1bff649b82dba2cdcf5c4ffb75027e54f151ab00b3b989f16a300",
    6: "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    7: "33ad69850fb2c7f30b4f8b4bc10ed93fc954dc07fa726e84f50f3d192dc1c140",
    8: "6932a3f71dc55ad3c1a6ac2196eeac26a1b7164b6bbfa106625d94088ec3ecc3",
    9: "ce08798b283c7a0ddc5e9ad1d602304b945b741fc60c20e254eafa0f4782512b",
    14: "306f9d8b94f17d93dc6e7cf8f5c79d652eb4c6c4d13de2dddc24af416e13ecaf",
}


@pytest.fixture(scope="module")
def path(captures: Path) -> Path:
    return captures / "gce-snp-eventlog" / "eventlog.bin"


@pytest.fixture(scope="module")
def data(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture(scope="module")
def log(data: bytes) -> EventLog:
    return parse_event_log(data)


def test_events_of_a_real_log(log: EventLog) -> None:
    assert len(log.events) == 116
    assert Counter(event.type_name for event in log.events) == TYPES
    assert log.banks == ("sha1", "sha256", "sha384")
    assert log.events[1].payload.hex() == "474345204e6f6e486f7374496e666f0004000000000000000000000000000000"


def test_replay_of_a_real_log(log: EventLog) -> None:
    assert {index: value.hex() for index, value in log.replay().items()} == PCRS


def test_what_payloads_say(log: EventLog) -> None:
    assert log.events[0].to_json()["event"] == {"text": "GCE Virtual Firmware v2"}
    assert log.events[2].to_json()["event"] == {
        "vendor_guid": "8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "vendor": "EFI_GLOBAL_VARIABLE",
        "unicode_name": "SecureBoot",
        "variable_data_length": 1,
        "variable_data": "00",
    }
    assert log.secure_boot() is False
    assert log.events[7].to_json()["event"] == {"separator": "00000000", "meaning": "the firmware hands over"}
    assert log.events[115].to_json()["event"] == {"text": "Exit Boot Services Returned with Success"}
    assert all("malformed" not in describe_payload(event.event_type, event.payload) for event in log.events)


def test_payloads_hash_to_their_digests(log: EventLog) -> None:
    findings = log.payload_findings()
    assert Counter(finding.verdict for finding in findings) == {"match": 96, "cannot-be-checked": 20}
    by_type = {(log.events[f.index - 1].type_name, f.verdict) for f in findings}
    assert {name for name, verdict in by_type if verdict == "match"} == TYPES.keys() - {
        "EV_PLATFORM_CONFIG_FLAGS",
        "EV_EFI_BOOT_SERVICES_APPLICATION",
        "EV_EVENT_TAG",
    }
    boot_order = findings[11]
    assert boot_order.detail == "the digest is over the variable's data only, so its name is not covered"


def test_an_edited_text_replays_and_is_found(data: bytes, log: EventLog) -> None:
    edited = parse_event_log(data.replace(b"kernel_cmdline: /vmlinuz", b"kernel_cmdline: /vmlinux"))
    assert edited.replay() == log.replay()
    differing = [finding for finding in edited.payload_findings() if finding.verdict == "differs"]
    assert [(finding.index, finding.pcr_index) for finding in differing] == [(105, 8)]
    assert differing[0].to_json()["event_type"] == "EV_IPL"


def test_an_edited_secure_boot_is_not_believed(data: bytes) -> None:
    name = "SecureBoot".encode("utf-16-le")
    edited = parse_event_log(data.replace(name + b"\0", name + b"\x01", 1))
    assert edited.secure_boot() is None
    assert edited.payload_findings()[2].verdict == "differs"


def test_agrees_with_tpm2_eventlog(path: Path, log: EventLog) -> None:
    program = shutil.which("tpm2_eventlog")
    if program is None:
        pytest.skip("NO tpm2_eventlog: the replay is not held against another program. Install tpm2-tools.")
    text = subprocess.run([program, str(path)], check=True, capture_output=True, text=True).stdout
    events, _, pcrs = text.partition("\npcrs:\n")
    assert re.findall(r"^  EventType: (\w+)$", events, re.M)[1:] == [event.type_name for event in log.events]
    assert [int(n) for n in re.findall(r"^  PCRIndex: (\d+)$", events, re.M)[1:]] == [e.pcr_index for e in log.events]
    digests = re.findall(r'^    Digest: "([0-9a-f]+)"$', events, re.M)
    assert digests == [digest.hex() for event in log.events for digest in event.digests.values()]
    for bank in ("sha1", "sha256", "sha384"):
        block = re.search(rf"^  {bank}:\n((?:    .*\n)+)", pcrs, re.M)
        assert block is not None
        theirs = {int(i): v for i, v in re.findall(r"^    (\d+) *: 0x([0-9a-f]+)$", block[1], re.M)}
        assert theirs == {index: value.hex() for index, value in log.replay(bank).items()}


def test_spans_cover_the_log(log: EventLog, data: bytes) -> None:
    assert isinstance(log, Described)
    at = 0
    for span in log.spans():
        assert span.offset == at, span.name
        at += span.size
    assert at == len(data)
    assert log.fields()["event_count"] == 116


def _header(*algorithms: tuple[int, int]) -> bytes:
    spec = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(algorithms))
    spec += b"".join(struct.pack("<HH", *algorithm) for algorithm in algorithms) + b"\0"
    return struct.pack("<II20xI", 0, 3, len(spec)) + spec


def _event(pcr: int, kind: int, payload: bytes, digest: bytes) -> bytes:
    return struct.pack("<IIIH", pcr, kind, 1, 0x000B) + digest + struct.pack("<I", len(payload)) + payload


SHA256_ONLY = _header((0x000B, 32))


def test_a_log_reduced_to_sha256(log: EventLog) -> None:
    # One of Azure's clients sends such a log: one bank, PCR 0 to 7; its Spec ID event has 33 bytes
    reduced = SHA256_ONLY
    for event in log.events:
        if event.pcr_index < 8:
            reduced += _event(event.pcr_index, event.event_type, event.payload, event.digests[0x000B])
    assert SHA256_ONLY[28:32] == struct.pack("<I", 33)
    assert parse_event_log(reduced).replay() == {i: v for i, v in log.replay().items() if i < 8}


def test_an_authority_with_its_structures_padding() -> None:
    # The form of shim 12 and of older EDK2: lengths that add up, five bytes of padding measured, one more logged
    name = "Shim".encode("utf-16-le")
    vendor = bytes.fromhex("50ab5d6046e00043abb63dd810dd8b23")
    measured = vendor + struct.pack("<QQ", 4, 11) + name + b"certificate" + bytes(5)
    log = parse_event_log(SHA256_ONLY + _event(7, 0x800000E0, measured + b"\xaf", hashlib.sha256(measured).digest()))
    finding = log.payload_findings()[0]
    assert (finding.verdict, finding.detail.startswith("the digest is over the payload without its last byte")) == (
        "match",
        True,
    )
    assert log.events[0].to_json()["event"] == {
        "vendor_guid": "605dab50-e046-4300-abb6-3dd810dd8b23",
        "vendor": "SHIM_LOCK",
        "unicode_name": "Shim",
        "variable_data_length": 11,
        "variable_data": b"certificate".hex(),
    }
    other = parse_event_log(SHA256_ONLY + _event(7, 0x800000E0, measured + b"\xaf\0", bytes(32)))
    assert other.payload_findings()[0].verdict == "differs"
    assert "malformed" in str(other.events[0].to_json()["event"])


def test_startup_locality_is_where_pcr_0_starts() -> None:
    digest = hashlib.sha256(b"firmware").digest()
    data = SHA256_ONLY + _event(0, 3, b"StartupLocality\0\x03", bytes(32)) + _event(0, 8, b"firmware", digest)
    log = parse_event_log(data)
    assert log.startup_locality() == 3
    assert log.replay() == {0: hashlib.sha256(bytes(31) + b"\x03" + digest).digest()}


def test_an_event_for_readers_is_not_extended() -> None:
    log = parse_event_log(SHA256_ONLY + _event(5, 3, b"note", b"\xaa" * 32))
    assert log.replay() == {}
    assert log.payload_findings()[0].verdict == "cannot-be-checked"
    assert "never extended" in log.payload_findings()[0].detail


def test_an_unknown_type_is_kept_and_named() -> None:
    digest = hashlib.sha256(b"x").digest()
    log = parse_event_log(SHA256_ONLY + _event(3, 0xABCD, b"x", digest))
    assert log.events[0].type_name == "0x0000ABCD"
    assert type_meaning(log.events[0].event_type) == "not recognised"
    assert log.payload_findings()[0].verdict == "cannot-be-checked"
    assert log.replay() == {3: hashlib.sha256(bytes(32) + digest).digest()}


def test_an_event_without_the_bank_fails_the_replay() -> None:
    data = _header((0x0004, 20), (0x000B, 32)) + _event(0, 8, b"v", hashlib.sha256(b"v").digest())
    log = parse_event_log(data)
    assert log.replay("sha256")
    with pytest.raises(ParseError, match="expected a sha1 digest, found none of that bank"):
        log.replay("sha1")
    assert list(log.fields()["pcrs"] or {}) == ["sha256"]  # type: ignore[arg-type]


def test_an_unknown_bank_is_a_usage_error(log: EventLog) -> None:
    with pytest.raises(UsageError, match="expected one of sha1, sha256, sha384, found 'sha512'"):
        log.replay("sha512")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "TCG event log pcrIndex at byte 0x0, 4 bytes: expected 4 more bytes, found 0 left"),
        (struct.pack("<II20xI", 0, 8, 4) + b"v1.0" + bytes(20), "'Spec ID Event03': a crypto-agile log, found event"),
        (SHA256_ONLY.replace(b"Event03", b"Event00"), "expected an EV_NO_ACTION with 'Spec ID Event03'"),
        (SHA256_ONLY.replace(b"Event03", b"Event00"), "Fix: Logs in the old SHA-1 form are not read; take one of"),
        (_header((0x000B, 20)), "found sha256 of 20 bytes"),
        (_header((0x00FF, 32)), "found 0x00ff of 32 bytes"),
        (_header((0x000B, 32), (0x000B, 32)), "expected each of sha1, sha256, sha384 and sha512 once"),
        (_header(), "numberOfAlgorithms at byte 0x38, 4 bytes: expected 1 to 8, found 0"),
        (SHA256_ONLY + _event(24, 8, b"", bytes(32)), "event 1 pcrIndex at byte 0x41, 4 bytes: expected 0 to 23"),
        (SHA256_ONLY + bytes(3), "event 1 pcrIndex"),
        (
            SHA256_ONLY
            + _event(0, 3, b"StartupLocality\0\x03", bytes(32))
            + _event(0, 3, b"StartupLocality\0\x04", bytes(32)),
            "StartupLocality at byte 0x0, 199 bytes: expected one of 0, 3 or 4, found 3, 4",
        ),
        (
            SHA256_ONLY + struct.pack("<IIIH32xI", 0, 8, 1, 0x000B, MAX_EVENT_BYTES + 1),
            "event 1 event size at byte 0x6F, 4 bytes: expected at most 262144, found 262145",
        ),
        (bytes(MAX_LOG_BYTES + 1), "expected at most 1048576 bytes, found 1048577 bytes"),
    ],
)
def test_refusals_say_where(data: bytes, words: str) -> None:
    with pytest.raises(ParseError) as refused:
        parse_event_log(data)
    assert words in str(refused.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.data())
def test_broken_logs_raise_parse_errors_only(choice: st.DataObject, data: bytes) -> None:
    broken = bytearray(data[: choice.draw(st.integers(0, len(data)), label="length")])
    for _ in range(choice.draw(st.integers(0, 3), label="flips")):
        if broken:
            broken[choice.draw(st.integers(0, len(broken) - 1))] ^= 1 << choice.draw(st.integers(0, 7))
    try:
        log = parse_event_log(bytes(broken))
    except ParseError:
        return
    assert log.fields()["event_count"] == len(log.events)
    assert sum(span.size for span in log.spans()) == len(broken)
    assert len(log.payload_findings()) == len(log.events)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(sorted(range(0x14))) | st.sampled_from([0x80000000 + n for n in range(14)]),
    payload=st.binary(max_size=80),
)
def test_any_payload_is_described(kind: int, payload: bytes) -> None:
    assert isinstance(describe_payload(kind, payload), dict)
