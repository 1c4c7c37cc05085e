"""Ten thousand random conversations on the simulated clock, each checked like those of `tests/loop/test_dialogues.py`.

Encoders that cannot keep up, slow voices, slow tools, failing parts, coughs, barge-ins, the stop key: it always comes to rest,
never speaks while the user speaks, every frame of speech reaches the cache once and in order, and a journal of it replays.

python tests/soak/dialogues.py [COUNT] [FIRST]
"""

import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "loop"))

from rich.console import Console
from rich.progress import track
from sim import check
from test_dialogues import dialogue

from edge_assistant.attention import AttentionConfig
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.errors import JournalError
from edge_assistant.frames import FRAME_MS
from edge_assistant.hearing import HearingConfig
from edge_assistant.journal import Journal
from edge_assistant.replay import replay


def main() -> int:
    """Run them all; the exit status is 1 if any of them went wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    logging.disable(logging.ERROR)
    wrong, spoken, turns, coughs = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        for seed in track(range(first, first + count), "dialogues", console=Console(stderr=True)):
            try:
                with Journal(path, EndpointConfig(), AttentionConfig(), hearing=HearingConfig(), judged=False) as journal:
                    world = dialogue(seed, journal)
                check(world)
                replay(path)
            except (AssertionError, LookupError, JournalError) as error:
                wrong += 1
                print(f"seed {seed}: {type(error).__name__}: {error}")
                continue
            spoken += world.now
            turns += len(world.when("SpeechEnded"))
            coughs += len(world.when("Resume"))
    hours = spoken * FRAME_MS / 3_600_000
    print(f"{count} dialogues, {hours:.0f} hours on the clock, {turns} turns, {coughs} coughs over a reply: {wrong} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
