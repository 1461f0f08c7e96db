// An exportable key of a Managed HSM, released only into an SEV-SNP confidential VM that Azure calls compliant.
// The HSM is activated before, and lets Resource Manager make keys: its setting AllowKeyManagementOperationsThroughARM.
// Resource Manager makes the first version of a key and never changes one: a key that is there stays as it is.

@description('Name of the Managed HSM.')
param hsmName string

@description('Name of the key.')
param keyName string

@description('Bits of the RSA key.')
@allowed([
  2048
  3072
  4096
])
param keySize int = 2048

@description('Base URL of the attestation provider that vouches for the VM.')
param attestationUri string

// The claims of guest attestation are under x-ms-isolation-tee.
var releasePolicy = {
  version: '1.0.0'
  anyOf: [
    {
      authority: attestationUri
      allOf: [
        {
          claim: 'x-ms-isolation-tee.x-ms-attestation-type'
          equals: 'sevsnpvm'
        }
        {
          claim: 'x-ms-isolation-tee.x-ms-compliance-status'
          equals: 'azure-compliant-cvm'
        }
      ]
    }
  ]
}

// base64url without padding, which is all that release_policy.data takes
var encodedPolicy = replace(replace(replace(base64(string(releasePolicy)), '+', '-'), '/', '_'), '=', '')

resource hsm 'Microsoft.KeyVault/managedHSMs@2023-07-01' existing = {
  name: hsmName
}

resource key 'Microsoft.KeyVault/managedHSMs/keys@2023-07-01' = {
  parent: hsm
  name: keyName
  tags: {
    skrkit: 'deploy'
  }
  properties: {
    kty: 'RSA-HSM'
    keySize: keySize
    attributes: {
      enabled: true
      exportable: true
    }
    release_policy: {
      contentType: 'application/json; charset=utf-8'
      data: encodedPolicy
    }
  }
}

output keyUri string = key.properties.keyUri
output keyUriWithVersion string = key.properties.keyUriWithVersion
