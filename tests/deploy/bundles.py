"""make-bundle as a module, keys, and seals."""

import importlib.util
import subprocess
import sys
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy-pi"


def load(path):
    name = path.name.replace("-", "_")
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


make_bundle = load(DEPLOY / "make-bundle")


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def this_machine():
    """Suite, architecture and Python of the system's own `python3`."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = subprocess.run(["python3", "-c", show], capture_output=True, text=True, check=True).stdout.strip()
    return make_bundle.Target(release.get("VERSION_CODENAME", "unknown").strip('"'), python, 36, machine)


def reseal(bundle, key):
    """List and sign again: what its owner may do."""
    for old in bundle.glob("SHA256SUMS*"):
        old.unlink()
    make_bundle.seal(bundle, key, None)
    return bundle


PROGRAM = """\
import pathlib, sys

def main():
    match sys.argv[1:]:
        case ["--version"]:
            print("edge-assistant 0.1.0")
        case ["config", "default"]:
            print("# settings")
        case ["config", "check", file]:
            sys.exit(f"{file}:1: wrong" if "wrong" in pathlib.Path(file).read_text() else 0)
        case _:
            sys.exit("unknown")
"""


def write_wheel(folder, program):
    """A wheel of the program's name."""
    about = "edge_assistant-0.1.0.dist-info"
    files = {
        "edge_assistant/cli.py": program,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: edge-assistant\nVersion: 0.1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\nedge-assistant = edge_assistant.cli:main\n",
    }
    with zipfile.ZipFile(folder / "edge_assistant-0.1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"]))
