"""Policies and tokens as `skrkit policy` is given them. What was opened on the way, and not verified, is said aloud."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from skrkit.cli.reading import read_input
from skrkit.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from skrkit.policy.lint_rules import LintFinding
    from skrkit.policy.model import ReleasePolicy
    from skrkit.policy.text import PolicyText
    from skrkit.wire import Json

NOT_VERIFIED = "claims not verified: whoever wrote them wrote the answer too. Verify with --jwks FILE --issuer URL."


class GivenClaims(NamedTuple):
    """Claims to judge by, and whether a signature vouches for them."""

    claims: dict[str, Json]
    verified: bool


def opened_policy(name: str) -> PolicyText:
    """Return the text of a policy, taken out of whatever it came in."""
    from skrkit.policy.text import open_policy_text

    return open_policy_text(read_input(name))


def given_policy(name: str) -> ReleasePolicy:
    """Return the policy of a file. What was wrong with its wrapping goes to stderr. Raises `PolicyError`."""
    from skrkit.policy.parse import parse_policy

    opened = opened_policy(name)
    say_findings(opened.findings)
    return parse_policy(opened.json)


def say_findings(findings: list[LintFinding]) -> None:
    """Write one line a finding to stderr."""
    for finding in findings:
        where = f" at {finding.pointer}" if finding.pointer else ""
        say(f"{finding.severity.value}: {finding.id}{where}: {finding.what}. {finding.why} Fix: {finding.fix}")


def say(text: str) -> None:
    """Write a line to stderr, harmless to a terminal."""
    from skrkit.render.layout import harmless

    print(harmless(text), file=sys.stderr)


def given_claims(arguments: argparse.Namespace) -> GivenClaims:
    """Return the claims of the token that the arguments name: verified with --jwks and --issuer, or said not to be.

    Raises `UsageError` for one of the two without the other, and for bare claims, which nothing can verify;
    `VerificationError` for a token that does not verify; `ParseError` for a text that is neither.
    """
    text = read_input(arguments.token).strip()
    if (arguments.jwks is None) != (arguments.issuer is None):
        raise _usage("--jwks and --issuer", "both, or neither", "one of them", "Name the keys and whose they are.")
    if arguments.at is not None and arguments.jwks is None:
        raise _usage("--at", "--jwks and --issuer with it", "neither", "The time is for verifying the token.")
    compact = _compact(text)
    if arguments.jwks is not None:
        if compact is None:
            raise _usage("--jwks", "a token in compact form", "claims in JSON", "Pass the token as MAA gave it.")
        return GivenClaims(_verified(compact, arguments), True)
    say(NOT_VERIFIED)
    if compact is None:
        return GivenClaims(_bare(text), False)
    from skrkit.token.decode import decode_jwt

    return GivenClaims(decode_jwt(compact).claims, False)


def _compact(text: bytes) -> bytes | None:
    """Return a compact token, or the one in MAA's answer {"token": …}; None for any other JSON object."""
    if not text.startswith(b"{"):
        return text
    from skrkit.encoding import json_object

    token = json_object(text, what="token", where="the whole text").get("token")
    return token.encode("utf-8", "surrogatepass") if isinstance(token, str) and token.count(".") == 2 else None


def _bare(text: bytes) -> dict[str, Json]:
    """Return the claims in a JSON object: the object itself, or its member `claims`, as `skrkit inspect` writes it."""
    from skrkit.encoding import json_object

    found = json_object(text, what="claims", where="the whole text")
    for name in ("fields", "claims"):
        inner = found.get(name)
        if isinstance(inner, dict) and "iss" not in found:
            found = inner
    return found


def _verified(compact: bytes, arguments: argparse.Namespace) -> dict[str, Json]:
    from skrkit.cli.verify_options import time_of
    from skrkit.token.decode import decode_jwt
    from skrkit.token.jwks import parse_jwks
    from skrkit.token.verify import verify_token

    token = verify_token(
        decode_jwt(compact),
        jwks=parse_jwks(read_input(arguments.jwks)),
        issuer=arguments.issuer,
        now=time_of(arguments.at),
    )
    return token.claims


def _usage(where: str, expected: str, found: str, fix: str) -> UsageError:
    return UsageError(what="argument", where=where, expected=expected, found=found, fix=fix)


def refuse_one_stdin(*names: str | None) -> None:
    """Raise `UsageError` when standard input is named twice: it can be read once."""
    if names.count("-") > 1:
        raise _usage("-", "standard input for one file", "for two", "Name a file for one of them.")
