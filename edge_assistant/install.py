"""Installs models: fetched or found in a folder, built, verified, and only then under their name.

models/e2b           a whole bundle
models/.e2b.fetch/   its checkpoint while it is fetched: files appear one by one, each whole
models/.e2b.part/    the bundle while it is built (see `gemma4.finished`)
"""

import errno
import shutil
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edge_assistant.errors import CheckpointError, EdgeAssistantError, FetchError, StorageError, UsageError
from edge_assistant.gemma4.adapter import adapted
from edge_assistant.gemma4.bundle import MANIFEST, SEAL, Bundle, sha256
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.config import Config, Fields, read_features, read_json
from edge_assistant.gemma4.drafter import DrafterConfig, check_kind
from edge_assistant.gemma4.export import Making, bundle_bytes, export
from edge_assistant.gemma4.finished import fingerprint
from edge_assistant.gemma4.folder import check_free, resuming, unfinished
from edge_assistant.gemma4.gguf import CHECKPOINT, SUFFIX, opened
from edge_assistant.models import KNOWN, SHIPPED, find_model, installed_folder
from edge_assistant.runtimes.prepared import is_prepared, prepare, prepared_bytes, prepared_folder

if TYPE_CHECKING:
    from edge_assistant.hub import Listing

_Choose = Callable[[Path, list[str], str], list[str]]
"""(folder with the settings, files that are there, repository) to the files of weights."""
_CONFIG = "config.json"
_SETTINGS = (_CONFIG, "processor_config.json", "preprocessor_config.json", "tokenizer.json", "chat_template.jinja")
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_MARGIN_BYTES = 256 << 20
"""Left free for everybody else."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of a repository whose settings are here, and where they go."""

    listing: "Listing"
    names: list[str]
    folder: Path

    @property
    def sizes(self) -> list[int]:
        return [file.bytes for file in self.listing.files if file.name in self.names]


def fetch(
    model: str, name: str, making: Making, *, revision: str | None = None, keep: bool = False, drafter: Path | str | None = None
) -> Bundle:
    """Fetch a known model or a repository from the hub, build it and verify it. `keep` keeps what was fetched.

    `drafter`: the folder of the model's assistant checkpoint, or the repository to fetch it from, too.

    Raises FetchError, CheckpointError, StorageError or UsageError; what arrived whole waits for the next try.
    """
    from edge_assistant import hub  # noqa: PLC0415 nothing but this may load what opens connections

    repository = KNOWN.get(model, model)
    if "/" not in repository:
        raise UsageError(f"no model is known as {model}", f"known are {', '.join(KNOWN)}; any other is OWNER/NAME of the hub")
    target = installed_folder(name)
    folder = fetched(target) / repository.rpartition("/")[2]
    progress = sys.stderr.isatty()

    def begin(repository: str, revision: str | None, folder: Path, choose: _Choose, *settings: str) -> _Weights:
        listing = hub.listing(repository, revision)
        folder.mkdir(parents=True, exist_ok=True)
        hub.keep_listed(listing, folder)
        there = [file.name for file in listing.files]
        hub.download(listing, [file for file in settings if file in there], folder, progress=progress)
        return _Weights(listing, choose(folder, there, repository), folder)

    with _storing(target.parent):
        check_free(target)
        here: list[int] = []
        if isinstance(drafter, Path):
            _check_drafter(drafter)
            here = _sizes(drafter)
        parts = [begin(repository, revision, folder, _weight_files, *_SETTINGS, _INDEX)]
        if isinstance(drafter, str):
            # by its whole name: no two repositories share a folder
            drafter, theirs = fetched(target) / "drafter" / drafter, drafter
            parts.append(begin(theirs, None, drafter, _drafter_files, _CONFIG, _INDEX))
        if parts[0].names[0].endswith(SUFFIX):
            room = _quantised_room([*(size for part in parts for size in part.sizes), *here])
        else:
            room = _room(folder, making, drafter)
        need = sum(hub.missing(part.listing, part.names, part.folder) for part in parts)
        what = " and ".join(part.listing.repository for part in parts)
        _check_space(target.parent, need, room, f"fetch {what}")
        for part in reversed(parts):  # the drafter first: it is small
            hub.download(part.listing, part.names, part.folder, progress=progress)
    bundle = build(folder, name, making, drafter=drafter)
    if not keep:
        shutil.rmtree(fetched(target))
    return bundle


