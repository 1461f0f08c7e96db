"""A small template can ask for more than any machine does: it is refused, and the sandbox goes on."""

from __future__ import annotations

from typing import Any

import pytest

from skrkit.sandbox.arm.templates.arguments import MAX_STEPS
from tests.sandbox.arm.templates.deploying import API, GROUP, NESTED, Deployer, nested, properties, template


def text(expression: str, **sections: Any) -> dict[str, Any]:
    return template(outputs={"o": {"type": "string", "value": expression}}, **sections)


def loops(depth: int) -> Any:
    """Loops in loops, 800 turns each."""
    return "x" if not depth else {"copy": [{"name": f"c{depth}", "count": 800, "input": loops(depth - 1)}]}


TOO_MUCH = {
    "lambdas": text(
        "[string(length(map(range(0, 10000), lambda('i', length(map(range(0, 10000), lambda('j', 1)))))))]"
    ),
    "large arguments": text(
        "[string(length(filter(range(0, 10000), lambda('i', contains(variables('all'), lambdaVariables('i'))))))]",
        variables={"all": "[range(10000, 10000)]"},
    ),
    "loops": text("[string(length(string(variables('v'))))]", variables={"v": loops(3)}),
}


@pytest.mark.parametrize("body", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_an_evaluation_that_would_not_end_is_refused(deployer: Deployer, body: dict[str, Any]) -> None:
    name = "d-too-much"
    deployer.azure.arm("PUT", f"{GROUP}/providers/{NESTED}/{name}?api-version={API}", properties(body))
    found = deployer.azure.arm("GET", f"{GROUP}/providers/{NESTED}/{name}?api-version={API}").json()["properties"]
    assert found["provisioningState"] == "Failed"
    assert f"The template takes more than '{MAX_STEPS}' steps to evaluate." in str(found["error"])


def test_deployments_in_deployments_are_counted_together(deployer: Deployer) -> None:
    body = nested("[concat('x', copyIndex())]", template(), copy={"name": "c", "count": 20})
    for level in range(3):
        body = nested(f"[concat('y{level}-', copyIndex())]", template(body), copy={"name": "c", "count": 20})
    deployer.azure.arm("PUT", f"{GROUP}/providers/{NESTED}/d-wide?api-version={API}", properties(template(body)))
    found = deployer.azure.arm("GET", f"{GROUP}/providers/{NESTED}/d-wide?api-version={API}").json()["properties"]
    assert found["provisioningState"] == "Failed"


def test_sets_of_many_values_are_compared_at_once(deployer: Deployer) -> None:
    found = deployer.outputs(
        template(
            outputs={
                "both": {
                    "type": "int",
                    "value": "[length(intersection(range(0, 10000), range(5000, 10000)))]",
                },
                "either": {"type": "int", "value": "[length(union(range(0, 10000), range(5000, 10000)))]"},
            }
        )
    )
    assert found == {"both": 5000, "either": 15000}


def test_sets_keep_their_order_and_tell_types_apart(deployer: Deployer) -> None:
    values = 'json(\'[1, true, "1", [1], [true], {"a": 1}, {"a": true}, 1]\')'
    found = deployer.outputs(
        template(
            outputs={
                "union": {"type": "array", "value": f"[union(createArray('b', 'a'), createArray('a', 'c'), {values})]"},
                "intersection": {
                    "type": "array",
                    "value": f"[intersection({values}, json('[{{\"a\": true}}, [1], true]'))]",
                },
            }
        )
    )
    assert found["union"] == ["b", "a", "c", 1, True, "1", [1], [True], {"a": 1}, {"a": True}]
    assert [str(each) for each in found["intersection"]] == ["True", "[1]", "{'a': True}"]


def test_an_address_that_is_none_is_an_error_of_the_template(deployer: Deployer) -> None:
    answer = deployer.azure.arm(
        "PUT", f"{GROUP}/providers/{NESTED}/d-uri?api-version={API}", properties(text("[uri('http://[', 'x')]"))
    )
    assert answer.status_code in (200, 201)
    found = deployer.azure.arm("GET", f"{GROUP}/providers/{NESTED}/d-uri?api-version={API}").json()["properties"]
    assert found["provisioningState"] == "Failed"
    assert "'uri': the argument must be an address" in str(found["error"])
