"""Which devices there are, with the kernel's and the server's lists made up."""

import pytest

from edge_assistant import devices, pulse
from edge_assistant.devices import choose_device, find_devices
from edge_assistant.errors import DeviceError
from edge_assistant.streams import explain

CARDS = """\
 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 2 [USB            ]: USB-Audio - USB PnP Sound Device
                      C-Media USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed
"""
PCMS = """\
00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
02-00: USB Audio : USB Audio : playback 1 : capture 1
02-01: USB Audio : USB Audio #1 : capture 1
"""
SOURCE = """\
Source #{}
	State: SUSPENDED
	Name: {}
	Description: {}
	Driver: module-alsa-card.c
	Sample Specification: {}
	Properties:
		device.description = "something else"
	Ports:
		analog-input-mic: Microphone (type: Mic, priority: 8700, available)
"""
SOURCES = [
    SOURCE.format(1, "auto_null.monitor", "Monitor of Dummy Output", "s16le 2ch 44100Hz"),
    SOURCE.format(2, "alsa_output.hdmi.monitor", "Monitor of HDMI", "s16le 2ch 48000Hz"),
    SOURCE.format(3, "alsa_input.usb-Array-00.multichannel", "Mic: Array", "s16le 6ch 16000Hz"),
    SOURCE.format(4, "alsa_input.usb-0d8c_USB-00.mono-fallback", "USB PnP Mono", "s16le 1ch 48000Hz"),
]


@pytest.fixture(autouse=True)
def _machine(tmp_path, monkeypatch):
    """A machine without a sound card or server, on which each test puts what it needs."""
    monkeypatch.setattr(devices, "ASOUND", tmp_path / "asound")
    monkeypatch.setattr(devices, "DEV_SND", tmp_path / "snd")
    monkeypatch.setattr(devices, "ASOUND_CONFIGS", (tmp_path / "asound.conf",))
    monkeypatch.setattr(pulse, "pactl", lambda *arguments: None)


def plug_cards(tmp_path, cards=CARDS, pcms=PCMS):
    (tmp_path / "asound").mkdir()
    (tmp_path / "asound" / "cards").write_text(cards)
    (tmp_path / "asound" / "pcm").write_text(pcms)


def serve(monkeypatch, sources, default):
    answers = {("list", "sources"): "\n".join(sources), ("info",): f"Server Name: pulseaudio\nDefault Source: {default}\n"}
    monkeypatch.setattr(pulse, "pactl", lambda *arguments: answers.get(arguments))


def test_nothing_at_all():
    with pytest.raises(DeviceError, match=r"^no microphone found; plug one in$"):
        choose_device("microphone")
    with pytest.raises(DeviceError, match=r"^no loudspeaker found"):
        choose_device("loudspeaker")


def test_cards_by_their_ids(tmp_path):
    plug_cards(tmp_path)
    assert [device.name for device in find_devices("microphone")] == ["alsa:USB", "alsa:USB,1"]
    assert [device.name for device in find_devices("loudspeaker")] == ["alsa:vc4hdmi0", "alsa:Headphones", "alsa:USB"]
    assert choose_device("microphone", "alsa:USB,1").description == "USB Audio"


def test_what_was_plugged_in_is_what_is_meant(tmp_path):
    plug_cards(tmp_path)
    assert choose_device("microphone").name == "alsa:USB"
    assert choose_device("loudspeaker").name == "alsa:USB"
    plain = "\n".join(PCMS.splitlines()[:2])
    (tmp_path / "asound" / "pcm").write_text(plain)
    assert choose_device("loudspeaker", "default").name == "alsa:vc4hdmi0"


def test_a_configured_default_is_kept(tmp_path):
    plug_cards(tmp_path)
    (tmp_path / "asound.conf").write_text("pcm.!default { type hw card Headphones }")
    assert choose_device("loudspeaker").name == "default"


def test_an_absent_card_is_told_with_those_found(tmp_path):
    plug_cards(tmp_path)
    with pytest.raises(DeviceError, match=r"^no microphone alsa:Yeti; found: alsa:USB, alsa:USB,1$"):
        choose_device("microphone", "alsa:Yeti")


@pytest.mark.parametrize("name", ["3", "hw:1,0", "USB"])
def test_nothing_is_named_by_its_place_in_a_list(tmp_path, name):
    plug_cards(tmp_path)
    with pytest.raises(DeviceError, match="found: alsa:USB"):
        choose_device("microphone", name)


def test_not_in_the_group_audio(tmp_path, monkeypatch):
    (tmp_path / "snd").mkdir()
    (tmp_path / "snd" / "pcmC2D0c").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DeviceError, match="usermod -aG audio"):
        choose_device("microphone")


