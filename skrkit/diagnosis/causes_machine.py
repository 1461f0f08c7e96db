"""Causes in the machine: not a confidential VM, no vTPM, no permission, a clock that is wrong."""

from skrkit.diagnosis import sources
from skrkit.diagnosis.cause import OFF, Cause, Leg

CAUSES = (
    Cause(
        id="machine.not-a-cvm",
        leg=Leg.MACHINE,
        title="This machine is no confidential VM",
        symptom="No /dev/tpmrm0; TPM2_ReadPublic of 0x81000003: TPM_RC_HANDLE (0x18B)",
        why="The flow needs a VM of a confidential size with security type ConfidentialVM. An ordinary machine, and an "
        "SGX VM such as DC1s_v3, has no vTPM with an attestation key in it.",
        fix="Run step 4 inside a confidential VM (DCasv5, DCadsv5, ECasv5 and later, security type ConfidentialVM); in "
        "the sandbox by skrkit sandbox exec --vm.",
        command="az vm show --resource-group {resource_group} --name {vm} --query securityProfile.securityType",
        source=sources.CVM,
    ),
    Cause(
        id="machine.no-nv-index",
        leg=Leg.MACHINE,
        title="The vTPM has no HCL report: NV index 0x01400001 is not defined",
        symptom="TPM2_NV_ReadPublic of 0x01400001: TPM_RC_HANDLE (0x18B); Microsoft's clients show 0x14A or 330",
        why="Only the paravisor of a confidential VM defines this index. A Trusted Launch VM has a vTPM without it, "
        "and a VM whose firmware has just been set up may not have it yet.",
        fix="Compare IMDS's securityType with ConfidentialVM; on a confidential VM restart it and try again.",
        command="az vm restart --resource-group {resource_group} --name {vm}",
        mend=OFF,
        source=sources.GUEST_ATTESTATION,
    ),
    Cause(
        id="machine.trusted-launch",
        leg=Leg.MACHINE,
        title="This is a Trusted Launch VM, not a confidential one",
        symptom="A vTPM, but an HCL report of type 1 or 3, or none; IMDS says securityType TrustedLaunch",
        why="Trusted Launch gives a vTPM and measured boot, and no hardware report: nothing in it can be vouched for "
        "by AMD's processor.",
        fix="Deploy the VM anew with security type ConfidentialVM: an existing VM cannot be changed into one.",
        command="az vm create --resource-group {resource_group} --name {vm} --size Standard_DC2as_v5 "
        "--image Canonical:0001-com-ubuntu-confidential-vm-jammy:22_04-lts-cvm:latest --security-type ConfidentialVM "
        "--os-disk-security-encryption-type VMGuestStateOnly --enable-vtpm true --enable-secure-boot true",
        source=sources.CVM,
    ),
    Cause(
        id="machine.tdx",
        leg=Leg.MACHINE,
        title="The evidence is Intel TDX, not AMD SEV-SNP",
        symptom="An HCL report of type 4, with a TDREPORT in it",
        why="The VM is of a TDX size (DCesv5, ECesv5 and later). Its report is verified by Intel's chain, at another "
        "address of Azure Attestation, and a policy for SEV-SNP says no to its token.",
        fix="Use an SEV-SNP size, or a client and a policy for TDX: x-ms-isolation-tee.x-ms-attestation-type tdxvm.",
        source=sources.CVM_TOOLS,
    ),
    Cause(
        id="machine.tpm-permission",
        leg=Leg.MACHINE,
        title="This user may not open the vTPM",
        symptom="/dev/tpmrm0: Permission denied",
        why="The device belongs to root and the group tss.",
        fix="Run as root, or add the user to the group tss and sign in again.",
        command="sudo usermod --append --groups tss $USER",
        source=sources.GUEST_ATTESTATION,
    ),
    Cause(
        id="machine.tpm-locked",
        leg=Leg.MACHINE,
        title="The vTPM is in lockout",
        symptom="TPM_RC_LOCKOUT (0x921)",
        why="Too many failed authorisations put a TPM into dictionary-attack lockout: until it ends, objects that are "
        "protected by it cannot be used.",
        fix="Wait for the lockout to end or clear it with the lockout authorisation, and find what authorises wrongly.",
        command="sudo tpm2_dictionarylockout --clear-lockout",
        mend=OFF,
        source=sources.TPM,
    ),
    Cause(
        id="machine.clock-skew",
        leg=Leg.MACHINE,
        title="The clock of this machine is wrong",
        symptom="A token or certificate that is new counts as expired, or as not valid yet",
        why="Tokens and certificates are held against this machine's clock, and it differs from the services' clocks "
        "by more than the five minutes that are allowed.",
        fix="Set the clock, and keep it set: on Azure, chrony with the PTP device of the host.",
        command="sudo chronyc makestep",
        mend=OFF,
        source=sources.JWT,
    ),
    Cause(
        id="machine.no-sev-guest",
        leg=Leg.MACHINE,
        title="There is no /dev/sev-guest, and on Azure there need not be one",
        symptom="No /dev/sev-guest, no line of SEV in dmesg",
        why="Azure's confidential VMs run below a paravisor: the operating system sees a vTPM, and the hardware report "
        "stands in its NV memory.",
        fix="Read the evidence from the vTPM: NV index 0x01400001.",
        command="sudo tpm2_nvread -C o 0x01400001",
        source=sources.PARAVISOR,
    ),
    Cause(
        id="machine.size-and-security-type",
        leg=Leg.MACHINE,
        title="Size, image and security type of the VM do not go together",
        symptom="BadRequest: the size is not supported with security type; or securityEncryptionType is missing",
        why="A confidential size asks for security type ConfidentialVM, for securityEncryptionType on its OS disk, and "
        "for an image that supports it; none of the three goes alone.",
        fix="Set securityType and securityEncryptionType together, with a size and an image of confidential VMs.",
        command="az vm create --resource-group {resource_group} --name {vm} --size Standard_DC2as_v5 "
        "--image Canonical:0001-com-ubuntu-confidential-vm-jammy:22_04-lts-cvm:latest --security-type ConfidentialVM "
        "--os-disk-security-encryption-type VMGuestStateOnly --enable-vtpm true --enable-secure-boot true",
        source=sources.CVM,
    ),
    Cause(
        id="machine.quota",
        leg=Leg.MACHINE,
        title="The subscription has no quota for confidential sizes",
        symptom="QuotaExceeded or OperationNotAllowed: approved standard DCasv5 Family Cores quota",
        why="The quota of these families starts at zero.",
        fix="Ask for quota for the size's family in this region.",
        command="az vm list-usage --location {location} --output table",
        source=sources.CVM,
    ),
    Cause(
        id="machine.encryption-at-host",
        leg=Leg.MACHINE,
        title="Encryption at host and DiskWithVMGuestState exclude each other",
        symptom="BadRequest on creation: encryptionAtHost with securityEncryptionType DiskWithVMGuestState",
        why="With DiskWithVMGuestState the disk is encrypted with a key of the confidential VM already.",
        fix="Leave encryptionAtHost out, or choose VMGuestStateOnly.",
        source=sources.CVM,
    ),
)
