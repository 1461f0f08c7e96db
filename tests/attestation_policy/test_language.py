"""The policy language: what is parsed, where an error is, and what a verdict is."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from skrkit.attestation_policy.claims import incoming_claims
from skrkit.attestation_policy.evaluate import Verdict, evaluate
from skrkit.attestation_policy.form import policy_hash, policy_in, unsigned_policy
from skrkit.attestation_policy.model import Claim, Scalar
from skrkit.attestation_policy.parse import parse_attestation_policy
from skrkit.errors import ParseError, PolicyError

PERMIT = "authorizationrules { => permit(); };"


def verdict(text: str, **claims: Any) -> Verdict:
    """Evaluate a policy over claims of the service; an underscore in a name is a hyphen."""
    return evaluate(
        parse_attestation_policy(text), incoming_claims({name.replace("_", "-"): claims[name] for name in claims})
    )


def issued(rules: str, version: str = "1.2", **claims: Any) -> list[tuple[str, Scalar]]:
    """What the issuance rules issue."""
    done = verdict(f"version= {version}; {PERMIT} issuancerules {{ {rules} }};", **claims)
    return [(claim.type, claim.value) for claim in done.issued]


# --- the hash: texts and hashes that Microsoft's tokens and documents show -----------------------------------


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        (
            "version= 1.0;\n\nauthorizationrules\n{\n    => permit();\n};\n\nissuancerules\n{\n};",
            "B56nbp5slhw66peoRYkpdq1WykMkEworvdol08hnMXE",  # Microsoft's sample of a tdxvm token
        ),
        # Of captured sevsnpvm tokens; found by trying layouts until a text had the hash that the service computed.
        ("version= 1.0;authorizationrules{=> permit();};", "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"),
        (
            "version= 1.0;\n\nauthorizationrules\n{\n    => permit();\n};",
            "LTPRQQju-FejAwdYihF8YV_c2XWebG9joKvrHKc3bxs",
        ),
    ],
)
def test_the_hash_is_the_one_that_azures_tokens_have(text: str, hashed: str) -> None:
    assert policy_hash(text) == hashed
    assert verdict(text).permitted


def test_the_hash_is_of_every_blank() -> None:
    assert policy_hash("version= 1.0;") != policy_hash("version=1.0;")


def test_a_policy_travels_as_an_unsigned_jws() -> None:
    text = "version= 1.0; // é\nauthorizationrules { };"
    header, payload, signature = unsigned_policy(text).split(".")
    assert header == "eyJhbGciOiJub25lIn0"  # the literal of Microsoft's documents
    assert signature == ""
    document = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert list(document) == ["AttestationPolicy"]
    assert policy_in(json.dumps(document).encode()) == text


@pytest.mark.parametrize("payload", [b"{}", b"[]", b'{"AttestationPolicy": 1}', b'{"AttestationPolicy": "_w"}', b""])
def test_a_payload_without_a_policy_is_refused(payload: bytes) -> None:
    with pytest.raises(ParseError):
        policy_in(payload)


# --- parsing: where the error is, and what it says -----------------------------------------------------------

MARK = "\u00a6"
REFUSED = {  # the text with a mark before the place, the rule, and words of what was expected and found
    # The case of Azure's own troubleshooting guide: no semicolon after the version, '[' where one is expected.
    "semicolon": ("version=1.0\n¦[", "syntax", "';'", "'['"),
    "no version": ("¦authorizationrules { };", "syntax", "'version'", "'authorizationrules'"),
    "unknown version": ("version= ¦2.0;", "version", "1.0, 1.1, 1.2", "2.0"),
    "no authorization": ("version=1.0;¦", "syntax", "authorizationrules", "the end of the text"),
    "order": ("version=1.1;issuancerules{};¦authorizationrules{};", "segment", "the end of the text", "authorization"),
    "twice": (f"version=1.0;{PERMIT}¦{PERMIT}", "segment", "issuancerules", "'authorizationrules'"),
    "configuration too early": ("version=1.0;¦configurationrules{};", "version-too-old", "version 1.1", "earlier"),
    "segment name": ("version=1.0;¦authorisationrules{};", "segment", "configuration", "'authorisationrules'"),
    "assignment": (
        'version=1.0;\nauthorizationrules {\n  [type¦="secureboot"] => permit();',
        "assignment",
        "'=='",
        "'='",
    ),
    "comparison": (f'version=1.0;{PERMIT}issuancerules{{ => issue(type¦=="a");', "assignment", "'='", "'=='"),
    "not in 1.1": ('version=1.1;authorizationrules { ¦![type=="a"]', "version-too-old", "version 1.2", "version 1.1"),
    "function in 1.0": (
        f'version=1.0;{PERMIT}issuancerules{{ => issue(type="a", value=¦NegateBool(true));',
        "version-too-old",
        "version 1.2 or later for functions",
        "version 1.0",
    ),
    "issue while authorizing": (
        'version=1.0;authorizationrules { => ¦issue(type="a", value=1);',
        "action-place",
        "permit, deny, add in authorizationrules",
        "issue",
    ),
    "permit while issuing": (
        f"version=1.0;{PERMIT}issuancerules{{ => ¦permit();",
        "action-place",
        "add, issue, issueproperty in issuancerules",
        "permit",
    ),
    "action": ("version=1.0;authorizationrules { => ¦allow();", "action", "permit, deny", "allow"),
    "permit of something": ("version=1.0;authorizationrules { => permit(¦true);", "syntax", "')'", "'true'"),
    "no end of rule": ("version=1.0;authorizationrules { => permit() ¦};", "syntax", "';'", "'}'"),
    "no end of segment": ("version=1.0;authorizationrules { => permit(); }¦", "syntax", "';'", "the end of the text"),
    "order of booleans": (
        'version=1.0;authorizationrules { [type=="a", value¦>=true]',
        "operator",
        "== or !=: integers alone have an order",
        ">=",
    ),
    "order of types": ("version=1.0;authorizationrules { [type¦<5]", "operator", "== or !=", "<"),
    "member": ('version=1.0;authorizationrules { [¦types=="a"]', "member", "type, value, valueType, issuer", "types"),
    "unbound": (
        f'version=1.0;{PERMIT}issuancerules{{ c:[type=="a"] => issue(claim=¦d);',
        "identifier",
        "one of c",
        "d",
    ),
    "bound twice": ('version=1.0;authorizationrules { c:[type=="a"] && ¦c:[', "identifier", "each name once", "c"),
    "named absence": ('version=1.2;authorizationrules { !¦c:[type=="a"]', "identifier", "no name", "c"),
    "misspelt function": (
        f'version=1.2;{PERMIT}issuancerules{{ => issue(type="a", value=¦NegateBol(true));',
        "function",
        "NegateBool",
        "'NegateBol'",
    ),
    "arity": (
        f'version=1.2;{PERMIT}issuancerules{{ => issue(type="a", value=¦AppendString("a"));',
        "arity",
        "2 for AppendString",
        "1 arguments",
    ),
    "no value": (f'version=1.0;{PERMIT}issuancerules{{ => issue(type="a"¦);', "syntax", "','", "')'"),
    "type of nothing": (
        f'version=1.0;{PERMIT}issuancerules{{ => issue(type=¦"", value=1);',
        "type",
        "not empty",
        "none",
    ),
    "typographic quotes": ("version=1.0;authorizationrules { [type==¦\u201ca", "quote", "straight", "\u201c"),
    "escape": ('version=1.0;authorizationrules { [type=="a¦\\n"]', "escape", "backslash", "n"),
    "open quote": ('version=1.0;authorizationrules { [type==¦"a\n', "string", "ends in its line", "a quote"),
    "integer": (
        "version=1.0;authorizationrules { [value==¦9223372036854775808]",
        "integer",
        "an integer of 64 bits",
        "9223372036854775808",
    ),
    "character": ("version=1.0;authorizationrules { ¦# };", "character", "a name", "'#'"),
    "after the end": (f"version=1.0;{PERMIT}issuancerules{{}};¦x", "segment", "the end of the text", "'x'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_has_its_place(name: str) -> None:
    marked, rule, expected, found = REFUSED[name]
    before, _, after = marked.partition(MARK)
    with pytest.raises(PolicyError) as caught:
        parse_attestation_policy(before + after)
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    assert (caught.value.where, caught.value.rule) == (f"line {line}, column {column}", rule)
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert caught.value.fix


def test_a_policy_that_is_not_utf8_is_named_by_byte() -> None:
    with pytest.raises(PolicyError, match="byte 0x2"):
        parse_attestation_policy(b"//\xff")


def test_calls_in_calls_have_an_end() -> None:
    deep = "NegateBool(" * 40 + "true" + ")" * 40
    with pytest.raises(PolicyError) as caught:
        issued(f'=> issue(type="a", value={deep});')
    assert caught.value.rule == "depth"


# --- authorization -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "permitted", "denials"),
    [
        ("=> permit();", True, 0),
        ("", False, 0),  # nothing permits
        ("=> deny();", False, 1),
        ("=> permit(); => deny();", False, 1),  # deny wins, wherever it stands
        ('[type=="secureboot", value==false] => deny(); => permit();', True, 0),
        ('[type=="secureboot", value==true] => permit();', True, 0),
        ('[type=="secureboot", value=="true"] => permit();', False, 0),  # a String is no Boolean
        ('[type=="secureboot", valueType=="Boolean"] => permit();', True, 0),
        ('[type=="secureboot", issuer=="AttestationService"] => permit();', True, 0),
        ('[type=="secureboot", issuer=="AttestationPolicy"] => permit();', False, 0),
        ('[type=="svn", value>=7] => permit();', True, 0),
        ('[type=="svn", value>7] => permit();', False, 0),
        ('[type=="svn", value<8] => permit();', True, 0),
        ('[type=="svn", value<=6] => permit();', False, 0),
        ('[type=="svn", value!=7] => permit();', False, 0),
        ('[type=="os", value!="Windows"] => permit();', True, 0),
        ('[type=="os", value>=1] => permit();', False, 0),  # a text has no order
        ('[type=="os"] && [type=="nowhere"] => permit();', False, 0),
        ('=> add(type="seen", value=true); [type=="seen", issuer=="AttestationPolicy"] => permit();', True, 0),
        ('[type=="later"] => permit(); => add(type="later", value=1);', False, 0),  # in the order of the rules
    ],
)
def test_who_is_permitted(rules: str, permitted: bool, denials: int) -> None:
    done = verdict(f"version= 1.0; authorizationrules {{ {rules} }};", secureboot=True, svn=7, os="Linux")
    assert (done.permitted, len(done.denials)) == (permitted, denials)


def test_without_permission_nothing_is_issued() -> None:
    done = verdict('version= 1.0; authorizationrules { }; issuancerules { => issue(type="a", value=1); };')
    assert not done.permitted
    assert done.issued == ()
    assert [applied.segment for applied in done.applied] == []


def test_the_first_condition_that_does_not_hold_is_kept() -> None:
    done = verdict('version= 1.0; authorizationrules { [type=="a"] &&\n [type=="b"] => permit(); };', a=1)
    unmet = done.applied[0].unmet
    assert unmet is not None
    assert str(unmet.place) == "line 2, column 2"


# --- issuance ------------------------------------------------------------------------------------------------


def test_what_is_issued() -> None:
    """`add` is for later rules alone; `issueproperty` steers the service; a whole claim goes out as the policy's."""
    done = verdict(
        f"""version=1.1;
        configurationrules {{ => issueproperty(type="required_pcr_mask", value=255); }};
        {PERMIT}
        issuancerules {{
            c:[type=="svn"] => add(type="kept", value=c.value);
            k:[type=="kept"] => issue(claim=k);
            c:[type=="svn", value>=3] => issue(type="good", value=true);
            => issueproperty(type="omit_x5c", value=true);
        }};""",
        svn=7,
    )
    assert [(claim.type, claim.value, claim.issuer) for claim in done.issued] == [
        ("kept", 7, "AttestationPolicy"),
        ("good", True, "AttestationPolicy"),
    ]
    assert [(claim.type, claim.value) for claim in done.properties] == [("required_pcr_mask", 255), ("omit_x5c", True)]


