"""What made a bundle: Python, the system, and the libraries that verify and ask."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from skrkit.wire import Json

LIBRARIES = ("cryptography", "pyjwt", "azure-core", "azure-identity", "azure-keyvault-keys", "azure-mgmt-compute")


def versions() -> dict[str, Json]:
    """Return names and versions. The machine's name is not among them."""
    made: dict[str, Json] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
    }
    for library in LIBRARIES:
        try:
            made[library] = version(library)
        except PackageNotFoundError:
            continue
    return made
