"""Every setting, and where its value comes from. Later layers win, key by key:

    built-in defaults ─► /etc/edge-assistant/config.toml ─► the user's file ─► the environment ─► the command line

The docstrings of the sections' fields are the documentation: `edge-assistant config default` prints them. All is checked before
any of it is used: what one layer has wrong makes the whole load fail, and names what would be right.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from edge_assistant.errors import ConfigError
from edge_assistant.places import config_file
from edge_assistant.schema import Between, Key, Setting, WrongValue, keys, listed, nearest, told

SYSTEM_FILE = Path("/etc/edge-assistant/config.toml")
ENVIRONMENT = "EDGE_ASSISTANT_"
"""Before SECTION_KEY: `EDGE_ASSISTANT_TALK_MODE=wake`."""
MOST_BYTES = 64 << 10
DEFAULT = "default"
"""The origin of what nobody set."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

Pin = Annotated[int, Between(0, 27)]
"""A Raspberry Pi's pin, by Broadcom's number."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: `talk`, `serve`, and of `ask` what goes without a microphone."""

    model: str = "pocket"
    """A shipped or installed model by its name, or a bundle's folder."""
    microphone: str = "default"
    """A name that `edge-assistant devices` lists."""
    loudspeaker: str = "default"
    """A name that `edge-assistant devices` lists."""
    voice: str = "espeak"
    """What speaks."""
    mode: Literal["open", "wake", "button"] = "open"
    """Listen always, after the wake word, or at a button."""
    wake_word: str = "hey jarvis"
    """What wakes it, in mode wake."""
    barge_in: Literal["speech", "wake"] = "speech"
    """What interrupts a reply: any speech, or only the wake word and the buttons."""
    window_ms: Annotated[int, Between(1000, 60_000)] = 8000
    """After the wake word or the button, milliseconds for speech to begin."""
    follow_up_ms: Annotated[int, Between(0, 60_000)] = 6000
    """After a reply, milliseconds for speech to begin without the wake word."""
    echo: Literal["half-duplex", "speexdsp", "aec3", "system"] = "speexdsp"
    """Against our own voice in the microphone; `edge-assistant echo-test` recommends."""
    vad: Literal["silero", "webrtc"] = "silero"
    """What tells speech from other sounds; webrtc computes less and errs more."""
    end_min_ms: Annotated[int, Between(200, 5000)] = 448
    """The shortest silence that ends a turn, in milliseconds: for one who never pauses."""
    end_max_ms: Annotated[int, Between(200, 10_000)] = 1216
    """The longest: for one who pauses long."""
    end_of_turn: bool = False
    """Judge ends by their sound too (extra smart-turn)."""
    talk_pin: Pin | None = None
    """A button to speak, between this pin and ground (extra gpio)."""
    mute_pin: Pin | None = None
    """A button that turns the microphone off or on, between this pin and ground (extra gpio)."""

    def __post_init__(self) -> None:
        """Raises ValueError for what does not go together."""
        if self.barge_in == "wake" and self.mode == "open":
            raise ValueError('nothing would wake it: barge_in "wake" goes with mode "wake" or "button"')
        if self.end_min_ms > self.end_max_ms:
            raise ValueError(f"end_min_ms is {self.end_min_ms}, more than end_max_ms ({self.end_max_ms})")


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that a pin turns on and off."""

    pin: Pin
    """By Broadcom's number."""
    active_low: bool = False
    """It is on when the pin is at ground, as most relay boards want it."""
    dimmable: bool = False
    """It may be anything between off and on, by pulse width: a lamp, not a relay."""


@dataclass(frozen=True, slots=True)
class Power:
    """The commands behind the tools shut_down and restart, which are off unless [tools] switches them on."""

    shut_down: tuple[str, ...] = ("systemctl", "poweroff")
    """Shuts this machine down."""
    restart: tuple[str, ...] = ("systemctl", "reboot")
    """Starts it again."""


