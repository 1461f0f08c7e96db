"""The client against TPMs that skrkit did not write (swtpm), and against bytes no TPM would send."""

from __future__ import annotations

from skrkit.tpm.transport import SocketTransport

from .guest_flow import run_guest_flow


def test_guest_flow_on_swtpm(swtpm: SocketTransport) -> None:
    # libtpms refuses NV indexes above 2048 bytes
    exchanges = run_guest_flow(swtpm, nv_bytes=2048)
    assert exchanges[-1].name == "TPM2_GetRandom"
