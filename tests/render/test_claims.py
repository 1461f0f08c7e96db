"""The meaning of claims stands beside the claims of an attestation token, and of no other."""

from __future__ import annotations

from pathlib import Path

from skrkit.render.claims import NOT_RECOGNISED, claim_notes
from skrkit.render.view import Rows, view_of
from skrkit.token.catalogue import explain_claim
from skrkit.token.decode import decode_jwt
from skrkit.wire import Json

ATTESTED: dict[str, Json] = {"x-ms-attestation-type": "sevsnpvm"}


def test_a_real_token_has_a_meaning_at_every_claim(captures: Path) -> None:
    token = decode_jwt((captures / "maa-token-and-akv-release/maa-token.jwt").read_text().strip())
    view = view_of(token)
    block = view.blocks[0]
    assert isinstance(block, Rows)
    notes = {row.name: row.note for row in block.rows}
    for claim in ("x-ms-sevsnpvm-vmpl", "x-ms-compliance-status", "secureboot", "x-ms-azurevm-dbvalidated"):
        fact = explain_claim(claim)
        assert fact is not None
        assert notes[claim].startswith(fact.meaning)
    assert NOT_RECOGNISED not in notes.values()


def test_a_claim_inside_an_array_has_its_meaning() -> None:
    fields: dict[str, Json] = {"claims": {**ATTESTED, "x-ms-runtime": {"keys": [{"kid": "HCLAkPub"}]}}}
    assert claim_notes(fields)["claims.x-ms-runtime.keys.[0].kid"]


def test_a_claim_that_nobody_knows_is_said_to_be_one() -> None:
    inner: dict[str, Json] = {"x-ms-new-inside": 1}
    notes = claim_notes({"claims": {**ATTESTED, "x-ms-new": {"deep": 1}, "x-ms-isolation-tee": inner}})
    assert notes["claims.x-ms-new"] == NOT_RECOGNISED
    assert notes["claims.x-ms-isolation-tee.x-ms-new-inside"] == NOT_RECOGNISED
    assert "claims.x-ms-new.deep" not in notes


def test_another_token_gets_no_meaning_that_is_not_its_own() -> None:
    assert claim_notes({"claims": {"iss": "https://sts.windows.net/x/", "exp": 1}}) == {}
    assert claim_notes({"claims": "none"}) == {}
