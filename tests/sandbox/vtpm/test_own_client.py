"""Our own client's guest flow on our own vTPM, with Azure's 2600 bytes of report. Plumbing, not truth."""

from __future__ import annotations

from skrkit.sandbox.vtpm import Vtpm, VtpmState
from tests.tpm.guest_flow import run_guest_flow


class InProcess:
    """The client's transport to a vTPM in this process."""

    def __init__(self, vtpm: Vtpm) -> None:
        self._vtpm = vtpm

    def transceive(self, command: bytes) -> bytes:
        return self._vtpm.transceive(command)

    def close(self) -> None:
        pass


def test_guest_flow() -> None:
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    exchanges = run_guest_flow(InProcess(vtpm), nv_bytes=2600)
    assert vtpm.faults == 0
    assert {"TPM2_Quote", "TPM2_Certify", "TPM2_RSA_Decrypt"} <= {exchange.name for exchange in exchanges}


def test_guest_flow_with_azure_s_own_attestation_key() -> None:
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    vtpm.create_ak()
    run_guest_flow(InProcess(vtpm), nv_bytes=4096)
    assert vtpm.faults == 0