def take(source: Path, name: str, making: Making, drafter: Path | None = None) -> Bundle:
    """Install what a folder or a stick holds, with no network: a bundle is copied, a checkpoint is built.

    It may lie in the folder itself or in one of it that has the model's name. Raises as `fetch` does.
    """
    source = source.expanduser()
    if source.is_file():
        return build(source, name, making, drafter=drafter)
    names = [".", name, KNOWN.get(name, name).rpartition("/")[2]]
    for folder in (source / each for each in names):
        if (folder / MANIFEST).is_file():
            if drafter:
                raise UsageError(f"{folder} is a bundle, and --drafter is for one that is built", "name the checkpoint")
            return _copy(folder, name)
        if (folder / "config.json").is_file() or any(folder.glob(f"*{SUFFIX}")):
            return build(folder, name, making, drafter=drafter)
    raise FetchError(
        f"{source} holds neither a bundle nor a checkpoint, nor has it a folder {names[2]}",
        "name the folder with manifest.json, or with config.json and *.safetensors, or with a pair of GGUF files",
    )


def build(checkpoint: Path, name: str, making: Making, adapter: Path | None = None, drafter: Path | None = None) -> Bundle:
    """Build a checkpoint into an installed model and verify it; goes on where a killed run was.

    `checkpoint`: a folder of safetensors or with a pair of GGUF files, or the decoder's GGUF file. `adapter`: the folder of a
    LoRA adapter to merge in. `drafter`: the folder of the model's assistant checkpoint.
    Raises CheckpointError, StorageError or UsageError.
    """
    target = installed_folder(name)
    with _storing(target.parent):
        check_free(target)
        if drafter:
            _check_drafter(drafter)
        checkpoint = _found(checkpoint)
        room = _room(checkpoint, making, drafter) - _used(unfinished(target))
        # opened before the space is told of: what is no model takes none
        source = adapted(checkpoint, adapter) if adapter else opened(checkpoint)
        assistant = Checkpoint(drafter) if drafter else None
        _check_space(target.parent, 0, max(0, room), f"build {name}")
        mark = fingerprint(checkpoint if checkpoint.is_dir() else checkpoint.parent) + checkpoint.name
        if adapter:
            mark += fingerprint(adapter)
        if drafter:
            mark += fingerprint(drafter)
        bundle = export(source, target, drafter=assistant, resume=mark, **making.options())
        bundle.verify()
    return bundle


def pack(name: str) -> Path:
    """Pack a model's weights for this processor, so that they are mapped at every start; returns their folder.

    Raises BundleError, StorageError or UsageError.
    """
    bundle = Bundle.open(find_model(name))
    target = prepared_folder(bundle.identity)
    if not is_prepared(bundle, target):
        with _storing(target.parent):
            _check_space(target.parent, 0, prepared_bytes(bundle), f"prepare {name}", "the packed weights")
            if target.exists():
                shutil.rmtree(target)  # of another processor, or of another onnxruntime
            prepare(bundle.folder, target)
    return target


def remove(name: str) -> list[Path]:
    """Remove an installed model, its packed weights and what is left of unfinished tries; returns what was removed.

    Raises UsageError.
    """
    if name in SHIPPED:
        raise UsageError(f"{name} comes with the program and cannot be removed", "`edge-assistant models list` says what can be")
    target = installed_folder(name)
    folders = [target, unfinished(target), fetched(target)]
    if (target / MANIFEST).is_file():
        folders.append(prepared_folder(sha256(target / MANIFEST)))
    gone = [folder for folder in folders if folder.is_dir()]
    if not gone:
        raise UsageError(f"no model {name} is installed", "see `edge-assistant models list`")
    with _storing(target.parent):
        for folder in gone:
            # out of the way in one step: half a bundle is never under the name
            doomed = folder.rename(folder.with_name(f".{name}.removed")) if folder == target else folder
            shutil.rmtree(doomed)
    return gone


def fetched(target: Path) -> Path:
    """Where a model's checkpoint is fetched to."""
    return target.parent / f".{target.name}.fetch"


def _found(checkpoint: Path) -> Path:
    """A folder with a pair of GGUF files stands for the decoder's. Raises CheckpointError."""
    if not checkpoint.exists():
        raise CheckpointError(f"{checkpoint} does not exist", CHECKPOINT)
    if any(checkpoint.glob("*.safetensors")) or not (files := sorted(path.name for path in checkpoint.glob(f"*{SUFFIX}"))):
        return checkpoint
    return checkpoint / _pair(files, str(checkpoint))[0]


def _pair(files: list[str], where: str) -> list[str]:
    """Of all GGUF files, the decoder's in 4 bits and the projector's. Raises CheckpointError."""
    projectors = sorted(file for file in files if "mmproj" in file.lower())
    decoders = sorted(set(files) - set(projectors))
    if len(decoders) > 1:
        decoders = [file for file in decoders if "q4_0" in file.lower()]
    if len(decoders) != 1 or not projectors:
        raise CheckpointError(
            f"{where} holds no pair of GGUF files: a decoder in Q4_0 and its projector (mmproj)",
            "name the decoder's file, its projector beside it: edge-assistant models build FILE --name NAME",
        )
    return [*decoders, projectors[0]]


