"""Which of Azure's clouds a command works in: one option, in the Azure CLI's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from skrkit.cloud import Cloud


def add_azure_cloud(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--azure-cloud` to a command that has `--cloud azure`."""
    parser.add_argument(
        "--azure-cloud",
        metavar="NAME",
        help="AzureCloud, AzureUSGovernment or AzureChinaCloud (default: AZURE_CLOUD_NAME, or the public one)",
    )


def azure_of(arguments: argparse.Namespace) -> Cloud:
    """Return the Azure that the options name: its cloud, tenant and subscription."""
    from skrkit.cloud import Cloud

    return Cloud.azure(
        tenant=arguments.tenant or "", subscription=arguments.subscription or "", name=arguments.azure_cloud or ""
    )
