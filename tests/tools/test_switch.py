import pytest
from gpiozero import Device
from parrot import call

from edge_assistant.config import Config, Switch
from edge_assistant.prompt import ToolCall
from edge_assistant.tools import Toolbox, ToolError
from edge_assistant.tools.switch import Switches, switch_tools

WIRED = {"light": Switch(18, dimmable=True), "pump": Switch(17, active_low=True), "garden fan": Switch(27, dimmable=True)}
CONFIG = Config(switches={name.replace(" ", "_"): switch for name, switch in WIRED.items()})


def use(switches, tool, /, **arguments):
    return Toolbox(switch_tools(switches)).use(ToolCall(tool, arguments))


def test_the_pins_do_what_is_said(talk, pins):
    states = []

    def look(it=None):
        states.append((round(pins.pin(18).state, 2), pins.pin(17).state, round(pins.pin(27).state, 2)))

    with Switches(WIRED) as switches:
        look()
        for name, arguments, text in [
            ("set_light", {"on": True}, "The light is on."),
            ("set_light", {"brightness": 30}, "The light is at 30 percent."),
            ("set_light", {"on": False}, "The light is off."),
            ("set_light", {"on": True}, "The light is on."),
            ("set_switch", {"name": "pump", "on": True}, "The pump is on."),
            ("set_switch", {"name": "garden fan", "brightness": 50}, "The garden fan is at 50 percent."),
            ("set_switch", {"name": "pump", "on": False}, "The pump is off."),
        ]:
            assert use(switches, name, **arguments).text == text
            look()
    assert states == [
        (0, 1, 0),  # off, the pump's relay being on at ground
        (1, 1, 0),
        (0.3, 1, 0),
        (0, 1, 0),
        (0.3, 1, 0),  # as bright as it was
        (0.3, 0, 0),
        (0.3, 0, 0.5),
        (0.3, 1, 0.5),
    ]


def test_a_person_names_it_and_the_model_knows(talk, pins):
    it = talk(
        call("set_switch", name="pump", on=True),
        call("get_switch", name="pump"),
        call("set_switch", name="pump", on=False),
        call("get_switch"),
        config=CONFIG,
    )
    assert it.said == [
        "The pump is on.",
        "The pump is on.",
        "The pump is off.",
        "The light is off.",
        "The pump is off.",
        "The garden fan is off.",
    ]
    assert it.responses[0] == {"name": "pump", "on": True}
    assert '<|"|>pump<|"|>,<|"|>garden fan<|"|>' in it.session.text


def test_a_question_changes_nothing(pins):
    with Switches(WIRED) as switches:
        use(switches, "set_switch", name="pump", on=True)
        before = [pins.pin(wired.pin).state for wired in WIRED.values()]
        assert dict(use(switches, "get_switch").values) == {"light": "off", "pump": "on", "garden_fan": "off"}
        assert [pins.pin(wired.pin).state for wired in WIRED.values()] == before


def test_everything_is_off_in_the_end(pins):
    with Switches(WIRED) as switches:
        use(switches, "set_switch", name="pump", on=True)
        assert pins.pin(17).state == 0
        pump = switches._devices["pump"]
    assert pump.closed
    assert pins.pin(17).function == "input"
    with Switches(WIRED):
        assert pins.pin(17).state == 1


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("set_light", {}, "give on or brightness, not both"),
        ("set_light", {"on": True, "brightness": 5}, "give on or brightness, not both"),
        ("set_light", {"brightness": 101}, "brightness must be a whole number from 0 to 100"),
        ("set_switch", {"name": "pump", "brightness": 40}, "it cannot be dimmed, only be on or off"),
        ("set_switch", {"name": "light", "on": True}, "name must be pump or garden fan"),
        ("set_switch", {"name": "heater", "on": True}, "name must be pump or garden fan"),
        ("set_switch", {"name": "pump", "on": "true"}, "on must be true or false"),
    ],
)
def test_a_wrong_call_does_nothing(pins, name, arguments, error):
    with Switches(WIRED) as switches:
        before = [switches.get(each) for each in WIRED]
        assert dict(use(switches, name, **arguments).values) == {"error": error}
        assert [switches.get(each) for each in WIRED] == before


def test_dimming_what_is_only_on_or_off_to_an_end(pins):
    with Switches(WIRED) as switches:
        assert use(switches, "set_switch", name="pump", brightness=100).text == "The pump is at 100 percent."
        assert pins.pin(17).state == 0
        assert use(switches, "set_switch", name="pump", brightness=0).text == "The pump is at 0 percent."


def test_without_switches_there_are_no_tools():
    assert switch_tools(Switches({})) == []
    assert [each.name for each in switch_tools(Switches({"light": Switch(1)}))] == ["set_light", "get_switch"]
    assert [each.name for each in switch_tools(Switches({"pump": Switch(1)}))] == ["set_switch", "get_switch"]


def test_no_pins_here_is_said_and_nothing_claimed(talk, monkeypatch, caplog):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "no such thing")
    from gpiozero import Device

    monkeypatch.setattr(Device, "pin_factory", None)
    it = talk(call("set_light", on=True), call("get_switch"), config=CONFIG)
    assert it.said == ["It says no: its pin cannot be used."] * 2
    assert "light on GPIO18: its pin cannot be used" in caplog.text


def test_a_pin_that_is_taken_and_then_free(pins):
    from gpiozero import LED

    taken = LED(17)
    with Switches(WIRED) as switches:
        assert use(switches, "set_switch", name="pump", on=True).values == {"error": "its pin cannot be used"}
        taken.close()
        assert use(switches, "set_switch", name="pump", on=True).text == "The pump is on."


def test_without_gpiozero(monkeypatch):
    monkeypatch.setattr("edge_assistant.tools.switch.find_spec", lambda name: None)
    with Switches(WIRED) as switches, pytest.raises(ToolError, match="not installed"):
        switches.get("pump")


def test_a_device_that_does_not_obey_is_not_believed(pins):
    """What is told is read back, not what was wanted."""

    class Stuck:
        value = property(lambda self: 0.0, lambda self, value: None)

        def off(self):
            pass

        close = off

    with Switches(WIRED) as switches:
        switches._devices["pump"].close()
        switches._devices["pump"] = Stuck()
        assert use(switches, "set_switch", name="pump", on=True).text == "The pump is off."


def test_a_machine_without_pins_says_so_in_one_line(monkeypatch, caplog, recwarn):
    monkeypatch.setattr(Device, "pin_factory", None)
    with Switches({"pump": Switch(17)}):
        pass
    assert caplog.messages == ["pump on GPIO17: its pin cannot be used"]
    assert not recwarn.list
