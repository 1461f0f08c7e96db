"""Response codes: names held against tpm2_rc_decode, and fixes that fit."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from skrkit.tpm.rc import decode_rc

# The start of tpm2_rc_decode's sentence for a code; a wrong name of ours would meet another sentence
SAYINGS = {
    0x100: ("TPM_RC_INITIALIZE", "TPM not initialized"),
    0x101: ("TPM_RC_FAILURE", "commands not being accepted because of a TPM failure"),
    0x120: ("TPM_RC_DISABLED", "the command is disabled"),
    0x12F: ("TPM_RC_AUTH_UNAVAILABLE", "authValue or authPolicy is not available"),
    0x143: ("TPM_RC_COMMAND_CODE", "command code not supported"),
    0x146: ("TPM_RC_NV_RANGE", "NV offset+size is out of range"),
    0x148: ("TPM_RC_NV_LOCKED", "NV access locked"),
    0x149: ("TPM_RC_NV_AUTHORIZATION", "NV access authorization fails"),
    0x14A: ("TPM_RC_NV_UNINITIALIZED", "an NV Index is used before being initialized"),
    0x14B: ("TPM_RC_NV_SPACE", "insufficient space for NV allocation"),
    0x14C: ("TPM_RC_NV_DEFINED", "NV Index or persistent object already defined"),
    0x902: ("TPM_RC_OBJECT_MEMORY", "out of memory for object contexts"),
    0x903: ("TPM_RC_SESSION_MEMORY", "out of memory for session contexts"),
    0x907: ("TPM_RC_LOCALITY", "bad locality"),
    0x908: ("TPM_RC_YIELDED", "the TPM has suspended operation"),
    0x90A: ("TPM_RC_TESTING", "TPM is performing selftests"),
    0x910: ("TPM_RC_REFERENCE_H0", "the 1st handle"),
    0x920: ("TPM_RC_NV_RATE", "the TPM is rate limiting accesses"),
    0x921: ("TPM_RC_LOCKOUT", "authorizations for objects subject to DA protection"),
    0x922: ("TPM_RC_RETRY", "the TPM was not able to start the command"),
    0x084: ("TPM_RC_VALUE", "value is out of range or is not correct for the context"),
    0x085: ("TPM_RC_HIERARCHY", "hierarchy is not enabled or is not correct for the use"),
    0x08A: ("TPM_RC_TYPE", "the type of the value is not appropriate for the use"),
    0x08B: ("TPM_RC_HANDLE", "the handle is not correct for the use"),
    0x08E: ("TPM_RC_AUTH_FAIL", "the authorization HMAC check failed"),
    0x092: ("TPM_RC_SCHEME", "unsupported or incompatible scheme"),
    0x095: ("TPM_RC_SIZE", "structure is the wrong size"),
    0x09A: ("TPM_RC_INSUFFICIENT", "the TPM was unable to unmarshal a value"),
    0x09D: ("TPM_RC_POLICY_FAIL", "a policy check failed"),
    0x0A2: ("TPM_RC_BAD_AUTH", "authorization failure without DA implications"),
    0x0A4: ("TPM_RC_POLICY_CC", "the commandCode in the policy is not"),
}


@pytest.mark.parametrize(("number", "name"), [(number, name) for number, (name, _) in SAYINGS.items()])
def test_names(number: int, name: str) -> None:
    assert decode_rc(number).name == name


def test_names_are_tpm2_rc_decodes() -> None:
    program = shutil.which("tpm2_rc_decode")
    if program is None:
        pytest.skip("NO tpm2_rc_decode: names of response codes are not held against another program.")
    for number, (_, saying) in SAYINGS.items():
        said = subprocess.run([program, hex(number)], check=True, capture_output=True, text=True).stdout
        assert saying.lower() in said.lower(), (hex(number), said)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0x18B, "TPM_RC_HANDLE (0x18B, handle 1)"),
        (0x28B, "TPM_RC_HANDLE (0x28B, handle 2)"),
        (0x99D, "TPM_RC_POLICY_FAIL (0x99D, session 1)"),
        (0x1C4, "TPM_RC_VALUE (0x1C4, parameter 1)"),
        (0x2D5, "TPM_RC_SIZE (0x2D5, parameter 2)"),
        (0x922, "TPM_RC_RETRY (0x922)"),
        (0xB0143, "TPM_RC_COMMAND_CODE (0xB0143, resource manager)"),
        (0x70143, "TPM_RC_COMMAND_CODE (0x70143, layer 7)"),
        (0x17F, "TPM_RC 0x17F (0x17F)"),
        (0x5AA, "TPM_RC 0x5AA (0x5AA, handle 5)"),
        (0x01E, "TPM_RC_BAD_TAG (0x1E)"),
        (0, "TPM_RC_SUCCESS (0x0)"),
    ],
)
def test_words(number: int, text: str) -> None:
    assert str(decode_rc(number)) == text


def test_every_number_has_words() -> None:
    for number in range(0x1000):
        assert decode_rc(number).fix("TPM2_NV_Read").endswith((".", ")")), hex(number)


@pytest.mark.parametrize(
    ("command", "number", "words"),
    [
        ("TPM2_NV_Read", 0x28B, "not under Trusted Launch"),
        ("TPM2_NV_Read", 0x14A, "never written"),
        ("TPM2_RSA_Decrypt", 0x99D, "A selected PCR was extended"),
        ("TPM2_PolicyPCR", 0x1C4, "A selected PCR was extended"),
        ("TPM2_ReadPublic", 0x18B, "no key at this handle"),
        ("TPM2_NV_DefineSpace", 0x2D5, "refuses NV indexes above 2048 bytes"),
        ("TPM2_Quote", 0x902, "/dev/tpmrm0"),
        ("TPM2_Quote", 0x922, "Try again in a second"),
        ("TPM2_Quote", 0x1D2, "tpm2_rc_decode"),
    ],
)
def test_fixes_fit_the_command(command: str, number: int, words: str) -> None:
    assert words in decode_rc(number).fix(command)
