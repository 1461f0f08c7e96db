// A Premium vault: only its keys live in an HSM, and only such keys can be released.
// It goes by access policies, or by Azure roles. Deployed again, it has the operator's access policy alone: deploy
// access-policy after it. With roles it has none: deploy vault-role.

@description('Name of the vault, unique in all of Azure.')
@minLength(3)
@maxLength(24)
param vaultName string

@description('Region of the vault.')
param location string = resourceGroup().location

@description('Object id of the person or service principal that prepares the keys.')
param operatorObjectId string

@description('What the operator may do with keys. Not release: that is for the VM alone.')
param operatorKeyPermissions array = [
  'get'
  'list'
  'create'
  'update'
  'import'
  'rotate'
  'delete'
  'recover'
  'purge'
  'encrypt'
  'decrypt'
  'sign'
  'verify'
]

@description('Whether the vault goes by Azure roles, and not by access policies.')
param rbac bool = false

@description('Days in which a deleted vault can be recovered. It cannot be changed later.')
@minValue(7)
@maxValue(90)
param softDeleteRetentionInDays int = 90

@description('Whether a deleted vault cannot be purged before that. It cannot be switched off again.')
param enablePurgeProtection bool = false

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: vaultName
  location: location
  tags: {
    skrkit: 'deploy'
  }
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'premium'
    }
    enableRbacAuthorization: rbac
    enableSoftDelete: true
    softDeleteRetentionInDays: softDeleteRetentionInDays
    enablePurgeProtection: enablePurgeProtection ? true : null
    accessPolicies: rbac ? [] : [
      {
        tenantId: subscription().tenantId
        objectId: operatorObjectId
        permissions: {
          keys: operatorKeyPermissions
        }
      }
    ]
  }
}

output vaultId string = vault.id
output vaultUri string = vault.properties.vaultUri
