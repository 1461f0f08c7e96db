"""The marks of text kinds, and the encodings that bytes travel in as text."""

from __future__ import annotations

import base64
import binascii

from skrkit.encoding import MAX_JSON_BYTES, json_type, json_value
from skrkit.errors import ParseError
from skrkit.inspect.binary import is_vek
from skrkit.wire import Json, pointer

_HEX = frozenset(b"0123456789abcdefABCDEF")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\r\n\f")
_PEM = b"-----BEGIN "
# Members that hold one artefact as text: MAA's answer, Entra's and IMDS's answer, a release policy as Key Vault keeps
# it, a key bundle with its policy, IMDS's TD quote request. The first that is there is opened.
_WRAPPERS = (("token",), ("access_token",), ("release_policy", "data"), ("data",), ("report",), ("value",))


def as_text(data: bytes) -> bytes | None:
    """Return `data` as trimmed UTF-8 text, or None when it is binary: not UTF-8, or with a control character."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not _CONTROLS.isdisjoint(data):
        return None
    return data.strip()


def is_pem(text: bytes) -> bool:
    """Return whether a PEM block begins in the text (openssl writes prose before it)."""
    return text.startswith(_PEM) or b"\n" + _PEM in text


def pem_labels(text: bytes) -> list[str]:
    """Return the labels of the PEM blocks in the text, in order: "CERTIFICATE", "PUBLIC KEY"."""
    lines = (line.strip() for line in text.splitlines())
    return [
        line[len(_PEM) : -5].decode("utf-8", "replace")
        for line in lines
        if line.startswith(_PEM) and line.endswith(b"-----")
    ]


def pem_kind(text: bytes) -> str:
    """Return the kind of the PEM blocks in the text. Raises `ParseError` for blocks that are no certificate or key."""
    labels = pem_labels(text)
    if labels == ["CERTIFICATE"]:
        return "vek-certificate" if is_vek(_pem_body(text)) else "certificate"
    if labels and set(labels) == {"CERTIFICATE"}:
        return "certificates"
    if labels == ["PUBLIC KEY"]:
        return "public-key"
    secret = any("PRIVATE KEY" in label for label in labels)
    raise ParseError(
        what="PEM",
        where="the BEGIN lines",
        expected="certificates alone, or one PUBLIC KEY",
        found=", ".join(labels[:8]) or "no complete BEGIN line",
        fix="A private key is never shown; inspect its public half." if secret else "Split the file by kind.",
        source="RFC 7468",
    )


def _pem_body(text: bytes) -> bytes:
    """Return the bytes of the only PEM block, or none where its base64 is broken: its parser will say so."""
    body = text.partition(b"-----BEGIN ")[2].partition(b"-----END ")[0].partition(b"\n")[2]
    try:
        return base64.b64decode(body)
    except binascii.Error:
        return b""


def is_json(text: bytes) -> bool:
    """Return whether the text can only be JSON: it begins with a brace, a bracket or a quote."""
    return text[:1] in (b"{", b"[", b'"')


def read_json(text: bytes) -> Json:
    """Return the JSON value of the text. Raises `ParseError` as `encoding.json_value` does."""
    return json_value(text, what="JSON", where="the whole text", limit=MAX_JSON_BYTES)


def json_kind(value: Json) -> str | None:
    """Return the kind of a JSON document by the names of its members, or None when they tell none."""
    if isinstance(value, list):
        return "pcrs" if value and all(_is_digest(item) for item in value) else None
    if not isinstance(value, dict):
        return None
    for kind, has_mark in _JSON_MARKS:
        if has_mark(value):
            return kind
    return None


def _is_digest(value: Json) -> bool:
    return isinstance(value, str) and len(value) in (40, 64, 96) and _HEX.issuperset(value.encode("utf-8", "replace"))


def _is_runtime_claims(value: dict[str, Json]) -> bool:
    """The HCL's claims have keys as a key set has; its vm-configuration, or the HCL's own key ids, tell them apart."""
    keys = value.get("keys")
    if not isinstance(keys, list):
        return False
    named = any(isinstance(key, dict) and str(key.get("kid", "")).startswith("HCL") for key in keys)
    return "vm-configuration" in value or named


def _is_pcrs(value: dict[str, Json]) -> bool:
    return bool(value) and all(name.isdecimal() and _is_digest(item) for name, item in value.items())


def _is_release_response(value: dict[str, Json]) -> bool:
    text = value.get("value")
    return isinstance(text, str) and text.count(".") == 2


_JSON_MARKS = (
    ("thim", lambda value: {"vcekCert", "certificateChain"} <= value.keys()),
    ("runtime-claims", _is_runtime_claims),
    ("jwks", lambda value: isinstance(value.get("keys"), list)),
    ("sealed-envelope", lambda value: {"EncryptedInnerKey", "EncryptionParams"} <= value.keys()),
    ("key-hsm", lambda value: {"ciphertext", "header", "schema_version"} <= value.keys()),
    ("release-policy", lambda value: "anyOf" in value or "allOf" in value),
    ("release-response", _is_release_response),
    ("pcrs", _is_pcrs),
)


def unwrap_json(value: Json) -> tuple[str, bytes] | None:
    """Return what a JSON document of no kind of its own carries as text, with the member's name, or None."""
    if isinstance(value, str):
        return "json string", value.encode("utf-8", "surrogatepass")
    for path in _WRAPPERS:
        found: Json = value
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, str) and found:
            return f"json {pointer(*path)}", found.encode("utf-8", "surrogatepass")
    return None


