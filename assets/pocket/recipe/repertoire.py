"""What the pocket model understands: wordings, tool calls, tool responses and spoken sentences.

`request(rng)` draws something the assistant can do, `foreign(rng)` a sentence it must not act on, and
`respond(rng, answer)` what a host might send back after a tool call, with the sentence to speak then. Everything is
a function of the `random.Random` that is given, so a seed names a data set.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from phonemes import Alike

REJECT = "Sorry, I did not understand that."
NOTHING_SAID = "I have not said anything yet."
YES, NO = "Yes.", "No."
"""To a question of the product's own: "Shall I shut down?"."""
REPEAT = "repeat"
"""The intent, and the answer in a clip's label, whose real answer is whatever the model said last."""
QUOTE = '<|"|>'
WORD_LIST = Path("/usr/share/dict/american-english")
"""Debian's wamerican: ordinary words, for speech outside the repertoire."""

ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
""".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


@dataclass(frozen=True)
class Utterance:
    """A sentence to be spoken to the model and the answer it should give."""

    intent: str
    text: str
    answer: str
    seen: bool = True
    """False for a wording that is kept out of training."""


@dataclass(frozen=True)
class Intent:
    """One thing to ask for. `do` are imperatives ("could you ..." fits in front), `say` stand as they are."""

    answer: str
    do: tuple[str, ...] = ()
    say: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    """Wordings never trained on, for the development and test sets."""


def spell(number: int) -> str:
    """Return a number from 0 to 100 in words."""
    if number < 20:
        return ONES[number]
    if number == 100:
        return "one hundred"
    return TENS[number // 10] + (" " + ONES[number % 10] if number % 10 else "")


def call(name: str, **arguments: object) -> str:
    """Return a Gemma 4 tool call; the arguments are already in the model's notation."""
    return f"<|tool_call>call:{name}{braces(arguments)}<tool_call|>"


def braces(fields: dict[str, object]) -> str:
    """Return fields in braces, sorted."""
    return "{" + ",".join(f"{key}:{fields[key]}" for key in sorted(fields)) + "}"


def quoted(text: str) -> str:
    """Return a string in the model's notation."""
    return QUOTE + text + QUOTE


INTENTS: dict[str, Intent] = {
    "time": Intent(
        call("get_time"),
        do=(
            "tell me the time",
            "give me the time",
            "say the time",
            "check the time",
            "tell me what time it is",
            "tell me the current time",
        ),
        say=(
            "what time is it",
            "what's the time",
            "what is the time",
            "what time is it now",
            "do you know what time it is",
            "got the time",
            "have you got the time",
            "do you have the time",
            "what time is it right now",
            "the time please",
            "what's the time now",
            "what's the current time",
            "how late is it",
            "do you know the time",
        ),
        held=("what time do we have", "let me know what time it is"),
    ),
    "date": Intent(
        call("get_date"),
        do=(
            "tell me the date",
            "tell me today's date",
            "tell me what day it is",
            "say the date",
            "give me the date",
            "check the date",
        ),
        say=(
            "what's the date",
            "what's the date today",
            "what day is it today",
            "what is today's date",
            "which day is it",
            "what day is it",
            "what's today's date",
            "what is the date",
            "what date is it",
            "what date is it today",
            "what day of the week is it",
            "which day is it today",
            "what's today",
            "the date please",
        ),
        held=("what day do we have today", "do you know today's date"),
    ),
    "list_timers": Intent(
        call("list_timers"),
        do=(
            "list my timers",
            "list the timers",
            "check the timer",
            "check my timers",
            "show me the timers",
            "show my timers",
            "tell me how much time is left",
            "tell me how long is left on the timer",
            "check how much time is left",
        ),
        say=(
            "how much time is left",
            "how long is left on the timer",
            "what timers are running",
            "how much time is left on the timer",
            "how much longer",
            "how long is left",
            "how many minutes are left",
            "when does the timer end",
            "when will the timer go off",
            "are there any timers",
            "is a timer running",
            "do I have any timers",
            "what's left on the timer",
            "how is the timer doing",
            "timer status",
            "how much time do I have left",
        ),
        held=("how long until the timer ends", "is there a timer running"),
    ),
    "cancel_timer": Intent(
        call("cancel_timer"),
        do=(
            "cancel the timer",
            "stop the timer",
            "cancel my timer",
            "delete the timer",
            "turn off the timer",
            "clear the timer",
            "end the timer",
            "remove the timer",
            "cancel all timers",
            "cancel the timers",
            "stop my timer",
            "kill the timer",
            "delete my timer",
            "switch off the timer",
            "turn the timer off",
            "stop all timers",
            "forget the timer",
        ),
        say=("no more timer", "timer off", "I don't need the timer anymore", "never mind the timer"),
        held=("get rid of the timer", "clear my timers"),
    ),
    "light_on": Intent(
        call("set_light", on="true"),
        do=(
            "turn on the light",
            "turn the light on",
            "switch on the light",
            "switch the lights on",
            "turn the lights on",
            "turn on the lights",
            "switch on the lights",
            "switch the light on",
            "put the light on",
            "put on the light",
            "put the lights on",
            "make it bright in here",
            "make some light",
            "give me some light",
            "light up the room",
            "turn on the lamp",
            "turn the lamp on",
            "switch on the lamp",
        ),
        say=("light on", "lights on", "I need some light", "it's too dark in here", "it's dark in here", "lamp on"),
        held=("switch the lamp on", "it is too dark"),
    ),
    "light_off": Intent(
        call("set_light", on="false"),
        do=(
            "turn off the light",
            "turn the light off",
            "switch off the light",
            "switch the lights off",
            "turn the lights off",
            "turn off the lights",
            "switch off the lights",
            "switch the light off",
            "put the light out",
            "put out the light",
            "put the lights out",
            "make it dark",
            "kill the lights",
            "turn out the light",
            "turn off the lamp",
            "turn the lamp off",
            "switch off the lamp",
        ),
        say=("light off", "lights off", "lights out", "no more light", "I don't need the light", "lamp off"),
        held=("switch the lamp off", "shut off the light"),
    ),
    "volume_up": Intent(
        call("set_volume", change=quoted("up")),
        do=(
            "turn the volume up",
            "turn up the volume",
            "turn it up",
            "make it louder",
            "speak up",
            "speak louder",
            "raise the volume",
            "increase the volume",
            "turn the sound up",
            "talk louder",
            "turn yourself up",
            "turn it up a bit",
            "be louder",
            "speak a bit louder",
        ),
        say=(
            "volume up",
            "louder",
            "a bit louder",
            "I can't hear you",
            "more volume",
            "you are too quiet",
            "it's too quiet",
            "you're too quiet",
        ),
        held=("put the volume up", "a little louder"),
    ),
    "volume_down": Intent(
        call("set_volume", change=quoted("down")),
        do=(
            "turn the volume down",
            "turn down the volume",
            "turn it down",
            "make it quieter",
            "lower the volume",
            "lower your voice",
            "decrease the volume",
            "turn the sound down",
            "speak quieter",
            "speak more quietly",
            "turn yourself down",
            "turn it down a bit",
            "be quieter",
            "reduce the volume",
        ),
        say=(
            "volume down",
            "quieter",
            "a bit quieter",
            "you are too loud",
            "you're too loud",
            "less volume",
            "it's too loud",
            "that's too loud",
            "not so loud",
        ),
        held=("put the volume down", "a little quieter"),
    ),
    "temperature": Intent(
        call("get_status", what=quoted("temperature")),
        do=(
            "tell me the temperature",
            "check the temperature",
            "tell me your temperature",
            "tell me how warm you are",
            "give me the temperature",
            "read the temperature",
            "check your temperature",
        ),
        say=(
            "what's the temperature",
            "what is the temperature",
            "how warm is it",
            "how hot is it",
            "how hot are you",
            "how warm are you",
            "what's your temperature",
            "what is your temperature",
            "what temperature is it",
            "are you hot",
            "are you too hot",
            "are you warm",
            "how hot is the processor",
            "temperature please",
        ),
        held=("how high is the temperature", "what temperature do you have"),
    ),
    "battery": Intent(
        call("get_status", what=quoted("battery")),
        do=(
            "check the battery",
            "tell me the battery level",
            "check your battery",
            "tell me how much battery is left",
            "check the battery level",
            "tell me the battery status",
        ),
        say=(
            "how much battery is left",
            "what's the battery level",
            "how full is the battery",
            "battery status",
            "battery level",
            "is the battery charged",
            "how's the battery",
            "how is the battery",
            "how much battery do you have",
            "how much charge is left",
            "is the battery full",
            "is the battery low",
            "what's the battery at",
            "how much power is left",
            "do you need charging",
        ),
        held=("how much battery do you have left", "what is the state of the battery"),
    ),
    "status": Intent(
        call("get_status", what=quoted("all")),
        do=("tell me how you are", "give me a status report", "tell me your status", "check your status"),
        say=(
            "how are you",
            "how are you doing",
            "are you okay",
            "are you all right",
            "how do you feel",
            "how are you today",
            "are you well",
            "how are things",
            "how is it going",
            "how's it going",
            "are you fine",
            "is everything all right",
            "is everything okay",
            "hello how are you",
            "status report",
        ),
        held=("how are you feeling", "how have you been"),
    ),
    REPEAT: Intent(
        REPEAT,
        do=(
            "say that again",
            "repeat that",
            "repeat it",
            "say it again",
            "repeat what you said",
            "say that once more",
            "tell me again",
            "repeat the last sentence",
            "say that one more time",
            "repeat your answer",
        ),
        say=(
            "what did you say",
            "pardon",
            "pardon me",
            "I beg your pardon",
            "sorry what did you say",
            "I didn't hear you",
            "once more please",
            "come again",
            "what was that",
            "I didn't catch that",
            "again please",
            "excuse me what did you say",
        ),
        held=("what was it you said", "repeat that once more"),
    ),
    "slower": Intent(
        call("set_pace", change=quoted("slower")),
        do=(
            "speak slower",
            "speak more slowly",
            "slow down",
            "talk slower",
            "talk more slowly",
            "speak a bit slower",
            "slow down a bit",
            "be slower",
        ),
        say=("slower", "a bit slower", "not so fast", "you are too fast", "you speak too fast", "you're talking too fast"),
        held=("a little slower", "you are speaking too fast"),
    ),
    "faster": Intent(
        call("set_pace", change=quoted("faster")),
        do=(
            "speak faster",
            "talk faster",
            "speak more quickly",
            "speed up",
            "speak a bit faster",
            "talk more quickly",
            "be faster",
            "hurry up",
        ),
        say=("faster", "a bit faster", "not so slow", "you are too slow", "you speak too slowly", "you're talking too slowly"),
        held=("a little faster", "you are speaking too slowly"),
    ),
    "usual_pace": Intent(
        call("set_pace", change=quoted("usual")),
        do=(
            "speak normally",
            "speak at your usual pace",
            "talk normally",
            "speak at your normal speed",
            "go back to your usual pace",
            "speak at normal speed",
        ),
        say=("normal speed", "usual pace", "back to normal speed", "your usual pace please"),
        held=("talk at your usual speed", "back to your usual pace"),
    ),
    "microphone_off": Intent(
        call("mute_microphone"),
        do=(
            "turn off your microphone",
            "turn your microphone off",
            "turn the microphone off",
            "switch off the microphone",
            "switch your microphone off",
            "mute the microphone",
            "mute your microphone",
            "stop listening",
            "mute yourself",
        ),
        say=("microphone off", "don't listen", "no more listening"),
        held=("switch the microphone off", "do not listen"),
    ),
    "shut_down": Intent(
        call("shut_down"),
        do=(
            "shut down",
            "shut yourself down",
            "shut down the computer",
            "shut the system down",
            "power off",
            "power down",
            "turn yourself off",
            "switch yourself off",
            "shut down the system",
            "shut down the machine",
        ),
        say=("system shutdown", "power off the machine"),
        held=("shut the computer down", "power yourself off"),
    ),
    "restart": Intent(
        call("restart"),
        do=(
            "restart",
            "restart yourself",
            "reboot",
            "restart the computer",
            "reboot the system",
            "reboot yourself",
            "restart the system",
            "reboot the computer",
            "restart the machine",
        ),
        say=("system restart", "do a restart"),
        held=("reboot the machine", "start yourself again"),
    ),
    "yes": Intent(
        YES,
        say=(
            "yes",
            "yes please",
            "yeah",
            "sure",
            "yes do it",
            "yes do that",
            "go ahead",
            "please do",
            "okay do it",
            "do it",
            "of course",
            "certainly",
            "yes go ahead",
            "yep",
            "yes yes",
        ),
        held=("yes of course", "yeah go ahead"),
    ),
    "no": Intent(
        NO,
        say=(
            "no",
            "no thanks",
            "no thank you",
            "nope",
            "don't",
            "no don't",
            "don't do it",
            "not now",
            "no not now",
            "wait",
            "no wait",
            "better not",
            "please don't",
            "yes but not now",
            "yes but wait",
            "yes but later",
            "no way",
            "not yet",
            "later",
            "not today",
        ),
        held=("no better not", "please don't do it"),
    ),
    "stop": Intent(
        "Okay.",
        do=("stop", "stop talking", "be quiet", "stop it", "be silent", "shut up", "stop that", "stop speaking"),
        say=(
            "that's enough",
            "enough",
            "quiet",
            "silence",
            "that will do",
            "never mind",
            "forget it",
            "that's all",
            "stop stop",
            "okay stop",
            "cancel",
            "hush",
            "no stop",
        ),
        held=("stop now please", "okay that's enough"),
    ),
    "hello": Intent(
        "Hello! How can I help?",
        say=(
            "hello",
            "hi",
            "hi there",
            "hello there",
            "good morning",
            "good evening",
            "good afternoon",
            "hey",
            "hey there",
            "hello assistant",
            "hi assistant",
            "good day",
            "hello hello",
            "hello computer",
            "greetings",
            "morning",
        ),
        held=("good morning assistant", "well hello"),
    ),
    "thanks": Intent(
        "You are welcome.",
        say=(
            "thank you",
            "thanks",
            "thank you very much",
            "thanks a lot",
            "many thanks",
            "thank you so much",
            "thanks very much",
            "cheers",
            "thanks for your help",
            "thank you for your help",
            "that's very kind",
            "okay thank you",
            "great thanks",
            "okay thanks",
            "perfect thank you",
        ),
        held=("thank you that's great", "lovely thank you"),
    ),
    "night": Intent(
        "Good night. Sleep well.",
        say=(
            "good night",
            "sleep well",
            "I'm going to bed",
            "good night assistant",
            "I'm going to sleep",
            "sleep tight",
            "night night",
            "good night and sleep well",
            "I am going to bed now",
            "time for bed",
            "sweet dreams",
            "have a good night",
        ),
        held=("I'm off to bed", "good night then"),
    ),
    "who": Intent(
        "I am your offline voice assistant.",
        do=(
            "tell me who you are",
            "tell me about yourself",
            "tell me your name",
            "introduce yourself",
            "say who you are",
        ),
        say=(
            "who are you",
            "what's your name",
            "what are you",
            "what is your name",
            "who am I talking to",
            "do you have a name",
            "what are you called",
            "who is there",
            "who is this",
            "are you a computer",
            "are you a robot",
        ),
        held=("what do I call you", "who am I speaking to"),
    ),
    "help": Intent(
        "I can set timers, control the light and the volume, and tell you the time, the date, the temperature and the battery.",
        do=(
            "help me",
            "tell me what you can do",
            "help",
            "list your commands",
            "tell me what I can say",
            "give me some help",
        ),
        say=(
            "what can you do",
            "what can I ask you",
            "what can I say",
            "what do you do",
            "how can you help me",
            "what do you know",
            "what are your commands",
            "how do I use you",
            "what can you do for me",
            "what else can you do",
            "I need help",
        ),
        held=("what are you able to do", "what can I ask for"),
    ),
}

