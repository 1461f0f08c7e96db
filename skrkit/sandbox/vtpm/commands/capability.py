"""TPM2_GetCapability: what this TPM has and how large it is. Source: part 2 clauses 6.12 to 6.15, 8.2, 8.9."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from skrkit.sandbox.vtpm.buffer import Reader, u8, u16, u32
from skrkit.sandbox.vtpm.codes import (
    ACTIVE_SESSIONS,
    CONTEXT_HASH_ALG,
    HT_HMAC,
    HT_NV,
    HT_PCR,
    HT_PERMANENT,
    HT_PERSISTENT,
    HT_POLICY,
    HT_TRANSIENT,
    LOADED_SESSIONS,
    MAX_COMMAND,
    MAX_DIGEST,
    NV_BUFFER_MAX,
    NV_INDEX_MAX,
    PCR_COUNT,
    TRANSIENT_SLOTS,
    Alg,
    Cc,
    Rc,
    Rh,
    TpmError,
    parameter_error,
)
from skrkit.sandbox.vtpm.core import FIRMWARE_VERSION, Core
from skrkit.sandbox.vtpm.pcr import LOCALITY_ONLY, RESETTABLE, UNCOUNTED
from skrkit.sandbox.vtpm.registry import COMMANDS, Command, Reply, command
from skrkit.sandbox.vtpm.structures import ECC_P256, ECC_P384

MAX_CAP_BUFFER = 1024
MAX_DATA = MAX_CAP_BUFFER - 8  # what a list of capabilities may weigh

# TPMA_ALGORITHM: asymmetric 0x1, symmetric 0x2, hash 0x4, object 0x8, signing 0x100, encrypting 0x200, method 0x400
ALGORITHMS: Final = {
    Alg.RSA: 0x009,
    Alg.SHA1: 0x004,
    Alg.AES: 0x002,
    Alg.MGF1: 0x404,
    Alg.XOR: 0x006,
    Alg.SHA256: 0x004,
    Alg.SHA384: 0x004,
    Alg.SHA512: 0x004,
    Alg.RSASSA: 0x101,
    Alg.RSAES: 0x201,
    Alg.RSAPSS: 0x101,
    Alg.OAEP: 0x201,
    Alg.ECDSA: 0x101,
    Alg.KDF1_SP800_108: 0x404,
    Alg.ECC: 0x009,
    Alg.CFB: 0x202,
}
PERMANENT: Final = (Rh.OWNER, Rh.NULL, Rh.PW, Rh.LOCKOUT, Rh.ENDORSEMENT, Rh.PLATFORM)
NV_COMMANDS: Final = {
    Cc.EvictControl,
    Cc.HierarchyChangeAuth,
    Cc.NV_UndefineSpace,
    Cc.NV_DefineSpace,
    Cc.NV_Write,
    Cc.DictionaryAttackLockReset,
    Cc.PCR_Event,
    Cc.PCR_Reset,
    Cc.PCR_Extend,
    Cc.SelfTest,
    Cc.Startup,
    Cc.Shutdown,
}
VARIABLE = 0x200  # the first of the properties that change
LAST_CAPABILITY, VENDOR_PROPERTY = 0x0A, 0x100  # TPM_CAP_ACT, TPM_CAP_VENDOR_PROPERTY

Capability = Callable[[Core, int, int], tuple[bool, bytes]]


def _listed(rows: Iterable[tuple[int, bytes]], first: int, count: int, size: int) -> tuple[bool, bytes]:
    """Return whether there is more, and the list of at most `count` rows from `first` on, each of `size` bytes."""
    limit = min(count, MAX_DATA // size)
    left = [row for at, row in sorted(rows) if at >= first]
    return len(left) > limit, u32(len(left[:limit])) + b"".join(left[:limit])


def _algorithms(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    return _listed(((int(a), u16(a) + u32(bits)) for a, bits in ALGORITHMS.items()), first, count, 6)


def _handles(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    found: dict[int, Iterable[int]] = {
        HT_PCR: range(PCR_COUNT),
        HT_NV: core.state.nv,
        HT_HMAC: core.sessions.loaded,  # "loaded sessions", of both kinds, by part 2 clause 7.2
        HT_POLICY: core.sessions.saved,  # "saved sessions"
        HT_PERMANENT: PERMANENT,
        HT_TRANSIENT: core.objects,
        HT_PERSISTENT: core.state.persistent,
    }
    kind = first >> 24
    if kind not in found:
        raise parameter_error(2, Rc.HANDLE)
    if kind in (HT_HMAC, HT_POLICY):
        slot = first & 0xFFFFFF
        saved = HT_HMAC << 24  # a saved session is listed as if it were an HMAC session (libtpms)
        rows = [
            (handle & 0xFFFFFF, u32(handle if kind == HT_HMAC else saved | handle & 0xFFFFFF)) for handle in found[kind]
        ]
        return _listed(rows, slot, count, 4)
    return _listed(((int(handle), u32(handle)) for handle in found[kind]), first, count, 4)


def attributes_of(row: Command) -> int:
    """Return a command's TPMA_CC."""
    changes_nv = (1 << 22) if row.code in NV_COMMANDS else 0
    return row.code | changes_nv | len(row.handles) << 25 | (1 << 28 if row.answers_handle else 0)


