"""Templates deployed by Azure's own client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azure.mgmt.resource.deployments import DeploymentsMgmtClient

from tests.sandbox.vault.azure import SUBSCRIPTION, Azure

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
NSG = "Microsoft.Network/networkSecurityGroups"
ADDRESS = "Microsoft.Network/publicIPAddresses"
API = "2024-05-01"
NESTED = "Microsoft.Resources/deployments"


def template(*resources: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A template with these resources."""
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return {"$schema": schema, "contentVersion": "1.0.0.0", "resources": list(resources), **sections}


def nsg(name: str, **members: Any) -> dict[str, Any]:
    """A security group: the simplest resource there is."""
    return {"type": NSG, "apiVersion": API, "name": name, "location": "[resourceGroup().location]"} | members


def nested(name: str, inner: dict[str, Any], *, scope: str = "", **members: Any) -> dict[str, Any]:
    """A deployment in a deployment."""
    options = {"expressionEvaluationOptions": {"scope": scope}} if scope else {}
    given = {"parameters": members.pop("parameters")} if "parameters" in members else {}
    properties = {"mode": "Incremental", "template": inner, **options, **given}
    return {"type": NESTED, "apiVersion": "2022-09-01", "name": name, "properties": properties, **members}


def properties(body: dict[str, Any], *, mode: str = "Incremental", **parameters: Any) -> dict[str, Any]:
    """The body of a deployment."""
    given = {name: {"value": value} for name, value in parameters.items()}
    return {"properties": {"mode": mode, "template": body, "parameters": given}}


@dataclass(frozen=True, slots=True)
class Deployer:
    """A sandbox and a client."""

    azure: Azure
    client: DeploymentsMgmtClient

    def deploy(self, body: dict[str, Any], *, name: str = "d", mode: str = "Incremental", **parameters: Any) -> Any:
        """Deploy and return the deployment's properties, as JSON."""
        given: Any = properties(body, mode=mode, **parameters)
        return self.client.deployments.begin_create_or_update("rg", name, given).result().as_dict()["properties"]

    def outputs(self, body: dict[str, Any], **parameters: Any) -> dict[str, Any]:
        """Deploy and return the values of the outputs."""
        return {name: out.get("value") for name, out in self.deploy(body, **parameters)["outputs"].items()}

    def what_if(self, body: dict[str, Any], *, mode: str = "Incremental", **parameters: Any) -> dict[str, Any]:
        """Predict and return the changes by the last part of their ids."""
        given: Any = properties(body, mode=mode, **parameters)
        answer = self.client.deployments.begin_what_if("rg", "d", given).result().as_dict()
        assert answer["status"] == "Succeeded"
        return {change["resourceId"].rpartition("/")[2]: change for change in answer["properties"]["changes"]}

    def names(self) -> list[str]:
        """The names of what is in the group."""
        listed = self.azure.arm("GET", f"{GROUP}/resources?api-version=2025-04-01").json()["value"]
        return sorted(one["name"] for one in listed)

    def order(self, name: str = "d") -> list[str]:
        """The names of what was made, in that order."""
        listed = self.client.deployment_operations.list("rg", name)
        return [str(one.properties.target_resource.resource_name) for one in listed]  # type: ignore[union-attr]

    def read(self, kind: str, name: str) -> dict[str, Any]:
        """A resource of the group."""
        answer = self.azure.arm("GET", f"{GROUP}/providers/{kind}/{name}?api-version={API}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
