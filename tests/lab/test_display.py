"""What a notebook shows: text and HTML for everything there is, no secret, and no widget where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skrkit.artefact import Artefact
from skrkit.attestation.result import AttestationResult, StepResult
from skrkit.errors import ServiceError, UsageError
from skrkit.evidence.snp import parse_snp_report
from skrkit.lab.display import HIDDEN, Display, show
from skrkit.policy.evaluate import evaluate
from skrkit.policy.parse import parse_policy
from skrkit.release.unwrap import ReleasedKey
from tests.render.test_html import Checked

POLICY = (
    '{"version":"1.0.0","anyOf":[{"authority":"https://a.attest.azure.net","allOf":[{"claim":"x","equals":"<y>"}]}]}'
)
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.c2lnbmF0dXJl"


def words(display: Display) -> str:
    return Checked(display._repr_html_()).words


def test_a_parsed_model(captures: Path) -> None:
    report = parse_snp_report((captures / "aci-snp-milan-v2" / "report.bin").read_bytes())
    shown = show(report)
    for said in (words(shown), repr(shown)):
        assert report.chip_id.hex()[:64] in said
        assert "snp-report" in said


def test_a_verification_says_each_step() -> None:
    steps = (StepResult("a.b", "ok"), StepResult("c.d", "failed", "saw <x>"), StepResult("e.f", "not-checked", "none"))
    shown = show(AttestationResult(steps=steps, verdict="failed", report=None, root="AMD"))
    assert "root: AMD" in words(shown)
    for said in ("✓ ok", "✗ failed", "– not checked", "saw <x>"):
        assert said in words(shown)
        assert said in repr(shown)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_decision_says_each_clause(as_json: bool) -> None:
    decision = evaluate(parse_policy(POLICY), {"iss": "https://a.attest.azure.net", "x": "z"})
    said = words(show(decision.to_json() if as_json else decision))
    assert "Policy decision: no" in said
    assert "applies: https://a.attest.azure.net" in said
    assert "does not hold: equals <y>, found z" in said


def test_a_decision_for_another_authority() -> None:
    said = words(show(evaluate(parse_policy(POLICY), {"iss": "https://b.attest.azure.net"})))
    assert "does not apply: https://a.attest.azure.net, found https://b.attest.azure.net" in said


def test_an_error_says_what_to_do() -> None:
    error = ServiceError(what="vault", where="GET /keys", expected="200", found="403 <no>", fix="Ask for access.")
    said = words(show(error))
    for part in ("vault at GET /keys", "200", "403 <no>", "Ask for access."):
        assert part in said


def test_an_artefact_says_what_it_proves() -> None:
    artefact = Artefact(step=1, name="n", title="A title", proves="This & that.", next="More.", body={"kid": "k<1>"})
    said = words(show(artefact))
    assert said.index("A title") < said.index("This & that.") < said.index("k<1>") < said.index("More.")


def test_bytes_and_json() -> None:
    assert "de ad be ef" in words(show(b"\xde\xad\xbe\xef"))
    assert "(no bytes)" in words(show(b""))
    assert "deadbeef" in words(show({"raw": b"\xde\xad\xbe\xef"}))
    for value in ({}, [], "text", 7, None, True, [{"a": [1, {"b": None}]}], {"set": {1}}):
        assert words(show(value))


def test_what_is_long_is_cut_and_said() -> None:
    many = {f"name-{number}": "x" for number in range(200)}
    assert "… 104 more" in words(show(many))
    assert "name-199" in words(show(many, full=True))


def _private_pem() -> bytes:
    key = rsa.generate_private_key(65537, 1024)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_no_secret_shows() -> None:
    pem = _private_pem()
    jwk = {"kty": "RSA", "n": "public", "d": "privated", "dp": "privatedp"}
    artefact = Artefact(step=1, name="n", title="T", proves="p", next="n", body={"header": f"Bearer {TOKEN}"})
    things: list[object] = [{"access_token": "secrettoken", "t": TOKEN}, jwk, [jwk], pem, pem.decode(), {"k": pem}]
    things += [
        artefact,
        {"client_secret": "secretpassword"},
        ServiceError(what="w", where=TOKEN, expected="", found=TOKEN, fix=""),
    ]
    for thing in things:
        for said in (show(thing, full=True)._repr_html_(), repr(show(thing, full=True))):
            for secret in ("secrettoken", "privated", "c2lnbmF0dXJl", "secretpassword", pem.decode().splitlines()[1]):
                assert secret not in said
    assert HIDDEN in words(show(jwk))
    assert "public" in words(show(jwk))


def test_a_released_key_is_refused() -> None:
    key = ReleasedKey(material=b"material", private_key=None, kty="oct", size_bits=64)
    with pytest.raises(UsageError) as refused:
        show(key)
    assert refused.value.found == "ReleasedKey"
    assert "an artefact" in refused.value.expected


def test_without_ipywidgets_the_html_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("made without ipywidgets")

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert Display("text", "<p>html</p>", never)._repr_mimebundle_() == {
        "text/plain": "text",
        "text/html": "<p>html</p>",
    }


def test_with_ipywidgets_html_and_text_are_ours() -> None:
    widgets = pytest.importorskip("ipywidgets")
    made = Display("text", "<p>html</p>", lambda: widgets.HTML(value="x"))
    bundle = made._repr_mimebundle_()
    assert bundle["text/plain"] == "text"
    assert bundle["text/html"] == "<p>html</p>"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert made.widget is made.widget  # one, however often it is shown
