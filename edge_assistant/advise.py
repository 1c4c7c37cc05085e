"""Which member of the family a machine should run, and why: a machine in, a ranked table out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from edge_assistant.family import CONTEXT, E2B, E4B, FAMILY, POCKET_BYTES, Member
from edge_assistant.machine import Machine

Verdict = Literal["run", "possible", "text only", "no"]
_ORDER: Final[tuple[Verdict, ...]] = ("run", "possible", "text only", "no")

BLOCKS: Final = (32, 128)
"""Weights that share a scale: the finer first."""
RESERVE_BYTES: Final = 1_500_000_000
"""Left to the system, the voice, and a page cache for the embedding tables; half of a memory that has less than twice as much."""
_PC_CORES = 4
_SERVER_CORES = 16
_HOT_C = 75.0
_FAST = frozenset({"asimddp", "i8mm", "avx2", "avx512f"})
"""Any of these, and the products of quantised weights have quick kernels."""
_SYSTEMS = ("x86_64", "aarch64")

NO_AUDIO: Final = (
    "26B A4B and 31B have no audio input: nothing here can speak with them. They read and write text in other programs, and "
    "could only hear behind a separate speech recogniser, which is what edge-assistant does without."
)
FORMULA: Final = (
    f"Memory is computed from the shapes, with {CONTEXT:,} tokens of conversation. E2B, E4B: decoder weights × (4 bits + 12 "
    "bytes a block), audio encoder × (8 bits + the same), keys and values in 32 bits, 295 MB for the rest: within 0.2 % of what "
    "was measured at E2B's shape (docs/benchmarks.md). 26B A4B, 31B: Q4_0, 4.5 bits a weight, keys and values in 16 bits."
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is on this machine already."""

    name: str
    """As it is installed."""
    member: str
    """Of the family, by its name there."""
    block: int
    whole: bool
    """It can be opened."""
    tuned: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What the machine and one model are to each other."""

    name: str
    title: str
    verdict: Verdict
    memory_bytes: int
    block: int | None
    """Of the bundle that is meant; None where there is none to make."""
    hears: bool
    suits: str
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """The answer."""

    machine: Machine
    rows: tuple[Row, ...]
    """Best first; exactly one has the verdict `run`."""
    text: tuple[str, ...]
    """Names of the members without audio that are worth running here for text."""
    notes: tuple[str, ...]
    commands: tuple[str, ...]
    """To type, in this order."""

    @property
    def chosen(self) -> Row:
        return self.rows[0]


def advise(machine: Machine, installed: Sequence[Installed] = ()) -> Advice:
    """Rank the family, and the model that ships, for this machine. What is `installed` need not be fetched."""
    rows = [_judge(member, machine) for member in FAMILY]
    best = _choose(rows, machine)
    rows = [_settle(row, best, machine) for row in [*rows, _pocket(best)]]
    rows.sort(key=lambda row: _ORDER.index(row.verdict))
    text = tuple(row.name for row in rows if row.verdict == "text only")
    own = sorted((one for one in installed if one.member == best), key=lambda one: one.name != best)
    return Advice(machine, tuple(rows), text, tuple(_notes(rows[0], machine, own)), _commands(rows[0], own))


def room_bytes(machine: Machine) -> int:
    """Memory that a model may take."""
    return machine.memory_bytes - min(RESERVE_BYTES, machine.memory_bytes // 2)


def is_fast(machine: Machine) -> bool:
    """It has the instructions that 4-bit products want."""
    return bool(machine.features & _FAST)


def _judge(member: Member, machine: Machine) -> Row:
    """Whether it fits, and how."""
    return _judge_hearing(member, machine) if member.hears else _judge_text(member, machine)


def _judge_hearing(member: Member, machine: Machine) -> Row:
    room = room_bytes(machine)
    block = next((block for block in BLOCKS if member.memory_bytes(block) <= room), None)
    need = member.memory_bytes(block or BLOCKS[-1])
    if block is None:
        reason = f"needs {_gb(need)} even in blocks of {BLOCKS[-1]}, and there is room for {_gb(room)}"
        return _row(member, "no", need, None, reason)
    finer = member.memory_bytes(BLOCKS[0])
    why = f"fits into {_gb(room)}"
    if block != BLOCKS[0]:
        why += f" in blocks of {block}, not of {BLOCKS[0]} ({_gb(finer)})"
    return _row(member, "possible", need, block, why)


def _judge_text(member: Member, machine: Machine) -> Row:
    need, room = member.memory_bytes(), room_bytes(machine)
    if need <= machine.gpu_bytes:
        tuning = ""
        if 2 * member.shape.matrices() < machine.gpu_bytes:
            tuning = "; its bfloat16 weights fit, too, so that an adapter can be trained"
        return _row(member, "text only", need, None, f"no audio input; fits into the GPU's {_gb(machine.gpu_bytes)}{tuning}")
    if need <= room and machine.cores >= _SERVER_CORES:
        return _row(member, "text only", need, None, f"no audio input; fits into {_gb(room)} of memory")
    if need <= room:
        return _row(member, "no", need, None, f"no audio input; it would fit, but wants a GPU or {_SERVER_CORES} cores")
    room = max(room, machine.gpu_bytes)
    return _row(member, "no", need, None, f"no audio input, and there is room for {_gb(room)}")


def _choose(rows: list[Row], machine: Machine) -> str:
    """The name of the one to run."""
    fits = {row.name for row in rows if row.verdict == "possible"}
    if machine.architecture not in _SYSTEMS or not is_fast(machine):
        return "pocket"
    if E4B.name in fits and _is_roomy(machine):
        return E4B.name
    return E2B.name if E2B.name in fits else "pocket"


def _is_roomy(machine: Machine) -> bool:
    """E4B leaves half of the memory to everything else, and the cores are not those of a small board."""
    return _is_pc(machine) and 2 * E4B.memory_bytes() <= room_bytes(machine)


def _is_pc(machine: Machine) -> bool:
    """Not a small board: on ARM a core of the Raspberry Pi 5's generation or older lacks i8mm."""
    return machine.cores >= _PC_CORES and (machine.architecture == "x86_64" or "i8mm" in machine.features)


