"""The system prompt is prefilled once, and read from a file ever after."""

from pathlib import Path

from edge_assistant.brain import Brain
from edge_assistant.runtime import Prompting
from edge_assistant.runtimes.scripted import ScriptedSession


class Keeping(ScriptedSession):
    """A scripted session whose cache goes to a file and back."""

    def save_prefix(self, path: Path) -> None:
        path.write_text(self.text)

    def load_prefix(self, path: Path) -> bool:
        return path.exists()


def opened(system: bool, prefix: Path) -> str:
    """What the session was fed."""
    session = Keeping([], prompting=Prompting(system=system))
    Brain(session, "<|turn>system\nBe brief.<turn|>\n", prefix=prefix).open()
    return session.text


def test_the_second_start_feeds_nothing(tmp_path: Path):
    kept = tmp_path / "new" / "system.npz"
    first = opened(True, kept)
    assert "Be brief." in first
    assert kept.read_text() == first
    assert opened(True, kept) == ""


def test_a_model_without_a_system_turn_keeps_nothing(tmp_path: Path):
    kept = tmp_path / "system.npz"
    assert opened(False, kept) == "<bos>"
    assert not kept.exists()


def test_a_folder_that_cannot_be_written_costs_time_and_no_more(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "Be brief." in opened(True, tmp_path / "file" / "system.npz")
