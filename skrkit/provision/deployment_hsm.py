"""What no template does for a Managed HSM: its activation, its local roles, and with them the first key.

Resource Manager makes the HSM and shows whether it is active; all else is its data plane's. The key could come from a
template too (`hsm-key`), once the HSM is active and its setting AllowKeyManagementOperationsThroughARM says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.provision import hsm
from skrkit.services.azure_errors import azure_call
from skrkit.services.hsm import CRYPTO_USER_ROLE, RELEASE_ROLE, assign, local_roles
from skrkit.services.security_domain import activate

if TYPE_CHECKING:
    from cryptography import x509

    from skrkit.cloud import Cloud
    from skrkit.provision.deployment import Deployed, Order
    from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Who together can restore an HSM, how many of them it takes, and what keeps its security domain for them."""

    certificates: tuple[x509.Certificate, ...]
    quorum: int
    keep: Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was done after the template, in sentences, and the commands that are left to others, in order.

    Commands are left where the HSM is not active, and nobody was named who is to hold its security domain.
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
        f"Then, by no template: {stage.hsm} is activated, in Azure for the --holder that you name or else by you alone",
        f"Managed HSM {stage.hsm}: local role {CRYPTO_USER_ROLE} at /keys for {order.operator}",
        f"Key {stage.key} there: exportable, with a release policy for {stage.attestation}; one that is there stays",
        f"Managed HSM {stage.hsm}: local role {RELEASE_ROLE} at /keys/{stage.key} for that identity",
    ]


def open_hsm(cloud: Cloud, deployed: Deployed, holders: Holders | None = None) -> Opened:
    """Return what was done to make a deployed HSM release the key to the deployed VM, and what is left to do.

    An HSM that is not active is activated for the `holders`; without them in the sandbox alone, for nobody.
    To do it again changes nothing. The caller is an administrator of the HSM. Raises `ServiceError` when Resource
    Manager or the HSM refuses, `UsageError` for a key of that name with another policy.
    """
    from skrkit.policy.templates import cvm_policy
    from skrkit.provision import key

    stage, operator = deployed.stage, deployed.order.operator
    url, done = stage.vault_url(cloud), []
    if not _is_active(cloud, deployed):
        if holders is None and cloud.world != "sandbox":
            return Opened(left=(hsm.activation_command(stage.hsm),))
        done.append(_activated(cloud, deployed, holders))
    scope, identity = f"/keys/{stage.key}", str(deployed.outputs["principalId"])
    with local_roles(cloud, url) as client:
        assign(client, CRYPTO_USER_ROLE, "/keys", operator)
        done.append(f"{CRYPTO_USER_ROLE} at /keys for {operator}.")
        assign(client, RELEASE_ROLE, scope, identity)
        done.append(f"{RELEASE_ROLE} at {scope} for {identity}, the VM's identity.")
    made = key.create(cloud, url, stage.key, cvm_policy(stage.attestation))
    done.append(f"Key {made.kid}, which this policy releases to a confidential VM.")
    return Opened(done=tuple(done))


def _activated(cloud: Cloud, deployed: Deployed, holders: Holders | None) -> str:
    """Return in a sentence for whom the HSM was activated."""
    name, url = deployed.stage.hsm, deployed.stage.vault_url(cloud)
    if holders is None:
        hsm.activate_for_nobody(cloud, url)
        return f"{name} activated: its security domain went to nobody, and nobody can restore it."
    activate(cloud, url, holders.certificates, quorum=holders.quorum, keep=holders.keep)
    return f"{name} activated: {holders.quorum} of {len(holders.certificates)} holders restore it with its domain."


def _is_active(cloud: Cloud, deployed: Deployed) -> bool:
    from skrkit.services import arm

    stage = deployed.stage
    with azure_call(f"Managed HSM {stage.hsm}"), arm.key_vaults(cloud) as client:
        answer = client.managed_hsms.get(stage.resource_group, stage.hsm)
    return answer is not None and hsm.activation_of(answer.as_dict()) == "Active"