def _settle(row: Row, best: str, machine: Machine) -> Row:
    """The chosen one gets the verdict `run`; those that fit as well say why they are not the one."""
    if row.name == best:
        praise = {E2B.name: "made for machines like this", E4B.name: "leaves more than half of it to everything else"}
        return _but(row, "run", praise.get(row.name, ""))
    if row.verdict != "possible" or row.name == "pocket":
        return row
    if machine.architecture not in _SYSTEMS:
        return _but(row, "no", f"but onnxruntime does not run on {machine.architecture}")
    if not is_fast(machine):
        return _but(row, "possible", "but without dot-product or AVX2 instructions every answer would be slow")
    if row.name == E2B.name:
        return _but(row, "possible", "lighter than what this machine can carry")
    ratio = f"a token reads {E4B.shape.matrices() / E2B.shape.matrices():.1f} times E2B's weights"
    if _is_pc(machine):
        return _but(row, "possible", f"but leaves less than half of it, and {ratio}")
    return _but(row, "possible", f"but {ratio}: it wants {_PC_CORES} cores of a PC")


def _but(row: Row, verdict: Verdict, more: str) -> Row:
    return replace(row, verdict=verdict, reason=f"{row.reason}; {more}" if more else row.reason)


def _row(member: Member, verdict: Verdict, need: int, block: int | None, reason: str) -> Row:
    return Row(member.name, member.title, verdict, need, block, member.hears, member.suits, reason)


def _pocket(best: str) -> Row:
    few = "a preview: it understands a few requests, and not reliably"
    reason = "no larger one is for this machine" if best == "pocket" else few
    return Row("pocket", "pocket", "possible", POCKET_BYTES, None, True, "timers, time, light, where nothing else fits", reason)


def _fitting(chosen: Row, own: Sequence[Installed]) -> Installed | None:
    """One that is here and runs as advised."""
    return next((one for one in own if one.whole and one.block >= (chosen.block or 0)), None)


