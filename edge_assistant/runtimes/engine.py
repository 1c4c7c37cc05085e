"""onnxruntime sessions over a bundle's graphs, fed with views of memory that stays where it is."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import BundleError
from edge_assistant.gemma4.cache import Cache
from edge_assistant.gemma4.clip import State
from edge_assistant.gemma4.config import KINDS, TextConfig
from edge_assistant.gemma4.encoder import FRAMES_PER_TOKEN

Array = NDArray[np.float32]
_ort: Any = importlib.import_module("onnxruntime")  # it carries no types


@dataclass(frozen=True, slots=True)
class Threads:
    """How onnxruntime may use the processor.

    Each graph has its own pool, and one works at a time. (A pool for the whole process exists too, but with it onnxruntime
    refuses every session that has its own, the voice detector's among them.)
    """

    count: int = 1
    """Threads of a graph, the caller's included."""
    spin: bool = False
    """Wait for work in a loop: faster with two threads and more, at the price of a busy processor while a graph runs."""
    cores: tuple[int, ...] = ()
    """Logical processors, by Linux's numbers from 0, that the threads beside the caller's are tied to, one each; () ties none."""


def open_graph(path: Path, threads: Threads, packed: Path | None = None) -> Any:
    """A session over one graph. Raises BundleError when onnxruntime refuses it.

    With `packed`, a graph is written there whose weights lie as this processor's kernels want them.
    """
    options = _ort.SessionOptions()
    options.intra_op_num_threads = threads.count
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    settings = {
        "session.intra_op.allow_spinning": "1" if threads.spin else "0",
        "session.force_spinning_stop": "1",
        # the fusion would turn the block transposes of the attention into strided reads
        "optimization.disable_specified_optimizers": "MatmulTransposeFusion",
    }
    if threads.cores:
        settings["session.intra_op_thread_affinities"] = ";".join(str(core + 1) for core in threads.cores)
    if packed:
        options.optimized_model_filepath = str(packed)
        settings["session.optimized_model_external_initializers_file_name"] = packed.with_suffix(".bin").name
        settings["session.optimized_model_external_initializers_min_size_in_bytes"] = "1024"
        settings["session.save_external_prepacked_constant_initializers"] = "1"
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    try:
        return _ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as fault:
        raise BundleError(f"{path} cannot be opened by onnxruntime: {fault}", "make the bundle again") from fault


def runtime_version() -> str:
    """Of onnxruntime."""
    return str(_ort.__version__)


class Graph:
    """One session; inputs and outputs are arrays of the caller's, read and written in place."""

    def __init__(self, path: Path, threads: Threads) -> None:
        self._session = open_graph(path, threads)
        self.inputs: set[str] = {node.name for node in self._session.get_inputs()}

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Run once. Inputs that the graph does not have are left out."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            if name in self.inputs:
                binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)


@dataclass(frozen=True, slots=True)
class Row:
    """What the upper graph needs of one token. Each [1, 1, width]."""

    hidden: Array
    embeds: Array
    ple_rows: Array


@dataclass(frozen=True, slots=True)
class Rows:
    """The same of tokens that follow one another. Each [1, R, width]."""

    hidden: Array
    embeds: Array
    ple_rows: Array

    def __getitem__(self, i: int) -> Row:
        """A copy of one, so that it keeps no other alive."""
        part = slice(i, i + 1)
        return Row(self.hidden[:, part].copy(), self.embeds[:, part].copy(), self.ple_rows[:, part].copy())


