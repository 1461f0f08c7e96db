"""What no template does for a Managed HSM: its activation, its local roles, and with them the first key.

Resource Manager makes the HSM and shows whether it is active; all else is its data plane's. The key could come from a
template too (`hsm-key`), once the HSM is active and its setting AllowKeyManagementOperationsThroughARM says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.provision import hsm
from skrkit.services.azure_errors import azure_call
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ROLE, assign, local_roles

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.deployment import Deployed, Order
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was done after the template, in sentences, and the commands that are left to others, in order.

    Commands are left where the HSM is not active: its security domain goes to people with keys of their own.
    """

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return both lists as JSON members."""
        return {"done": [*self.done], "left": [*self.left]}


def plan_of_opening(order: Order) -> list[str]:
    """Return one sentence for each thing that is done after the template, in order."""
    stage = order.stage
    return [
        f"Then, by no template: {stage.hsm} is activated; in Azure that is left to you, and the rest waits for it",
        f"Managed HSM {stage.hsm}: local role {CRYPTO_USER_ROLE} at /keys for {order.operator}",
        f"Key {stage.key} there: exportable, with a release policy for {stage.attestation}; one that is there stays",
        f"Managed HSM {stage.hsm}: local role {RELEASE_ROLE} at /keys/{stage.key} for that identity",
    ]


def open_hsm(cloud: Cloud, deployed: Deployed) -> Opened:
    """Return what was done to make a deployed HSM release the key to the deployed VM, and what is left to do.

    To do it again changes nothing. The caller is an administrator of the HSM. Raises `ServiceError` when Resource
    Manager or the HSM refuses, `UsageError` for a key of that name with another policy.
    """
    from skrkit.policy.templates import cvm_policy
    from skrkit.provision import key

    stage, operator = deployed.stage, deployed.order.operator
    url, done = stage.vault_url(cloud), []
    if not _is_active(cloud, deployed):
        if cloud.world != "sandbox":
            return Opened(left=(hsm.activation_command(stage.hsm),))
        hsm.activate_for_nobody(cloud, url)
        done.append(f"{stage.hsm} activated: its security domain went to nobody, and nobody can restore it.")
    scope, identity = f"/keys/{stage.key}", str(deployed.outputs["principalId"])
    with local_roles(cloud, url) as client:
        assign(client, CRYPTO_USER_ROLE, "/keys", operator)
        done.append(f"{CRYPTO_USER_ROLE} at /keys for {operator}.")
        assign(client, RELEASE_ROLE, scope, identity)
        done.append(f"{RELEASE_ROLE} at {scope} for {identity}, the VM's identity.")
    made = key.create(cloud, url, stage.key, cvm_policy(stage.attestation))
    done.append(f"Key {made.kid}, which this policy releases to a confidential VM.")
    return Opened(done=tuple(done))


def _is_active(cloud: Cloud, deployed: Deployed) -> bool:
    from skrkit.services import arm

    stage = deployed.stage
    with azure_call(f"Managed HSM {stage.hsm}"), arm.key_vaults(cloud) as client:
        answer = client.managed_hsms.get(stage.resource_group, stage.hsm)
    return answer is not None and hsm.activation_of(answer.as_dict()) == "Active"
