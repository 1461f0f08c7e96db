"""Every file of the captures, by hand: what it is, or the words that refuse it. A new file without a row fails."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from pathlib import Path

import pytest

from skrkit.errors import ParseError, SkrkitError
from skrkit.inspect.recognise import Recognised, recognise

# File: its kind, or, after an exclamation mark, words of the refusal.
EXPECTED = {
    "README.md": "!bytes of text that begin '# Captures'",
    "aci-snp-milan-v2/README.md": "!bytes of text that begin '# aci-snp-milan-'",
    "aci-snp-milan-v2/expected.json": "!a JSON object with 'input'",
    "aci-snp-milan-v2/report.bin": "snp-report",
    "aci-snp-milan-v2/security-policy.base64": "!bytes of text that begin 'package policy'",
    "aci-snp-milan-v2/thim.json": "thim",
    "aci-snp-milan-v2/uvm-reference-info.cose": "!a COSE_Sign1 message (CBOR tag 18)",
    "aci-snp-milan-v2/vcek-chain.pem": "certificates",
    "amd-roots/README.md": "!bytes of text that begin '# amd-roots'",
    "amd-roots/genoa.pem": "certificates",
    "amd-roots/genoa_vlek.pem": "certificates",
    "amd-roots/milan.pem": "certificates",
    "amd-roots/milan_vlek.pem": "certificates",
    "amd-roots/turin.pem": "certificates",
    "amd-roots/turin_vlek.pem": "certificates",
    "azure-snp-hcl-vcek-mismatch/README.md": "!bytes of text",
    "azure-snp-hcl-vcek-mismatch/expected.json": "!a JSON object with 'input'",
    "azure-snp-hcl-vcek-mismatch/hcl-report.bin": "hcl-report",
    "azure-snp-hcl-vcek-mismatch/vcek-chain.pem": "certificates",
    "azure-snp-milan-v2/README.md": "!bytes of text",
    "azure-snp-milan-v2/expected.json": "!a JSON object with 'input'",
    "azure-snp-milan-v2/hcl-report.bin": "hcl-report",
    "azure-snp-milan-v2/pcrs-sha256.json": "pcrs",
    "azure-snp-milan-v2/quote-msg.bin": "tpms-attest",
    "azure-snp-milan-v2/quote-sig.bin": "!the size of a raw RSA-2048 signature",
    "azure-snp-milan-v2/vcek-chain.pem": "certificates",
    "azure-snp-milan-v3/README.md": "!bytes of text",
    "azure-snp-milan-v3/expected.json": "!a JSON object with 'input'",
    "azure-snp-milan-v3/hcl-report.bin": "hcl-report",
    "azure-snp-milan-v3/pcrs-sha256.json": "pcrs",
    "azure-snp-milan-v3/quote-msg.bin": "tpms-attest",
    "azure-snp-milan-v3/quote-sig.bin": "!the size of a raw RSA-2048 signature",
    "azure-snp-milan-v3/vcek.der": "vek-certificate",
    "azure-tdx-hcl/README.md": "!bytes of text",
    "azure-tdx-hcl/expected.json": "!a JSON object with 'input'",
    "azure-tdx-hcl/hcl-report.bin": "hcl-report",
    "azure-trusted-launch-vtpm/README.md": "!bytes of text",
    "azure-trusted-launch-vtpm/ak.pem": "public-key",
    "azure-trusted-launch-vtpm/akcert.der": "certificate",
    "azure-trusted-launch-vtpm/nonce.hex": "!the size of a SHA-256 digest, a PCR or a nonce",
    "azure-trusted-launch-vtpm/pcrs.bin": "!668 bytes that begin 01000000",
    "azure-trusted-launch-vtpm/quote-msg.bin": "tpms-attest",
    "azure-trusted-launch-vtpm/quote-sig.bin": "!the size of a raw RSA-2048 signature",
    "azure-vtpm-quote/README.md": "!bytes of text",
    "azure-vtpm-quote/ak.pem": "public-key",
    "azure-vtpm-quote/pcrs-sha256.json": "pcrs",
    "azure-vtpm-quote/quote-msg.bin": "tpms-attest",
    "azure-vtpm-quote/quote-sig.bin": "!the size of a raw RSA-2048 signature",
    "azure-vtpm-quote/runtime-claims-other-vm.json": "runtime-claims",
    "gce-snp-eventlog/README.md": "!bytes of text",
    "gce-snp-eventlog/eventlog.bin": "tcg-event-log",
    "maa-token-and-akv-release/README.md": "!bytes of text",
    "maa-token-and-akv-release/maa-jwks.json": "jwks",
    "maa-token-and-akv-release/maa-token.jwt": "jwt",
    "maa-token-and-akv-release/release-response.json": "release-response",
    "snp-genoa-v3-model-a0/README.md": "!bytes of text",
    "snp-genoa-v3-model-a0/expected.json": "!a JSON object with 'input'",
    "snp-genoa-v3-model-a0/report.bin": "snp-report",
    "snp-genoa-v3-model-a0/vcek.der": "vek-certificate",
    "snp-genoa-v5/README.md": "!bytes of text",
    "snp-genoa-v5/expected.json": "!a JSON object with 'input'",
    "snp-genoa-v5/report.bin": "snp-report",
    "snp-genoa-v5/vcek-chain.pem": "certificates",
    "snp-milan-v2-baremetal/README.md": "!bytes of text",
    "snp-milan-v2-baremetal/expected.json": "!a JSON object with 'input'",
    "snp-milan-v2-baremetal/report.hex": "snp-report",
    "snp-milan-v2-baremetal/vcek.der": "vek-certificate",
    "snp-milan-v2-debug/README.md": "!bytes of text",
    "snp-milan-v2-debug/expected.json": "!a JSON object with 'input'",
    "snp-milan-v2-debug/report.bin": "snp-report",
    "snp-milan-v2-debug/vcek.der": "vek-certificate",
    "snp-vlek-milan-v3/README.md": "!bytes of text",
    "snp-vlek-milan-v3/expected.json": "!a JSON object with 'input'",
    "snp-vlek-milan-v3/report.bin": "snp-report",
    "snp-vlek-milan-v3/vlek.der": "vek-certificate",
    "turin-vcek-only/README.md": "!bytes of text",
    "turin-vcek-only/vcek.der": "vek-certificate",
}
KNOWN = {name: kind for name, kind in EXPECTED.items() if not kind.startswith("!")}
REFUSED = {name: kind[1:] for name, kind in EXPECTED.items() if kind.startswith("!")}


def test_every_file_has_its_row(captures: Path) -> None:
    present = {str(path.relative_to(captures)) for path in captures.rglob("*") if path.is_file()}
    assert present == set(EXPECTED)


@pytest.mark.parametrize("name", KNOWN)
def test_a_capture_is_recognised_for_what_it_is(captures: Path, name: str) -> None:
    recognised = recognise((captures / name).read_bytes())
    assert recognised.described.kind == KNOWN[name]
    assert recognised.path == (("hex",) if name.endswith(".hex") else ())
    json.dumps(recognised.described.fields())
    end = 0
    for span in recognised.described.spans():
        assert span.offset >= 0
        end = max(end, span.offset + span.size)
    assert end <= len(recognised.described.raw)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_artefact_is_refused_in_words(captures: Path, name: str) -> None:
    with pytest.raises(ParseError) as caught:
        recognise((captures / name).read_bytes())
    assert REFUSED[name] in caught.value.found
    assert caught.value.what == "kind of artefact"
    assert "--as" in caught.value.fix


BINARY = [name for name, kind in KNOWN.items() if name.endswith((".bin", ".der"))]


@pytest.mark.parametrize("name", BINARY)
def test_each_encoding_and_two_of_them_lead_to_the_same_bytes(captures: Path, name: str) -> None:
    data = (captures / name).read_bytes()
    encoded = {
        ("hex",): data.hex().encode(),
        ("base64",): base64.b64encode(data),
        ("base64", "hex"): base64.b64encode(data.hex().encode()),
        ("json string", "base64"): json.dumps(base64.b64encode(data).decode()).encode(),
        ("json /token", "hex"): json.dumps({"token": data.hex(), "more": 1}).encode(),
        ("utf-16", "hex"): data.hex().upper().encode("utf-16"),
        ("utf-8 with byte order mark", "hex"): b"\xef\xbb\xbf" + data.hex().encode() + b"\r\n",
    }
    for path, text in encoded.items():
        recognised = recognise(text)
        assert (recognised.described.kind, recognised.path) == (KNOWN[name], path)
        assert recognised.described.raw == data
    wrapped = b"\n".join(encoded["base64",][at : at + 64] for at in range(0, len(encoded["base64",]), 64)) + b"\n"
    assert recognise(wrapped).described.raw == data
    url = recognise(base64.urlsafe_b64encode(data).rstrip(b"="))
    assert (url.described.raw, url.path[0]) == (data, url.path[0])
    assert url.path in (("base64url",), ("base64",))  # base64 where neither - nor _ occurs


@pytest.mark.parametrize("name", [name for name, kind in KNOWN.items() if kind == "tpms-attest"])
def test_a_tpm2b_is_opened(captures: Path, name: str) -> None:
    data = (captures / name).read_bytes()
    recognised = recognise(base64.b64encode(len(data).to_bytes(2, "big") + data))
    assert (recognised.path, recognised.described.raw) == (("base64", "tpm2b"), data)


def test_a_certificate_is_found_in_the_padding_of_its_nv_index(captures: Path) -> None:
    data = (captures / "azure-trusted-launch-vtpm/akcert.der").read_bytes()
    recognised = recognise(data.ljust(4096, b"\0"))
    assert (recognised.path, recognised.described.raw) == (("zero padding",), data)


@pytest.mark.parametrize("name", KNOWN)
def test_a_damaged_capture_ends_in_words(captures: Path, name: str) -> None:
    data = (captures / name).read_bytes()
    chance = random.Random(name)
    for _ in range(12):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        cut = bytes(damaged[: chance.choice((len(data), chance.randrange(1, len(data))))])
        with contextlib.suppress(*SkrkitError.__subclasses__()):
            recognised = recognise(cut)
            json.dumps(recognised.described.fields())
            recognised.described.spans()


def nested(recognised: Recognised) -> dict[str, str]:
    return {
        at: inner.described.kind if isinstance(inner, Recognised) else inner.found for at, inner in recognised.nested
    }


def test_a_thim_answer_shows_its_certificates(captures: Path) -> None:
    recognised = recognise((captures / "aci-snp-milan-v2/thim.json").read_bytes())
    assert nested(recognised) == {"/vcekCert": "vek-certificate", "/certificateChain": "certificates"}
    expected = json.loads((captures / "aci-snp-milan-v2/expected.json").read_bytes())
    certificate = recognised.nested[0][1]
    assert isinstance(certificate, Recognised)
    assert certificate.described.fields()["der_sha256"] == expected["certificates"]["vek"]["der_sha256"]


def test_a_chain_shows_its_chip_certificate(captures: Path) -> None:
    recognised = recognise((captures / "azure-snp-milan-v2/vcek-chain.pem").read_bytes())
    assert nested(recognised) == {"/certificates/0": "vek-certificate"}
    assert recognised.described.fields()["each_names_next_as_issuer"] is True


@pytest.mark.parametrize(("name", "inside"), [("azure-snp-milan-v3", "snp-report"), ("azure-tdx-hcl", "td-report")])
def test_an_hcl_report_shows_the_report_inside(captures: Path, name: str, inside: str) -> None:
    assert nested(recognise((captures / name / "hcl-report.bin").read_bytes())) == {"/hardware_report": inside}


def test_a_release_shows_the_wrapped_key_and_the_policy(captures: Path) -> None:
    data = (captures / "maa-token-and-akv-release/release-response.json").read_bytes()
    recognised = recognise(data)
    assert nested(recognised) == {"/release_policy/data": "release-policy"}
    key = recognised.described.fields()["key"]
    assert isinstance(key, dict)
    key_hsm = key["key_hsm"]
    assert isinstance(key_hsm, dict)
    assert key_hsm["header"] == {"kid": "TpmEphemeralEncryptionKey", "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}


def test_a_key_hsm_and_a_release_are_known_on_their_own(captures: Path) -> None:
    data = (captures / "maa-token-and-akv-release/release-response.json").read_bytes()
    payload = json.loads(base64.urlsafe_b64decode(json.loads(data)["value"].split(".")[1] + "=="))
    recognised = recognise(payload["response"]["key"]["key"]["key_hsm"].encode())
    assert (recognised.described.kind, recognised.path) == ("key-hsm", ("base64",))
    policy = recognise(payload["response"]["key"]["release_policy"]["data"].encode())
    assert (policy.described.kind, policy.path) == ("release-policy", ("base64",))
    bundle = recognise(json.dumps(payload["response"]["key"]).encode())
    assert (bundle.described.kind, bundle.path) == ("release-policy", ("json /release_policy/data", "base64"))
    bare = json.loads(data)["value"].encode()
    assert recognise(bare + b"\n").described.kind == "release-response"
    assert recognise(bare + b"\n").path == ()


def test_a_token_inside_an_answer_is_a_token(captures: Path) -> None:
    text = (captures / "maa-token-and-akv-release/maa-token.jwt").read_text().strip()
    for member in ("token", "access_token"):
        recognised = recognise(json.dumps({"x": 1, member: text}).encode())
        assert (recognised.described.kind, recognised.path) == ("jwt", (f"json /{member}",))


CERTIFICATES = [
    ("amd-roots/milan.pem", 0, "SEV-Milan", "10001", "RSA-4096"),
    ("amd-roots/milan.pem", 1, "ARK-Milan", "10000", "RSA-4096"),
]


@pytest.mark.parametrize(("name", "index", "subject", "serial", "key"), CERTIFICATES)
def test_certificates_say_what_the_captures_say(
    captures: Path, name: str, index: int, subject: str, serial: str, key: str
) -> None:
    certificates = recognise((captures / name).read_bytes()).described.fields()["certificates"]
    assert isinstance(certificates, list)
    shown = certificates[index]
    assert isinstance(shown, dict)
    assert str(shown["subject"]).startswith(f"CN={subject},")
    assert (shown["serial"], shown["key"], shown["ca"]) == (serial, key, True)
    assert f"{shown['der_sha256']}" in (captures / "amd-roots/README.md").read_text()


def test_an_ak_certificate_says_what_it_is_for(captures: Path) -> None:
    shown = recognise((captures / "azure-trusted-launch-vtpm/akcert.der").read_bytes()).described.fields()
    assert shown["eku"] == ["1.3.6.1.4.1.311.10.3.12", "tcg-kp-AIKCertificate"]
    assert shown["der_sha256"] == "1434c62f6bff108fbcde2af25bd1e9972f267fa37c8106285b4e136ab8f11962"
    assert shown["issuer"] == "CN=Global Virtual TPM CA - 03"
