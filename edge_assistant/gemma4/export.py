"""A checkpoint folder becomes a bundle: tensor by tensor, in bounded memory, all or nothing."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from edge_assistant.errors import BundleError, CheckpointError, UsageError
from edge_assistant.gemma4.bundle import MANIFEST, Bundle, Drafter, Manifest, Quantisation, seal
from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.config import Config
from edge_assistant.gemma4.decoder import EMBEDDING, PLE, build_lower, build_upper
from edge_assistant.gemma4.drafter import DrafterConfig, build_drafter
from edge_assistant.gemma4.encoder import build_encoder
from edge_assistant.gemma4.finished import Finished
from edge_assistant.gemma4.folder import appearing, resuming
from edge_assistant.gemma4.gguf import opened
from edge_assistant.gemma4.graph import Advance, Weights
from edge_assistant.gemma4.tables import TableShape, write_table
from edge_assistant.gemma4.tokens import Tokens
from edge_assistant.runtime import Prompting

_MATRIX_BITS = (4, 8, None)
_TABLE_BITS = (4, 8, 32)
_BLOCKS = (16, 32, 64, 128, 256)
_CACHE_BITS = (8, 32)
_UNREAD = ("vision_config", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True, slots=True)
class Making:
    """How a bundle is built."""

    quantisation: Quantisation = field(default_factory=lambda: Quantisation(4, 8, 32, 8))
    table_bits: int = 8
    prompting: Prompting = field(default_factory=Prompting)

    def options(self) -> dict[str, Any]:
        """As `export` takes them."""
        q = self.quantisation
        return {
            "decoder_bits": q.decoder_bits,
            "encoder_bits": q.encoder_bits,
            "block": q.block,
            "cache_bits": q.cache_bits,
            "table_bits": self.table_bits,
            "prompting": self.prompting,
        }


def export(
    checkpoint: Path | Checkpoint,
    bundle: Path,
    *,
    decoder_bits: int | None = 4,
    encoder_bits: int | None = 8,
    block: int = 32,
    cache_bits: int | None = None,
    table_bits: int = 8,
    prompting: Prompting | None = None,
    blocks: Blocks | None = None,
    drafter: Path | Checkpoint | None = None,
    resume: str = "",
    progress: bool = True,
) -> Bundle:
    """Make a bundle of a Gemma 4 checkpoint that hears.

    `checkpoint`: its folder, its GGUF file with the projector's beside it, or its tensors opened; what lies quantised in a GGUF
    file keeps its codes and scales. The bundle appears under its name only when it is whole. `decoder_bits` and `encoder_bits`:
    4, 8, or None for float32; `table_bits`: 4, 8 or 32; `block`: weights that share a scale; `cache_bits`: of keys and values, 8
    or 32, None for what suits the weights. `drafter`: the checkpoint of the assistant that was published with the model, in the
    decoder's bits. `resume` names exactly these tensors (see `fingerprint`): what a run of the same name and settings had
    finished when it was killed or interrupted is kept; "" starts afresh. `progress` shows a bar on stderr where it is a terminal.
    Raises CheckpointError when the checkpoint cannot become a bundle, UsageError when the name is taken.
    """
    if cache_bits is None:
        cache_bits = default_cache_bits(decoder_bits)
    if (
        decoder_bits not in _MATRIX_BITS
        or encoder_bits not in _MATRIX_BITS
        or table_bits not in _TABLE_BITS
        or block not in _BLOCKS
        or cache_bits not in _CACHE_BITS
    ):
        raise UsageError(
            f"cannot quantise to {decoder_bits}, {encoder_bits} and {table_bits} bits in blocks of {block}, cache {cache_bits}",
            "decoder and encoder take 4, 8 or none, tables 4, 8 or 32, blocks 16, 32, 64, 128 or 256, the cache 8 or 32",
        )
    with resuming(bundle) if resume else appearing(bundle) as part:
        quantisation = Quantisation(decoder_bits, encoder_bits, block, cache_bits)
        work = _Export(checkpoint, quantisation, table_bits, prompting, blocks or default_blocks(cache_bits), drafter=drafter)
        with _bar(progress, work.weights) as advance:
            work.write(part, resume, advance)
    return Bundle.open(bundle)


def default_cache_bits(decoder_bits: int | None) -> int:
    """Where weights have 4 bits, keys and values in 8 lose less than they did, and are what a long conversation waits for."""
    return 8 if decoder_bits == 4 else 32


def default_blocks(cache_bits: int) -> Blocks:
    """The fastest ones."""
    return Blocks(sliding=128) if cache_bits == 8 else Blocks()


def bundle_bytes(config: Config, quantisation: Quantisation, table_bits: int, drafter: DrafterConfig | None = None) -> int:
    """Room that a bundle takes, rounded up: told before there are weights."""
    text, block = config.text, quantisation.block
    decoder, table, encoder = _weights(config)

    def size(weights: int, bits: int | None, group: int) -> int:
        return weights * 4 if bits in (None, 32) else weights * bits // 8 + weights * 4 // group

    graphs = size(decoder + text.vocab * text.hidden, quantisation.decoder_bits, block)
    graphs += size(encoder, quantisation.encoder_bits, block)
    if drafter:
        graphs += size(drafter.weights, quantisation.decoder_bits and 8, block)
    # norms, convolutions, graphs and the tokenizer are a tenth and a little at most
    return (graphs + size(table, table_bits, 64)) * 11 // 10 + (32 << 20)


def _weights(config: Config) -> tuple[int, int, int]:
    """Of the decoder's layers, of the tables and of the encoder, about."""
    text, audio = config.text, config.audio
    decoder = sum(3 * text.hidden * layer.mlp + 2 * text.heads * layer.head_dim * text.hidden for layer in text.layers)
    return decoder, text.vocab * text.hidden + text.ple_vocab * text.ple * len(text.layers), audio.layers * 23 * audio.hidden**2