TIMER_DO = (
    "set a timer for {d}",
    "set timer for {d}",
    "start a {s} timer",
    "set a {s} timer",
    "wake me in {d}",
    "remind me in {d}",
    "start a timer for {d}",
    "set the timer for {d}",
    "set the timer to {d}",
    "wake me up in {d}",
    "make a timer for {d}",
    "give me {d}",
    "count down {d}",
    "start a countdown of {d}",
    "put {d} on the timer",
    "give me a {s} timer",
    "set a countdown for {d}",
    "call me in {d}",
    "create a {s} timer",
    "set up a timer for {d}",
    "time {d}",
    "alert me in {d}",
)
TIMER_SAY = (
    "timer for {d}",
    "{s} timer",
    "timer {d}",
    "a timer for {d}",
    "I need a timer for {d}",
    "a {s} timer please",
    "I need a {s} timer",
    "new timer {d}",
    "{d} timer please",
)
TIMER_HELD = ("start the timer with {d}", "let me know in {d}")
LIGHT_DO = (
    "set the light to {p} percent",
    "set the brightness to {p} percent",
    "dim the light to {p} percent",
    "turn the light to {p} percent",
    "make the light {p} percent",
    "dim the lights to {p} percent",
    "set the lights to {p} percent",
    "put the light to {p} percent",
    "change the brightness to {p} percent",
    "turn the brightness to {p} percent",
    "set the lamp to {p} percent",
    "change the light to {p} percent",
    "bring the light to {p} percent",
    "put the lights at {p} percent",
    "set the light at {p} percent",
)
LIGHT_SAY = (
    "brightness {p} percent",
    "light {p} percent",
    "light at {p} percent",
    "lights to {p} percent",
    "brightness to {p} percent",
    "light to {p} percent",
    "brightness at {p} percent",
)
LIGHT_HELD = ("turn the lights to {p} percent", "put the brightness at {p} percent")
LIGHT_WORDS = {
    "set the light to half": 50,
    "set the light to full brightness": 100,
    "set the light to maximum": 100,
    "full brightness": 100,
    "half brightness": 50,
    "light at half": 50,
    "dim the light to half": 50,
    "maximum brightness": 100,
}
VOLUME_DO = (
    "set the volume to {p} percent",
    "turn the volume to {p} percent",
    "change the volume to {p} percent",
    "put the volume to {p} percent",
    "put the volume at {p} percent",
    "make the volume {p} percent",
    "set the sound to {p} percent",
    "turn the sound to {p} percent",
    "set your volume to {p} percent",
    "turn the volume up to {p} percent",
    "turn the volume down to {p} percent",
    "lower the volume to {p} percent",
    "raise the volume to {p} percent",
    "set volume to {p} percent",
)
VOLUME_SAY = ("volume {p} percent", "volume to {p} percent", "volume at {p} percent", "sound at {p} percent")
VOLUME_HELD = ("bring the volume to {p} percent", "turn volume to {p} percent")
VOLUME_WORDS = {
    "full volume": 100,
    "set the volume to maximum": 100,
    "half volume": 50,
    "set the volume to half": 50,
    "maximum volume": 100,
    "mute": 0,
    "mute the sound": 0,
    "turn the volume to maximum": 100,
}

MORE_DO = (
    "add {d}",
    "add {d} to the timer",
    "add {d} to my timer",
    "give the timer {d} more",
    "give the timer another {d}",
    "give me {d} more",
    "give me another {d}",
    "put another {d} on the timer",
    "add another {d}",
    "make the timer {d} longer",
    "extend the timer by {d}",
)
MORE_SAY = ("{d} more", "another {d}", "{d} longer", "I need {d} more", "I need another {d}", "{d} more please")
MORE_HELD = ("extend my timer by {d}", "make it {d} longer")
ALARM_DO = (
    "set an alarm for {t}",
    "set the alarm for {t}",
    "wake me at {t}",
    "wake me up at {t}",
    "set an alarm at {t}",
    "set my alarm for {t}",
    "set the alarm to {t}",
    "call me at {t}",
    "remind me at {t}",
    "make an alarm for {t}",
)
ALARM_SAY = ("alarm at {t}", "alarm for {t}", "an alarm for {t}", "I need an alarm at {t}", "an alarm for {t} please")
ALARM_HELD = ("ring at {t}", "alert me at {t}")

