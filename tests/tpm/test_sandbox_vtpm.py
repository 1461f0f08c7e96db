"""The guest flow on the sandbox's vTPM: the very steps that pass on swtpm, with the NV sizes Azure has."""

from __future__ import annotations

import pytest

from skrkit.sandbox.vtpm import Vtpm, VtpmState

from .guest_flow import run_guest_flow


class InProcess:
    """A transport into a vTPM in this process."""

    def __init__(self, vtpm: Vtpm) -> None:
        self.vtpm = vtpm

    def transceive(self, command: bytes) -> bytes:
        return self.vtpm.transceive(command)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("nv_bytes", [2048, 2600, 2900])
@pytest.mark.parametrize("by_platform", [True, False], ids=["ak-by-platform", "ak-by-guest"])
def test_guest_flow_on_the_sandbox(nv_bytes: int, by_platform: bool) -> None:
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    if by_platform:
        vtpm.create_ak()
    exchanges = run_guest_flow(InProcess(vtpm), nv_bytes=nv_bytes)
    assert exchanges[-1].name == "TPM2_GetRandom"
