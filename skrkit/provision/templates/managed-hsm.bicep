// A Managed HSM. It is billed by the hour from the moment it is there, and is of no use before it is activated: somebody
// downloads its security domain, which its own data plane gives out, and Resource Manager cannot. So are local roles,
// which alone decide who may do what with its keys.

@description('Name of the Managed HSM, unique in all of Azure.')
@minLength(3)
@maxLength(24)
param hsmName string

@description('Region of the Managed HSM.')
param location string = resourceGroup().location

@description('Object id of the person or service principal that is its first administrator. It cannot be changed later.')
param administratorObjectId string

@description('Days in which a deleted HSM can be recovered, and is billed. It cannot be changed later.')
@minValue(7)
@maxValue(90)
param softDeleteRetentionInDays int = 90

@description('Whether a deleted HSM cannot be purged before that. It cannot be switched off again.')
param enablePurgeProtection bool = false

resource hsm 'Microsoft.KeyVault/managedHSMs@2023-07-01' = {
  name: hsmName
  location: location
  tags: {
    skrkit: 'deploy'
  }
  sku: {
    family: 'B'
    name: 'Standard_B1'
  }
  properties: {
    tenantId: subscription().tenantId
    initialAdminObjectIds: [
      administratorObjectId
    ]
    enableSoftDelete: true
    softDeleteRetentionInDays: softDeleteRetentionInDays
    enablePurgeProtection: enablePurgeProtection
  }
}

output hsmId string = hsm.id
output hsmUri string = hsm.properties.hsmUri