LATER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "time": (
        (
            "tell me how late it is",
            "say what time it is",
            "read me the time",
            "look at the clock",
            "give me the exact time",
            "give me the current time",
            "say the current time",
            "tell me the hour",
            "let me know the time",
            "read the clock to me",
            "check the clock",
        ),
        (
            "what does the clock say",
            "what time might it be",
            "what hour is it",
            "time please",
            "can I have the time",
            "time check",
            "what time is it please",
            "what's the exact time",
            "what time do you have",
            "what time have you got",
            "can you tell the time",
            "the current time please",
            "what's the hour",
            "what time is it at the moment",
        ),
    ),
    "date": (
        (
            "say what day it is",
            "tell me which day it is",
            "read me the date",
            "tell me what date it is",
            "give me today's date",
            "say today's date",
            "let me know the date",
            "check what day it is",
            "tell me the day of the week",
            "tell me the current date",
            "give me the day",
        ),
        (
            "what's the day today",
            "date please",
            "today's date please",
            "what weekday is it",
            "which date is it",
            "what is today",
            "what date do we have",
            "what's the current date",
            "what's the day",
            "what weekday is it today",
            "which weekday is it",
            "what day of the month is it",
            "the day please",
            "what month is it",
        ),
    ),
    "list_timers": (
        (
            "say how much time is left",
            "tell me what timers are running",
            "tell me the remaining time",
            "read me the timers",
            "show the remaining time",
            "check the remaining time",
            "tell me when the timer ends",
            "give me the remaining time",
            "list all timers",
            "show all timers",
            "tell me how many minutes are left",
            "check on the timer",
        ),
        (
            "how much is left on the timer",
            "time left",
            "what's the remaining time",
            "how long do I still have",
            "how many timers are there",
            "what is left on the timer",
            "how many seconds are left",
            "how much longer is the timer",
            "how long until the timer rings",
            "how long until it rings",
            "when is the timer done",
            "when is my timer over",
            "how much time is there left",
            "how far is the timer",
            "are any timers running",
            "do I have a timer running",
            "what timers do I have",
            "timers please",
        ),
    ),
    "cancel_timer": (
        (
            "abort the timer",
            "drop the timer",
            "stop the countdown",
            "cancel the countdown",
            "turn my timer off",
            "delete all timers",
            "cancel every timer",
            "cancel this timer",
            "cancel that timer",
            "stop that timer",
            "stop this timer",
            "end my timer",
            "clear my timer",
            "clear all timers",
            "remove my timer",
            "remove all timers",
            "switch my timer off",
            "switch the timer off",
            "scrap the timer",
            "discard the timer",
            "call off the timer",
        ),
        (
            "no timer please",
            "I don't want the timer any more",
            "forget about the timer",
            "no timers any more",
            "I want to cancel the timer",
            "I want to stop the timer",
            "cancel timer",
            "stop timer",
            "delete timer",
            "no timer any more",
            "I don't need a timer any more",
            "the timer is not needed any more",
        ),
    ),
    "light_on": (
        (
            "bring the light on",
            "turn my lights on",
            "switch on my lamp",
            "turn on all the lights",
            "switch on all lights",
            "turn a light on",
            "turn on my lamp",
            "get the light on",
            "get the lights on",
            "bring on the light",
            "turn on the room light",
            "turn the room light on",
            "make the room bright",
            "give us some light",
            "light the room",
            "make light",
            "turn on the lighting",
            "activate the light",
            "enable the light",
            "start the light",
        ),
        (
            "light please",
            "lights please",
            "I want light",
            "I can't see anything",
            "let there be light",
            "we need light in here",
            "I need light",
            "I need the light on",
            "I want the light on",
            "the light on please",
            "please the light",
            "some light please",
            "it is dark in here",
            "I can't see a thing",
            "we need the light on",
            "could we have some light",
        ),
    ),
    "light_off": (
        (
            "turn my lights off",
            "turn off all the lights",
            "switch off all lights",
            "take the light off",
            "cut the lights",
            "turn off my lamp",
            "turn off the lighting",
            "get the lights off",
            "turn off the room light",
            "turn the room light off",
            "make the room dark",
            "deactivate the light",
            "disable the light",
            "shut the light off",
            "shut off the lights",
            "take the lights off",
        ),
        (
            "no light please",
            "dark please",
            "I don't need the lights any more",
            "I want it dark",
            "light out",
            "I want the light off",
            "the light off please",
            "we don't need the light",
            "no lights",
            "no more lights",
            "the lights can go off",
            "lamp off please",
            "it's too bright in here",
        ),
    ),
    "volume_up": (
        (
            "raise your voice",
            "turn up the sound",
            "put the sound up",
            "make yourself louder",
            "increase the sound",
            "go louder",
            "speak a little louder",
            "talk a bit louder",
            "talk a little louder",
            "turn your voice up",
            "turn up your voice",
            "turn yourself up a bit",
            "push the volume up",
            "bring the volume up",
            "crank up the volume",
            "raise the sound",
            "speak up a bit",
            "speak up please",
            "make the sound louder",
            "make it a bit louder",
            "make the volume higher",
            "increase your volume",
        ),
        (
            "louder please",
            "sound up",
            "you are hard to hear",
            "I can hardly hear you",
            "I can barely hear you",
            "much louder",
            "volume higher",
            "higher volume",
            "higher volume please",
            "you are not loud enough",
            "that's not loud enough",
            "it's not loud enough",
            "that's too quiet",
            "that was too quiet",
            "too quiet",
            "more sound",
            "volume up please",
            "I need more volume",
        ),
    ),
    "volume_down": (
        (
            "turn down the sound",
            "put the sound down",
            "make yourself quieter",
            "keep your voice down",
            "soften your voice",
            "go quieter",
            "speak a little quieter",
            "speak a bit quieter",
            "talk quieter",
            "talk more quietly",
            "talk a bit quieter",
            "turn your voice down",
            "turn down your voice",
            "bring the volume down",
            "push the volume down",
            "drop the volume",
            "reduce the sound",
            "lower the sound",
            "make the sound quieter",
            "make it a bit quieter",
            "make it a little quieter",
            "make the volume lower",
            "decrease your volume",
            "speak softly",
            "speak more softly",
        ),
        (
            "quieter please",
            "sound down",
            "much quieter",
            "too loud",
            "you're hurting my ears",
            "not that loud",
            "volume lower",
            "lower volume",
            "lower volume please",
            "that was too loud",
            "you are very loud",
            "less sound",
            "less loud",
            "less loud please",
            "volume down please",
            "I need less volume",
            "softer please",
        ),
    ),
    "temperature": (
        (
            "say the temperature",
            "say how warm it is",
            "tell me how hot it is",
            "measure the temperature",
            "read me the temperature",
            "check how warm it is",
            "check how hot it is",
            "look at the thermometer",
            "tell me the current temperature",
            "tell me how cold it is",
        ),
        (
            "what temperature is it now",
            "how warm is it now",
            "how warm is it in here",
            "how hot is it in here",
            "what's the temperature now",
            "what's the current temperature",
            "what is the temperature now",
            "how cold is it",
            "how cold is it in here",
            "what does the thermometer say",
            "the temperature please",
            "is it warm in here",
            "is it cold in here",
            "is it hot in here",
            "what temperature do we have",
        ),
    ),
    "battery": (
        (
            "say how full the battery is",
            "read the battery level",
            "tell me how full the battery is",
            "check how much power is left",
            "give me the battery level",
            "read me the battery level",
            "look at the battery",
            "tell me about the battery",
            "say the battery level",
            "check the charge",
        ),
        (
            "what is the battery level",
            "is there battery left",
            "how much charge do you have",
            "how's your battery",
            "how is your battery",
            "how much battery is there",
            "what's the charge",
            "what is the charge",
            "battery please",
            "is the battery empty",
            "how's the battery doing",
            "how much power do you have",
            "how long will the battery last",
        ),
    ),
    "status": (
        (
            "tell me how you feel",
            "report your status",
            "say how you are",
            "give me your status",
            "tell me how you are doing",
            "check yourself",
            "report how you are",
            "give me a report",
            "check the system",
            "run a check",
        ),
        (
            "what's your status",
            "how do you do",
            "are you feeling well",
            "is all well",
            "are you doing fine",
            "how is everything",
            "how are you doing today",
            "how is everything going",
            "is everything fine",
            "what is your status",
            "status please",
            "system status please",
            "status report please",
            "everything okay",
        ),
    ),
    REPEAT: (
        ("repeat yourself", "repeat the answer", "say your answer again", "say that sentence again", "give me that again"),
        ("what was your answer", "I missed that", "I did not hear that", "one more time", "sorry once more", "say again"),
    ),
    "slower": (
        (
            "talk a bit slower",
            "speak a little more slowly",
            "take your time",
            "talk slowly",
            "speak slowly",
            "speak much slower",
            "talk much slower",
            "say it slower",
            "say that slower",
            "slow your speech down",
            "reduce your speed",
        ),
        (
            "much slower",
            "slower please",
            "that was too fast",
            "too fast",
            "that's too fast for me",
            "you talk too fast",
            "you are too quick",
            "not that fast",
            "less speed",
        ),
    ),
    "faster": (
        (
            "talk a bit faster",
            "speak a little more quickly",
            "talk quicker",
            "speak quickly",
            "go faster",
            "speak much faster",
            "talk much faster",
            "say it faster",
            "say that faster",
            "speed up your speech",
            "increase your speed",
        ),
        (
            "much faster",
            "faster please",
            "that was too slow",
            "too slow",
            "that's too slow for me",
            "you talk too slowly",
            "not that slow",
            "more speed",
        ),
    ),
    "usual_pace": (
        ("speak at a normal pace", "talk at normal speed", "return to normal speed", "speak as usual", "talk as usual"),
        ("normal pace", "normal pace please", "usual speed", "usual speed please", "as fast as usual"),
    ),
    "microphone_off": (
        (
            "switch off your microphone",
            "turn off the mic",
            "mute the mic",
            "stop listening to me",
            "stop hearing me",
            "turn the mic off",
            "switch the mic off",
            "switch off the mic",
            "close the microphone",
            "close your ears",
            "turn off your ears",
            "disable the microphone",
            "deactivate the microphone",
        ),
        (
            "mic off",
            "microphone off please",
            "don't listen to me",
            "no listening now",
            "mic off please",
            "stop the listening",
            "microphone down",
        ),
    ),
    "shut_down": (
        (
            "shut the machine down",
            "power down the system",
            "turn the computer off",
            "turn off the computer",
            "switch the computer off",
            "shut yourself off",
            "power off the system",
            "power off the computer",
            "shut the device down",
            "shut down the device",
        ),
        (
            "shutdown",
            "shutdown please",
            "computer off",
            "power off now",
            "system off",
            "machine off",
            "shut down please",
            "power down please",
        ),
    ),
    "restart": (
        (
            "do a reboot",
            "start again from scratch",
            "reboot now",
            "restart now",
            "restart your system",
            "restart yourself now",
            "reboot yourself now",
            "reboot the whole system",
            "restart the whole system",
            "start the system again",
            "restart the device",
            "reboot the device",
        ),
        (
            "reboot please",
            "restart please",
            "system reboot",
            "a restart please",
            "new start please",
            "reboot again",
            "a reboot please",
            "system restart please",
        ),
    ),
    "yes": (
        (),
        (
            "yes yes do it",
            "yes I do",
            "yes that's right",
            "that's right",
            "right",
            "okay yes",
            "yes absolutely",
            "absolutely",
            "yes sir",
            "sure do it",
            "yes go on",
            "yes certainly",
            "yes definitely",
            "definitely",
            "yes okay",
            "yep do it",
            "yes I want that",
            "that is right",
            "indeed yes",
        ),
    ),
    "no": (
        (),
        (
            "no no",
            "no please don't",
            "no I don't",
            "absolutely not",
            "certainly not",
            "of course not",
            "no never",
            "never",
            "I don't want that",
            "no no no",
            "no leave it",
            "no I don't want that",
            "rather not",
            "by no means",
            "please no",
            "no forget it",
        ),
    ),
    "stop": (
        ("stop right there", "keep quiet", "stop talking now", "hold your tongue"),
        ("okay enough", "enough now", "no more", "that is enough", "silence please", "quiet please"),
    ),
    "hello": (
        (),
        (
            "hello my friend",
            "hi my friend",
            "good morning to you",
            "good evening to you",
            "hey computer",
            "hi computer",
            "howdy",
            "hiya",
        ),
    ),
    "thanks": (
        (),
        (
            "thank you kindly",
            "thanks so much",
            "I thank you",
            "thank you computer",
            "very good thank you",
            "good thanks",
            "that helps thank you",
            "thanks again",
        ),
    ),
    "night": (
        (),
        (
            "good night computer",
            "have a nice night",
            "I go to bed now",
            "sleep well my friend",
            "I will go to sleep now",
            "good night to you",
        ),
    ),
    "who": (
        ("say your name", "explain who you are", "tell me what you are"),
        (
            "who are you actually",
            "what kind of thing are you",
            "are you a machine",
            "your name please",
        ),
    ),
    "help": (
        (
            "explain what you can do",
            "explain yourself",
            "say what you can do",
            "tell me your commands",
            "show me what you can do",
        ),
        (
            "help please",
            "what are you good for",
            "which commands do you know",
            "what do you understand",
            "what can you help me with",
        ),
    ),
    "timer": (
        (
            "set me a timer for {d}",
            "set another timer for {d}",
            "set a new timer for {d}",
            "run a timer for {d}",
            "start a new timer for {d}",
            "begin a {s} timer",
            "run a {s} timer",
            "put a timer on for {d}",
            "put on a {s} timer",
            "tell me when {d} are over",
            "ring in {d}",
            "start {d} on the timer",
            "have a timer run for {d}",
            "count {d}",
            "beep in {d}",
            "set my timer for {d}",
            "set my timer to {d}",
            "set the timer at {d}",
            "make a {s} timer",
            "give me a timer for {d}",
            "add a timer for {d}",
            "add a {s} timer",
            "begin a timer for {d}",
            "count down from {d}",
            "wait {d} and ring",
            "alert me after {d}",
            "ring after {d}",
            "remind me after {d}",
            "tell me after {d}",
            "please time {d}",
            "set up a {s} timer",
        ),
        (
            "timer of {d}",
            "a timer of {d} please",
            "I want a timer for {d}",
            "I'd like a {s} timer",
            "I want a {s} timer",
            "countdown {d}",
            "timer please {d}",
            "one timer for {d}",
            "another timer for {d}",
            "the timer for {d} please",
            "new timer for {d}",
            "a new timer for {d}",
            "a new {s} timer",
            "{d} timer",
            "{d} on the timer",
            "a countdown of {d}",
            "timer on {d}",
            "I need a countdown of {d}",
            "a {s} timer would be nice",
            "my timer for {d}",
            "next timer {d}",
        ),
    ),
    "brightness": (
        (
            "set my light to {p} percent",
            "adjust the light to {p} percent",
            "adjust the brightness to {p} percent",
            "dim to {p} percent",
            "turn the lamp to {p} percent",
            "put the lamp at {p} percent",
            "bring the lights to {p} percent",
            "bring the brightness to {p} percent",
            "dim the lamp to {p} percent",
            "make the brightness {p} percent",
            "lower the light to {p} percent",
            "raise the light to {p} percent",
            "set the lights at {p} percent",
            "set the light level to {p} percent",
            "bring the lamp to {p} percent",
            "take the light to {p} percent",
            "light the room at {p} percent",
            "reduce the brightness to {p} percent",
            "increase the brightness to {p} percent",
            "lower the brightness to {p} percent",
            "raise the brightness to {p} percent",
        ),
        (
            "lamp at {p} percent",
            "lamp to {p} percent",
            "{p} percent brightness",
            "{p} percent light",
            "the light at {p} percent please",
            "I want the light at {p} percent",
            "brightness of {p} percent",
            "{p} percent bright",
            "light level {p} percent",
            "lights at {p} percent please",
            "the lamp at {p} percent please",
            "the brightness at {p} percent please",
            "light {p} percent please",
        ),
    ),
    "volume": (
        (
            "adjust the volume to {p} percent",
            "set your voice to {p} percent",
            "make the sound {p} percent",
            "put the sound at {p} percent",
            "bring the sound to {p} percent",
            "change your volume to {p} percent",
            "turn your volume to {p} percent",
            "set my volume to {p} percent",
            "increase the volume to {p} percent",
            "reduce the volume to {p} percent",
            "decrease the volume to {p} percent",
            "change the sound to {p} percent",
            "set the loudness to {p} percent",
            "make your voice {p} percent",
            "put your voice at {p} percent",
            "speak at {p} percent",
            "speak at {p} percent volume",
            "take the volume to {p} percent",
            "turn it to {p} percent volume",
            "set the speaker to {p} percent",
        ),
        (
            "sound {p} percent",
            "sound to {p} percent",
            "{p} percent volume",
            "the volume at {p} percent please",
            "I want the volume at {p} percent",
            "volume of {p} percent",
            "{p} percent sound",
            "the sound at {p} percent please",
            "volume {p} percent please",
            "loudness {p} percent",
            "speaker at {p} percent",
            "your voice at {p} percent",
        ),
    ),
    "add_time": (
        (
            "add {d} more",
            "add another {d} to the timer",
            "put {d} more on the timer",
            "extend it by {d}",
            "make my timer {d} longer",
            "lengthen the timer by {d}",
            "give it {d} more",
            "give it another {d}",
            "let the timer run {d} longer",
            "prolong the timer by {d}",
            "add {d} to it",
            "add {d} please",
            "put {d} on top",
            "put another {d} on",
            "extend the time by {d}",
            "extend the timer another {d}",
            "make the timer run {d} more",
            "let it run {d} longer",
            "let it run {d} more",
            "increase the timer by {d}",
        ),
        (
            "plus {d}",
            "{d} extra",
            "I want {d} more",
            "the timer needs {d} more",
            "another {d} please",
            "and another {d}",
            "{d} extra please",
            "plus {d} please",
            "{d} more on the timer",
            "{d} more for the timer",
            "the timer {d} longer",
            "and {d} more",
            "I would like {d} more",
            "we need {d} more",
            "we need another {d}",
            "I need {d} longer",
        ),
    ),
    "alarm": (
        (
            "set me an alarm for {t}",
            "put an alarm at {t}",
            "get me up at {t}",
            "set an alarm clock for {t}",
            "create an alarm for {t}",
            "set a new alarm for {t}",
            "set up an alarm for {t}",
            "set the alarm clock to {t}",
            "beep at {t}",
            "wake me up for {t}",
            "set the alarm at {t}",
            "put the alarm at {t}",
            "put an alarm on for {t}",
            "set an alarm clock at {t}",
            "set my alarm to {t}",
            "schedule an alarm for {t}",
            "add an alarm for {t}",
            "start an alarm at {t}",
            "please wake me at {t}",
            "wake me at {t} tomorrow",
            "wake us at {t}",
            "ring the alarm at {t}",
            "have an alarm ring at {t}",
            "sound an alarm at {t}",
        ),
        (
            "new alarm {t}",
            "alarm {t}",
            "I want an alarm at {t}",
            "alarm clock at {t}",
            "I need to get up at {t}",
            "wake up call at {t}",
            "the alarm for {t}",
            "the alarm at {t} please",
            "alarm to {t}",
            "alarm clock for {t}",
            "an alarm clock for {t}",
            "I want an alarm for {t}",
            "I want to get up at {t}",
            "I have to get up at {t}",
            "I'd like an alarm at {t}",
            "my alarm at {t}",
            "one alarm for {t}",
            "alarm please {t}",
        ),
    ),
}
"""More wordings of each request, imperatives and others, that only the training draws: the test sets' stay what they were."""

