"""What a release policy costs to parse and evaluate, and what the token and the response around it cost.

The bound for two clauses is 20 microseconds; a thousand authorities must cost about a thousand times one. Saying why a
policy does not hold, and what would mend it, may take a millisecond; lint of a thousand authorities fifty.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.policy.diff import diff_policies
from skrkit.policy.evaluate import evaluate
from skrkit.policy.lint import lint_bytes, lint_policy
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import parse_policy
from skrkit.policy.repair import repairs
from skrkit.policy.suggest import suggest_policies
from skrkit.policy.templates import cvm_policy
from skrkit.release.request import Enc
from skrkit.release.response import parse_release_response, verify_release
from skrkit.token.decode import decode_jwt
from skrkit.token.jwks import parse_jwks
from skrkit.token.verify import verify_token
from skrkit.wire import Json
from tests.bench.beside import alone, measured
from tests.bench.figures import Figures, Measured

pytestmark = pytest.mark.bench

ISSUER = "https://sharedweu.weu.attest.azure.net"
HOST = "skr-kvq6srllol2jntw.vault.azure.net"
THEN = datetime(2022, 12, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(captures: Path) -> Path:
    return captures / "maa-token-and-akv-release"


@pytest.fixture(scope="module")
def claims(folder: Path) -> dict[str, Json]:
    return decode_jwt((folder / "maa-token.jwt").read_bytes()).claims


def repeated(count: int, *, applies: bool) -> ReleasePolicy:
    clause = cvm_policy(ISSUER if applies else "https://elsewhere.example").root[0].document()
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": [clause] * count}))


@pytest.mark.figure("policy")
def test_evaluate_two_clauses(benchmark: BenchmarkFixture, claims: dict[str, Json], figures: Figures) -> None:
    policy = cvm_policy(ISSUER)
    assert benchmark(evaluate, policy, claims).holds
    figures.hand_in("policy", measured(benchmark))


@pytest.mark.figure("growth")
def test_growth_with_the_authorities(benchmark: BenchmarkFixture, claims: dict[str, Json], figures: Figures) -> None:
    """The same thousand authorities each round: in one policy, and beside it in policies of 1, of 10, and of 100.

    Cost that is linear in the authorities makes all of them take as long, but for what each evaluation costs at all.
    """
    policies = {count: repeated(count, applies=True) for count in (1, 10, 100, 1000)}
    taken: dict[int, list[float]] = {count: [] for count in policies}

    def evaluate_a_thousand(count: int) -> None:
        policy = policies[count]
        start = time.perf_counter()
        for _ in range(1000 // count):
            evaluate(policy, claims)
        taken[count].append((time.perf_counter() - start) / 1000)

    def fewer() -> None:
        for count in (1, 10, 100):
            evaluate_a_thousand(count)

    alone(benchmark, lambda: evaluate_a_thousand(1000), rounds=100, before=fewer)
    medians = {count: statistics.median(seconds) for count, seconds in taken.items()}
    least = {count: min(seconds) for count, seconds in taken.items()}
    figures.hand_in(
        "growth",
        Measured(value=medians[1000], beside=medians[10], least=least[1000], least_beside=least[10]),
    )
    each = ", ".join(f"{seconds * 1e6:.2f}" for seconds in medians.values())
    slope = statistics.linear_regression(
        [math.log(count) for count in medians], [math.log(count * seconds) for count, seconds in medians.items()]
    ).slope
    figures.note("µs for an authority of 1, 10, 100, 1,000", f"{each}; the whole grows as count^{slope:.2f}")


@pytest.mark.parametrize("count", [10, 100, 1000])
@pytest.mark.parametrize("applies", [True, False], ids=["all-apply", "none-applies"])
def test_evaluate_authorities(benchmark: BenchmarkFixture, claims: dict[str, Json], count: int, applies: bool) -> None:
    policy = repeated(count, applies=applies)
    assert benchmark(evaluate, policy, claims).holds is applies


def test_parse_two_clauses(benchmark: BenchmarkFixture) -> None:
    assert benchmark(parse_policy, cvm_policy(ISSUER).raw).version == "1.0.0"


def test_parse_a_thousand_authorities(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(parse_policy, repeated(1000, applies=True).raw).root) == 1000


def test_explain_a_claim_that_is_elsewhere(benchmark: BenchmarkFixture, claims: dict[str, Json]) -> None:
    _, status = evaluate(cvm_policy(ISSUER, guest=False), claims).leaves()
    assert benchmark(lambda: status.hint).startswith("the claim stands elsewhere")


@pytest.mark.figure("explanation")
def test_explain_a_refusal(benchmark: BenchmarkFixture, claims: dict[str, Json], figures: Figures) -> None:
    """The commonest one: claims asked for at the top, and found one level below. Every reason, and the repairs."""
    policy = cvm_policy(ISSUER, guest=False)

    def explain() -> int:
        evaluate(policy, claims).to_json()
        return len([repair.to_json() for repair in repairs(policy, claims)])

    assert benchmark(explain) == 1
    figures.hand_in("explanation", measured(benchmark))


def of_every_region(count: int) -> bytes:
    """Return a policy with as many authorities, each its own, as a policy for every region has."""
    clause = cvm_policy(ISSUER).root[0].document()
    clauses = [{**clause, "authority": f"https://p{number}.weu.attest.azure.net"} for number in range(count)]
    return json.dumps({"version": "1.0.0", "anyOf": clauses}).encode()


@pytest.mark.figure("lint")
def test_lint_a_thousand_authorities(benchmark: BenchmarkFixture, figures: Figures) -> None:
    policy = parse_policy(of_every_region(1000))
    assert len(benchmark(lint_policy, policy)) == 3001  # three notes each, and one on the size
    figures.hand_in("lint", measured(benchmark))


def test_lint_a_thousand_authorities_as_text(benchmark: BenchmarkFixture, figures: Figures) -> None:
    assert len(benchmark(lint_bytes, of_every_region(1000))) == 3001
    figures.note("lint of it as text, to the last broken rule", measured(benchmark))


def test_lint_a_thousand_authorities_that_are_none(benchmark: BenchmarkFixture) -> None:
    """The worst case: a thousand names that are misspelt, each in its own way."""
    policy = parse_policy(of_every_region(1000).replace(b"azure.net", b"azure.nte"))
    assert len(benchmark(lint_policy, policy)) >= 3000


def test_compare_a_thousand_authorities(benchmark: BenchmarkFixture) -> None:
    before, after = parse_policy(of_every_region(1000)), parse_policy(of_every_region(999))
    assert len(benchmark(diff_policies, before, after).changes) == 1


def test_suggest(benchmark: BenchmarkFixture, claims: dict[str, Json]) -> None:
    assert len(benchmark(suggest_policies, claims)) == 3


def test_verify_token(benchmark: BenchmarkFixture, folder: Path) -> None:
    token = decode_jwt((folder / "maa-token.jwt").read_bytes())
    jwks = parse_jwks((folder / "maa-jwks.json").read_bytes())
    assert benchmark(lambda: verify_token(token, jwks=jwks, issuer=ISSUER, now=THEN)).issuer == ISSUER


def test_bare_rs256_of_the_token(benchmark: BenchmarkFixture, folder: Path) -> None:
    token = decode_jwt((folder / "maa-token.jwt").read_bytes())
    key = parse_jwks((folder / "maa-jwks.json").read_bytes()).keys[0].public_key()
    signed = token.raw.rpartition(b".")[0]
    benchmark(key.verify, token.signature, signed, PKCS1v15(), SHA256())


def test_verify_release(benchmark: BenchmarkFixture, folder: Path) -> None:
    response = parse_release_response((folder / "release-response.json").read_bytes())
    roots = [x509.load_der_x509_certificate(response.x5c[-1])]
    enc = Enc.CKM_RSA_AES_KEY_WRAP
    release = benchmark(lambda: verify_release(response, roots=roots, host=HOST, enc=enc, nonce=None, now=THEN))
    assert release.root.startswith("CN=DigiCert")


def test_bare_signatures_of_the_release(benchmark: BenchmarkFixture, folder: Path) -> None:
    response = parse_release_response((folder / "release-response.json").read_bytes())

    def verify() -> None:
        leaf, issuing, root = (x509.load_der_x509_certificate(der) for der in response.x5c)
        key = leaf.public_key()
        assert isinstance(key, RSAPublicKey)
        key.verify(response.signature, response.signing_input, PKCS1v15(), SHA256())
        leaf.verify_directly_issued_by(issuing)
        issuing.verify_directly_issued_by(root)

    benchmark(verify)
