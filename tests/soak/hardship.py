"""What a board in the field may meet: no room, no writing, a clock that jumps, another zone, heat, a weak supply, little memory.

The service goes on through each of them in the same process: a timer that was set by voice before rings in its time, a new
question is answered, and what cannot be done is said aloud.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from machine import CHECKOUT, UNIT, VOICE, Unheard, ask, drop_in, first_sound, kept, likeness, quiet, told
from room import RATE

from edge_assistant.health import LOW_VOLTAGE, SAID, SHORT_OF_MEMORY, TOO_HOT
from edge_assistant.tools.schedule import UNKEPT

STATE = "/var/lib/edge-assistant"
QUESTIONS = CHECKOUT / "tests" / "live" / "questions"
TIMER, TIMER_S = QUESTIONS / "05.flac", 54
SLACK_S = 8.0
"""A timer counts from when it was understood, to when its ring is heard; here from when it was asked for."""
CRY = f"Your timer for {TIMER_S} seconds is done."
HOUR = CHECKOUT / "assets" / "demo" / "time.wav"
ALIKE = 0.5
TRIES = 3
ZONE = "Pacific/Auckland"
CLOCK = "/run/clock"
FAKETIME = (
    "Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 "
    f"FAKETIME_TIMESTAMP_FILE={CLOCK} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 FAKETIME_DISABLE_SHM=1"
)
"""The clock on the wall of the service alone: the kernel has but one, and it is not ours to set."""
ZONES = "/sys/class/thermal"


class Hardship:
    """A machine in a room, and somebody who listens."""

    def __init__(self, machine, room, tape):
        self.machine, self.room, self.tape = machine, room, tape
        self._sounds = {}

    # What is heard.

    def likeness(self, text, since_s):
        """Of what was heard since then, to this."""
        if text not in self._sounds:
            self._sounds[text] = self.machine.spoken(text)
        return likeness(self.tape.read(since_s)[1], self._sounds[text])

    def until_said(self, text, since_s, within_s):
        deadline = time.monotonic() + within_s
        while (alike := self.likeness(text, since_s)) < ALIKE:
            assert time.monotonic() < deadline, f"“{text}” was not said ({alike:.2f})"
            time.sleep(0.5)

    def ask(self, *question):
        """After how long it answers; where on the tape it was asked. It has said it all when this returns."""
        asked = ask(self.room, self.tape, *question)
        quiet(self.tape)
        return asked

    def rang_after(self, set_s):
        """Seconds from the question to the first sound of the ring."""
        before_s = TIMER_S - 6.0
        begun = first_sound(self.tape.read(set_s + before_s)[1], VOICE)
        return before_s + (begun or 0) / RATE

    # What happens.

    def all(self):
        nothing = self.likeness("The pump in the cellar has been running.", max(0.0, self.tape.seconds - 30))
        assert nothing < ALIKE, "the measure does not measure"
        self.disk()
        self.clocks()
        self.zone()
        self.board()
        self.memory()

    def through(self, what, trouble, after=dict):
        """Set a timer; trouble; the timer rings in its time, in the same process, and a question is answered."""
        pid, restarts = self.machine.pid(), self.machine.show("NRestarts")
        set_s = self.set_timer()
        trouble()
        begin_s = self.tape.seconds
        figures = after()
        self.until_said(CRY, begin_s, set_s + TIMER_S - self.tape.seconds + 20)
        rang_s = self.rang_after(set_s)
        self.ask(HOUR)  # and so it is silent
        delay_s, _ = self.ask(HOUR)
        told(what, rang_after_s=rang_s, answers_after_s=delay_s, same_process=pid == self.machine.pid(), **figures)
        assert (pid, restarts) == (self.machine.pid(), self.machine.show("NRestarts"))
        assert abs(rang_s - TIMER_S) < SLACK_S
        assert self.machine.show("StatusText").startswith("listening")

    def set_timer(self):
        """By voice; where on the tape it was asked for. A machine that is far too busy loses sound: then it asks again."""
        for _ in range(TRIES):
            before = self.running()
            _, set_s = self.ask(TIMER)
            if self.likeness(f"Timer set for {TIMER_S} seconds.", set_s) >= ALIKE:
                return set_s
            assert self.running() == before, "it has set another timer"
        raise Unheard

    def running(self):
        """How many timers."""
        text = self.kept()
        return len(json.loads(json.loads(text)["value"])["running"]) if text else 0

    def disk(self):
        """Full, then read-only: in use, and at the start."""
        do = self.machine.do
        do("systemctl", "stop", UNIT)
        do("sh", "-c", f"cp -a {STATE} /tmp/state && mount -t tmpfs -o size=2M,mode=700 tmpfs {STATE}")
        do("sh", "-c", f"chown edge-assistant: {STATE} && cp -a /tmp/state/. {STATE}")
        self.machine.restart()

        self.through("disk full", lambda: self.machine.attempt("sh", "-c", f"cat /dev/zero >{STATE}/filler"), self.unkept)
        do("rm", f"{STATE}/filler")
        before = self.kept()
        self.ask()
        told("room again", is_kept=self.kept() != before)
        assert self.kept() != before

        self.through("file system read-only", lambda: do("mount", "-o", "remount,ro", STATE), self.unkept)
        now, at_s = time.time(), self.tape.seconds
        self.machine.restart()
        delay_s, _ = self.ask()
        self.until_said(UNKEPT, at_s, 30)
        told("read-only from the start", answers_after_s=delay_s, said=UNKEPT, lines=self.machine.journal(now).splitlines()[-3:])
        do("systemctl", "stop", UNIT)
        do("umount", STATE)
        self.machine.restart()

    def unkept(self):
        """A timer that is set now runs, and that it is not kept is said."""
        before, at_s = self.kept(), self.tape.seconds
        for _ in range(TRIES):
            self.ask()
            if self.likeness(UNKEPT, at_s) >= ALIKE:
                break
        self.until_said(UNKEPT, at_s, 5)
        return {"said": UNKEPT, "what_was_kept_stands": self.kept() == before}

    def kept(self):
        """As the machine's own mounts have it; "" if nothing was kept yet."""
        return self.machine.do("sh", "-c", f"cat {STATE}/timers.json 2>/dev/null || true")

    def clocks(self):
        """Of the wall."""
        self.machine.do("sh", "-c", f"echo +0 >{CLOCK}")
        drop_in(self.machine.root, "clock", FAKETIME)
        self.machine.restart()
        for what, days in (("clock a year back", -365), ("clock two years ahead", 365), ("clock a year back again", 0)):

            def jump(days=days):
                self.machine.do("sh", "-c", f"echo {days:+d}d >{CLOCK}")

            def look(days=days):
                def off_s():
                    return kept(self.machine.root)["wall_s"] - time.time() - 86_400 * days

                self.machine.until("the jump is noticed", lambda: abs(off_s()) < 90, 20)
                return {"its_date": datetime.fromtimestamp(kept(self.machine.root)["wall_s"], UTC).date().isoformat()}

            self.through(what, jump, look)
        drop_in(self.machine.root, "clock", "")
        self.machine.restart()

    def zone(self):
        """Another one: the hour that is told is another."""
        before = self.machine.attempt("readlink", "/etc/localtime")[1].strip()

        def look():
            now = datetime.now(ZoneInfo(ZONE))
            _, asked_s = self.ask(HOUR)
            hours = [f"It is {at.hour}:{at.minute:02}." for at in (now, now + timedelta(minutes=1))]
            alike = {text: self.likeness(text, asked_s) for text in hours}
            said = max(alike, key=alike.__getitem__)
            assert alike[said] > ALIKE, alike
            return {"asked_for_the_time_it_says": said}

        zones = "/usr/share/zoneinfo"
        self.through(f"zone {ZONE}", lambda: self.machine.do("ln", "-sfn", f"{zones}/{ZONE}", "/etc/localtime"), look)
        self.machine.do("ln", "-sfn", before or f"{zones}/Etc/UTC", "/etc/localtime")

    def board(self):
        """Too hot, and a supply that is too weak, as its files and the firmware's tool would tell."""
        tool = self.machine.root / "usr" / "bin" / "vcgencmd"
        tool.write_text("#!/bin/sh\ncat /run/throttled\n")
        tool.chmod(0o755)
        heat = f"{ZONES}/thermal_zone0/temp"
        self.machine.do("sh", "-c", f"mount -t tmpfs -o mode=755 tmpfs {ZONES} && mkdir {ZONES}/thermal_zone0")
        self.machine.do("sh", "-c", f"echo 60000 >{heat}; echo throttled=0x0 >/run/throttled")
        self.machine.restart()
        for what, sick, well in (
            (TOO_HOT, f"echo 85000 >{heat}", f"echo 60000 >{heat}"),
            (LOW_VOLTAGE, "echo throttled=0x50005 >/run/throttled", "echo throttled=0x50000 >/run/throttled"),
        ):
            begin_s = self.tape.seconds
            self.machine.do("sh", "-c", sick)
            noticed_s = self.until_status(what, 20)
            self.until_said(SAID[what], begin_s, 20)
            quiet(self.tape)
            once_s = self.tape.seconds
            time.sleep(25)  # two looks and more
            again = first_sound(self.tape.read(once_s)[1], VOICE) is not None
            delay_s, _ = self.ask()
            self.machine.do("sh", "-c", well)
            over_s = self.machine.until_ready(90)
            told(what, noticed_after_s=noticed_s, said=SAID[what], said_again=again, answers_after_s=delay_s, over_after_s=over_s)
            assert not again
        self.machine.do("umount", ZONES)
        tool.unlink()
        self.machine.restart()

    def until_status(self, what, within_s):
        return self.machine.until(what, lambda: what in self.machine.show("StatusText"), within_s)

    def memory(self):
        """Nearly all of it is used, as the kernel would tell: what can be given back is, and that is said."""
        sizes = "MemTotal:        4000000 kB\\nMemAvailable:     {} kB\\n"
        enough, little = (f"printf '{sizes.format(kib)}' >/run/meminfo" for kib in (2_000_000, 100_000))
        self.machine.do("sh", "-c", enough)
        drop_in(self.machine.root, "memory", "BindReadOnlyPaths=/run/meminfo:/proc/meminfo")
        self.machine.restart()
        pid, begin_s = self.machine.pid(), self.tape.seconds
        self.machine.do("sh", "-c", little)
        noticed_s = self.until_status(SHORT_OF_MEMORY, 30)
        self.until_said(SAID[SHORT_OF_MEMORY], begin_s, 20)
        delay_s, _ = self.ask()
        self.machine.do("sh", "-c", enough)
        over_s = self.machine.until_ready(90)
        told(SHORT_OF_MEMORY, noticed_after_s=noticed_s, said=SAID[SHORT_OF_MEMORY], answers_after_s=delay_s,
             over_after_s=over_s, same_process=pid == self.machine.pid())  # fmt: skip
        assert pid == self.machine.pid()
        drop_in(self.machine.root, "memory", "")
        self.machine.restart()
