"""The limit on creates and releases: one bucket a vault, counted only while the setting `vault-limits` is on.

A vault takes 10 of them in 10 seconds for HSM keys, 20 for software keys, weighed against each other. What was
refused with 429 does not count. The other limits of a vault, hundreds a second and more, are not kept.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from skrkit.sandbox import settings
from skrkit.sandbox.faults import network

if TYPE_CHECKING:
    from skrkit.sandbox.vault.call import Call

WINDOW_S = 10.0
CAPACITY, HSM_WEIGHT, SOFTWARE_WEIGHT = 20, 2, 1
_LOCK = threading.Lock()

_Taken = deque[tuple[float, int]]


def check(call: Call, *, hsm: bool) -> None:
    """Take this create or release from the vault's bucket. Raises `AzureError` 429 if it is empty.

    Whether the window slides, and whether a rotation or a request that is refused later counts, is not known: it
    slides, and they do (inferred).
    """
    if call.vault.is_hsm or not settings.is_on(call.world, settings.VAULT_LIMITS):  # a Managed HSM has no such limit
        return
    now = call.world.now().timestamp()
    weight = HSM_WEIGHT if hsm else SOFTWARE_WEIGHT
    with _LOCK:
        buckets: dict[str, _Taken] = call.world.cache.setdefault("vault-limits", {})
        taken = buckets.setdefault(call.vault.name, deque())
        while taken and not 0 <= now - taken[0][0] < WINDOW_S:
            taken.popleft()
        if sum(each for _, each in taken) + weight > CAPACITY:
            raise network.throttled()
        taken.append((now, weight))
