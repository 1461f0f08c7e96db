"""Azure's clouds, in one table: hosts, suffixes and audiences of each.

Names are those of the Azure CLI (`az cloud list`): AzureCloud, AzureUSGovernment, AzureChinaCloud. Sources: the
developer's guide of Key Vault, azure-mgmt-core's table of Resource Manager's audiences, azure-identity's of Entra's
hosts, Azure/cvm-attestation-tools for the attestation providers. What none of them has is in `inferred`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from skrkit.errors import UsageError

CLOUD_VARIABLE = "AZURE_CLOUD_NAME"  # the Azure CLI's own: its setting `cloud.name`
AUTHORITY_VARIABLE = "AZURE_AUTHORITY_HOST"  # azure-identity's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The names that one Azure cloud uses. Bare hosts and suffixes; URLs are made from them.

    `imds_environment` is what IMDS calls it (`azEnvironment`). `inferred` are the members that no source has.
    """

    name: str = "AzureCloud"
    title: str = "Azure, the public cloud"
    login: str = "login.microsoftonline.com"
    login_aliases: tuple[str, ...] = ("login.windows.net",)
    management: str = "management.azure.com"
    management_resource: str = "https://management.azure.com"
    vault_suffix: str = "vault.azure.net"
    managedhsm_suffix: str = "managedhsm.azure.net"
    attest_suffix: str = "attest.azure.net"
    imds: str = "http://169.254.169.254"
    imds_environment: str = "AzurePublicCloud"
    inferred: tuple[str, ...] = ()

    @property
    def vault_resource(self) -> str:
        """The resource, and so the audience, of an access token for vaults. A slash at its end makes it another."""
        return f"https://{self.vault_suffix}"

    @property
    def hsm_resource(self) -> str:
        """The resource, and so the audience, of an access token for Managed HSMs."""
        return f"https://{self.managedhsm_suffix}"

    def vault_url(self, vault: str) -> str:
        """Return the base URL of a vault by its name."""
        return f"https://{vault}.{self.vault_suffix}"

    def hsm_url(self, hsm: str) -> str:
        """Return the base URL of a Managed HSM by its name."""
        return f"https://{hsm}.{self.managedhsm_suffix}"

    def check_attestation(self, url: str) -> None:
        """Return nothing if a provider's URL is in this cloud. Raises `UsageError` for one of another cloud.

        A host in no cloud's zone is not judged: `skrkit policy lint` has words for it.
        """
        host = url.removeprefix("https://").partition("/")[0].lower()
        other = next((each for each in CLOUDS.values() if host.endswith(f".{each.attest_suffix}")), self)
        if other.attest_suffix != self.attest_suffix:
            raise UsageError(
                what="attestation provider",
                where=url,
                expected=f"one of {self.title}: https://….{self.attest_suffix}",
                found=f"one of {other.title}",
                fix=f"Name a provider of this cloud, or work in the other: --azure-cloud {other.name}",
            )


PUBLIC = Endpoints()
US_GOVERNMENT = Endpoints(
    name="AzureUSGovernment",
    title="Azure Government",
    login="login.microsoftonline.us",
    login_aliases=(),
    management="management.usgovcloudapi.net",
    management_resource="https://management.core.usgovcloudapi.net",
    vault_suffix="vault.usgovcloudapi.net",
    managedhsm_suffix="managedhsm.usgovcloudapi.net",
    attest_suffix="attest.azure.us",
    imds_environment="AzureUSGovernmentCloud",
)
CHINA = Endpoints(
    name="AzureChinaCloud",
    title="Azure China",
    login="login.chinacloudapi.cn",
    login_aliases=("login.partner.microsoftonline.cn",),
    management="management.chinacloudapi.cn",
    management_resource="https://management.chinacloudapi.cn",
    vault_suffix="vault.azure.cn",
    managedhsm_suffix="managedhsm.azure.cn",
    attest_suffix="attest.azure.cn",
    imds_environment="AzureChinaCloud",
    inferred=("attest_suffix",),  # by analogy; no provider there is known, nor whether there is one
)
CLOUDS: Mapping[str, Endpoints] = {each.name: each for each in (PUBLIC, US_GOVERNMENT, CHINA)}


def endpoints_named(name: str) -> Endpoints:
    """Return a cloud's row by its name, in any case. Raises `UsageError` that lists the names."""
    for known, endpoints in CLOUDS.items():
        if known.lower() == name.lower():
            return endpoints
    raise _unknown("its name", ", ".join(CLOUDS), name)


def chosen_endpoints(name: str = "", environment: Mapping[str, str] = os.environ) -> Endpoints:
    """Return the row of `name`, or of the cloud that the environment names, or the public cloud's.

    AZURE_CLOUD_NAME comes before AZURE_AUTHORITY_HOST. Raises `UsageError` for what is in no row, and for two that
    contradict each other: azure-identity would sign in to one cloud for the services of another.
    """
    named = name or environment.get(CLOUD_VARIABLE, "")
    host = environment.get(AUTHORITY_VARIABLE, "").lower().removeprefix("https://").rstrip("/")
    by_host = next((each for each in CLOUDS.values() if host in (each.login, *each.login_aliases)), None)
    if host and by_host is None:
        known = ", ".join(each.login for each in CLOUDS.values())
        raise _unknown(AUTHORITY_VARIABLE, known, host)
    if not named:
        return by_host or PUBLIC
    chosen = endpoints_named(named)
    if by_host is not None and by_host is not chosen:
        raise UsageError(
            what="Azure cloud",
            where=AUTHORITY_VARIABLE,
            expected=f"{chosen.login}, of {chosen.name}, or nothing",
            found=host,
            fix=f"unset {AUTHORITY_VARIABLE}   or choose --azure-cloud {by_host.name}",
        )
    return chosen


def _unknown(where: str, expected: str, found: str) -> UsageError:
    return UsageError(
        what="Azure cloud",
        where=where,
        expected=f"one of {expected}",
        found=repr(found),
        fix="az cloud show --query name   says which one the Azure CLI uses",
    )
