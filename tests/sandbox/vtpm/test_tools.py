"""tpm2-tools, unmodified, against our vTPM over TCP: what a person in a VM would type."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.sandbox.vtpm.conftest import REPORT, Served


class Tools:
    """A shell with tpm2-tools, its files in one folder."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served, self.folder = served, folder

    def run(self, line: str, *, fails: bool = False) -> str:
        name, *arguments = line.split()
        done = subprocess.run(
            [name, *arguments],
            cwd=self.folder,
            env={**os.environ, "TPM2TOOLS_TCTI": self.served.tcti, "TSS2_LOG": "all+NONE"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def flush(self) -> None:
        """Free the three slots, as no resource manager stands between: on swtpm the tools need the same."""
        self.run("tpm2_flushcontext -t")

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def tools(served: Served, tmp_path: Path) -> Tools:
    if shutil.which("tpm2_quote") is None:
        pytest.skip("NO TPM2-TOOLS: the vTPM is not held against them. Install tpm2-tools.")
    return Tools(served, tmp_path)


def test_nv(tools: Tools) -> None:
    tools.run("tpm2_nvread 0x01400001 -C o -o report.bin")
    assert tools.file("report.bin") == REPORT
    assert "size: 2600" in tools.run("tpm2_nvreadpublic 0x01400001")
    (tools.folder / "data").write_bytes(b"user data".ljust(64, b"\0"))
    tools.run("tpm2_nvdefine 0x01400002 -C o -s 64 -a ownerread|ownerwrite|authread|authwrite")
    tools.run("tpm2_nvwrite 0x01400002 -C o -i data")
    tools.run("tpm2_nvread 0x01400002 -C o -o back")
    assert tools.file("back") == tools.file("data") == tools.served.vtpm.nv_data(0x01400002)
    tools.run("tpm2_nvread 0x01400002 -C o -P wrong", fails=True)
    tools.run("tpm2_nvundefine 0x01400002 -C o")
    tools.run("tpm2_nvundefine 0x01400001 -C o", fails=True)


def test_pcrs_and_properties(tools: Tools) -> None:
    tools.run(f"tpm2_pcrextend 0:sha256={'11' * 32}")
    text = tools.run("tpm2_pcrread sha256:0,1,23+sha1:0")
    assert hashlib.sha256(bytes(32) + b"\x11" * 32).hexdigest().upper() in text
    tools.run("tpm2_pcrreset 16")
    tools.run("tpm2_pcrreset 0", fails=True)
    assert "TPM2_PT_NV_INDEX_MAX" in tools.run("tpm2_getcap properties-fixed")
    assert "sha384" in tools.run("tpm2_getcap algorithms")
    assert "0x81000003" in tools.run("tpm2_getcap handles-persistent")
    assert "TPM2_CC_NV_Read" in tools.run("tpm2_getcap commands")
    assert "TPM2_PT_PERMANENT" in tools.run("tpm2_getcap properties-variable")
    assert "sha256" in tools.run("tpm2_getcap pcrs")
    tools.run("tpm2_getrandom 16 -o random")
    assert len(tools.file("random")) == 16


def test_quote_is_accepted_by_checkquote_and_by_cryptography(tools: Tools) -> None:
    tools.run("tpm2_readpublic -c 0x81000003 -o ak.pem -f pem -n ak.name")
    tools.run("tpm2_quote -c 0x81000003 -l sha256:0,1,2,3,4,5,6,7 -q abcd -m quote -s signature -o pcrs -g sha256")
    tools.run("tpm2_checkquote -u ak.pem -m quote -s signature -f pcrs -q abcd -g sha256")
    tools.run("tpm2_checkquote -u ak.pem -m quote -s signature -f pcrs -q abce -g sha256", fails=True)
    public = load_pem_public_key(tools.file("ak.pem"))
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.public_numbers() == tools.served.vtpm.ak_public_key().public_numbers()
    public.verify(tools.file("signature")[6:], tools.file("quote"), padding.PKCS1v15(), hashes.SHA256())


def test_ephemeral_key_by_policy(tools: Tools) -> None:
    tools.run("tpm2_startauthsession -S trial.ctx")
    tools.run("tpm2_policypcr -S trial.ctx -l sha256:0,1,2,3,4,5,6,7 -L policy")
    tools.run("tpm2_flushcontext trial.ctx")
    tools.run(
        "tpm2_createprimary -C n -G rsa2048:null:null -g sha256 -L policy -c key.ctx"
        " -a fixedtpm|fixedparent|sensitivedataorigin|noda|decrypt"
    )
    tools.flush()
    tools.run("tpm2_readpublic -c key.ctx -f pem -o key.pem")
    tools.flush()
    tools.run("tpm2_certify -c key.ctx -C 0x81000003 -g sha256 -o attest -s signature")
    tools.served.vtpm.ak_public_key().verify(
        tools.file("signature")[6:], tools.file("attest"), padding.PKCS1v15(), hashes.SHA256()
    )
    public = load_pem_public_key(tools.file("key.pem"))
    assert isinstance(public, rsa.RSAPublicKey)
    (tools.folder / "cipher").write_bytes(public.encrypt(b"released", padding.PKCS1v15()))

    def decrypt(*, fails: bool) -> None:
        tools.flush()
        tools.run("tpm2_startauthsession --policy-session -S session.ctx")
        tools.run("tpm2_policypcr -S session.ctx -l sha256:0,1,2,3,4,5,6,7")
        tools.run("tpm2_rsadecrypt -c key.ctx -s rsaes -p session:session.ctx -o plain cipher", fails=fails)
        tools.run("tpm2_flushcontext session.ctx")

    decrypt(fails=False)
    assert tools.file("plain") == b"released"
    tools.flush()
    tools.run("tpm2_rsadecrypt -c key.ctx -s rsaes cipher", fails=True)
    tools.run(f"tpm2_pcrextend 7:sha256={'22' * 32}")
    decrypt(fails=True)


def test_endorsement_key_and_children(tools: Tools) -> None:
    tools.run("tpm2_createek -c ek.ctx -G rsa -u ek.pub")
    tools.flush()
    tools.run("tpm2_createprimary -C o -c srk.ctx")
    tools.flush()
    tools.run("tpm2_create -C srk.ctx -G rsa2048 -p secret -u key.pub -r key.priv")
    tools.flush()
    tools.run("tpm2_load -C srk.ctx -u key.pub -r key.priv -c key.ctx")
    (tools.folder / "message").write_bytes(b"message")
    tools.flush()
    tools.run("tpm2_sign -c key.ctx -p secret -g sha256 -o signature message")
    tools.flush()
    tools.run("tpm2_verifysignature -c key.ctx -g sha256 -m message -s signature")
    tools.run("tpm2_sign -c key.ctx -p wrong -g sha256 -o signature message", fails=True)


def test_elliptic_curve_key(tools: Tools) -> None:
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
    tools.run(f"tpm2_createprimary -C o -G ecc256:ecdsa-sha256:null -c ecc.ctx -a {attributes}")
    (tools.folder / "message").write_bytes(b"message")
    tools.run("tpm2_sign -c ecc.ctx -g sha256 -o ecc.sig message")
    tools.run("tpm2_verifysignature -c ecc.ctx -g sha256 -m message -s ecc.sig")


def test_persistence_and_hierarchy_passwords(tools: Tools) -> None:
    tools.run("tpm2_createprimary -C o -c srk.ctx")
    tools.run("tpm2_evictcontrol -C o -c srk.ctx 0x81000001")
    tools.run("tpm2_evictcontrol -C o -c 0x81000001")
    tools.run("tpm2_changeauth -c o newpass")
    tools.run("tpm2_createprimary -C o -c other.ctx", fails=True)
    tools.run("tpm2_createprimary -C o -P newpass -c other.ctx")


def test_policy_secret(tools: Tools) -> None:
    tools.run("tpm2_startauthsession --policy-session -S session.ctx")
    tools.run("tpm2_policysecret -S session.ctx -c e -L digest")
    assert tools.file("digest").hex() == "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
    tools.run("tpm2_flushcontext session.ctx")
