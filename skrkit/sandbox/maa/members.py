"""Tolerant reading of a request: member names in any case, base64 in any alphabet. Odd values are named, not echoed."""

from __future__ import annotations

from typing import TypeVar

from skrkit.encoding import any_b64_bytes, json_object
from skrkit.errors import ParseError
from skrkit.sandbox.maa.refusal import malformed, refused
from skrkit.wire import Json

T = TypeVar("T")


class Members:
    """A JSON object of a request. `at` is its name in messages, which is also the step's id when a member is bad."""

    def __init__(self, value: Json, at: str) -> None:
        self.at = at
        if not isinstance(value, dict):
            raise refused(f"request.{at}", f"{at} must be a JSON object.")
        self._members: dict[str, Json] = {}
        for name, member in value.items():
            if name.lower() in self._members:
                raise refused(f"request.{at}", f"{at} has a member twice, in different case.")
            self._members[name.lower()] = member

    def has(self, name: str) -> bool:
        """Return whether the member is there and not null."""
        return self._members.get(name.lower()) is not None

    def value(self, name: str) -> Json:
        """Return the member's value, None if it is absent."""
        return self._members.get(name.lower())

    def _of(self, name: str, kind: type[T], words: str) -> T:
        value = self._members.get(name.lower())
        if not isinstance(value, kind) or isinstance(value, bool):
            raise refused(f"request.{self.at}.{name}", f"{self.at}.{name} must be {words}.")
        return value

    def text(self, name: str) -> str:
        """Return a string member."""
        return self._of(name, str, "a string")

    def object(self, name: str) -> Members:
        """Return an object member."""
        return Members(self.value(name), f"{self.at}.{name}")

    def array(self, name: str) -> list[Json]:
        """Return an array member."""
        value: list[Json] = self._of(name, list, "an array")
        return value

    def bytes(self, name: str) -> bytes:
        """Return the bytes of a member in base64 or base64url, padded or not."""
        where = f"{self.at}.{name}"
        try:
            return any_b64_bytes(self.text(name), what=name, where=where)
        except ParseError as cause:
            raise malformed(f"request.{where}", cause) from None

    def json(self, name: str) -> Members:
        """Return the JSON object whose text is the base64 value of a member."""
        where = f"{self.at}.{name}"
        try:
            return Members(json_object(self.bytes(name), what=name, where=where), where)
        except ParseError as cause:
            raise malformed(f"request.{where}", cause) from None

    def decoded(self, name: str) -> str:
        """Return the UTF-8 text whose base64 is the value of a member."""
        try:
            return self.bytes(name).decode("utf-8")
        except UnicodeDecodeError:
            where = f"{self.at}.{name}"
            raise refused(f"request.{where}", f"{where} must be base64 of UTF-8 text.") from None

    def number(self, name: str) -> int:
        """Return an integer member; a string of digits will do (Microsoft's Python client sends "04")."""
        value = self._members.get(name.lower())
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            return int(value)
        return self._of(name, int, "an integer")
