"""tpm2-tools, unmodified, on the vTPM of a sandbox VM: what a person types inside it, by `sandbox exec --vm`."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import STAGE, execute

pytestmark = pytest.mark.skipif(
    shutil.which("tpm2_quote") is None, reason="NO TPM2-TOOLS: the VM's vTPM was not held against them. Install them."
)

AK, REPORT, PCRS = "0x81000003", "0x01400001", "sha256:0,1,2,3,4,5,6,7"


class Shell:
    """A shell inside the VM. Files are in one folder; the tools find the vTPM by the environment alone."""

    def __init__(self, sandbox: Endpoint, folder: Path) -> None:
        self._home, self.folder = sandbox.home, folder

    def run(self, *lines: str) -> str:
        script = f"set -e; cd '{self.folder}'; export TSS2_LOG=all+NONE\n" + "\n".join(lines)
        return execute(self._home, "sh", "-c", script, vm=STAGE.vm)

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def public_key(self, name: str) -> rsa.RSAPublicKey:
        key = load_pem_public_key(self.file(name))
        assert isinstance(key, rsa.RSAPublicKey)
        return key


@pytest.fixture
def shell(sandbox: Endpoint, tmp_path: Path) -> Iterator[Shell]:
    """A shell that leaves no object behind: the vTPM has room for three, and no resource manager stands before it."""
    made = Shell(sandbox, tmp_path)
    yield made
    made.run("tpm2_flushcontext -t")
    assert made.run("tpm2_getcap handles-transient").strip() == ""


def test_report_and_attestation_key(shell: Shell) -> None:
    shell.run(f"tpm2_nvread {REPORT} -C o -o hcl.bin", f"tpm2_readpublic -c {AK} -f pem -o ak.pem")
    hcl = shell.file("hcl.bin")
    assert len(hcl) == 2600
    assert hcl[:4] == b"HCLA"
    runtime = hcl[1236 : 1236 + int.from_bytes(hcl[1232:1236], "little")]
    assert hcl[32 + 0x50 : 32 + 0x70] == hashlib.sha256(runtime).digest(), "report data binds the runtime data"
    published = {key["kid"]: key for key in json.loads(runtime)["keys"]}
    numbers = shell.public_key("ak.pem").public_numbers()
    assert b64url_int(published["HCLAkPub"]["n"]) == numbers.n
    assert b64url_int(published["HCLAkPub"]["e"]) == numbers.e


def b64url_int(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


def test_user_data_reaches_the_report(shell: Shell) -> None:
    (shell.folder / "user").write_bytes(b"written by tpm2_nvwrite".ljust(64, b"\0"))
    shell.run(
        "tpm2_nvundefine 0x01400002 -C o 2>/dev/null || true",
        "tpm2_nvdefine 0x01400002 -C o -s 64 -a 'ownerread|ownerwrite|authread|authwrite'",
        "tpm2_nvwrite 0x01400002 -C o -i user",
        f"tpm2_nvread {REPORT} -C o -o hcl.bin",
    )
    hcl = shell.file("hcl.bin")
    runtime = json.loads(hcl[1236 : 1236 + int.from_bytes(hcl[1232:1236], "little")])
    assert bytes.fromhex(runtime["user-data"]) == shell.file("user")


def test_quote_over_pcrs_and_nonce(shell: Shell) -> None:
    nonce = "a0" * 16
    shell.run(
        f"tpm2_readpublic -c {AK} -f pem -o ak.pem",
        f"tpm2_pcrread {PCRS} -o pcrs.bin",
        f"tpm2_quote -c {AK} -l {PCRS} -q {nonce} -m quote.msg -s quote.sig -o quote.pcrs -g sha256",
        f"tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f quote.pcrs -q {nonce} -g sha256",
    )
    message = shell.file("quote.msg")
    assert message[:6].hex() == "ff5443478018"
    assert bytes.fromhex(nonce) in message
    assert message.endswith(hashlib.sha256(shell.file("pcrs.bin")).digest())
    with pytest.raises(AssertionError):
        shell.run(f"tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f quote.pcrs -q {'a1' * 16} -g sha256")


def test_event_log_leads_to_the_pcrs(shell: Shell) -> None:
    log = shell.run('tpm2_eventlog "$SKRKIT_EVENT_LOG"')
    read = shell.run(f"tpm2_pcrread {PCRS}")
    replayed = log[log.rindex("pcrs:") :]
    replayed = replayed[replayed.rindex("sha256:") :]
    values = {
        line.split(":")[0].strip(): line.split("0x")[1].strip().lower() for line in read.splitlines() if "0x" in line
    }
    assert len(values) == 8
    for index, value in values.items():
        found = [line for line in replayed.splitlines() if line.split(":")[0].strip() == index]
        assert found, f"PCR {index} is in no event"
        assert found[0].split("0x")[1].strip() == value


def test_ephemeral_key_certified_by_the_ak_decrypts_under_its_policy(shell: Shell) -> None:
    """The ephemeral key of guest attestation: in the NULL hierarchy, bound to PCRs, certified by the AK."""
    shell.run(
        "tpm2_startauthsession -S trial.ctx",
        f"tpm2_policypcr -S trial.ctx -l {PCRS} -L policy.bin",
        "tpm2_flushcontext trial.ctx",
        "tpm2_createprimary -C n -G rsa2048:null:null -c key.ctx -L policy.bin"
        " -a 'fixedtpm|fixedparent|sensitivedataorigin|decrypt|noda' -Q",
        "tpm2_flushcontext -t",
        "tpm2_readpublic -c key.ctx -f pem -o key.pem -n key.name",
        f"tpm2_readpublic -c {AK} -f pem -o ak.pem",
        "tpm2_startauthsession --policy-session -S certify.ctx",
        f"tpm2_policypcr -S certify.ctx -l {PCRS}",
        f"tpm2_certify -c key.ctx -C {AK} -g sha256 -o certify.msg -s certify.sig -f plain",
        "tpm2_flushcontext certify.ctx",
        "tpm2_flushcontext -t",
    )
    message = shell.file("certify.msg")
    assert message[:6].hex() == "ff5443478017"
    assert shell.file("key.name") in message
    shell.public_key("ak.pem").verify(shell.file("certify.sig"), message, padding.PKCS1v15(), hashes.SHA256())

    sealed = shell.public_key("key.pem").encrypt(b"for this VM alone", padding.PKCS1v15())
    (shell.folder / "sealed").write_bytes(sealed)
    session = ("tpm2_startauthsession --policy-session -S s.ctx", f"tpm2_policypcr -S s.ctx -l {PCRS}")
    decrypt = "tpm2_rsadecrypt -c key.ctx -s rsaes -o opened sealed -p session:s.ctx"
    shell.run(*session, decrypt, "tpm2_flushcontext s.ctx")
    assert shell.file("opened") == b"for this VM alone"
    with pytest.raises(AssertionError):
        shell.run(decrypt.replace(" -p session:s.ctx", ""))
