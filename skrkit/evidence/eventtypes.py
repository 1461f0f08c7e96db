"""TCG event types: their names and meanings, and what their payloads say as far as that is cheap to read.

Payloads come from firmware and boot loaders; reading one never fails, it says what could not be read. Little-endian.
Source: TCG PC Client Platform Firmware Profile (PFP), "Event Types" and "Event Structures"; UEFI specification.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from skrkit.wire import Json

SHOWN_BYTES = 64  # longer values are shown by their size; the bytes are in the log


class EventType(IntEnum):
    """A TCG event type. The set is open: a log may hold numbers that are not here, and they are kept."""

    EV_PREBOOT_CERT = 0x00000000
    EV_POST_CODE = 0x00000001
    EV_UNUSED = 0x00000002
    EV_NO_ACTION = 0x00000003
    EV_SEPARATOR = 0x00000004
    EV_ACTION = 0x00000005
    EV_EVENT_TAG = 0x00000006
    EV_S_CRTM_CONTENTS = 0x00000007
    EV_S_CRTM_VERSION = 0x00000008
    EV_CPU_MICROCODE = 0x00000009
    EV_PLATFORM_CONFIG_FLAGS = 0x0000000A
    EV_TABLE_OF_DEVICES = 0x0000000B
    EV_COMPACT_HASH = 0x0000000C
    EV_IPL = 0x0000000D
    EV_IPL_PARTITION_DATA = 0x0000000E
    EV_NONHOST_CODE = 0x0000000F
    EV_NONHOST_CONFIG = 0x00000010
    EV_NONHOST_INFO = 0x00000011
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x00000012
    EV_POST_CODE2 = 0x00000013
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EV_EFI_VARIABLE_BOOT = 0x80000002
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EV_EFI_BOOT_SERVICES_DRIVER = 0x80000004
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x80000005
    EV_EFI_GPT_EVENT = 0x80000006
    EV_EFI_ACTION = 0x80000007
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EV_EFI_HANDOFF_TABLES = 0x80000009
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000A
    EV_EFI_HANDOFF_TABLES2 = 0x8000000B
    EV_EFI_VARIABLE_BOOT2 = 0x8000000C
    EV_EFI_GPT_EVENT2 = 0x8000000D
    EV_EFI_HCRTM_EVENT = 0x80000010
    EV_EFI_VARIABLE_AUTHORITY = 0x800000E0
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x800000E1
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x800000E2


MEANINGS = {
    EventType.EV_POST_CODE: "firmware code or data was measured",
    EventType.EV_NO_ACTION: "information for the reader of the log; never extended into a PCR",
    EventType.EV_SEPARATOR: "marks the end of what the firmware measures before it hands over",
    EventType.EV_ACTION: "the firmware did what the text says",
    EventType.EV_EVENT_TAG: "a tagged structure of the operating system or its loader",
    EventType.EV_S_CRTM_CONTENTS: "the code that measures first was itself measured",
    EventType.EV_S_CRTM_VERSION: "version of the code that measures first",
    EventType.EV_CPU_MICROCODE: "a microcode patch was measured",
    EventType.EV_PLATFORM_CONFIG_FLAGS: "platform configuration, such as ACPI tables",
    EventType.EV_TABLE_OF_DEVICES: "devices the firmware found",
    EventType.EV_COMPACT_HASH: "a digest measured by a loader",
    EventType.EV_IPL: "the boot loader measured a file, a command or a kernel command line",
    EventType.EV_NONHOST_INFO: "code that is not the host's: here, the hypervisor's statement",
    EventType.EV_OMIT_BOOT_DEVICE_EVENTS: "boot attempts are left out of the log",
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG: "a UEFI variable of Secure Boot: SecureBoot, PK, KEK, db, dbx",
    EventType.EV_EFI_VARIABLE_BOOT: "a UEFI boot option or the boot order",
    EventType.EV_EFI_VARIABLE_BOOT2: "a UEFI boot option or the boot order",
    EventType.EV_EFI_BOOT_SERVICES_APPLICATION: "an EFI application was loaded: shim, boot loader or kernel",
    EventType.EV_EFI_BOOT_SERVICES_DRIVER: "an EFI boot driver was loaded",
    EventType.EV_EFI_RUNTIME_SERVICES_DRIVER: "an EFI runtime driver was loaded",
    EventType.EV_EFI_GPT_EVENT: "the partition table of the boot disk",
    EventType.EV_EFI_ACTION: "the firmware did what the text says",
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB: "a part of the firmware was measured",
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2: "a part of the firmware was measured",
    EventType.EV_EFI_HANDOFF_TABLES: "tables the firmware hands over",
    EventType.EV_EFI_HANDOFF_TABLES2: "tables the firmware hands over",
    EventType.EV_EFI_VARIABLE_AUTHORITY: "the certificate or list that allowed an image to start",
}
VARIABLE_TYPES = frozenset(
    {
        EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EV_EFI_VARIABLE_BOOT,
        EventType.EV_EFI_VARIABLE_BOOT2,
        EventType.EV_EFI_VARIABLE_AUTHORITY,
    }
)
IMAGE_TYPES = frozenset(
    {
        EventType.EV_EFI_BOOT_SERVICES_APPLICATION,
        EventType.EV_EFI_BOOT_SERVICES_DRIVER,
        EventType.EV_EFI_RUNTIME_SERVICES_DRIVER,
    }
)
VENDOR_GUIDS = {
    "8be4df61-93ca-11d2-aa0d-00e098032b8c": "EFI_GLOBAL_VARIABLE",
    "d719b2cb-3d3a-4596-a3bc-dad00e67656f": "EFI_IMAGE_SECURITY_DATABASE",
    "605dab50-e046-4300-abb6-3dd810dd8b23": "SHIM_LOCK",
}
AUTHORITY_PADDING = 6  # older EDK2 and shim log their C structure's padding too; seen in logs of Google's machines
STARTUP_LOCALITY = b"StartupLocality\0"
_VARIABLE = struct.Struct("<16sQQ")  # VariableName (a GUID), UnicodeNameLength in characters, VariableDataLength
_SEPARATORS = {
    bytes(4): "the firmware hands over",
    b"\xff\xff\xff\xff": "the firmware hands over",
    b"\x01\0\0\0": "an error happened before",
}


def type_name(number: int) -> str:
    """Return an event type's name, or "0x0000ABCD" for one that is not known."""
    try:
        return EventType(number).name
    except ValueError:
        return f"0x{number:08X}"


