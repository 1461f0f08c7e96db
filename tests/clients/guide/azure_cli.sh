# Steps 1 to 3 of the guide by the Azure CLI, as an operator types them. Run by `skrkit sandbox exec`.
# Arguments: resource group, VM, new vault, policy file, template folder, attestation provider. Prints the key's id.
set -eu
group=$1 vm=$2 vault=$3 policy=$4 templates=$5 provider=$6
quiet() { "$@" --only-show-errors --output none; }
value() { "$@" --only-show-errors --output tsv; }

quiet az login --service-principal --username "$AZURE_CLIENT_ID" --password "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID"
[ "$(value az account show --query id)" = "$AZURE_SUBSCRIPTION_ID" ]
quiet az group create --name "$group-az" --location westeurope
[ "$(value az group exists --name "$group-az")" = true ]
quiet az provider register --namespace Microsoft.KeyVault

# 0: a confidential VM, with all that the CLI makes around one
image=Canonical:0001-com-ubuntu-confidential-vm-jammy:22_04-lts-cvm:latest
quiet az vm create --resource-group "$group-az" --name "$vm-az" --size Standard_DC2as_v5 --image "$image" \
    --security-type ConfidentialVM --os-disk-security-encryption-type VMGuestStateOnly --enable-vtpm true \
    --enable-secure-boot true --admin-username guide --authentication-type password \
    --admin-password "$(openssl rand -hex 12)Aa!"
[ "$(value az vm show --resource-group "$group-az" --name "$vm-az" --query securityProfile.securityType)" = ConfidentialVM ]
quiet az vm delete --resource-group "$group-az" --name "$vm-az" --yes

# 1: an identity for the VM
quiet az vm identity assign --resource-group "$group" --name "$vm"
identity=$(value az vm show --resource-group "$group" --name "$vm" --query identity.principalId)

# 2: a vault, and no more than release for that identity
quiet az keyvault create --name "$vault" --resource-group "$group-az" --location westeurope --sku premium \
    --retention-days 7 --enable-rbac-authorization false
scope=$(value az keyvault show --name "$vault" --query id)
quiet az keyvault set-policy --name "$vault" --spn "$AZURE_CLIENT_ID" --key-permissions create get list delete purge
quiet az keyvault set-policy --name "$vault" --object-id "$identity" --key-permissions release
[ "$(value az keyvault list --resource-group "$group-az" --query '[].name')" = "$vault" ]

# 3: an exportable key with a release policy, by the data plane and by a template
quiet az keyvault key create --vault-name "$vault" --name by-az --kty RSA-HSM --size 2048 --exportable true \
    --policy "$policy" --ops encrypt decrypt wrapKey unwrapKey
[ "$(value az keyvault key show --vault-name "$vault" --name by-az --query attributes.exportable)" = true ]
deploy() {
    action=$1 && shift
    az deployment group "$action" --resource-group "$group-az" --name key --only-show-errors "$@" \
        --template-file "$templates/key.json" \
        --parameters vaultName="$vault" keyName=by-template attestationUri="$provider"
}
deploy validate --output none
deploy what-if --no-pretty-print --query 'changes[].changeType' --output tsv | grep -qx Create
deploy create --output none
deploy what-if --no-pretty-print --query 'changes[].changeType' --output tsv | grep -qx NoChange
[ "$(value az keyvault key list --vault-name "$vault" --query 'length(@)')" = 2 ]

# The same by a role, in a vault that goes by roles: looked up by name, in Resource Manager and in the directory
role='Key Vault Crypto Service Release User'
[ "$(value az role definition list --name "$role" --query 'length(@)')" = 1 ]
quiet az role assignment create --assignee "$identity" --role "$role" --scope "$scope/keys/by-az"
[ "$(value az role assignment list --assignee "$identity" --scope "$scope/keys/by-az" --query '[].roleDefinitionName')" = "$role" ]
quiet az role assignment delete --assignee "$identity" --role "$role" --scope "$scope/keys/by-az"

# Attestation: its commands are an extension, which the CLI's own package does not bring; here are its requests
providers="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$group-az/providers/Microsoft.Attestation/attestationProviders"
quiet az rest --method put --url "$providers/guidebyaz?api-version=2021-06-01" --body '{"location": "westeurope", "properties": {}}'
uri=$(value az rest --method get --url "$providers/guidebyaz?api-version=2021-06-01" --query properties.attestUri)
[ -n "$(value az rest --method get --url "$uri/policies/SevSnpVm?api-version=2022-08-01" \
    --resource https://attest.azure.net --query token)" ]
value az keyvault key show --vault-name "$vault" --name by-az --query key.kid
