"""The machine, from files as a Raspberry Pi's kernel writes them."""

import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import pytest

from edge_assistant.config import Config, Service, Switch, Talk
from edge_assistant.doctor.board import SPARE_BYTES, check_clock, check_disk, check_heat_and_supply, check_memory
from edge_assistant.doctor.finding import Finding, Patient, Verdict, worst
from edge_assistant.doctor.sound import check_permissions

NOON = datetime(2026, 11, 24, 12, 0)
PI_5 = {
    "proc/meminfo": "MemTotal:        8255968 kB\nMemFree:          512344 kB\nMemAvailable:    6543210 kB\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "sys/class/thermal/thermal_zone0/temp": "58850\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rp1_adc\n",
    "sys/class/hwmon/hwmon2/name": "pwmfan\n",
    "sys/class/hwmon/hwmon3/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon3/in0_lcrit_alarm": "0\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
    "sys/class/rtc/rtc0/name": "rpi-rtc soc@107c000000:rpi_rtc\n",
    "sys/class/rtc/rtc0/battery_voltage": "3070082\n",
    "run/systemd/timesync/synchronized": "",
}


@pytest.fixture
def pi(tmp_path):
    """A Raspberry Pi 5 where all is well; what is given is otherwise."""

    def make(**otherwise):
        files = {**PI_5, **{name.replace("__", "/"): text for name, text in otherwise.items()}}
        for name, text in files.items():
            if text is not None:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return Patient(Config(), tmp_path)

    return make


def verdicts(findings):
    return {finding.check: finding.verdict for finding in findings}


THROTTLED = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
ALARM, HEAT = "sys/class/hwmon/hwmon3/in0_lcrit_alarm", "sys/class/thermal/thermal_zone0/temp"


def test_all_is_well(pi):
    patient = pi()
    assert verdicts(check_heat_and_supply(patient)) == {"temperature": Verdict.WELL, "supply": Verdict.WELL}
    assert verdicts(check_clock(patient, NOON)) == {"clock": Verdict.WELL}
    assert verdicts(check_memory(patient, 3_000_000_000, running=False)) == {"memory": Verdict.WELL}


@pytest.mark.parametrize(
    ("files", "check", "verdict", "found", "mend"),
    [
        ({HEAT: "76000\n"}, "temperature", Verdict.WARNING, "76 °C", "heat sink"),
        ({HEAT: None}, "temperature", Verdict.ABSENT, "no sensor", ""),
        ({ALARM: "1\n"}, "supply", Verdict.FAULT, "under-voltage now", "supply"),
        ({THROTTLED: "50005\n"}, "supply", Verdict.FAULT, "under-voltage now", "supply"),
        ({THROTTLED: "8\n"}, "supply", Verdict.WARNING, "throttled by heat now", "heat sink"),
        ({THROTTLED: "50000\n"}, "supply", Verdict.WARNING, "since it was started: under-voltage, throttling", "supply"),
        ({THROTTLED: "80000\n"}, "supply", Verdict.WARNING, "the soft limit of temperature", "heat sink"),
        ({THROTTLED: None, ALARM: None, "sys/class/hwmon/hwmon3/name": None}, "supply", Verdict.ABSENT, "does not tell", ""),
    ],
)
def test_heat_and_supply(pi, *, files, check, verdict, found, mend):
    (finding,) = (each for each in check_heat_and_supply(pi(**files)) if each.check == check)
    assert finding.verdict is verdict
    assert found in finding.found
    assert mend in finding.mend
    assert bool(finding.mend) == bool(mend)


RTC, SYNCHRONISED = "sys/class/rtc/rtc0/battery_voltage", "run/systemd/timesync/synchronized"
FLAT = {RTC: "120000\n"}
CHRONY = "Reference ID    : C0A80101 (192.168.1.1)\nStratum         : 3\nLeap status     : {}\n"


@pytest.mark.parametrize(
    ("now", "files", "chrony", "verdict", "found"),
    [
        (NOON, {}, "", Verdict.WELL, "rtc0, set by the network"),
        (NOON, FLAT, "", Verdict.WELL, ", set by the network"),
        (NOON, {RTC: None, SYNCHRONISED: None}, "", Verdict.WELL, "rtc0"),
        (NOON, {SYNCHRONISED: None}, "", Verdict.WELL, "rtc0"),
        (NOON, {**FLAT, SYNCHRONISED: None}, CHRONY.format("Normal"), Verdict.WELL, "set by the network"),
        (NOON, {**FLAT, SYNCHRONISED: None}, CHRONY.format("Not synchronised"), Verdict.WARNING, "nothing keeps it"),
        (NOON, {**FLAT, SYNCHRONISED: None}, "", Verdict.WARNING, "nothing keeps it"),
        (datetime(1970, 1, 1, 0, 3), {}, "", Verdict.FAULT, "never set"),
        (datetime(2106, 2, 7), {}, "", Verdict.FAULT, "never set"),
    ],
)
def test_clock(pi, *, now, files, chrony, verdict, found):
    patient = pi(**files)
    patient = Patient(patient.config, patient.root, lambda command: chrony if command[0] == "chronyc" else "")
    (finding,) = check_clock(patient, now)
    assert finding.verdict is verdict
    assert found in finding.found
    assert ("date -s" in finding.mend) == (verdict is not Verdict.WELL)


GIB = 1 << 30


