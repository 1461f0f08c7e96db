"""Redaction: secrets become digests, always; identifiers become pseudonyms, unless they are to be kept.

Then the result is searched once more, by other means than those that made it: `check_no_secrets` is the last word
before a bundle is written, and refuses what should not be there. Raw evidence is not touched: its signatures cover
every byte.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from skrkit.bundle.identifiers import Pseudonyms
from skrkit.encoding import b64url
from skrkit.errors import VerificationError
from skrkit.services.recording import digest
from skrkit.wire import Json

MAX_TEXT = 2_048  # a longer text in a request or answer is evidence or a certificate, which stands elsewhere

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){2,4}")
_PRIVATE_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
# A credential after its scheme has a digit in it; `Bearer authorization="…"` of a challenge, and prose, do not.
_BEARER = re.compile(
    r"(?i)\b(bearer|pop|sharedaccesssignature|basic)(\s+)(?![a-z_]+=\")(?=\S*[0-9])([A-Za-z0-9._~+/-]{16,}=*)"
)
_NAMED = re.compile(
    r"(?i)\b(client_secret|client_assertion|access_token|refresh_token|id_token|password|accountkey|sharedaccesskey|sig)"
    r"(=|%3D)([^&\s\"';]{6,})"
)
_SECRET_MEMBERS = frozenset(
    {
        "accesstoken", "access_token", "refresh_token", "id_token", "client_secret", "clientsecret", "client_assertion",
        "assertion", "target", "password", "adminpassword", "secret", "customdata", "userdata", "protectedsettings",
        "key_hsm",
    }
)  # fmt: skip
_PRIVATE_JWK = frozenset({"d", "p", "q", "dp", "dq", "qi", "k", "key_hsm"})
_LEFT_OUT_MEMBERS = frozenset({"tags", "tagslist"})  # whatever their owner wrote there
_DIGEST = re.compile(r"<sha256 [0-9a-f]{8}…, \d+ characters>")


@dataclass(slots=True)
class Redaction:
    """What is replaced, and how often. `pseudonyms` is None where identifiers are kept."""

    pseudonyms: Pseudonyms | None
    secrets: Counter[str] = field(default_factory=Counter)

    def json(self, value: Json) -> Json:
        """Return the value with its secrets as digests and its identifiers as pseudonyms."""
        return self._json("", value)

    def text(self, data: bytes) -> bytes:
        """Return a text of a case, such as a policy, so redacted and otherwise byte for byte as it was.

        A text with NUL bytes is of an encoding that nothing is found in: it is left out, and counted as such.
        """
        if b"\0" in data:
            self.secrets["text in another encoding"] += 1
            return b""
        text = data.decode("utf-8", "surrogateescape")
        return self._identifiers(self._secrets(text)).encode("utf-8", "surrogateescape")

    def _json(self, name: str, value: Json) -> Json:
        if isinstance(value, dict):
            return {self._key(key): self._member(value, key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._json(name, item) for item in value]
        if not isinstance(value, str):
            return value
        return self._string(name, value)

    def _member(self, parent: Mapping[str, Json], name: str, value: Json) -> Json:
        low = name.lower()
        if low in _LEFT_OUT_MEMBERS and value and self.pseudonyms is not None:
            return f"<{len(value)} left out>" if isinstance(value, dict | list) else "<left out>"
        if value and (low in _SECRET_MEMBERS or ("kty" in parent and low in _PRIVATE_JWK)):
            return self._digest("member", value if isinstance(value, str) else json.dumps(value))
        if low == "release_policy" and isinstance(value, dict) and isinstance(value.get("data"), str):
            return {**self._object(value), "data": self._policy(str(value["data"]))}
        return self._json(name, value)

    def _object(self, value: dict[str, Json]) -> dict[str, Json]:
        return {self._key(name): self._member(value, name, item) for name, item in value.items() if name != "data"}

    def _policy(self, encoded: str) -> str:
        """Return a policy in base64url with the text inside it redacted."""
        try:
            text = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except (binascii.Error, ValueError):
            return self._string("data", encoded)
        return b64url(self.text(text))

    def _key(self, name: str) -> str:
        """Return a member's name, which is an identifier only as a resource id or a GUID."""
        return self._identifiers(name) if "/" in name or name.count("-") == 4 or "@" in name else name

    def _string(self, name: str, text: str) -> str:
        text = self._secrets(text)
        if len(text) > MAX_TEXT and " " not in text[:MAX_TEXT]:
            return self._digest("long text", text)
        if self.pseudonyms is not None and (known := self.pseudonyms.member(name, text)) is not None:
            return known
        return self._identifiers(text)

    def _secrets(self, text: str) -> str:
        text = _PRIVATE_PEM.sub(lambda found: self._digest("private key", found[0]), text)
        text = _JWT.sub(lambda found: self._digest("signed token", found[0]), text)
        text = _BEARER.sub(lambda found: f"{found[1]}{found[2]}{self._digest('credential', found[3])}", text)
        return _NAMED.sub(lambda found: f"{found[1]}{found[2]}{self._digest('credential', found[3])}", text)

    def _digest(self, kind: str, secret: str) -> str:
        if _DIGEST.fullmatch(secret):
            return secret
        self.secrets[kind] += 1
        return digest(secret)

    def _identifiers(self, text: str) -> str:
        if self.pseudonyms is None:
            return text
        text = self.pseudonyms.structured(text)
        pattern = self.pseudonyms.pattern()
        known = self.pseudonyms.of
        return text if pattern is None else pattern.sub(lambda found: known[found[0].lower()], text)


# The last search. Not the patterns above: whatever a token, a key or a credential looks like to a stranger.
_FORBIDDEN = (
    ("a signed token", re.compile(rb"eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
    ("a private key", re.compile(rb"PRIVATE KEY-----")),
    ("a private JWK", re.compile(rb'"(?:d|dp|dq|qi|key_hsm)"\s*:\s*"[A-Za-z0-9_-]{20,}"')),
    ("a bearer credential", re.compile(rb"(?i)bearer\s+[A-Za-z0-9._~+/-]{20,}")),
    ("a client secret", re.compile(rb'(?i)client_?secret"?\s*[:=]\s*"?[A-Za-z0-9._~+/-]{8,}')),
)


def check_no_secrets(files: Mapping[str, bytes]) -> None:
    """Return nothing if no file holds anything that looks like a secret.

    Raises `VerificationError`, step `bundle.secrets`, which names the file and the kind, never what was found.
    """
    for name, data in files.items():
        for kind, pattern in _FORBIDDEN:
            if pattern.search(data):
                raise VerificationError(
                    what="evidence bundle",
                    where=name,
                    expected="no secret",
                    found=f"something that looks like {kind}",
                    fix="Nothing was written. Take that part out of the case, and report it: redaction missed it.",
                    step="bundle.secrets",
                )
