"""Finds a model by name: one that comes with the program, one that was installed, or the folder of a bundle."""

import re
from pathlib import Path

from edge_assistant.errors import BundleError, UsageError
from edge_assistant.places import data_folder

_PACKAGE = Path(__file__).resolve().parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

SHIPPED: dict[str, tuple[Path, ...]] = {
    "pocket": (_PACKAGE / "assets" / "pocket", _PACKAGE.parent / "assets" / "pocket" / "bundle"),
}
"""Models that come with the program: where an installed package has them, and where a checkout does."""

KNOWN = {
    "e2b": "google/gemma-4-E2B-it",
    "e4b": "google/gemma-4-E4B-it",
    "e2b-qat": "google/gemma-4-E2B-it-qat-q4_0-gguf",
    "e4b-qat": "google/gemma-4-E4B-it-qat-q4_0-gguf",
}
"""Names for what `edge-assistant models fetch` can get, and the repositories they stand for."""

DRAFTERS = {
    "google/gemma-4-E2B-it": "google/gemma-4-E2B-it-assistant",
    "google/gemma-4-E4B-it": "google/gemma-4-E4B-it-assistant",
}
"""The repositories of the assistants published with them; of the -qat ones none is known to us.
Source: https://ai.google.dev/gemma/docs/mtp/mtp."""


def models_folder() -> Path:
    """Where models are installed. May not exist yet."""
    return data_folder() / "models"


def installed_folder(name: str) -> Path:
    """Where the model of this name is, or would be, installed.

    Raises:
        UsageError: no model can be installed under this name.
    """
    if name in SHIPPED:
        raise UsageError(f"no model can be installed as {name}: one comes with the program", "take another name")
    if not _NAME.fullmatch(name):
        raise UsageError(f"no model can be installed as {name}", "use letters, digits, dots and dashes")
    return models_folder() / name


def installed() -> dict[str, Path]:
    """The installed models' folders by name; half-made ones are hidden and not among them."""
    folder = models_folder()
    return {path.name: path for path in sorted(folder.iterdir()) if path.name[0] != "."} if folder.is_dir() else {}


def find_model(name: str) -> Path:
    """The folder of a bundle: of a shipped or installed model by its name, or of any bundle by its path.

    Raises:
        BundleError: there is none.
    """
    for folder in SHIPPED.get(name, ()):
        if (folder / "manifest.json").is_file():
            return folder
    if name in SHIPPED:
        raise BundleError(f"the model {name} is not in this installation", "install edge-assistant again")
    names = installed()
    if name in names:
        return names[name]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name in KNOWN:
        raise BundleError(f"the model {name} is not installed", f"fetch it with `edge-assistant models fetch {name}`")
    there = ", ".join([*SHIPPED, *names])
    raise BundleError(f"no model {name}", f"name one that is here ({there}) or the folder of a bundle")
