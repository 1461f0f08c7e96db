"""The three bit fields of an SNP report: POLICY, PLATFORM_INFO and KEY_INFO, a row a bit."""

from __future__ import annotations

from dataclasses import dataclass

from skrkit.wire import Json


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of a field: its number, its name as shown, and what a 1 means."""

    number: int
    name: str
    note: str


# Source: AMD 56860, "Guest Policy". Bits 0-15 are the minimum ABI version.
POLICY_BITS = (
    Bit(17, "reserved_one_bit17", "must be 1"),
    Bit(16, "smt_allowed", "simultaneous multithreading may be on in the host"),
    Bit(18, "migrate_ma_allowed", "a migration agent may be associated with the guest"),
    Bit(19, "debug_allowed", "the host may decrypt guest memory: confidentiality is void"),
    Bit(20, "single_socket_required", "the guest runs on one socket only"),
    Bit(21, "cxl_allowed", "CXL devices or memory may be used"),
    Bit(22, "mem_aes_256_xts_required", "memory must be encrypted with AES-256-XTS"),
    Bit(23, "rapl_disabled_required", "power metering (RAPL) must be off"),
    Bit(24, "ciphertext_hiding_required", "ciphertext hiding for DRAM must be on"),
    Bit(25, "page_swap_disabled", "page move and swap commands are refused for this guest"),
)
POLICY_RESERVED_SHIFT = 26
POLICY_DEBUG = 1 << 19
POLICY_MIGRATE_MA = 1 << 18
POLICY_RESERVED_ONE = 1 << 17

# Source: AMD 56860, "PLATFORM_INFO". Turin's bit 6 has no name in go-sev-guest and virtee/sev.
PLATFORM_BITS = (
    Bit(0, "smt_enabled", "simultaneous multithreading is on in the host"),
    Bit(1, "tsme_enabled", "transparent memory encryption is on"),
    Bit(2, "ecc_enabled", "ECC memory is in use"),
    Bit(3, "rapl_disabled", "power metering (RAPL) is off"),
    Bit(4, "ciphertext_hiding_dram_enabled", "ciphertext hiding for DRAM is on"),
    Bit(5, "alias_check_complete", "no memory alias was found since reset (AMD-SB-3015)"),
    Bit(7, "tio_enabled", "trusted I/O (SEV-TIO) is on"),
)
_PLATFORM_KNOWN = sum(1 << bit.number for bit in PLATFORM_BITS)

AUTHOR_KEY_EN = 1 << 0
MASK_CHIP_KEY = 1 << 1
KEY_INFO_RESERVED_SHIFT = 5
VCEK, VLEK, UNSIGNED = 0, 1, 7
_SIGNING_KEYS = {VCEK: "VCEK", VLEK: "VLEK", UNSIGNED: "none"}


def signing_key(key_info: int) -> int:
    """Return SIGNING_KEY, bits 4:2 of KEY_INFO: 0 VCEK, 1 VLEK, 7 none (unsigned), others reserved."""
    return key_info >> 2 & 7


def signing_key_name(key_info: int) -> str:
    """Return "VCEK", "VLEK", "none" or "reserved"."""
    return _SIGNING_KEYS.get(signing_key(key_info), "reserved")


def policy_members(policy: int) -> dict[str, Json]:
    """Return the decoded POLICY: the ABI version that is required at least, then a member a bit."""
    members: dict[str, Json] = {"hex": hex(policy), "abi_minor": policy & 0xFF, "abi_major": policy >> 8 & 0xFF}
    members |= {bit.name: bool(policy >> bit.number & 1) for bit in POLICY_BITS}
    members["reserved_high_nonzero"] = bool(policy >> POLICY_RESERVED_SHIFT)
    return members


def platform_members(platform_info: int) -> dict[str, Json]:
    """Return the decoded PLATFORM_INFO: a member a bit, and whether an unknown bit is set."""
    members: dict[str, Json] = {"hex": hex(platform_info)}
    members |= {bit.name: bool(platform_info >> bit.number & 1) for bit in PLATFORM_BITS}
    members["unknown_bits"] = bool(platform_info & ~_PLATFORM_KNOWN)
    return members


def key_info_members(key_info: int) -> dict[str, Json]:
    """Return the decoded KEY_INFO: which key signed, and whether the host masked the chip's key."""
    return {
        "hex": hex(key_info),
        "author_key_en": bool(key_info & AUTHOR_KEY_EN),
        "mask_chip_key": bool(key_info & MASK_CHIP_KEY),
        "signing_key": signing_key(key_info),
        "signing_key_name": signing_key_name(key_info),
        "reserved_nonzero": bool(key_info >> KEY_INFO_RESERVED_SHIFT),
    }


def policy_words(policy: int) -> str:
    """Return what a POLICY says, in words: the ABI version and each bit that is set."""
    said = [f"ABI {policy >> 8 & 0xFF}.{policy & 0xFF} or newer"]
    said += [bit.note for bit in POLICY_BITS if policy >> bit.number & 1 and bit.number != 17]
    if not policy & POLICY_RESERVED_ONE:
        said.append("bit 17 is 0, which no genuine report has")
    if policy >> POLICY_RESERVED_SHIFT:
        said.append("a reserved bit above 25 is set")
    return "; ".join(said)


def platform_words(platform_info: int) -> str:
    """Return what a PLATFORM_INFO says, in words: each bit that is set."""
    said = [bit.note for bit in PLATFORM_BITS if platform_info >> bit.number & 1]
    if unknown := platform_info & ~_PLATFORM_KNOWN:
        said.append(f"unknown bits 0x{unknown:x}")
    return "; ".join(said) or "no bit is set"


def key_info_words(key_info: int) -> str:
    """Return what a KEY_INFO says, in words."""
    said = [f"signed with the {signing_key_name(key_info)}"]
    if signing_key(key_info) not in (VCEK, VLEK):
        said = [f"signing key {signing_key(key_info)} ({signing_key_name(key_info)}): the report is not signed"]
    if key_info & MASK_CHIP_KEY:
        said.append("the host masked the chip's key: the report is not signed")
    said.append("author key digest is valid" if key_info & AUTHOR_KEY_EN else "no author key")
    return "; ".join(said)
