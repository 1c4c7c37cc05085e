import pytest
from parrot import call

from edge_assistant.health import Reading
from edge_assistant.tools import ToolError
from edge_assistant.tools.status import Battery, Machine, read_batteries


def board(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


ZONE = {"sys/class/thermal/thermal_zone0/temp": "51234"}
BATTERY = {
    "sys/class/power_supply/battery/type": "Battery",
    "sys/class/power_supply/battery/capacity": "83",
    "sys/class/power_supply/battery/status": "Discharging",
}


def test_what_pocket_was_taught_is_answered_in_its_form(talk, tmp_path):
    root = board(tmp_path / "root", ZONE | BATTERY)
    it = talk(*(call("get_status", what=what) for what in ("temperature", "battery", "all")), root=root)
    assert it.responses == [
        {"temperature_celsius": 51},
        {"battery_percent": 83},
        {"battery_percent": 83, "temperature_celsius": 51},
    ]
    assert it.said == [
        "The temperature is 51 degrees.",
        "The battery is at 83 percent.",
        "The battery is at 83 percent.",
        "The temperature is 51 degrees.",
    ]


def test_nothing_is_made_up(talk, tmp_path):
    empty = tmp_path / "nothing"
    empty.mkdir()
    it = talk(*(call("get_status", what=what) for what in ("temperature", "battery", "all", "power", "uptime")), root=empty)
    assert [response["error"] for response in it.responses] == ["no sensor", "no battery", "no sensor", "no sensor", "no sensor"]


def test_the_whole_of_it(tmp_path):
    root = board(
        tmp_path, ZONE | {"proc/uptime": "93784.11 180000.00", "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable:  250 kB"}
    )
    machine = Machine(root)
    assert machine.read("uptime").text == "I have been running for 1 day and 2 hours."
    assert machine.read("memory").values == {"used_percent": 75}
    assert machine.read("disk").values["free_gigabytes"] > 0
    assert machine.read("disk").text.endswith("gigabytes of the disk are free.")
    with pytest.raises(ToolError, match="no loudspeaker"):
        machine.read("volume")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ("0.4", "1 second"),
        ("59.9", "59 seconds"),
        ("3660", "1 hour and 1 minute"),
        ("86400", "1 day"),
        ("180000", "2 days and 2 hours"),
    ],
)
def test_uptime_in_words(tmp_path, seconds, words):
    assert Machine(board(tmp_path, {"proc/uptime": f"{seconds} 1.0"})).read("uptime").values == {"uptime": words}


@pytest.mark.parametrize(
    ("reading", "charging", "text"),
    [
        (Reading(low_voltage=True, throttled=False), None, "The power supply is too weak."),
        (
            Reading(low_voltage=False, throttled=True),
            None,
            "The power supply is strong enough. The processor is slowed down by heat.",
        ),
        (
            Reading(low_voltage=False, throttled=False),
            "Charging",
            "The power supply is strong enough. The battery is being charged.",
        ),
        (Reading(), "Discharging", "The battery is not being charged."),
    ],
)
def test_power(tmp_path, reading, charging, text):
    root = board(tmp_path, BATTERY | {"sys/class/power_supply/battery/status": charging}) if charging else tmp_path
    assert Machine(root, board=lambda: reading).read("power").text == text


def test_batteries(tmp_path):
    there = "sys/class/power_supply"
    root = board(
        tmp_path,
        BATTERY
        | {
            f"{there}/mouse/type": "Battery",
            f"{there}/mouse/scope": "Device",
            f"{there}/mouse/capacity": "7",
            f"{there}/mains/type": "Mains",
            f"{there}/mains/online": "1",
            f"{there}/ups/type": "UPS",
            f"{there}/ups/energy_now": "1250",
            f"{there}/ups/energy_full": "5000",
            f"{there}/broken/type": "Battery",
            f"{there}/broken/capacity": "many",
            f"{there}/new/type": "Battery",
            f"{there}/new/charge_now": "5",
            f"{there}/new/charge_full": "0",
        },
    )
    assert read_batteries(root) == [Battery(83, False), Battery(25, None)]
    assert Machine(root).read("battery").values == {"battery_percent": 25}  # the one that gives out first
