"""The machine leg: what the vTPM says, or that there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from skrkit.diagnosis.explain_evidence import shown_by_evidence
from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading

_REPORT_INDEX = r"(?i)0x0?1400001\b"
_AK_INDEX = r"(?i)0x0?1C101D0\b"
_ATTESTATION_KEY = r"(?i)0x81000003\b"
_NOT_DEFINED = r"(?i)TPM_RC_HANDLE|no such index|0x0?0?(18B|14A)\b|\b330\b|TPM_RC_NV_UNINITIALIZED"
_LOCKOUT = r"(?i)TPM_RC_LOCKOUT|0x0?0?921\b"
_ABSENT = r"(?i)no such (device|file)|No such file or directory|outside of one"
_DENIED = r"(?i)permission denied"
_DECRYPT = "TPM2_RSA_Decrypt"
_SIZES = (
    ("Family Cores", "machine.quota"),
    ("QuotaExceeded", "machine.quota"),
    ("encryptionAtHost", "machine.encryption-at-host"),
    ("securityEncryptionType", "machine.size-and-security-type"),
    ("security type", "machine.size-and-security-type"),
)


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return what the vTPM's return code, the device or a refusal to make the VM shows."""
    words = reading.refusal.words
    if reading.refusal.service == "tpm" or "TPM" in words or "/dev/tpm" in words or re.search(_ABSENT, words):
        yield from _of_tpm(reading, words)
    elif reading.refusal.service in ("arm", ""):
        cause = next((cause for text, cause in _SIZES if text in words), "")
        if cause:
            yield _said(reading, cause, "a VM that can be made")


def _of_tpm(reading: Reading, words: str) -> Iterator[Finding]:
    if re.search(_LOCKOUT, words):
        yield _said(reading, "machine.tpm-locked", "TPM_RC_SUCCESS")
    elif re.search(_DENIED, words):
        yield _said(reading, "machine.tpm-permission", "a device that this user may open")
    elif _DECRYPT in words:
        yield from _cannot_decrypt(reading)
    elif re.search(_NOT_DEFINED, words):
        yield from _not_defined(reading, words)
    elif re.search(_ABSENT, words) and ("tpm" in words.lower() or "confidential VM" in words):
        yield _said(reading, "machine.not-a-cvm", "the vTPM of a confidential VM")


def _not_defined(reading: Reading, words: str) -> Iterator[Finding]:
    kind = str(reading.part(reading.case.vm, "properties", "securityProfile", "securityType") or "")
    kind = kind or str(reading.part(reading.case.instance, "securityProfile", "securityType") or "")
    if re.search(_AK_INDEX, words):
        yield _said(reading, "evidence.ak-certificate", "NV index 0x01C101D0")
    elif kind.lower() == "trustedlaunch":
        yield _said(reading, "machine.trusted-launch", "security type ConfidentialVM")
    elif re.search(_REPORT_INDEX, words):
        yield _said(reading, "machine.no-nv-index", "NV index 0x01400001, which the paravisor defines")
        yield _possible(reading, "machine.trusted-launch" if not kind else "machine.not-a-cvm")
    elif re.search(_ATTESTATION_KEY, words) or not re.search(_REPORT_INDEX, words):
        yield _said(reading, "machine.not-a-cvm", "the attestation key at 0x81000003")


def _cannot_decrypt(reading: Reading) -> Iterator[Finding]:
    """Return what the vTPM was to open: the vault's answer where a release was answered, else the sealed token."""
    last = reading.case.exchanges[-1] if reading.case.exchanges else None
    released = any(seen.status == 200 and "/release" in seen.url for seen in reading.case.exchanges)
    if released or (last is None and "oaep" in reading.refusal.words.lower()):
        yield _said(reading, "response.transfer-key", "a ciphertext for the ephemeral key")
        yield _possible(reading, "response.enc")
    else:
        yield _said(reading, "token.envelope", "an envelope for the ephemeral key")
    yield from shown_by_evidence(reading)


def _said(reading: Reading, cause: str, expected: str) -> Finding:
    return reading.find(cause, "likely", expected=expected, found=_words(reading))


def _possible(reading: Reading, cause: str) -> Finding:
    return reading.find(cause, "possible", expected="a confidential VM in order", found=_words(reading))


def _words(reading: Reading) -> str:
    error = reading.refusal.error
    return f"{error.get('what')}: {error.get('found')}"[:300] if error else str(reading.refusal)[:300]