class Decoder:
    """The two graphs of the decoder over a cache."""

    def __init__(self, config: TextConfig, lower: Path, upper: Path, threads: Threads) -> None:
        self._config = config
        self._lower, self._upper = Graph(lower, threads), Graph(upper, threads)

    def lower(self, cache: Cache, embeds: Array, ple_rows: Array) -> Row:
        """Add tokens to the cache; embeds [S, hidden], ple_rows [S, layers · ple]. Gives the last one's row."""
        return self._add(cache, embeds, ple_rows, apart=False)[len(embeds) - 1]

    def lower_apart(self, cache: Cache, embeds: Array, ple_rows: Array) -> Rows:
        """Add tokens, at most `cache.apart` of them, each computed as if it had come alone. For bundles with a drafter."""
        return self._add(cache, embeds, ple_rows, apart=True)

    def _add(self, cache: Cache, embeds: Array, ple_rows: Array, *, apart: bool) -> Rows:
        config, count = self._config, len(embeds)
        width = config.lower * config.ple
        inputs: dict[str, NDArray[Any]] = {
            "inputs_embeds": np.ascontiguousarray(embeds[None]),
            "ple_rows": np.ascontiguousarray(ple_rows[None, :, :width]),
            "positions": np.arange(cache.length, cache.length + count, dtype=np.int64),
            "apart": np.array(apart),
        }
        views = {kind: cache.view(kind, cache.length) for kind in KINDS}
        inputs |= {f"key_positions.{kind}": view.positions for kind, view in views.items()}
        hidden = np.empty((1, count, config.hidden), np.float32)
        outputs: dict[str, NDArray[Any]] = {"hidden": hidden}
        tokens: list[list[NDArray[Any]]] = []
        for i, layer in enumerate(config.layers[: config.lower]):
            inputs |= cache.shown(i, views[layer.kind], "past_", f".{i}")
            tokens.append([part.fresh(count) for part in cache.parts[i]])
            outputs |= {f"new_{part.name}.{i}": array for part, array in zip(cache.parts[i], tokens[i], strict=True)}
        self._lower.run(inputs, outputs)
        cache.append(tokens)
        return Rows(hidden, inputs["inputs_embeds"], ple_rows[None, :, width:])

    def upper(self, cache: Cache, row: Row) -> Array:
        """The logits after the last token of the cache, whose row this is. Shape [vocab].

        Raises BundleError when they are not numbers: who takes the largest of them would answer nonsense.
        """
        return self._answer(cache, row)[0, 0]

    def upper_with_states(self, cache: Cache, rows: Row | Rows) -> tuple[Array, Array]:
        """The logits after each of the last R tokens of the cache, and the states behind them. For bundles with a drafter.

        Shapes [R, vocab] and [R, hidden]. Raises as `upper` does.
        """
        state = np.empty((1, rows.hidden.shape[1], self._config.hidden), np.float32)
        return self._answer(cache, rows, state=state)[0], state[0]

    def _answer(self, cache: Cache, rows: Row | Rows, **more: Array) -> Array:
        """Logits [1, R, vocab]; `more`: other outputs to fill."""
        config, count = self._config, rows.hidden.shape[1]
        first = cache.length - count
        inputs: dict[str, NDArray[Any]] = {
            "hidden": rows.hidden,
            "inputs_embeds": rows.embeds,
            "ple_rows": np.ascontiguousarray(rows.ple_rows),
            "positions": np.arange(first, cache.length, dtype=np.int64),
        }
        for kind in KINDS:
            if f"key.{kind}" not in self._upper.inputs:
                continue
            view = cache.view(kind, first)
            inputs[f"key_positions.{kind}"] = view.positions
            inputs |= cache.shown(config.source(kind), view, "", f".{kind}")
        logits = np.empty((1, count, config.vocab), np.float32)
        self._upper.run(inputs, {"logits": logits, **more})
        if not np.isfinite(logits.max()):  # NaN where one of them is
            raise BundleError(
                "the model's numbers are not finite: its weights are damaged, or of a kind that is not supported",
                "`edge-assistant models verify` finds damage; fetch the model again, or take another",
            )
        return logits


class Encoder:
    """The audio encoder's graph."""

    def __init__(self, hidden: int, path: Path, threads: Threads) -> None:
        self._hidden = hidden
        self._graph = Graph(path, threads)

    def __call__(self, mel: Array, valid: int, past: int, state: State) -> tuple[Array, State]:
        """See `clip.Encode`."""
        inputs: dict[str, NDArray[Any]] = {"mel": np.ascontiguousarray(mel[None]), **state}
        inputs |= {"valid": np.array([valid], np.int64), "past": np.array([past], np.int64)}
        after = {name: np.empty_like(array) for name, array in state.items()}
        soft = np.empty((1, len(mel) // FRAMES_PER_TOKEN, self._hidden), np.float32)
        self._graph.run(inputs, {"soft": soft, **{f"{name}_out": array for name, array in after.items()}})
        return soft[0], after
