"""Which of two faults a release meets first, by the legs and steps of a walk, and which pairs of faults a run walks.

A station is one answer: of a command of the vTPM, of a request, or of one check of the client or of a service that
stops at its first failure. Two faults of one station show in the same answer, and either is right. Of two stations the
one that the walk comes to first is right: what lies behind it cannot have been seen.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations, combinations_with_replacement

from skrkit.sandbox.faults.table import GROUPS, faults_of

# What is looked at there, and the faults that show there.
STATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the vTPM: is there an HCL report", ("machine.no-nv-index",)),
    (
        "IMDS: a token of the VM's identity",
        (
            "identity.none", "identity.several", "identity.wrong-selector",
            "identity.imds-throttled", "identity.imds-down", "identity.imds-proxied",
        ),
    ),
    ("the vTPM: user data is written, the first command with an authorisation", ("machine.tpm-locked",)),
    ("IMDS: the chip's certificates", ("network.thim-unavailable",)),
    ("the vTPM: the quote", ("evidence.quote-nonce",)),
    ("the client: the report is over this request", ("evidence.report-stale",)),
    ("MAA: a connection", ("network.maa-name", "network.maa-unreachable")),
    ("MAA: it takes requests", ("network.maa-unavailable", "network.maa-throttled")),
    ("MAA: the chip's certificate is signed by its line", ("evidence.chain-other-line",)),
    # Each of these makes the report's signature fail: what MAA names is the certificate, where it is a wrong one.
    (
        "MAA: the report's signature",
        ("evidence.vcek-old-tcb", "evidence.vcek-other-chip", "evidence.report-tampered"),
    ),
    ("MAA: REPORT_DATA is the hash of the runtime claims", ("evidence.runtime-claims",)),
    ("MAA: the quote is by the key of the report", ("evidence.report-other-vm", "evidence.ak-not-in-report")),
    ("MAA: the PCRs are those of the quote", ("evidence.quote-pcrs",)),
    ("MAA: the certificate of the attestation key", ("evidence.ak-certificate",)),
    ("MAA: the event log", ("evidence.event-log",)),
    ("MAA: the ephemeral key is certified", ("evidence.key-outside-vtpm",)),
    (  # one policy, the provider's own or Azure's for guests: a denial of the one says nothing of the other
        "MAA: the policy",
        ("evidence.secure-boot-off", "evidence.dbx-not-validated", "evidence.maa-policy"),
    ),
    ("the client: the envelope opens", ("token.envelope",)),
    ("the client: it is a token", ("token.truncated",)),
    ("the client: alg", ("token.algorithm-none", "token.algorithm-confusion")),
    ("the client: iss", ("token.other-tenant", "token.other-authority")),
    ("the client: jku", ("token.jku-swap",)),
    ("the client: kid", ("token.signing-key-rotated",)),
    ("the client: the signature", ("token.signature",)),
    ("the client: nbf, iat, exp", ("token.expired", "token.not-yet-valid", "machine.clock-skew")),
    ("the client: the nonce", ("token.replayed",)),
    ("the client: the transfer key", ("token.other-vm", "token.no-transfer-key")),
    ("the vault: a connection", ("network.vault-name", "network.vault-unreachable")),
    ("the vault: TLS", ("network.vault-tls",)),
    ("the vault: it takes requests", ("network.vault-unavailable",)),
    (
        "the vault: who is it",
        (
            "access-token.missing", "access-token.wrong-audience", "access-token.wrong-tenant",
            "access-token.expired", "access-token.unknown-key",
        ),
    ),
    ("the vault: from where", ("access.firewall-address", "access.private-only")),
    ("the vault: by roles", ("access.rbac-mode",)),
    (
        "the vault: by its access policies",
        ("access.release-missing", "access.stale-object-id", "access.not-propagated"),
    ),
    ("the vault: the version in the address", ("key.wrong-version",)),
    ("the vault: how many releases", ("network.vault-throttled",)),
    ("the vault: the key is there", ("key.not-found", "key.deleted")),
    ("the vault: the key is enabled", ("key.disabled",)),
    ("the vault: the key is exportable", ("key.not-exportable",)),
    (
        "the vault: the token's claims against the key's policy",
        (
            "policy.missing-prefix", "policy.extra-prefix", "policy.claim-typo", "policy.letter-case",
            "policy.boolean-text", "policy.authority-region", "policy.authority-typo", "policy.compliance-status",
            "policy.other-vm", "policy.launch-measurement", "policy.firmware-svn", "policy.host-data", "policy.debug",
            "policy.operator", "policy.secure-boot",
            "evidence.debug-vm", "evidence.vmpl", "evidence.firmware-rollback",
        ),
    ),
    ("the client: the answer's signature", ("response.signature",)),
    ("the client: the root of its chain", ("response.chain",)),
    ("the client: the host of its certificate", ("response.host",)),
    ("the client: the key's id", ("response.other-key",)),
    ("the client: enc", ("response.enc",)),
    ("the client: the nonce of the answer", ("response.nonce",)),
    ("the vTPM: the AES key", ("response.transfer-key",)),
    ("the client: the private key unwraps", ("response.ciphertext",)),
    ("the client: it is the vault's key", ("response.key-substituted",)),
    # Reading the key is the operator's, beside the release: it stops nobody's release, only who reads first.
    ("the operator: the key is read", ("access.get-missing",)),
)  # fmt: skip

PLACE: Mapping[str, int] = {name: place for place, (_, names) in enumerate(STATIONS) for name in names}

# One token stands in for the right one, that of the fault further up in the sandbox's table: the other is not there.
_TOKENS = tuple(fault.name for fault in faults_of("token") if fault.name != "token.envelope")

# What one does to the policy the other takes back: the release works, and there is nothing to name.
UNDO_EACH_OTHER = frozenset({"policy.missing-prefix", "policy.extra-prefix"})

# What two make together where the one takes the ground from under the other, and is right then, alone.
TOGETHER: Mapping[frozenset[str], str] = {
    # The clock is half an hour behind, and the token of an hour ago: to this clock it is valid.
    frozenset({"machine.clock-skew", "token.replayed"}): "token.replayed",
    # The vault goes by roles, and no access policy is left that it would ignore: there is no grant at all.
    frozenset({"access.release-missing", "access.rbac-mode"}): "access.role-missing",
    # Without a key no version is wrong.
    frozenset({"key.deleted", "key.wrong-version"}): "key.deleted",
    frozenset({"key.not-found", "key.wrong-version"}): "key.not-found",
    # Who may not read a key cannot tell one that is deleted from one that never was: the vault says the same of both.
    frozenset({"access.get-missing", "key.deleted"}): "key.not-found",
}

Pair = tuple[str, str]


def right_of(faults: tuple[str, ...]) -> frozenset[str]:
    """Return which of these faults may be named first: those of the station that the walk comes to first."""
    if frozenset(faults) in TOGETHER:
        return frozenset({TOGETHER[frozenset(faults)]})
    tokens = [name for name in _TOKENS if name in faults]
    sent = [name for name in faults if name not in tokens[1:]]
    first = min(PLACE[name] for name in sent)
    return frozenset(name for name in sent if PLACE[name] == first)


def every_pair() -> list[Pair]:
    """Return every pair of faults, each in the order of the sandbox's table, but the one that undoes itself."""
    names = [fault.name for group in GROUPS for fault in faults_of(group)]
    return [pair for pair in combinations(names, 2) if set(pair) != UNDO_EACH_OTHER]


def sampled_pairs(more: int, *, seed: int) -> list[Pair]:
    """Return a pair of each two groups, and within each group that has two, and `more` of the others. Always the same.

    There are some four thousand: `every_pair`.
    """
    chance, pairs = random.Random(seed), every_pair()
    chosen: list[Pair] = []
    for one, other in combinations_with_replacement(GROUPS, 2):
        between = [pair for pair in pairs if (_group(pair[0]), _group(pair[1])) == (one, other)]
        chosen += [chance.choice(between)] if between else []
    others = [pair for pair in pairs if pair not in chosen]
    return chosen + chance.sample(others, min(more, len(others)))


def _group(name: str) -> str:
    return name.partition(".")[0]
