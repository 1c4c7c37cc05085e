"""Whatever is fed, answered and cut: what is left is as if only that had ever been fed, to the bit."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import sound

from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession

PCM = sound(11, 64_000)
Step = Callable[[OnnxSession], None]


def say(text: str) -> Step:
    return lambda session: session.feed_text(text)


def hear(begin: int, count: int) -> Step:
    return lambda session: session.feed_audio(PCM[begin : begin + count])


def answer(count: int) -> Step:
    def step(session: OnnxSession) -> None:
        tokens = session.decode(Sampling(max_tokens=20))
        for _ in zip(range(count), tokens, strict=False):
            pass

    return step


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_conversations_with_second_thoughts(model: OnnxModel, data: st.DataObject) -> None:
    session = model.session(512)
    log: list[Step] = [say("<bos>")]
    log[0](session)
    seen: dict[int, tuple[int, bool]] = {session.position: (1, False)}
    listening = False
    for _ in range(data.draw(st.integers(1, 14))):
        kind = data.draw(st.sampled_from(["hear", "hear", "end", "cut"] if listening else ["say", "begin", "answer", "cut"]))
        if kind == "cut":
            position = data.draw(st.sampled_from(sorted(seen)))
            session.cut(position)
            length, listening = seen[position]
            del log[length:]
            seen = {place: kept for place, kept in seen.items() if place <= position}
            continue
        steps: dict[str, Step] = {
            "say": say("a word or two "[: data.draw(st.integers(1, 14))]),
            "begin": OnnxSession.begin_audio,
            "hear": hear(data.draw(st.integers(0, 50_000)), data.draw(st.integers(0, 6_000))),
            "end": OnnxSession.end_audio,
            "answer": answer(data.draw(st.integers(1, 5))),
        }
        steps[kind](session)
        log.append(steps[kind])
        listening = kind in ("begin", "hear")
        if data.draw(st.booleans()):
            seen[session.position] = (len(log), listening)
    fresh = model.session(512)
    for step in log:
        step(fresh)
    for end in [OnnxSession.end_audio] if listening else []:
        end(session)
        end(fresh)
    assert session.position == fresh.position
    for position in range(fresh.position):
        assert all(map(np.array_equal, session._cache.token(position), fresh._cache.token(position)))
    assert np.array_equal(session.logits(), fresh.logits())
