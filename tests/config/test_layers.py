"""Layers, and what is wrong with them."""

import json
import os
import re
import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from edge_assistant.cli import main
from edge_assistant.config import DEFAULT, MOST_BYTES, Config, Problems, Switch, find_line, load, load_file, sections
from edge_assistant.config_text import default_text, show_text
from edge_assistant.errors import ConfigError
from edge_assistant.schema import keys

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_no_layer_at_all(layers):
    loaded = load()
    assert loaded.config == Config()
    assert loaded.origin("talk", "mode") == DEFAULT
    assert loaded.files == ()


def test_later_layers_win_key_by_key(layers, monkeypatch):
    system, user = layers
    system.write_text('[talk]\nmode = "wake"\nvad = "webrtc"\nwake_word = "computer"\nmodel = "a"\n[switches.pump]\npin = 17\n')
    user.write_text('[talk]\n\nwake_word = "hal"\nmodel = "b"\n[switches.pump]\nactive_low = true\n')
    monkeypatch.setenv("EDGE_ASSISTANT_TALK_MODEL", "c")
    monkeypatch.setenv("EDGE_ASSISTANT_TALK_FOLLOW_UP_MS", "0")
    loaded = load({"talk.model": "d", "talk.mode": None})
    talk = loaded.config.talk
    assert (talk.mode, talk.vad, talk.wake_word, talk.model, talk.follow_up_ms) == ("wake", "webrtc", "hal", "d", 0)
    assert loaded.config.switches == {"pump": Switch(17, active_low=True)}
    assert loaded.origin("talk", "vad") == f"{system}:3"
    assert loaded.origin("talk", "wake_word") == f"{user}:3"
    assert loaded.origin("talk", "follow_up_ms") == "EDGE_ASSISTANT_TALK_FOLLOW_UP_MS"
    assert loaded.origin("talk", "model") == "--model"
    assert loaded.origin("switches", "pump.pin") == f"{system}:7"
    assert loaded.origin("switches", "pump.active_low") == f"{user}:6"
    assert loaded.origin("talk", "echo") == DEFAULT
    assert loaded.files == (system, user)


def test_a_later_layer_takes_an_optional_value_away(layers, monkeypatch):
    system, _ = layers
    system.write_text("[talk]\ntalk_pin = 4\n")
    assert load().config.talk.talk_pin == 4
    monkeypatch.setenv("EDGE_ASSISTANT_TALK_TALK_PIN", "none")
    assert load().config.talk.talk_pin is None


def test_tools_are_on_or_off_by_name(layers):
    _, user = layers
    user.write_text("[tools]\nnotes = false\npower = true\n")
    assert load().config.tools == {"notes": False, "power": True}


def test_nothing_can_be_changed_afterwards(layers):
    _, user = layers
    user.write_text("[tools]\nnotes = false\n[switches.pump]\npin = 17\n")
    config = load().config
    with pytest.raises(FrozenInstanceError):
        config.talk.mode = "wake"
    with pytest.raises(TypeError):
        config.tools["notes"] = True
    with pytest.raises(TypeError):
        config.switches["pump"] = Switch(1)


