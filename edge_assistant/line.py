"""A line to a sound device that stays: opened by name, given up when it is dead, taken up again when it comes back."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from edge_assistant import pulse
from edge_assistant.devices import Device, Kind, choose_device, find_attached, find_devices, read_cards
from edge_assistant.errors import DeviceError
from edge_assistant.streams import Stream

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""Between two looks at the stream and the cards."""
STALL_S = 1.0
"""A stream that gives nothing for so long is dead, whatever it says."""
START_S = 2.5
"""The same for one that was opened no longer ago: a device may have to wake up."""
RETRY_S = 2.0
"""Between two tries at a device that is there and does not open, or of whose coming nobody tells."""

Changed = Callable[[str, bool, str], None]
"""Told when a device comes or goes: microphone or loudspeaker, whether it is there, its name."""


class Line:
    """Owns one stream, and the thread that watches over it."""

    def __init__(
        self,
        kind: Kind,
        name: str | None,
        open_stream: Callable[[Device], Stream],
        closed: Callable[[bool], None],
        changed: Changed,
    ) -> None:
        """`open_stream` opens what was chosen; `closed` is told when a stream was closed, and whether it had died."""
        self._kind: Kind = kind
        self._name = name
        self._open_stream, self._closed, self._changed = open_stream, closed, changed
        self._stream: Stream | None = None
        self._device: Device | None = None
        """What the stream was opened to."""
        self._used = ""
        """Where it leads: to something else, if the server has moved it."""
        self._told = ""
        """The device that was last told to be there."""
        self._alive = False
        self._opened = self._beat = 0.0
        """When the stream was opened, and when it last gave a sign of life."""
        self._retry = 0.0
        self._complaint = ""
        self._wanted, self._stop = True, False
        self._wake = threading.Event()
        self._watch = _ServerWatch(self._wake)
        self._thread = threading.Thread(target=self._run, name=kind, daemon=True)

    @property
    def used(self) -> str:
        """The stable name of the device that sound comes from or goes to; "" while there is none."""
        return self._used if self._alive else ""

    @property
    def flowing(self) -> bool:
        """A stream is open, and alive."""
        return self._alive and (self._paused or self._silent_s < self._patience_s)

    @property
    def missing(self) -> bool:
        """There is no stream, and a reason for it that was told: no such device, or one that does not open."""
        return bool(self._complaint)

    @property
    def latency_s(self) -> float:
        """Sound under way between us and the device; 0 while there is none."""
        stream = self._stream
        return stream.latency_s if stream else 0.0

    @property
    def _paused(self) -> bool:
        stream = self._stream
        return stream is not None and stream.paused

    @property
    def _silent_s(self) -> float:
        return time.monotonic() - self._beat

    @property
    def _patience_s(self) -> float:
        return STALL_S if self._beat - self._opened > START_S else START_S

    def beat(self) -> None:
        """The stream gives a sign of life."""
        self._beat = time.monotonic()
        if not self._alive:
            self._wake.set()

    def rest(self, resting: bool) -> None:
        """Nobody waits for sound, or somebody does again; see `streams.Stream`."""
        stream = self._stream
        if stream is not None:
            if stream.paused:
                self._beat = time.monotonic()  # from here on it has to give signs of life
            stream.rest(resting)

    def start(self, *, patient: bool) -> None:
        """Open, and watch from here on.

        Raises:
            DeviceError: it does not open; with `patient` that is only logged, and tried again.
        """
        try:
            self._open()
        except DeviceError as error:
            if not patient:
                raise
            self._complain(error)
        self._thread.start()

    def want(self, wanted: bool) -> None:
        """Close for as long as it is not wanted."""
        self._wanted, self._retry = wanted, 0.0
        self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close for good."""
        self._stop = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)
        self._close()

    def _run(self) -> None:
        cards = read_cards()
        with self._watch:
            while not self._stop:
                self._wake.wait(LOOK_S)
                self._wake.clear()
                before, cards = cards, read_cards()
                self._look(news=self._watch.news() or cards != before)

    def _look(self, *, news: bool) -> None:
        if not self._wanted:
            self._close()
            return
        stream = self._stream
        if stream is not None and self._look_after(stream) and news:
            self._follow()
        if self._stream is None and (news or time.monotonic() >= self._retry):
            try:
                self._open()
            except DeviceError as error:
                self._complain(error)

    def _look_after(self, stream: Stream) -> bool:
        """Close it if it is dead; False if it is."""
        if not self._alive and self._beat > self._opened:
            self._alive = True
            self._tell(self._used)
        if not stream.ended and (stream.paused or self._silent_s < self._patience_s):
            return True
        if self._alive and not stream.ended:
            log.warning("the %s %s has given no sign of life for a second: it is opened anew", self._kind, self._used)
        self._lose()
        return False

    def _follow(self) -> None:
        """Something was plugged in, pulled out or moved: does our stream lead where it should?"""
        assert self._device is not None
        attached = find_attached(self._device)  # asked first: a device that goes meanwhile is then gone
        try:
            wanted = choose_device(self._kind, self._name)
        except DeviceError:
            self._lose()
            return
        if attached == wanted.name:
            self._device = wanted
            self._move(attached)
        elif attached and wanted.name == self._device.name:
            self._move(attached)  # somebody did that on purpose
        else:
            self._close()
            self._retry = 0.0

    def _move(self, attached: str) -> None:
        if attached == self._used:
            return
        if self._told and self._told not in {device.name for device in find_devices(self._kind)}:
            self._tell("")
        self._used = attached
        if self._alive:
            self._tell(attached)

    def _open(self) -> None:
        self._retry = time.monotonic() + RETRY_S
        device = choose_device(self._kind, self._name)
        self._opened = self._beat = time.monotonic()
        self._device, self._used = device, device.name
        self._stream = self._open_stream(device)
        self._complaint = ""

    def _close(self, *, died: bool = False) -> None:
        stream, self._stream, self._alive = self._stream, None, False
        if stream is not None:
            stream.close()
            self._closed(died)

    def _lose(self) -> None:
        if self._alive:
            self._retry = 0.0
        self._close(died=True)
        self._tell("")

    def _tell(self, name: str) -> None:
        """Tell that this device is there now; with "", that the last one is gone."""
        if name == self._told:
            return
        before, self._told = self._told, name
        if name:
            log.info("%s: %s", self._kind, name)
            self._changed(self._kind, True, name)
        else:
            log.warning("the %s %s is gone; it is taken up again when it comes back", self._kind, before)
            self._changed(self._kind, False, before)

    def _complain(self, error: DeviceError) -> None:
        """Once for every reason."""
        if error.what != self._complaint:
            self._complaint = error.what
            log.warning("%s", error)


class _ServerWatch:
    """Listens to a sound server for devices that come and go, and for streams that it moves."""

    WORDS = ("on source", "on sink", "on server", "on card")

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._news = False
        self._stop = threading.Event()
        self._process = None
        self._thread = threading.Thread(target=self._run, name="pactl", daemon=True)

    def news(self) -> bool:
        """Has anything changed since the last time?"""
        news, self._news = self._news, False
        return news

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        process = self._process
        if process is not None:
            process.kill()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._stop.is_set():
            process = self._process = pulse.subscribe()
            if process is None:
                return
            with process:
                if self._stop.is_set():
                    process.kill()
                assert process.stdout is not None
                for line in process.stdout:
                    if any(word in line for word in self.WORDS):
                        self._news = True
                        self._wake.set()
            self._news = True  # the server went, or was not there
            self._stop.wait(RETRY_S)
