"""Causes on the way: names, connections, TLS, throttling, services that do not answer."""

from skrkit.diagnosis import sources
from skrkit.diagnosis.cause import OFF, Cause, Leg

CAUSES = (
    Cause(
        id="network.vault-name",
        leg=Leg.NETWORK,
        title="The vault's name does not resolve",
        symptom="No such host; Name or service not known; for <vault>.vault.azure.net",
        why="A vault's name is in DNS for as long as the vault is: the name is mistyped, the suffix is another "
        "service's (managedhsm, or another cloud's), or the vault is deleted and waits to be recovered.",
        fix="Compare the name letter by letter; look among the deleted vaults and recover it.",
        command="az keyvault list-deleted --query \"[?name=='{vault}']\"",
        mend=OFF,
        source=sources.KEY_VAULT_FIREWALL,
    ),
    Cause(
        id="network.vault-unreachable",
        leg=Leg.NETWORK,
        title="No connection to the vault",
        symptom="Connection refused, reset or timed out, for <vault>.vault.azure.net:443",
        why="A network security group, a route or a firewall drops what leaves for port 443 of the vault.",
        fix="Let the subnet reach the service tag AzureKeyVault on port 443.",
        command="az network nsg rule create --resource-group {resource_group} --nsg-name {nsg} --name key-vault "
        "--priority 200 --direction Outbound --access Allow --protocol Tcp "
        "--destination-address-prefixes AzureKeyVault --destination-port-ranges 443",
        mend=OFF,
        source=sources.KEY_VAULT_FIREWALL,
    ),
    Cause(
        id="network.vault-tls",
        leg=Leg.NETWORK,
        title="The vault's certificate is by an authority that is not trusted",
        symptom="CERTIFICATE_VERIFY_FAILED, for <vault>.vault.azure.net",
        why="Something on the way opens TLS and puts in a certificate of its own, or this system's list of authorities "
        "is not found, or its clock is far off.",
        fix="Take the vault out of the inspection; trusting the inspector's authority would show it the released key's "
        "envelope and the tokens.",
        command="openssl s_client -connect {vault}.vault.azure.net:443 -servername {vault}.vault.azure.net </dev/null",
        mend=OFF,
        source=sources.KEY_VAULT_FIREWALL,
    ),
    Cause(
        id="network.vault-throttled",
        leg=Leg.NETWORK,
        title="The vault is asked too often",
        symptom="429 Throttled: Request was not processed because too many requests were received. "
        "Reason: VaultRequestTypeLimitReached",
        why="Release shares the small bucket of key creation, 10 in 10 seconds for one vault. Many VMs that start at "
        "once empty it. The answer may have no Retry-After.",
        fix="Wait and try again, longer each time; keep the released key; let VMs start one after another.",
        mend=OFF,
        source=sources.KEY_VAULT_THROTTLING,
    ),
    Cause(
        id="network.vault-unavailable",
        leg=Leg.NETWORK,
        title="The vault's service is unavailable",
        symptom="500 or 503 from <vault>.vault.azure.net",
        why="A fault or an update on the service's side.",
        fix="Try again, longer each time; look at Azure's status, and keep x-ms-request-id for support.",
        mend=OFF,
        source=sources.KEY_VAULT_COMMON_ERRORS,
    ),
    Cause(
        id="network.maa-name",
        leg=Leg.NETWORK,
        title="The attestation provider's name does not resolve",
        symptom="No such host; Name or service not known; for <name>.attest.azure.net",
        why="The region's abbreviation is mistyped (westeurope is weu, eastus2 is eus2), or the address of a test ring "
        "was taken from a sample.",
        fix="Take the provider of the region: https://shared<x>.<x>.attest.azure.net.",
        command="az attestation get-default-by-location --location {location}",
        mend=OFF,
        source=sources.CVM_TOOLS,
    ),
    Cause(
        id="network.maa-unreachable",
        leg=Leg.NETWORK,
        title="No connection to the attestation provider",
        symptom="Connection refused, reset or timed out, for <name>.attest.azure.net:443",
        why="A network security group, a route or a firewall drops what leaves for port 443 of the provider.",
        fix="Let the subnet reach the service tag AzureAttestation on port 443.",
        command="az network nsg rule create --resource-group {resource_group} --nsg-name {nsg} --name attestation "
        "--priority 201 --direction Outbound --access Allow --protocol Tcp "
        "--destination-address-prefixes AzureAttestation --destination-port-ranges 443",
        mend=OFF,
        source=sources.MAA_FAQ,
    ),
    Cause(
        id="network.maa-tls",
        leg=Leg.NETWORK,
        title="The attestation provider's certificate is by an authority that is not trusted",
        symptom="CERTIFICATE_VERIFY_FAILED, for <name>.attest.azure.net",
        why="Something on the way opens TLS and puts in a certificate of its own, or the clock is far off.",
        fix="Take the provider out of the inspection; a token through such hands is none to trust.",
        source=sources.MAA_FAQ,
    ),
    Cause(
        id="network.maa-throttled",
        leg=Leg.NETWORK,
        title="The attestation provider is asked too often",
        symptom="429 from <name>.attest.azure.net",
        why="Shared providers limit their callers. A token lives eight hours, and one attestation is enough for many "
        "releases.",
        fix="Wait as long as Retry-After says, and keep the token while it is valid.",
        mend=OFF,
        source=sources.GUEST_ATTESTATION,
    ),
    Cause(
        id="network.maa-unavailable",
        leg=Leg.NETWORK,
        title="The attestation provider is unavailable",
        symptom="500 or 503 from <name>.attest.azure.net",
        why="A fault or an update on the service's side.",
        fix="Try again, longer each time; another region's provider serves as well where the policy names it.",
        mend=OFF,
        source=sources.GUEST_ATTESTATION,
    ),
    Cause(
        id="network.thim-unavailable",
        leg=Leg.NETWORK,
        title="The host does not give its AMD certificates (THIM)",
        symptom="404 or 5xx for /metadata/THIM/amd/certification",
        why="The host's service for certificates is updating, or the VM is no SEV-SNP VM.",
        fix="Try again after a minute; the certificates can be fetched from AMD's key service as well.",
        command="skrkit verify hcl-report.bin --fetch",
        mend=OFF,
        source=sources.CVM_TOOLS,
    ),
    Cause(
        id="network.kds",
        leg=Leg.NETWORK,
        title="AMD's key service does not give the certificate",
        symptom="404 or 429 from kdsintf.amd.com",
        why="404: another product line, a chip id of the wrong length (Turin's has 16 hex digits), or a missing "
        "fmcSPL. 429: AMD limits its callers.",
        fix="Choose the product line by the report's CPUID; wait and keep what was fetched.",
        command="skrkit verify hcl-report.bin --fetch",
        source=sources.AMD_KDS,
    ),
    Cause(
        id="network.entra",
        leg=Leg.NETWORK,
        title="Entra ID does not answer",
        symptom="No such host, refused, reset or timed out, for login.microsoftonline.com",
        why="Outside a VM the credential asks Entra ID itself; the name or the port is blocked.",
        fix="Let this machine reach login.microsoftonline.com on port 443 (service tag AzureActiveDirectory).",
        source=sources.KEY_VAULT_FIREWALL,
    ),
    Cause(
        id="network.arm",
        leg=Leg.NETWORK,
        title="Azure Resource Manager does not answer",
        symptom="No such host, refused, reset or timed out, for management.azure.com",
        why="Steps 1 to 3 prepare the VM and the vault through Resource Manager; the name or the port is blocked.",
        fix="Let this machine reach management.azure.com on port 443 (service tag AzureResourceManager).",
        source=sources.KEY_VAULT_FIREWALL,
    ),
    Cause(
        id="network.ca-bundle",
        leg=Leg.NETWORK,
        title="The client finds no list of certificate authorities",
        symptom="Problem with the SSL CA cert (path? access rights?), on RHEL or SUSE",
        why="Microsoft's attestation client is linked for the path that Debian has.",
        fix="Point the client to this system's list.",
        command="export CURL_CA_BUNDLE=/etc/pki/tls/certs/ca-bundle.crt",
        source=sources.GUEST_ATTESTATION,
    ),
    Cause(
        id="network.double-slash",
        leg=Leg.NETWORK,
        title="A proxy changes the path of the release",
        symptom="404 or a redirect for /keys/<name>//release",
        why="Without a version Azure's Python SDK sends two slashes. Key Vault takes them; a proxy that redirects to "
        "one loses the POST.",
        fix="Name the key's version, or let the proxy pass the path as it is.",
        source=sources.KEY_SDK,
    ),
)
