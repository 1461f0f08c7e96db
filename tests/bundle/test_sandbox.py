"""Bundles of whole runs in the sandbox, good and failing: nothing secret in them, and every check comes out again."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from skrkit.bundle.archive import unpack
from skrkit.bundle.bundle import open_bundle
from skrkit.bundle.live import doctor_report
from skrkit.bundle.making import Choice, make_bundle
from skrkit.bundle.replay import replay
from skrkit.cloud import Cloud
from skrkit.diagnosis.case import Case
from skrkit.diagnosis.explain import explain
from skrkit.diagnosis.verification import verified_evidence
from skrkit.doctor.gather import gather_case
from skrkit.encoding import b64url
from skrkit.policy.templates import cvm_policy
from skrkit.provision import access, identity
from skrkit.provision.key import create
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_all_off, switch_on
from tests.sandbox.faults.faulted import release
from tests.sandbox.running import STAGE, operator_token, staged

VAULT = f"https://{STAGE.vault}.vault.azure.net"
# One of each leg of a release, and the attacks whose traces are the most delicate.
FAULTS = (
    "machine.no-nv-index",
    "identity.none",
    "identity.imds-throttled",
    "network.vault-tls",
    "network.maa-throttled",
    "evidence.report-tampered",
    "evidence.secure-boot-off",
    "token.jku-swap",
    "token.algorithm-none",
    "token.expired",
    "token.other-tenant",  # told from token.other-authority by the signature, which is left out
    "access-token.wrong-tenant",
    "access.release-missing",
    "access.firewall-address",
    "key.disabled",
    "key.not-found",
    "policy.other-vm",
    "policy.letter-case",
    "response.key-substituted",
)
_ENCODED = re.compile(rb"[A-Za-z0-9_+/=-]{24,}")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox after steps 1 to 3."""
    with staged(tmp_path_factory.mktemp("bundle")) as started:
        cloud = Cloud.sandbox(home=started.home)
        made = identity.enable(cloud, STAGE)
        access.grant(cloud, STAGE, made.object_id)
        create(cloud, VAULT, STAGE.key, cvm_policy(STAGE.attestation))
        yield started


@pytest.fixture
def cloud(endpoint: Endpoint) -> Iterator[Cloud]:
    yield replace(Cloud.sandbox(home=endpoint.home), settings={"retry_total": 0})
    switch_all_off(home=endpoint.home)


@pytest.fixture(scope="module")
def released(endpoint: Endpoint) -> dict[str, bytes]:
    """The private half of the key that a release gives out: its numbers, as bytes and in base64url."""
    key = release(Cloud.sandbox(home=endpoint.home)).key.private_key
    assert isinstance(key, RSAPrivateKey)
    numbers = key.private_numbers()
    parts = {name: getattr(numbers, name).to_bytes(256, "big").lstrip(b"\0") for name in ("d", "p", "q", "dmp1")}
    encoded = {f"{name} in base64url": b64url(value).encode() for name, value in parts.items()}
    return {f"released key {name}": value for name, value in (parts | encoded).items()}


def secrets_of(endpoint: Endpoint, case: Case) -> dict[str, bytes]:
    """Whatever would open something: the sandbox's own secrets, tokens, and every private key in its state."""
    found = {
        "control secret": endpoint.secret.encode(),
        "client secret": endpoint.client_secret.encode(),
        "operator's token": operator_token(endpoint).encode(),
        "operator's token signature": operator_token(endpoint).rpartition(".")[2].encode(),
        "attestation token": case.token,
        "attestation token signature": case.token.rpartition(b".")[2],
    }
    with closing(sqlite3.connect(f"file:{endpoint.home / 'state.db'}?mode=ro", uri=True)) as state:
        for (table,) in state.execute("select name from sqlite_master where type='table'").fetchall():
            for row in state.execute(f'select * from "{table}"'):
                for value in row:
                    data = value.encode() if isinstance(value, str) else value
                    if isinstance(data, bytes):
                        found |= _private_parts(f"{table} {len(found)}", data)
    return {name: secret for name, secret in found.items() if secret}


def _private_parts(name: str, data: bytes) -> dict[str, bytes]:
    """The lines of each private key in PEM; a line is as good as the key to search for."""
    parts: dict[str, bytes] = {}
    blocks = re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END [A-Z ]*PRIVATE KEY", data, re.DOTALL)
    for number, block in enumerate(blocks):
        for place, line in enumerate(re.split(rb"\\n|\s+", block)):
            if len(line) >= 40:
                parts[f"{name}.{number}.{place}"] = line
    return parts


def identifiers_of(endpoint: Endpoint, case: Case) -> dict[str, bytes]:
    names = {
        "tenant": endpoint.tenant,
        "subscription": endpoint.subscription,
        "client id": endpoint.client_id,
        "operator": endpoint.operator_oid,
        "identity": str(case.access_token.get("oid") or "") or case.asked.get("object_id", ""),
        "vault": STAGE.vault,
        "key": STAGE.key,
        "vm": STAGE.vm,
        "group": STAGE.resource_group,
        "admin": "azureuser",
        "key version": case.asked.get("version", ""),
    }
    return {name: text.encode() for name, text in names.items() if text}


