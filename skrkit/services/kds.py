"""AMD's key service (KDS): the certificate chain of a product line and the VCEK of a chip. Cached on disk.

Only https to kdsintf.amd.com, TLS always verified, no redirect followed. The service throttles equal requests for some
ten seconds. So an answer is kept: a VCEK of one chip and TCB stays good, and is verified on every use. A request that
failed is not repeated at once. Source: AMD 57230, KDS interface.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from skrkit.errors import ParseError, ServiceError
from skrkit.evidence.snp import TURIN_CHIP_ID_BYTES, SnpReport
from skrkit.evidence.tcb import Product

HOST = "kdsintf.amd.com"
BASE = f"https://{HOST}"
TIMEOUT_S = 20
MAX_ANSWER_BYTES = 1 << 16  # a chain is 4700 bytes, a VCEK 1360
MAX_BUNDLE_BYTES = 4 << 20  # a system's trusted certificates are some 200 kB
PAUSE_S = 10  # how long KDS refuses an equal request (go-sev-guest observed it)
_SPL = {"fmc": "fmcSPL", "bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}
NOT_FOUND, THROTTLED = 404, 429


def cache_directory() -> Path:
    """Return the folder that answers are kept in: $XDG_CACHE_HOME/skrkit/kds, ~/.cache/skrkit/kds by default.

    Where SSL_CERT_FILE says whom TLS trusts, it is one for these certificates alone: what a sandbox answers in AMD's
    name is no answer of AMD's.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    folder = root / "skrkit" / "kds"
    trusted = os.environ.get("SSL_CERT_FILE", "")
    return folder / hashlib.sha256(_read(Path(trusted), MAX_BUNDLE_BYTES) or b"").hexdigest() if trusted else folder