SPECIAL_DURATIONS = (
    ("half an hour", {"minutes": 30}),
    ("an hour", {"hours": 1}),
    ("a minute", {"minutes": 1}),
    ("a quarter of an hour", {"minutes": 15}),
    ("an hour and a half", {"minutes": 90}),
    ("quarter of an hour", {"minutes": 15}),
    ("one and a half hours", {"minutes": 90}),
    ("three quarters of an hour", {"minutes": 45}),
    ("half a minute", {"seconds": 30}),
    ("ninety seconds", {"seconds": 90}),
    ("ninety minutes", {"minutes": 90}),
    ("a minute and a half", {"seconds": 90}),
    ("a couple of minutes", {"minutes": 2}),
    ("a second", {"seconds": 1}),
)
SPECIAL_NAMES = (
    ("half hour", {"minutes": 30}),
    ("quarter hour", {"minutes": 15}),
    ("ninety second", {"seconds": 90}),
    ("ninety minute", {"minutes": 90}),
)

POLITE = (
    "please {}",
    "{} please",
    "can you {}",
    "could you {}",
    "could you please {}",
    "can you please {}",
    "would you {}",
    "can you {} please",
    "could you {} please",
    "I want you to {}",
    "I'd like you to {}",
    "{} for me",
    "{} now",
    "would you please {}",
    "will you {}",
)
FILLERS = ("hey", "okay", "um", "uh", "so", "well", "now", "hey assistant", "oh", "and", "computer")


