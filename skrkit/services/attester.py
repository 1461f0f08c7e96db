"""The attester: reads everything a confidential VM tells of itself, in the order Microsoft's client reads it."""

from __future__ import annotations

import platform
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.errors import ServiceError, SkrkitError, UsageError
from skrkit.release.ports import CollectedEvidence, RsaScheme
from skrkit.services.imds import fetch_thim_certificates

if TYPE_CHECKING:
    from types import TracebackType

    from skrkit.cloud import Cloud
    from skrkit.tpm.client import Exchange, Tpm, TransientKey

HCL_REPORT_INDEX = 0x01400001
USER_DATA_INDEX = 0x01400002
AK_CERTIFICATE_INDEX = 0x01C101D0
AK_HANDLE = 0x81000003
USER_DATA_BYTES = 64
REPORT_READS, REPORT_WAIT_S = 6, 0.5  # after the first, for a report over other user data
LINUX_PCRS = tuple(range(8))  # what Microsoft's client quotes on Linux
WINDOWS_PCRS = (*range(8), 11, 12, 13, 14)


@dataclass(slots=True)
class Attester:
    """An open vTPM and the ephemeral key made in it. Use as a context manager: the key is flushed at the end.

    `exchanges` keeps every TPM command and response, which are artefacts too.
    """

    cloud: Cloud
    exchanges: list[Exchange] = field(default_factory=list)
    _tpm: Tpm | None = field(default=None, repr=False)
    _key: TransientKey | None = field(default=None, repr=False)

    def __enter__(self) -> Attester:
        self._tpm = self.cloud.open_tpm(on_exchange=self.exchanges.append)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tpm, self._tpm = self._tpm, None
        key, self._key = self._key, None
        if tpm is not None:
            # What ended the block counts: after Ctrl-C in the middle of a command the vTPM may answer out of turn.
            with tpm, suppress(SkrkitError) if error is not None else nullcontext():
                if key is not None:
                    tpm.flush(key.handle)

    @property
    def tpm(self) -> Tpm:
        """The open vTPM. Raises `UsageError` outside the `with` block."""
        if self._tpm is None:
            raise UsageError(
                what="attester",
                where="its context",
                expected="to be inside `with Attester(cloud) as attester:`",
                found="not open",
                fix="Open it first; the ephemeral key lives only that long.",
            )
        return self._tpm

    @property
    def pcrs(self) -> tuple[int, ...]:
        """The PCRs that this operating system attests."""
        return WINDOWS_PCRS if platform.system() == "Windows" else LINUX_PCRS

    def collect(self, *, user_data: bytes) -> CollectedEvidence:
        """Return fresh evidence over `user_data` (at most 64 bytes, padded with zeros).

        Raises `ServiceError` naming the TPM command or the request that failed.
        """
        tpm = self.tpm
        check_paravisor(tpm)
        write_user_data(tpm, user_data)
        hcl_report = _read_report(tpm, user_data)
        certificates = fetch_thim_certificates(self.cloud)
        ak_certificate = tpm.nv_read(AK_CERTIFICATE_INDEX)
        ak_public = tpm.read_public(AK_HANDLE)
        quote, quote_signature = tpm.quote(AK_HANDLE, self.pcrs)  # no nonce: as every Microsoft client does
        pcrs = tpm.pcr_read(self.pcrs)
        key, self._key = self._key, None
        if key is not None:
            tpm.flush(key.handle)
        self._key = tpm.create_ephemeral_key(self.pcrs, hierarchy="null")
        certify, certify_signature = tpm.certify(self._key.handle, AK_HANDLE)
        distro, version = _os_release()
        return CollectedEvidence(
            hcl_report=hcl_report,
            certificates=certificates,
            ak_certificate=ak_certificate,
            ak_public=ak_public.marshal(),
            pcrs=pcrs,
            quote=quote,
            quote_signature=quote_signature,
            event_log=self.cloud.read_event_log() if self.cloud.event_log else b"",
            key_public=self._key.public.marshal(),
            key_certify=certify,
            key_certify_signature=certify_signature,
            os_name=platform.system(),
            os_distro=distro,
            os_version=version,
        )

    def decrypt(self, ciphertext: bytes, scheme: RsaScheme) -> bytes:
        """Return what the ephemeral key decrypts, in the vTPM, under its PCR policy."""
        if self._key is None:
            raise UsageError(
                what="ephemeral key",
                where="the vTPM",
                expected="a key made by collect()",
                found="none",
                fix="Collect evidence first: the key that is certified is the key that decrypts.",
            )
        return self.tpm.rsa_decrypt(self._key.handle, ciphertext, scheme=scheme, pcrs=self.pcrs)


def check_paravisor(tpm: Tpm) -> None:
    """Return nothing if this TPM has an HCL report. Else `UsageError`, before anything is written to it."""
    try:
        tpm.nv_read_public(HCL_REPORT_INDEX)
    except ServiceError as absent:
        if absent.code != "TPM_RC_HANDLE":
            raise
        raise UsageError(
            what="the vTPM",
            where="NV index 0x01400001",
            expected="the HCL report of an Azure confidential VM",
            found="no such index: this is another machine's TPM, and nothing was written to it",
            fix="Run this inside an Azure confidential VM.",
        ) from absent


def _read_report(tpm: Tpm, user_data: bytes) -> bytes:
    """Return the HCL report. Reading at offset 0 makes the paravisor build it anew, but for 2 s it may not.

    So a report that holds other user data is read again, for 3 s: longer than any paravisor is known to take. What it
    is then is returned as it is, for the caller to judge.
    """
    from skrkit.evidence.freshness import other_user_data

    report = tpm.nv_read(HCL_REPORT_INDEX)
    for _ in range(REPORT_READS):
        if not other_user_data(report, user_data):
            break
        time.sleep(REPORT_WAIT_S)
        report = tpm.nv_read(HCL_REPORT_INDEX)
    return report


def write_user_data(tpm: Tpm, user_data: bytes) -> None:
    """Write `user_data`, padded with zeros to 64 bytes, where the paravisor takes it from for the next report."""
    if len(user_data) > USER_DATA_BYTES:
        raise UsageError(
            what="user data",
            where="NV index 0x01400002",
            expected=f"at most {USER_DATA_BYTES} bytes",
            found=f"{len(user_data)} bytes",
            fix="Pass a digest of the data instead.",
        )
    padded = user_data.ljust(USER_DATA_BYTES, b"\0")
    try:
        size = tpm.nv_read_public(USER_DATA_INDEX).data_size
    except ServiceError as absent:  # the index is the guest's to define, and is not there on a fresh VM
        if absent.code != "TPM_RC_HANDLE":
            raise
        size = 0
    if size not in (0, USER_DATA_BYTES):
        tpm.nv_undefine(USER_DATA_INDEX)
    if size != USER_DATA_BYTES:
        tpm.nv_define(USER_DATA_INDEX, USER_DATA_BYTES)
    tpm.nv_write(USER_DATA_INDEX, padded)


def _os_release() -> tuple[str, tuple[int, int]]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:  # not Linux, or a Linux without the file
        return platform.system(), (1, 0)
    major, _, minor = release.get("VERSION_ID", "1.0").partition(".")
    numbers = (int(major) if major.isdigit() else 1, int(minor) if minor.isdigit() else 0)
    return release.get("NAME", "Linux"), numbers
