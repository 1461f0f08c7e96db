# A Managed HSM by the Azure CLI: made, activated by three holders of keys, roles of its own, an exportable key, its
# setting, a full backup with its restore, and a second HSM with the same security domain.
# Arguments: resource group, new HSM, policy file, folder for the holders' keys. Prints the key's id.
# The CLI is signed in already, as azure_cli.sh leaves it.
set -eu
group=$1 hsm=$2 policy=$3 holders=$4
quiet() { "$@" --only-show-errors --output none; }
value() { "$@" --only-show-errors --output tsv; }

me=$(value az ad sp show --id "$AZURE_CLIENT_ID" --query id)
quiet az keyvault create --hsm-name "$hsm" --resource-group "$group-az" --location westeurope --administrators "$me" \
    --retention-days 7
for each in 1 2 3; do
    openssl req -newkey rsa:2048 -nodes -x509 -days 30 -subj "/CN=holder $each" \
        -keyout "$holders/$each.key" -out "$holders/$each.cer" 2>/dev/null
done
quiet az keyvault security-domain download --hsm-name "$hsm" --sd-quorum 2 --security-domain-file "$holders/domain.json" \
    --sd-wrapping-keys "$holders/1.cer" "$holders/2.cer" "$holders/3.cer"
[ -s "$holders/domain.json" ]

# An administrator of the HSM may give roles, and may do nothing with keys before it has one. A GUID after --assignee
# is taken for an object id here, without a look into the directory.
if az keyvault key list --hsm-name "$hsm" --only-show-errors 2>/dev/null; then
    echo "an administrator without a role of keys lists them" >&2
    exit 1
fi
quiet az keyvault role assignment create --hsm-name "$hsm" --role 'Managed HSM Crypto User' --scope /keys --assignee-object-id "$me"
value az keyvault role assignment list --hsm-name "$hsm" --scope /keys --query '[].roleName' | grep -qx 'Managed HSM Crypto User'
quiet az keyvault key create --hsm-name "$hsm" --name by-az --kty RSA-HSM --size 2048 --exportable true --policy "$policy"
[ "$(value az keyvault key list --hsm-name "$hsm" --query '[].name')" = by-az ]

# Resource Manager may have to do with its keys only where an administrator lets it.
setting=AllowKeyManagementOperationsThroughARM
[ "$(value az keyvault setting show --hsm-name "$hsm" --name "$setting" --query value)" = false ]
[ "$(value az keyvault setting update --hsm-name "$hsm" --name "$setting" --value true --query value)" = true ]
[ "$(value az keyvault setting list --hsm-name "$hsm" --query 'settings[0].value || [0].value')" = true ]

# A full backup brings back what was deleted after it. The token is in the form of `az storage container generate-sas`.
sas="se=$(date -u -d '+1 hour' '+%Y-%m-%dT%H:%MZ')&sp=crdwl&sv=2022-11-02&sr=c&sig=c2ln"
storage="--storage-account-name guidebackups --blob-container-name hsm"
folder=$(value az keyvault backup start --hsm-name "$hsm" $storage -t "$sas" --query folderUrl)
quiet az keyvault key delete --hsm-name "$hsm" --name by-az
[ -z "$(value az keyvault key list --hsm-name "$hsm" --query '[].name')" ]
quiet az keyvault restore start --hsm-name "$hsm" $storage -t "$sas" --backup-folder "${folder##*/}"
[ "$(value az keyvault key list --hsm-name "$hsm" --query '[].name')" = by-az ]

# Two of the three holders open the security domain for another HSM, which is active with it.
quiet az keyvault create --hsm-name "$hsm-2" --resource-group "$group-az" --location westeurope --administrators "$me" \
    --retention-days 7
az keyvault security-domain init-recovery --hsm-name "$hsm-2" --sd-exchange-key "$holders/exchange.cer" --only-show-errors
quiet az keyvault security-domain upload --hsm-name "$hsm-2" --sd-file "$holders/domain.json" \
    --sd-exchange-key "$holders/exchange.cer" --sd-wrapping-keys "$holders/3.key" "$holders/1.key"
active=$(value az keyvault show --hsm-name "$hsm-2" --query properties.securityDomainProperties.activationStatus)
[ "$active" = Active ]
value az keyvault key show --hsm-name "$hsm" --name by-az --query key.kid
