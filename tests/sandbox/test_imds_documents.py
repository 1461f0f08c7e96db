"""What IMDS makes of a VM's ARM document, whatever is in it. In process: a machine that only has a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.sandbox.imds_instance import SINCE, instance_document

RESOURCE_ID = "/subscriptions/s-1/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/cvm"
NEWEST = "2025-04-07"


@dataclass
class Named:
    """What the instance document takes from a machine."""

    resource_id: str = RESOURCE_ID.lower()
    name: str = "cvm"
    region: str = "westeurope"
    vm_id: str = "6506b531-1634-431e-99d2-42b7d3414ad0"
    secure_boot: bool = True


def compute(document: Any, version: str = NEWEST) -> dict[str, Any]:
    said = instance_document(document, cast(Any, Named()), version)
    assert set(said) == {"compute", "network"}
    assert all(isinstance(leaf, str) for leaf in leaves(said))
    found: dict[str, Any] = said["compute"]
    return found


def leaves(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if children is None:
        yield value
    else:
        for child in children:
            yield from leaves(child)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"properties": None, "tags": None, "zones": None, "id": None},
        {"properties": {"osProfile": None, "securityProfile": "x", "hardwareProfile": [], "userData": None}},
        {"zones": [], "tags": []},
    ],
)
def test_a_document_that_says_little(document: dict[str, Any]) -> None:
    said = compute(document)
    assert (said["name"], said["vmSize"], said["userData"], said["zone"]) == ("cvm", "", "", "")
    assert said["securityProfile"] == {
        "secureBootEnabled": "true", "virtualTpmEnabled": "true", "encryptionAtHost": "false", "securityType": "",
    }  # fmt: skip


def test_values_that_are_no_texts() -> None:
    said = compute({
        "id": RESOURCE_ID, "zones": ["2"], "tags": {"n": 7, "b": True, "none": None},
        "properties": {"securityProfile": {"encryptionAtHost": True, "uefiSettings": {"secureBootEnabled": False}}},
    })  # fmt: skip
    assert (said["subscriptionId"], said["resourceGroupName"], said["zone"]) == ("s-1", "RG", "2")
    assert said["tags"] == "n:7;b:true;none:"
    assert said["tagsList"][0] == {"name": "n", "value": "7"}
    assert said["securityProfile"]["encryptionAtHost"] == "true"
    assert said["securityProfile"]["secureBootEnabled"] == "false"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["properties", "osProfile", "securityProfile", "uefiSettings", "tags", "zones", "vmSize", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["properties", "tags", "zones", "id"]), JSON))
def test_any_document_has_an_instance_of_texts(document: dict[str, Any]) -> None:
    assert compute(document)["vmId"] == Named().vm_id


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        ("2017-03-01", {"tags", "tagsList", "zone", "provider", "resourceId", "securityProfile", "userData"}),
        ("2018-10-01", {"tagsList", "resourceId", "securityProfile", "userData", "osProfile"}),
        ("2020-06-01", {"userData", "osProfile"}),
        ("2021-01-01", set()),
    ],
)
def test_each_member_has_its_version(version: str, absent: set[str]) -> None:
    said, all_of_it = compute({}, version), compute({})
    assert not absent & set(said)
    assert {name for name in set(all_of_it) - set(said) if SINCE[name] <= version} == set()
    assert absent <= set(all_of_it)