class _Export:
    """One run, checked before anything is written."""

    def __init__(
        self,
        checkpoint: Path | Checkpoint,
        quantisation: Quantisation,
        table_bits: int,
        prompting: Prompting | None,
        blocks: Blocks,
        *,
        drafter: Path | Checkpoint | None,
    ) -> None:
        self.checkpoint = opened(checkpoint) if isinstance(checkpoint, Path) else checkpoint
        self.quantisation, self.prompting, self.blocks = quantisation, prompting or Prompting(), blocks
        self.model, self.features = self.checkpoint.config(), self.checkpoint.features()
        self.config = Config.parse(self.model, self.features)
        self.drafter = Checkpoint(drafter) if isinstance(drafter, Path) else drafter
        self.drafter_model = self.drafter.config() if self.drafter else {}
        self.drafter_config = DrafterConfig.parse(self.drafter_model, self.config.text) if self.drafter else None
        self.tokenizer, self.template = self.checkpoint.tokenizer(), self.checkpoint.template()
        try:
            self.tokens = Tokens(self.checkpoint.folder / "tokenizer.json", self.tokenizer)
        except BundleError as fault:
            raise CheckpointError(fault.what, "give the folder of a complete Gemma 4 checkpoint") from fault
        self.embed = self._table(EMBEDDING, self.config.text.vocab, self.config.text.hidden, table_bits)
        text = self.config.text
        self.ple = self._table(PLE, text.ple_vocab, len(text.layers) * text.ple, table_bits) if text.ple else None

    @property
    def weights(self) -> int:
        """How many weights there are to read, about."""
        drafter = self.drafter_config.weights if self.drafter_config else 0
        return sum(_weights(self.config)) + self.config.text.vocab * self.config.text.hidden + drafter

    def _table(self, name: str, rows: int, width: int, bits: int) -> TableShape:
        if self.checkpoint.shape(name) != (rows, width):
            raise CheckpointError(
                f"{name} has shape {list(self.checkpoint.shape(name))}, not [{rows}, {width}] as config.json says"
            )
        if own := self.checkpoint.quantised(name):
            return TableShape(rows, width, own.format.bits, own.format.block)
        return TableShape(rows, width, bits)

    def write(self, part: Path, resume: str, advance: Advance) -> None:
        """Every file of the bundle that is not finished, the manifest last."""
        manifest = Manifest(
            source=self.checkpoint.name,
            maker=f"edge-assistant {version('edge-assistant')}",
            model=_read(self.model),
            features={key: value for key, value in self.features.items() if key not in ("mel_filters", "window")},
            prompting=self.prompting,
            quantisation=self.quantisation,
            blocks=self.blocks,
            embed=self.embed,
            ple=self.ple,
            files={},
            drafter=Drafter(self.drafter.name, _read(self.drafter_model)) if self.drafter else None,
        )
        finished = Finished(part, resume + manifest.to_json())
        for names, make in self._steps(part, advance):
            if names not in finished:
                make()
                finished.add(*names)
        files = dict(sorted(finished.files.items()))
        (part / MANIFEST).write_text(replace(manifest, files=files).to_json(), encoding="utf-8")
        seal(part)
        finished.close()

    def _steps(self, part: Path, advance: Advance) -> Iterator[tuple[tuple[str, ...], Callable[[], object]]]:
        """The files that are made together, and what makes them."""
        q, embed, ple, drafter = self.quantisation, self.embed, self.ple, self.drafter_config
        lower, upper = (partial(build, bits=q.cache_bits, drafted=drafter is not None) for build in (build_lower, build_upper))
        graphs: list[tuple[str, int | None, Callable[[Weights, Path], None]]] = [
            ("encoder", q.encoder_bits, lambda w, p: build_encoder(self.config, w, p)),
            ("lower", q.decoder_bits, lambda w, p: lower(self.config, self.blocks, w, p)),
            ("upper", q.decoder_bits, lambda w, p: upper(self.config, self.blocks, w, p)),
        ]
        for name, bits, build in graphs:
            weights = partial(Weights, part / f"{name}.bin", self.checkpoint, bits, q.block, advance)
            yield (f"{name}.onnx", f"{name}.bin"), partial(_graph, weights, build, part / f"{name}.onnx")
        if drafter and self.drafter:
            weights = partial(Weights, part / "drafter.bin", self.drafter, q.decoder_bits, q.block, advance)
            make = partial(build_drafter, drafter, self.blocks, q.cache_bits)
            yield ("drafter.onnx", "drafter.bin"), partial(_graph, weights, make, part / "drafter.onnx")
        yield ("embed.bin",), partial(self._write_table, part, EMBEDDING, "embed.bin", embed, advance)
        if ple:
            yield ("ple.bin",), partial(self._write_table, part, PLE, "ple.bin", ple, advance)
        yield ("tokenizer.json",), lambda: (part / "tokenizer.json").write_bytes(self.tokenizer)
        if (template := self.template) is not None:
            yield ("chat_template.jinja",), lambda: (part / "chat_template.jinja").write_text(template, encoding="utf-8")

    def _write_table(self, part: Path, tensor: str, name: str, shape: TableShape, advance: Advance) -> None:
        source = self.checkpoint.quantised(tensor) or self.checkpoint.rows(tensor)
        write_table(part / name, shape, tensor, source, advance)


def _graph(opened: Callable[[], Weights], build: Callable[[Weights, Path], None], path: Path) -> None:
    weights = opened()
    try:
        build(weights, path)
    finally:
        weights.close()


def _read(model: dict[str, Any]) -> dict[str, Any]:
    """What a program here may read of a `config.json`."""
    return {key: value for key, value in model.items() if key not in _UNREAD}


@contextmanager
def _bar(wanted: bool, weights: int) -> Generator[Advance]:
    """A progress bar on stderr, where that is a terminal."""
    shown = wanted and sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as progress:
        task = progress.add_task("exporting", total=weights)
        yield lambda count: progress.advance(task, count)
