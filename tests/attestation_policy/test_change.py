"""What another policy would change: its lines, the claims that it issues, and what both say of one token."""

from __future__ import annotations

import io
from pathlib import Path

from skrkit.attestation_policy.change import compare_attestation_policies
from skrkit.render.attestation_policy import view_of_change
from skrkit.render.plain import write
from skrkit.token.decode import decode_jwt

SNP = "version= 1.0;authorizationrules{=> permit();};"
SNP_HASH = "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"  # of captured tokens
STRICT = """version= 1.0;
authorizationrules { [type=="secureboot", value==false] => permit(); };
issuancerules { => issue(type="a", value=1); c:[type=="b"] => issue(type="c", value=c.value); };
"""
LOOSE = """version= 1.0;
authorizationrules { => permit(); };
issuancerules { => issue(type="a", value=2); => issue(type="d", value="x"); };
"""


def test_lines_and_claims() -> None:
    change = compare_attestation_policies(STRICT, LOOSE)
    assert (change.added(), change.removed()) == (("d",), ("c",))
    assert [line[0] for line in change.lines()] == ["@", " ", "-", "-", "+", "+"]
    assert change.trial is None
    said = change.to_json()
    assert (said["claims_added"], said["claims_removed"], said["trial"]) == (["d"], ["c"], None)


def test_a_hash_is_the_one_that_tokens_show() -> None:
    assert compare_attestation_policies("", SNP).hashes == (None, SNP_HASH)
    same = compare_attestation_policies(SNP, SNP)
    assert (same.lines(), same.added(), same.removed()) == ((), (), ())


def test_both_are_tried_on_a_real_token(captures: Path) -> None:
    token = decode_jwt((captures / "maa-token-and-akv-release" / "maa-token.jwt").read_bytes().strip())
    assert token.claims["secureboot"] is True
    trial = compare_attestation_policies(STRICT, LOOSE, token.claims).trial
    assert trial is not None
    assert trial.before is not None
    assert trial.after is not None
    assert (trial.before.permitted, trial.after.permitted) == (False, True)
    assert [(claim.type, claim.value) for claim in trial.after.issued] == [("a", 2), ("d", "x")]


def test_one_that_does_not_parse_is_said_to_be_unknown() -> None:
    change = compare_attestation_policies("version=9", LOOSE, {"secureboot": True})
    assert change.issued_before is None
    assert change.trial is not None
    assert change.trial.before is None
    stream = io.StringIO()
    write(view_of_change(change, about="x", result=""), stream, width=100, colour=False)
    shown = stream.getvalue()
    assert "one of the two policies does not parse here" in shown
    assert "cannot be tried" in shown
    assert "was not sent" in shown