@dataclass(frozen=True, slots=True)
class Service:
    """What only `edge-assistant serve` does, the service under systemd."""

    announce: bool = True
    """Say aloud when it is ready."""
    led_pin: Pin | None = None
    """A light: on when it listens, blinking when it does not (extra gpio)."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set."""

    talk: Talk = field(default_factory=Talk)
    tools: Mapping[str, bool] = field(default_factory=dict[str, bool], metadata={"example": ("get_status", False)})
    """Tools by name: false takes one away, true brings one that is off until it is asked for."""
    switches: Mapping[str, Switch] = field(
        default_factory=dict[str, Switch], metadata={"example": ("pump", Switch(17, active_low=True))}
    )
    """What can be switched by its spoken name, one table each. An underscore is spoken as a space."""
    power: Power = field(default_factory=Power)
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        """Raises ValueError for what does not go together."""
        pins: dict[int, str] = {}
        for name, pin in (
            ("talk.talk_pin", self.talk.talk_pin),
            ("talk.mute_pin", self.talk.mute_pin),
            ("service.led_pin", self.service.led_pin),
            *((f"switches.{name}.pin", switch.pin) for name, switch in self.switches.items()),
        ):
            if pin is not None and pins.setdefault(pin, name) != name:
                raise ValueError(f"{pins[pin]} and {name} are the same pin, {pin}")


@dataclass(frozen=True, slots=True)
class Section:
    """How a part of the file is laid out."""

    name: str
    kind: type[Any]
    """The dataclass of its keys; of a table of named things, that of each of them; bool for names that are on or off."""
    named: bool = False
    """Its keys are names of the user's."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and where each value comes from."""

    config: Config
    origins: Mapping[str, str]
    """By dotted name, for what is not a default: `FILE:LINE`, a variable of the environment, or an option."""
    files: tuple[Path, ...] = ()
    """The files that were there, in the order they were read."""

    def origin(self, section: str, key: str) -> str:
        """Where this value comes from; `key` is `NAME.KEY` in a table of named things."""
        return self.origins.get(f"{section}.{key}", DEFAULT)


class Problems(ConfigError):
    """What is wrong with a layer, all of it; as an error, the first."""

    def __init__(self, each: list[tuple[str, str]]) -> None:
        """`each`: what, and its mend."""
        super().__init__(*each[0])
        self.each = [ConfigError(*one) for one in each]


def sections() -> tuple[Section, ...]:
    """In the order of the file."""
    hints = get_type_hints(Config)
    named = {name: get_args(hint)[1] for name, hint in hints.items() if get_origin(hint) is Mapping}
    return tuple(Section(name, named.get(name, hint), name in named) for name, hint in hints.items())


def files() -> tuple[Path, ...]:
    """The files that are read where they exist, in their order."""
    return SYSTEM_FILE, config_file()


def load(flags: Mapping[str, object] | None = None) -> Loaded:
    """The configuration of now; `flags`: what the command line sets, by dotted name (`talk.mode`), None being nothing.

    Raises:
        ConfigError: a file cannot be read, or a layer holds what cannot be; all problems of that layer are in it.
    """
    layers = [(path, layer) for path in files() if (layer := _read_file(path)) is not None]
    found = tuple(path for path, _ in layers)
    return _merge([*(layer for _, layer in layers), _read_environment(os.environ), _read_flags(flags or {})], found)


def load_file(path: Path) -> Loaded:
    """What this file alone makes of the defaults.

    Raises:
        ConfigError: it is not there, cannot be read, or holds what cannot be.
    """
    layer = _read_file(path)
    if layer is None:
        raise ConfigError(f"{path}: no such file", "`edge-assistant config default` prints one to begin with")
    return _merge([layer], (path,))


Layer = dict[str, tuple[Setting, str]]
"""Checked values by dotted name, and where each comes from."""


