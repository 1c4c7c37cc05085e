"""Text as it is decoded in, speakable sentences out. Pure."""

import re

LONGEST = 240
"""Characters after which a sentence without an end is cut at a word, so that the voice can begin."""

_END = re.compile(r"""([.!?…]+["'”’)\]*_]*)(\s+)|([。！？]+)|(\n+)""")
_ABBREVIATION = re.compile(
    r"""(?:^|[\s("'])(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|approx|e\.g|i\.e|[a-z](?:\.[a-z])+|[A-Z])\.$""", re.IGNORECASE
)
_ORDINAL = re.compile(r"^\W*\d+[.)]$")

_CONTROL = re.compile(r"<\|[^<>|\s]*\|?>|<[a-z_\"]+\|>|<(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>")
_MARKUP: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"```\w*"), " "),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"^\s*(?:[-*+•>]|#{1,6})\s+", re.MULTILINE), ""),
    (re.compile(r"(?<!\w)_+|_+(?!\w)"), ""),
    (re.compile(r"(?<=\d)\s*\*\s*(?=\d)"), " times "),
    (re.compile(r"[*`#~|<>{}\\^]+"), " "),
    (re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d\ufffd]+"), " "),
    (re.compile(r"[\s\x00-\x1f\x7f-\x9f]+"), " "),
    (re.compile(r" +([.,!?;:])"), r"\1"),
)


def speakable(text: str) -> str:
    """What a voice should say of `text`: no control tokens, no Markdown; "" if no letter or digit is left."""
    text = _CONTROL.sub(" ", text)
    for pattern, instead in _MARKUP:
        text = pattern.sub(instead, text)
    text = text.strip()
    return text if any(character.isalnum() for character in text) else ""


class Sentences:
    """Cuts a stream of text into sentences, each given out as soon as its end is sure."""

    def __init__(self) -> None:
        self._text = ""

    def push(self, text: str) -> list[str]:
        """Add text; return the sentences that it completes."""
        self._text += text
        done: list[str] = []
        while (end := self._end()) is not None:
            done.append(speakable(self._text[:end]))
            self._text = self._text[end:].lstrip()
        return [sentence for sentence in done if sentence]

    def flush(self) -> list[str]:
        """The text is over: return the rest."""
        rest, self._text = speakable(self._text), ""
        return [rest] if rest else []

    def _end(self) -> int | None:
        for match in _END.finditer(self._text):
            before = self._text[: match.end(1)] if match[1] else ""
            if match[1] == "." and (_ABBREVIATION.search(before) or _ORDINAL.match(before)):
                continue
            return match.end()
        if len(self._text) > LONGEST:
            head = self._text[:LONGEST]
            return max(head.rfind(", ") + 1, 0) or max(head.rfind(" ") + 1, 0) or LONGEST
        return None
