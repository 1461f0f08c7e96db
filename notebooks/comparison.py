"""Hold a rebuilt notebook against the committed one: every output must be the same, but for what a mask names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 60  # characters of a line on either side of where it differs


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """What may differ, and why. `pattern` has two groups: what must be there and is held on to, and what may differ."""

    name: str
    reason: str
    pattern: re.Pattern[str]


_BETWEEN = r"(?:</?(?!wbr)[^<>]*>|\s)+"  # from a name to its value, in text or in HTML
_HEX = r"(?:[0-9a-f]|<wbr>|\s)+"  # broken into lines, or where a line may break

MASKS = (
    Mask(
        name="certificate signed RSASSA-PSS",
        reason="AMD's certificates are signed with a salt, which OpenSSL draws and takes from nobody",
        pattern=re.compile(rf"(\bder_sha256{_BETWEEN})({_HEX})"),
    ),
    Mask(
        name="RSA ciphertext",
        reason="RSAES-OAEP and RSAES-PKCS1-v1_5 pad with bytes that OpenSSL draws and takes from nobody",
        pattern=re.compile(rf"(\b(?:EncryptedInnerKey|wrapped_kek){_BETWEEN})({_HEX})"),
    ),
    Mask(
        name="digest of what holds RSA ciphertext",
        reason="the sealed token and the wrapped key hold such ciphertext",
        pattern=re.compile(
            r"(\b(?:sealed-envelope|release-response|key-hsm) · \d+ bytes · SHA-256 )([0-9a-f]{16})\b"
        ),
    ),
    Mask(
        name="installed version",
        reason="notebook 00 says what is installed where it was run",
        pattern=re.compile(
            r"('(?:python|skrkit|azure-[a-z-]+)': ')([0-9][\w.+]*)(?=')"
        ),
    ),
)


def masked(text: str) -> str:
    """Return a text with each value that may differ replaced by the name of its mask."""
    for mask in MASKS:
        text = mask.pattern.sub(rf"\g<1>({mask.name})", text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where a cell's outputs differ. `committed` and `rebuilt` are what stands there."""

    notebook: str
    cell: str
    where: str
    committed: str
    rebuilt: str

    def __str__(self) -> str:
        return (
            f"{self.notebook}, {self.cell}, {self.where}:\n"
            f"  committed  {self.committed}\n"
            f"  rebuilt    {self.rebuilt}"
        )


def differences(
    name: str, committed: Mapping[str, Any], rebuilt: Mapping[str, Any]
) -> list[Difference]:
    """Return where two notebooks differ, one for each cell at most, in their order."""
    before, after = committed["cells"], rebuilt["cells"]
    if len(before) != len(after):
        counts = f"{len(before)} cells", f"{len(after)} cells"
        return [_difference(name, "the notebook", "its cells", *counts)]
    found = (_of_cell(name, *pair) for pair in zip(before, after, strict=True))
    return [difference for difference in found if difference is not None]


def absent(name: str) -> Difference:
    """Return what there is to say of a notebook that is not committed at all."""
    return _difference(name, "the notebook", "its file", "none", "a notebook")


def _of_cell(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Difference | None:
    for member in ("cell_type", "source"):
        old, new = "".join(before[member]), "".join(after[member])
        if old != new:
            return _first(name, after["id"], member, old, new)
    left, right = before.get("outputs", ()), after.get("outputs", ())
    kinds = [", ".join(kind(output) for output in outputs) for outputs in (left, right)]
    if kinds[0] != kinds[1]:
        return _difference(
            name,
            after["id"],
            "the kinds of its outputs",
            *(each or "none" for each in kinds),
        )
    for one, other in zip(left, right, strict=True):
        for (what, old), (_, new) in zip(texts(one), texts(other), strict=True):
            if masked(old) != masked(new):
                return _first(name, after["id"], what, masked(old), masked(new))
    return None


def kind(output: Mapping[str, Any]) -> str:
    """Return what kind of output it is, with the forms it comes in: "display_data text/html text/plain"."""
    forms = sorted(output.get("data", {}))
    return " ".join(
        [
            str(output["output_type"]),
            *forms,
            *([output["name"]] if "name" in output else []),
        ]
    )


def texts(output: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return each form of an output as (what it is, its text), in a fixed order."""
    if "text" in output:
        yield str(output.get("name", "text")), "".join(output["text"])
    for form, value in sorted(output.get("data", {}).items()):
        yield form, "".join(value) if isinstance(value, str | list) else repr(value)


def _first(name: str, cell: str, what: str, before: str, after: str) -> Difference:
    old, new = before.splitlines(), after.splitlines()
    number = next(
        (
            place
            for place, pair in enumerate(zip(old, new, strict=False))
            if pair[0] != pair[1]
        ),
        min(len(old), len(new)),
    )
    lines = [
        lines[number] if number < len(lines) else "(no such line)"
        for lines in (old, new)
    ]
    return _difference(name, cell, f"{what}, line {number + 1}", *lines)


def _difference(
    name: str, cell: str, where: str, before: str, after: str
) -> Difference:
    at = next(
        (
            place
            for place, pair in enumerate(zip(before, after, strict=False))
            if pair[0] != pair[1]
        ),
        min(len(before), len(after)),
    )
    return Difference(
        notebook=name,
        cell=cell,
        where=where,
        committed=_around(before, at),
        rebuilt=_around(after, at),
    )


def _around(line: str, at: int) -> str:
    start, end = max(0, at - SHOWN), at + SHOWN
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"
