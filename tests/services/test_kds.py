"""AMD's key service: the addresses, the cache, the pause, and words for each way it does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from skrkit.errors import ServiceError
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.evidence.snp import SnpReport, parse_snp_report
from skrkit.evidence.tcb import Product
from skrkit.services import kds
from skrkit.services.kds import KeyService, vcek_url
from tests.attestation.captured import report_of


@dataclass
class Amd:
    """Answers by URL, and counts what it is asked. A URL without an answer is a status."""

    answers: dict[str, bytes] = field(default_factory=dict)
    status: int = 404
    asked: list[str] = field(default_factory=list)

    def get(self, url: str) -> bytes:
        self.asked.append(url)
        if url in self.answers:
            return self.answers[url]
        raise kds._status_error(url, self.status)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def azure_report(captures: Path) -> SnpReport:
    return parse_hcl_report((captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes()).snp()


def service(tmp_path: Path, amd: Amd, clock: Clock | None = None) -> KeyService:
    return KeyService(cache=tmp_path / "kds", get=amd.get, clock=clock or Clock())


def test_address_of_a_vcek(captures: Path) -> None:
    report = azure_report(captures)
    assert vcek_url(report, Product.MILAN) == (
        f"https://kdsintf.amd.com/vcek/v1/Milan/{report.chip_id.hex()}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"
    )


def test_address_on_turin_has_a_short_chip_and_fmc(captures: Path) -> None:
    data = bytearray(report_of(captures, "snp-genoa-v5"))
    data[0x188:0x18A] = b"\x1a\x02"
    data[0x180:0x188] = bytes([1, 2, 3, 4, 0, 0, 0, 9])
    report = parse_snp_report(bytes(data))
    assert vcek_url(report, Product.TURIN) == (
        f"https://kdsintf.amd.com/vcek/v1/Turin/{report.chip_id[:8].hex()}"
        "?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=09"
    )


def test_answers_are_kept(captures: Path, tmp_path: Path) -> None:
    report = azure_report(captures)
    vcek = (captures / "azure-snp-milan-v3" / "vcek.der").read_bytes()
    amd = Amd({vcek_url(report, Product.MILAN): vcek})
    assert service(tmp_path, amd).fetch_vcek(report) == vcek
    assert service(tmp_path, amd).fetch_vcek(report) == vcek
    assert len(amd.asked) == 1
    kept = list((tmp_path / "kds").glob("*.der"))
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o077 == 0


def test_spoiled_cache_is_fetched_anew(captures: Path, tmp_path: Path) -> None:
    chain = (captures / "amd-roots" / "milan.pem").read_bytes()
    amd = Amd({"https://kdsintf.amd.com/vcek/v1/Milan/cert_chain": chain})
    assert service(tmp_path, amd).fetch_chain(Product.MILAN) == chain
    next((tmp_path / "kds").glob("*.pem")).write_bytes(b"spoiled")
    assert service(tmp_path, amd).fetch_chain(Product.MILAN) == chain
    assert len(amd.asked) == 2


def test_chain_of_a_vlek(captures: Path, tmp_path: Path) -> None:
    chain = (captures / "amd-roots" / "genoa_vlek.pem").read_bytes()
    amd = Amd({"https://kdsintf.amd.com/vlek/v1/Genoa/cert_chain": chain})
    assert service(tmp_path, amd).fetch_chain(Product.GENOA, signer="VLEK") == chain


def test_failed_request_is_not_repeated_at_once(captures: Path, tmp_path: Path) -> None:
    amd, clock, report = Amd(status=429), Clock(), azure_report(captures)
    with pytest.raises(ServiceError) as caught:
        service(tmp_path, amd, clock).fetch_vcek(report)
    assert caught.value.status == 429
    assert "Wait 10 s" in caught.value.fix
    clock.now += 4
    with pytest.raises(ServiceError) as caught:
        service(tmp_path, amd, clock).fetch_vcek(report)
    assert (caught.value.expected, caught.value.found) == (
        "no equal request in the last 10 s",
        "one that failed 4 s ago",
    )
    assert "Wait 6 s" in caught.value.fix
    assert len(amd.asked) == 1
    clock.now += 6
    with pytest.raises(ServiceError):
        service(tmp_path, amd, clock).fetch_vcek(report)
    assert len(amd.asked) == 2


def test_version_2_asks_milan_then_genoa(captures: Path, tmp_path: Path) -> None:
    report = parse_snp_report(report_of(captures, "snp-milan-v2-baremetal"))
    genoa = vcek_url(report, Product.GENOA)
    vcek = (captures / "snp-milan-v2-baremetal" / "vcek.der").read_bytes()
    amd = Amd({genoa: vcek})
    assert service(tmp_path, amd).fetch_vcek(report) == vcek
    assert amd.asked == [vcek_url(report, Product.MILAN), genoa]


def test_version_2_stops_at_any_answer_but_not_found(captures: Path, tmp_path: Path) -> None:
    amd = Amd(status=500)
    with pytest.raises(ServiceError):
        service(tmp_path, amd).fetch_vcek(parse_snp_report(report_of(captures, "snp-milan-v2-baremetal")))
    assert len(amd.asked) == 1


def test_vlek_report_is_not_asked_for(captures: Path, tmp_path: Path) -> None:
    amd = Amd()
    with pytest.raises(ServiceError) as caught:
        service(tmp_path, amd).fetch_vcek(parse_snp_report(report_of(captures, "snp-vlek-milan-v3")))
    assert caught.value.found == "a report signed with a VLEK"
    assert not amd.asked


def test_masked_chip_is_not_asked_for(captures: Path, tmp_path: Path) -> None:
    data = bytearray(report_of(captures, "snp-genoa-v5"))
    data[0x1A0:0x1E0] = bytes(64)
    with pytest.raises(ServiceError) as caught:
        service(tmp_path, Amd()).fetch_vcek(parse_snp_report(bytes(data)))
    assert caught.value.found == "a masked chip id"


def test_answer_that_is_no_certificate(captures: Path, tmp_path: Path) -> None:
    report = azure_report(captures)
    amd = Amd({vcek_url(report, Product.MILAN): b"<html>maintenance</html>"})
    with pytest.raises(ServiceError) as caught:
        service(tmp_path, amd).fetch_vcek(report)
    assert (caught.value.expected, caught.value.found) == ("certificates", "24 bytes that are none")
    assert not list((tmp_path / "kds").glob("*.der"))


def test_cache_that_cannot_be_written_is_done_without(captures: Path, tmp_path: Path) -> None:
    (tmp_path / "kds").write_text("a file where the folder should be")
    chain = (captures / "amd-roots" / "milan.pem").read_bytes()
    amd = Amd({"https://kdsintf.amd.com/vcek/v1/Milan/cert_chain": chain})
    assert service(tmp_path, amd).fetch_chain(Product.MILAN) == chain


def test_what_others_vouch_for_is_kept_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sandbox answers in AMD's name, and TLS trusts it for as long as SSL_CERT_FILE says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    folders = [kds.cache_directory()]
    for name in ("one", "other"):
        (tmp_path / name).write_text(name, encoding="ascii")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        folders.append(kds.cache_directory())
    assert len(set(folders)) == 3
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one"))
    assert kds.cache_directory() == folders[1]


def test_cache_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kds.cache_directory() == tmp_path / "skrkit" / "kds"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kds.cache_directory() == tmp_path / ".cache" / "skrkit" / "kds"


@pytest.mark.parametrize("url", ["http://kdsintf.amd.com/", "https://kdsintf.amd.com.example/", "https://example.org/"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ServiceError) as caught:
        kds.http_get(url)
    assert caught.value.expected == "an address under https://kdsintf.amd.com"


def test_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that nobody listens at: nothing leaves this machine."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ServiceError) as caught:
        kds.http_get(kds.BASE + "/vcek/v1/Milan/cert_chain")
    assert caught.value.found.startswith("unreachable: ")
    assert "--vcek and --chain" in caught.value.fix


class Untrusted(BaseHTTPRequestHandler):
    """A proxy that tunnels to nothing: it says yes to CONNECT and then talks no TLS."""

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"this is not TLS")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def plain_proxy() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Untrusted)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_not_tls_is_refused(monkeypatch: pytest.MonkeyPatch, plain_proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", plain_proxy)
    with pytest.raises(ServiceError) as caught:
        kds.http_get(kds.BASE + "/vcek/v1/Milan/cert_chain")
    assert "unreachable" in caught.value.found
