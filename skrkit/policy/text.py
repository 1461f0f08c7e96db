"""A policy as people hand it over: JSON, base64url, a vault's `release_policy` or key bundle. Opened, never judged.

What a vault would stumble over on the way (AKV.SKR.1013: encoded twice, standard base64, a byte order mark, plain JSON
where base64url belongs) is a finding, and the opening goes on behind it.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from skrkit.encoding import json_value
from skrkit.errors import ParseError
from skrkit.policy.lint_rules import Draft, LintFinding, placed
from skrkit.wire import Json, pointer

MAX_LAYERS = 6  # a bundle, its data, and every mistake once; more is not unwrapped
_MAX_BYTES = 8 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BEGINNINGS = (b"{", b"[", b'"', codecs.BOM_UTF8, *_UTF16)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=-]{8,}\s*")
# Where a policy stands as text: a key bundle, its release_policy, ARM's key, what `az keyvault key show` prints.
_HOLDERS = (
    ("release_policy", "data"),
    ("properties", "release_policy", "data"),
    ("releasePolicy", "encodedPolicy"),
    ("data",),
    ("encodedPolicy",),
)


@dataclass(slots=True)
class PolicyText:
    """A policy's JSON text, what it was wrapped in from outside in, and what was wrong with the wrapping.

    `json` is what is left when nothing more can be opened; it need not be JSON.
    """

    json: bytes
    layers: list[str] = field(default_factory=list)
    findings: list[LintFinding] = field(default_factory=list)

    def say(self, rule: str, what: str, fix: str, at: str = "") -> None:
        """Keep a finding on the text."""
        self.findings.append(placed(Draft(rule, what, fix), at))


def open_policy_text(data: bytes) -> PolicyText:
    """Return the JSON text in what was handed over as a policy. Never raises; at most `MAX_LAYERS` are opened."""
    opened = PolicyText(data[:_MAX_BYTES])
    for _ in range(MAX_LAYERS):
        if not any(step(opened) for step in _STEPS):
            break
    return opened


def _empty(opened: PolicyText) -> bool:
    if not opened.json.strip() and not opened.findings:
        opened.say("text.empty", "there is no text", 'Write a policy: {"version": "1.0.0", "anyOf": […]}')
    return False


def _marks(opened: PolicyText) -> bool:
    """Take a byte order mark off, or turn UTF-16 into UTF-8."""
    data = opened.json
    if data.startswith(codecs.BOM_UTF8):
        opened.say("text.bom", "the text begins with a byte order mark", "Save it as UTF-8 without BOM.")
        opened.json = data.removeprefix(codecs.BOM_UTF8)
        return True
    if data.startswith(_UTF16) or (data[1:2] == b"\0" and data[:1] in b'{["e'):
        try:
            text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-16-le")
            opened.json = text.encode("utf-8")
        except UnicodeError:
            return False
        opened.say("text.utf16", "the text is UTF-16", "Save it as UTF-8: Set-Content -Encoding utf8NoBOM.")
        return True
    return False


def _not_utf8(opened: PolicyText) -> bool:
    try:
        opened.json.decode("utf-8")
    except UnicodeDecodeError as error:
        if not opened.findings:
            what = f"byte 0x{error.start:X} is not UTF-8"
            opened.say("text.not-utf8", what, "Save the policy as UTF-8.")
    return False


def _inside_json(opened: PolicyText) -> bool:
    """Take the text out of a bundle's member, or out of a JSON string."""
    text = opened.json.strip()
    if text[:1] not in (b"{", b'"') or _is_policy(text):
        return False
    try:
        value = json_value(text, what="release policy", where='""', limit=_MAX_BYTES)
    except ParseError:
        return False
    if isinstance(value, str):
        opened.say("text.quoted", "the policy is a JSON string", "Take the outer quotes and the backslashes out.")
        opened.json = value.encode("utf-8", "surrogatepass")
        opened.layers.append("JSON string")
        return True
    if not isinstance(value, dict) or value.keys() & {"anyOf", "allOf", "version"}:
        return False
    return _out_of_holder(opened, value)


def _is_policy(text: bytes) -> bool:
    """Return whether an object begins as a policy does. It need not be read twice."""
    return text[1:40].lstrip().startswith((b'"version"', b'"anyOf"'))


def _out_of_holder(opened: PolicyText, value: dict[str, Json]) -> bool:
    for path in _HOLDERS:
        found: Json = value
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, str):
            continue
        opened.layers.append(pointer(*path))
        opened.json = found.encode("utf-8", "surrogatepass")
        if path[-1] == "data" and found.lstrip()[:1] in ("{", "["):
            fix = "Encode it: skrkit policy encode FILE."
            opened.say("text.plain-data", f"{pointer(*path)} is plain JSON", fix)
        elif not found.strip():
            opened.say("text.empty", f"{pointer(*path)} is empty", "Encode the policy: skrkit policy encode FILE.")
        return True
    return False


def _inside_base64(opened: PolicyText) -> bool:
    text = opened.json.strip()
    if not text or text[:1] in (b"{", b"[", b'"'):
        return False
    joined = b"".join(text.split())
    bare = joined.replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=")
    try:
        decoded = base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return False
    if not decoded.lstrip().startswith(_BEGINNINGS) and not _BASE64.fullmatch(decoded):  # words are base64, too
        return False
    fix = "Encode it anew: skrkit policy encode FILE."
    if joined != text:
        opened.say("text.line-breaks", "there is white space inside the base64url", fix)
    if joined.endswith(b"=") or b"+" in joined or b"/" in joined:
        opened.say("text.standard-base64", "it has padding, + or /: standard base64", fix)
    if any(layer.startswith("base64") for layer in opened.layers):
        opened.say("text.encoded-twice", "the base64url holds base64url again", fix)
    opened.layers.append("base64url" if bare == joined else "base64")
    opened.json = decoded
    return True


_STEPS: tuple[Callable[[PolicyText], bool], ...] = (_empty, _marks, _not_utf8, _inside_json, _inside_base64)
