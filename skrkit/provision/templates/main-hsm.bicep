// What Secure Key Release with a Managed HSM works on: the HSM, and a confidential VM with an identity. What comes after,
// Resource Manager does not do: the activation of the HSM and its local roles; and the key, which waits for them.

@description('Region of everything.')
param location string = resourceGroup().location

@description('Name of the confidential VM.')
param vmName string = 'cvm-1'

@description('Name of the Managed HSM, unique in all of Azure.')
@minLength(3)
@maxLength(24)
param hsmName string

@description('Object id of the person or service principal that administers the HSM and prepares the keys.')
param operatorObjectId string

@description('A size with AMD SEV-SNP that the region has.')
param vmSize string = 'Standard_DC2as_v5'

@description('Name of the first user of the VM.')
param adminUsername string = 'azureuser'

@description('Public key that the first user signs in with, as in an authorized_keys file.')
param adminPublicKey string

@description('Whether the VM has a public address.')
param publicIp bool = false

@description('From where SSH is let in, such as 198.51.100.7/32. Nothing lets nobody in.')
param sshSource string = ''

@description('Resource id of a user-assigned identity that the VM has beside its own. Nothing is none.')
param userAssignedIdentityId string = ''

module network 'network.bicep' = {
  name: '${vmName}-network'
  params: {
    vmName: vmName
    location: location
    publicIp: publicIp
    sshSource: sshSource
  }
}

module hsm 'managed-hsm.bicep' = {
  name: '${vmName}-hsm'
  params: {
    hsmName: hsmName
    location: location
    administratorObjectId: operatorObjectId
  }
}

module vm 'confidential-vm.bicep' = {
  name: '${vmName}-vm'
  params: {
    vmName: vmName
    location: location
    vmSize: vmSize
    interfaceId: network.outputs.interfaceId
    adminUsername: adminUsername
    adminPublicKey: adminPublicKey
    userAssignedIdentityId: userAssignedIdentityId
  }
}

output vmName string = vmName
output principalId string = vm.outputs.principalId
output hsmName string = hsmName
output hsmUri string = hsm.outputs.hsmUri
