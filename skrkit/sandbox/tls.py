"""The sandbox's certificate authority: a certificate for any host name, and the chain that signs releases."""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from skrkit.sandbox import chance, keygen
from skrkit.sandbox.certificateparts import key_usage, name_of
from skrkit.sandbox.store import Store

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
MAX_COMMON_NAME = 64  # characters, RFC 5280 appendix A.1; the whole name stands in the SAN, which is what clients read
MAX_CONTEXTS = 256
_BACKDATED = timedelta(hours=1)  # for a client whose clock is a little behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A key and its chain: leaf, issuing authority, root."""

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, x509.Certificate, x509.Certificate]

    def pem(self) -> tuple[bytes, bytes]:
        """Return the chain without its root, and the private key, as PEM: what a TLS server loads."""
        served = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain[:2])
        return served, self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class TlsAuthority:
    """A root and an issuing authority, made once per sandbox and kept in its store. Trusted by nobody else.

    `now` is this computer's clock, whatever the sandbox's says.
    """

    def __init__(self, store: Store, now: Callable[[], datetime], *, name: str = "skrkit sandbox") -> None:
        self._now = now
        self._name = name
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        document = store.get("tls", "authority")
        if document is None:
            document = self._make()
            store.put("tls", "authority", document)
        self.root = x509.load_pem_x509_certificate(document["root"].encode())
        self.issuing = x509.load_pem_x509_certificate(document["issuing"].encode())
        self._key = _loaded(document["issuing_key"])

    @property
    def root_pem(self) -> bytes:
        """The root as PEM: the file that clients are pointed at."""
        return self.root.public_bytes(Encoding.PEM)

    def _make(self) -> dict[str, str]:
        root_key, issuing_key = (keygen.ec_key(f"tls/{which}", ec.SECP256R1()) for which in ("root", "issuing"))
        root_name, issuing_name = name_of(f"{self._name} root"), name_of(f"{self._name} issuing CA")
        valid = chance.SPAN if chance.has_clock() else _days_from(self._now(), AUTHORITY_DAYS)
        root = _signed(root_name, root_key, root_name, root_key, valid, ca=1)
        issuing = _signed(issuing_name, issuing_key, root_name, root_key, valid, ca=0)
        return {
            "root": root.public_bytes(Encoding.PEM).decode("ascii"),
            "issuing": issuing.public_bytes(Encoding.PEM).decode("ascii"),
            "issuing_key": _pem(issuing_key),
        }

    def issue(
        self,
        common_name: str,
        names: Sequence[str],
        *,
        key: PrivateKey | None = None,
        days: int = LEAF_DAYS,
        now: datetime | None = None,
    ) -> Issued:
        """Return a server certificate for DNS `names`, with its chain. `key` is a fresh P-256 one unless given.

        It begins at `now`, which for TLS is this computer's time: a client's TLS knows no other clock.
        """
        key = key or keygen.ec_key(f"tls/{common_name}", ec.SECP256R1())
        valid = _days_from(now or self._now(), days)
        leaf = _signed(name_of(common_name[:MAX_COMMON_NAME]), key, self.issuing.subject, self._key, valid, names=names)
        return Issued(key=key, chain=(leaf, self.issuing, self.root))

    def server_context(self, host: str) -> ssl.SSLContext:
        """Return the TLS server context for one host name; the same one each time, of the last 256 hosts asked for."""
        with self._lock:
            context = self._contexts.pop(host, None) or _context(self.issue(host, [host]))
            self._contexts[host] = context  # as the newest
            if len(self._contexts) > MAX_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            return context


def _days_from(now: datetime, days: int) -> tuple[datetime, datetime]:
    return now - _BACKDATED, now + timedelta(days=days)


def _signed(
    subject: x509.Name,
    key: PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    valid: tuple[datetime, datetime],
    *,
    ca: int | None = None,
    names: Sequence[str] = (),
) -> x509.Certificate:
    identifier = x509.SubjectKeyIdentifier.from_public_key
    usage = key_usage(signs=True) if ca is None else key_usage(certificates=True, crls=True)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(keygen.serial_number(f"tls/{subject.rfc4514_string()}/serial"))
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=ca is not None, path_length=ca), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier(issuer_key.public_key())),
            critical=False,
        )
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return keygen.signed(builder, issuer_key, hashes.SHA256())


def _pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _loaded(pem: str) -> PrivateKey:
    key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return key


def _context(issued: Issued) -> ssl.SSLContext:
    """Return a server context. `ssl` loads keys from files only: they lie in a private folder for that moment."""
    chain, key = issued.pem()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "chain.pem").write_bytes(chain)
        (Path(folder) / "key.pem").write_bytes(key)
        context.load_cert_chain(Path(folder) / "chain.pem", Path(folder) / "key.pem")
    return context
