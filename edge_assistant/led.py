"""A light on a Raspberry Pi's pin that shows how the assistant is (extra `gpio`)."""

import importlib
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from edge_assistant.errors import DeviceError, EdgeAssistantError

BLINKS_S = {"starting": (0.1, 0.9), "fault": (0.5, 0.5)}
"""On, off."""


class Led:
    """starting: a short blink each second. ready: on. fault: half on, half off. Without a pin it shows nothing."""

    def __init__(self, pin: int | None) -> None:
        """`pin` is Broadcom's number.

        Raises:
            EdgeAssistantError: gpiozero is not installed.
            DeviceError: this machine has no such pin, or it is taken.
        """
        self._light: Any = None
        if pin is None:
            return
        if find_spec("gpiozero") is None:
            raise EdgeAssistantError("a light on a pin needs a package that is missing", "pip install 'edge-assistant[gpio]'")
        package: Any = importlib.import_module("gpiozero")
        errors: Any = importlib.import_module("gpiozero.exc")
        try:
            self._light = package.LED(pin)
        except (errors.GPIOZeroError, OSError, RuntimeError) as error:
            raise DeviceError(
                f"the light on GPIO{pin} cannot be used ({error})",
                "check its number, that nothing else uses it, and that this user is in the group gpio",
            ) from error

    def show(self, state: str) -> None:
        """One of starting, ready and fault."""
        if self._light is None:
            return
        if state in BLINKS_S:
            self._light.blink(*BLINKS_S[state])
        else:
            self._light.on()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Off."""
        if self._light is not None:
            self._light.off()
            self._light.close()
