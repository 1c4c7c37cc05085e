"""The default runtime: Gemma 4 on onnxruntime, from a bundle.

A token whose logits nobody wants passes the lower graph alone; the upper one runs once for each token that is chosen. Feeding
keeps the last row, so that decoding starts without feeding anything again. A bundle may have a drafter (see `drafting`).
"""

import logging
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import ContextFull
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.cache import Cache
from edge_assistant.gemma4.clip import Clip, Hearing
from edge_assistant.gemma4.decoder import embedding_scale, ple_scale
from edge_assistant.gemma4.tables import Table
from edge_assistant.gemma4.tokens import Detokeniser, Tokens
from edge_assistant.runtime import Pcm, Prompting, Sampling, Token
from edge_assistant.runtimes.drafting import MOST, Ahead, Drafter, Drafting, rows_alike
from edge_assistant.runtimes.engine import Decoder, Encoder, Row, Threads
from edge_assistant.runtimes.prepared import is_prepared
from edge_assistant.runtimes.sampling import choose

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
PREFILL = 128
"""Most tokens of text in one run: bounds its memory."""
CHUNK = 4
"""Soft tokens encoded at once, 40 ms each. From 4 rows on the 8-bit kernels give the same bits for any number."""
_SOFT = -1
"""Stands for a soft token among the ids."""
_MARKS = 32
"""Places inside clips that `cut` can come back to; each keeps the encoder's state (1.3 MB at the size of E2B)."""
_ROWS = 128
"""Places after which `decode` can start again at once, to the bit (32 KB each at the size of E2B)."""
_PREFIX_FORMAT = 1
_T = TypeVar("_T")


class OnnxModel:
    """A bundle in memory, shared by its sessions; used by one thread at a time."""

    def __init__(self, bundle: Bundle, graphs: Path, threads: Threads, chunk: int, draft: int = 0) -> None:
        self.bundle, self.config = bundle, bundle.config
        manifest, text = bundle.manifest, bundle.config.text
        self.tokens = Tokens(bundle.path("tokenizer.json"))
        self.decoder = Decoder(text, graphs / "lower.onnx", graphs / "upper.onnx", threads)
        self.hearing = Hearing(self.config, Encoder(text.hidden, graphs / "encoder.onnx", threads), chunk)
        self._embed = Table(bundle.path("embed.bin"), manifest.embed, embedding_scale(text))
        self._ple = Table(bundle.path("ple.bin"), manifest.ple, ple_scale(text)) if manifest.ple else None
        self.drafting = self._drafting(graphs / "drafter.onnx", threads, draft)
        """None where nothing is drafted."""

    @classmethod
    def open(
        cls,
        bundle: Path,
        *,
        threads: int = 1,
        spin: bool = False,
        cores: tuple[int, ...] = (),
        chunk: int = CHUNK,
        draft: int = 0,
        prepared: Path | None = None,
    ) -> "OnnxModel":
        """Open a bundle's folder. Raises BundleError.

        `threads`, `spin`, `cores`: see `Threads`; `chunk`: soft tokens encoded at once, more is cheaper and later; `draft`:
        tokens that the bundle's drafter, if it has one, guesses at once, 0 leaves it alone; `prepared`: a folder made by
        `prepared.prepare`, used where it fits this bundle and this machine.
        """
        if not 0 <= draft <= MOST:
            raise ValueError(f"from 0 to {MOST} tokens can be drafted at once, not {draft}")
        opened = Bundle.open(bundle)
        fits = prepared is not None and is_prepared(opened, prepared)
        if prepared and prepared.is_dir() and not fits:
            log.warning("%s was packed for another processor or onnxruntime and is left alone; prepare the model again", prepared)
        return cls(opened, prepared if prepared and fits else opened.folder, Threads(threads, spin, cores), chunk, draft)

    def session(self, capacity: int = 4096) -> "OnnxSession":
        """A new conversation of at most `capacity` tokens. Its memory is touched only as far as the conversation comes."""
        return OnnxSession(self, capacity)

    def _drafting(self, graph: Path, threads: Threads, draft: int) -> Drafting | None:
        config, text = self.bundle.drafter, self.config.text
        if config is None or not draft:
            return None
        manifest = self.bundle.manifest
        rows = rows_alike(self.decoder, text, manifest.blocks, draft + 1, manifest.quantisation.cache_bits)
        if rows <= draft:
            log.warning("this processor rounds otherwise with %d rows at once; tokens drafted: %d", rows + 1, rows - 1)
        if rows == 1:
            return None
        drafter = Drafter(config, text, graph, threads)
        return Drafting(self.decoder, drafter, self.embed, self.tokens.control.stops, rows - 1)

    def embed(self, ids: list[int]) -> tuple[Array, Array]:
        """Input embeddings [n, hidden] and per-layer rows [n, layers · ple] of text tokens."""
        ids = [self.config.text.pad_id if id_ in self.config.placeholders else id_ for id_ in ids]
        return self._embed.rows(ids), self.ple_rows(ids)

    def ple_rows(self, ids: list[int]) -> Array:
        """Per-layer rows [n, layers · ple]; of width 0 for a model without."""
        return self._ple.rows(ids) if self._ple else np.zeros((len(ids), 0), np.float32)


