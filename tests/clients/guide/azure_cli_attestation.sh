# What an owner of attestation providers types: `az attestation`, an extension of the Azure CLI, which
# AZURE_EXTENSION_DIR must hold. Run by `skrkit sandbox exec`.
# Arguments: resource group, policy file (text), PEM of a policy signer, file with a policy that it has signed, file with
# a token of it that names another signer. Prints nothing.
set -eu
group=$1 policy=$2 signer=$3 signed=$4 another=$5
quiet() { "$@" --only-show-errors --output none; }
value() { "$@" --only-show-errors --output tsv; }

quiet az login --service-principal --username "$AZURE_CLIENT_ID" --password "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID"

# A provider that goes by roles
quiet az attestation create --name byaz --resource-group "$group" --location westeurope
[ "$(value az attestation show --name byaz --resource-group "$group" --query '[trustModel, status]' | tr '\n\t' '  ')" = 'AAD Ready ' ]
[ "$(value az attestation list --resource-group "$group" --query 'value[].name')" = byaz ]
[ "$(value az attestation update --name byaz --resource-group "$group" --tags a=b --query tags.a)" = b ]
[ "$(value az attestation list-default --query 'length(value)')" = 59 ]
[ "$(value az attestation get-default-by-location --location 'West Europe' --query attestUri)" = https://sharedweu.weu.attest.azure.net ]
about="--name byaz --resource-group $group --attestation-type SevSnpVm"
[ "$(value az attestation policy show $about --query Algorithm)" = none ]
[ "$(az attestation policy set $about --new-attestation-policy-file "$policy" --only-show-errors --query Text --output json)" = "$(python3 -c 'import json, sys; print(json.dumps(open(sys.argv[1]).read()))' "$policy")" ]
[ "$(value az attestation policy reset $about --query TextLength)" = 46 ]
quiet az attestation delete --name byaz --resource-group "$group" --yes

# One that goes by signatures
quiet az attestation create --name byazsigned --resource-group "$group" --location westeurope --certs-input-path "$signer"
[ "$(value az attestation signer list --name byazsigned --resource-group "$group" --query '[CertificateCount, Certificates[0].use]' | tr '\n\t' '  ')" = '1 sig ' ]
about="--name byazsigned --resource-group $group --attestation-type SevSnpVm"
[ "$(value az attestation policy set $about --new-attestation-policy-file "$signed" --policy-format JWT --query Algorithm)" = RS256 ]
quiet az attestation signer add --name byazsigned --resource-group "$group" --signer-file "$another"
[ "$(value az attestation signer list --name byazsigned --resource-group "$group" --query CertificateCount)" = 2 ]
[ "$(value az attestation signer remove --name byazsigned --resource-group "$group" --signer-file "$another" --query CertificateCount)" = 1 ]
quiet az attestation delete --name byazsigned --resource-group "$group" --yes
