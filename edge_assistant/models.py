"""Finds a model by name."""

from pathlib import Path

from edge_assistant.errors import BundleError

_PACKAGE = Path(__file__).resolve().parent

SHIPPED: dict[str, tuple[Path, ...]] = {
    "pocket": (_PACKAGE / "assets" / "pocket", _PACKAGE.parent / "assets" / "pocket" / "bundle"),
}
"""Models that come with the program: where an installed package has them, and where a checkout does."""


def find_model(name: str) -> Path:
    """The folder of a bundle: of a shipped model by its name, or of any bundle by its path.

    Raises:
        BundleError: there is none.
    """
    for folder in SHIPPED.get(name, ()):
        if (folder / "manifest.json").is_file():
            return folder
    if name in SHIPPED:
        raise BundleError(f"the model {name} is not in this installation", "install edge-assistant again")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        shipped = ", ".join(SHIPPED)
        raise BundleError(f"no model {name}", f"name one that is shipped ({shipped}) or the folder of a bundle")
    return folder
