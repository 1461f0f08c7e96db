"""How a TPM 2.0 command and its response are framed. Big-endian.

Command: tag u16, size u32, code u32, handles, [authorisation size u32, authorisations], parameters.
Response: tag u16, size u32, TPM_RC u32, [handle], [parameter size u32], parameters, [authorisations].
Source: TPM 2.0 Library, Part 1, "Command/Response Structure".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from skrkit.errors import ServiceError
from skrkit.tpm.algorithms import TpmCursor

TAG_NO_SESSIONS = 0x8001
TAG_SESSIONS = 0x8002
HEADER = struct.Struct(">HII")
SOURCE = "TCG TPM 2.0 Library, Part 3"

RH_OWNER = 0x40000001
RH_NULL = 0x40000007
RS_PW = 0x40000009  # the password "session"
RH_ENDORSEMENT = 0x4000000B
AK_HANDLE = 0x81000003
NV_HCL_REPORT = 0x01400001
NV_USER_DATA = 0x01400002
NV_AK_CERTIFICATE = 0x01C101D0


class Command(IntEnum):
    """A TPM_CC of the flow. The name is the specification's, without TPM2_."""

    EvictControl = 0x00000120
    NV_UndefineSpace = 0x00000122
    NV_DefineSpace = 0x0000012A
    CreatePrimary = 0x00000131
    NV_Write = 0x00000137
    Certify = 0x00000148
    NV_Read = 0x0000014E
    Quote = 0x00000158
    RSA_Decrypt = 0x00000159
    FlushContext = 0x00000165
    NV_ReadPublic = 0x00000169
    ReadPublic = 0x00000173
    StartAuthSession = 0x00000176
    GetCapability = 0x0000017A
    GetRandom = 0x0000017B
    PCR_Read = 0x0000017E
    PolicyPCR = 0x0000017F
    PCR_Extend = 0x00000182
    PolicyGetDigest = 0x00000189

    @property
    def label(self) -> str:
        """The name with its prefix: "TPM2_NV_Read"."""
        return f"TPM2_{self.name}"


def u16(value: int) -> bytes:
    """Return a UINT16."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Return a UINT32."""
    return value.to_bytes(4, "big")


def sized(data: bytes) -> bytes:
    """Return a TPM2B: size u16, then the bytes."""
    return len(data).to_bytes(2, "big") + data


def authorisation(session: int = RS_PW, *, keep: bool = False) -> bytes:
    """Return a TPMS_AUTH_COMMAND with empty nonce and empty HMAC or password.

    With `keep` false a policy session is consumed by the command (continueSession clear).
    """
    return struct.pack(">IHBH", session, 0, 1 if keep else 0, 0)


def frame(code: Command, handles: Sequence[int], sessions: Sequence[bytes], parameters: bytes) -> bytes:
    """Return the whole command."""
    body = b"".join(u32(handle) for handle in handles)
    if sessions:
        area = b"".join(sessions)
        body += u32(len(area)) + area
    tag = TAG_SESSIONS if sessions else TAG_NO_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(body) + len(parameters), code) + body + parameters


def response_code(response: bytes, name: str, where: str) -> int:
    """Return the TPM_RC of a response whose header is sound. Raises `ServiceError`: size or tag is wrong."""
    if len(response) < HEADER.size:
        raise _malformed(name, where, expected=f"at least {HEADER.size} bytes", found=f"{len(response)} bytes")
    tag, size, code = HEADER.unpack_from(response)
    if size != len(response):
        raise _malformed(name, where, expected=f"{size} bytes, as its header says", found=f"{len(response)} bytes")
    if tag not in (TAG_SESSIONS, TAG_NO_SESSIONS):
        raise _malformed(name, where, expected="tag 0x8001 or 0x8002", found=f"tag 0x{tag:04x}")
    return int(code)


def unpack(response: bytes, name: str, *, with_handle: bool, with_sessions: bool) -> tuple[int, TpmCursor]:
    """Return the handle of a successful response (0 without one) and a cursor over its parameters.

    The cursor's data ends where the parameters end. Raises `ParseError` for a malformed response.
    """
    cursor = TpmCursor(response, f"{name} response")
    cursor.take(HEADER.size, "header")
    handle = int.from_bytes(cursor.take(4, "handle"), "big") if with_handle else 0
    if not with_sessions:
        return handle, cursor
    size = int.from_bytes(cursor.take(4, "parameterSize"), "big")
    start = cursor.at
    cursor.take(size, "parameters")
    cursor.data, cursor.at = response[: start + size], start
    return handle, cursor


def _malformed(name: str, where: str, *, expected: str, found: str) -> ServiceError:
    return ServiceError(
        what=f"{name} response",
        where=where,
        expected=expected,
        found=found,
        fix="Check that the device or the port is a TPM 2.0.",
        source="TCG TPM 2.0 Library, Part 1",
    )
