"""The unit: systemd understands all of it, and finds it well closed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "edge-assistant.service"
YOUNG = {"RestartSteps", "RestartMaxDelaySec"}
"""From systemd 254 on; older ones warn, and start it again every three seconds."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)


def version():
    return int(re.search(r"systemd (\d+)", analyze("--version").stdout)[1])


def complaints(unit):
    """What `verify` says, less that the program is not installed here."""
    told = analyze("verify", "--man=no", unit)
    lines = (told.stdout + told.stderr).splitlines()
    return [line for line in lines if str(unit.name) in line and "is not executable: No such file" not in line]


def test_systemd_understands_every_line():
    lines = complaints(UNIT)
    if version() < 254:
        lines = [line for line in lines if not any(f"'{key}'" in line for key in YOUNG)]
    assert lines == []


def test_a_wrong_line_would_be_seen(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert any("WatchDogSec" in line for line in complaints(unit))


@pytest.mark.parametrize("drop_in", sorted((SYSTEMD / "drop-ins").glob("*.conf")), ids=lambda path: path.stem)
def test_the_drop_ins_are_understood(drop_in, tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text() + drop_in.read_text())
    assert [line for line in complaints(unit) if not any(f"'{key}'" in line for key in YOUNG)] == []


def exposure(unit):
    told = analyze("security", "--offline=yes", "--no-pager", unit)
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)[1])


def test_it_is_well_closed(tmp_path):
    assert exposure(UNIT) <= 1.5
    open_ = tmp_path / UNIT.name
    closed = ("Private", "Protect", "Restrict", "SystemCall", "Capability", "IPAddress", "NoNew", "User=", "Device")
    open_.write_text("".join(line for line in UNIT.read_text().splitlines(keepends=True) if not line.startswith(closed)))
    assert exposure(open_) > 5  # the measure measures


def test_no_interface_no_address_and_no_socket_but_the_local_kind():
    lines = UNIT.read_text().splitlines()
    for line in ("PrivateNetwork=yes", "IPAddressDeny=any", "RestrictAddressFamilies=AF_UNIX"):
        assert line in lines


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers")
def test_the_kernel_may_be_asked_about_its_clock_and_nobody_may_set_it():
    lines = UNIT.read_text().splitlines()
    allowed = {call for line in lines if line.startswith("SystemCallFilter=") for call in line.partition("=")[2].split()}
    assert {"adjtimex", "clock_adjtime"} <= allowed
    assert "ProtectClock=yes" not in lines  # it forbids them, whatever else is allowed
    assert {"@clock", "clock_settime", "settimeofday"} & allowed == set()
    assert "CapabilityBoundingSet=" in lines


def test_the_user_is_made(tmp_path):
    (tmp_path / "etc").mkdir()
    told = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", "--dry-run", SYSTEMD / "sysusers.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "edge-assistant" in told.stdout + told.stderr