WRONG = [
    ('[talk]\nmode = "wkae"', 2, 'talk.mode = "wkae" is wrong; it takes "open", "wake" or "button"; did you mean "wake"?'),
    ("[talk]\nmod = 3", 2, "there is no talk.mod; did you mean mode?"),
    ("\n\n[tlak]\nmode = 3", 3, "there is no section tlak; did you mean talk?"),
    ('mode = "open"', 1, "there is no section mode; it belongs under [talk]"),
    ('[service]\nvad = "webrtc"', 2, "there is no service.vad; it belongs under [talk]"),
    ("[talk]\nqqq = 3", 2, "there is no talk.qqq; there are model, microphone"),
    ("talk = 3", 1, "talk = 3 is wrong; it is a section: write [talk]"),
    ('[talk]\nfollow_up_ms = "long"', 2, "it takes a whole number from 0 to 60000"),
    ("[talk]\nfollow_up_ms = 1.5", 2, "follow_up_ms = 1.5 is wrong"),
    ("[talk]\nfollow_up_ms = true", 2, "follow_up_ms = true is wrong"),
    ("[talk]\ntalk_pin = 28", 2, 'it takes a whole number from 0 to 27, or "none"'),
    ("talk.talk_pin = [4]", 1, "talk.talk_pin = a list is wrong"),
    ("talk = {talk_pin = 99}", 1, "talk.talk_pin = 99 is wrong"),
    ("[tools]\nnotes = 1", 2, "tools.notes = 1 is wrong; it takes true or false"),
    ("[tools]\n'My Notes' = true", 1, "My Notes is no name"),
    ("[switches]\npump = 17", 2, "it is a table: write [switches.pump]"),
    ("[switches.pump]", 1, "[switches.pump] is empty; give it pin"),
    ("[switches.pump]\npn = 17", 2, "there is no switches.pump.pn; did you mean pin?"),
    ("[switches.pump]\nactive_low = true", 2, "switches.pump has no pin; pin takes a whole number"),
    ("[switches.Pump]\npin = 2", 1, "Pump is no name"),
    ('[talk]\nbarge_in = "wake"', 2, "nothing would wake it"),
    ("[talk]\nend_min_ms = 1000\nend_max_ms = 900", 2, "end_min_ms is 1000, more than end_max_ms (900)"),
    ("[talk]\ntalk_pin = 4\n[switches.pump]\npin = 4", 0, "talk.talk_pin and switches.pump.pin are the same pin, 4"),
    ("[talk\nmode=3", 0, "this is no TOML"),
    ("[talk]\nmode = 3\nmode = 4", 0, "Cannot overwrite a value"),
    ("[talk]\nvad = 'x\x00'", 0, "this is no TOML"),
    ("a = " + "[" * 20_000, 0, "nested too deep"),
    ("a = " + "{a=" * 20_000, 0, "nested too deep"),
    ("a = " + "9" * 20_000, 0, "this is no TOML"),
    ("x." * 2_000 + "x = 1", 0, "there is no section x"),
    ("talk." + "x." * 2_000 + "x = 1", 0, "there is no talk.x"),
    ("talk.mode." + "x." * 2_000 + "x = 1", 0, "talk.mode = a table is wrong"),
    ("#" * (MOST_BYTES + 1), 0, "more than 64 KiB"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG, ids=[says[:40] for _, _, says in WRONG])
def test_what_is_wrong_says_where_and_what_is_right(layers, text, line, says, capsys):
    _, user = layers
    user.write_text(text)
    with pytest.raises(ConfigError) as wrong:
        load()
    assert says in str(wrong.value)
    if line:
        assert f"{user}:{line}" in str(wrong.value)
    assert len(str(wrong.value)) < 600
    assert main(["config", "show"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_all_problems_of_a_file_are_told(layers, capsys):
    _, user = layers
    user.write_text("[talk]\nmod = 1\nvad = 2\n[swiches.x]\npin = 3\n")
    with pytest.raises(Problems) as wrong:
        load()
    assert len(wrong.value.each) == 3
    with pytest.raises(SystemExit) as left:
        main(["config", "check"])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 3
    with pytest.raises(SystemExit):
        main(["config", "check", "--json"])
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 3


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("EDGE_ASSISTANT_TALK_MOD", "wake", "did you mean EDGE_ASSISTANT_TALK_MODE?"),
        ("EDGE_ASSISTANT_TALK_MODE", "wave", 'it takes "open"'),
        ("EDGE_ASSISTANT_TALK_TALK_PIN", "", "it takes a whole number"),
        ("EDGE_ASSISTANT_TALK_WAKE_WORD", "\udcff", "it takes a text"),
        ("EDGE_ASSISTANT_SERVICE_ANNOUNCE", "maybe", "it takes true or false"),
        ("EDGE_ASSISTANT_", "1", "is no setting"),
    ],
)
def test_a_wrong_environment(layers, monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=re.escape(variable)) as wrong:
        load()
    assert says in str(wrong.value)


def test_a_wrong_flag(layers):
    with pytest.raises(ConfigError, match=r'--mode "wkae" is wrong; .*; did you mean "wake"'):
        load({"talk.mode": "wkae"})


def test_a_bad_file_is_not_made_good_by_a_later_layer(layers):
    system, user = layers
    system.write_text('[talk]\nmode = "nap"\n')
    user.write_text('[talk]\nmode = "wake"\n')
    with pytest.raises(ConfigError, match="etc"):
        load()


def test_files_that_are_none(layers, tmp_path):
    _, user = layers
    for make in (
        user.mkdir,
        lambda: os.mkfifo(user),
        lambda: user.symlink_to("/dev/zero"),
        lambda: user.symlink_to(user.name),
    ):
        make()
        with pytest.raises(ConfigError) as wrong:
            load()
        assert str(user) in str(wrong.value)
        user.rmdir() if user.is_dir() else user.unlink()
    user.symlink_to(tmp_path / "nowhere")
    assert load().files == ()


def test_not_utf_8_names_the_line(layers):
    _, user = layers
    user.write_bytes(b'[talk]\n# gr\xfc\xdfe\nmode = "open"\n')
    with pytest.raises(ConfigError, match=r"config.toml:2: this is not UTF-8"):
        load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(layers):
    _, user = layers
    user.write_text("")
    user.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        load()


def test_a_byte_order_mark_is_said_to_be_no_toml(layers):
    _, user = layers
    user.write_bytes(b'\xef\xbb\xbf[talk]\nmode = "open"\n')
    with pytest.raises(ConfigError, match="no TOML"):
        load()


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("[talk]\n# mode = 1\nmode = 2", "talk.mode", 3),
        ("talk.mode = 2", "talk.mode", 1),
        ("\ntalk = {mode = 2}", "talk.mode", 2),
        ("[ talk ]\n'mode' = 2", "talk.mode", 2),
        ("[switches.pump] # a\n[switches.lamp]\npin = 2", "switches.lamp.pin", 3),
        ("[switches.pump]\npin = 2", "switches", 1),
        ("[service]\nmode = 1", "talk.mode", 0),
    ],
)
def test_lines(text, name, line):
    assert find_line(text, name) == line


