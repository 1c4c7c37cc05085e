"""Buttons: keys on the terminal, and switches on a Raspberry Pi's pins. Both tell when they go down and when they come up."""

import importlib
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from enum import Enum, auto
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from edge_assistant.errors import DeviceError, EdgeAssistantError


class Button(Enum):
    """What a button is for."""

    TALK = auto()
    """Hold it and speak, or tap it and speak."""
    STOP = auto()
    """Be silent."""
    MUTE = auto()
    """Every press turns the microphone off or on."""


Pressed = Callable[[Button, bool], None]
"""Told from a thread of the button's own: which, and True when it goes down, False when it comes up."""

KEYS: Mapping[str, Button] = {" ": Button.TALK, "s": Button.STOP, "m": Button.MUTE}
FIRST_S = 0.8
"""A terminal tells of no release, but a held key repeats itself: for the first time after at most this long (X: 0.66 s) ..."""
REPEAT_S = 0.2
"""... and from then on after at most this long."""


class KeyButtons:
    """Keys of the terminal that a program was started from; where there is none, or it is in the background, no buttons at all.

    Keys are read without waiting for the return key and without echo; Ctrl-C stays what it is. Leaving puts everything back.
    """

    def __init__(self, pressed: Pressed, keys: Mapping[str, Button] = KEYS, descriptor: int | None = None) -> None:
        """`descriptor` is the terminal; None takes standard input."""
        self._pressed = pressed
        self._buttons = {key.encode(): button for key, button in keys.items()}
        self._terminal = _terminal() if descriptor is None else descriptor
        self.present = self._terminal is not None and _in_foreground(self._terminal)
        """Whether there are keys to press."""
        self._held: dict[Button, float] = {}
        """When each button that is down counts as released, in seconds of the monotonic clock."""
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        if self.present and self._terminal is not None:
            self._exit.enter_context(suppress(termios.error))  # it may be gone by then
            self._exit.callback(termios.tcsetattr, self._terminal, termios.TCSADRAIN, termios.tcgetattr(self._terminal))
            tty.setcbreak(self._terminal)
            stopped, stop = os.pipe()
            self._exit.callback(os.close, stopped)
            thread = threading.Thread(target=self._watch, args=(self._terminal, stopped), name="keys", daemon=True)
            thread.start()
            self._exit.callback(thread.join)
            self._exit.callback(os.close, stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening, let go of what is held, and put the terminal back."""
        self._exit.close()

    def _watch(self, terminal: int, stopped: int) -> None:
        while True:
            wait_s = max(0.0, min(self._held.values()) - time.monotonic()) if self._held else None
            ready = select.select([terminal, stopped], [], [], wait_s)[0]
            if stopped in ready or (terminal in ready and not self._read(terminal)):
                self._release(float("inf"))
                return
            self._release(time.monotonic())

    def _read(self, terminal: int) -> bool:
        """Take what was typed; False when the terminal is gone."""
        try:
            typed = os.read(terminal, 64)
        except OSError:
            return False
        if typed.startswith(b"\x1b"):  # an arrow or another key whose sequence may hold our letters
            return True
        for at in range(len(typed)):
            button = self._buttons.get(typed[at : at + 1])
            if button is None:
                continue
            down = button in self._held
            self._held[button] = time.monotonic() + (REPEAT_S if down else FIRST_S)
            if not down:
                self._pressed(button, True)
        return bool(typed)

    def _release(self, now: float) -> None:
        for button in [button for button, until in self._held.items() if until <= now]:
            del self._held[button]
            self._pressed(button, False)


class GpioButtons:
    """Switches between a pin of a Raspberry Pi and ground (extra `gpio`)."""

    BOUNCE_S = 0.02
    """A contact that closes and opens within this time only bounces."""

    def __init__(self, pressed: Pressed, pins: Mapping[Button, int]) -> None:
        """`pins` are Broadcom's numbers, as in "GPIO17".

        Raises:
            EdgeAssistantError: gpiozero is not installed.
            DeviceError: this machine has no such pins, or they are taken.
        """
        if find_spec("gpiozero") is None:
            raise EdgeAssistantError("buttons on pins need a package that is not installed", "pip install 'edge-assistant[gpio]'")
        package: Any = importlib.import_module("gpiozero")
        errors: Any = importlib.import_module("gpiozero.exc")
        self._exit = ExitStack()
        for button, pin in pins.items():
            try:
                switch = package.Button(pin, pull_up=True, bounce_time=self.BOUNCE_S)
            except (errors.GPIOZeroError, OSError, RuntimeError) as error:
                self._exit.close()
                raise DeviceError(
                    f"the {button.name.lower()} button on GPIO{pin} cannot be used ({error})",
                    "check its number, that nothing else uses it, and that this user is in the group gpio",
                ) from error
            self._exit.callback(switch.close)
            switch.when_pressed = lambda button=button: pressed(button, True)
            switch.when_released = lambda button=button: pressed(button, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let the pins go."""
        self._exit.close()


def _terminal() -> int | None:
    """Standard input, if it is a terminal."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or replaced by something that is no file
        return None
    return descriptor if os.isatty(descriptor) else None


def _in_foreground(terminal: int) -> bool:
    """Whether the keys are ours: a job in the background that reads them, or sets the terminal, is stopped by the kernel."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not our controlling terminal: then there is no job control to stop us
        return os.isatty(terminal)