@dataclass(frozen=True, slots=True)
class _Span:
    """Positions between a clip's `<|audio>` and its `<audio|>`: at each, both ends included, the clip was open."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Fed:
    """A stretch of a cache as it was fed."""

    ids: tuple[int, ...]
    """`_SOFT` for a soft token."""
    soft: tuple[Array, ...]
    """Its soft tokens, [hidden] each."""
    spans: tuple[_Span, ...]
    """Its clips, counted from its beginning."""

    def __len__(self) -> int:
        return len(self.ids)


class OnnxSession:
    """One conversation; see `edge_assistant.runtime.Session` for the contract."""

    def __init__(self, model: OnnxModel, capacity: int) -> None:
        self._model, manifest = model, model.bundle.manifest
        self._cache = Cache(model.config.text, manifest.blocks, capacity, manifest.quantisation.cache_bits)
        self._ids: list[int] = []
        self._soft: list[Array] = []
        """The soft tokens among the ids, in order."""
        self._clip: Clip | None = None
        self._begin = 0
        self._spans: list[_Span] = []
        self._marks: dict[int, Clip] = {}
        self._rows: dict[int, Row] = {}
        self._last: Row | None = None
        self._ahead = Ahead()

    @property
    def prompting(self) -> Prompting:
        return self._model.bundle.manifest.prompting

    @property
    def position(self) -> int:
        """Tokens in the cache. Reading it inside a clip marks the place: `cut` comes back to the sound heard until then."""
        if self._clip is not None:
            self._mark(self._clip)
        return self._cache.length

    @property
    def capacity(self) -> int:
        return self._cache.capacity

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        """Text to token ids; with `control=False` nothing in it becomes a control token."""
        return self._model.tokens.encode(text, control=control)

    def feed_text(self, text: str) -> None:
        """Add text; control tokens written in it become their ids. Raises ContextFull."""
        self.feed_ids(self.encode(text))

    def feed_ids(self, ids: list[int]) -> None:
        """Add tokens. Raises ContextFull, with nothing added."""
        self._closed("text")
        if ids and not 0 <= min(ids) <= max(ids) < self._model.config.text.vocab:
            raise ValueError(f"token ids go from 0 to {self._model.config.text.vocab - 1}")
        self._feed(ids)

    def begin_audio(self) -> None:
        """Open a clip. Raises ContextFull."""
        self._closed("a second clip")
        self._feed([self._model.tokens.control.audio])
        self._begin = self._cache.length
        self._clip = self._model.hearing.begin()
        self._mark(self._clip)

    def feed_audio(self, pcm: Pcm) -> None:
        """Add sound to the open clip; every whole chunk goes to the cache. Raises ContextFull, with the sound so far kept."""
        self._clip = self._open().heard(np.asarray(pcm, np.float32))
        while (ahead := self._model.hearing.step(self._clip)) is not None:
            soft, clip = ahead
            self._feed_soft(soft)
            self._clip = clip

    def end_audio(self) -> None:
        """Close the clip. Raises ContextFull, with the clip still open."""
        clip = self._open()
        self._room(self._model.hearing.left(clip) + 1)
        if self._cache.length not in self._marks:
            self._mark(clip)
        span = _Span(self._begin, self._cache.length)
        soft = self._model.hearing.finish(clip)
        if len(soft):
            self._feed_soft(soft)
        self._clip = None
        self._spans.append(span)
        self._feed([self._model.tokens.control.audio_end])

    def cut(self, position: int) -> None:
        """Forget every token from `position` on.

        Exact at any depth. Inside a clip, open or closed, it goes to places where `position` was read or the clip was closed, the
        last 32 of them, and to the clip's beginning; elsewhere in a clip it raises ValueError.
        """
        if not 0 <= position <= self._cache.length:
            raise ValueError(f"cannot cut to {position}: the cache holds {self._cache.length} tokens")
        begin = self._begin if self._clip is not None and position >= self._begin else None
        begin = next((span.begin for span in self._spans if span.begin <= position <= span.end), begin)
        clip = None
        if begin is not None:
            clip = self._marks.get(position, self._model.hearing.begin() if position == begin else None)
            if clip is None:
                raise ValueError(f"cannot cut to {position}: nobody stood there, inside a clip, of late")
        self._clip = clip
        self._begin = self._begin if begin is None else begin
        self._spans = [span for span in self._spans if span.end < position]
        self._marks = {place: clip for place, clip in self._marks.items() if place <= position}
        self._rows = {place: row for place, row in self._rows.items() if place <= position}
        self._last, self._ahead = self._rows.get(position), Ahead()
        self._cache.cut(position)
        if lost := self._ids[position:].count(_SOFT):
            del self._soft[-lost:]
        del self._ids[position:]

    def copy(self, begin: int, end: int) -> Fed:
        """What was fed from `begin` to `end`. Raises ValueError if a clip is open there."""
        if any(span.begin <= place <= span.end for place in (begin, end) for span in self._spans) or self._clip is not None:
            raise ValueError("a clip cannot be copied in part")
        first = self._ids[:begin].count(_SOFT)
        count = self._ids[begin:end].count(_SOFT)
        spans = (_Span(span.begin - begin, span.end - begin) for span in self._spans if begin <= span.begin < end)
        return Fed(tuple(self._ids[begin:end]), tuple(self._soft[first : first + count]), tuple(spans))

    def paste(self, stretch: Fed) -> None:
        """Feed it again, here. Raises ContextFull, with nothing added."""
        self._closed("a stretch")
        self._room(len(stretch))
        begin, soft = self._cache.length, iter(stretch.soft)
        for is_soft, run in groupby(stretch.ids, lambda id_: id_ == _SOFT):
            if is_soft:
                rows = np.stack([next(soft) for _ in run])
                for part in range(0, len(rows), PREFILL):
                    self._feed_soft(rows[part : part + PREFILL])
            else:
                self._feed(list(run))
        self._spans += [_Span(span.begin + begin, span.end + begin) for span in stretch.spans]

    def shed(self) -> None:
        """Give back the cache beyond what is held, and the places that only make going back faster."""
        self._closed("giving memory back")
        self._marks.clear()
        self._rows.clear()
        self._cache.shed()

    def decode(self, sampling: Sampling) -> Iterator[Token]:
        """Answer; each token is in the cache when it is yielded. Raises ContextFull when there is no room for the next."""
        self._closed("an answer")
        if not self._cache.length:
            raise ValueError("there is nothing to answer: the cache is empty")
        return self._decode(sampling)

    def save_prefix(self, path: Path) -> None:
        """Keep a cache of text in a file, which appears whole or not at all."""
        if self._clip is not None or _SOFT in self._ids:
            raise ValueError("a prefix is text: it cannot hold sound")
        row = self._row()
        part = path.with_name(f".{path.name}.part")
        arrays: dict[str, Any] = {
            "format": np.array(_PREFIX_FORMAT),
            "model": np.array(self._model.bundle.identity),
            "ids": np.array(self._ids, np.int64),
            "hidden": row.hidden,
            "embeds": row.embeds,
            "ple_rows": row.ple_rows,
            **self._cache.rows(),
        }
        with part.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def load_prefix(self, path: Path) -> bool:
        """Take the cache from a file; False, and nothing changed, if it is absent, broken, of another model or too long."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                kept: dict[str, NDArray[Any]] = dict(arrays)
            ids = [int(id_) for id_ in kept["ids"]]
            known = int(kept["format"]) == _PREFIX_FORMAT and str(kept["model"]) == self._model.bundle.identity
            row = Row(kept["hidden"], kept["embeds"], kept["ple_rows"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        if not known or len(ids) > self.capacity or not self._cache.restore(kept, len(ids)):
            return False
        self._ids, self._soft, self._clip, self._spans = ids, [], None, []
        self._marks, self._rows, self._last, self._ahead = {}, {len(ids): row}, row, Ahead()
        return True

    def _decode(self, sampling: Sampling) -> Iterator[Token]:
        random, text = np.random.default_rng(sampling.seed), Detokeniser(self._model.tokens)
        drafting = self._model.drafting if sampling.temperature <= 0 else None
        for done in range(sampling.max_tokens):
            self._room(1)
            if drafting:
                id_, probability = self._next(drafting, sampling.max_tokens - done)
            else:
                id_, probability = choose(self.logits(), sampling, random)
                self._run([id_], *self._model.embed([id_]))
            stop = id_ in self._model.tokens.control.stops
            yield Token(id_, text.add(id_), probability, stop)
            if stop:
                return

    def _next(self, drafting: Drafting, wanted: int) -> tuple[int, float]:
        """The likeliest token and its probability; it is in the cache, and what is known beyond it waits."""
        if not self._ahead.checked:
            self._ahead = drafting.go_on(self._cache, self._row(), self._ahead.chosen, wanted)
        checked = self._ahead.checked.popleft()
        self._cache.take(1)
        self._ids.append(checked.id)
        self._last = checked.row
        return checked.id, checked.probability

    def logits(self) -> Array:
        """Of the token after the last one in the cache. Shape [vocab]."""
        return self._model.decoder.upper(self._cache, self._row())

    def _row(self) -> Row:
        """The last token's row; after a cut it may have to be made again, which for a token of text is one small run."""
        if self._last is None:
            id_ = self._ids[-1]
            if id_ == _SOFT:
                raise ValueError("cannot answer inside a clip")
            self._cache.cut(self._cache.length - 1)
            self._ids.pop()
            self._run([id_], *self._model.embed([id_]))
        assert self._last is not None
        return self._last

    def _feed(self, ids: list[int]) -> None:
        self._room(len(ids))
        for begin in range(0, len(ids), PREFILL):
            part = ids[begin : begin + PREFILL]
            self._run(part, *self._model.embed(part))
        self._keep_row()

    def _feed_soft(self, soft: Array) -> None:
        """Soft tokens [n, hidden] go in with the per-layer rows of the padding token."""
        self._room(len(soft))
        ple = np.repeat(self._model.ple_rows([self._model.config.text.pad_id]), len(soft), axis=0)
        self._run([_SOFT] * len(soft), soft, ple)
        self._soft += list(soft)
        self._keep_row()

    def _run(self, ids: list[int], embeds: Array, ple_rows: Array) -> None:
        self._last, self._ahead = self._model.decoder.lower(self._cache, embeds, ple_rows), Ahead()
        self._ids += ids

    def _keep_row(self) -> None:
        if self._last is not None:
            _remember(self._rows, self._cache.length, self._last, _ROWS)

    def _mark(self, clip: Clip) -> None:
        _remember(self._marks, self._cache.length, clip, _MARKS)

    def _room(self, tokens: int) -> None:
        if self._cache.length + tokens > self._cache.capacity:
            raise ContextFull(
                f"the conversation has {self._cache.length} tokens and {tokens} more do not fit into {self._cache.capacity}",
                "forget its oldest turns or give it more room",
            )

    def _open(self) -> Clip:
        if self._clip is None:
            raise ValueError("no clip is open")
        return self._clip

    def _closed(self, what: str) -> None:
        if self._clip is not None:
            raise ValueError(f"a clip is open: end it before feeding {what}")


def _remember(places: dict[int, _T], place: int, value: _T, most: int) -> None:
    """The newest last; the oldest is forgotten when there are too many."""
    places.pop(place, None)
    places[place] = value
    if len(places) > most:
        del places[next(iter(places))]
