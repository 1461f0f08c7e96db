"""Claims at the top of a guest token (x-ms-attestation-type azurevm).

That they come from the quote and the event log is documented; how each is derived is inferred, since the service is
closed. The os* claims are unauthenticated text of the guest. Source: Azure guest attestation; captured tokens.
"""

from __future__ import annotations

from skrkit.token.claim_fact import ClaimFact as F
from skrkit.token.claim_fact import ClaimType as T

_PCR7 = "event log, PCR 7"
_WINDOWS = "event log, PCR 12 and 13, Windows only; false on Linux"
_REQUEST = "of the request: unauthenticated text of the guest"
_P = "x-ms-azurevm-"

GUEST = (
    F("secureboot", T.BOOLEAN, "Whether the VM booted with Secure Boot on.", _PCR7 + ", variable SecureBoot",
      inferred=True),
    F(_P + "attestation-protocol-ver", T.STRING, "Version of the guest attestation protocol, 2.0.",
      "AttestationProtocolVersion of the request"),
    F(_P + "attested-pcrs", T.ARRAY, "Which PCRs the quote covers: 0 to 7 on Linux, more on Windows.",
      "TPM quote, PCR selection"),
    F(_P + "bootdebug-enabled", T.BOOLEAN, "Whether boot debugging was on.", _WINDOWS, inferred=True),
    F(_P + "dbvalidated", T.BOOLEAN, "Whether the Secure Boot db holds nothing but what Microsoft knows.",
      _PCR7 + ", variable db", inferred=True),
    F(_P + "dbxvalidated", T.BOOLEAN, "Whether the Secure Boot revocation list dbx is recent enough.",
      _PCR7 + ", variable dbx", inferred=True),
    F(_P + "debuggersdisabled", T.BOOLEAN, "Whether no event says that a debugger was enabled.", "event log",
      inferred=True),
    F(_P + "default-securebootkeysvalidated", T.BOOLEAN, "Whether PK, KEK and db are recognised defaults.",
      _PCR7 + ", variables PK, KEK, db", inferred=True),
    F(_P + "elam-enabled", T.BOOLEAN, "Whether early-launch anti-malware ran.", _WINDOWS, inferred=True),
    F(_P + "flightsigning-enabled", T.BOOLEAN, "Whether flight-signed code was allowed.", _WINDOWS, inferred=True),
    F(_P + "hvci-policy", T.INTEGER, "Hypervisor-protected code integrity policy; 0 on Linux.", _WINDOWS,
      inferred=True),
    F(_P + "hypervisordebug-enabled", T.BOOLEAN, "Whether hypervisor debugging was on.", _WINDOWS, inferred=True),
    F(_P + "is-windows", T.BOOLEAN, "Whether the guest is Windows.", "event log", inferred=True),
    F(_P + "kerneldebug-enabled", T.BOOLEAN, "Whether kernel debugging was on.", _WINDOWS, inferred=True),
    F(_P + "osbuild", T.STRING, "The guest's build, as it says itself: no basis for trust.", "OSBuild " + _REQUEST),
    F(_P + "osdistro", T.STRING, "The distribution, as the guest says: no basis for trust.", "OSDistro " + _REQUEST),
    F(_P + "ostype", T.STRING, "Linux or Windows, as the guest says: no basis for trust.", "OSType " + _REQUEST),
    F(_P + "osversion-major", T.INTEGER, "Major version, as the guest says: no basis for trust.",
      "OSVersionMajor " + _REQUEST),
    F(_P + "osversion-minor", T.INTEGER, "Minor version, as the guest says: no basis for trust.",
      "OSVersionMinor " + _REQUEST),
    F(_P + "os-provisioning", T.ANY, "Newer provisioning of Windows and of secrets; rare.", inferred=True),
    F(_P + "signingdisabled", T.BOOLEAN, "Whether test signing and flight signing are off.", _WINDOWS,
      inferred=True),
    F(_P + "testsigning-enabled", T.BOOLEAN, "Whether test-signed code was allowed.", _WINDOWS, inferred=True),
    F(_P + "vmid", T.GUID, "The VM's id; on a confidential VM equal to the paravisor's vmUniqueId.",
      "AK certificate, or HCL report, runtime claims /vm-configuration/vmUniqueId", inferred=True),
    F("x-ms-isolation-tee", T.OBJECT,
      "The hardware evidence, verified by MAA: an SNP or TDX token's claims. Absent in a Trusted Launch VM.",
      "IsolationInfo of the request"),
)  # fmt: skip
