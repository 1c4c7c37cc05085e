"""A bundle: one folder with everything a model needs at run time, and a manifest that can tell whether it is whole.

manifest.json    format, source, the checkpoint's own settings and the drafter's, prompting, quantisation, size and hash of files
manifest.sha256  of the manifest itself, as `sha256sum --check` reads it; bundles of before have none
encoder.onnx/.bin  lower.onnx/.bin  upper.onnx/.bin  embed.bin  ple.bin  tokenizer.json
drafter.onnx/.bin     where there is one
chat_template.jinja   the publisher's, where there was one, to compare with; nothing reads it
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from edge_assistant.errors import BundleError, CheckpointError
from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.config import Config
from edge_assistant.gemma4.drafter import DrafterConfig
from edge_assistant.gemma4.tables import TableShape
from edge_assistant.runtime import Prompting

FORMAT, DRAFTED, CODED = 1, 2, 3
"""Of the manifest and everything it names; another number is another format. The second has a drafter, which its graphs know;
the third a cache in 8 bits, and may have a drafter."""
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
_SMALL_BYTES = 64 << 20
"""Bundles up to this size are hashed at every opening."""
_AGAIN = "make the bundle again: `edge-assistant models fetch`, `models build` or `export`"


@dataclass(frozen=True, slots=True)
class Quantisation:
    """Bits of each part; None is float32."""

    decoder_bits: int | None
    encoder_bits: int | None
    block: int
    """Weights that share a scale."""
    cache_bits: int = 32
    """Of keys and values: 8, or 32 for float32. Bundles of before do not say."""

    def __post_init__(self) -> None:
        if self.cache_bits not in (8, 32):
            raise ValueError(f"no cache has {self.cache_bits} bits")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a file must be."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Drafter:
    """What a bundle says about its drafter."""

    source: str
    """Name of the checkpoint it was made from."""
    model: dict[str, Any]
    """That one's `config.json`, without what nobody here reads."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself."""

    source: str
    """Name of the checkpoint it was made from."""
    maker: str
    """Name and version of the program that made it."""
    model: dict[str, Any]
    """The checkpoint's `config.json`, without what nobody here reads."""
    features: dict[str, Any]
    """The checkpoint's feature extractor settings."""
    prompting: Prompting
    quantisation: Quantisation
    blocks: Blocks
    embed: TableShape
    ple: TableShape | None
    files: dict[str, FileEntry]
    drafter: Drafter | None = None

    def to_json(self) -> str:
        coded = self.quantisation.cache_bits != 32  # a bundle without is written as before there was such a thing
        values: dict[str, Any] = {"format": CODED if coded else DRAFTED if self.drafter else FORMAT, **asdict(self)}
        if not self.drafter:
            del values["drafter"]
        if not coded:
            del values["quantisation"]["cache_bits"]
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: Path) -> "Manifest":
        """Raises BundleError for another version or a manifest that is not one."""
        try:
            raw: Any = json.loads(text)
            found = raw["format"]
        except (ValueError, KeyError, TypeError) as fault:
            raise BundleError(f"{where} is not a manifest", _AGAIN) from fault
        if found not in (FORMAT, DRAFTED, CODED):
            raise BundleError(f"{where} is of format {found}, this program reads formats {FORMAT} to {CODED}", _AGAIN)
        try:
            values = cast(dict[str, Any], raw)
            return cls(
                source=str(values["source"]),
                maker=str(values["maker"]),
                model=dict(values["model"]),
                features=dict(values["features"]),
                prompting=Prompting(**values["prompting"]),
                quantisation=Quantisation(**values["quantisation"]),
                blocks=Blocks(**values["blocks"]),
                embed=TableShape(**values["embed"]),
                ple=None if values["ple"] is None else TableShape(**values["ple"]),
                files={name: FileEntry(**entry) for name, entry in cast(Mapping[str, Any], values["files"]).items()},
                drafter=Drafter(**values["drafter"]) if found == DRAFTED or (found == CODED and "drafter" in values) else None,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as fault:
            raise BundleError(f"{where} is incomplete: {fault!r}", _AGAIN) from fault


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle found whole."""

    folder: Path
    manifest: Manifest
    config: Config
    drafter: DrafterConfig | None
    identity: str
    """SHA-256 of the manifest, and through it of every file."""

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Read the manifest and check every file's size; the hashes too when the bundle is small.

        Raises BundleError: absent, of another version, a file missing, cut short or altered.
        """
        content = _read(folder)
        path = folder / MANIFEST
        manifest = Manifest.from_json(content.decode("utf-8", "replace"), path)
        try:
            config = Config.parse(manifest.model, manifest.features)
            drafter = DrafterConfig.parse(manifest.drafter.model, config.text) if manifest.drafter else None
        except CheckpointError as fault:
            raise BundleError(f"{path} describes no model that can run: {fault}", _AGAIN) from fault
        bundle = cls(folder, manifest, config, drafter, hashlib.sha256(content).hexdigest())
        bundle.check_sizes()
        if sum(entry.bytes for entry in manifest.files.values()) <= _SMALL_BYTES:
            bundle.verify()
        return bundle

    @staticmethod
    def read_manifest(folder: Path) -> Manifest:
        """Only that. Raises BundleError."""
        return Manifest.from_json(_read(folder).decode("utf-8", "replace"), folder / MANIFEST)

    def path(self, name: str) -> Path:
        return self.folder / name

    def check_sizes(self) -> None:
        """Fast: nothing is read. Raises BundleError."""
        for name, entry in self.manifest.files.items():
            path = self.path(name)
            if not path.is_file():
                raise BundleError(f"{path} is missing", _AGAIN)
            if path.stat().st_size != entry.bytes:
                raise BundleError(
                    f"{path} has {path.stat().st_size} bytes, not {entry.bytes}: it is cut short or altered", _AGAIN
                )

    def verify(self) -> None:
        """Read every file and compare its hash, the manifest's own too. Raises BundleError."""
        self.check_sizes()
        path = self.path(SEAL)
        if path.exists() and path.read_bytes() != _seal(self.path(MANIFEST)):
            raise BundleError(f"{self.path(MANIFEST)} was altered: its SHA-256 is not the one in {SEAL}", _AGAIN)
        for name, entry in self.manifest.files.items():
            if sha256(self.path(name)) != entry.sha256:
                raise BundleError(f"{self.path(name)} was altered: its SHA-256 is not the manifest's", _AGAIN)


def _read(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError as fault:
        raise BundleError(f"{folder} holds no bundle: {fault.strerror}", "name the folder of a bundle, or export one") from fault


def seal(folder: Path) -> None:
    """Write down the manifest's hash: no byte of a bundle can change without a trace."""
    (folder / SEAL).write_bytes(_seal(folder / MANIFEST))


def _seal(manifest: Path) -> bytes:
    return f"{sha256(manifest)}  {manifest.name}\n".encode()


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
