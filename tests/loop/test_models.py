import pytest

from edge_assistant import models
from edge_assistant.errors import BundleError
from edge_assistant.models import find_model


def test_a_folder_is_its_own_name(tmp_path):
    assert find_model(str(tmp_path)) == tmp_path


def test_pocket_is_found_wherever_it_was_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", {"pocket": (tmp_path / "wheel", tmp_path / "checkout")})
    with pytest.raises(BundleError, match="not in this installation"):
        find_model("pocket")
    for name in ("checkout", "wheel"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
        assert find_model("pocket") == tmp_path / name


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(BundleError, match="pocket"):
        find_model("socket")
