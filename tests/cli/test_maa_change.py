"""`skrkit maa set`, `reset` and `signer` at providers in a sandbox; what they put there, Microsoft's client reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from skrkit.cloud import Cloud
from skrkit.errors import ParseError, VerificationError
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import maa_policy
from tests.attestation_policy.test_signing import RSA, certificate, pem
from tests.sandbox.running import ARM, bearer, group_url, operator_token, send, skrkit, staged

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # msrest's own
    attestation = pytest.importorskip("azure.security.attestation", reason="azure-security-attestation (extra dev)")

DEFAULT = "version= 1.0;authorizationrules{=> permit();};"
POLICY = 'version= 1.0;\nauthorizationrules { => permit(); };\nissuancerules { => issue(type="mine", value=1); };\n'
OTHER = ec.generate_private_key(ec.SECP256R1())
OPEN, SIGNED = "https://cliopen.weu.attest.azure.net", "https://clisigned.weu.attest.azure.net"


@dataclass(frozen=True)
class Files:
    """What the commands are given."""

    policy: str
    key: str
    certificate: str
    other_key: str
    other: str
    token: str

    @property
    def signing(self) -> tuple[str, ...]:
        return ("--signing-key", self.key, "--certificate", self.certificate)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    contents = {
        "policy.txt": POLICY.encode(),
        "key.pem": pem(RSA), "certificate.pem": certificate(RSA, "first"),
        "other-key.pem": pem(OTHER), "other.pem": certificate(OTHER, "second"),
        "token.json": b'{"x-ms-attestation-type": "sevsnpvm"}',
    }  # fmt: skip
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return Files(*(str(folder / name) for name in contents))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Endpoint]:
    from skrkit.attestation_policy.signing import jwk_of, parse_certificates

    with staged(tmp_path_factory.mktemp("maa")) as endpoint:
        authorization = bearer(operator_token(endpoint, ARM))
        (signer,) = parse_certificates(Path(files.certificate).read_bytes())
        for name, keys in (("cliopen", []), ("clisigned", [jwk_of(signer)])):
            url = f"{group_url(endpoint)}/providers/Microsoft.Attestation/attestationProviders/{name}"
            body = {"location": "westeurope", "properties": {"policySigningCertificates": {"keys": keys}}}
            answer = send(endpoint, "PUT", f"{url}?api-version=2021-06-01", body, Authorization=authorization)
            assert answer.status == 201, answer.body
        yield endpoint


def run(sandbox: Endpoint, *arguments: str, code: int = 0) -> Any:
    done = skrkit(sandbox.home, "maa", *arguments, "--json")
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def in_force(sandbox: Endpoint, url: str) -> str:
    """The policy as Microsoft's client reads it, which verifies the answer."""
    cloud = Cloud.sandbox(home=sandbox.home)
    client = attestation.AttestationAdministrationClient(url, cloud.credential(), **cloud.client_options())
    return str(client.get_policy("SevSnpVm")[0])


SNP = ("--type", "SevSnpVm")


def test_a_dry_run_shows_the_change_and_sends_nothing(sandbox: Endpoint, files: Files) -> None:
    found = run(sandbox, "set", OPEN, files.policy, *SNP, "--dry-run", "--token", files.token)
    assert (found["sent"], found["result"], found["before"]["policy"]) == (False, None, DEFAULT)
    assert (found["after"]["policy"], found["claims_added"]) == (POLICY, ["mine"])
    assert found["trial"]["after"]["issued"] == [{"type": "mine", "value": 1, "issuer": "AttestationPolicy"}]
    assert in_force(sandbox, OPEN) == DEFAULT
    done = skrkit(sandbox.home, "maa", "set", OPEN, files.policy, *SNP, "--dry-run")
    assert "was not sent" in done.stdout
    assert "authorization.permits-all" in done.stderr  # what lint remarks is said, and does not stop it


def test_set_and_reset(sandbox: Endpoint, files: Files) -> None:
    found = run(sandbox, "set", OPEN, files.policy, *SNP)
    assert (found["sent"], found["result"]) == (True, "Updated")
    assert in_force(sandbox, OPEN) == POLICY
    assert run(sandbox, "reset", OPEN, *SNP, "--dry-run")["before"] == POLICY
    assert in_force(sandbox, OPEN) == POLICY
    found = run(sandbox, "reset", OPEN, *SNP)
    assert (found["result"], found["after"]["policy"], found["claims_removed"]) == ("Removed", DEFAULT, ["mine"])
    assert in_force(sandbox, OPEN) == DEFAULT


def test_a_jws_goes_out_as_it_is(sandbox: Endpoint, files: Files, tmp_path: Path) -> None:
    encoded = skrkit(sandbox.home, "maa", "encode", files.policy).stdout
    (tmp_path / "policy.jws").write_text(encoded)
    assert run(sandbox, "set", OPEN, str(tmp_path / "policy.jws"), *SNP)["after"]["policy"] == POLICY
    refused = run(sandbox, "set", OPEN, str(tmp_path / "policy.jws"), *SNP, *files.signing, code=2)
    assert "a JWS, which is signed or not as it came" in refused["found"]
    run(sandbox, "reset", OPEN, *SNP)


