"""The sandbox's AMD: a root, an intermediate and chips with keys, kept in the store. It stands in for the factory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from skrkit.sandbox import chance, chipcerts, keygen
from skrkit.sandbox.snpreport import TCB, SnpFields, build_snp_report
from skrkit.sandbox.store import Document, Store

if TYPE_CHECKING:
    from skrkit.endorsements.roots import TrustRoots

KIND = "silicon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """The two certificate authorities of one product line, with their keys."""

    ark_key: rsa.RSAPrivateKey = field(repr=False)
    ask_key: rsa.RSAPrivateKey = field(repr=False)
    ark: x509.Certificate
    ask: x509.Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One processor: its id (64 bytes), the TCB that its key stands for (8 bytes), the key and its certificate."""

    chip_id: bytes
    tcb: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    vcek: x509.Certificate

    @property
    def vcek_pem(self) -> bytes:
        """The VCEK certificate as PEM."""
        return self.vcek.public_bytes(Encoding.PEM)


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Return a key as PKCS#8 PEM text, unencrypted: how the sandbox keeps its own keys in its own store."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def rsa_key(pem: str) -> rsa.RSAPrivateKey:
    """Return an RSA key from the store. The check of its primes (27 ms) is skipped: the sandbox wrote it itself."""
    key = load_pem_private_key(pem.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def ec_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Return an elliptic-curve key from the store."""
    key = load_pem_private_key(pem.encode("ascii"), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def certificate_text(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM text."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def certificate_from(text: str) -> x509.Certificate:
    """Return a certificate from PEM text."""
    return x509.load_pem_x509_certificate(text.encode("ascii"))


class Silicon:
    """The sandbox's AMD. Its two RSA-4096 keys take 0.25 to 0.7 s each, so they are made when first needed.

    `prepare()` makes them ahead of time, from a background thread if the caller likes. Safe from several threads.
    """

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._lock = threading.Lock()
        self._made: Factory | None = None

    def prepare(self) -> None:
        """Make or load the root and the intermediate. Both keys are made at once: keygen does not hold the GIL."""
        self.factory()

    def factory(self) -> Factory:
        """Return the certificate authorities, made on the first call ever and kept in the store."""
        with self._lock:
            if self._made is None:
                document = self._store.get(KIND, "milan")
                if document is None:
                    self._made = self._make_factory()
                    self._store.put(KIND, "milan", _factory_document(self._made))
                else:
                    self._made = _factory_from(document)
            return self._made

    def _make_factory(self) -> Factory:
        with ThreadPoolExecutor(2) as pool:
            ark_key, ask_key = pool.map(lambda which: keygen.rsa_key(f"amd/{which}", 4096), ("ark", "ask"))
        now = self._now()
        ark = chipcerts.ark_certificate(ark_key, now)
        ask = chipcerts.ask_certificate(ask_key.public_key(), ark_key, ark, now)
        return Factory(ark_key=ark_key, ask_key=ask_key, ark=ark, ask=ask)

    def roots(self) -> TrustRoots:
        """Return the sandbox's trust anchor: the SHA-256 of its ARK's public key, for the line Milan."""
        from skrkit.endorsements.roots import TrustRoots

        key = self.factory().ark.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return TrustRoots(name="sandbox", ark={chipcerts.LINE: hashlib.sha256(spki).hexdigest()})

    @property
    def chain_pem(self) -> bytes:
        """ASK then ARK as PEM: what AMD's `cert_chain` and Azure's `certificateChain` hold."""
        factory = self.factory()
        return factory.ask.public_bytes(Encoding.PEM) + factory.ark.public_bytes(Encoding.PEM)

    def crl_der(self) -> bytes:
        """Return the ARK's revocation list as DER; it is empty."""
        factory = self.factory()
        return chipcerts.ark_crl(factory.ark_key, factory.ark, self._now()).public_bytes(Encoding.DER)

    def make_chip(self, *, tcb: bytes = TCB) -> Chip:
        """Return a new chip with a random id and a certified key, kept in the store. `tcb` is its REPORTED_TCB."""
        chip_id = chance.token_bytes("chip/id", 64)
        key = keygen.ec_key("chip/key", ec.SECP384R1())
        vcek = self.certify(key.public_key(), chip_id=chip_id, tcb=tcb)
        document = {"tcb": tcb.hex(), "key": private_pem(key), "vcek": certificate_text(vcek)}
        self._store.put(KIND, f"chip/{chip_id.hex()}", document)
        return Chip(chip_id=chip_id, tcb=tcb, key=key, vcek=vcek)

    def certify(self, key: ec.EllipticCurvePublicKey, *, chip_id: bytes, tcb: bytes) -> x509.Certificate:
        """Return a VCEK certificate for any key, chip and TCB: what a fault needs, and what `make_chip` uses."""
        ask_key = self.factory().ask_key
        return chipcerts.vcek_certificate(key, ask_key, chip_id=chip_id, tcb=tcb, now=self._now())

    def chip(self, chip_id: bytes) -> Chip | None:
        """Return the chip with this id, or None."""
        document = self._store.get(KIND, f"chip/{chip_id.hex()}")
        if document is None:
            return None
        return Chip(
            chip_id=chip_id,
            tcb=bytes.fromhex(document["tcb"]),
            key=ec_key(document["key"]),
            vcek=certificate_from(document["vcek"]),
        )

    def scrap(self, chip_id: bytes) -> None:
        """Forget a chip: its machine is gone."""
        self._store.delete(KIND, f"chip/{chip_id.hex()}")

    def report(self, chip: Chip, *, report_data: bytes, report_id: bytes = bytes(32), **changes: Any) -> bytes:
        """Return a signed SNP report, 1184 bytes, as this chip's firmware would write it.

        `report_data` is 64 bytes, `report_id` 32. `changes` are further fields of `SnpFields`; the signature covers
        them, as it would on a machine that is so configured.
        """
        fields = SnpFields(
            report_data=report_data,
            report_id=report_id,
            chip_id=chip.chip_id,
            current_tcb=chip.tcb,
            reported_tcb=chip.tcb,
            committed_tcb=chip.tcb,
            launch_tcb=chip.tcb,
        )
        return build_snp_report(replace(fields, **changes), chip.key)


def _factory_document(made: Factory) -> Document:
    return {
        "ark_key": private_pem(made.ark_key),
        "ask_key": private_pem(made.ask_key),
        "ark": certificate_text(made.ark),
        "ask": certificate_text(made.ask),
    }


def _factory_from(document: Document) -> Factory:
    return Factory(
        ark_key=rsa_key(document["ark_key"]),
        ask_key=rsa_key(document["ask_key"]),
        ark=certificate_from(document["ark"]),
        ask=certificate_from(document["ask"]),
    )
