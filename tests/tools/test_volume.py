import numpy as np
import pytest
from parrot import call

from edge_assistant.preferences import Preferences, open_preferences
from edge_assistant.speaker import Speaker
from edge_assistant.tools.volume import Volume, gain


def test_it_is_as_loud_as_it_says(talk):
    it = talk(call("set_volume", percent=20), call("set_volume", change="up"), call("get_status", what="volume"))
    assert it.said == [f"The volume is at {percent} percent." for percent in (20, 30, 30)]
    assert it.responses == [{"percent": 20}, {"percent": 30}, {"volume_percent": 30}]
    loud = sorted({round(level, 3) for level in it.sink.levels[1:]})
    assert loud[:2] == [pytest.approx(0.5 * 0.2**2), pytest.approx(0.5 * 0.3**2)]
    assert len(loud) == 2


@pytest.mark.parametrize("arguments", [{}, {"percent": 5, "change": "up"}, {"percent": 101}, {"percent": -1}, {"change": "left"}])
def test_a_wrong_call_changes_nothing(talk, arguments):
    it = talk(call("set_volume", **arguments), call("get_status", what="volume"))
    assert list(it.responses[0]) == ["error"]
    assert it.responses[1] == {"volume_percent": 100}


def test_steps_end_where_the_scale_does():
    volume = Volume(lambda gain: None, Preferences())
    assert volume.change("up") == 100
    assert [volume.change("down") for _ in range(12)] == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0, 0]
    assert volume.change("up") == 10


def test_it_is_kept_over_a_restart(tmp_path):
    gains = []
    with open_preferences(tmp_path) as preferences:
        Volume(gains.append, preferences).set(35)
    with open_preferences(tmp_path) as preferences:
        assert Volume(gains.append, preferences).percent == 35
    assert gains == [1.0, gain(35), gain(35)]


def test_a_second_program_hears_but_does_not_keep(tmp_path):
    with open_preferences(tmp_path) as first:
        first.set("volume_percent", 40)
        first._keeper.settled()
        with open_preferences(tmp_path) as second:
            assert second.get("volume_percent", 100, 0, 100) == 40
            second.set("volume_percent", 90)
            assert second.get("volume_percent", 100, 0, 100) == 90
    with open_preferences(tmp_path) as third:
        assert third.get("volume_percent", 100, 0, 100) == 40


@pytest.mark.parametrize(
    "kept", [None, [], {"volume_percent": "loud"}, {"volume_percent": True}, {"volume_percent": 1.5}, {1: 2}]
)
def test_what_is_kept_may_be_anything(kept):
    assert Preferences(kept=kept).get("volume_percent", 70, 0, 100) == 70
    assert Preferences(kept={"volume_percent": 700}).get("volume_percent", 70, 0, 100) == 100


def test_a_change_does_not_click():
    speaker = Speaker(16_000, lambda event: None)
    speaker.write(1, np.ones(4000, np.float32))
    whole = [speaker.pull(500)]
    speaker.gain = 0.04
    whole += [speaker.pull(500), speaker.pull(500)]
    speaker.gain = 1.0
    whole += [speaker.pull(500), speaker.pull(500)]
    sound = np.concatenate(whole)
    assert np.abs(np.diff(sound)).max() < 0.01
    assert sound[400] == sound[2200] == 1.0
    assert sound[1200] == pytest.approx(0.04)


def test_a_conversation_that_breaks_lets_the_next_one_keep(tmp_path):
    with pytest.raises(RuntimeError), open_preferences(tmp_path):
        raise RuntimeError
    with open_preferences(tmp_path) as preferences:
        preferences.set("volume_percent", 15)
    with open_preferences(tmp_path) as preferences:
        assert preferences.get("volume_percent", 100, 0, 100) == 15


def test_an_unwritable_folder_is_no_reason_not_to_speak(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with open_preferences(tmp_path / "file" / "folder") as preferences:
        preferences.set("volume_percent", 10)
        assert preferences.get("volume_percent", 100, 0, 100) == 10
    assert "cannot keep" in caplog.text