def _notes(chosen: Row, machine: Machine, own: Sequence[Installed]) -> list[str]:
    """What else the person should know, the most pressing first."""
    notes: list[str] = []
    if machine.architecture not in _SYSTEMS:
        notes.append(f"This system is {machine.architecture}. onnxruntime needs a 64-bit one (aarch64 or x86-64).")
    if chosen.name == "pocket" and E2B.memory_bytes(BLOCKS[-1]) > room_bytes(machine):
        least = E2B.memory_bytes(BLOCKS[-1])
        notes.append(
            f"E2B in blocks of {BLOCKS[-1]} takes {_gb(least)}, and {_gb(RESERVE_BYTES)} beside it: it is for 4 GB and more. "
            "What fits here is pocket."
        )
    if machine.available_bytes is not None and chosen.memory_bytes > machine.available_bytes:
        notes.append(f"Only {_gb(machine.available_bytes)} of memory are free now: end other programs first.")
    if fitting := _fitting(chosen, own):
        notes.append(f"{chosen.title} is installed, as {fitting.name}.")
    elif chosen.name != "pocket":
        notes.extend(f"{one.name} is installed, {_fault(one)}." for one in own)
        notes.extend(_disk_notes(chosen, machine))
    if chosen.block == BLOCKS[0]:
        coarser = _member(chosen.name).memory_bytes(BLOCKS[-1])
        notes.append(
            f"--block {BLOCKS[-1]} takes {_gb(coarser)}; at E2B's shape it decoded 1.2 to 1.4 "
            "times as fast on x86-64 (docs/benchmarks.md), for a little quality (docs/parity.md)."
        )
    if machine.gpus:
        notes.append("This program computes on the processor: the GPU counts for the members that run elsewhere.")
    if machine.is_raspberry_pi:
        notes.append("Nothing has been measured on a Raspberry Pi yet: no speed is promised.")
    if machine.temperature_c is not None and machine.temperature_c >= _HOT_C:
        notes.append(f"It is at {machine.temperature_c:.0f} °C: a hot processor slows itself down. Give it air.")
    return [*notes, NO_AUDIO]


def _fault(one: Installed) -> str:
    if one.whole:
        return f"in blocks of {one.block}, too large for this machine"
    return f"but cannot be opened (`edge-assistant models verify {one.name}` says why)"


def _disk_notes(chosen: Row, machine: Machine) -> list[str]:
    member = _member(chosen.name)
    bundle, published = member.bundle_bytes(chosen.block or BLOCKS[0]), member.published_bytes()
    need = f"The checkpoint takes {_gb(published)} of disk and the bundle {_gb(bundle)}"
    if machine.disk_bytes is None or bundle + published <= machine.disk_bytes:
        return [f"{need}; the checkpoint is removed when the bundle is made."]
    if bundle <= machine.disk_bytes:
        free = f"{_gb(machine.disk_bytes)} are free"
        return [f"{need}, and {free}: keep the checkpoint on another disk or a USB stick, and add --from FOLDER."]
    return [f"{need}, and {_gb(machine.disk_bytes)} are free: make room first."]


def _commands(chosen: Row, own: Sequence[Installed]) -> tuple[str, ...]:
    if chosen.name == "pocket":
        return ("edge-assistant talk",)
    if here := _fitting(chosen, own):
        tune = () if here.tuned else (f"edge-assistant tune {here.name}",)
        return (*tune, f"edge-assistant talk --model {here.name}")
    name = chosen.name
    # under a name that is taken nothing is fetched
    remove = (f"edge-assistant models remove {name}",) if any(one.name == name for one in own) else ()
    block = "" if chosen.block == BLOCKS[0] else f" --block {chosen.block}"
    return (
        *remove,
        f"edge-assistant models fetch {name}{block}",
        f"edge-assistant tune {name}",
        f"edge-assistant talk --model {name}",
    )


def _member(name: str) -> Member:
    return next(member for member in FAMILY if member.name == name)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