def test_what_does_not_parse_is_not_sent(sandbox: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("version= 1.0;\nauthorizationrules { => permit() };")
    refused = run(sandbox, "set", OPEN, str(tmp_path / "bad.txt"), *SNP, code=5)
    assert "line 2, column 34" in refused["where"]
    assert in_force(sandbox, OPEN) == DEFAULT


def test_an_error_of_lint_stops_it(sandbox: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "never.txt").write_text("version= 1.0;\nauthorizationrules { => deny(); };")
    done = skrkit(sandbox.home, "maa", "set", OPEN, str(tmp_path / "never.txt"), *SNP)
    assert (done.returncode, done.stdout) == (5, "")
    assert "authorization.no-permit" in done.stderr
    found = run(sandbox, "set", OPEN, str(tmp_path / "never.txt"), *SNP, code=5)
    assert (found["sent"], found["remarks"][0]["id"]) == (False, "authorization.no-permit")
    assert in_force(sandbox, OPEN) == DEFAULT


def test_an_isolated_provider_asks_for_a_signature(sandbox: Endpoint, files: Files) -> None:
    refused = run(sandbox, "set", SIGNED, files.policy, *SNP, code=5)
    assert refused["found"] == "none, and the provider has 1 policy signer"
    stranger = ("--signing-key", files.other_key, "--certificate", files.other)
    refused = run(sandbox, "set", SIGNED, files.policy, *SNP, *stranger, code=5)
    assert (refused["expected"], refused["found"]) == ("one of: CN=first", "CN=second")
    refused = run(sandbox, "set", SIGNED, files.policy, *SNP, "--signing-key", files.key, code=2)
    assert refused["expected"] == "both, or neither"
    assert run(sandbox, "set", SIGNED, files.policy, *SNP, *files.signing)["result"] == "Updated"
    assert in_force(sandbox, SIGNED) == POLICY
    assert run(sandbox, "reset", SIGNED, *SNP, code=5)["where"] == "its signature"
    assert run(sandbox, "reset", SIGNED, *SNP, *files.signing)["result"] == "Removed"
    assert in_force(sandbox, SIGNED) == DEFAULT


def test_signers_come_and_go(sandbox: Endpoint, files: Files) -> None:
    def subjects(found: Any) -> list[str]:
        return [each["subject"] for each in found["signers"]]

    assert subjects(run(sandbox, "signer", "list", OPEN)) == []
    assert subjects(run(sandbox, "signer", "list", SIGNED)) == ["CN=first"]
    added = run(sandbox, "signer", "add", SIGNED, files.other, *files.signing)
    assert subjects(added) == ["CN=first", "CN=second"]
    assert len(added["signers"][1]["thumbprint"]) == 40
    assert subjects(run(sandbox, "signer", "remove", SIGNED, files.other, *files.signing)) == ["CN=first"]
    last = run(sandbox, "signer", "remove", SIGNED, files.certificate, *files.signing, code=7)
    assert "The last policy signer cannot be removed." in last["found"]
    assert run(sandbox, "signer", "add", SIGNED, files.other, code=5)["where"] == "its signature"
    roles = run(sandbox, "signer", "add", OPEN, files.other, *files.signing, code=5)
    assert roles["found"] == "one that goes by roles alone"


def test_a_shared_provider_is_nobodys_to_change(sandbox: Endpoint, files: Files) -> None:
    shared = "https://sharedweu.weu.attest.azure.net"
    for command in (("set", shared, files.policy), ("reset", shared), ("signer", "add", shared, files.other)):
        refused = run(sandbox, *command, code=2)
        assert refused["found"] == "the shared one of a region, which Microsoft alone changes"


@pytest.mark.parametrize(
    ("claims", "where"),
    [
        ({}, "/x-ms-policy-result"),
        ({"x-ms-policy-result": "Removed"}, "/x-ms-policy-result"),
        ({"x-ms-policy-result": "Updated", "x-ms-policy-token-hash": "another"}, "/x-ms-policy-token-hash"),
    ],
)
def test_an_answer_about_another_policy_is_no_success(
    monkeypatch: pytest.MonkeyPatch, claims: dict[str, str], where: str
) -> None:
    monkeypatch.setattr(maa_policy, "_asked", lambda *_: claims)
    with pytest.raises(VerificationError) as refused:
        maa_policy.set_policy(Cloud.azure(), OPEN, "SevSnpVm", "eyJhbGciOiJub25lIn0.e30.")
    assert refused.value.where == where


@pytest.mark.parametrize("keys", [None, [{}], [{"x5c": ["AAAA"]}], [{"x5c": [7]}]])
def test_signers_that_are_none(monkeypatch: pytest.MonkeyPatch, keys: Any) -> None:
    monkeypatch.setattr(maa_policy, "_asked", lambda *_: {"x-ms-policy-certificates": {"keys": keys}})
    with pytest.raises(ParseError):
        maa_policy.fetch_signers(Cloud.azure(), OPEN)
