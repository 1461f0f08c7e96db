"""The numbers of TPM 2.0 that this vTPM speaks: commands, return codes, algorithms, handles, attribute bits.

Source: TCG TPM 2.0 Library, part 2 (Structures), revision 1.59.
"""

from __future__ import annotations

from enum import IntEnum

ST_RSP_COMMAND = 0x00C4  # the tag of the answer to a bad tag, as TPM 1.2 would give it
ST_NO_SESSIONS = 0x8001
ST_SESSIONS = 0x8002
ST_ATTEST_CERTIFY = 0x8017
ST_ATTEST_QUOTE = 0x8018
ST_CREATION = 0x8021
ST_VERIFIED = 0x8022
ST_AUTH_SECRET = 0x8023
ST_HASHCHECK = 0x8024
GENERATED = 0xFF544347  # TPM_GENERATED_VALUE: marks a structure that the TPM itself made

MAX_COMMAND = 4096
MAX_DIGEST = 64  # SHA-512
NV_BUFFER_MAX = 1024
NV_INDEX_MAX = 4096  # Azure's index 0x01400001 is 2600 bytes; libtpms 0.9.2 stops at 2048
PCR_COUNT = 24
TRANSIENT_SLOTS = 3
LOADED_SESSIONS = 3
ACTIVE_SESSIONS = 64
MAX_RSA_BYTES = 384  # RSA-3072
MAX_LABEL = 64


class Cc(IntEnum):
    """Command codes (TPM_CC)."""

    EvictControl = 0x120
    HierarchyChangeAuth = 0x129
    NV_UndefineSpace = 0x122
    NV_DefineSpace = 0x12A
    CreatePrimary = 0x131
    NV_Write = 0x137
    DictionaryAttackLockReset = 0x139
    PCR_Event = 0x13C
    PCR_Reset = 0x13D
    SelfTest = 0x143
    Startup = 0x144
    Shutdown = 0x145
    StirRandom = 0x146
    Certify = 0x148
    NV_Read = 0x14E
    PolicySecret = 0x151
    Create = 0x153
    Load = 0x157
    Quote = 0x158
    RSA_Decrypt = 0x159
    Sign = 0x15D
    ContextLoad = 0x161
    ContextSave = 0x162
    FlushContext = 0x165
    LoadExternal = 0x167
    NV_ReadPublic = 0x169
    PolicyAuthValue = 0x16B
    PolicyCommandCode = 0x16C
    ReadPublic = 0x173
    RSA_Encrypt = 0x174
    StartAuthSession = 0x176
    VerifySignature = 0x177
    GetCapability = 0x17A
    GetRandom = 0x17B
    GetTestResult = 0x17C
    Hash = 0x17D
    PCR_Read = 0x17E
    PolicyPCR = 0x17F
    PolicyRestart = 0x180
    ReadClock = 0x181
    PCR_Extend = 0x182
    PolicyGetDigest = 0x189
    TestParms = 0x18A
    PolicyPassword = 0x18C


class Rc(IntEnum):
    """Return codes (TPM_RC). Those from 0x080 to 0x0BF are "format one": they take a number (see `TpmError`)."""

    SUCCESS = 0
    BAD_TAG = 0x01E
    ASYMMETRIC = 0x081
    ATTRIBUTES = 0x082
    HASH = 0x083
    VALUE = 0x084
    HIERARCHY = 0x085
    KEY_SIZE = 0x087
    MODE = 0x089
    TYPE = 0x08A
    HANDLE = 0x08B
    KDF = 0x08C
    RANGE = 0x08D
    AUTH_FAIL = 0x08E
    NONCE = 0x08F
    SCHEME = 0x092
    SIZE = 0x095
    SYMMETRIC = 0x096
    TAG = 0x097
    SELECTOR = 0x098
    INSUFFICIENT = 0x09A
    SIGNATURE = 0x09B
    KEY = 0x09C
    POLICY_FAIL = 0x09D
    INTEGRITY = 0x09F
    TICKET = 0x0A0
    RESERVED_BITS = 0x0A1
    BAD_AUTH = 0x0A2
    EXPIRED = 0x0A3
    POLICY_CC = 0x0A4
    BINDING = 0x0A5
    CURVE = 0x0A6
    ECC_POINT = 0x0A7
    INITIALIZE = 0x100
    FAILURE = 0x101
    EXCLUSIVE = 0x121
    AUTH_TYPE = 0x124
    AUTH_MISSING = 0x125
    PCR_CHANGED = 0x128
    AUTH_UNAVAILABLE = 0x12F
    COMMAND_SIZE = 0x142
    COMMAND_CODE = 0x143
    AUTH_CONTEXT = 0x145
    NV_RANGE = 0x146
    NV_LOCKED = 0x148
    NV_AUTHORIZATION = 0x149
    NV_UNINITIALIZED = 0x14A
    NV_SPACE = 0x14B
    NV_DEFINED = 0x14C
    CPHASH = 0x151
    OBJECT_MEMORY = 0x902
    SESSION_MEMORY = 0x903
    SESSION_HANDLES = 0x905
    LOCALITY = 0x907
    REFERENCE_H0 = 0x910
    REFERENCE_S0 = 0x918
    LOCKOUT = 0x921
    RETRY = 0x922


