"""The sandbox's certificates, as others judge them: OpenSSL, `cryptography`'s verifier, Python at its strictest."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, VerificationError
from cryptography.x509.verification import Store as Roots

from skrkit.sandbox.store import Store
from skrkit.sandbox.tls import MAX_CONTEXTS, Issued, TlsAuthority
from skrkit.sandbox.world import utc_now

HOST = "skrkit-vault.vault.azure.net"
LONG = "a" * 63 + "." + "b" * 63 + ".example"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state.db")
    yield made
    made.close()


@pytest.fixture
def authority(store: Store) -> TlsAuthority:
    return TlsAuthority(store, utc_now)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """Let two ends speak TLS through memory; return the name in the certificate that the client accepted."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True))
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = ends[0].getpeercert()
    assert certificate is not None
    return str(certificate["subjectAltName"][0][1])


def strict(authority: TlsAuthority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.root_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("host", [HOST, "management.azure.com", LONG])
def test_a_client_that_trusts_the_root_accepts_the_host_and_no_other(authority: TlsAuthority, host: str) -> None:
    context = authority.server_context(host)
    assert handshake(context, strict(authority), host) == host
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(context, strict(authority), "login.microsoftonline.com")


def test_nobody_else_trusts_it(authority: TlsAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer certificate|self-signed"):
        handshake(authority.server_context(HOST), ssl.create_default_context(), HOST)


def test_openssl_accepts_the_chain_for_a_server_alone(authority: TlsAuthority, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("NO openssl: the chain was not held against it")
    issued = authority.issue(HOST, [HOST])
    for name, certificate in zip(("leaf", "issuing", "root"), issued.chain, strict=True):
        (tmp_path / name).write_bytes(certificate.public_bytes(Encoding.PEM))

    def verify(*more: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", "verify", "-x509_strict", "-no-CApath", "-CAfile", str(tmp_path / "root"), "-untrusted",
                   str(tmp_path / "issuing"), *more, str(tmp_path / "leaf")]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    good = verify("-purpose", "sslserver", "-verify_hostname", HOST)
    assert good.stdout.strip().endswith(": OK"), good.stderr
    assert verify("-purpose", "sslclient").returncode != 0
    assert "hostname mismatch" in verify("-verify_hostname", "other.vault.azure.net").stderr
    assert "expired" in verify("-attime", str(int((utc_now() + timedelta(days=4000)).timestamp()))).stderr


def accepted(authority: TlsAuthority, issued: Issued, at: datetime) -> list[x509.Certificate]:
    verifier = PolicyBuilder().store(Roots([authority.root])).time(at).build_server_verifier(x509.DNSName(HOST))
    return verifier.verify(issued.chain[0], [issued.chain[1]])


def test_the_web_pki_verifier_of_cryptography_accepts_it_while_it_is_valid(authority: TlsAuthority) -> None:
    issued, now = authority.issue(HOST, [HOST], days=28), utc_now()
    assert accepted(authority, issued, now) == list(issued.chain)
    for at in (now - timedelta(hours=2), now + timedelta(days=28, hours=2)):
        with pytest.raises(VerificationError):
            accepted(authority, issued, at)


def test_a_given_key_is_certified(authority: TlsAuthority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    issued = authority.issue("vault.azure.net", ["vault.azure.net", "*.vault.azure.net"], key=key)
    assert issued.chain[0].public_key() == key.public_key()
    assert isinstance(authority.issue("a", ["a"]).key, ec.EllipticCurvePrivateKey)
    assert "PRIVATE" not in repr(issued)
    assert repr(key) not in repr(issued)


def test_the_authority_outlives_its_process(store: Store, authority: TlsAuthority, tmp_path: Path) -> None:
    reopened, fresh = Store(tmp_path / "state.db"), Store(tmp_path / "another.db")
    again = TlsAuthority(reopened, lambda: datetime(2027, 1, 1, tzinfo=UTC))
    assert again.root_pem == authority.root_pem
    assert accepted(authority, again.issue(HOST, [HOST]), datetime(2027, 1, 2, tzinfo=UTC))
    other = TlsAuthority(fresh, utc_now)
    assert other.root_pem != authority.root_pem
    with pytest.raises(VerificationError):
        accepted(authority, other.issue(HOST, [HOST]), utc_now())
    reopened.close()
    fresh.close()


def test_a_context_is_made_once_and_only_so_many_are_kept(
    authority: TlsAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = authority.server_context(HOST)
    assert authority.server_context(HOST) is first
    monkeypatch.setattr("skrkit.sandbox.tls.MAX_CONTEXTS", 2)
    authority.server_context("b.example")
    assert authority.server_context(HOST) is first  # used again: b.example is the oldest now
    authority.server_context("c.example")
    assert authority.server_context(HOST) is first
    authority.server_context("d.example")
    authority.server_context("e.example")
    assert authority.server_context(HOST) is not first
    assert MAX_CONTEXTS == 256
