"""What hangs on the pins of a Raspberry Pi: lights that are dimmed, pumps that are switched (extra `gpio`).

Everything is off when a conversation begins, and goes off when it ends: nothing runs on that nobody can turn off by voice. What a
tool answers is read back from the pin, and asking never changes anything.
"""

import importlib
import logging
import threading
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Annotated, Any, Self

from edge_assistant.config import Switch
from edge_assistant.prompt import Value
from edge_assistant.tools.contract import Between, OneOf, Result, Tool, ToolError, tool

log = logging.getLogger(__name__)

LIGHT = "light"
"""The switch of this name has a tool of its own: people say "the light" and mean it."""
Percent = Annotated[int | None, Between(0, 100)]


class Switches:
    """All that can be switched, by its spoken name. Any thread may use it."""

    def __init__(self, wired: Mapping[str, Switch]) -> None:
        self._wired = dict(wired)
        self._devices: dict[str, Any] = {}
        self._lit: dict[str, float] = {}
        """How bright each dimmable one was when it was last on, 0 to 1."""
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """As they are spoken."""
        return list(self._wired)

    def __enter__(self) -> Self:
        """Turn everything off. A pin that cannot be had is tried again at its first use."""
        for name in self._wired:
            try:
                self.get(name)
            except ToolError as error:
                log.warning("%s on GPIO%d: %s", name, self._wired[name].pin, error)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Turn everything off, and let the pins go."""
        with self._lock:
            for device in self._devices.values():
                device.off()
                device.close()
            self._devices.clear()

    def get(self, name: str) -> int:
        """How much it is on, in percent: 0 or 100, or between if it can be dimmed. Raises ToolError."""
        with self._lock:
            return round(100 * float(self._device(name).value))

    def turn(self, name: str, on: bool) -> int:
        """Turn it on, as bright as it was last, or off; returns what it is then. Raises ToolError."""
        with self._lock:
            device = self._device(name)
            device.value = self._lit.get(name, 1.0) if on else 0
            return round(100 * float(device.value))

    def dim(self, name: str, percent: int) -> int:
        """Make it so bright; returns what it is then. Raises ToolError."""
        with self._lock:
            if not self._wired[name].dimmable and percent not in (0, 100):
                raise ToolError("it cannot be dimmed, only be on or off")
            device = self._device(name)
            device.value = percent / 100
            if percent:
                self._lit[name] = percent / 100
            return round(100 * float(device.value))

    def _device(self, name: str) -> Any:
        if name in self._devices:
            return self._devices[name]
        if find_spec("gpiozero") is None:
            raise ToolError("the package gpiozero is not installed")
        package: Any = importlib.import_module("gpiozero")
        errors: Any = importlib.import_module("gpiozero.exc")
        warnings.filterwarnings("ignore", category=errors.PinFactoryFallback)  # what cannot be used at last is said in one line
        wired = self._wired[name]
        make = package.PWMOutputDevice if wired.dimmable else package.OutputDevice
        try:
            self._devices[name] = make(wired.pin, active_high=not wired.active_low, initial_value=0)
        except PermissionError as error:
            raise ToolError("permission denied") from error
        except (errors.GPIOZeroError, OSError, RuntimeError) as error:
            log.info("GPIO%d cannot be used: %s", wired.pin, error)
            raise ToolError("its pin cannot be used") from error
        return self._devices[name]


def switch_tools(switches: Switches) -> list[Tool]:
    """`set_light`, if there is a light; `set_switch`, if there is anything else; `get_switch` for all of them."""
    tools: list[Tool] = []
    names = switches.names
    others = [name for name in names if name != LIGHT]

    def act(name: str, on: bool | None, brightness: int | None) -> Result:
        if (on is None) == (brightness is None):
            raise ToolError("give on or brightness, not both")
        if brightness is not None:
            reached = switches.dim(name, brightness)
            return Result({"brightness": reached}, f"The {name} is at {reached} percent.")
        is_on = switches.turn(name, bool(on)) > 0
        return Result({"on": is_on}, f"The {name} is {'on' if is_on else 'off'}.")

    def set_light(on: bool | None = None, brightness: Percent = None) -> Result:
        """Turn the light on or off, or dim it. Give one of both.

        Args:
            on: Whether it is to be on.
            brightness: How bright, in percent.
        """
        return act(LIGHT, on, brightness)

    def set_switch(name: Annotated[str, OneOf(*others)], on: bool | None = None, brightness: Percent = None) -> Result:
        """Turn something on or off, or dim it.

        Args:
            name: What.
            on: Whether it is to be on.
            brightness: Instead of that, how far on, in percent.
        """
        result = act(name, on, brightness)
        return Result({"name": name, **result.values}, result.text)

    def get_switch(name: Annotated[str | None, OneOf(*names)] = None) -> Result:
        """Whether something is on. Changes nothing.

        Args:
            name: What; left out, everything.
        """
        values: dict[str, Value] = {}
        sentences: list[str] = []
        for each in [name] if name else names:
            percent = switches.get(each)
            words = f"at {percent} percent" if 0 < percent < 100 else "on" if percent else "off"
            values[each.replace(" ", "_")] = words
            sentences.append(f"The {each} is {words}.")
        return Result(values, " ".join(sentences))

    if LIGHT in names:
        tools.append(tool(set_light))
    if others:
        tools.append(tool(set_switch))
    if names:
        tools.append(tool(get_switch))
    return tools
