"""Bytes, tokens, policies, knowledge and the diagram, on captures and on bytes of nobody."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from skrkit.artefact import STEP_TITLES
from skrkit.errors import ParseError, UsageError
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.evidence.snp import SnpReport, parse_snp_report
from skrkit.lab.bytes_view import diff_bytes, explore_bytes
from skrkit.lab.diagram import MESSAGES, PARTIES, sequence, svg
from skrkit.lab.knowledge import LEDGER, ledger
from skrkit.lab.knowledge import PARTIES as KNOWERS
from skrkit.lab.token_view import distance, explore_token
from skrkit.lab.workbench import assess_html, policy_workbench, remarks
from skrkit.policy.parse import encode_policy, parse_policy
from skrkit.policy.templates import cvm_policy
from skrkit.token.decode import decode_jwt
from tests.lab.test_display import POLICY, words
from tests.render.test_html import Checked

CLAIMS = {"iss": "https://a.attest.azure.net", "x": "<y>"}
YES = '"allOf":[{"claim":"x","equals":"<y>"}]'


@pytest.fixture
def report(captures: Path) -> SnpReport:
    return parse_hcl_report((captures / "azure-snp-milan-v2" / "hcl-report.bin").read_bytes()).snp()


def _parts(widget: Any, kind: str) -> list[Any]:
    found = [widget] if type(widget).__name__ == kind else []
    for child in getattr(widget, "children", ()):
        found += _parts(child, kind)
    return found


def test_fields_are_told_in_words(report: SnpReport) -> None:
    shown = explore_bytes(report)
    assert "38 fields" in words(shown) or f"{len(report.spans())} fields" in words(shown)
    assert "launch digest" in words(shown)
    assert any(title.startswith("measurement = ") for title in Checked(shown._repr_html_()).titles)


def test_a_field_chosen_is_lit(report: SnpReport) -> None:
    pytest.importorskip("ipywidgets")
    widget = explore_bytes(report).widget
    names = [span.name for span in report.spans()]
    (number,) = _parts(widget, "BoundedIntText")
    number.value = names.index("measurement") + 1
    shown = _parts(widget, "HTML")[-1].value
    lit = "".join(re.findall(r"background-color[^>]*>([0-9a-f ]+)<", shown))
    assert lit.replace(" ", "") == report.measurement.hex()
    assert "0x0090 to 0x00bf, 48 in all" in Checked(shown).words
    (listed,) = _parts(widget, "Select")
    listed.value = names.index("vmpl")
    assert number.value == names.index("vmpl") + 1
    assert "the bytes of vmpl" in Checked(_parts(widget, "HTML")[-1].value).words


def test_text_has_no_bytes_to_explore() -> None:
    for thing in (parse_policy(POLICY), b"bytes"):
        with pytest.raises(UsageError, match="Parse it first"):
            explore_bytes(thing)  # type: ignore[arg-type]


def test_two_reports_differ_in_the_field_that_was_changed(report: SnpReport) -> None:
    other = parse_snp_report(report.raw[:0x90] + b"\xff" + report.raw[0x91:])
    said = words(diff_bytes(report, other))
    assert "1 difference" in said
    assert "measurement" in said
    assert "Every byte is the same." in words(diff_bytes(report, report))


def test_two_blobs_differ_in_ranges() -> None:
    said = words(diff_bytes(b"abcdefgh" * 4, b"abXdefgh" * 3 + b"abcdefgh!"))
    for part in ("0x0002 +1", "0x000a +1", "0x0012 +1", "0x0020 +1", "(nothing)", "32 and 33 bytes", "4 differences"):
        assert part in said
    with pytest.raises(UsageError):
        diff_bytes("text", b"")  # type: ignore[arg-type]


def test_fields_of_one_name_are_told_apart(captures: Path) -> None:
    from skrkit.evidence.eventlog import parse_event_log

    path = next((captures / "gce-snp-eventlog").glob("*log*.bin"))
    log = parse_event_log(path.read_bytes())
    assert "Every byte is the same." in words(diff_bytes(log, log))


def test_a_real_token(captures: Path) -> None:
    text = (captures / "maa-token-and-akv-release" / "maa-token.jwt").read_text().strip()
    token = decode_jwt(text)
    shown = explore_token(text, now=datetime.fromtimestamp(int(str(token.claims["exp"])) - 60, UTC))
    for said in (words(shown), repr(shown)):
        assert "in 1 min 0 s" in said
        assert str(token.claims["iss"]) in said
        assert text.rpartition(".")[2] not in said
    assert "– not checked" in words(shown)
    assert "From " in words(shown)  # the evidence that a claim comes from


def test_what_is_no_token() -> None:
    with pytest.raises(ParseError):
        explore_token("no token")
    with pytest.raises(UsageError, match="explore_token"):
        explore_token(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "in 5 s"), (-65, "1 min 5 s ago"), (28740, "in 7 h 59 min"), (-90000, "1 d 1 h ago"), (0, "0 s ago")],
)
def test_how_far_a_time_is(seconds: float, said: str) -> None:
    assert distance(seconds) == said


def test_the_workbench_says_yes_and_how_it_is_encoded() -> None:
    shown = policy_workbench(POLICY, CLAIMS)
    assert "✓ yes" in words(shown)
    assert encode_policy(parse_policy(POLICY)) in words(shown)
    assert "Policy decision: yes" in repr(shown)


def test_the_workbench_follows_the_text_and_the_token() -> None:
    pytest.importorskip("ipywidgets")
    widget = policy_workbench(POLICY, CLAIMS, others={"another": {**CLAIMS, "x": "z"}}).widget
    (area,) = _parts(widget, "Textarea")

    def said() -> str:
        return Checked(_parts(widget, "HTML")[-1].value).words

    area.value = POLICY.replace("<y>", "z")
    assert "✗ no" in said()
    assert "✗ does not hold" in said()
    assert "✓ applies" in said()
    (number,) = _parts(widget, "BoundedIntText")
    number.value = 2
    assert "✓ yes" in said()
    area.value = POLICY.replace("equals", "equal")
    assert "✗ not a policy" in said()
    assert "/anyOf/0/allOf/0" in said()
    _parts(widget, "Button")[0].click()
    assert "✗ no" in said()  # the first text, and still the other token


@pytest.mark.parametrize("source", ["", "{", "[]", "null", "\ud800", '{"version":"1.0.0","anyOf":[]}', "[" * 100000])
def test_no_text_breaks_the_workbench(source: str) -> None:
    assert "✗ not a policy" in Checked(assess_html(source, CLAIMS)).words


def test_an_unverified_token_is_not_evaluated(captures: Path) -> None:
    token = decode_jwt((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_text().strip())
    said = Checked(assess_html(POLICY, token)).words  # type: ignore[arg-type]
    assert "✗ not evaluated" in said
    assert "Verify the token first" in said


def test_remarks() -> None:
    odd = '"anyOf":[{"claim":"x-ms-isolation-tee.x-ms-compliance-status","exists":true},{"claim":"nobody","equals":1}]'
    said = " ".join(remarks(parse_policy(POLICY.replace(YES, odd))))
    assert "exists counts as not met" in said
    assert "nobody is no claim that Azure Attestation documents" in said
    assert "no condition asks for a TEE" in said
    assert "no condition asks for a TEE" not in " ".join(remarks(cvm_policy("https://a.attest.azure.net")))
    with pytest.raises(UsageError):
        policy_workbench(7, CLAIMS)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", range(5))
def test_the_ledger_ends_with_the_step(step: int) -> None:
    said = words(ledger(step))
    for number in range(1, 5):
        assert (STEP_TITLES[number] in said) == (number <= step)
    assert said.count("▶") == 1
    for party in KNOWERS:
        assert party in said
    assert all(set(row) <= set(KNOWERS) for row in LEDGER.values())


@pytest.mark.parametrize("step", range(5))
def test_the_diagram_is_an_image_with_words(step: int) -> None:
    shown = sequence(step)
    source = re.fullmatch(
        r'<img src="data:image/svg\+xml;base64,([\w+/=]+)" alt="([^"]+)" [^<>]*>', shown._repr_html_()
    )
    assert source is not None
    drawn = base64.b64decode(source[1]).decode()
    root = ElementTree.fromstring(drawn)
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(PARTIES) <= set(texts)
    assert {message.words for message in MESSAGES} <= set(texts)
    assert [text for text in texts if text.startswith("▶")] == ([f"▶ Step {step}: {STEP_TITLES[step]}"] if step else [])
    assert "prefers-color-scheme:dark" in drawn
    for message in MESSAGES:
        assert (f": {message.words}." in source[2].replace("&#x27;", "'")) == (message.step == step or not step)


def test_no_text_of_the_diagram_leaves_it() -> None:
    root = ElementTree.fromstring(svg(4))
    width = float(root.attrib["width"])
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        x = float(box.attrib["x"])
        assert x >= 0
        assert x + float(box.attrib["width"]) <= width


@pytest.mark.parametrize("view", [ledger, sequence])
@pytest.mark.parametrize("step", [-1, 5, "1", True])
def test_there_are_four_steps(view: Any, step: Any) -> None:
    with pytest.raises(UsageError, match="0, 1, 2, 3 or 4"):
        view(step)


def test_a_report_of_another_size_is_compared_all_the_same(report: SnpReport) -> None:
    assert "difference" in words(diff_bytes(report.raw, report.raw[:100]))
    assert replace(report) == report
