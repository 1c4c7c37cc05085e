"""What tools act upon in one conversation, beside timers: volume and pace, switches, notes, power, what was heard last."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from edge_assistant.config import Config
from edge_assistant.frames import Event
from edge_assistant.notebook import Notebook
from edge_assistant.places import state_folder
from edge_assistant.preferences import Preferences, open_preferences
from edge_assistant.speaker import Speaker
from edge_assistant.tools.calculator import calculator_tools
from edge_assistant.tools.contract import Tool
from edge_assistant.tools.notes import note_tools
from edge_assistant.tools.power import Power, Run, power_tools, run_command
from edge_assistant.tools.speech import LastHeard, Pace, speech_tools
from edge_assistant.tools.status import Machine, status_tools
from edge_assistant.tools.switch import Switches, switch_tools
from edge_assistant.tools.units import unit_tools
from edge_assistant.tools.volume import Volume, volume_tools
from edge_assistant.turn import Command
from edge_assistant.voice import Voice
from edge_assistant.wallclock import Clock

NOTES = "notes.jsonl"


class Equipment:
    """Of one conversation. `observe` sees every step of the loop, and `due` is asked at every frame."""

    def __init__(
        self,
        config: Config,
        speaker: Speaker,
        voice: Voice,
        clock: Clock,
        *,
        switches: Switches,
        preferences: Preferences,
        folder: Path | None,
        mute: Callable[[], None] | None,
        root: Path,
        run: Run,
    ) -> None:
        self.volume = Volume(lambda gain: setattr(speaker, "gain", gain), preferences)
        self.heard = LastHeard()
        self._power = Power({"shut_down": config.power.shut_down, "restart": config.power.restart}, run)
        notebook = Notebook((folder or state_folder()) / NOTES)
        self.tools: list[Tool] = [
            *volume_tools(self.volume),
            *switch_tools(switches),
            *status_tools(Machine(root, folder), lambda: self.volume.percent),
            *calculator_tools(),
            *unit_tools(),
            *speech_tools(self.heard, Pace(lambda pace: setattr(voice, "pace", pace), preferences), mute),
            *note_tools(notebook, clock, on=config.tools.get("take_note", False)),
            *power_tools(self._power),
        ]

    def observe(self, event: Event, commands: list[Command]) -> None:
        """Take a step."""
        self.heard.observe(event, commands)
        self._power.observe(event, commands)

    def due(self, at_rest: bool) -> list[Event]:
        """What there is to tell."""
        return self._power.due(at_rest)


@contextmanager
def open_equipment(
    config: Config,
    speaker: Speaker,
    voice: Voice,
    clock: Clock,
    *,
    folder: Path | None = None,
    mute: Callable[[], None] | None = None,
    root: Path = Path("/"),
    run: Run = run_command,
) -> Generator[Equipment]:
    """With its pins, and with what `folder` keeps of earlier conversations: None keeps neither volume nor pace.

    `mute` turns the microphone off, if somebody can turn it on again; `root` is where the kernel's files are, and `run` runs the
    commands that shut down and restart.
    """
    named = {name.replace("_", " "): switch for name, switch in config.switches.items()}
    with open_preferences(folder) as preferences, Switches(named) as switches:
        yield Equipment(
            config,
            speaker,
            voice,
            clock,
            switches=switches,
            preferences=preferences,
            folder=folder,
            mute=mute,
            root=root,
            run=run,
        )
