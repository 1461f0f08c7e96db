"""The functions of templates against the examples that Microsoft's reference of them prints, with its results."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from skrkit.sandbox.arm.templates.expression import parse_expression
from skrkit.sandbox.arm.templates.places import Place, net_time
from skrkit.sandbox.arm.templates.refusals import ExpressionError
from skrkit.sandbox.arm.templates.scope import PURE, SCOPED, Scope
from skrkit.sandbox.web import AzureError

SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
PLACE = Place(
    tenant="11111111-1111-4111-8111-111111111111",
    subscription=SUBSCRIPTION,
    group="examplegroup",
    read_group={"examplegroup": {"id": "/x", "name": "examplegroup", "location": "westeurope"}}.get,
)
GIVEN = {
    "array": ["one", "two", "three"],
    "object": {"one": "a", "two": "b", "three": "c"},
    "dogs": [
        {"name": "Evie", "age": 5, "interests": ["Ball", "Frisbee"]},
        {"name": "Casper", "age": 3, "interests": ["Other dogs"]},
        {"name": "Indy", "age": 2, "interests": ["Butter"]},
        {"name": "Kira", "age": 8, "interests": ["Rubs"]},
    ],
}
SCOPE = Scope(place=PLACE, deployment={"name": "d", "properties": {}}, parameters=GIVEN)


def value(expression: str, scope: Scope = SCOPE) -> Any:
    return scope.evaluate(f"[{expression}]")


# (expression, result), both as the reference has them
ARRAYS = [
    ("array('efgh')", ["efgh"]),
    ("array(1)", [1]),
    ("concat(createArray('1-1', '1-2'), createArray('2-1'))", ["1-1", "1-2", "2-1"]),
    ("contains('OneTwoThree', 'e')", True),
    ("contains('OneTwoThree', 'z')", False),
    ("contains(parameters('object'), 'one')", True),
    ("contains(parameters('array'), 'four')", False),
    ("createArray(1, 2, 3)", [1, 2, 3]),
    ("empty(createArray())", True),
    ("empty(createObject())", True),
    ("empty('')", True),
    ("first(parameters('array'))", "one"),
    ("first('One Two Three')", "O"),
    ("last(parameters('array'))", "three"),
    ("last('One Two Three')", "e"),
    ("flatten(createArray(createArray('one', 'two'), createArray('three')))", ["one", "two", "three"]),
    ("intersection(parameters('object'), createObject('one', 'a', 'two', 'z', 'three', 'c'))",
     {"one": "a", "three": "c"}),
    ("intersection(parameters('array'), createArray('two', 'three'))", ["two", "three"]),
    ("length(parameters('array'))", 3),
    ("length('One Two Three')", 13),
    ("max(createArray(0, 3, 2, 5, 4))", 5),
    ("max(0, 3, 2, 5, 4)", 5),
    ("min(createArray(0, 3, 2, 5, 4))", 0),
    ("range(5, 3)", [5, 6, 7]),
    ("skip(parameters('array'), 2)", ["three"]),
    ("skip('one two three', 4)", "two three"),
    ("take(parameters('array'), 2)", ["one", "two"]),
    ("take('one two three', 2)", "on"),
    ("union(parameters('array'), createArray('three', 'four'))", ["one", "two", "three", "four"]),
    ("union(parameters('object'), createObject('three', 'c2', 'four', 'd'))",
     {"one": "a", "two": "b", "three": "c2", "four": "d"}),
]  # fmt: skip
TEXTS = [
    ("base64('one, two, three')", "b25lLCB0d28sIHRocmVl"),
    ("base64ToString('b25lLCB0d28sIHRocmVl')", "one, two, three"),
    ("base64ToJson(base64('{\"one\": \"a\", \"two\": \"b\"}'))", {"one": "a", "two": "b"}),
    ("dataUri('Hello')", "data:text/plain;charset=utf8;base64,SGVsbG8="),
    ("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", "Hello, World!"),
    ("endsWith('abcdef', 'F')", True),
    ("endsWith('abcdef', 'e')", False),
    ("startsWith('abcdef', 'A')", True),
    ("startsWith('abcdef', 'e')", False),
    ("format('{0}, {1}. Formatted number: {2:N0}', 'Hello', 'User', 8175133)",
     "Hello, User. Formatted number: 8,175,133"),
    ("indexOf('test', 't')", 0),
    ("indexOf('abcdef', 'CD')", 2),
    ("indexOf('abcdef', 'z')", -1),
    ("lastIndexOf('test', 't')", 3),
    ("lastIndexOf('abcdef', 'AB')", 0),
    ("join(parameters('array'), ',')", "one,two,three"),
    ("padLeft('123', 10, '0')", "0000000123"),
    ("replace('123-123-1234', '-', '')", "1231231234"),
    ("replace('123-123-1234', '1234', 'xxxx')", "123-123-xxxx"),
    ("split('one,two,three', ',')", ["one", "two", "three"]),
    ("split('one;two,three', createArray(',', ';'))", ["one", "two", "three"]),
    ("substring('one two three', 4, 3)", "two"),
    ("toLower('One Two Three')", "one two three"),
    ("toUpper('One Two Three')", "ONE TWO THREE"),
    ("trim('    one two three   ')", "one two three"),
    ("uri('http://contoso.org/firstpath', 'myscript.sh')", "http://contoso.org/myscript.sh"),
    ("uri('http://contoso.org/firstpath/', 'myscript.sh')", "http://contoso.org/firstpath/myscript.sh"),
    ("uriComponent('http://contoso.com/resources/nested/azuredeploy.json')",
     "http%3A%2F%2Fcontoso.com%2Fresources%2Fnested%2Fazuredeploy.json"),
    ("uriComponentToString('http%3A%2F%2Fcontoso.com%2Fresources')", "http://contoso.com/resources"),
]  # fmt: skip
DOGS, DOG, CUR = "parameters('dogs')", "lambdaVariables('d')", "lambdaVariables('cur')"
NAME, AGE = f"lambda('d', {DOG}.name)", f"lambda('d', {DOG}.age)"
OTHERS = [
    ("add(5, 3)", 8),
    ("div(8, 3)", 2),
    ("mod(7, 3)", 1),
    ("mul(5, 3)", 15),
    ("sub(7, 3)", 4),
    ("int('4')", 4),
    ("and(bool('true'), bool('false'))", False),
    ("or(bool('true'), bool('false'))", True),
    ("not(bool('true'))", False),
    ("bool(1)", True),
    ("if(equals('a', 'a'), 'yes', 'no')", "yes"),
    ("coalesce(json('null'), 'string')", "string"),
    ("less('A', 'a')", True),
    ("greater('A', 'a')", False),
    ("lessOrEquals(1, 2)", True),
    ("greaterOrEquals(1, 2)", False),
    ("equals('a', 'A')", False),
    ("json('{\"a\": \"b\"}').a", "b"),
    ("base64ToJson(base64('{''one'': ''a'', ''two'': ''b''}'))", {"one": "a", "two": "b"}),
    ("items(createObject('item002', 2, 'item001', 1))",
     [{"key": "item001", "value": 1}, {"key": "item002", "value": 2}]),
    ("objectKeys(createObject('b', 1, 'a', 2))", ["a", "b"]),
    ("dateTimeFromEpoch(1683040573)", "2023-05-02T15:16:13Z"),
    ("dateTimeToEpoch('2023-05-02T15:16:13Z')", 1683040573),
    ("map(range(0, 5), lambda('i', cidrSubnet('10.144.0.0/20', 24, lambdaVariables('i'))))",
     ["10.144.0.0/24", "10.144.1.0/24", "10.144.2.0/24", "10.144.3.0/24", "10.144.4.0/24"]),
    ("map(range(0, 3), lambda('i', cidrHost('10.144.3.0/24', lambdaVariables('i'))))",
     ["10.144.3.1", "10.144.3.2", "10.144.3.3"]),
    (f"map(filter({DOGS}, lambda('d', greaterOrEquals({DOG}.age, 5))), {NAME})", ["Evie", "Kira"]),
    (f"reduce(map({DOGS}, {AGE}), 0, lambda('cur', 'next', add({CUR}, lambdaVariables('next'))))", 18),
    (f"map(sort({DOGS}, lambda('d', 'b', less({DOG}.age, lambdaVariables('b').age))), {NAME})",
     ["Indy", "Casper", "Evie", "Kira"]),
    (f"toObject({DOGS}, {NAME}, {AGE})",
     {"Evie": 5, "Casper": 3, "Indy": 2, "Kira": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "result"), [*ARRAYS, *TEXTS, *OTHERS])
def test_a_documented_example_has_its_documented_result(expression: str, result: Any) -> None:
    found = value(expression)
    assert found == result
    assert isinstance(found, bool) is isinstance(result, bool)


def test_ids_have_the_documented_form() -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/examplegroup"
    kind = "Microsoft.Storage/storageAccounts"
    assert value(f"resourceId('{kind}', 'a')") == f"{group}/providers/{kind}/a"
    other = group.replace("examplegroup", "other")
    assert value(f"resourceId('other', '{kind}', 'a')") == f"{other}/providers/{kind}/a"
    assert value(f"resourceId('{SUBSCRIPTION}', 'other', '{kind}', 'a')") == f"{other}/providers/{kind}/a"
    parts = "'Microsoft.SQL/servers/databases', 'server', 'db'"
    assert value(f"resourceId({parts})") == f"{group}/providers/Microsoft.SQL/servers/server/databases/db"
    role = "'Microsoft.Authorization/roleDefinitions', 'r'"
    root = f"/subscriptions/{SUBSCRIPTION}"
    assert value(f"subscriptionResourceId({role})") == f"{root}/providers/Microsoft.Authorization/roleDefinitions/r"
    assert value(f"tenantResourceId({role})") == "/providers/Microsoft.Authorization/roleDefinitions/r"
    lock = "'Microsoft.Authorization/locks', 'l'"
    assert value(f"extensionResourceId('{group}', {lock})") == f"{group}/providers/Microsoft.Authorization/locks/l"


def test_a_guid_is_of_version_5_over_the_documented_name_space() -> None:
    made = uuid.UUID(value("guid('a', 'b', 'c')"))
    assert made.version == 5
    assert made == uuid.uuid5(uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830"), "a-b-c")


def test_a_unique_string_has_13_letters_and_depends_on_its_arguments_alone() -> None:
    first, again, other = (value(f"uniqueString('{part}')") for part in ("a", "a", "b"))
    assert first == again != other
    assert len(first) == 13
    assert set(first) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_an_escaped_bracket_and_a_doubled_quote_are_what_they_stand_for() -> None:
    assert SCOPE.evaluate("[[test value]") == "[test value]"
    assert SCOPE.evaluate("[concat('it''s', ' ', 'fine')]") == "it's fine"
    assert SCOPE.evaluate("[no expression") == "[no expression"
    assert SCOPE.evaluate({"[concat('a', 'b')]": "[if(true(), 1, fail())]"}) == {"ab": 1}


def test_names_are_known_in_any_case_and_members_too() -> None:
    assert value("TOLOWER(Parameters('OBJECT').TWO)") == "b"


def test_the_time_is_written_as_dot_net_does() -> None:
    moment = datetime(2026, 3, 7, 15, 4, 9, tzinfo=UTC)
    assert net_time(moment, "yyyyMMddTHHmmssZ") == "20260307T150409Z"
    assert net_time(moment, "M d yyyy h 'o''clock'"[:8]) == "3 7 2026"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("concat('a'", "Unable to parse language expression 'concat('a'': expected token 'RightParenthesis'"),
        ("concat('a'))", "expected token 'EndOfData' and actual 'RightParenthesis'"),
        (" ", "Unable to parse language expression ' ': expected token 'Identifier' and actual 'EndOfData'"),
        ("x()", "The template function 'x' is not valid."),
        ("empty()", "language function 'empty': function requires 1 argument(s) while 0 were provided."),
        ("parameters('object').four",
         "The language expression property 'four' doesn't exist, available properties are 'one, two, three'."),
        ("parameters('array')[3]", "The language expression property array index '3' is out of bounds."),
        ("parameters('nothing')", "The template parameter 'nothing' is not found."),
        ("variables('nothing')", "The template variable 'nothing' is not found."),
        ("reference('x')", "The template function 'reference' is not expected at this location."),
        ("utcNow()", "The template function 'utcNow' is not expected at this location."),
        ("copyIndex()", "The template function 'copyIndex' is not expected at this location."),
        ("resourceId('Microsoft.Storage/storageAccounts', 'a', 'b')",
         "the type 'Microsoft.Storage/storageAccounts' requires '1' resource name argument(s)"),
        ("substring('short', 0, 24)",
         "The index parameter: '0', the length parameter: '24', the length of the string parameter: '5'."),
        ("div(1, 0)", "the divisor is zero"),
        ("add('1', 1)", "the argument must be an integer, and is of type 'String'"),
    ],
)  # fmt: skip
def test_what_has_no_value_is_refused_in_azures_words(expression: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(expression)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["listKeys", "listAdminKeys", "list", "pickZones", "dateTimeAdd", "managementGroup"])
def test_a_function_that_only_azure_has_is_refused_by_name(name: str) -> None:
    with pytest.raises(AzureError) as caught:
        value(f"{name}('x', '2024-01-01')")
    assert (caught.value.status, caught.value.code) == (501, "NotInSandbox")
    assert f"'{name}'" in caught.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 500,
        "concat(" * 200 + "'a'" + ")" * 200,
        "padLeft('a', 2000000000, 'x')",
        "format('{0,999999}', 'a')",
        "range(0, 20000)",
        f"reduce(range(0, 40), createArray(1), lambda('cur', 'b', createArray({CUR}, {CUR})))",
        f"reduce(range(0, 40), 'ab', lambda('cur', 'b', concat({CUR}, {CUR})))",
        "mul(9223372036854775807, 9223372036854775807)",
        "concat('" + "a" * 30000 + "')",
    ],
)
def test_what_would_grow_beyond_all_bounds_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        value(expression)


def test_no_argument_makes_a_function_fail_in_another_way() -> None:
    odd = ("'a'", "''", "0", "-1", "9223372036854775807", "true()", "null()", "createArray()", "createObject()",
           "createArray(createObject('a', null()))")  # fmt: skip
    tried = 0
    for written, function in PURE.values():
        for count in range(function.least, (function.most or 3) + 1):
            for one in odd:
                expression = f"{written}({', '.join([one] * count)})"
                with suppress(ExpressionError):
                    value(expression)
                tried += 1
    assert tried > 500
    assert set(SCOPED) & set(PURE) == set()
    assert parse_expression("[a.b('c')]").name == "a.b"  # type: ignore[union-attr]
