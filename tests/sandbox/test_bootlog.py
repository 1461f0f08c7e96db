"""The boot event log: strangers read it without a complaint, and its replay is what was extended."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from skrkit.sandbox import uefivars
from skrkit.sandbox.bootlog import BANKS, BootLog, boot_event_log

TPM2_EVENTLOG = shutil.which("tpm2_eventlog")


def replay(boot: BootLog, bank: str) -> dict[int, bytes]:
    """Fold the extends as a TPM would."""
    pcrs: dict[int, bytes] = {}
    for pcr, digests in boot.extends:
        before = pcrs.get(pcr, bytes(hashlib.new(bank).digest_size))
        pcrs[pcr] = hashlib.new(bank, before + digests[bank]).digest()
    return pcrs


@pytest.mark.parametrize("secure_boot", [True, False])
def test_tpm2_eventlog_takes_it_without_a_warning_and_replays_the_same(secure_boot: bool, tmp_path: Path) -> None:
    if TPM2_EVENTLOG is None:
        pytest.skip("NO tpm2_eventlog HERE: the log was read by nobody but its writer. Install tpm2-tools.")
    boot = boot_event_log(secure_boot=secure_boot)
    (tmp_path / "log").write_bytes(boot.log)
    run = subprocess.run([TPM2_EVENTLOG, str(tmp_path / "log")], capture_output=True, text=True, check=True)
    assert run.stderr == ""  # a digest that does not match its event is a warning there, and the exit code stays 0
    for bank, _ in BANKS:
        section = re.search(rf"^  {bank}:\n((?:    .+\n)+)", run.stdout[run.stdout.rindex("pcrs:") :], re.MULTILINE)
        assert section is not None
        theirs = {int(i): bytes.fromhex(v) for i, v in re.findall(r"(\d+)\s*: 0x([0-9a-f]+)", section[1])}
        assert theirs == replay(boot, bank)


def test_tpm2_eventlog_does_see_a_changed_event(tmp_path: Path) -> None:
    """The check above can fail: one bit of one event is enough."""
    if TPM2_EVENTLOG is None:
        pytest.skip("NO tpm2_eventlog HERE: whether it notices a change is unknown. Install tpm2-tools.")
    log = boot_event_log().log
    changed = log.replace(b"grub_cmd: set root=hd0", b"grub_cmd: set root=hd1")
    assert changed != log
    (tmp_path / "log").write_bytes(changed)
    run = subprocess.run([TPM2_EVENTLOG, str(tmp_path / "log")], capture_output=True, text=True, check=False)
    assert "digest does not match its payload" in run.stderr


def test_pcrs_that_hold_only_a_separator_are_those_of_a_real_vm(captures: Path) -> None:
    expected = json.loads((captures / "azure-snp-milan-v3" / "expected.json").read_text())["quote"]["pcrs"]
    pcrs = replay(boot_event_log(), "sha256")
    assert pcrs[2].hex() == expected["2"]
    assert pcrs[3].hex() == expected["3"]


def test_first_record_names_the_banks_as_a_real_log_does(captures: Path) -> None:
    real = (captures / "gce-snp-eventlog" / "eventlog.bin").read_bytes()
    first = 32 + 41
    assert boot_event_log().log[:first] == real[:first]


def test_secure_boot_changes_pcr_7_and_nothing_else() -> None:
    on, off = (replay(boot_event_log(secure_boot=flag), "sha256") for flag in (True, False))
    assert {pcr for pcr in on if on[pcr] != off[pcr]} == {7}


def test_every_boot_is_the_same() -> None:
    assert boot_event_log().log == boot_event_log().log
    assert uefivars.platform_key.__wrapped__() == uefivars.platform_key()
