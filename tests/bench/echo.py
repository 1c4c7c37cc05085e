"""Hours of replies in simulated rooms: does the assistant ever answer itself, and how many interruptions does it find?

Prints the tables of docs/echo.md. The rooms are numbers (tests/echo/simroom.py): they show that the parts do what they are made
for, not how a living room sounds.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "echo"))

from conversation import say_replies, speak_over, talk
from simroom import RATE_HZ, Room

ROOMS = {
    "plain: 90 ms, T60 0.4 s, -6 dB": Room(),
    "near: 60 ms": Room(delay_ms=60, seed=2),
    "far: 150 ms, T60 0.6 s": Room(delay_ms=150, t60_s=0.6, seed=3),
    "two clocks: 100 ppm": Room(drift_ppm=100, seed=4),
    "two clocks: -100 ppm, 120 ms": Room(delay_ms=120, drift_ppm=-100, seed=5),
    "overdriven loudspeaker": Room(clip=0.1, seed=6),
    "loud: 0 dB": Room(echo_db=0, seed=7),
    "hall: T60 0.8 s": Room(t60_s=0.8, seed=8),
    "quiet: -20 dB": Room(echo_db=-20, seed=9),
    "headphones": Room(echo_db=-200, seed=10),
}
STRATEGIES = ("speexdsp", "aec3", "system")
SHOWN = {"system": "none, guard alone"}


def people(folder: Path, most: int = 40):
    """Recordings of a person, where Debian's asterisk-core-sounds-en-g722 is installed."""
    clips = []
    for path in sorted(folder.glob("vm-*.g722"))[:most]:
        raw = subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(path), "-f", "f32le", "-ar", "16000", "-"],
            capture_output=True,
            check=False,
        ).stdout
        clip = np.frombuffer(raw, np.float32)
        if RATE_HZ * 0.8 < len(clip) < RATE_HZ * 3:
            clips.append(clip)
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of replies for each room and strategy (10)")
    parser.add_argument("--people", type=Path, default=Path("/usr/share/asterisk/sounds/en_US_f_Allison"))
    args = parser.parse_args()
    clips = people(args.people) or None
    far = say_replies(args.minutes * 60)
    print(
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores; {args.minutes:.0f} min for each line and level"
    )
    print(f"the user: {f'{len(clips)} recordings of a person' if clips else 'the demo questions'}\n")
    print(
        "| room | strategy | echo less, dB | our speech left, % of frames | our own turns | found at -20 dB | -26 dB | -32 dB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    own = {strategy: 0 for strategy in STRATEGIES}
    found = {strategy: [0, 0] for strategy in STRATEGIES}
    spent = {strategy: 0.0 for strategy in STRATEGIES}
    for name, room in ROOMS.items():
        for strategy in STRATEGIES:
            began = time.process_time()
            alone = talk(strategy, room, far)
            spent[strategy] += time.process_time() - began
            own[strategy] += len(alone.starts)
            cells = []
            for level in (-20, -26, -32):
                heard = talk(strategy, room, far, speak_over(len(far), level, first_s=18, every_s=7, seed=-level, clips=clips))
                own[strategy] += len(heard.own)
                found[strategy][0] += heard.found
                found[strategy][1] += len(heard.spans)
                cells.append(f"{heard.found} of {len(heard.spans)}" + (f" ({len(heard.own)} own)" if heard.own else ""))
            left = 100 * float(np.mean(alone.speech[600:] > 0.5))
            less = f"{alone.reduction_db():.0f}" if room.echo_db > -100 else "–"
            print(
                f"| {name} | {SHOWN.get(strategy, strategy)} | {less} | {left:.1f} | {len(alone.starts)} | {' | '.join(cells)} |",
                flush=True,
            )
    hours = 4 * len(ROOMS) * args.minutes / 60
    for strategy in STRATEGIES:
        rate = 100 * found[strategy][0] / found[strategy][1]
        share = 100 * spent[strategy] / (len(ROOMS) * args.minutes * 60)
        print(
            f"\n{SHOWN.get(strategy, strategy)}: {own[strategy]} turns of our own in {hours:.1f} h of replies; {rate:.0f} % of "
            f"{found[strategy][1]} interruptions found; {share:.1f} % of a core, room and detector too"
        )


if __name__ == "__main__":
    main()