def test_several_claims_of_one_type_are_a_set() -> None:
    pcrs = [0, 1, 2]
    assert issued('c:[type=="pcr"] => issue(type="out", value=c.value);', "1.0", pcr=pcrs) == [
        ("out", 0),
        ("out", 1),
        ("out", 2),
    ]
    assert issued('c:[type=="a"] && d:[type=="b", value==c.value] => issue(claim=d);', "1.0", a=[1, 2], b=[2, 3]) == [
        ("b", 2)
    ]
    # A type that is taken over stays with the value of the same claim.
    assert issued("c:[value>=1] => issue(type=c.type, value=c.value);", "1.0", a=1, b=2) == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("expression", "values"),
    [  # what Azure's page on the functions says of each, in this order
        ('JmesPath("{\\"foo\\": \\"bar\\"}", "foo")', ['"bar"']),
        ('JmesPath(j.value, "values[2]")', ["2"]),
        ('JmesPath(j.value, "nothing")', ["null"]),
        ('JsonToClaimValue("100")', [100]),
        ('JsonToClaimValue("true")', [True]),
        ('JsonToClaimValue("\\"abc\\"")', ["abc"]),
        ('JsonToClaimValue("[0, \\"abc\\", true]")', [0, "abc", True]),
        ('JsonToClaimValue("[null]")', []),
        ('JsonToClaimValue("null")', []),  # no claim at all
        ("IsSubsetOf(s.value, t.value)", [True]),
        ("IsSubsetOf(t.value, s.value)", [False]),
        ('AppendString("abc", "xyz")', ["abcxyz"]),
        ('AppendString("", "")', [""]),
        ("NegateBool(false)", [True]),
        ("ContainsOnlyValue(s.value, 100)", [False]),
        ('ContainsOnlyValue(JsonToClaimValue("[1, 1]"), 1)', [True]),
        ('ContainsOnlyValue(JsonToClaimValue("[]"), 1)', [False]),
        ('ContainsOnlyValue(JsonToClaimValue("[1]"), true)', [False]),  # true is not 1
        ('JsonToClaimValue(JmesPath(j.value, "length(values) == `5`"))', [True]),
        ("JsonToClaimValue(JmesPath(j.value, \"equals_ignore_case('WdBoot.sys', 'wdboot.SYS')\"))", [True]),
    ],
)
def test_the_functions(expression: str, values: list[Scalar]) -> None:
    rule = f'j:[type=="json"] && s:[type=="small"] && t:[type=="large"] => issue(type="r", value={expression});'
    found = issued(rule, json={"values": [0, 1, 2, 3, 4]}, small=["abc", 100], large=[True, "abc", 100])
    assert found == [("r", value) for value in values]
    assert [type(value) for _, value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("expression", "expected", "found"),
    [
        ('JsonToClaimValue("1.5")', "JSON of integers", "a fraction"),
        ('JsonToClaimValue("{}")', "JSON of integers", "an object or an array"),
        ('JsonToClaimValue("[[1]]")', "JSON of integers", "an object or an array"),
        ('JsonToClaimValue("18446744073709551616")', "JSON of integers", "64 bits"),
        ('JsonToClaimValue("abc")', "one JSON document", "3 bytes that are not"),
        ('JsonToClaimValue("")', "one JSON document", "0 bytes"),
        ('JmesPath("{}", "")', "a query", "an empty text"),
        ('JmesPath("{}", "[?")', "a JMESPath query", "Incomplete expression"),
        ('JmesPath("{}", "length(`1`)")', "a JMESPath query", "invalid type"),
        ("NegateBool(1)", "a Boolean", "Integer"),
        ('AppendString("a", 1)', "a String", "Integer"),
        ('AppendString(JsonToClaimValue("[\\"a\\", \\"b\\"]"), "c")', "one value", "a set of 2"),
        ('ContainsOnlyValue(true, JsonToClaimValue("null"))', "one value", "a set of 0"),
    ],
)
def test_what_a_function_does_not_take(expression: str, expected: str, found: str) -> None:
    with pytest.raises(PolicyError) as caught:
        issued(f'=> issue(type="r", value={expression});')
    assert caught.value.rule == "evaluation"
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert caught.value.where.startswith("line 1, column ")