def test_a_machine_without_cards_forbids_nothing(tmp_path):
    (tmp_path / "snd").mkdir()
    (tmp_path / "snd" / "timer").touch()  # is there without a card, too
    with pytest.raises(DeviceError, match=r"^no microphone found; plug one in$"):
        choose_device("microphone")


def test_what_a_sound_server_has(monkeypatch):
    serve(monkeypatch, SOURCES, "alsa_input.usb-0d8c_USB-00.mono-fallback")
    device = choose_device("microphone")
    assert (device.name, device.rate_hz, device.channels) == ("pulse:alsa_input.usb-0d8c_USB-00.mono-fallback", 48_000, 1)
    assert device.description == "USB PnP Mono"
    array = choose_device("microphone", "pulse:alsa_input.usb-Array-00.multichannel")
    assert (array.description, array.rate_hz, array.channels) == ("Mic: Array", 16_000, 1)


@pytest.mark.parametrize("default", ["auto_null.monitor", "alsa_output.hdmi.monitor"])
def test_what_we_play_is_no_microphone(monkeypatch, default):
    serve(monkeypatch, SOURCES, default)
    assert choose_device("microphone").name == "pulse:alsa_input.usb-Array-00.multichannel"
    serve(monkeypatch, SOURCES[:2], default)
    with pytest.raises(DeviceError, match="no microphone found"):
        choose_device("microphone")
    assert choose_device("microphone", "pulse:alsa_output.hdmi.monitor").rate_hz == 48_000  # unless it is asked for


@pytest.mark.parametrize(
    ("more", "off"),
    [
        ("", False),
        ("\tFlags: HARDWARE HW_MUTE_CTRL LATENCY \n", True),
        ("\tMute: yes\n", True),
        ("\tVolume: front-left: 0 /   0% / -inf dB,   front-right: 0 /   0% / -inf dB\n", True),
        ("\tVolume: front-left: 0 /   0% / -inf dB,   front-right: 65536 / 100% / 0.00 dB\n", False),
        ('\tMute: no\n\tFlags: DECIBEL_VOLUME LATENCY \n\t\tdevice.master_device = "master"\n', False),
    ],
)
def test_zeros_mean_something_where_there_is_a_converter_or_a_mute(monkeypatch, more, off):
    source = SOURCE.format(5, "made", "Made by a program", "s16le 1ch 48000Hz").replace("\tProperties:", f"{more}\tProperties:")
    around = SOURCE.format(6, "around", "A canceller", "s16le 1ch 48000Hz") + '\t\tdevice.master_device = "made"\n'
    serve(monkeypatch, [source, around], "made")
    assert devices.must_sound("pulse:made") is off
    assert devices.must_sound("pulse:around") is off
    assert not devices.must_sound("pulse:absent")
    assert devices.must_sound("alsa:USB")


@pytest.mark.parametrize(
    ("name", "mixer"),
    [("alsa:USB,1", "(alsamixer -c USB)"), ("default", "(alsamixer)"), ("pulse:a.b", "(pactl set-source-mute a.b 0)")],
)
def test_a_mute_is_told_with_its_mend(name, mixer):
    error = devices.only_zeros(name)
    assert str(error).startswith(f"{name} gives nothing but zeros; switch it on")
    assert str(error).endswith(mixer)


def test_where_our_stream_leads(monkeypatch):
    entry = 'Source Output #{}\n\tSource: {}\n\tProperties:\n\t\tapplication.name = "{}"\n\t\tapplication.process.id = "{}"\n'
    streams = [(1, 2, "other", 77), (2, 4, "edge-assistant", 77), (3, 3, "edge-assistant", 78)]
    outputs = "\n".join(entry.format(*stream) for stream in streams)
    answers = {("list", "sources"): "\n".join(SOURCES), ("list", "source-outputs"): outputs}
    monkeypatch.setattr(pulse, "pactl", lambda *arguments: answers.get(arguments))
    assert pulse.find_attached(pulse.CAPTURE, 77) == "alsa_input.usb-0d8c_USB-00.mono-fallback"
    assert pulse.find_attached(pulse.CAPTURE, 79) == ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("Error opening InputStream: Device unavailable [PaErrorCode -9985]", "busy"),
        ("Unanticipated host error [PaErrorCode -9999]: 'Device or resource busy' [ALSA error -16]", "busy"),
        ("Unanticipated host error [PaErrorCode -9999]: 'Permission denied' [ALSA error -13]", "usermod -aG audio"),
        ("Unanticipated host error [PaErrorCode -9999]: 'Input/output error' [ALSA error -5]", "does not open"),
    ],
)
def test_faults_are_told_with_their_mend(fault, words):
    error = explain("alsa:USB", fault)
    assert words in str(error)
    assert error.what.startswith("alsa:USB")
    assert error.mend
