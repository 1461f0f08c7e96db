"""Every operation that the sandbox routes, and every one that FIDELITY.md lists: method, host and path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skrkit.sandbox import entra, graph, imds, kds
from skrkit.sandbox.arm import app as arm
from skrkit.sandbox.hsm import app as hsm
from skrkit.sandbox.maa import routes as maa
from skrkit.sandbox.vault import app as vault

FIDELITY = Path(arm.__file__).parent.parent / "FIDELITY.md"
HEADING = "## Every operation"
TABLES: dict[str, Any] = {
    "management.azure.com": arm.ROUTES,
    "*.vault.azure.net": vault.ROUTES,
    "*.managedhsm.azure.net": hsm.ROUTES,
    "graph.microsoft.com": graph.ROUTES,
}
APPS: dict[str, Any] = {
    "login.microsoftonline.com": entra,
    "169.254.169.254": imds,
    "*.attest.azure.net": maa,
    "kdsintf.amd.com": kds,
}
Operation = tuple[str, str, str]
"""Method, host, path."""


def routed() -> Iterator[Operation]:
    """Every method and path that a service has a handler for, as its own table of routes has it."""
    for host, table in TABLES.items():
        for method, path, *_ in table:
            yield method, host, path
    for host, module in APPS.items():
        for route in module.app(None).routes:  # no route needs a world before a request comes
            for method in route.methods - {"HEAD"}:  # Starlette adds HEAD to each GET
                yield method, host, re.sub(r":path\}", "}", route.path)


def listed() -> Iterator[tuple[Operation, str]]:
    """Every operation of the last section of FIDELITY.md, with what it says of it."""
    section = FIDELITY.read_text(encoding="utf-8").partition(HEADING)[2]
    host = ""
    for line in section.splitlines():
        if found := re.match(r"### `([^`]+)`", line):
            host = found[1]
        elif found := re.fullmatch(r"\| `([^`]+)` \| ([A-Z, ]+) \| (\w+) \|", line):
            for method in found[2].split(", "):
                yield (method, host, found[1]), found[3]
        else:
            assert not line.startswith("| `"), f"a row that is not as the others: {line}"