def _commands(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    return _listed(((code, u32(attributes_of(row))) for code, row in COMMANDS.items()), first, count, 4)


def _no_commands(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    return False, u32(0)


def _pcrs(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    if first:
        raise parameter_error(2, Rc.VALUE)
    banks = core.state.pcrs.banks
    return False, u32(len(banks)) + b"".join(u16(alg) + u8(3) + b"\xff\xff\xff" for alg in banks)


def _properties(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    """Return properties of one group: a list never runs from the fixed group into the variable one."""
    group = _fixed() if first < VARIABLE else _variable(core)
    return _listed(((tag, u32(tag) + u32(value)) for tag, value in group.items()), first, count, 8)


def _fixed() -> dict[int, int]:
    text = [int.from_bytes(part, "big") for part in (b"2.0\0", b"SKRK", b"skrk", b"it s", b"andb", b"ox\0\0")]
    return {
        0x100: text[0],  # TPM_PT_FAMILY_INDICATOR
        0x101: 0,
        0x102: 159,  # revision 1.59
        0x103: 75,
        0x104: 2021,
        0x105: text[1],  # TPM_PT_MANUFACTURER: nobody's registered id, since this is nobody's TPM
        0x106: text[2],
        0x107: text[3],
        0x108: text[4],
        0x109: text[5],
        0x10A: 1,
        0x10B: FIRMWARE_VERSION >> 32,
        0x10C: FIRMWARE_VERSION & 0xFFFFFFFF,
        0x10D: MAX_COMMAND // 4,  # TPM_PT_INPUT_BUFFER
        0x10E: TRANSIENT_SLOTS,
        0x10F: 7,  # persistent objects that always fit
        0x110: LOADED_SESSIONS,
        0x111: ACTIVE_SESSIONS,
        0x112: PCR_COUNT,
        0x113: 3,  # bytes of a PCR selection
        0x114: 0xFFFF,  # TPM_PT_CONTEXT_GAP_MAX
        0x116: 0,  # NV counters: none
        0x117: NV_INDEX_MAX,
        0x118: 0,
        0x119: 0,
        0x11A: CONTEXT_HASH_ALG,
        0x11B: int(Alg.AES),
        0x11C: 256,
        0x11D: 0xFF,
        0x11E: MAX_COMMAND,
        0x11F: MAX_COMMAND,
        0x120: MAX_DIGEST,
        0x121: MAX_COMMAND,  # TPM_PT_MAX_OBJECT_CONTEXT
        0x122: MAX_COMMAND,
        0x123: text[0],
        0x124: 0,
        0x125: 159,
        0x126: 75,
        0x127: 2021,
        0x128: 0,
        0x129: len(COMMANDS),
        0x12A: len(COMMANDS),
        0x12B: 0,
        0x12C: NV_BUFFER_MAX,
        0x12D: 0,
        0x12E: MAX_CAP_BUFFER,
    }


def _variable(core: Core) -> dict[int, int]:
    state, attack = core.state, core.state.attack
    owner = bool(state.auths[Rh.OWNER]) | bool(state.auths[Rh.ENDORSEMENT]) << 1 | bool(state.auths[Rh.LOCKOUT]) << 2
    locked = attack.failed >= attack.MAX_TRIES
    return {
        0x200: owner | locked << 9 | 1 << 10,  # TPMA_PERMANENT; bit 10: the TPM made its own EPS
        0x201: 0x8000000F,  # TPMA_STARTUP_CLEAR: hierarchies enabled; orderly, since every answered command is kept
        0x202: len(state.nv),
        0x203: len(core.objects),
        0x204: TRANSIENT_SLOTS - len(core.objects),
        0x205: len(core.sessions.loaded),
        0x206: ACTIVE_SESSIONS - len(core.sessions.loaded) - len(core.sessions.saved),
        0x207: LOADED_SESSIONS - len(core.sessions.loaded),
        0x208: len(core.sessions.loaded) + len(core.sessions.saved),
        0x209: ACTIVE_SESSIONS - len(core.sessions.loaded) - len(core.sessions.saved),
        0x20A: len(state.persistent),
        0x20B: 64 - len(state.persistent),
        0x20C: 0,
        0x20D: 0,
        0x20E: attack.failed,
        0x20F: attack.MAX_TRIES,
        0x210: attack.RECOVERY_S,
        0x211: attack.RECOVERY_S,
        0x212: 0,
        0x213: 0,
        0x214: 0,
    }


def _pcr_properties(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    everything = set(range(PCR_COUNT))
    static = everything - set(LOCALITY_ONLY)
    groups = {
        0x00: set(range(16)),  # TPM_PT_PCR_SAVE
        0x01: static,  # extended at locality 0
        0x02: set(RESETTABLE),  # reset at locality 0
        0x11: set(UNCOUNTED),  # TPM_PT_PCR_NO_INCREMENT
        0x12: set(LOCALITY_ONLY),  # reset by a dynamic launch
    }
    rows = [
        (tag, u32(tag) + u8(3) + sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")) for tag, pcrs in groups.items()
    ]
    return _listed(rows, first, count, 8)


def _curves(core: Core, first: int, count: int) -> tuple[bool, bytes]:
    return _listed(((curve, u16(curve)) for curve in (ECC_P256, ECC_P384)), first, count, 2)


CAPABILITIES: Final[dict[int, Capability]] = {
    0: _algorithms,
    1: _handles,
    2: _commands,
    3: _no_commands,  # that need physical presence
    4: _no_commands,  # under audit
    5: _pcrs,
    6: _properties,
    7: _pcr_properties,
    8: _curves,
}


def _capability(reader: Reader) -> int:
    value = reader.u32()
    if value > LAST_CAPABILITY and value != VENDOR_PROPERTY:
        raise TpmError(Rc.VALUE)
    return value


@command(Cc.GetCapability, _capability, Reader.u32, Reader.u32)
def get_capability(core: Core, capability: int, first: int, count: int) -> Reply:
    """TPM2_GetCapability: whether there is more, and TPMS_CAPABILITY_DATA."""
    if capability == VENDOR_PROPERTY:
        raise parameter_error(1, Rc.VALUE)
    if capability not in CAPABILITIES:
        raise parameter_error(2, Rc.VALUE)  # known to the TCG, not to this TPM: libtpms blames the property
    more, data = CAPABILITIES[capability](core, first, count)
    return Reply(parameters=u8(more) + u32(capability) + data)
