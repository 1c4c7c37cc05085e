import itertools

import pytest

from edge_assistant.zeros import APART_S, Change, Zeros

PIECE_S = 0.032


def changes(*stretches):
    """What is told of stretches of seconds, zeros first."""
    zeros, at_s, told = Zeros(), 0.0, []
    for sounds, seconds in zip(itertools.cycle([False, True]), stretches, strict=False):
        for _ in range(round(seconds / PIECE_S)):
            at_s += PIECE_S
            if change := zeros.step(sounds, PIECE_S):
                told.append((round(at_s), change))
    return told


def test_zeros_are_told_after_five_seconds_once():
    assert changes(3600) == [(5, Change(zeros=True, news=True))]


def test_sound_is_told_as_soon_as_it_is_more_than_a_click():
    assert changes(10, 0.3, 10, 10) == [(5, Change(zeros=True, news=True)), (21, Change(zeros=False, news=True))]


@pytest.mark.parametrize("stretches", [(0, 3600), 40 * (4, 0.032)])
def test_a_quiet_room_and_short_silence_are_nothing(stretches):
    assert changes(*stretches) == []


def test_a_device_that_gates_its_noise_is_told_of_once_and_again_after_a_long_while():
    told = changes(*100 * (20, 20))
    assert len(told) == 200
    assert [change.news for _, change in told] == [True, True] + 198 * [False]
    told = changes(20, APART_S - 60, 20, APART_S + 60, 20)
    assert [change.news for _, change in told] == [True, True, False, False, True]
