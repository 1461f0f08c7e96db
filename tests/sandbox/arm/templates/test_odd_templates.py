"""No template makes the sandbox fail: each member in turn is put in as something that it must not be."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.sandbox.arm.templates.deploying import API, GROUP, NESTED, Deployer, nested, nsg, properties, template

ODD: tuple[Any, ...] = (
    None, True, -1, 1.5, "", "[", "[]", "[concat()]", "[parameters('own')]", "[reference('one')]", "\ud800", [], [None],
    [[]], {}, {"a": {}}, {"copy": []}, {"copy": [{"name": 1, "count": "x", "input": {}}]}, "x" * 30_000,
)  # fmt: skip
FULL = template(
    nsg("one", tags={"a": "[parameters('own')]"}, condition="[equals(1, 1)]", dependsOn=["two"]),
    nsg("two", properties={"copy": [{"name": "securityRules", "count": 1, "input": {
        "name": "r", "properties": {"priority": "[add(100, copyIndex('securityRules'))]"}}}]}),
    nsg("[concat('many', copyIndex())]", copy={"name": "many", "count": 2}),
    nested("inner", template(nsg("deep"), outputs={"o": {"type": "string", "value": "x"}}), scope="inner"),
    nested("outer", template(nsg("[parameters('own')]"))),
    parameters={"own": {"type": "string", "defaultValue": "text", "allowedValues": ["text"], "minLength": 1}},
    variables={"copy": [{"name": "list", "count": 1, "input": "[copyIndex('list')]"}], "v": "[variables('list')]"},
    functions=[{"namespace": "n", "members": {"f": {"parameters": [{"name": "p", "type": "string"}],
                                                    "output": {"type": "string", "value": "[parameters('p')]"}}}}],
    outputs={"o": {"type": "string", "value": "[n.f('a')]", "condition": True},
             "many": {"type": "array", "copy": {"count": 1, "input": "[copyIndex()]"}}},
)  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every member and item."""
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in members:
        yield from paths(item, (*path, key))


def replaced(body: dict[str, Any], path: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    made = copy.deepcopy(body)
    owner: Any = made
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = odd
    return made


def test_every_member_may_be_odd_and_the_answer_is_still_one(deployer: Deployer) -> None:
    body = properties(FULL, own="text")
    url = f"{GROUP}/providers/{NESTED}/d"
    assert deployer.azure.arm("PUT", f"{url}?api-version={API}", body).status_code == 201
    pairs = [(path, odd) for path in paths(body) for odd in ODD]
    actions = (("POST", "/validate"), ("POST", "/whatIf"), ("PUT", ""))
    answered: Counter[int] = Counter()
    for turn, (path, odd) in enumerate(pairs[::3]):  # as many odd values as there are is no multiple of three
        method, action = actions[turn % len(actions)]
        answer = deployer.azure.arm(method, f"{url}{action}?api-version={API}", replaced(body, path, odd))
        answered[answer.status_code] += 1
        assert answer.status_code in (200, 202, 400, 404, 501), (path, odd, answer.text)
        if answer.status_code >= 400:
            assert {"code", "message"} <= answer.json()["error"].keys()
    assert len(ODD) % 3
    assert answered[400] > 300
    assert answered[200] > 30