def dress(rng: random.Random, text: str, imperative: bool) -> str:
    """Put a wording into a polite frame and a hesitation, sometimes."""
    if imperative and rng.random() < 0.4:
        text = rng.choice(POLITE).format(text)
    elif not imperative and rng.random() < 0.08 and "please" not in text:
        text += " please"
    if rng.random() < 0.06:
        text = rng.choice(FILLERS) + " " + text
    return text


def duration(rng: random.Random) -> tuple[str, str, dict[str, int]]:
    """Return a duration as a noun ("five minutes"), as an adjective ("five minute") and as arguments."""
    unit = rng.choice(("second", "minute", "minute", "hour"))
    number = rng.randint(1, 60) if rng.random() < 0.75 else rng.choice((5, 10, 15, 20, 30, 40, 45, 50, 60))
    if unit == "hour" and rng.random() < 0.4:
        number = rng.randint(1, 12)
    name = spell(number) + " " + unit
    return name + ("s" if number > 1 else ""), name, {unit + "s": number}


def hour_of_day(rng: random.Random) -> tuple[str, dict[str, int]]:
    """Return an hour as it is said ("half past six", "six thirty a m", "eighteen thirty") and as arguments."""
    hour, minute = rng.randint(0, 23), rng.choice((0, 0, 15, 30, 30, 45, rng.randrange(5, 60, 5), rng.randint(1, 59)))
    arguments = {"hour": hour} | ({"minute": minute} if minute else {})
    if hour in (0, 12) and minute == 0:
        return ("midnight" if hour == 0 else "noon"), arguments
    if not 1 <= hour <= 12 and rng.random() < 0.3:  # as a clock of 24 hours shows it
        digits = f"oh {spell(minute)}" if 0 < minute < 10 else spell(minute)
        return f"{spell(hour)} {digits if minute else 'hours'}", arguments
    twelve = spell((hour - 1) % 12 + 1)
    half = "" if 1 <= hour <= 12 and rng.random() < 0.7 and hour != 12 else (" a m" if hour < 12 else " p m")
    if minute in (15, 30) and rng.random() < 0.5:
        return f"{'quarter' if minute == 15 else 'half'} past {twelve}{half}", arguments
    if minute == 45 and rng.random() < 0.5:
        following = (hour + 1) % 24
        half = half and (" a m" if following < 12 else " p m")
        return f"quarter to {spell((following - 1) % 12 + 1)}{half}", arguments
    if minute == 0:
        return (twelve + half) if half or rng.random() < 0.5 else f"{twelve} o'clock", arguments
    return f"{twelve} {f'oh {spell(minute)}' if minute < 10 else spell(minute)}{half}", arguments


def request(rng: random.Random, unseen: bool = False, intent: str | None = None, later: bool = False) -> Utterance:
    """Draw a request of the repertoire; numbers are drawn often, because they are what is hard to hear.

    `unseen` takes the wordings that are held out of training, `later` LATER's among the others.
    """
    kind = intent or rng.choice(
        [*INTENTS, REPEAT, *["timer"] * 10, *["brightness"] * 5, *["volume"] * 5, *["alarm"] * 5, *["add_time"] * 3]
    )

    def phrase(do: tuple[str, ...], say: tuple[str, ...], held: tuple[str, ...]) -> tuple[str, bool]:
        """Return a wording and whether it is an imperative."""
        if unseen:
            return rng.choice(held), False
        if later:
            do, say = do + LATER[kind][0], say + LATER[kind][1]
        text = rng.choice(do + say)
        return text, text in do

    if kind in INTENTS:
        known = INTENTS[kind]
        text, imperative = phrase(known.do, known.say, known.held)
        return Utterance(kind, text if unseen else dress(rng, text, imperative), known.answer, not unseen)
    if kind == "timer":
        text, imperative = phrase(TIMER_DO, TIMER_SAY, TIMER_HELD)
        noun, adjective, arguments = duration(rng)
        if rng.random() < 0.15:
            if "{d}" in text:
                noun, arguments = rng.choice(SPECIAL_DURATIONS)
            else:
                adjective, arguments = rng.choice(SPECIAL_NAMES)
        text = text.format(d=noun, s=adjective)
        return Utterance(kind, text if unseen else dress(rng, text, imperative), call("set_timer", **arguments), not unseen)
    if kind == "add_time":
        text, imperative = phrase(MORE_DO, MORE_SAY, MORE_HELD)
        noun, _, arguments = duration(rng)
        text = text.format(d=noun)
        return Utterance(kind, text if unseen else dress(rng, text, imperative), call("add_time", **arguments), not unseen)
    if kind == "alarm":
        text, imperative = phrase(ALARM_DO, ALARM_SAY, ALARM_HELD)
        said, arguments = hour_of_day(rng)
        text = text.format(t=said)
        return Utterance(kind, text if unseen else dress(rng, text, imperative), call("set_alarm", **arguments), not unseen)
    number = rng.choice((rng.randrange(0, 101, 5), rng.randrange(0, 101, 10), rng.randint(0, 100)))
    do, say, held, words, tool, key = (
        (LIGHT_DO, LIGHT_SAY, LIGHT_HELD, LIGHT_WORDS, "set_light", "brightness")
        if kind == "brightness"
        else (VOLUME_DO, VOLUME_SAY, VOLUME_HELD, VOLUME_WORDS, "set_volume", "percent")
    )
    text, imperative = phrase(do, say, held)
    if not unseen and rng.random() < 0.1:
        text, number = rng.choice(sorted(words.items()))
        imperative = text.startswith(("set", "turn", "dim", "mute"))
    text = text.format(p="a hundred" if number == 100 and rng.random() < 0.5 else spell(number))
    return Utterance(kind, text if unseen else dress(rng, text, imperative), call(tool, **{key: number}), not unseen)


# ---- what the host answers ----

MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ERRORS = (
    "no such timer",
    "device busy",
    "too many timers",
    "no light",
    "timeout",
    "not connected",
    "out of range",
    "no sensor",
    "write failed",
    "no clock",
    "permission denied",
    "unknown",
    "no answer",
    "bad value",
    "failed",
    "try later",
)
UNAVAILABLE = "not available here"


def count(number: int, unit: str) -> str:
    """Return "1 minute", "2 minutes"."""
    return f"{number} {unit}" + ("" if number == 1 else "s")