def _merge(layers: list[Layer], found: tuple[Path, ...]) -> Loaded:
    merged: Layer = {name: each for layer in layers for name, each in layer.items()}
    parts: dict[str, Any] = {}
    for section in sections():
        mine = {name.split(".", 1)[1]: value for name, (value, _) in merged.items() if name.split(".", 1)[0] == section.name}
        if section.named and section.kind is not bool:
            things: dict[str, dict[str, Setting]] = {}
            for name, value in mine.items():
                thing, key = name.split(".")
                things.setdefault(thing, {})[key] = value
            made = {name: _make(merged, section, values, f"{section.name}.{name}") for name, values in things.items()}
            parts[section.name] = MappingProxyType(made)
        else:
            parts[section.name] = MappingProxyType(mine) if section.named else _make(merged, section, mine, section.name)
    try:
        config = Config(**parts)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Loaded(config, {name: origin for name, (_, origin) in merged.items()}, found)


def _make(merged: Layer, section: Section, values: Mapping[str, Setting], name: str) -> object:
    missing = [key for key, each in keys(section.kind).items() if each.required and key not in values]
    places = ", ".join(dict.fromkeys(origin for key in values for _, origin in [merged[f"{name}.{key}"]]))
    if missing:
        raise ConfigError(f"{places}: {name} has no {missing[0]}", f"{missing[0]} takes {keys(section.kind)[missing[0]].words}")
    try:
        return section.kind(**values)
    except ValueError as error:
        raise ConfigError(f"{places}: {name}: {error}") from error


def _read_file(path: Path) -> Layer | None:
    """None if there is no such file. Raises ConfigError."""
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path}: this is no file", "put a text file in TOML there")
            data = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror})", "see that it is a file that this user may read"
        ) from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: more than {MOST_BYTES >> 10} KiB", "settings need far less: is it the right file?")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8", "save it as UTF-8") from error
    try:
        tree = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deep", "no setting lies deeper than [switches.NAME]") from error
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{path}: {error}", "this is no TOML: see https://toml.io, or `edge-assistant config default`"
        ) from error
    return _check(tree, lambda name: _where(path, text, name))


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe under this name must not hold us up


def _check(tree: Mapping[str, object], where: Callable[[str], str]) -> Layer:
    """What TOML gave, against the sections; `where` tells the place of a dotted name. Raises Problems."""
    layer: Layer = {}
    problems: list[tuple[str, str]] = []
    for name, value, key in _settings(tree, problems, where):
        try:
            layer[name] = key.check(value), where(name)
        except WrongValue as error:
            problems.append((f"{where(name)}: {name} = {told(value)} is wrong", str(error)))
    if problems:
        raise Problems(problems)
    return layer


def _settings(
    tree: Mapping[str, object], problems: list[tuple[str, str]], where: Callable[[str], str]
) -> Iterator[tuple[str, object, Key]]:
    """Every value that has a key, by dotted name; what has none is a problem."""
    known = {section.name: section for section in sections()}
    for name, table in tree.items():
        section = known.get(name)
        if section is None:
            problems.append((f"{where(name)}: there is no section {_safe(name)}", _advise(name)))
        elif not isinstance(table, dict):
            problems.append((f"{where(name)}: {name} = {told(table)} is wrong", f"it is a section: write [{name}]"))
        elif not section.named:
            yield from _keyed(section.name, cast(dict[str, object], table), section.kind, problems, where)
        else:
            for thing, value in cast(dict[str, object], table).items():
                full = f"{name}.{thing}"
                if not _NAME.fullmatch(thing):
                    problems.append(
                        (f"{where(name)}: {_safe(thing)} is no name", "a name is of small letters, digits and underscores")
                    )
                elif section.kind is bool:
                    yield full, value, Key(thing, bool)
                elif not isinstance(value, dict):
                    problems.append((f"{where(full)}: {full} = {told(value)} is wrong", f"it is a table: write [{full}]"))
                elif not value:
                    problems.append((f"{where(full)}: [{full}] is empty", f"give it {listed(list(keys(section.kind)), 'or')}"))
                else:
                    yield from _keyed(full, cast(dict[str, object], value), section.kind, problems, where)


