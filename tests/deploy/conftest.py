"""A bundle for this machine, made by make-bundle's own steps; its program says its version and its settings, and no more.

The real program in a real bundle: `make prove-arm64`.
"""

import ensurepip
import shutil
from pathlib import Path

import pytest
from bundles import PROGRAM, make_bundle, make_key, reseal, this_machine, write_wheel


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("keys") / "mine")


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """Everything but the seal."""
    part = tmp_path_factory.mktemp("bundle") / "parts"
    wheels = part / "wheels"
    wheels.mkdir(parents=True)
    write_wheel(wheels, PROGRAM)
    shutil.copy2(next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")), wheels)
    make_bundle.write_requirements(wheels)
    (part / "debs").mkdir()
    (part / "debs" / "libvoice1_1.0_arm64.deb").write_bytes(b"!<arch>\n")
    (part / "models" / "tiny").mkdir(parents=True)
    (part / "models" / "tiny" / "manifest.json").write_text("{}\n")
    make_bundle.copy_parts(part)
    make_bundle.write_manifest(part, this_machine(), "0.1.0", ["libvoice1"])
    return part


@pytest.fixture(scope="session")
def pristine(parts, key, tmp_path_factory):
    """A sealed bundle that no test may alter."""
    bundle = tmp_path_factory.mktemp("stick") / "edge-assistant"
    shutil.copytree(parts, bundle)
    return reseal(bundle, key)


@pytest.fixture
def bundle(pristine, tmp_path):
    """A sealed bundle of one's own."""
    return Path(shutil.copytree(pristine, tmp_path / "stick" / "edge-assistant"))


@pytest.fixture
def board(tmp_path):
    """The root of a file system that has seen other things."""
    root = tmp_path / "board"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "hostname").write_text("boat\n")
    return root
