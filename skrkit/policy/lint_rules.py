"""The rules of `lint`: what each is called, how much it weighs, why it matters and who says so; and what a finding is.

One row a rule. Where it stands, what was found and what to write instead comes from the finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from skrkit.wire import Json

GRAMMAR = "Azure Key Vault, secure key release policy grammar"
CLAIMS = "Azure Attestation, claim sets"
SHARED = "Azure Attestation, shared providers; Azure/cvm-attestation-tools, region table"
SKR = "Azure confidential computing, secure key release with confidential VMs"
INFERRED = "inferred: no document says it"


class Severity(Enum):
    """How much a finding weighs: an error must be mended, a warning looked at, a note known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(NamedTuple):
    """One rule: its weight, why it matters, and the source."""

    severity: Severity
    why: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """One remark on a policy. `id` is stable ("clause.no-tee"); `pointer` is the JSON pointer, "" for the whole."""

    id: str
    severity: Severity
    pointer: str
    what: str
    why: str
    fix: str
    source: str

    def to_json(self) -> dict[str, Json]:
        """Return the finding as JSON members."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "pointer": self.pointer,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
            "source": self.source,
        }


class Draft(NamedTuple):
    """A finding before it is known where it stands. `at` is added to the place of what it is about."""

    id: str
    what: str
    fix: str
    at: str = ""


def placed(draft: Draft, pointer: str) -> LintFinding:
    """Return the finding of a draft at a place. The rules of the grammar share one row."""
    rule = RULES[draft.id.partition(".")[0] if draft.id.startswith("grammar.") else draft.id]
    return LintFinding(
        id=draft.id,
        severity=rule.severity,
        pointer=pointer + draft.at,
        what=draft.what,
        why=rule.why,
        fix=draft.fix,
        source=rule.source,
    )


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_NEVER = "The condition is never met: names and texts are compared letter by letter (inferred)."
_NOBODY = "No token's iss is like that, so the clause applies to nobody."

RULES: dict[str, Rule] = {
    "text.empty": Rule(_E, "A vault refuses it with AKV.SKR.1013, or drops it and asks for a policy.", GRAMMAR),
    "text.bom": Rule(_E, "A byte order mark is no JSON: a vault refuses it with AKV.SKR.1013.", GRAMMAR),
    "text.utf16": Rule(_E, "Policies are UTF-8; PowerShell's > writes UTF-16. A vault answers AKV.SKR.1013.", GRAMMAR),
    "text.not-utf8": Rule(_E, "Policies are UTF-8. A vault answers AKV.SKR.1013.", GRAMMAR),
    "text.quoted": Rule(_E, "A JSON text that holds JSON text is encoded once too often.", GRAMMAR),
    "text.plain-data": Rule(_E, "release_policy.data is base64url; a vault answers AKV.SKR.1013 to JSON.", GRAMMAR),
    "text.standard-base64": Rule(_E, "A vault takes base64url without padding, and answers AKV.SKR.1013.", GRAMMAR),
    "text.line-breaks": Rule(_E, "base64url has no line breaks: a vault answers AKV.SKR.1013.", GRAMMAR),
    "text.encoded-twice": Rule(_E, "A vault decodes once, and finds no JSON: AKV.SKR.1013.", GRAMMAR),
    "grammar": Rule(_E, "A policy that breaks the grammar is refused, or means something that nobody knows.", GRAMMAR),
    "policy.version": Rule(_N, "1.0.0 is the version of today; recordings of 2021 and 2022 have 1.0.", GRAMMAR),
    "policy.size": Rule(_N, "No limit is documented; vaults take small requests (inferred).", INFERRED),
    "authority.scheme": Rule(_E, _NOBODY + " A provider's URL begins with https://.", GRAMMAR),
    "authority.blank": Rule(_E, _NOBODY, GRAMMAR),
    "authority.path": Rule(_E, _NOBODY + " MAA's iss is a host, with no path behind it.", CLAIMS),
    "authority.port": Rule(_E, _NOBODY + " MAA's iss has no port.", CLAIMS),
    "authority.slashes": Rule(_E, _NOBODY + " One trailing slash is forgiven, several are not.", INFERRED),
    "authority.slash": Rule(_N, "Microsoft's own policies have it and MAA's iss has not: treated alike.", INFERRED),
    "authority.case": Rule(_N, "Host names have no letter case; MAA writes them in lower case.", INFERRED),
    "authority.region": Rule(_E, "No shared provider has this name, so no token comes from it.", SHARED),
    "authority.new-region": Rule(_W, "The region is in no list that skrkit knows: new, or misspelt.", SHARED),
    "authority.zone": Rule(_E, "The name looks like one of Azure Attestation's and is not in its zone.", SHARED),
    "authority.not-maa": Rule(
        _W, "Whoever runs that service says what the claims are, and so decides who gets the key.", GRAMMAR
    ),
    "authority.test-ring": Rule(_W, "Test providers vouch for test machines.", SHARED),
    "authority.sovereign": Rule(
        _N, "It is a provider of another cloud than the one at hand: Azure's public one, if no other is named.", SHARED
    ),
    "authority.own": Rule(
        _N, "Whoever may change the attestation policy of this provider decides what its claims say.", CLAIMS
    ),
    "authority.twice": Rule(_N, "Two clauses for one authority are alternatives: either is enough.", GRAMMAR),
    "claim.case": Rule(_E, _NEVER, CLAIMS),
    "claim.misspelt": Rule(_E, "A claim that the token does not have is never met.", CLAIMS),
    "claim.unknown": Rule(_W, "Azure Attestation documents no such claim; it may be misspelt.", CLAIMS),
    "claim.level": Rule(_E, "The token has the claim at another level, so that this one is never met.", CLAIMS),
    "claim.not-scalar": Rule(_E, "Only texts, numbers and booleans are compared; the condition is never met.", GRAMMAR),
    "claim.in-array": Rule(_E, "A path walks through objects alone: array indexing is not supported.", GRAMMAR),
    "claim.every-token": Rule(_E, "Each token has another value: the next one does not get the key.", CLAIMS),
    "claim.every-boot": Rule(_W, "The value changes when the VM starts again, and then nobody gets the key.", CLAIMS),
    "claim.firmware": Rule(_W, "Azure updates firmware on its own; then nobody gets the key any more.", CLAIMS),
    "claim.paravisor": Rule(_W, "Azure updates the paravisor on its own; then nobody gets the key any more.", CLAIMS),
    "claim.provider": Rule(_W, "The value follows the provider's attestation policy, not the VM.", CLAIMS),
    "claim.one-vm": Rule(_W, "Only this VM gets the key; made again, it is another one.", CLAIMS),
    "claim.guest": Rule(_W, "The guest says this itself: any guest may say it, so that it rules out nobody.", SKR),
    "claim.runtime": Rule(
        _W, "One published sample says that policies cannot test x-ms-runtime, another one does.", INFERRED
    ),
    "value.case": Rule(_E, _NEVER, CLAIMS),
    "value.boolean": Rule(_E, "The claim is true or false; only true, false, and both in quotes match it.", CLAIMS),
    "value.number": Rule(_E, "The claim is a whole number, and is compared in its shortest decimal form.", CLAIMS),
    "value.form": Rule(_E, "The claim's values do not look like that, so that the condition is never met.", CLAIMS),
    "value.guid-case": Rule(_W, "Azure writes these ids in upper case, and case counts (inferred).", CLAIMS),
    "value.unknown": Rule(_W, "Azure Attestation documents other values for this claim.", CLAIMS),
    "value.blank": Rule(_E, "White space counts, and no claim of Azure Attestation begins or ends with it.", INFERRED),
    "operator.not-equals": Rule(
        _E, "The grammar lists it, but only equals is documented to work: what guards the key is not known.", GRAMMAR
    ),
    "clause.no-tee": Rule(
        _E, "Whatever this provider gives a token to passes: a VM without memory encryption too.", SKR
    ),
    "clause.debug": Rule(_E, "A guest that the host may debug has no secrets from the host.", CLAIMS),
    "clause.debug-wanted": Rule(_E, "It demands a guest whose memory the host may read.", CLAIMS),
    "clause.debug-implied": Rule(
        _N, "A compliant VM is taken not to be debuggable; the documents do not say so.", INFERRED
    ),
    "clause.no-compliance": Rule(
        _W, "A VM whose paravisor or firmware Azure does not call healthy is not ruled out.", CLAIMS
    ),
    "clause.any-vm": Rule(
        _N,
        "Any such VM passes, anybody's, in any tenant: that it is yours is left to the identity that may release.",
        SKR,
    ),
    "clause.platform": Rule(
        _W, "Platform tokens and containers have these claims at the top; the tokens of a guest do not.", SKR
    ),
    "clause.mixed-levels": Rule(_E, "No token has both: a guest's has them nested, the platform's at the top.", CLAIMS),
    "clause.never": Rule(_E, "A claim has one value: all of these can never be met at once.", GRAMMAR),
    "clause.twice": Rule(_W, "The second one changes nothing; often it was meant to be another.", GRAMMAR),
}
