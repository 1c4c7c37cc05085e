import pytest

from edge_assistant import config


@pytest.fixture
def layers(tmp_path, monkeypatch):
    """The two files, not there yet, and an environment without settings."""
    system, user = tmp_path / "etc" / "config.toml", tmp_path / "home" / "edge-assistant" / "config.toml"
    system.parent.mkdir()
    user.parent.mkdir(parents=True)
    monkeypatch.setattr(config, "SYSTEM_FILE", system)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return system, user
