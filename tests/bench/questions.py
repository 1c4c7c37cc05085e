"""Two hundred pairs of a question and a command, spoken by espeak and heard by pocket: does a question ever do the thing?

    python tests/bench/questions.py [--pairs 200] [--model pocket]

What it proves: with the model that ships, and this voice, how often a question about a timer, the light or the volume leads to a
call that changes something, and how often the command beside it leads to its own. It says nothing of other models, nor of
people's voices.
"""

import argparse
import random
from collections import Counter

import soxr

from edge_assistant.brain import Brain
from edge_assistant.frames import SAMPLE_RATE_HZ, Called
from edge_assistant.models import find_model
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.voice import EspeakVoice

TELLING = ("", "get_time", "get_date", "get_status", "list_timers")
"""What changes nothing. None of it: no call."""
PAIRS = [
    ("is a timer running", "set a timer for {m} minutes", "set_timer"),
    ("how much time is left", "start a timer for {m} minutes", "set_timer"),
    ("did you set a timer for {m} minutes", "set a timer for {m} minutes", "set_timer"),
    ("is the timer set for {m} minutes", "set the timer for {m} minutes", "set_timer"),
    ("how long is {m} minutes", "give me a {m} minute timer", "set_timer"),
    ("when does the timer end", "stop the timer", "cancel_timer"),
    ("are there any timers", "cancel all timers", "cancel_timer"),
    ("did you cancel the timer", "cancel the timer", "cancel_timer"),
    ("is the light on", "turn on the light", "set_light"),
    ("is the light off", "turn off the light", "set_light"),
    ("why is the light on", "switch off the light", "set_light"),
    ("who turned on the light", "turn the light on", "set_light"),
    ("did you turn off the light", "turn the light off", "set_light"),
    ("how bright is the light", "set the light to {p} percent", "set_light"),
    ("is the light at {p} percent", "set the brightness to {p} percent", "set_light"),
    ("how loud are you", "make it louder", "set_volume"),
    ("what is the volume", "turn the volume up", "set_volume"),
    ("is the volume at {p} percent", "set the volume to {p} percent", "set_volume"),
    ("did you turn the volume down", "turn the volume down", "set_volume"),
    ("is it loud enough", "make it quieter", "set_volume"),
]


def heard(model: OnnxModel, voice: EspeakVoice, text: str) -> str:
    """The tool that is called, or ""."""
    spoken, rate_hz = voice.say(text)
    sound = soxr.resample(spoken, rate_hz, SAMPLE_RATE_HZ)
    brain = Brain(model.session())
    brain.open()
    brain.begin()
    brain.hear(sound)
    for event in brain.reply(1):
        if isinstance(event, Called):
            return event.calls[0].name if event.calls else ""
    return ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--model", default="pocket")
    args = parser.parse_args()
    model, voice, rng = OnnxModel.open(find_model(args.model)), EspeakVoice(), random.Random(6)
    voice.open()
    acted: Counter[str] = Counter()
    done = 0
    for number in range(args.pairs):
        question, command, tool = PAIRS[number % len(PAIRS)]
        fill = {"m": rng.randint(2, 60), "p": rng.randrange(10, 101, 10)}
        asked, told = (each.format(**fill) for each in (question, command))
        if (called := heard(model, voice, asked)) not in TELLING:
            acted[f"{question} -> {called}"] += 1
        done += heard(model, voice, told) == tool
    voice.close()
    print(f"{args.pairs} pairs: {acted.total()} questions changed something, {done} commands did their own")
    for what, count in acted.most_common():
        print(f"  {count:3} {what}")


if __name__ == "__main__":
    main()
