"""What a computer is, as far as the choice of a model goes: this one, read from Linux, or a known kind."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_GIB = 1 << 30
_FEATURES = (
    *("asimd", "asimddp", "i8mm", "sve", "bf16"),
    *("avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
)
"""Of what /proc/cpuinfo lists, what the kernels of quantised products make a difference by."""
_NVIDIA = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_COMMAND_TIMEOUT_S = 10
_USABLE = 0.95
"""Of the memory that is built in, about what the firmware leaves to Linux."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor with memory of its own."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A description; None is what nobody knows."""

    name: str
    """Board, or processor."""
    architecture: str
    """As `uname -m` says it."""
    memory_bytes: int
    cores: int
    """Physical ones."""
    features: frozenset[str] = frozenset()
    """Instruction sets by the kernel's names: asimddp, i8mm, avx2, …"""
    gpus: tuple[Gpu, ...] = ()
    available_bytes: int | None = None
    """Memory that is free now, or can be freed."""
    disk_bytes: int | None = None
    """Free where models are kept."""
    temperature_c: float | None = None
    """The hottest zone."""

    @property
    def is_raspberry_pi(self) -> bool:
        return "raspberry pi" in self.name.lower()

    @property
    def gpu_bytes(self) -> int:
        """Memory of the largest GPU."""
        return max((gpu.memory_bytes for gpu in self.gpus), default=0)


Run = Callable[[tuple[str, ...]], str]
"""Gives a command's output; "" where there is none."""


def read_machine(folder: Path, root: Path = Path("/"), run: Run | None = None) -> Machine:
    """This machine; `folder`: where models are kept. What cannot be read counts as absent."""
    cpu, memory = _read(root / "proc/cpuinfo"), _read_memory(root)
    return Machine(
        name=_read_board(root) or _field(cpu, "model name") or platform.machine(),
        architecture=platform.machine(),
        memory_bytes=memory.get("MemTotal", 0),
        cores=_count_cores(cpu),
        features=_read_features(cpu),
        gpus=(*_read_nvidia(run or run_command), *_read_amd(root)),
        available_bytes=memory.get("MemAvailable"),
        disk_bytes=_free(folder),
        temperature_c=_read_temperature(root),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(cpu: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", cpu, re.MULTILINE)
    return found[1].strip() if found else ""


def _read_board(root: Path) -> str:
    return _read(root / "proc/device-tree/model").strip("\0 \n")


def _read_memory(root: Path) -> dict[str, int]:
    """/proc/meminfo in bytes; a control group's limit counts as the total, where it is less."""
    found = {
        name: int(size) << 10 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    }
    limit = _read(root / "sys/fs/cgroup/memory.max").strip()
    if limit.isdigit():
        found = {name: min(size, int(limit)) for name, size in found.items()}
    return found


def _count_cores(cpu: str) -> int:
    """Two threads of one core count once, where the kernel says which they are."""
    pairs = set(re.findall(r"^physical id\s*:\s*(\d+)\n(?:.+\n)*?core id\s*:\s*(\d+)$", cpu, re.MULTILINE))
    return len(pairs) or len(re.findall(r"^processor\s*:", cpu, re.MULTILINE)) or os.cpu_count() or 1


def _read_features(cpu: str) -> frozenset[str]:
    listed = (_field(cpu, "flags") or _field(cpu, "Features")).split()
    return frozenset(_FEATURES) & frozenset(listed)


def run_command(command: tuple[str, ...]) -> str:
    """As `Run`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _read_nvidia(run: Run) -> tuple[Gpu, ...]:
    lines = re.findall(r"^(.+), (\d+)$", run(_NVIDIA), re.MULTILINE)
    return tuple(Gpu(name, int(mebibytes) << 20) for name, mebibytes in lines)


def _read_amd(root: Path) -> tuple[Gpu, ...]:
    sizes = [_read(path).strip() for path in sorted(root.glob("sys/class/drm/card*/device/mem_info_vram_total"))]
    return tuple(Gpu("AMD GPU", int(size)) for size in sizes if size.isdigit())


def _free(folder: Path) -> int | None:
    """Free bytes of the file system that this folder is on, or will be."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        return shutil.disk_usage(there).free if there else None
    except OSError:
        return None


def _read_temperature(root: Path) -> float | None:
    values = [_read(path).strip() for path in root.glob("sys/class/thermal/thermal_zone*/temp")]
    return max((int(value) / 1000 for value in values if value.lstrip("-").isdigit()), default=None)


def _describe(name: str, memory_gib: float, cores: int, features: str, gpu_gib: int = 0) -> Machine:
    gpus = (Gpu("a GPU", gpu_gib * _GIB),) if gpu_gib else ()
    architecture = "aarch64" if "asimd" in features else "x86_64"
    return Machine(name, architecture, round(memory_gib * _GIB * _USABLE), cores, frozenset(features.split()), gpus)


_A53 = _A72 = "asimd"
_A76 = "asimd asimddp"
_DESKTOP = "avx avx2 avx_vnni"
_SERVER = "avx avx2 avx512f avx512_vnni avx512_bf16 amx_int8"
_LAPTOP = _describe("laptop, 8 cores, 16 GB", 16, 8, _DESKTOP)
KNOWN: Final[Mapping[str, Machine]] = {
    "pi-zero-2w": _describe("Raspberry Pi Zero 2 W", 0.5, 4, _A53),
    "pi4-4gb": _describe("Raspberry Pi 4, 4 GB", 4, 4, _A72),
    "pi4-8gb": _describe("Raspberry Pi 4, 8 GB", 8, 4, _A72),
    "pi5-2gb": _describe("Raspberry Pi 5, 2 GB", 2, 4, _A76),
    "pi5-4gb": _describe("Raspberry Pi 5, 4 GB", 4, 4, _A76),
    "pi5-8gb": _describe("Raspberry Pi 5, 8 GB", 8, 4, _A76),
    "pi5-16gb": _describe("Raspberry Pi 5, 16 GB", 16, 4, _A76),
    "laptop": _LAPTOP,
    "laptop-8gb": _describe("laptop, 4 cores, 8 GB", 8, 4, "avx avx2"),
    "laptop-16gb": _LAPTOP,
    "desktop-32gb": _describe("desktop, 8 cores, 32 GB", 32, 8, _DESKTOP),
    "gpu-12gb": _describe("desktop with a GPU of 12 GB", 32, 8, _DESKTOP, 12),
    "gpu-24gb": _describe("desktop with a GPU of 24 GB", 64, 16, _DESKTOP, 24),
    "server-64-cores": _describe("server, 64 cores, 256 GB", 256, 64, _SERVER),
    "server-gpu-80gb": _describe("server with a GPU of 80 GB", 256, 32, _SERVER, 80),
}
"""Kinds of machine that one may ask about without having one."""
