"""A vTPM behind its two TCP ports, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from skrkit.sandbox.vtpm import Vtpm, VtpmState
from skrkit.sandbox.vtpm.server import serve

HCL_REPORT = 0x01400001
REPORT = b"HCLA" + bytes(range(256)) * 10 + bytes(36)  # 2600 bytes, as Azure's index has


@dataclass
class Served:
    vtpm: Vtpm
    port: int

    @property
    def tcti(self) -> str:
        return f"swtpm:host=127.0.0.1,port={self.port}"


@pytest.fixture
def served() -> Iterator[Served]:
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    vtpm.create_ak()
    vtpm.platform_nv_define(HCL_REPORT, len(REPORT), 0x42060004)
    vtpm.platform_nv_write(HCL_REPORT, REPORT)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(serve(vtpm.transceive, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Served(vtpm, server.port)
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(timeout=5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert vtpm.faults == 0
