"""The private authority, held against two verifiers that skrkit did not write: OpenSSL's and cryptography's."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import verification

from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.store import Store
from skrkit.sandbox.tls import MAX_CONTEXTS, Issued, TlsAuthority
from tests.sandbox import running

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOST = "skrkit-vault.vault.azure.net"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state.db")
    yield opened
    opened.close()


@pytest.fixture
def authority(store: Store) -> TlsAuthority:
    return TlsAuthority(store, lambda: NOW)


def verified(authority: TlsAuthority, issued: Issued, host: str, *, at: datetime = NOW) -> list[x509.Certificate]:
    builder = verification.PolicyBuilder().store(verification.Store([authority.root])).time(at)
    leaf, issuing, _root = issued.chain
    return builder.build_server_verifier(x509.DNSName(host)).verify(leaf, [issuing])


def test_a_chain_verifies_for_its_host_and_its_time_alone(authority: TlsAuthority) -> None:
    issued = authority.issue(HOST, [HOST])
    assert verified(authority, issued, HOST) == list(issued.chain)
    with pytest.raises(verification.VerificationError):
        verified(authority, issued, "other.vault.azure.net")
    with pytest.raises(verification.VerificationError):
        verified(authority, issued, HOST, at=NOW + timedelta(days=366))
    with pytest.raises(verification.VerificationError):
        verified(authority, issued, HOST, at=NOW - timedelta(hours=2))


def test_another_sandboxs_root_trusts_it_not(authority: TlsAuthority, tmp_path: Path) -> None:
    second = Store(tmp_path / "second.db")
    other = TlsAuthority(second, lambda: NOW)
    with pytest.raises(verification.VerificationError):
        verified(other, authority.issue(HOST, [HOST]), HOST)
    second.close()


def test_the_authority_is_made_once(authority: TlsAuthority, store: Store) -> None:
    again = TlsAuthority(store, lambda: NOW + timedelta(days=30))
    assert again.root_pem == authority.root_pem
    assert again.issuing == authority.issuing
    assert verified(authority, again.issue(HOST, [HOST], days=30), HOST, at=NOW + timedelta(days=31))


def test_a_given_key_is_certified_and_no_key_is_shown(authority: TlsAuthority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    issued = authority.issue("vault.azure.net", [HOST], key=key)
    assert issued.chain[0].public_key() == key.public_key()
    assert "key" not in repr(issued).partition("(")[2].partition("chain")[0]
    served, secret = issued.pem()
    assert served.count(b"BEGIN CERTIFICATE") == 2, "a server sends no root"
    assert secret.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_name_longer_than_a_common_name_may_be(authority: TlsAuthority) -> None:
    host = "a-vault-with-a-name-that-nobody-would-type.with-more-of-it." + HOST
    assert len(host) > 64
    assert verified(authority, authority.issue(host, [host]), host)


def test_contexts_are_kept_but_not_for_ever(authority: TlsAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def fresh(_issued: Issued) -> object:
        made.append(object())
        return made[-1]

    monkeypatch.setattr("skrkit.sandbox.tls._context", fresh)
    first = authority.server_context("host-0")
    assert authority.server_context("host-0") is first
    for number in range(1, MAX_CONTEXTS + 1):
        authority.server_context(f"host-{number}")
    assert len(made) == MAX_CONTEXTS + 1
    assert authority.server_context("host-0") is not first, "the oldest went first"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_openssl_as_strict_as_it_can_be(sandbox: Endpoint, version: ssl.TLSVersion) -> None:
    opened = running.connection(sandbox, HOST)
    context: ssl.SSLContext = opened._context  # type: ignore[attr-defined]
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    opened.connect()
    assert isinstance(opened.sock, ssl.SSLSocket)
    assert opened.sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
    assert opened.sock.selected_alpn_protocol() == "http/1.1"
    opened.close()


def test_the_root_file_holds_one_certificate_and_no_key(sandbox: Endpoint) -> None:
    text = sandbox.ca_file.read_bytes()
    (root,) = x509.load_pem_x509_certificates(text)
    assert root.issuer == root.subject
    assert b"PRIVATE" not in text
