"""The reference values and the time of `skrkit verify`, from its options."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from skrkit.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from skrkit.attestation.verifier import ReferenceValues


def reference_of(namespace: argparse.Namespace) -> ReferenceValues:
    """Return the reference values of the options. Raises `UsageError` for one that is malformed."""
    from skrkit.attestation.verifier import ReferenceValues

    vmpl = namespace.vmpl
    svn = namespace.min_guest_svn
    return ReferenceValues(
        debug_allowed=namespace.allow_debug,
        migration_allowed=namespace.allow_migration,
        masked_chip_allowed=namespace.allow_masked_chip,
        provisional_firmware_allowed=not namespace.refuse_provisional,
        vmpl=0 if vmpl is None else None if vmpl == "any" else _number("--vmpl", vmpl),
        minimum_tcb=_levels(namespace.min_tcb),
        measurements=_hexes("--measurement", namespace.measurement),
        id_key_digests=_hexes("--id-key-digest", namespace.id_key_digest),
        chip_ids=_hexes("--chip-id", namespace.chip_id),
        host_data=None if namespace.host_data is None else hex_of("--host-data", namespace.host_data),
        report_data=None if namespace.report_data is None else hex_of("--report-data", namespace.report_data),
        minimum_guest_svn=None if svn is None else _number("--min-guest-svn", svn),
        launch_mitigations=_bits("--launch-mitigations", namespace.launch_mitigations),
        current_mitigations=_bits("--current-mitigations", namespace.current_mitigations),
        csp_id=namespace.csp_id,
        vm_unique_id=namespace.vm_id,
    )


def _levels(text: str | None) -> dict[str, int]:
    levels: dict[str, int] = {}
    for part in text.split(",") if text is not None else ():
        name, _, level = part.strip().partition("=")
        if not level or name in levels:
            raise usage_error("--min-tcb", "bootloader=N,tee=N,snp=N,microcode=N, each once", repr(part))
        levels[name] = _number("--min-tcb", level)
    return levels


def _number(option: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise usage_error(option, "a number", repr(text))
    return int(text)


def _bits(option: str, text: str | None) -> int:
    return 0 if text is None else int.from_bytes(hex_of(option, text.removeprefix("0x").rjust(16, "0")), "big")


def _hexes(option: str, texts: list[str] | None) -> tuple[bytes, ...]:
    return tuple(hex_of(option, text) for text in texts or ())


def hex_of(option: str, text: str) -> bytes:
    """Return the bytes of an option in hex. Raises `UsageError`."""
    try:
        if not text.isalnum():
            raise ValueError
        return bytes.fromhex(text)
    except ValueError:
        raise usage_error(option, "hex digits, two a byte", repr(text)) from None


def time_of(text: str | None) -> datetime:
    """Return the time of --at, UTC if it names no zone; now without it. Raises `UsageError`."""
    from datetime import datetime

    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage_error("--at", "a time such as 2025-06-01 or 2025-06-01T12:00:00Z", repr(text)) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def usage_error(where: str, expected: str, found: str) -> UsageError:
    """Return the error for an option or a file that is not as it should be."""
    return UsageError(what="argument", where=where, expected=expected, found=found, fix="See `skrkit verify --help`.")
