"""Steps 1 to 3 by one template: what it would change, and its deployment, after which the walk goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

from skrkit.errors import ServiceError, UsageError
from skrkit.provision.deleted_names import with_ways_out
from skrkit.provision.roles import OFFICER_ROLE, RELEASE_ROLE
from skrkit.provision.stage import Stage
from skrkit.provision.tags import DEPLOY
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from azure.mgmt.resource.deployments import DeploymentsMgmtClient

    from skrkit.cloud import Cloud
    from skrkit.wire import Json

NESTED = "Microsoft.Resources/deployments"
POLL_S = 2.0
MAX_KEY_CHARACTERS = 16_384  # of an SSH public key: RSA with 16384 bits has 3000
# A public key whose private half was never kept: nobody signs in to a machine of the sandbox.
NOBODYS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINUerhThpAHWEU1MrOsFfTvcriX8fraNpJSuZMMr8hEn nobody"
_KEY_KINDS = ("ssh-rsa ", "ssh-ed25519 ")  # what Azure takes for a Linux VM
_FIXES = {
    "SkuNotAvailable": "Choose another --vm-size or --location: az vm list-skus --size Standard_DC --output table",
    "QuotaExceeded": "Ask for more cores of this family, or take a smaller --vm-size.",
    "OperationNotAllowed": "Ask for more cores of this family, or take a smaller --vm-size.",
    "VaultAlreadyExists": "The names of vaults are unique in all of Azure: choose another with --vault.",
    "AuthorizationFailed": "Grant the caller Contributor on the resource group, or deploy as who has it.",
    "PropertyChangeNotAllowed": "What is fixed when a VM is made differs from the VM that is there: another --vm.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be deployed, and as what. `operator` is the object id of who prepares the keys.

    `ssh_source` is from where SSH is let in, nothing for nowhere; `admin_public_key` a line of an authorized_keys file.
    """

    stage: Stage
    operator: str
    admin_public_key: str
    admin: str = "azureuser"
    vm_size: str = "Standard_DC2as_v5"
    public_ip: bool = False
    ssh_source: str = ""

    def __post_init__(self) -> None:
        """Refuse a text that is no public key, above all a private one, before it is sent anywhere."""
        key = self.admin_public_key
        if not key.startswith(_KEY_KINDS) or len(key) > MAX_KEY_CHARACTERS or "\n" in key.strip():
            raise UsageError(
                what="SSH public key",
                where="--ssh-public-key",
                expected="one line that begins with ssh-ed25519 or ssh-rsa",
                found="a private key" if "PRIVATE KEY" in key else f"{len(key)} characters of something else",
                fix="Give the .pub file: --ssh-public-key ~/.ssh/id_ed25519.pub",
            )

    @property
    def name(self) -> str:
        """The deployment's name."""
        return f"skrkit-{self.stage.vm}"[:64]

    @property
    def template_name(self) -> str:
        """The name of the template that makes all of it: with a Managed HSM another than with a vault."""
        return "main-hsm" if self.stage.hsm else "main"

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the template, as a deployment takes them."""
        stage = self.stage
        of_vault = {
            "vaultName": stage.vault,
            "keyName": stage.key,
            "attestationUri": stage.attestation,
            "rbac": stage.rbac,
        }
        given = {
            "location": stage.location,
            "vmName": stage.vm,
            **({"hsmName": stage.hsm} if stage.hsm else of_vault),
            "operatorObjectId": self.operator,
            "vmSize": self.vm_size,
            "adminUsername": self.admin,
            "adminPublicKey": self.admin_public_key.strip(),
            "publicIp": self.public_ip,
            "sshSource": self.ssh_source,
        }
        return {name: {"value": value} for name, value in given.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a deployment would do to one resource: `kind` is Azure's word, `paths` are the members that would change."""

    resource_id: str
    kind: str
    paths: tuple[str, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the change as JSON members."""
        members: dict[str, Json] = {"resource_id": self.resource_id, "change": self.kind, "paths": list(self.paths)}
        return members | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One resource that a deployment made, or could not make: then `code` and `message` say why."""

    operation: str
    resource_id: str
    type: str
    name: str
    state: str
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployment that succeeded: its outputs, its resources, and the stage on which the walk goes on."""

    order: Order
    stage: Stage
    outputs: dict[str, Json] = field(default_factory=dict)
    resources: tuple[Made, ...] = ()


Progress: TypeAlias = Callable[[Made], None]
"""What is done with each resource as soon as it is made, or could not be."""


def template(name: str = "main") -> dict[str, Any]:
    """Return one of the shipped ARM templates, by its name without an ending. Raises `UsageError` for another name."""
    folder = files("skrkit.provision") / "templates"
    names = sorted(each.name.removesuffix(".json") for each in folder.iterdir() if each.name.endswith(".json"))
    if name not in names:
        raise UsageError(
            what="template",
            where="its name",
            expected=", ".join(names),
            found=repr(name),
            fix="skrkit deploy --template   prints the one that deploys all",
        )
    made: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return made


def plan_of_deployment(order: Order) -> list[str]:
    """Return one sentence for each thing that the template makes or changes, in order."""
    stage, reach = order.stage, "a public address" if order.public_ip else "no public address"
    inside = f"SSH from {order.ssh_source}" if order.ssh_source else "nothing let in"
    group = f"Resource group {stage.resource_group} in {stage.location}: made if it is not there"
    network = f"Network {stage.vm}-vnet with security group and interface {stage.vm}-nic: {inside}, {reach}"
    vm = f"Confidential VM {stage.vm} ({order.vm_size}) with a system-assigned identity, billed while it runs"
    if stage.hsm:
        from skrkit.provision.deployment_hsm import plan_of_opening

        hsm = f"Managed HSM {stage.hsm} (Standard_B1): {order.operator} is its first administrator; billed by the hour"
        return [group, network, hsm, vm, *plan_of_opening(order)]
    vault = f"its access policies become those of {order.operator} and of the VM, no others"
    grants = ["key permission `release` for that identity"]
    if stage.rbac:
        vault = "it goes by Azure roles; access policies that it has say nothing from then on"
        grants = [f"role {RELEASE_ROLE} for that identity", f"role {OFFICER_ROLE} for {order.operator}"]
    return [
        group,
        network,
        f"Vault {stage.vault} (Premium): {vault}",
        f"Key {stage.key} there: exportable, with a release policy for {stage.attestation}; one that is there stays",
        vm,
        *(f"Vault {stage.vault}: {grant}" for grant in grants),
    ]


def operator_of(cloud: Cloud) -> str:
    """Return the object id of who deploys: Resource Manager's access token says it. Raises `ServiceError`."""
    from skrkit.services.reader import Reader
    from skrkit.token.decode import decode_jwt

    if cloud.operator:
        return cloud.operator
    with Reader(cloud) as reader:
        return str(decode_jwt(reader.token(cloud.endpoints.management)).claims.get("oid") or "")


def group_exists(cloud: Cloud, order: Order) -> bool:
    """Return whether the resource group is there: without one, Azure predicts nothing."""
    from skrkit.services import arm

    with azure_call("resource group"), arm.resource_groups(cloud) as groups:
        return bool(groups.resource_groups.check_existence(order.stage.resource_group))


def predict(cloud: Cloud, order: Order) -> tuple[Change, ...]:
    """Return what the deployment would change, as Resource Manager predicts it. Nothing is changed.

    Raises `ServiceError` when the template, or the caller, is refused.
    """
    from azure.mgmt.resource.deployments.models import DeploymentWhatIf

    from skrkit.services import arm

    with azure_call(f"what-if of deployment {order.name}"), arm.deployments(cloud) as client:
        answer = client.deployments.begin_what_if(
            order.stage.resource_group, order.name, DeploymentWhatIf(_body(order))
        ).result()
        found = answer.as_dict()
    if found.get("error"):
        raise _failure(order, found["error"].get("code", ""), found["error"].get("message", ""), order.name)
    return tuple(_change(change) for change in (found.get("properties") or {}).get("changes") or [])


def _body(order: Order) -> dict[str, Any]:
    made = {"template": template(order.template_name), "parameters": order.parameters()}
    return {"properties": {"mode": "Incremental", **made}}


def _change(change: dict[str, Any]) -> Change:
    return Change(
        resource_id=str(change.get("resourceId", "")),
        kind=str(change.get("changeType", "")),
        paths=tuple(_paths(change.get("delta") or [])),
        reason=str(change.get("unsupportedReason") or ""),
    )


def _paths(delta: list[dict[str, Any]], above: str = "") -> Iterator[str]:
    for change in delta:
        path = f"{above}.{change['path']}" if above else str(change["path"])
        children = change.get("children")
        if children:
            yield from _paths(children, path)
        else:
            after = change.get("after")
            unresolved = isinstance(after, str) and after.startswith("[")  # Azure then says that it changes
            yield f"{path} (known only when it is deployed)" if unresolved else path


def deploy(cloud: Cloud, order: Order, *, progress: Progress = lambda _made: None) -> Deployed:
    """Return what was deployed, and the stage for the walk. The resource group is made if it is not there.

    Raises `ServiceError` for a template that is refused, and for the first resource that could not be made, with the
    service's own code and words.
    """
    from azure.mgmt.resource.deployments.models import Deployment
    from azure.mgmt.resource.resources.models import ResourceGroup

    from skrkit.services import arm

    group = order.stage.resource_group
    if not group_exists(cloud, order):
        with azure_call("resource group"), arm.resource_groups(cloud) as groups:
            groups.resource_groups.create_or_update(group, ResourceGroup(location=order.stage.location, tags=DEPLOY))
    try:
        with azure_call(f"deployment {order.name}"), arm.deployments(cloud) as client:
            poller = client.deployments.begin_create_or_update(group, order.name, Deployment(_body(order)))
            made = _watched(client, order, poller, progress)
            answer = client.deployments.get(group, order.name).as_dict()
    except ServiceError as error:
        raise with_ways_out(cloud, order.stage, error) from error
    properties = answer.get("properties") or {}
    outputs = {name: output.get("value") for name, output in (properties.get("outputs") or {}).items()}
    return Deployed(order=order, stage=_stage_of(order.stage, outputs), outputs=outputs, resources=tuple(made))


def _watched(client: DeploymentsMgmtClient, order: Order, poller: Any, progress: Progress) -> list[Made]:
    """Return what was made, each told as soon as it is listed, when the deployment has ended.

    Raises `ServiceError` for the first resource that failed, and the SDK's error where none is listed.
    """
    from azure.core.exceptions import HttpResponseError

    known: dict[str, Made] = {}
    ended, error = False, None
    while not ended:
        try:
            poller.wait(POLL_S)
            ended = poller.done()
        except HttpResponseError as refused:  # the operation says Failed, and not of what
            ended, error = True, refused
        for made in _operations(client, order.stage.resource_group, order.name):
            if made.operation not in known:
                known[made.operation] = made
                progress(made)
    for made in known.values():
        if made.state == "Failed":
            raise _failure(order, made.code, made.message, f"{made.type} {made.name}") from error
    if error is not None:
        raise error
    return list(known.values())


def _operations(client: DeploymentsMgmtClient, group: str, name: str) -> Iterator[Made]:
    """Yield the operations that have ended, those of nested deployments in their place."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        listed = [operation.as_dict() for operation in client.deployment_operations.list(group, name)]
    except ResourceNotFoundError:  # a nested deployment that has not begun
        return
    for operation in listed:
        properties = operation.get("properties") or {}
        target = properties.get("targetResource")
        if not target:  # the evaluation of the outputs
            continue
        if str(target.get("resourceType", "")).lower() == NESTED.lower():
            yield from _operations(client, group, str(target.get("resourceName", "")))
        elif properties.get("provisioningState") in ("Succeeded", "Failed"):
            yield _made(operation, properties, target)


def _made(operation: dict[str, Any], properties: dict[str, Any], target: dict[str, Any]) -> Made:
    message = properties.get("statusMessage") or {}
    error = message.get("error") or {} if isinstance(message, dict) else {}
    return Made(
        operation=str(operation.get("operationId", "")),
        resource_id=str(target.get("id", "")),
        type=str(target.get("resourceType", "")),
        name=str(target.get("resourceName", "")),
        state=str(properties["provisioningState"]),
        code=str(error.get("code", "")),
        message=str(error.get("message", "")),
    )


def _failure(order: Order, code: str, message: str, where: str) -> ServiceError:
    return ServiceError(
        what=f"deployment {order.name}",
        where=where,
        expected="every resource of the template made",
        found=f"{code}: {message}",
        fix=_FIXES.get(code)
        or f"az deployment operation group list --resource-group {order.stage.resource_group} --name {order.name}",
        code=code,
    )


def _stage_of(stage: Stage, outputs: dict[str, Json]) -> Stage:
    """Return the stage with the names that the deployment itself gives back."""
    return replace(
        stage,
        vm=str(outputs.get("vmName") or stage.vm),
        vault=str(outputs.get("vaultName") or stage.vault),
        hsm=str(outputs.get("hsmName") or stage.hsm),
        key=str(outputs.get("keyName") or stage.key),
        attestation=str(outputs.get("attestationUri") or stage.attestation),
    )
