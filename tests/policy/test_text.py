"""A policy in whatever it comes in is opened, and each wrapping that a vault refuses is named."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from skrkit.policy.lint import has_errors, lint_bytes
from skrkit.policy.lint_rules import RULES
from skrkit.policy.parse import decode_policy, encode_policy, parse_policy
from skrkit.policy.templates import cvm_policy
from skrkit.policy.text import MAX_LAYERS, open_policy_text
from tests.policy.test_vectors import COMPACT, MHSM_FORM, VAULT_FORM

POLICY = cvm_policy("https://sharedweu.weu.attest.azure.net")
DATA = encode_policy(POLICY)
PLAIN = POLICY.raw
# the rule that is broken, the text, what it was wrapped in
WRONG: list[tuple[str, bytes, list[str]]] = [
    ("text.bom", b"\xef\xbb\xbf" + PLAIN, []),
    ("text.utf16", PLAIN.decode().encode("utf-16"), []),
    ("text.utf16", PLAIN.decode().encode("utf-16-le"), []),
    ("text.quoted", json.dumps(PLAIN.decode()).encode(), ["JSON string"]),
    ("text.plain-data", json.dumps({"data": PLAIN.decode()}).encode(), ["/data"]),
    ("text.standard-base64", base64.b64encode(PLAIN + b" " * ((1 - len(PLAIN)) % 3)), ["base64"]),
    ("text.line-breaks", b"\n".join(DATA.encode()[at : at + 64] for at in range(0, len(DATA), 64)), ["base64url"]),
    ("text.encoded-twice", base64.urlsafe_b64encode(DATA.encode()).rstrip(b"="), ["base64url", "base64url"]),
]
LOST: list[tuple[str, bytes]] = [
    ("text.empty", b""),
    ("text.empty", b" \n"),
    ("text.empty", b'{"release_policy": {"data": ""}}'),
    ("text.not-utf8", b'{"version": "1.0.0\xff"}'),
    ("grammar.not-json", b"{"),
    ("grammar.not-json", b"no policy at all"),
    ("grammar.not-json", b"nothing of the kind"),  # base64 of eleven bytes, if one likes
]


@pytest.mark.parametrize(("rule", "text", "layers"), WRONG, ids=[f"{row[0]}-{n}" for n, row in enumerate(WRONG)])
def test_what_a_vault_refuses_is_named_and_opened(rule: str, text: bytes, layers: list[str]) -> None:
    opened = open_policy_text(text)
    assert [finding.id for finding in opened.findings] == [rule]
    assert opened.layers == layers
    assert parse_policy(opened.json) == POLICY
    found = lint_bytes(text)
    assert found[0] == opened.findings[0]
    assert has_errors(found)


@pytest.mark.parametrize(("rule", "text"), LOST, ids=[f"{row[0]}-{n}" for n, row in enumerate(LOST)])
def test_what_cannot_be_opened_is_one_error(rule: str, text: bytes) -> None:
    assert [finding.id for finding in lint_bytes(text)] == [rule]


def test_every_rule_of_the_text_has_a_case() -> None:
    assert {row[0] for row in WRONG} | {row[0] for row in LOST} >= {rule for rule in RULES if rule.startswith("text.")}


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        (PLAIN, []),
        (json.dumps(POLICY.fields(), indent=2).encode() + b"\n", []),
        (DATA.encode() + b"\n", ["base64url"]),
        (json.dumps({"contentType": "application/json", "data": DATA}).encode(), ["/data", "base64url"]),
        (
            json.dumps({"key": {}, "attributes": {}, "release_policy": {"data": DATA}}).encode(),
            ["/release_policy/data", "base64url"],
        ),
        (
            json.dumps({"properties": {"release_policy": {"data": DATA}}}).encode(),
            ["/properties/release_policy/data", "base64url"],
        ),
        (
            json.dumps({"releasePolicy": {"encodedPolicy": PLAIN.decode()}}).encode(),
            ["/releasePolicy/encodedPolicy"],
        ),
    ],
)
def test_what_services_give_is_opened_without_a_word(text: bytes, layers: list[str]) -> None:
    opened = open_policy_text(text)
    assert opened.findings == []
    assert opened.layers == layers
    assert parse_policy(opened.json) == POLICY


def test_both_forms_that_services_store_are_opened() -> None:
    for stored in (VAULT_FORM, MHSM_FORM):
        assert parse_policy(open_policy_text(stored.encode()).json) == parse_policy(COMPACT) == decode_policy(stored)


def test_the_policy_of_a_recorded_release_is_opened(captures: Path) -> None:
    """A release response holds a JWS, not a policy; its payload's key does, as Key Vault keeps it."""
    from skrkit.release.response import parse_release_response

    response = parse_release_response((captures / "maa-token-and-akv-release" / "release-response.json").read_bytes())
    opened = open_policy_text(json.dumps({"release_policy": response.release_policy}).encode())
    assert opened.findings == []
    assert parse_policy(opened.json) == POLICY


def test_no_more_layers_than_the_bound() -> None:
    text = PLAIN
    for _ in range(MAX_LAYERS + 3):
        text = base64.urlsafe_b64encode(text).rstrip(b"=")
    opened = open_policy_text(text)
    assert len(opened.layers) == MAX_LAYERS
    assert has_errors(lint_bytes(text))