def _keyed(
    table: str, values: Mapping[str, object], kind: type[Any], problems: list[tuple[str, str]], where: Callable[[str], str]
) -> Iterator[tuple[str, object, Key]]:
    known = keys(kind)
    for name, value in values.items():
        if name in known:
            yield f"{table}.{name}", value, known[name]
        else:
            what = f"{where(f'{table}.{name}')}: there is no {table}.{_safe(name)}"
            problems.append((what, _advise(name, table, tuple(known))))


def _advise(name: str, table: str = "", known: tuple[str, ...] = ()) -> str:
    """What was probably meant by an unknown key of a table, or by an unknown section."""
    parts = {section.name: () if section.named else tuple(keys(section.kind)) for section in sections()}
    known = known or tuple(parts)
    close = nearest(name, known)
    if close:
        return f"did you mean {close}?"
    homes = [section for section, names in parts.items() if name in names and section != table]
    if homes:
        return f"it belongs under [{homes[0]}]"
    return f"there {'is' if len(known) == 1 else 'are'} {listed(list(known))}"


def _safe(name: str) -> str:
    return told(name)[1:-1] or '""'


def _where(path: Path, text: str, name: str) -> str:
    line = find_line(text, name)
    return f"{path}:{line}" if line else str(path)


def find_line(text: str, name: str) -> int:
    """The line of a TOML text where this dotted name stands; 0 where that is not plain to see."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$", line):
            table = full = _plain(header[1])
        elif assigned := re.match(r"\s*([^\s=#\[][^=#]*?)\s*=", line):
            full = ".".join(part for part in (table, _plain(assigned[1])) if part)
        else:
            continue
        inline = "{" in line and name.startswith(f"{full}.")
        if full == name or inline or full.startswith(f"{name}."):
            return number
    return 0


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _read_environment(environment: Mapping[str, str]) -> Layer:
    """Raises Problems."""
    names = {f"{ENVIRONMENT}{name}".replace(".", "_").upper(): name for name in _plain_keys()}
    problems: list[tuple[str, str]] = []
    for variable in sorted(environment):
        if variable.startswith(ENVIRONMENT) and variable not in names:
            close = nearest(variable.removeprefix(ENVIRONMENT), tuple(name.replace(".", "_") for name in names.values()))
            mend = f"did you mean {ENVIRONMENT}{close.upper()}?" if close else "unset it: `edge-assistant config show` lists all"
            problems.append((f"the environment's {_safe(variable)} is no setting", mend))
    given = {name: (environment[variable], variable) for variable, name in names.items() if variable in environment}
    return _check_given(given, "=", problems)


def _read_flags(flags: Mapping[str, object]) -> Layer:
    """Raises Problems."""
    given = {
        name: (value, f"--{name.rpartition('.')[2].replace('_', '-')}") for name, value in flags.items() if value is not None
    }
    return _check_given(given, " ", [])


def _plain_keys() -> dict[str, Key]:
    """By dotted name, those that are not in a table of named things."""
    return {
        f"{section.name}.{name}": key for section in sections() if not section.named for name, key in keys(section.kind).items()
    }


def _check_given(given: Mapping[str, tuple[object, str]], sign: str, problems: list[tuple[str, str]]) -> Layer:
    """Values and texts by dotted name, with their origins. Raises Problems."""
    known = _plain_keys()
    layer: Layer = {}
    for name, (value, origin) in given.items():
        try:
            layer[name] = (known[name].parse(value) if isinstance(value, str) else known[name].check(value)), origin
        except WrongValue as error:
            problems.append((f"{origin}{sign}{told(value)} is wrong", str(error)))
    if problems:
        raise Problems(problems)
    return layer
