"""The boot of an Ubuntu confidential VM: its TCG event log and the extends that go with it, event by event.

The crypto-agile format (TCG PC Client Platform Firmware Profile, 1.05, section 10), little-endian, with three banks.
The order follows a real log (UEFI, shim, GRUB, Linux). Simplified: images are stand-ins, so their digests are no
Authenticode hashes of real files, and the signature databases hold certificates of the sandbox's own.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from skrkit.sandbox import uefivars

EV_NO_ACTION = 0x00000003
EV_SEPARATOR = 0x00000004
EV_S_CRTM_VERSION = 0x00000008
EV_IPL = 0x0000000D
EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
EV_EFI_VARIABLE_BOOT = 0x80000002
EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
EV_EFI_ACTION = 0x80000007
EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
EV_EFI_VARIABLE_AUTHORITY = 0x800000E0

BANKS = (("sha1", 0x0004), ("sha256", 0x000B), ("sha384", 0x000C))
"""The log's banks: hashlib's name and TPM_ALG_ID, in the order of the log."""

GLOBAL_VARIABLE = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY_DATABASE = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
SHIM_LOCK = uuid.UUID("605dab50-e046-4300-abb6-3dd810dd8b23")

KERNEL = "/vmlinuz-6.8.0-1025-azure-fde"
COMMAND_LINE = f"{KERNEL} root=/dev/mapper/rootfs ro console=tty1 console=ttyS0 earlyprintk=ttyS0 panic=-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One measurement: `data` stands in the log, the digests of `measured` are extended into the PCR."""

    pcr: int
    kind: int
    data: bytes
    measured: bytes

    def digests(self) -> dict[str, bytes]:
        """The digest for each bank."""
        return {name: hashlib.new(name, self.measured).digest() for name, _ in BANKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLog:
    """A boot: the log's bytes, and the extends in their order as (PCR, digest by bank)."""

    log: bytes
    extends: list[tuple[int, dict[str, bytes]]]


def _image(name: str) -> bytes:
    """Return the bytes that stand for an image; only their digest is ever seen."""
    return f"skrkit sandbox image {name}".encode()


def _variable(vendor: uuid.UUID, name: str, value: bytes) -> bytes:
    """Return UEFI_VARIABLE_DATA: vendor GUID, two u64 lengths, the name in UTF-16 without NUL, the value."""
    text = name.encode("utf-16-le")
    return vendor.bytes_le + struct.pack("<QQ", len(name), len(value)) + text + value


def _config(vendor: uuid.UUID, name: str, value: bytes) -> Event:
    data = _variable(vendor, name, value)
    return Event(pcr=7, kind=EV_EFI_VARIABLE_DRIVER_CONFIG, data=data, measured=data)


def _separator(pcr: int) -> Event:
    return Event(pcr=pcr, kind=EV_SEPARATOR, data=bytes(4), measured=bytes(4))


def _action(pcr: int, text: str) -> Event:
    data = text.encode("ascii")  # without NUL
    return Event(pcr=pcr, kind=EV_EFI_ACTION, data=data, measured=data)


def _application(path: str, base: int) -> Event:
    """Return the start of an EFI image: UEFI_IMAGE_LOAD_EVENT with a file path, digest of the image."""
    image = _image(path)
    file_path = path.encode("utf-16-le") + b"\0\0"
    node = struct.pack("<BBH", 0x04, 0x04, 4 + len(file_path)) + file_path  # media device path, file path
    device_path = node + bytes.fromhex("7fff0400")  # end of the whole path
    data = struct.pack("<QQQQ", base, len(image), 0, len(device_path)) + device_path
    return Event(pcr=4, kind=EV_EFI_BOOT_SERVICES_APPLICATION, data=data, measured=image)


def _ipl(pcr: int, text: str, measured: bytes) -> Event:
    return Event(pcr=pcr, kind=EV_IPL, data=text.encode("ascii") + b"\0", measured=measured)


def _grub_command(text: str) -> Event:
    return _ipl(8, f"grub_cmd: {text}", text.encode("ascii"))  # the digest covers neither the prefix nor the NUL


def _firmware(secure_boot: bool) -> Iterator[Event]:
    version = "skrkit sandbox UEFI 1\0".encode("utf-16-le")
    yield Event(pcr=0, kind=EV_S_CRTM_VERSION, data=version, measured=version)
    blob = struct.pack("<QQ", 0x00800000, 0x00200000)  # base, length
    yield Event(pcr=0, kind=EV_EFI_PLATFORM_FIRMWARE_BLOB, data=blob, measured=_image("firmware volume"))
    yield _config(GLOBAL_VARIABLE, "SecureBoot", b"\x01" if secure_boot else b"\x00")
    yield _config(GLOBAL_VARIABLE, "PK", uefivars.platform_key())
    yield _config(GLOBAL_VARIABLE, "KEK", uefivars.key_exchange_keys())
    yield _config(IMAGE_SECURITY_DATABASE, "db", uefivars.allowed())
    yield _config(IMAGE_SECURITY_DATABASE, "dbx", uefivars.forbidden())
    yield _separator(7)
    order = _variable(GLOBAL_VARIABLE, "BootOrder", b"\x00\x00")
    yield Event(pcr=1, kind=EV_EFI_VARIABLE_BOOT, data=order, measured=order)
    yield _action(4, "Calling EFI Application from Boot Option")
    for pcr in range(7):
        yield _separator(pcr)


def _loaders(secure_boot: bool) -> Iterator[Event]:
    yield _application("\\EFI\\ubuntu\\shimx64.efi", 0x3D0A3018)
    yield _ipl(14, "MokList", b"")
    yield _ipl(14, "MokListX", b"")
    if secure_boot:
        sbat = _variable(SHIM_LOCK, "SbatLevel", b"sbat,1,2024010900\n")
        yield Event(pcr=7, kind=EV_EFI_VARIABLE_AUTHORITY, data=sbat, measured=sbat)
    yield _ipl(14, "MokListTrusted", b"\x01")
    yield _application("\\EFI\\ubuntu\\grubx64.efi", 0x3C818018)
    yield _ipl(9, "(hd0,gpt15)/EFI/ubuntu/grub.cfg", _image("grub.cfg"))
    yield _grub_command("set root=hd0,gpt1")
    yield _grub_command(f"linux {COMMAND_LINE}")
    yield _ipl(9, KERNEL, _image("kernel"))
    yield _ipl(8, f"kernel_cmdline: {COMMAND_LINE}", COMMAND_LINE.encode("ascii"))
    yield _grub_command("initrd /initrd.img-6.8.0-1025-azure-fde")
    yield _ipl(9, "/initrd.img-6.8.0-1025-azure-fde", _image("initrd"))
    yield _action(5, "Exit Boot Services Invocation")
    yield _action(5, "Exit Boot Services Returned with Success")


def _spec_id_event() -> bytes:
    """Return the first record, in the old SHA-1 form: it names the banks of all that follow."""
    event = bytearray(29 + 4 * len(BANKS))
    struct.pack_into("<16sIBBBBI", event, 0, b"Spec ID Event03\0", 0, 0, 2, 0, 2, len(BANKS))
    for index, (name, algorithm) in enumerate(BANKS):
        struct.pack_into("<HH", event, 28 + 4 * index, algorithm, hashlib.new(name).digest_size)
    return struct.pack("<II20sI", 0, EV_NO_ACTION, bytes(20), len(event)) + bytes(event)


def _record(event: Event) -> bytes:
    """Return TCG_PCR_EVENT2: PCR, type, the digests with their algorithm ids, size and data."""
    record = struct.pack("<III", event.pcr, event.kind, len(BANKS))
    digests = event.digests()
    for name, algorithm in BANKS:
        record += struct.pack("<H", algorithm) + digests[name]
    return record + struct.pack("<I", len(event.data)) + event.data


def boot_event_log(*, secure_boot: bool = True) -> BootLog:
    """Return the log of one boot and its extends. The same machine boots the same way each time: no clock, no chance.

    PCRs 0 to 9 and 14 are extended, as on a real Ubuntu CVM that boots with GRUB.
    """
    events = [*_firmware(secure_boot), *_loaders(secure_boot)]
    log = _spec_id_event() + b"".join(_record(event) for event in events)
    return BootLog(log=log, extends=[(event.pcr, event.digests()) for event in events])