def test_absence_can_be_asked_for() -> None:
    assert issued('![type=="c"] => issue(type="c", value=300); ![type=="c"] => issue(type="d", value=1);') == [
        ("c", 300)
    ]


def test_raw_evidence_may_be_asked_about_and_not_issued() -> None:
    registers = {"PCRs": [{"Index": 0, "Digest": "ab"}]}
    query = "JsonToClaimValue(JmesPath(c.value, \"PCRs[?Index == `0`].Digest | @[0] == 'ab'\"))"
    good = '[type=="good", value==true] => issue(type="ok", value=1);'
    rule = f'c:[type=="pcrs"] => add(type="good", value={query}); {good}'
    assert issued(rule, pcrs=registers) == [("ok", 1)]
    for action in ("issue(claim=c)", 'issue(type="out", value=c.value)', 'issueproperty(type="out", value=c.value)'):
        with pytest.raises(PolicyError, match="read-only"):
            issued(f'c:[type=="pcrs"] => {action};', pcrs=registers)


# --- bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        # a text that doubles with every rule
        '=> add(type="t0", value="xxxxxxxxxxxxxxxx");'
        + "".join(
            f'c:[type=="t{n}"] => add(type="t{n + 1}", value=AppendString(c.value, c.value));' for n in range(40)
        ),
        # claims that double with every rule
        '=> add(type="a", value=1);' + 'c:[type=="a"] => add(claim=c);' * 40,
        # queries whose results double with every step: as a tree of shared lists, as one flat list, as text
        f'=> add(type="a", value=JmesPath("[1]", "{" | ".join(["[@, @]"] * 60)}"));',
        f'=> add(type="a", value=JmesPath("[1]", "{" | ".join(["[@, @][]"] * 60)}"));',
        f'=> add(type="a", value=JmesPath("[1]", "{" | ".join(["[@, @]"] * 60)} | to_string(@)"));',
        f'=> add(type="a", value=JmesPath("[1]", "{"[" * 20_000}"));',
    ],
)
def test_no_policy_grows_without_end(rules: str) -> None:
    with pytest.raises(PolicyError):
        issued(rules)


def test_a_text_that_is_too_large_is_refused() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_attestation_policy("version= 1.0; //" + "x" * (1 << 18))
    assert caught.value.rule == "too-large"


def test_claims_of_a_token_as_they_come_in() -> None:
    found = incoming_claims(
        {
            "iss": "https://x",
            "x-ms-policy-hash": "h",
            "secureboot": True,
            "pcr": [0, 7],
            "tee": {"a": [1.5]},
            "none": None,
            "huge": 1 << 64,
        }
    )
    assert found == (
        Claim(type="secureboot", value=True, issuer="AttestationService"),
        Claim(type="pcr", value=0, issuer="AttestationService"),
        Claim(type="pcr", value=7, issuer="AttestationService"),
        Claim(type="tee", value='{"a":[1.5]}', issuer="AttestationService"),
    )