def _weight_files(folder: Path, there: list[str], repository: str) -> list[str]:
    """Which files hold the weights; refuses before they are fetched what could not be built afterwards."""
    files = [file for file in there if file.endswith(SUFFIX)]
    if files and not any(file.endswith(".safetensors") for file in there):
        if find_spec("gguf") is None:
            raise CheckpointError("reading GGUF files needs the package gguf", "install it: pip install 'edge-assistant[gguf]'")
        return _pair(files, repository)
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{repository} holds no config.json", "name the repository of a Gemma 4 checkpoint")
    Config.parse(read_json(folder / "config.json"), read_features(folder))
    return _shards(folder, there, repository, "tokenizer.json")


def _drafter_files(folder: Path, there: list[str], repository: str) -> list[str]:
    """Which files hold a drafter's weights; refuses what is none before they are fetched."""
    if not (folder / _CONFIG).exists():
        raise CheckpointError(f"{repository} holds no {_CONFIG}", "name the repository of the model's assistant checkpoint")
    check_kind(Fields(read_json(folder / _CONFIG), f"{_CONFIG} of {repository}"))
    return _shards(folder, there, repository)


def _shards(folder: Path, there: list[str], repository: str, *others: str) -> list[str]:
    """The files of safetensors. Raises CheckpointError when one of them, or another that is needed, is not in the repository."""
    weights = [_SINGLE]
    if (folder / _INDEX).exists():
        shards: dict[str, str] = read_json(folder / _INDEX).get("weight_map", {})
        weights = sorted(set(shards.values()))
    absent = [file for file in (*others, *weights) if file not in there]
    if absent:
        raise CheckpointError(f"{repository} holds no {absent[0]}", "name the repository of a whole Gemma 4 checkpoint")
    return weights


def _check_drafter(folder: Path) -> None:
    """Raises CheckpointError."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder", "give the folder of the model's assistant checkpoint")


def _copy(folder: Path, name: str) -> Bundle:
    source = Bundle.open(folder)
    target = installed_folder(name)
    files = {**source.manifest.files}
    with _storing(target.parent):
        check_free(target)
        _check_space(target.parent, 0, sum(entry.bytes for entry in files.values()), f"copy {name}")
        with resuming(target) as part:
            for file, entry in files.items():
                copy = part / file
                if not (copy.is_file() and copy.stat().st_size == entry.bytes and sha256(copy) == entry.sha256):
                    shutil.copyfile(source.path(file), copy)
            for file in (MANIFEST, SEAL):
                if source.path(file).exists():
                    shutil.copyfile(source.path(file), part / file)
            for path in part.iterdir():
                if path.name not in (*files, MANIFEST, SEAL):
                    path.unlink()
            Bundle.open(part).verify()
    return Bundle.open(target)


def _quantised_room(sizes: Iterable[int]) -> int:
    """The same codes, scales twice as wide, the tied head a second time: never twice as large. Nor is a drafter of 16 bits."""
    return 2 * sum(sizes)


def _sizes(folder: Path | None, suffix: str = ".safetensors") -> list[int]:
    return [path.stat().st_size for path in folder.glob(f"*{suffix}")] if folder else []


def _room(checkpoint: Path, making: Making, drafter: Path | None) -> int:
    if checkpoint.is_file():
        return _quantised_room([*_sizes(checkpoint.parent, SUFFIX), *_sizes(drafter)])
    config = Config.parse(read_json(checkpoint / "config.json"), read_features(checkpoint))
    drafts = DrafterConfig.parse(read_json(drafter / "config.json"), config.text) if drafter else None
    return bundle_bytes(config, making.quantisation, making.table_bits, drafts)


def _check_space(folder: Path, fetch_bytes: int, build_bytes: int, what: str, product: str = "the bundle") -> None:
    """Say what is needed, and refuse before the first byte if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    free, need = shutil.disk_usage(folder).free, fetch_bytes + build_bytes + _MARGIN_BYTES
    parts = [f"{size(fetch_bytes)} to fetch"] * (fetch_bytes > 0) + [f"{size(build_bytes)} for {product}"]
    told = f"to {what} takes {' and '.join(parts)}; {size(free)} are free in {folder}"
    if free < need:
        raise StorageError(f"no room {told}", f"free {size(need - free)}, or set XDG_DATA_HOME to a folder on a larger disk")
    print(f"edge-assistant: {told}", file=sys.stderr)


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


@contextmanager
def _storing(folder: Path) -> Generator[None]:
    """A disk that is full or cannot be written, in one line."""
    try:
        yield
    except EdgeAssistantError:
        raise
    except OSError as fault:
        what = f"{fault.filename or folder}: {fault.strerror or fault}"
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(what, "free some room and run the same command again") from fault
        raise StorageError(what, "see that the folder can be written, or set XDG_DATA_HOME to another") from fault