def http_get(url: str) -> bytes:
    """Return the body of an answer with status 200. Raises `ServiceError` for anything else.

    The proxy and the certificate file of the environment are honoured (HTTPS_PROXY, SSL_CERT_FILE).
    """
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """Leave a redirect as the error that it is here."""

        def redirect_request(self, *_: object, **__: object) -> None:
            return None

    if not url.startswith(BASE + "/"):
        raise _refuse(
            url, f"an address under {BASE}", "another address", "This client talks to AMD's key service only."
        )
    try:
        with build_opener(NoRedirect).open(url, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read(MAX_ANSWER_BYTES + 1)
    except HTTPError as refused:
        with refused:
            raise _status_error(url, refused.code) from None
    except (URLError, HTTPException, OSError) as cause:
        reason = str(getattr(cause, "reason", cause))
        fix = (
            "Pass the certificates as files: --vcek and --chain. Azure's THIM endpoint has them inside the VM; "
            "elsewhere, check the connection to AMD's key service."
        )
        raise _refuse(url, "an answer", f"unreachable: {reason}", fix) from None
    if len(body) > MAX_ANSWER_BYTES:
        raise _refuse(url, f"at most {MAX_ANSWER_BYTES} bytes", "more", "This is not what AMD's key service answers.")
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyService:
    """A client of AMD's key service with its cache. `get` fetches a URL; `clock` gives seconds, for the pause."""

    cache: Path = field(default_factory=cache_directory)
    get: Callable[[str], bytes] = http_get
    clock: Callable[[], float] = time.time

    def fetch_chain(self, product: Product, *, signer: str = "VCEK") -> bytes:
        """Return the intermediate and the root of a product line as PEM: ASK, or ASVK for "VLEK", then ARK.

        Raises `ServiceError`: unreachable, throttled, or an answer that is not certificates.
        """
        return self._fetch(f"{BASE}/{signer.lower()}/v1/{product.value}/cert_chain", suffix=".pem")

    def fetch_vcek(self, report: SnpReport) -> bytes:
        """Return the VCEK of the report's chip and REPORTED_TCB, as DER.

        A version 2 report does not say whether it is of Milan or of Genoa: both are asked for then.
        Raises `ServiceError`: a VLEK report or a masked chip id (AMD has no certificate to give), an unknown product
        line, unreachable, throttled, or no such certificate.
        """
        _require_vcek(report)
        lines = (report.product,) if report.product is not None else (Product.MILAN, Product.GENOA)
        for product in lines[:-1]:
            try:
                return self._fetch(vcek_url(report, product), suffix=".der")
            except ServiceError as error:
                if error.status != NOT_FOUND:
                    raise
        return self._fetch(vcek_url(report, lines[-1]), suffix=".der")

    def _fetch(self, url: str, *, suffix: str) -> bytes:
        name = hashlib.sha256(url.encode()).hexdigest()
        kept, stamp = self.cache / f"{name}{suffix}", self.cache / f"{name}.failed"
        cached = _read(kept)
        if cached is not None and _is_certificates(cached):
            return cached
        self._pause(url, stamp)
        try:
            body = self.get(url)
        except ServiceError:
            _write(stamp, str(self.clock()).encode())
            raise
        if not _is_certificates(body):
            _write(stamp, str(self.clock()).encode())
            raise _refuse(url, "certificates", f"{len(body)} bytes that are none", "Try again later.")
        _write(kept, body)
        return body

    def _pause(self, url: str, stamp: Path) -> None:
        try:
            since = self.clock() - float(_read(stamp) or b"-inf")
        except ValueError:
            return
        if 0 <= since < PAUSE_S:
            found = f"one that failed {since:.0f} s ago"
            fix = f"Wait {PAUSE_S - since:.0f} s: AMD's key service throttles equal requests."
            raise _refuse(url, f"no equal request in the last {PAUSE_S} s", found, fix)


def fetch_chain(product: Product, *, signer: str = "VCEK") -> bytes:
    """Return a product line's chain from the cache or from AMD; see `KeyService.fetch_chain`."""
    return KeyService().fetch_chain(product, signer=signer)


def fetch_vcek(report: SnpReport) -> bytes:
    """Return the report's VCEK from the cache or from AMD; see `KeyService.fetch_vcek`."""
    return KeyService().fetch_vcek(report)


def vcek_url(report: SnpReport, product: Product) -> str:
    """Return the address of a VCEK: the chip in hex (8 bytes on Turin) and each level of REPORTED_TCB in decimal."""
    identified = report if report.product is product else report.identified(product, "asked for")
    chip = report.chip_id[:TURIN_CHIP_ID_BYTES] if product is Product.TURIN else report.chip_id
    levels = identified.tcb("reported_tcb").components
    query = "&".join(f"{_SPL[name]}={level:02d}" for name, level in levels.items())
    return f"{BASE}/vcek/v1/{product.value}/{chip.hex()}?{query}"


def _require_vcek(report: SnpReport) -> None:
    if report.signing_key == "VLEK":
        found, fix = "a report signed with a VLEK", "Only the cloud can give out its VLEK: pass it with --vcek."
    elif report.is_chip_masked:
        found, fix = "a masked chip id", "The host hides the chip: pass the VCEK that the cloud gives out with --vcek."
    elif report.cpuid is not None and report.product is None:
        found, fix = (
            "a processor of an unknown line",
            "Update skrkit, or pass the certificates with --vcek and --chain.",
        )
    else:
        return
    raise _refuse(f"{BASE}/vcek/v1/", "a report whose VCEK AMD can look up", found, fix)


def _is_certificates(data: bytes) -> bool:
    from skrkit.endorsements.certificate import parse_amd_certificates

    try:
        parse_amd_certificates(data)
    except ParseError:
        return False
    return True


def _read(path: Path, limit: int = MAX_ANSWER_BYTES) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError:
        return None


def _write(path: Path, data: bytes) -> None:
    """Write a file of the cache in one piece, for this user only. A cache that cannot be written is done without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        return


def _status_error(url: str, status: int) -> ServiceError:
    fix = "Try again later, or pass the certificates as files: --vcek and --chain."
    if status == NOT_FOUND:
        fix = "AMD has no certificate for this chip, TCB and product line: check that the report is not a test one."
    elif status == THROTTLED:
        fix = f"Wait {PAUSE_S} s: AMD's key service throttles equal requests."
    return _refuse(url, "status 200", f"status {status}", fix, status=status)


def _refuse(url: str, expected: str, found: str, fix: str, *, status: int = 0) -> ServiceError:
    return ServiceError(
        what="AMD key service",
        where=f"GET {url}",
        expected=expected,
        found=found,
        fix=fix,
        source="AMD 57230",
        status=status,
    )
