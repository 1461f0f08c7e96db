"""TPM_RC: what a TPM's refusal means, and what to do about it.

Source: TPM 2.0 Library, Part 2, "TPM_RC (Response Codes)".
"""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS = 0
RETRYABLE = frozenset({0x922, 0x908, 0x90A})  # TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING: nothing was done

_FORMAT_ONE = 0x080  # the code says which handle, session or parameter it is about
_PARAMETER = 0x040
_TPM2 = 0x100
_VENDOR = 0x400
_WARNING = 0x800
_SESSION = 0x800  # in format one, without _PARAMETER
LAYERS = {0: "", 11: "resource manager", 12: "resource manager"}  # bits 16 to 23, set by software above

_ERRORS = {
    0x00: "INITIALIZE",
    0x01: "FAILURE",
    0x03: "SEQUENCE",
    0x0B: "PRIVATE",
    0x19: "HMAC",
    0x20: "DISABLED",
    0x21: "EXCLUSIVE",
    0x24: "AUTH_TYPE",
    0x25: "AUTH_MISSING",
    0x26: "POLICY",
    0x27: "PCR",
    0x28: "PCR_CHANGED",
    0x2D: "UPGRADE",
    0x2E: "TOO_MANY_CONTEXTS",
    0x2F: "AUTH_UNAVAILABLE",
    0x30: "REBOOT",
    0x31: "UNBALANCED",
    0x42: "COMMAND_SIZE",
    0x43: "COMMAND_CODE",
    0x44: "AUTHSIZE",
    0x45: "AUTH_CONTEXT",
    0x46: "NV_RANGE",
    0x47: "NV_SIZE",
    0x48: "NV_LOCKED",
    0x49: "NV_AUTHORIZATION",
    0x4A: "NV_UNINITIALIZED",
    0x4B: "NV_SPACE",
    0x4C: "NV_DEFINED",
    0x50: "BAD_CONTEXT",
    0x51: "CPHASH",
    0x52: "PARENT",
    0x53: "NEEDS_TEST",
    0x54: "NO_RESULT",
    0x55: "SENSITIVE",
}
_FORMAT_ONE_ERRORS = {
    0x01: "ASYMMETRIC",
    0x02: "ATTRIBUTES",
    0x03: "HASH",
    0x04: "VALUE",
    0x05: "HIERARCHY",
    0x07: "KEY_SIZE",
    0x08: "MGF",
    0x09: "MODE",
    0x0A: "TYPE",
    0x0B: "HANDLE",
    0x0C: "KDF",
    0x0D: "RANGE",
    0x0E: "AUTH_FAIL",
    0x0F: "NONCE",
    0x10: "PP",
    0x12: "SCHEME",
    0x15: "SIZE",
    0x16: "SYMMETRIC",
    0x17: "TAG",
    0x18: "SELECTOR",
    0x1A: "INSUFFICIENT",
    0x1B: "SIGNATURE",
    0x1C: "KEY",
    0x1D: "POLICY_FAIL",
    0x1F: "INTEGRITY",
    0x20: "TICKET",
    0x21: "RESERVED_BITS",
    0x22: "BAD_AUTH",
    0x23: "EXPIRED",
    0x24: "POLICY_CC",
    0x25: "BINDING",
    0x26: "CURVE",
    0x27: "ECC_POINT",
}
_WARNINGS = {
    0x01: "CONTEXT_GAP",
    0x02: "OBJECT_MEMORY",
    0x03: "SESSION_MEMORY",
    0x04: "MEMORY",
    0x05: "SESSION_HANDLES",
    0x06: "OBJECT_HANDLES",
    0x07: "LOCALITY",
    0x08: "YIELDED",
    0x09: "CANCELED",
    0x0A: "TESTING",
    **{0x10 + i: f"REFERENCE_H{i}" for i in range(7)},
    **{0x18 + i: f"REFERENCE_S{i}" for i in range(7)},
    0x20: "NV_RATE",
    0x21: "LOCKOUT",
    0x22: "RETRY",
    0x23: "NV_UNAVAILABLE",
}

