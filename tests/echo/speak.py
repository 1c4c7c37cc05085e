"""Our replies, spoken by a process of its own: what espeak-ng has said before in a process changes how it says the next thing.

python speak.py OUT.npz
"""

import sys

import numpy as np

from edge_assistant.echo.take import SENTENCES
from edge_assistant.voice import EspeakVoice

if __name__ == "__main__":
    voice = EspeakVoice()
    voice.open()
    spoken = [voice.say(text) for text in SENTENCES]
    voice.close()
    np.savez(sys.argv[1], *(pcm for pcm, _ in spoken), rate_hz=spoken[0][1])
