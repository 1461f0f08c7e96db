"""What a role covers, in Azure's own definitions, and lists that are not what they should be."""

from __future__ import annotations

from typing import Any

import pytest

from skrkit.errors import ParseError
from skrkit.services.roles import allowed_by, permissions_of

# Permissions as Microsoft's documents print them, of the built-in roles of these names.
PUBLISHED: dict[str, dict[str, Any]] = {
    "Contributor": {
        "actions": ["*"],
        "notActions": [
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ],
        "dataActions": [],
        "notDataActions": [],
    },
    "Reader": {"actions": ["*/read"], "notActions": [], "dataActions": [], "notDataActions": []},
    "Managed Identity Operator": {
        "actions": [
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
        ]
    },
    "Key Vault Crypto Officer": {
        "actions": ["Microsoft.Authorization/*/read"],
        "dataActions": ["Microsoft.KeyVault/vaults/keys/*", "Microsoft.KeyVault/vaults/keyrotationpolicies/*"],
    },
    "Key Vault Crypto Service Release User": {"dataActions": ["Microsoft.KeyVault/vaults/keys/release/action"]},
    "Key Vault Reader": {"dataActions": ["Microsoft.KeyVault/vaults/*/read"]},
}


@pytest.mark.parametrize(
    ("role", "action", "data", "covered"),
    [
        ("Contributor", "Microsoft.Compute/virtualMachines/write", False, True),
        ("Contributor", "Microsoft.Authorization/roleAssignments/write", False, False),
        ("Contributor", "microsoft.authorization/ROLEASSIGNMENTS/write", False, False),
        ("Contributor", "Microsoft.KeyVault/vaults/keys/release/action", True, False),
        ("Reader", "Microsoft.KeyVault/vaults/read", False, True),
        ("Reader", "Microsoft.KeyVault/vaults/write", False, False),
        ("Managed Identity Operator", "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", False, True),
        ("Managed Identity Operator", "Microsoft.ManagedIdentity/userAssignedIdentities/delete", False, False),
        ("Key Vault Crypto Officer", "Microsoft.KeyVault/vaults/keys/release/action", True, True),
        ("Key Vault Crypto Officer", "Microsoft.KeyVault/vaults/secrets/getSecret/action", True, False),
        ("Key Vault Crypto Service Release User", "Microsoft.KeyVault/vaults/keys/release/action", True, True),
        ("Key Vault Crypto Service Release User", "Microsoft.KeyVault/vaults/keys/release/action", False, False),
        ("Key Vault Crypto Service Release User", "Microsoft.KeyVault/vaults/keys/read", True, False),
        ("Key Vault Reader", "Microsoft.KeyVault/vaults/keys/read", True, True),
        ("Key Vault Reader", "Microsoft.KeyVault/vaults/keys/wrap/action", True, False),
    ],
)
def test_what_a_published_role_covers(role: str, action: str, data: bool, covered: bool) -> None:
    assert allowed_by(permissions_of([PUBLISHED[role]], where="x"), action, data=data) is covered


def test_what_one_role_takes_out_another_gives() -> None:
    both = permissions_of(
        [PUBLISHED["Contributor"], {"actions": ["Microsoft.Authorization/roleAssignments/*"]}], where="x"
    )
    assert allowed_by(both, "Microsoft.Authorization/roleAssignments/write")


@pytest.mark.parametrize("action", ["", "*", "Microsoft.KeyVault/vaults/keys/release/action\n", "x" * 10000])
def test_an_action_is_no_pattern(action: str) -> None:
    assert not allowed_by(permissions_of([PUBLISHED["Key Vault Crypto Service Release User"]], where="x"), action)


@pytest.mark.parametrize(
    ("value", "where"),
    [("x", "/x"), ([1], "/x"), ([{"actions": "*"}], "/x /actions"), ([{"dataActions": [1]}], "/x /dataActions")],
)
def test_what_is_no_list_of_permissions_is_refused_by_name(value: Any, where: str) -> None:
    with pytest.raises(ParseError) as caught:
        permissions_of(value, where="/x")
    assert caught.value.where == where
