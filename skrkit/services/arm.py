"""Azure Resource Manager: the SDK's own management clients, directed into a cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.mgmt.authorization import AuthorizationManagementClient
    from azure.mgmt.compute import ComputeManagementClient
    from azure.mgmt.keyvault import KeyVaultManagementClient
    from azure.mgmt.resource.deployments import DeploymentsMgmtClient
    from azure.mgmt.resource.resources import ResourceManagementClient

    from skrkit.cloud import Cloud


def _options(cloud: Cloud, transport: Any) -> dict[str, Any]:
    return cloud.client_options(transport) | {
        "base_url": f"https://{cloud.endpoints.management}",
        "credential_scopes": [f"{cloud.endpoints.management_resource}/.default"],
        "polling_interval": 2,  # seconds between polls when the service says nothing; the SDK's own 30 is a long wait
    }


def compute(cloud: Cloud, transport: Any = None) -> ComputeManagementClient:
    """Return the client for virtual machines."""
    from azure.mgmt.compute import ComputeManagementClient

    return ComputeManagementClient(cloud.credential(), cloud.subscription, **_options(cloud, transport))


def key_vaults(cloud: Cloud, transport: Any = None) -> KeyVaultManagementClient:
    """Return the client for vaults as resources: their access policies, not their keys."""
    from azure.mgmt.keyvault import KeyVaultManagementClient

    return KeyVaultManagementClient(cloud.credential(), cloud.subscription, **_options(cloud, transport))


def role_assignments(cloud: Cloud, transport: Any = None) -> AuthorizationManagementClient:
    """Return the client for role assignments. Its import takes a fifth of a second: only who assigns asks for it."""
    from azure.mgmt.authorization import AuthorizationManagementClient

    return AuthorizationManagementClient(cloud.credential(), cloud.subscription, **_options(cloud, transport))


def resource_groups(cloud: Cloud, transport: Any = None) -> ResourceManagementClient:
    """Return the client for resource groups."""
    from azure.mgmt.resource.resources import ResourceManagementClient

    return ResourceManagementClient(cloud.credential(), cloud.subscription, **_options(cloud, transport))


def deployments(cloud: Cloud, transport: Any = None) -> DeploymentsMgmtClient:
    """Return the client for template deployments."""
    from azure.mgmt.resource.deployments import DeploymentsMgmtClient

    return DeploymentsMgmtClient(cloud.credential(), cloud.subscription, **_options(cloud, transport))