@pytest.mark.parametrize(
    ("available_gib", "model", "running", "verdict"),
    [
        (6, 3 * GIB, False, Verdict.WELL),
        (3, 3 * GIB, False, Verdict.WARNING),
        (3, 3 * GIB, True, Verdict.WELL),
        (0.1, 3 * GIB, True, Verdict.WARNING),
        (6, 8 * GIB, False, Verdict.FAULT),
        (6, 8 * GIB - SPARE_BYTES, False, Verdict.FAULT),  # 7.87 GiB are built in
    ],
)
def test_memory(pi, available_gib, model, running, verdict):
    meminfo = f"MemTotal: 8255968 kB\nMemAvailable: {int(available_gib * (1 << 20))} kB\n"
    (finding,) = check_memory(pi(**{"proc/meminfo": meminfo}), model, running=running)
    assert finding.verdict is verdict
    assert bool(finding.mend) == (verdict is not Verdict.WELL)


def test_a_limit_of_the_control_group_counts(pi):
    patient = pi(**{"sys/fs/cgroup/memory.max": f"{2 * GIB}\n"})
    (finding,) = check_memory(patient, 2 * GIB, running=False)
    assert finding.verdict is Verdict.FAULT


def test_memory_that_nobody_tells_of(pi):
    (finding,) = check_memory(pi(**{"proc/meminfo": None}), 1, running=False)
    assert finding.verdict is Verdict.ABSENT


@pytest.mark.parametrize(("free", "verdict"), [(1 << 30, Verdict.WELL), (100 << 20, Verdict.WARNING), (1 << 20, Verdict.FAULT)])
def test_disk(tmp_path, monkeypatch, free, verdict):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=free))
    (finding,) = check_disk(Patient(Config()))
    assert finding.verdict is verdict
    assert finding.looked_at == str(tmp_path / "not" / "yet")


ASK = """
import os, sys
from edge_assistant.config import Config, Service
from edge_assistant.doctor.board import check_disk
from edge_assistant.doctor.finding import Patient
from edge_assistant.doctor.sound import check_permissions
from pathlib import Path
os.setgroups([]), os.setgid(65534), os.setuid(65534)
patient = Patient(Config(service=Service(led_pin=17)), Path(sys.argv[1]))
for finding in (*check_permissions(patient), *check_disk(patient)):
    print(finding.check, finding.verdict.name, finding.found, finding.mend, sep="|")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask as another user")
def test_what_this_user_may_not_use():
    """As another user, for root may do everything."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name in ("dev/snd/pcmC0D0c", "dev/snd/pcmC0D0p", "dev/gpiochip0"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
            (root / name).chmod(0o660)
        environment = {**os.environ, "STATE_DIRECTORY": folder, "HOME": folder}
        told = subprocess.run(
            [sys.executable, "-c", ASK, folder], env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
    lines = [line.split("|") for line in told.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["group audio", "FAULT"], ["group gpio", "FAULT"], ["disk", "WARNING"]], told.stderr
    assert "pcmC0D0c, pcmC0D0p" in lines[0][2]
    assert "usermod -aG root" in lines[0][3]  # the group that these files have
    assert "timers do not outlive a restart" in lines[2][2]


def test_what_root_may_use_and_what_is_not_there(tmp_path):
    assert verdicts(check_permissions(Patient(Config(), tmp_path))) == {"group audio": Verdict.ABSENT}
    (tmp_path / "dev" / "snd").mkdir(parents=True)
    (tmp_path / "dev" / "snd" / "pcmC0D0c").touch()
    for config in (Config(talk=Talk(talk_pin=4)), Config(switches={"pump": Switch(17)}), Config(service=Service(led_pin=4))):
        told = verdicts(check_permissions(Patient(config, tmp_path)))
        assert told == {"group audio": Verdict.WELL, "group gpio": Verdict.ABSENT}


STATUS = "Name:\tedge-assistant\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t997\t997\t997\t997\nGroups:\t{groups} \n"


@pytest.mark.parametrize(
    ("uid", "groups", "mode", "verdict"),
    [
        (997, "{gid} 997", 0o660, Verdict.WELL),
        (997, "997", 0o660, Verdict.FAULT),
        (997, "{gid} 997", 0o640, Verdict.FAULT),
        (997, "997", 0o666, Verdict.WELL),
        (0, "0", 0o600, Verdict.WELL),
    ],
)
def test_what_the_services_user_may_use(tmp_path, uid, groups, mode, verdict):
    node = tmp_path / "dev" / "snd" / "pcmC0D0c"
    node.parent.mkdir(parents=True)
    node.touch()
    if os.geteuid() == 0:
        os.chown(node, 1, 29)  # Debian's audio
    node.chmod(mode)
    (tmp_path / "proc" / "71").mkdir(parents=True)
    gid = node.stat().st_gid
    (tmp_path / "proc" / "71" / "status").write_text(STATUS.format(uid=uid, groups=groups.format(gid=gid)))
    (finding,) = check_permissions(Patient(Config(), tmp_path, service={"MainPID": "71"}))
    assert finding.verdict is verdict
    assert finding.found.startswith("the service may ")
    assert ("edge-assistant, then start it again" in finding.mend) == (verdict is Verdict.FAULT)


def test_the_worst():
    def finding(verdict):
        return Finding("", verdict, "", "")

    assert worst([]) is Verdict.WELL
    assert (
        worst([finding(Verdict.WELL), finding(Verdict.FAULT), finding(Verdict.WARNING), finding(Verdict.ABSENT)]) is Verdict.FAULT
    )
    assert worst([finding(Verdict.WARNING), finding(Verdict.ABSENT)]) is Verdict.WARNING