def layers_of(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Every file, and what is inside it in base64, twice over."""
    for name, data in files.items():
        yield name, data
        for inner in _decoded(data):
            yield f"{name}, decoded", inner
            for deeper in _decoded(inner):
                yield f"{name}, decoded twice", deeper


def _decoded(data: bytes) -> Iterator[bytes]:
    for text in _ENCODED.findall(data):
        try:
            yield base64.urlsafe_b64decode(text.replace(b"+", b"-").replace(b"/", b"_").rstrip(b"=") + b"===")
        except ValueError:
            continue


def check_scanned(data: bytes, endpoint: Endpoint, case: Case, released: dict[str, bytes]) -> None:
    """Search a bundle for everything that must not be in it."""
    files = unpack(data)
    forbidden = secrets_of(endpoint, case) | released
    assert len(forbidden) > 20  # the state does hold private keys: a search for nothing would find nothing
    hidden = identifiers_of(endpoint, case)
    for where, content in layers_of(files):
        for name, secret in forbidden.items():
            assert secret not in content, (name, where)
            assert secret.hex().encode() not in content, (name, where)
        if not where.startswith("evidence/"):
            for name, text in hidden.items():
                assert text.lower() not in content.lower(), (name, where)
        assert not re.search(rb"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}", content), where
        assert b"PRIVATE KEY" not in content, where


def test_the_search_finds_what_is_there(endpoint: Endpoint, cloud: Cloud) -> None:
    """The same search on a bundle that was asked to hold the token and the names."""
    case = gather_case(cloud, STAGE)
    told = Choice(with_identifiers=True, with_token=True)
    files = unpack(make_bundle(case, now=cloud.now(), skrkit="0", choice=told))
    content = b"".join(files.values())
    assert case.token in content
    found = [name for name, text in identifiers_of(endpoint, case).items() if text in content]
    assert set(found) == set(identifiers_of(endpoint, case))


def test_a_good_run(endpoint: Endpoint, cloud: Cloud, released: dict[str, bytes]) -> None:
    case = gather_case(cloud, STAGE)
    assert case.error == {}
    doctor = doctor_report(cloud, STAGE)
    data = make_bundle(case, now=cloud.now(), skrkit="0", doctor=doctor)
    check_scanned(data, endpoint, case, released)
    bundle = open_bundle(data)
    checks = bundle.doctor["checks"]
    assert isinstance(checks, list)
    assert len(checks) > 20
    assert {check["verdict"] for check in checks if isinstance(check, dict)} <= {"ok", "skipped", "warning"}
    result = verified_evidence(bundle.case)
    assert result is not None
    assert (result.verdict, result.root) == ("verified", "sandbox")
    assert {check.verdict for check in replay(bundle).checks} == {"same", "not-checked"}
    counts = bundle.recorded["claims"]["counts"]
    assert isinstance(counts, dict)
    assert (counts["differs"], counts["unknown"]) == (0, 0)
    assert bundle.recorded["decision"]["holds"] is True
    assert bundle.manifest.notes == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_run(endpoint: Endpoint, cloud: Cloud, fault: str, released: dict[str, bytes]) -> None:
    switch_on(fault, home=endpoint.home)
    case = gather_case(cloud, STAGE)
    assert case.error, fault
    data = make_bundle(case, now=cloud.now(), skrkit="0")
    check_scanned(data, endpoint, case, released)
    bundle = open_bundle(data)
    replayed = replay(bundle)
    assert [check.to_json() for check in replayed.checks if check.verdict == "differs"] == []
    # long after, and without the names, the bundle says what the live case said
    live = [finding.cause.id for finding in explain(case).findings]
    saved = [finding.cause.id for finding in explain(bundle.case).findings]
    assert saved[:1] == live[:1]
    assert bundle.manifest.notes == ()


def test_without_evidence_the_vms_id_is_gone_too(endpoint: Endpoint, cloud: Cloud, released: dict[str, bytes]) -> None:
    case = gather_case(cloud, STAGE)
    vm_id = str(case.instance["vmId"]).lower().encode()
    data = make_bundle(case, now=cloud.now(), skrkit="0", choice=Choice(with_evidence=False))
    for where, content in layers_of(unpack(data)):
        assert vm_id not in content.lower(), where
    check_scanned(data, endpoint, case, released)


def test_a_bundle_takes_the_exchanges_in_order(endpoint: Endpoint, cloud: Cloud) -> None:
    case = gather_case(cloud, STAGE)
    rows = json.loads(unpack(make_bundle(case, now=cloud.now(), skrkit="0"))["case/exchanges.json"])
    assert [(row["service"], row["status"]) for row in rows] == [(seen.service, seen.status) for seen in case.exchanges]
    assert Path(endpoint.home).is_dir()
