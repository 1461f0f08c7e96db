"""Claims in `x-ms-runtime`: the paravisor's, and those of a guest attestation.

The paravisor's are the HCL report's runtime claims, whose SHA-256 is in the SNP report. MAA writes members in
alphabetical order, so that the claim as printed does not hash to REPORT_DATA. Source: Azure guest attestation.
"""

from __future__ import annotations

from skrkit.token.claim_fact import ClaimFact as F
from skrkit.token.claim_fact import ClaimType as T

_HCL = "HCL report, runtime claims"

RUNTIME = (
    F("x-ms-runtime.client-payload", T.OBJECT,
      "What the guest's client sent along, such as a verifier's nonce; covered by MAA's signature, not by the quote.",
      "ClientPayload of the request"),
    F("x-ms-runtime.client-payload.*", T.ANY, "One entry of the client's payload, base64 of its text.",
      "ClientPayload of the request"),
    F("x-ms-runtime.keys", T.ARRAY,
      "Public keys, as JWKs. At the top of a guest token: the vTPM's ephemeral key, for which a vault wraps. "
      "In the paravisor's claims: HCLAkPub, HCLEkPub, and at boot HCLTransferKey.",
      "EncKeyPub of the request after its certification; below x-ms-isolation-tee, " + _HCL + " /keys"),
    F("x-ms-runtime.keys.kid", T.STRING,
      "The key's name: TpmEphemeralEncryptionKey wraps a release, HCLAkPub signs quotes, HCLEkPub is the vTPM's EK.",
      _HCL + " /keys"),
    F("x-ms-runtime.keys.kty", T.STRING, "The key's type, RSA.", _HCL + " /keys"),
    F("x-ms-runtime.keys.key_ops", T.ARRAY,
      "What the key is for: encrypt, or sign. Older paravisors say encrypt of HCLAkPub too.", _HCL + " /keys"),
    F("x-ms-runtime.keys.key_use", T.STRING, "What the key is for, in confidential containers: enc.",
      "runtime data of the request"),
    F("x-ms-runtime.keys.use", T.STRING, "What the key is for, enc or sig.", "runtime data of the request"),
    F("x-ms-runtime.keys.alg", T.STRING, "The algorithm that the key is for.", "runtime data of the request"),
    F("x-ms-runtime.keys.n", T.STRING, "The modulus, base64url, big-endian.", _HCL + " /keys"),
    F("x-ms-runtime.keys.e", T.STRING, "The public exponent, base64url: AQAB is 65537.", _HCL + " /keys"),
    F("x-ms-runtime.user-data", T.HEX,
      "The 64 bytes last written to NV 0x01400002: how a guest puts a nonce under the hardware's signature.",
      _HCL + " /user-data", 128),
    F("x-ms-runtime.vm-configuration", T.OBJECT, "How the paravisor was told to start the VM.",
      _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.console-enabled", T.BOOLEAN, "Whether a serial console is attached.",
      _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.current-time", T.INTEGER,
      "When the paravisor made the report, in seconds since 1970; can be much older than iat.",
      _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.secure-boot", T.BOOLEAN, "Whether Secure Boot is configured.",
      _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.secure-boot-template-id", T.GUID, "Which set of Secure Boot keys was given.",
      _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.root-cert-thumbprint", T.STRING,
      "Thumbprint of a root certificate given at start; empty in most VMs.", _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.tpm-enabled", T.BOOLEAN, "Whether the VM has a vTPM.",
      _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.tpm-persisted", T.BOOLEAN,
      "Whether the vTPM's state outlives a stop; false with a non-persisted TPM.", _HCL + " /vm-configuration"),
    F("x-ms-runtime.vm-configuration.filtered-vpci-devices-allowed", T.BOOLEAN,
      "Whether filtered virtual PCI devices may be attached.", _HCL + " /vm-configuration", inferred=True),
    F("x-ms-runtime.vm-configuration.vmUniqueId", T.GUID,
      "The VM's id, as ARM and IMDS name it, apart from case and sometimes byte order.",
      _HCL + " /vm-configuration"),
)  # fmt: skip
