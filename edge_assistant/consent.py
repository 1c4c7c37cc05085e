"""What counts as a yes, and what as a claim that something was done. Pure.

A yes is judged by these words, not by the model: it only writes down what it heard. Whatever is not plainly a yes is a no.
"""

import re

ANSWERING = 'Write down word for word what the user answers to "{question}" and nothing else.\n'
"""Before the sound of an answer, for a model that has a system turn."""
UNTOLD_YES = "Yes."
"""What a model that cannot be told to write down says to a yes; whatever else it says is no record of what it heard."""
NOT_DONE = "All right, I won't."
NOTHING_DONE = "I have not done that."
DONE = "Done."
"""For a tool that has done it and has no words for it."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_YES = re.compile(
    r"(?:(?:oh|well|um|uh|hm) )*"
    r"(?:yes|yeah|yep|yup|aye|sure|certainly|absolutely|of course|ok|okay|do it|do that|go ahead|please do|confirmed?)"
    r"(?: (?:yes|yeah|sure|certainly|please|okay|ok|do it|do that|do so|go ahead|you may|now|of course|thanks|thank you))*"
)

_DID = (
    "set|started|stopped|cancelled|canceled|turned|switched|dimmed|muted|unmuted|raised|lowered|changed|added|deleted|removed|"
    "saved|noted|written|recorded|rebooted|restarted|shut|adjusted|increased|decreased|activated|deactivated|created|scheduled"
)
_DOING = (
    "setting|starting|stopping|cancelling|canceling|turning|switching|dimming|muting|raising|lowering|adding|deleting|saving|"
    "rebooting|restarting|shutting"
)
_CLAIM = re.compile(
    rf"(?:(?:okay|ok|sure|alright|all right|yes|certainly|great)\W+)*(?:"
    rf"(?:it's |it is |all |that's |that is )?done\W*$|"
    rf"i(?:'ve| have|'m| am)?(?: just| now| already)? (?:{_DID}|{_DOING})\b|"
    rf"(?:{_DOING}) |"
    rf"(?:your |the |a |an )?(?:\w+ ){{0,2}}(?:timers?|alarms?|lights?|lamps?|volume|sound|notes?|microphone|pump|switch|it)"
    rf"(?:'s| is| are| has been| have been| was| were)?(?: now)? (?:{_DID})\b|"
    rf"(?:your |the )?(?:\w+ ){{0,2}}(?:timers?|alarms?|lights?|lamps?|volume|pump|switch|it)(?:'s| is| are) now\b)"
)


def says_yes(text: str) -> bool:
    """Is this a plain yes, and nothing but a yes?"""
    words = " ".join(_WORD.findall(text.lower().replace("’", "'")))
    return _YES.fullmatch(words) is not None


def claims(sentence: str) -> bool:
    """Does this say that something was done?"""
    return _CLAIM.match(sentence.lower().replace("’", "'").strip(" \"'")) is not None