def remaining(seconds: int) -> str:
    """Return a time as the product says it: the two largest units that are not zero."""
    parts = [(seconds // 3600, "hour"), (seconds // 60 % 60, "minute"), (seconds % 60, "second")]
    return " and ".join([count(n, unit) for n, unit in parts if n][:2])


def some_time(rng: random.Random) -> str:
    """Draw what may be left on a timer."""
    return remaining(
        rng.choice(
            (
                rng.randint(1, 59),
                rng.randint(60, 3599),
                rng.randint(60, 3599),
                rng.randint(3600, 60 * 3600),
                60 * rng.randint(1, 59),
                3600 * rng.randint(1, 60),
            )
        )
    )


def respond(rng: random.Random, answer: str) -> tuple[str, str] | None:
    """Return a possible tool response and the sentence to speak after it, or None where the answer is no tool call."""
    match = re.fullmatch(r"<\|tool_call>call:(\w+)\{(.*)\}<tool_call\|>", answer)
    if not match:
        return None
    name = match[1]
    arguments: dict[str, object] = dict(pair.split(":") for pair in match[2].split(",") if pair)
    fields, sentence = arguments, ""
    if rng.random() < 0.12:
        error = UNAVAILABLE if rng.random() < 0.5 else rng.choice(ERRORS)
        fields = {"error": quoted(error)}
        sentence = "I can't do that here." if error == UNAVAILABLE else "Sorry, that did not work."
    elif name == "get_time":
        clock = f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}"
        fields, sentence = {"time": quoted(clock)}, f"It is {clock}."
    elif name == "get_date":
        day, date = rng.choice(DAYS), f"{rng.randint(1, 31)} {rng.choice(MONTHS)} {rng.randint(2024, 2040)}"
        fields, sentence = {"date": quoted(date), "weekday": quoted(day)}, f"Today is {day}, {date}."
    elif name == "set_timer":
        ((unit, number),) = arguments.items()
        sentence = f"Timer set for {count(int(str(number)), unit.removesuffix('s'))}."
    elif name == "list_timers":
        number = rng.choice((0, 1, 1, rng.randint(2, 9)))
        left = some_time(rng)
        fields = {"count": number} | ({"left": quoted(left)} if number else {})
        sentence = (
            "No timer is running."
            if not number
            else f"{left} left."
            if number == 1
            else f"{number} timers are running. The next has {left} left."
        )
    elif name == "cancel_timer":
        number = rng.choice((0, 1, rng.randint(2, 9)))
        fields = {"cancelled": number}
        sentence = ("No timer is running.", "Timer cancelled.", f"{number} timers cancelled.")[min(number, 2)]
    elif name == "add_time":
        left = some_time(rng)
        fields, sentence = {"left": quoted(left)}, f"{left} left now."
    elif name == "set_alarm":
        clock = f"{arguments['hour']}:{int(str(arguments.get('minute', 0))):02d}"
        day = rng.choice(("today", "tomorrow"))
        fields, sentence = {"day": quoted(day), "time": quoted(clock)}, f"Alarm set for {clock} {day}."
        if rng.random() < 0.3:
            fields |= {"clock": quoted("not sure")}
            sentence += " But I can't be sure what time it is."
    elif name == "set_pace":
        change = str(arguments["change"]).replace(QUOTE, "")
        fields = {"pace_percent": rng.randint(55, 160)}
        sentence = "I speak at my usual pace now." if change == "usual" else f"I speak {change} now."
    elif name == "mute_microphone":
        fields = {"microphone": quoted("off"), "on_again": quoted("by the button")}
        sentence = "The microphone is off. Its button turns it on again."
    elif name in ("shut_down", "restart"):
        words = name.replace("_", " ")
        fields, sentence = {"will": quoted(f"{words} after this sentence")}, f"I will {words} now."
    elif name == "set_light":
        sentence = (
            f"The light is at {arguments['brightness']} percent."
            if "brightness" in arguments
            else f"The light is {'on' if arguments['on'] == 'true' else 'off'}."
        )
    elif name == "set_volume":
        percent = arguments.get("percent", rng.choice((rng.randrange(0, 101, 10), rng.randint(0, 100))))
        fields, sentence = {"percent": percent}, f"The volume is at {percent} percent."
    else:
        battery, degrees = rng.randint(0, 100), rng.randint(-9, 99)
        what = str(arguments["what"]).replace(QUOTE, "")
        parts = {"battery_percent": battery, "temperature_celsius": degrees}
        said = {
            "battery_percent": f"he battery is at {battery} percent",
            "temperature_celsius": f"he temperature is {degrees} degrees",
        }
        keys = (
            ["battery_percent"]
            if what == "battery"
            else ["temperature_celsius"]
            if what == "temperature"
            else rng.choice((list(parts), list(parts), ["battery_percent"], ["temperature_celsius"]))
        )
        fields = {key: parts[key] for key in keys}
        sentence = "T" + " and t".join(said[key] for key in keys) + "."
        if what == "all":
            sentence = "I am fine. " + sentence
    return f"response:{name}{braces(fields)}<tool_response|>", sentence


# ---- speech outside the repertoire ----

NEAR = (
    "turn on the {n}",
    "turn off the {n}",
    "turn the {n} on",
    "turn the {n} off",
    "switch on the {n}",
    "switch off the {n}",
    "where is the {n}",
    "set the {n} for {num} people",
    "I bought {num} {n}s",
    "what is the capital of {c}",
    "how far is it to {c}",
    "who won the game in {c}",
    "play some music from {c}",
    "what's the weather in {c}",
    "call my {p}",
    "send a message to my {p}",
    "my {p} has {num} {n}s",
    "tell me about the {n}",
    "what do you think about {c}",
    "the {n} is on the {n2}",
    "can you open the {n}",
    "give me the {n} please",
    "my {p} lives in {c}",
    "tell me a joke about a {n}",
    "how do you cook a {n}",
    "what is {num} times {num2}",
    "it was {num} years ago",
    "the {n} costs {num} dollars",
    "add the {n} to my shopping list",
    "the time has come for the {n}",
    "the {n} was very loud",
    "are you going to {c} tonight",
    "please close the {n}",
    "this light {n} is broken",
    "no I said the {n}",
    "we had a good time in {c}",
    "thank my {p} for the {n}",
    "there is a {n} in the volume of {c}",
    "what's the weather",
    "how is the weather",
    "what's the weather like today",
    "will it rain tomorrow",
    "what is the weather in {c}",
    "play some music",
    "stop the {n}",
    "cancel the {n}",
    "cancel my {n}",
    "set the {n} to {num} percent",
    "set the {n} to {num}",
    "turn the {n} to {num} percent",
    "what time does the {n} open",
    "what time is it in {c}",
    "what's the time in {c}",
    "what is the temperature in {c}",
    "how hot is it in {c}",
    "what day is the {n}",
    "how much is the {n}",
    "how much does the {n} cost",
    "how long is the {n}",
    "how much time does the {n} take",
    "how many {n}s are there",
    "the battery of the {n} is empty",
    "put the {n} on the {n2}",
    "put the {n} out",
    "make the {n} louder",
    "make a {n}",
    "who is your {p}",
    "who is my {p}",
    "what is a {n}",
    "what is the {n}",
    "how old are you",
    "where are you",
    "where do you live",
    "do you like {n}s",
    "do you have a {n}",
    "what's your favourite {n}",
    "tell me a story",
    "tell me a joke",
    "sing a song",
    "repeat after me",
    "say {n}",
    "say hello to my {p}",
    "call {num} {num2}",
    "remind me to buy a {n}",
    "remind me about the {n}",
    "open the {n}",
    "close the {n}",
    "lock the {n}",
    "start the {n}",
    "start a {n}",
    "help my {p}",
    "I need a {n}",
    "I need {num} {n}s",
    "is the {n} on",
    "is the {n} full",
    "the {n} is off",
    "I am {num} years old",
    "the {p} is {num}",
    "good {n}",
    "hello {n}",
    "thanks {p}",
    "see you tomorrow",
    "goodbye",
    "see you later",
    "yes",
    "no",
    "maybe",
    "all right",
    "of course",
    "I don't know",
    "I see",
    "yes please",
    "no thank you",
    "really",
    "what",
    "why",
    "who",
    "where",
    "when",
    "how",
    "excuse me",
    "come here",
    "look at this",
    "what about the {n}",
    "I like the {n}",
    "I think the {p} is in {c}",
    "did you see the {n}",
    "have you seen my {n}",
    "we need more {n}s",
    "let's go to {c}",
    "the train to {c} leaves at {num}",
    "my {n} is broken",
    "the {p} said the {n} was {a}",
    "what a {a} {n}",
    "the {a} {n} and the {a2} {n2}",
    "this {n} is too {a}",
    "that {n} looks {a}",
    "why is the {n} so {a}",
    "is it {a} today",
    "it's too {a} in {c}",
    "a {a} day",
    "{v} the {n}",
    "{v} my {n}",
    "{v} the {a} {n}",
    "can you {v} the {n}",
    "could you {v} the {n} please",
    "please {v} {num} {n}s",
    "I want to {v} the {n}",
    "did you {v} the {n}",
    "don't {v} the {n}",
    "don't turn on the {n}",
    "{v} it",
    "{v} me",
)
UNFINISHED = (
    "set a timer",
    "set the timer",
    "set a timer please",
    "start a timer",
    "start the timer",
    "set a timer for the {n}",
    "set a timer for",
    "can you set a timer",
    "I need a timer",
    "a timer please",
    "timer",
    "set the volume",
    "set the light",
    "set the brightness",
    "the light",
    "the volume",
    "light",
    "volume",
    "change the light",
    "change the volume",
    "turn on",
    "turn off",
    "turn the",
    "switch on",
    "set the light to",
    "set the volume to",
    "the battery",
    "the timer",
    "wake me up",
    "wake me",
    "remind me",
    "turn the volume",
    "turn the light",
    "percent",
    "minutes",
    "in a minute",
    "make it",
    "what is the",
    "how much",
    "tell me",
    "brighter",
    "make it brighter",
    "dim the light",
    "darker",
    "set a timer for {num} days",
    "set a timer for {num} weeks",
    "set a timer for {num} {n}s",
    "set an alarm",
    "set the alarm",
    "set an alarm for",
    "wake me up at",
    "set an alarm for the {n}",
    "set an alarm for {day}",
    "add some {n}s",
    "add the {n}",
    "another {n}",
    "{num} more {n}s",
    "{num} more",
    "shut the {n}",
    "shut the door",
    "restart the {n}",
    "restart the timer",
    "reboot the {n}",
    "turn off the {n}",
    "the microphone",
    "is the microphone on",
    "the {n} is slower",
    "the {n} is faster",
    "a faster {n}",
    "is the {n} down",
    "listen",
    "listen to the {n}",
    "set a timer for {small} minutes and {num} seconds",
    "set a timer for {small} hours and {num} minutes",
    "{num} minutes",
    "{num} percent",
    "{num} seconds",
    "{num} hours",
    "make the light {colour}",
    "turn the light {colour}",
    "change the colour to {colour}",
    "set the light to {colour}",
    "pause the timer",
    "resume the timer",
    "what light",
    "is the light on",
    "is the light off",
    "which light",
    "how bright is the light",
    "how loud are you",
    "the light is nice",
    "what volume",
    "turn on the heating",
    "turn on the television",
    "turn off the television",
    "turn on the radio",
    "turn on the music",
    "turn on the fan",
    "turn off the fan",
    "turn off the heating",
    "turn off the music",
    "turn off the radio",
    "set the temperature to {num} degrees",
    "set the heating to {num} degrees",
    "turn up the heating",
    "turn down the heating",
    "charge the battery",
    "change the battery",
)
CLOSE = (
    "for {num} minutes",
    "in {num} minutes",
    "about {num} minutes",
    "{num} minutes ago",
    "{num} minutes late",
    "only {num} minutes",
    "{num} minutes of {n}",
    "it takes {num} minutes",
    "it took {num} minutes",
    "{num} minutes is a long time",
    "the last {num} minutes",
    "it is {num} minutes to {small}",
    "at {num} percent",
    "about {num} percent",
    "{num} percent of the {n}",
    "{num} percent off",
    "only {num} percent",
    "by {num} percent",
    "the light was {num} percent",
    "the volume was {num} percent",
    "the light in the {n}",
    "the light of the {n}",
    "the light switch",
    "a light",
    "the lights",
    "the light is on",
    "the light is off",
    "the lights are on",
    "the light was on",
    "the light looks {a}",
    "the light bulb",
    "light the {n}",
    "light {n}",
    "a light {n}",
    "timer for the {n}",
    "a timer for the {n}",
    "my timer",
    "which timer",
    "what timer",
    "the timer is running",
    "the timer is set",
    "the timer rang",
    "the timer was {num} minutes",
    "a timer",
    "no timer is running",
    "start it",
    "set",
    "set it",
    "set a",
    "set the",
    "set my",
    "set an",
    "cancel it",
    "delete it",
    "clear it",
    "turn it",
    "turn it on",
    "turn it off",
    "switch it on",
    "switch it off",
    "put it on",
    "put it out",
    "volume control",
    "the volume knob",
    "the volume is fine",
    "the volume is good",
    "the sound is good",
    "the volume is up",
    "loud",
    "louder than the {n}",
    "it was loud",
    "the {n} is too loud",
    "the {n} is too quiet",
    "the {n} is too fast",
    "the {n} is too slow",
    "what time does it start",
    "what time did you say",
    "what time did the {p} come",
    "what time is the {n}",
    "what time is dinner",
    "at what time",
    "the time is over",
    "time for the {n}",
    "last time",
    "next time",
    "one more {n}",
    "it's time",
    "this time",
    "what day was the {n}",
    "which day was it",
    "what date is the {n}",
    "what day is {day}",
    "today is {day}",
    "what was the date",
    "tell me about today",
    "is it {a}",
    "was it {a} today",
    "how long was the {n}",
    "how long does it take",
    "how long do we have to wait",
    "how many {n}s are left",
    "how much {n} is left",
    "how is the {n}",
    "how is your {p}",
    "how is the {p}",
    "how are the {n}s",
    "how are they",
    "how was the {n}",
    "how was it",
    "the temperature of the {n}",
    "the temperature was {num}",
    "what temperature does the {n} need",
    "the oven temperature",
    "battery",
    "the battery is full",
    "the battery is empty",
    "the battery was {num} percent",
    "a new battery",
    "where is the battery",
    "the alarm",
    "the alarm rang",
    "the alarm is loud",
    "an alarm",
    "alarm",
    "alarm clock",
    "my alarm",
    "the alarm at the {n}",
    "wake up",
    "wake up the {p}",
    "wake my {p} up",
    "at {small} o'clock the {n}",
    "it is {small} o'clock",
    "it was {small} o'clock",
    "until {small} o'clock",
    "we meet at {small}",
    "add",
    "add it",
    "add a timer",
    "add {num}",
    "{num} more {n}s please",
    "more",
    "more time",
    "more {n}",
    "again and again",
    "do it again tomorrow",
    "say it in {c}",
    "shut up the {n}",
    "shut it",
    "close it",
    "down",
    "up",
    "go down",
    "go up",
    "go on",
    "come on",
    "restart it",
    "start over there",
    "the second {n}",
    "second",
    "seconds",
    "hours",
    "hour",
    "a minute",
    "an hour",
    "half an hour ago",
    "for an hour",
    "in the morning",
    "at noon we eat",
    "at midnight",
)
"""Like UNFINISHED, of what is near to a request; only the training draws them."""
PHONE = (
    "please {do} your {item} {then}",
    "{do} your {item} {then}",
    "to {aim} press {d}",
    "for {item2} press {d}",
    "press {d} to {aim}",
    "press {d} for {item2}",
    "press {d} {key}",
    "the {thing} you have {done} is {state}",
    "the {thing} is {state}",
    "this {thing} is {state}",
    "your {thing} has been {done}",
    "your {thing} is now {state}",
    "{thing} {num} is {state}",
    "{thing} {num}",
    "{num} new {thing}s",
    "you have {num} {thing}s",
    "you have no {thing}s",
    "there are {num} people in the {thing}",
    "goodbye and thank you for {doing}",
    "thank you for {doing}",
    "please hold while we {aim}",
    "please wait for the {thing}",
    "all {thing}s are {state} right now",
    "I'm sorry that is not a valid {thing}",
    "sorry the {thing} is {state}",
    "that {thing} was not {done}",
    "leave a {thing} after the tone",
    "at the tone please {do} your {item}",
    "{thing} {done}",
    "{thing} {state}",
    "if you want to {aim} say yes",
    "is {state}",
    "the {thing}",
    "please try again later",
    "please try again",
    "one moment please",
    "invalid {thing}",
    "call from {d} {d} {d}",
    "{key}",
    "{item2}",
    "{d} {d} {d} {d}",
    "{d} {d} {d} {d} {d} {d} {d}",
    "area code {d} {d} {d}",
    "the {thing} was {done} at {num}",
    "{num}",
    "{d}",
    "{num} {num2}",
    "{num} hundred and {num2}",
    "{num} thousand",
    "first",
    "second {thing}",
    "{letter}",
    "{letter} {letter} {letter}",
    "{letter} {d} {letter}",
    "extension {num} is {state}",
    "to return to the main {thing} press {key}",
    "you are caller number {num}",
    "changed to {state}",
    "received on {day}",
    "{day}",
    "{month}",
    "{day} {month} {num}",
    "at {num} o'clock",
    "{num} a m",
    "{num} p m",
    "the {thing} will {aim} in {num}",
)
SLOTS = {
    "do": "enter dial type say record give confirm spell key in choose".split(),
    "item": (
        "access code|password|number|name|card number|extension|account number|pin|message|new "
        "password|date of birth|mailbox|conference number|room number|choice"
    ).split("|"),
    "item2": (
        "sales|support|the operator|accounts|billing|more options|the directory|other questions|technical "
        "help|the manager|the next message|advanced options|the previous message"
    ).split("|"),
    "then": (
        "followed by the pound key|then press hash|now|and press star|after the beep|or hang up|followed by hash|again|slowly|"
    ).split("|"),
    "aim": (
        "hear this again|speak to somebody|leave a message|go back|save the message|delete the "
        "message|join the meeting|transfer your call|connect you|continue|call this number|reach the "
        "operator|accept the call|change your greeting|forward this message|listen|begin|end the "
        "call|mark it urgent|return your call"
    ).split("|"),
    "key": ["pound", "star", "hash", "the star key", "the hash key", "zero"],
    "thing": (
        "number|call|message|extension|mailbox|conference|line|person|party|account|password|agent|"
        "queue|system|menu|recording|directory|caller|phone|greeting|office|connection|service|"
        "transfer|operator|option|channel|radio|station|network|"
        "server"
    ).split("|"),
    "done": """
        dialed saved deleted recorded cancelled entered called activated reached moved sent forwarded
        removed received chosen
    """.split(),
    "state": (
        "not in service|busy|unavailable|not available|on the phone|full|locked|closed|temporarily out of "
        "order|active|disabled|muted|no longer valid|open|on|off|being transferred|away from the "
        "desk|enabled|lost|wrong|correct"
    ).split("|"),
    "doing": ("calling|waiting|your patience|holding|choosing our company|your order|listening|calling our office").split("|"),
    "letter": """
        alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa
        quebec romeo sierra
    """.split(),
    "colour": "red green blue yellow warm white purple pink orange".split(),
}
NOUNS = (
    (
        "television radio door window garden kitchen bicycle potato chicken computer river mountain book "
        "letter doctor teacher camera telephone umbrella bottle newspaper engine station ticket hammer "
        "blanket camel village forest wallet mirror circus pencil carpet bridge basket ladder cushion trumpet "
        "orange pumpkin lemon sandwich oven heater fan kettle printer fridge washing-machine alarm music game "
        "movie weather house car train bus plane dog cat horse bird fish apple tea coffee soup bread cheese "
        "cake meeting party night day year right fight write site line life knife limit tower flower dinner "
        "primer tire time winter number paper"
    )
    .replace("-", " ")
    .split()
)
ADJECTIVES = """
    big small old new red green blue heavy cold warm hot nice strange quick slow happy sad empty full early late
    cheap clean dirty soft loud quiet dark bright tall short funny angry hungry broken expensive dangerous
""".split()
VERBS = """
    open close find buy sell make take bring read write paint clean move push pull lift drop break fix call send
    show hide watch cook eat drink wash carry throw catch count cut draw drive fly kick measure order pack plant
    repair ring search share sign teach
""".split()
PLACES = """
    France Germany Boston London Paris Africa Canada Japan Berlin Chicago Madrid Norway Texas Dublin Moscow
    Sydney Rome India China Scotland Vienna Denver Mexico Sweden Egypt
""".split()
PEOPLE = """
    mother brother uncle neighbour doctor boss sister cousin friend daughter grandfather teacher father wife
    husband son aunt grandmother colleague
""".split()
COMMON = """
    the a of and in to it was his that he with for as had you not be her on at by which have or from this but
    all she they were my are me one their so an said them we who would been will no when there if more out up
    into do any your what has man could other than our some very time upon about may its only now like little
    then can should made did us such great before must two these see know over much down after first good men
    own never most old shall day where those came come himself way work life without go make well through being
    long say might how am too even again many back here think every people went same last thought away under
    take found hand eyes still place while just also young yet though against things get ever give years off
    face nothing right once another left part saw house world head three took new love always put night each
    king between tell mind heart few because thing whom far seemed looked called whole set both got find done
    heard look name days told let country asked going seen better having home knew side something moment father
    among course hands woman enough words mother soon full end gave room almost small cannot water want however
    light quite brought nor word whose given door best turned taken does use felt until since power used rather
    began present voice others white works less money next poor stood form within together till large matter
    kind often certain herself year friend half order round true anything keep sent means passed feet near
    public state hundred children thus hope alone above case dear says speak high read city already received
    fact gone girl known hear times least perhaps sure indeed english open body itself along land return leave
    air nature answered either law help lay point child letter four wish fire cried women speaking number manner
""".split()


@cache
def dictionary() -> tuple[str, ...]:
    """Ordinary lower-case words of three to nine letters, from the system's word list; COMMON where there is none."""
    words = WORD_LIST.read_text().split() if WORD_LIST.exists() else COMMON
    return tuple(word for word in words if re.fullmatch(r"[a-z]{3,9}", word))


@cache
def wordings() -> frozenset[str]:
    """Every fixed wording: what foreign speech must not say by accident."""
    fixed = {text for known in INTENTS.values() for text in known.do + known.say + known.held}
    fixed |= {text for do, say in LATER.values() for text in do + say}
    return frozenset(fixed | {frame.format(text) for frame in POLITE for text in fixed} | set(LIGHT_WORDS) | set(VOLUME_WORDS))


TELLING = frozenset(
    """
    timer timers minutes minute seconds second hours hour light lights lamp volume sound brightness percent alarm
    countdown clock time date day weekday temperature battery power thermometer charge status system speed voice
    pace microphone mic louder quieter dim slower faster restart reboot cancel silence mute commands
""".split()
)
"""Words without which a request is another one or none."""


@cache
def alike() -> Alike:
    """Dictionary words that no request has, by their sound."""
    asked = TELLING.union(ONES, TENS, *(text.split() for text in wordings()))
    return Alike(set(dictionary()) - asked)


def mistaken(rng: random.Random) -> str:
    """Draw words that sound like a request and are none: one or two of its TELLING words, or all of a short one's, are others."""
    while True:
        words = request(rng, later=True).text.split()
        swapped = [at for at, word in enumerate(words) if word in TELLING]
        if len(words) <= 3 and rng.random() < 0.6:
            swapped = [at for at, word in enumerate(words) if len(word) > 3]
        elif len(swapped) > 1:
            swapped = rng.sample(swapped, rng.randint(1, 2))
        others = {at: alike()(words[at]) for at in swapped}
        if others and all(others.values()):
            return " ".join(rng.choice(others[at]) if at in others else word for at, word in enumerate(words))


def fill(rng: random.Random, template: str) -> str:
    """Fill the slots of a template; a slot that is used twice is drawn twice."""
    plain = {
        "n": NOUNS,
        "n2": NOUNS,
        "a": ADJECTIVES,
        "a2": ADJECTIVES,
        "v": VERBS,
        "c": PLACES,
        "p": PEOPLE,
        "d": ONES[:10],
        "day": DAYS,
        "month": MONTHS,
        "small": ONES[2:13],
    }

    def draw(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in ("num", "num2"):
            return spell(rng.randint(2, 99))
        return rng.choice(plain.get(slot) or SLOTS[slot])

    return re.sub(r"\{(\w+)\}", draw, template).strip()


QUESTIONS = (
    "did you set the timer",
    "did you start a timer",
    "did you set it for {num} minutes",
    "was the timer for {num} minutes",
    "was that a timer of {num} minutes",
    "have you cancelled the timer",
    "have you stopped the timer",
    "did the timer go off",
    "was the timer cancelled",
    "why did you cancel the timer",
    "who set the timer",
    "who cancelled my timer",
    "has the timer stopped",
    "how many minutes are {num} hours",
    "how many seconds are {num} minutes",
    "how long are {num} minutes",
    "how long are {num} hours",
    "is it {num} minutes already",
    "did I say {num} minutes",
    "are {num} minutes enough",
    "was the light turned off",
    "was the light turned on",
    "has the light been switched on",
    "has the light been switched off",
    "is the lamp on",
    "is the lamp off",
    "are the lights on",
    "are the lights off",
    "did you switch on the light",
    "did you switch off the light",
    "did you turn the light on",
    "who switched off the light",
    "who switched the light on",
    "who turned off the light",
    "why did you turn off the light",
    "why is the light off",
    "when did the light go on",
    "should the light be on",
    "is the light at {num} percent brightness",
    "is the brightness {num} percent",
    "is the light {num} percent bright",
    "was the light at {num} percent",
    "did you dim the light to {num} percent",
    "did I set the light to {num} percent",
    "is the sound at {num} percent",
    "is the volume {num} percent",
    "was the volume at {num} percent",
    "did you set the volume to {num} percent",
    "why is the volume at {num} percent",
    "did you make it louder",
    "did you make it quieter",
    "did you turn the volume up",
    "did you turn it down",
    "why is it so loud",
    "why are you so quiet",
    "who turned the volume up",
    "who turned up the volume",
    "is it louder now",
    "is it too loud",
    "is the volume up",
    "is the volume down",
    "did you set the alarm",
    "is the alarm set for {num}",
    "did you add {num} minutes",
    "who set the alarm",
    "when does the alarm ring",
    "did you restart",
    "why did you restart",
    "are you shutting down",
    "is the microphone off",
    "did you turn off the microphone",
    "do you speak slower now",
    "why do you speak so slowly",
    "why do you speak so fast",
    "what is the volume now",
    "what's the volume at",
    "which volume is set",
    "how high is the volume",
    "what volume are you at",
    "tell me the volume",
    "what is the brightness",
    "how loud is it set",
)
"""About what a request would do: to ask for a thing is not to want it done."""
LATER_QUESTIONS = (
    "was the light at {num} percent before",
    "is the light at {num} percent now",
    "was the brightness {num} percent",
    "is the lamp at {num} percent",
    "should the light be at {num} percent",
    "why is the light at {num} percent",
    "who set the light to {num} percent",
    "did somebody dim the light",
    "will the light go off",
    "can the light be on",
    "does the light work",
    "was the light on",
    "was the light off",
    "was the lamp on",
    "is there a light",
    "is the volume at {num} percent now",
    "was the volume {num} percent before",
    "who set the volume to {num} percent",
    "should the volume be {num} percent",
    "can the volume go to {num} percent",
    "was the sound at {num} percent",
    "was it louder before",
    "was it quieter",
    "is it quieter now",
    "is it too quiet",
    "was that loud",
    "why is the volume down",
    "is {num} percent too loud",
    "was it {num} minutes",
    "is it {num} minutes",
    "why {num} minutes",
    "are there {num} minutes",
    "how long was the timer",
    "do you mean {num} minutes",
    "have {num} minutes passed",
    "is the timer gone",
    "is the timer off",
    "is the timer cancelled",
    "did you cancel it",
    "did you delete the timer",
    "should I cancel the timer",
    "can I cancel the timer",
    "who stopped the timer",
    "did you stop the timer",
    "did the alarm ring",
    "was the alarm at {small}",
    "is the alarm at {small}",
    "why is the alarm at {small}",
    "did you set an alarm for {small}",
    "did you add {num} seconds",
    "was the microphone off",
    "is your microphone on",
    "can you restart",
    "did the system restart",
    "was the system restarted",
    "are you off",
    "did you shut down",
    "why are you so slow",
    "were you faster before",
    "do you talk faster now",
)
"""More of them, that only the training draws."""
_ASKED = re.compile("|".join(re.sub(r"{num}|{small}", "[a-z ]+", question) for question in QUESTIONS + LATER_QUESTIONS))


def asks(text: str) -> bool:
    """Is it one of QUESTIONS, or of LATER_QUESTIONS?"""
    return _ASKED.fullmatch(text) is not None


def foreign(rng: random.Random, questions: float = 0.15, near: float = 0.0, sounding: float = 0.0) -> Utterance:
    """Draw a sentence outside the repertoire: near misses, unfinished requests, telephone prompts, random words.

    `sounding` is the share of words that sound like a request and of single words, half each; of the rest `near` is that of
    UNFINISHED, CLOSE and LATER_QUESTIONS, and of the rest again `questions` that of QUESTIONS.
    """
    while True:
        sounds = sounding > 0 and rng.random() < sounding
        close = near > 0 and rng.random() < near
        kind = rng.random()
        if sounds:
            text = mistaken(rng) if rng.random() < 0.5 else " ".join(rng.choices(dictionary(), k=rng.choice((1, 1, 2, 3))))
        elif close:
            text = fill(rng, rng.choice(UNFINISHED + CLOSE + LATER_QUESTIONS))
        elif rng.random() < questions:
            text = fill(rng, rng.choice(QUESTIONS))
        elif kind < 0.34:
            text = fill(rng, rng.choice(NEAR))
        elif kind < 0.5:
            text = fill(rng, rng.choice(UNFINISHED))
        elif kind < 0.72:
            text = fill(rng, rng.choice(PHONE))
        elif kind < 0.86:
            text = " ".join(rng.choice(dictionary() if rng.random() < 0.7 else NOUNS) for _ in range(rng.randint(1, 5)))
        else:
            text = " ".join(rng.choice(COMMON) for _ in range(rng.randint(2, 10)))
        if text not in wordings() and text.removesuffix(" please") not in wordings():
            return Utterance("foreign", text, REJECT)


if __name__ == "__main__":
    _rng = random.Random(0)
    for _ in range(14):
        _one = request(_rng)
        print(_one.text, "|", _one.answer, "|", respond(_rng, _one.answer))
    for _ in range(14):
        print(foreign(_rng).text)
