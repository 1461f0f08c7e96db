"""The six errors of skrkit, and the one place that words them.

Every error says what, where, what was expected, what was found, and what to try next. `where` is a
byte range ("byte 0x4C8, 4 bytes"), a JSON pointer ("/anyOf/0/allOf/2/claim"), or a request
("GET /metadata/THIM/amd/certification"). Each type is an exit code of the command line; 1 is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(kw_only=True, eq=False)
class SkrkitError(Exception):
    """A failure that a person can act on. Raise one of the six subclasses, never this one.

    `what` is a sentence's subject ("HCL report_type"). `fix` is the next thing to try, a sentence or a
    command. `source` is the specification and table that the expectation comes from.
    """

    what: str
    where: str
    expected: str
    found: str
    fix: str
    source: str = ""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __str__(self) -> str:
        return f"{self.what} at {self.where}: expected {self.expected}, found {self.found}. Fix: {self.fix}"

    def to_json(self) -> dict[str, str]:
        """Return the error as JSON members, for `--json` output and for logs."""
        members = {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "found": self.found,
            "fix": self.fix,
        }
        if self.source:
            members["source"] = self.source
        return members


@dataclass(kw_only=True, eq=False)
class UsageError(SkrkitError):
    """The caller's mistake: an argument, an option, a file that is not there."""

    exit_code: ClassVar[int] = 2
    kind: ClassVar[str] = "usage"


@dataclass(kw_only=True, eq=False)
class ParseError(SkrkitError):
    """Bytes or text that are not what they should be: truncated, oversized, of the wrong kind."""

    exit_code: ClassVar[int] = 3
    kind: ClassVar[str] = "parse"


@dataclass(kw_only=True, eq=False)
class VerificationError(SkrkitError):
    """A check of a signature, a binding or a date that did not hold. `step` is its stable id."""

    step: str = ""
    exit_code: ClassVar[int] = 4
    kind: ClassVar[str] = "verification"

    def to_json(self) -> dict[str, str]:
        """Return the error as JSON members, with the id of the step that failed."""
        return {**SkrkitError.to_json(self), "step": self.step}


@dataclass(kw_only=True, eq=False)
class PolicyError(SkrkitError):
    """A release policy whose text is malformed. A policy that says no is a value, not an error.

    `rule` is the stable id of what the grammar asks and the text does not do ("list-empty").
    """

    rule: str = ""
    exit_code: ClassVar[int] = 5
    kind: ClassVar[str] = "policy"

    def to_json(self) -> dict[str, str]:
        """Return the error as JSON members, with the rule that is broken where it is known."""
        members = SkrkitError.to_json(self)
        return {**members, "rule": self.rule} if self.rule else members


@dataclass(kw_only=True, eq=False)
class ReleaseRefused(SkrkitError):
    """A well-formed no: the key was not released."""

    exit_code: ClassVar[int] = 6
    kind: ClassVar[str] = "refused"


@dataclass(kw_only=True, eq=False)
class ServiceError(SkrkitError):
    """A network, a device or a cloud that did not answer as it should. `status` is HTTP's, 0 without."""

    status: int = 0
    code: str = ""
    exit_code: ClassVar[int] = 7
    kind: ClassVar[str] = "service"
