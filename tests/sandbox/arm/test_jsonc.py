"""Templates as their authors write them: what Resource Manager takes beside JSON, and what stays refused."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrkit.sandbox.arm.jsonc import decode_jsonc

# As azure-cli 2.91 sends a deployment: the template under a name without quotes, in the words of its file.
SENT = (
    b'{"properties": {"parameters": {"n": {"value": "a // b"}}, "mode": "Incremental", template:{\r\n'
    b'  // where it all begins: "here"\r\n  "$schema": "https://schema.management.azure.com/x#",'
    b" /* two\r\n lines: */\r\n"
    b'  "outputs": {"said": {"type": "string", "value": "[concat(\'one\',\n   \'/* two */\')]"}}}}}'
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_what_the_azure_cli_sends() -> None:
    properties = json.loads(json.dumps(decode_jsonc(SENT)))["properties"]
    assert properties["parameters"]["n"]["value"] == "a // b"
    assert properties["template"]["$schema"] == "https://schema.management.azure.com/x#"
    assert properties["template"]["outputs"]["said"]["value"] == "[concat('one',\n   '/* two */')]"


@given(VALUES)
def test_json_means_what_it_means(value: object) -> None:
    for written in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        if "\\ud" in written or any("\ud800" <= character <= "\udfff" for character in written):
            continue
        assert decode_jsonc(written.encode()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'it\\'s \"so\"'}", {"a": 'it\'s "so"'}),
        ("{a: 1, $b: true, c_1: null}", {"a": 1, "$b": True, "c_1": None}),
        ("/* a */ [1, // one\n 2 /* two */]", [1, 2]),
        ('\ufeff{"a": "b"}', {"a": "b"}),
    ],
)
def test_what_is_taken_beside_json(text: str, value: object) -> None:
    assert decode_jsonc(text.encode()) == value


@pytest.mark.parametrize(
    "text", ["", "{a: b}", "{a}", '{"a": 1,}', "[1 /* 2]", '{"a": "b', "{'a: 1}", "{a b: 1}", "# 1"]
)
def test_what_stays_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_jsonc(text.encode())


@pytest.mark.parametrize("text", ["a" * 500_000, "/*" * 250_000, "'" * 500_001, '\\"' * 250_000, "a" + " " * 500_000])
def test_a_text_that_is_none_is_refused_soon(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r".+"):
        decode_jsonc(text.encode())
    assert time.perf_counter() - began < 10  # what doubles back takes minutes; this takes tenths of a second