def type_meaning(number: int) -> str:
    """Return what an event type says, in words; "not recognised" for one that is not known."""
    try:
        return MEANINGS.get(EventType(number), "")
    except ValueError:
        return "not recognised"


def guid(data: bytes) -> str:
    """Return the text of an EFI_GUID: its first three members are little-endian."""
    first, second, third = struct.unpack_from("<IHH", data)
    return f"{first:08x}-{second:04x}-{third:04x}-{data[8:10].hex()}-{data[10:16].hex()}"


def variable_parts(payload: bytes, *, padding: int = 0) -> tuple[str, str, bytes] | None:
    """Return vendor GUID, name and data of a UEFI_VARIABLE_DATA; nothing if the lengths do not add up.

    `padding` is how many bytes may follow the structure.
    """
    if len(payload) < _VARIABLE.size:
        return None
    vendor, characters, size = _VARIABLE.unpack_from(payload)
    name_end = _VARIABLE.size + 2 * characters
    end = name_end + size
    if not end <= len(payload) <= end + padding:
        return None
    return guid(vendor), payload[_VARIABLE.size : name_end].decode("utf-16-le", "replace"), payload[name_end:end]


def startup_locality(payload: bytes) -> int | None:
    """Return the locality of a StartupLocality event, or nothing for another EV_NO_ACTION."""
    if len(payload) == len(STARTUP_LOCALITY) + 1 and payload.startswith(STARTUP_LOCALITY):
        return payload[-1]
    return None


def describe_payload(number: int, payload: bytes) -> dict[str, Json]:
    """Return what an event's payload says, by the specification's names; empty where it says nothing that is read.

    A payload that is not what its type demands gives {"malformed": ...}. No trust: see the payload findings.
    """
    if number in VARIABLE_TYPES:
        return _variable(payload, AUTHORITY_PADDING if number == EventType.EV_EFI_VARIABLE_AUTHORITY else 0)
    if number in IMAGE_TYPES:
        return _image(payload)
    if number == EventType.EV_SEPARATOR:
        return _separator(payload)
    if number == EventType.EV_NO_ACTION:
        locality = startup_locality(payload)
        return {} if locality is None else {"startup_locality": locality}
    if number == EventType.EV_EVENT_TAG:
        return _tagged(payload)
    if number == EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB:
        return _blob(payload)
    found = _text(payload)
    return {} if found is None else {"text": found}


def _variable(payload: bytes, padding: int) -> dict[str, Json]:
    parts = variable_parts(payload, padding=padding)
    if parts is None:
        return {"malformed": "the lengths of UEFI_VARIABLE_DATA do not add up"}
    vendor, name, data = parts
    members: dict[str, Json] = {"vendor_guid": vendor, "unicode_name": name, "variable_data_length": len(data)}
    if vendor in VENDOR_GUIDS:
        members["vendor"] = VENDOR_GUIDS[vendor]
    if len(data) <= SHOWN_BYTES:
        members["variable_data"] = data.hex()
    return members


def _image(payload: bytes) -> dict[str, Json]:
    if len(payload) < 32:
        return {"malformed": "UEFI_IMAGE_LOAD_EVENT is shorter than 32 bytes"}
    location, length, link, path = struct.unpack_from("<QQQQ", payload)
    return {
        "image_location_in_memory": location,
        "image_length_in_memory": length,
        "image_link_time_address": link,
        "length_of_device_path": path,
    }


def _separator(payload: bytes) -> dict[str, Json]:
    members: dict[str, Json] = {"separator": payload.hex()}
    meaning = _SEPARATORS.get(payload)
    if meaning is not None:
        members["meaning"] = meaning
    elif (found := _text(payload)) is not None:
        members["text"] = found
    return members


def _tagged(payload: bytes) -> dict[str, Json]:
    if len(payload) < 8 or struct.unpack_from("<I", payload, 4)[0] != len(payload) - 8:
        return {"malformed": "the size of TCG_PCClientTaggedEvent does not add up"}
    members: dict[str, Json] = {"tagged_event_id": f"0x{struct.unpack_from('<I', payload)[0]:08x}"}
    if (found := _text(payload[8:])) is not None:
        members["text"] = found
    return members


def _blob(payload: bytes) -> dict[str, Json]:
    if len(payload) != 16:
        return {"malformed": "UEFI_PLATFORM_FIRMWARE_BLOB is not 16 bytes"}
    base, length = struct.unpack("<QQ", payload)
    return {"blob_base": base, "blob_length": length}


def _text(payload: bytes) -> str | None:
    """Return a payload's text, ASCII or UTF-16, without the NUL at its end; nothing if it is not text."""
    for encoding, nul in (("utf-8", b"\0"), ("utf-16-le", b"\0\0")):
        bare = payload[: -len(nul)] if payload.endswith(nul) else payload
        try:
            text = bare.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text and all(character.isprintable() or character in "\t\r\n" for character in text):
            return text
    return None
