"""The token leg on a token that Azure Attestation really gave, and the keys that it published then."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.case_json import without_token
from skrkit.diagnosis.explain import explain
from skrkit.wire import Json

ISSUED = datetime.fromtimestamp(1671836418, UTC)
AUTHORITY = "https://sharedweu.weu.attest.azure.net"
CANNOT: Json = {
    "error": {
        "code": "Forbidden",
        "message": "Target environment attestation statement cannot be verified.",
        "innererror": {"code": "AccessDenied"},
    }
}


@pytest.fixture
def case(captures: Path) -> Case:
    """A refusal of that token an hour after it was issued, when nothing was wrong with it."""
    folder = captures / "maa-token-and-akv-release"
    exchange = Exchange(
        service="vault",
        method="POST",
        url="https://contoso.vault.azure.net/keys/k/v/release",
        status=403,
        response_body=CANNOT,
    )
    return Case(
        at=ISSUED + timedelta(hours=1),
        exchanges=(exchange,),
        token=(folder / "maa-token.jwt").read_bytes().strip(),
        jwks=(folder / "maa-jwks.json").read_bytes(),
        authority=AUTHORITY,
    )


def first(case: Case) -> tuple[str, str]:
    finding = explain(case).findings[0]
    return finding.cause.id, finding.certainty


def parts(case: Case) -> tuple[dict[str, Json], dict[str, Json], bytes]:
    header, payload, signature = case.token.split(b".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))) for part in (header, payload)]
    return decoded[0], decoded[1], signature


def rebuilt(case: Case, header: dict[str, Json], claims: dict[str, Json], signature: bytes) -> Case:
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    return replace(case, token=b".".join((*encoded, signature)))


def test_a_good_token_points_to_the_vault(case: Case) -> None:
    found = explain(case).findings
    assert [finding.cause.id for finding in found] == ["token.vault-hiccup", "token.authority-unreachable"]
    assert found[0].certainty == "likely"


def test_a_token_of_yesterday(case: Case) -> None:
    late = replace(case, at=ISSUED + timedelta(days=1))
    assert first(late) == ("token.expired", "proved")
    assert explain(late).findings[0].where == "claims /exp"


def test_a_clock_that_is_behind_is_told_from_a_token_of_the_future(case: Case) -> None:
    early = replace(case, at=ISSUED - timedelta(hours=2))
    assert first(early) == ("token.not-yet-valid", "proved")
    assert [finding.cause.id for finding in explain(early).findings][1] == "machine.clock-skew"
    answer = replace(early.exchanges[0], response_headers={"Date": "Fri, 23 Dec 2022 23:30:00 GMT"})
    assert first(replace(early, exchanges=(answer,))) == ("machine.clock-skew", "proved")


def test_without_a_time_the_times_are_not_judged(case: Case) -> None:
    assert first(replace(case, at=None))[0] == "token.vault-hiccup"
    assert first(replace(case, at=None, jwks=b"", authority=""))[1] == "possible"


def test_without_the_keys_a_signature_is_not_called_bad(case: Case) -> None:
    header, claims, _ = parts(case)
    spoilt = rebuilt(case, header, claims, b"AAAA")
    assert first(spoilt) == ("token.signature", "proved")
    assert first(replace(spoilt, jwks=b""))[1] == "possible"


def test_the_attacks(case: Case) -> None:
    header, claims, signature = parts(case)
    assert first(rebuilt(case, header | {"alg": "none"}, claims, b"")) == ("token.algorithm-none", "proved")
    assert first(rebuilt(case, header | {"alg": "HS256"}, claims, signature)) == ("token.algorithm-confusion", "proved")
    assert (
        first(rebuilt(case, header | {"jku": "https://evil.example/certs"}, claims, signature))[0] == "token.jku-swap"
    )
    assert first(rebuilt(case, header | {"kid": "other"}, claims, signature))[0] == "token.signing-key-rotated"
    assert first(rebuilt(case, header | {"jwk": {}}, claims, signature))[0] == "token.brings-key"


def test_another_provider_with_the_same_keys_is_told_from_one_with_others(case: Case) -> None:
    """The real token, by the real key, where another provider is configured: only iss tells."""
    other = replace(case, authority="https://contoso.weu.attest.azure.net")
    header, claims, signature = parts(case)
    assert "jku" not in header or header["jku"] == f"{AUTHORITY}/certs"
    assert first(other) == ("token.other-tenant", "proved")
    foreign = rebuilt(other, header | {"kid": "theirs"}, claims, signature)
    assert first(foreign) == ("token.other-authority", "proved")


def test_a_token_that_is_cut(case: Case) -> None:
    assert first(replace(case, token=case.token[:1000])) == ("token.truncated", "proved")
    assert first(replace(case, token=b"not a token")) == ("token.truncated", "proved")


def test_a_token_without_a_key_to_wrap_for(case: Case) -> None:
    _, claims, _ = parts(case)
    bare = replace(case, token=b"", claims=claims | {"x-ms-runtime": {"keys": []}})
    assert first(bare) == ("token.no-transfer-key", "proved")
    hardware_only: Json = {"keys": [{"kty": "RSA", "kid": "HCLAkPub", "key_ops": ["sign"], "n": "AQAB", "e": "AQAB"}]}
    assert (
        first(replace(case, token=b"", claims=claims | {"x-ms-runtime": hardware_only}))[0] == "token.no-transfer-key"
    )


@pytest.mark.parametrize("days", [0, 1])
def test_a_case_without_its_token_is_explained_as_with_it(case: Case, days: int) -> None:
    whole = replace(case, at=ISSUED + timedelta(hours=1, days=days))
    assert without_token(whole).token == b""
    ours = [(finding.cause.id, finding.certainty) for finding in explain(whole).findings]
    assert [(finding.cause.id, finding.certainty) for finding in explain(without_token(whole)).findings] == ours


def test_a_cut_token_is_known_for_one_after_it_was_left_out(case: Case) -> None:
    assert first(without_token(replace(case, token=case.token[:1000]))) == ("token.truncated", "proved")