def describe(text: bytes) -> str:
    """Return what text of no known kind is, for an error: a JSON document's first members, or how it begins.

    Sixteen characters are shown and no value of any member: the text may be a secret.
    """
    if is_json(text):
        value = read_json(text)
        if isinstance(value, dict):
            names = ", ".join(repr(name) for name in list(value)[:6])
            return f"a JSON object with {names or 'no member'}{', ...' if len(value) > 6 else ''}"
        return f"a JSON {json_type(value)}"
    start = text[:200].decode("utf-8", "ignore").partition("\n")[0][:16].strip()
    return f"{len(text)} bytes of text that begin {start!r}"


def token_kind(text: bytes) -> str | None:
    """Return "jwt" or "release-response" for a compact JWS, or None: three dotted parts, the first a JSON object.

    Key Vault's release answer is a JWS too; its payload has `request` and `response`, which no token has.
    """
    parts = text.split(b".")
    if len(parts) != 3 or not parts[0].startswith(b"eyJ"):
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
        value = json_value(payload, what="payload", where="part 2")
    except (binascii.Error, ParseError):
        return "jwt"  # its parser says what is wrong with it
    return "release-response" if isinstance(value, dict) and {"request", "response"} <= value.keys() else "jwt"


def unwrap_text(text: bytes) -> tuple[str, bytes] | None:
    """Return the bytes that hex or base64 text stands for, with the encoding's name, or None when it is neither.

    The rule, in this order, on the text without white space:
    1. an even number of hex digits, after an optional 0x, is hex, even where it would also be base64: text of 40
       characters or more that is base64 has a character outside a-f with near certainty;
    2. letters, digits, and `-` or `_` is base64url; with `+` or `/`, or none of the four, base64; with both, neither.
       Padding may be missing in both, as JOSE leaves it out.
    """
    joined = b"".join(text.split())
    digits = joined[2:] if joined[:2] in (b"0x", b"0X") else joined
    if digits and len(digits) % 2 == 0 and _HEX.issuperset(digits):
        return "hex", bytes.fromhex(digits.decode("ascii"))
    if not joined or not _BASE64.issuperset(joined):
        return None
    url = b"-" in joined or b"_" in joined
    if url and (b"+" in joined or b"/" in joined):
        return None
    bare = joined.rstrip(b"=")
    try:
        decoded = base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_" if url else None, validate=True)
    except binascii.Error:
        return None
    return ("base64url" if url else "base64", decoded) if decoded else None
