"""The skrkit that runs here as a wheel: what a VM is given, so that the code there is the code here, to the byte.

A wheel is a zip of files with three more that describe them (Python's binary distribution format). What step 4 does
not import stays at home, as do the dependencies of that.
"""

from __future__ import annotations

import base64
import hashlib
import io
import lzma
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import requires
from importlib.resources import files
from importlib.resources.abc import Traversable

from skrkit import __version__

LEFT_AT_HOME = tuple(f"skrkit/{name}/" for name in ("bundle", "cli", "doctor", "lab", "provision/templates", "sandbox"))
# What step 4 imports, and azure-mgmt-core, which words Resource Manager's errors.
NEEDED = ("cryptography", "pyjwt", "rich", "azure-core", "azure-identity", "azure-keyvault-keys")
_BESIDE = ("azure-mgmt-core>=1.5",)
_MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file: the same code makes the same bytes
_ENDINGS = (".py", ".json", ".md", ".typed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A wheel. `build` names it by version and content: skrkit with another byte in it has another."""

    name: str
    build: str
    sha256: str
    data: bytes = field(repr=False)

    def pieces(self, size: int) -> list[bytes]:
        """Return the wheel, compressed (xz), in pieces of at most `size` bytes."""
        compressed = lzma.compress(self.data, preset=9)
        return [compressed[at : at + size] for at in range(0, len(compressed), size)]


@cache
def this_package() -> Package:
    """Return the skrkit that runs as a wheel for any Linux with Python 3.11 or later."""
    content = dict(_content(files("skrkit"), "skrkit/"))
    info = f"skrkit-{__version__}.dist-info"
    content[f"{info}/METADATA"] = _metadata().encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: skrkit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:  # not compressed: xz over the whole makes it a third smaller still
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), data)
    data = made.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"skrkit-{__version__}-py3-none-any.whl"
    return Package(name=name, build=f"{__version__}-{sha256[:12]}", sha256=sha256, data=data)


def _content(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        name = path + entry.name
        if entry.is_dir():
            if entry.name != "__pycache__" and f"{name}/" not in LEFT_AT_HOME:
                yield from _content(entry, f"{name}/")
        elif entry.name.endswith(_ENDINGS):
            yield name, entry.read_bytes()


def _metadata() -> str:
    """Return the wheel's METADATA: this skrkit's own requirements, as far as step 4 has them."""
    own = [text for text in requires("skrkit") or [] if "extra ==" not in text]
    kept = [text for text in own if text.lower().startswith(NEEDED)]
    lines = ["Metadata-Version: 2.1", "Name: skrkit", f"Version: {__version__}", "Requires-Python: >=3.11"]
    return "\n".join([*lines, *(f"Requires-Dist: {text}" for text in (*kept, *_BESIDE))]) + "\n"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