class TpmError(Exception):
    """A refusal: what the TPM answers instead of doing the command."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:03X}")
        self.code = int(code)

    def _numbered(self, offset: int) -> TpmError:
        return TpmError(self.code + offset) if self.code & 0x0C0 == 0x080 and self.code < 0x100 else self

    def parameter(self, number: int) -> TpmError:
        """Return the error with the number of the parameter it is about (from 1), if its format has one."""
        return self._numbered(0x040 + 0x100 * number)

    def handle(self, number: int) -> TpmError:
        """Return the error with the number of the handle it is about (from 1), if its format has one."""
        return self._numbered(0x100 * number)

    def session(self, number: int) -> TpmError:
        """Return the error with the number of the session it is about (from 1), if its format has one."""
        return self._numbered(0x800 + 0x100 * number)


def parameter_error(number: int, code: int) -> TpmError:
    """Return a format-one error about parameter `number`, from 1."""
    return TpmError(code).parameter(number)


def handle_error(number: int, code: int) -> TpmError:
    """Return a format-one error about handle `number`, from 1."""
    return TpmError(code).handle(number)


class Alg(IntEnum):
    """Algorithm identifiers (TPM_ALG_ID) that this vTPM knows."""

    RSA = 0x0001
    SHA1 = 0x0004
    HMAC = 0x0005
    AES = 0x0006
    MGF1 = 0x0007
    KEYEDHASH = 0x0008
    XOR = 0x000A
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    NULL = 0x0010
    RSASSA = 0x0014
    RSAES = 0x0015
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    KDF1_SP800_108 = 0x0022
    ECC = 0x0023
    CFB = 0x0043


class Rh(IntEnum):
    """Permanent handles (TPM_RH)."""

    OWNER = 0x40000001
    NULL = 0x40000007
    UNASSIGNED = 0x40000008
    PW = 0x40000009  # TPM_RS_PW: a password authorisation
    LOCKOUT = 0x4000000A
    ENDORSEMENT = 0x4000000B
    PLATFORM = 0x4000000C


CONTEXT_HASH_ALG = int(Alg.SHA512)  # of proofs, tickets, saved contexts: libtpms' choice too

HIERARCHIES = (Rh.OWNER, Rh.ENDORSEMENT, Rh.PLATFORM, Rh.NULL)

# The first byte of a handle says what kind it is (TPM_HT).
HT_PCR, HT_NV, HT_HMAC, HT_POLICY, HT_PERMANENT, HT_TRANSIENT, HT_PERSISTENT = 0x00, 0x01, 0x02, 0x03, 0x40, 0x80, 0x81
PLATFORM_PERSISTENT = 0x81800000  # from here on a persistent handle belongs to the platform

# TPMA_OBJECT
FIXED_TPM = 1 << 1
ST_CLEAR = 1 << 2
FIXED_PARENT = 1 << 4
SENSITIVE_DATA_ORIGIN = 1 << 5
USER_WITH_AUTH = 1 << 6
ADMIN_WITH_POLICY = 1 << 7
NO_DA = 1 << 10
ENCRYPTED_DUPLICATION = 1 << 11
RESTRICTED = 1 << 16
DECRYPT = 1 << 17
SIGN = 1 << 18
X509_SIGN = 1 << 19
OBJECT_RESERVED = 0xFFFFFFFF & ~(0x000F0CF6)

# TPMA_SESSION
CONTINUE_SESSION = 1 << 0
AUDIT_EXCLUSIVE = 1 << 1
AUDIT_RESET = 1 << 2
SESSION_RESERVED = 0x18
SESSION_DECRYPT = 1 << 5
SESSION_ENCRYPT = 1 << 6
AUDIT = 1 << 7

# TPMA_NV
NV_PPWRITE = 1 << 0
NV_OWNERWRITE = 1 << 1
NV_AUTHWRITE = 1 << 2
NV_POLICYWRITE = 1 << 3
NV_TYPE = 0xF0  # TPM_NT: 0 ordinary, 1 counter, 2 bits, 4 extend, 8 PIN fail, 9 PIN pass
NV_POLICY_DELETE = 1 << 10
NV_WRITELOCKED = 1 << 11
NV_WRITEALL = 1 << 12
NV_WRITEDEFINE = 1 << 13
NV_WRITE_STCLEAR = 1 << 14
NV_GLOBALLOCK = 1 << 15
NV_PPREAD = 1 << 16
NV_OWNERREAD = 1 << 17
NV_AUTHREAD = 1 << 18
NV_POLICYREAD = 1 << 19
NV_NO_DA = 1 << 25
NV_ORDERLY = 1 << 26
NV_CLEAR_STCLEAR = 1 << 27
NV_READLOCKED = 1 << 28
NV_WRITTEN = 1 << 29
NV_PLATFORMCREATE = 1 << 30
NV_READ_STCLEAR = 1 << 31
NV_RESERVED = 0x01F00300
