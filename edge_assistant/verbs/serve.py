"""`edge-assistant serve`: talk as a service that systemd starts, watches, reloads and ends."""

import argparse
import faulthandler
import logging
import os
import signal
import sys
from contextlib import redirect_stdout

from edge_assistant.config import Config
from edge_assistant.errors import EdgeAssistantError
from edge_assistant.verbs import add_settings, configuration, talk

HELP = "talk as a service under systemd"
EXAMPLE = """\
examples:
  systemctl enable --now edge-assistant      # systemd/edge-assistant.service runs this verb
  edge-assistant serve                       # by hand, to see what the journal would hold

signals:
  SIGTERM   let the sentence end, then stop: within two seconds
  SIGHUP    read the configuration again; a bad one is refused, and the old one goes on
"""
LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""As syslog counts them."""


class JournalFormatter(logging.Formatter):
    """A line that systemd's journal knows the priority of."""

    def format(self, record: logging.LogRecord) -> str:
        level = LEVELS.get(record.levelno, 5)
        return "\n".join(f"<{level}>{line}" for line in super().format(record).splitlines())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    add_settings(parser, *talk.SETTINGS, "service.led_pin", "service.announce")
    parser.set_defaults(journal=None, record_audio=None, seconds=None)  # a service keeps nothing, and ends when it is told to


def run(args: argparse.Namespace) -> None:
    """Do it. A fault at the start is said aloud, logged, and ends it with exit status 2."""
    from edge_assistant.daemon import Daemon, Setup, runtime_folder, say_fault  # noqa: PLC0415
    from edge_assistant.led import Led  # noqa: PLC0415
    from edge_assistant.models import find_model  # noqa: PLC0415
    from edge_assistant.notify import Notifier  # noqa: PLC0415
    from edge_assistant.runtime import Session  # noqa: PLC0415
    from edge_assistant.runtimes.opening import open_model  # noqa: PLC0415
    from edge_assistant.talk import Parts  # noqa: PLC0415
    from edge_assistant.timeline import Moment  # noqa: PLC0415
    from edge_assistant.voice import EspeakVoice  # noqa: PLC0415

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # while it starts: the configuration is read after that anyway
    faulthandler.enable()  # a watchdog's SIGABRT leaves every thread's stack in the journal
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter("%(message)s"))
    logging.getLogger().handlers = [handler]
    notifier, folder = Notifier(), runtime_folder()
    stamp = folder and folder / "fault"
    notifier.status("starting")

    def show(_: Moment) -> None:
        """What is said is nobody's business: nothing of it goes to the journal."""

    first = Config()
    try:
        first = configuration(args)
        with Led(first.service.led_pin) as led, redirect_stdout(sys.stderr):
            led.show("starting")
            model = open_model(find_model(first.talk.model))

            def load() -> Setup:
                now = configuration(args)

                def make(session: Session) -> Parts:
                    return talk.make_parts(now.talk, session, show, model.bundle.identity)

                fixed = {"talk.model": now.talk.model, "service.led_pin": str(now.service.led_pin)}
                return Setup(talk.configure(args, now), make, fixed, now.service.announce)

            Daemon(load, model.session, notifier, led, stamp).run()
    except EdgeAssistantError as error:
        logging.getLogger(__name__).error("%s", " ".join(str(error).split()))
        notifier.status(f"cannot start: {error.what}")
        say_fault(error, EspeakVoice(), talk.named_device(first.talk.loudspeaker), stamp)
        raise SystemExit(2) from error
    logging.shutdown()
    os._exit(0)  # everything is in order; the interpreter's own tidying up would take half a second of the two