_PCR_CHANGED = (
    "A selected PCR was extended since the key was made. Attest again, with a new ephemeral key for the present PCRs."
)
_NOT_A_CVM = (
    "The index is not defined. 0x01400001 exists on Azure confidential VMs only, not under Trusted Launch; "
    "0x01400002 must be defined before it is written."
)
_NO_KEY = "There is no key at this handle. Azure's vTPM has its attestation key at 0x81000003."
_FLUSH = "Flush transient objects and sessions (tpm2_flushcontext -t -l -s), and use /dev/tpmrm0, which does so itself."
_AUTH = "Azure's indexes and keys have the empty password; another one was set, or the hierarchy is owned by someone."
_FIXES = {
    "TPM_RC_INITIALIZE": "Start the TPM up: TPM2_Startup is the firmware's first command.",
    "TPM_RC_FAILURE": "The ciphertext is not for this key, or the TPM is in failure mode. Check the key first.",
    "TPM_RC_COMMAND_CODE": "This TPM does not have the command.",
    "TPM_RC_NV_UNINITIALIZED": "The index is defined and was never written. Write it, or wait for the platform to.",
    "TPM_RC_NV_RANGE": "Read or write within the index's size, which TPM2_NV_ReadPublic gives.",
    "TPM_RC_NV_DEFINED": "The index exists. Undefine it first, or write it as it is.",
    "TPM_RC_NV_SPACE": "The TPM has no room left for an index or an object of this size.",
    "TPM_RC_NV_LOCKED": "The index is locked until the next reset.",
    "TPM_RC_NV_AUTHORIZATION": "The index does not let this hierarchy read or write it.",
    "TPM_RC_AUTH_UNAVAILABLE": "The key has userWithAuth clear: use a policy session, not the password.",
    "TPM_RC_AUTH_FAIL": _AUTH,
    "TPM_RC_BAD_AUTH": _AUTH,
    "TPM_RC_POLICY_FAIL": _PCR_CHANGED,
    "TPM_RC_PCR_CHANGED": _PCR_CHANGED,
    "TPM_RC_LOCKOUT": "Too many wrong passwords. Wait, or reset the lockout (tpm2_dictionarylockout -c).",
    "TPM_RC_OBJECT_MEMORY": _FLUSH,
    "TPM_RC_SESSION_MEMORY": _FLUSH,
    "TPM_RC_OBJECT_HANDLES": _FLUSH,
    "TPM_RC_SESSION_HANDLES": _FLUSH,
    "TPM_RC_RETRY": "The TPM was busy through every retry. Try again in a second.",
    "TPM_RC_TESTING": "The TPM was testing itself through every retry. Try again in a second.",
    "TPM_RC_YIELDED": "The TPM gave way through every retry. Try again in a second.",
    "TPM_RC_NV_RATE": "The TPM limits writes to its memory. Try again in a few seconds.",
    "TPM_RC_LOCALITY": "This PCR can be extended from another locality only.",
    "TPM_RC_HANDLE": "There is no such object, index or session.",
    "TPM_RC_REFERENCE_H0": "There is no such transient object: it was flushed, or made over another connection.",
    "TPM_RC_HIERARCHY": "Use the hierarchy that the object was made in.",
    "TPM_RC_SIZE": "Use a size the TPM takes: libtpms refuses NV indexes above 2048 bytes.",
}
_COMMAND_FIXES = {
    ("TPM2_NV_ReadPublic", "TPM_RC_HANDLE"): _NOT_A_CVM,
    ("TPM2_NV_Read", "TPM_RC_HANDLE"): _NOT_A_CVM,
    ("TPM2_NV_Write", "TPM_RC_HANDLE"): _NOT_A_CVM,
    ("TPM2_NV_UndefineSpace", "TPM_RC_HANDLE"): _NOT_A_CVM,
    ("TPM2_PolicyPCR", "TPM_RC_VALUE"): _PCR_CHANGED,
    (
        "TPM2_ReadPublic",
        "TPM_RC_HANDLE",
    ): _NO_KEY,
    (
        "TPM2_Quote",
        "TPM_RC_HANDLE",
    ): _NO_KEY,
    ("TPM2_RSA_Decrypt", "TPM_RC_VALUE"): "The ciphertext is not smaller than the modulus: it is for another key.",
    ("TPM2_RSA_Decrypt", "TPM_RC_SIZE"): "The ciphertext is not as long as the modulus: it is for another key.",
}
_DEFAULT_FIX = "Look the code up with `tpm2_rc_decode`, and look at the command's bytes."


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCode:
    """A decoded TPM_RC. `about` is "handle 1", "session 1", "parameter 2" or ""; `layer` is software above the TPM."""

    number: int
    name: str
    about: str = ""
    layer: str = ""

    def __str__(self) -> str:
        details = [f"0x{self.number:X}", *(part for part in (self.about, self.layer) if part)]
        return f"{self.name} ({', '.join(details)})"

    def fix(self, command: str) -> str:
        """Return the next thing to try when `command` ("TPM2_NV_Read") was refused with this code."""
        return _COMMAND_FIXES.get((command, self.name)) or _FIXES.get(self.name, _DEFAULT_FIX)


def decode_rc(number: int) -> ResponseCode:
    """Return what a TPM_RC says. A number without a name keeps its hex digits as the name."""
    layer = LAYERS.get(number >> 16, f"layer {number >> 16}")
    code = number & 0xFFFF
    if code == SUCCESS:
        return ResponseCode(number=number, name="TPM_RC_SUCCESS", layer=layer)
    if code & _FORMAT_ONE:
        error = _FORMAT_ONE_ERRORS.get(code & 0x3F)
        return _named(number, error, layer, about=_about(code))
    if code & _VENDOR or not code & _TPM2:
        return _named(number, "BAD_TAG" if code == 0x01E else None, layer)
    names = _WARNINGS if code & _WARNING else _ERRORS
    return _named(number, names.get(code & 0x7F), layer)


def _named(number: int, error: str | None, layer: str, *, about: str = "") -> ResponseCode:
    name = f"TPM_RC_{error}" if error else f"TPM_RC 0x{number & 0xFFFF:03X}"
    return ResponseCode(number=number, name=name, about=about, layer=layer)


def _about(code: int) -> str:
    position = (code >> 8) & 0xF
    if code & _PARAMETER:
        return f"parameter {position}" if position else "a parameter"
    kind = "session" if code & _SESSION else "handle"
    return f"{kind} {position & 7}" if position & 7 else f"a {kind}"