# The default file.


def test_section_names_have_no_underscore():
    assert all("_" not in section.name for section in sections())  # or EDGE_ASSISTANT_A_B_C would have two meanings


def test_the_default_file_sets_nothing(tmp_path):
    (tmp_path / "default.toml").write_text(default_text())
    loaded = load_file(tmp_path / "default.toml")
    assert loaded.config == Config()
    assert loaded.origins == {}


def test_the_default_file_with_every_line_in_force_says_the_defaults(tmp_path):
    path = tmp_path / "all.toml"
    path.write_text(re.sub(r"^# (\w+ = |\[)", r"\1", default_text(), flags=re.MULTILINE))
    loaded = load_file(path)
    for section in sections():
        if not section.named:
            assert getattr(loaded.config, section.name) == getattr(Config(), section.name)
    assert set(loaded.origins) >= {f"{s.name}.{key}" for s in sections() if not s.named for key in keys(s.kind)}
    assert loaded.config.switches


def test_every_key_is_documented():
    text = default_text()
    for section in sections():
        if section.kind is not bool:
            for key in keys(section.kind).values():
                assert key.doc.split(".")[0].split()[0] in text
                assert f"# {key.name} = " in text
    assert max(map(len, text.splitlines())) <= 140


def test_the_documentation_has_the_default_file_of_this_version():
    assert f"```toml\n{default_text()}```" in DOCS.read_text(), "run `make docs/configuration.md`"


# The verb.


def test_show_is_a_file_that_says_the_same(layers, tmp_path, capsys):
    _, user = layers
    user.write_text('[talk]\nmode = "wake"\n[tools]\nnotes = false\n[switches.pump]\npin = 17\n')
    assert main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert shown == show_text(load())
    assert 'mode = "wake"' in shown
    assert f"# {user}:2" in shown
    (tmp_path / "shown.toml").write_text(shown)
    assert load_file(tmp_path / "shown.toml").config == load().config
    assert main(["config", "show", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["talk"]["mode"] == {"value": "wake", "origin": f"{user}:2"}
    assert told["talk"]["talk_pin"] == {"value": None, "origin": "default"}
    assert told["switches.pump"]["pin"]["value"] == 17
    assert told["tools"]["notes"]["value"] is False


def test_check_default_and_path(layers, tmp_path, capsys):
    system, user = layers
    assert main(["config", "check"]) == 0
    assert "no file" in capsys.readouterr().out
    assert main(["config", "default"]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text) == {section.name: {} for section in sections() if section.name != "switches"}
    user.write_text(text)
    assert main(["config", "check", str(user)]) == 0
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"{system}  (not there)", str(user)]
    with pytest.raises(SystemExit):
        main(["config", "check", str(tmp_path / "nowhere.toml")])
    assert "no such file" in capsys.readouterr().err
    assert main(["config", "path", str(user)]) == 2


def test_what_a_flag_gives_wins_and_what_it_does_not_give_comes_from_the_file(layers):
    from edge_assistant.cli import build_parser
    from edge_assistant.verbs import configuration

    _, user = layers
    user.write_text('[talk]\nvad = "webrtc"\nmode = "wake"\nend_of_turn = true\ntalk_pin = 4\n')
    parser = build_parser()
    settings = configuration(parser.parse_args(["talk", "--mode", "button", "--no-end-of-turn", "--talk-pin", "none"])).talk
    assert (settings.vad, settings.mode, settings.end_of_turn, settings.talk_pin) == ("webrtc", "button", False, None)
    assert configuration(parser.parse_args(["ask", "x.wav", "--vad", "silero"])).talk.vad == "silero"
    assert not configuration(parser.parse_args(["serve", "--no-announce"])).service.announce


def test_ask_uses_the_configuration(layers, capsys):
    _, user = layers
    user.write_text('[talk]\nmodel = "nowhere"\n')
    question = Path(__file__).parents[2] / "assets" / "demo" / "time.wav"
    assert main(["ask", str(question), "--pace", "fast", "--say", os.devnull]) == 2
    assert "no model nowhere" in capsys.readouterr().err


def test_options_say_the_defaults_of_the_code(layers, capsys):
    _, user = layers
    user.write_text('[talk]\nmode = "wake"\n')
    with pytest.raises(SystemExit):
        main(["talk", "--help"])
    assert "at a button (open)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("verb", [["devices", "--json"], ["mic-test", "--seconds", "1"], ["echo-test"]])
def test_what_hears_and_speaks_takes_the_configured_devices(layers, capsys, verb):
    _, user = layers
    user.write_text('[talk]\nmicrophone = "alsa:Nowhere"\nloudspeaker = "alsa:Nowhere"\n')
    status = main(verb)
    told = capsys.readouterr()
    assert "alsa:Nowhere" in (told.out if verb[0] == "devices" else told.err)
    assert status == (0 if verb[0] == "devices" else 2)
