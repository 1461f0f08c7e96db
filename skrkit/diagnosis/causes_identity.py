"""Causes in the identity: IMDS, and the managed identity of the VM."""

from skrkit.diagnosis import sources
from skrkit.diagnosis.cause import OFF, Cause, Leg

CAUSES = (
    Cause(
        id="identity.none",
        leg=Leg.IDENTITY,
        title="The VM has no managed identity",
        symptom='IMDS 400 {"error":"invalid_request","error_description":"Identity not found"}',
        why="Key Vault must know who asks. Without an identity of the VM, IMDS has no token to give.",
        fix="Give the VM a system-assigned identity, then grant it release on the vault: its object id is new.",
        command="az vm identity assign --resource-group {resource_group} --name {vm}",
        mend="skrkit walkthrough --step 2",
        source=sources.MANAGED_IDENTITY,
    ),
    Cause(
        id="identity.several",
        leg=Leg.IDENTITY,
        title="The VM has several identities, and the request names none",
        symptom="IMDS 400 invalid_request: Multiple user assigned identities exist, please specify the clientId / "
        "resourceId of the identity in the token request",
        why="With several user-assigned identities and no system-assigned one, IMDS does not choose.",
        fix="Name one in the request: client_id, object_id or msi_res_id; for azure-identity, "
        "ManagedIdentityCredential(client_id=…); for skrkit, --user-identity NAME.",
        command="az vm identity show --resource-group {resource_group} --name {vm}",
        mend=OFF,
        source=sources.MANAGED_IDENTITY,
    ),
    Cause(
        id="identity.wrong-selector",
        leg=Leg.IDENTITY,
        title="The request names an identity that this VM does not have",
        symptom="IMDS 400 invalid_request: Identity not found, for a request with client_id, object_id or msi_res_id",
        why="The selector is of another VM, of an identity that was deleted and made again, or has a typing error.",
        fix="Name an identity that is assigned to this VM, or leave the selector out where there is only one.",
        command="az vm identity show --resource-group {resource_group} --name {vm}",
        mend=OFF,
        source=sources.MANAGED_IDENTITY,
    ),
    Cause(
        id="identity.imds-throttled",
        leg=Leg.IDENTITY,
        title="IMDS is asked too often",
        symptom="IMDS 429",
        why="IMDS takes 5 requests a second of a VM, and 20 with 5 at once for identity tokens.",
        fix="Keep tokens until they expire, and wait longer after each refusal.",
        mend=OFF,
        source=sources.IMDS,
    ),
    Cause(
        id="identity.imds-down",
        leg=Leg.IDENTITY,
        title="IMDS does not answer",
        symptom="IMDS 404, 410 or 5xx, or no answer from 169.254.169.254",
        why="The host updates the service, which takes up to 70 seconds; or this machine is no VM in Azure; or a rule "
        "of the guest's own firewall is in the way.",
        fix="Try again for 70 seconds; if nothing answers at all, see that this is an Azure VM and that no rule drops "
        "169.254.169.254.",
        command='curl -s --noproxy "*" -H Metadata:true '
        '"http://169.254.169.254/metadata/instance?api-version=2021-12-13"',
        mend=OFF,
        source=sources.IMDS,
    ),
    Cause(
        id="identity.imds-proxied",
        leg=Leg.IDENTITY,
        title="A proxy stands between this VM and IMDS",
        symptom="403 with HTML, a timeout, or 400 because of X-Forwarded-For, from 169.254.169.254",
        why="IMDS answers only requests that come straight from the VM, and refuses those that a proxy has passed on.",
        fix="Leave the address out of the proxy's range: NO_PROXY=169.254.169.254, for the service's account as well.",
        command='export NO_PROXY="169.254.169.254,$NO_PROXY"',
        mend=OFF,
        source=sources.IMDS,
    ),
    Cause(
        id="identity.imds-header",
        leg=Leg.IDENTITY,
        title="The request to IMDS has no Metadata header",
        symptom="IMDS 400: Required metadata header not specified",
        why="IMDS asks for the header so that a request which somebody else provoked is no use to them.",
        fix="Send the header Metadata: true.",
        command="curl -s -H Metadata:true "
        '"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01'
        '&resource=https%3A%2F%2Fvault.azure.net"',
        source=sources.IMDS,
    ),
    Cause(
        id="identity.imds-format",
        leg=Leg.IDENTITY,
        title="IMDS is asked for one value without format=text, or for an api-version that it does not have",
        symptom="IMDS 400 or 404 for a path that ends in a single value; Bad request. api-version is invalid",
        why="A single value is given as text only, and every path but THIM's asks for an api-version.",
        fix="Add format=text for a single value, and an api-version such as 2021-12-13.",
        source=sources.IMDS,
    ),
    Cause(
        id="identity.invalid-resource",
        leg=Leg.IDENTITY,
        title="The token is asked for an application that the tenant does not have",
        symptom="IMDS 400 invalid_resource: AADSTS50001",
        why="The resource is the application that the token is for. A vault's own address is not one.",
        fix="Ask for https://vault.azure.net, or https://managedhsm.azure.net for a Managed HSM.",
        source=sources.MANAGED_IDENTITY,
    ),
    Cause(
        id="identity.no-credential",
        leg=Leg.IDENTITY,
        title="There is no credential to ask with",
        symptom="DefaultAzureCredential failed to retrieve a token from the included credentials",
        why="Outside a VM there is no managed identity, and nobody has signed in.",
        fix="Sign in, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
        command="az login",
        source=sources.MANAGED_IDENTITY,
    ),
)
