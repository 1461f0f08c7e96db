// A confidential VM with an identity of its own. Size, security type and disk encryption belong together: none of them
// can be changed later.

@description('Name of the VM.')
param vmName string

@description('Region of the VM: one that has the size.')
param location string = resourceGroup().location

@description('A size with AMD SEV-SNP: DCas_v5, ECas_v5, DCas_v6, ECas_v6 and those with a local disk.')
param vmSize string = 'Standard_DC2as_v5'

@description('Resource id of the network interface.')
param interfaceId string

@description('Name of the first user.')
param adminUsername string = 'azureuser'

@description('Public key that the first user signs in with, as in an authorized_keys file.')
param adminPublicKey string

@description('What is encrypted with a key of the VM: its guest state, or the disk as well.')
@allowed([
  'VMGuestStateOnly'
  'DiskWithVMGuestState'
])
param securityEncryptionType string = 'VMGuestStateOnly'

@description('An image that is made for confidential VMs.')
param image object = {
  publisher: 'Canonical'
  offer: '0001-com-ubuntu-confidential-vm-jammy'
  sku: '22_04-lts-cvm'
  version: 'latest'
}

@description('Resource id of a user-assigned identity that the VM has beside its own. Nothing is none.')
param userAssignedIdentityId string = ''

resource vm 'Microsoft.Compute/virtualMachines@2024-07-01' = {
  name: vmName
  location: location
  tags: {
    skrkit: 'deploy'
  }
  identity: empty(userAssignedIdentityId) ? {
    type: 'SystemAssigned'
  } : {
    type: 'SystemAssigned, UserAssigned'
    userAssignedIdentities: {
      '${userAssignedIdentityId}': {}
    }
  }
  properties: {
    hardwareProfile: {
      vmSize: vmSize
    }
    securityProfile: {
      securityType: 'ConfidentialVM'
      uefiSettings: {
        secureBootEnabled: true
        vTpmEnabled: true
      }
    }
    storageProfile: {
      imageReference: image
      osDisk: {
        createOption: 'FromImage'
        deleteOption: 'Delete'
        managedDisk: {
          storageAccountType: 'Premium_LRS'
          securityProfile: {
            securityEncryptionType: securityEncryptionType
          }
        }
      }
    }
    osProfile: {
      computerName: vmName
      adminUsername: adminUsername
      linuxConfiguration: {
        disablePasswordAuthentication: true
        ssh: {
          publicKeys: [
            {
              path: '/home/${adminUsername}/.ssh/authorized_keys'
              keyData: adminPublicKey
            }
          ]
        }
      }
    }
    networkProfile: {
      networkInterfaces: [
        {
          id: interfaceId
          properties: {
            primary: true
          }
        }
      ]
    }
  }
}

output vmId string = vm.id
output principalId string = vm.identity.principalId
