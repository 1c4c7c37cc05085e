import platform
from pathlib import Path

import pytest

from edge_assistant.machine import Gpu, read_machine

PI5 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU part\t: 0xd0b

processor\t: 1
Features\t: fp asimd asimddp
"""
PC = "\n".join(
    f"processor\t: {i}\nmodel name\t: Some CPU @ 3 GHz\nphysical id\t: 0\nsiblings\t: 4\ncore id\t\t: {i % 2}\n"
    "flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni\n"
    for i in range(4)
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def no_gpu(_: tuple[str, ...]) -> str:
    return ""


def test_a_raspberry_pi(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/cpuinfo": PI5,
            "proc/meminfo": "MemTotal:        8255040 kB\nMemFree:  100 kB\nMemAvailable:    7000000 kB\nHugePages_Total:  0\n",
            "sys/class/thermal/thermal_zone0/temp": "48250\n",
            "sys/class/thermal/thermal_zone1/temp": "61500\n",
        },
    )
    machine = read_machine(root, root, no_gpu)
    assert (machine.name, machine.cores) == ("Raspberry Pi 5 Model B Rev 1.0", 2)
    assert machine.is_raspberry_pi
    assert machine.features == {"asimd", "asimddp"}
    assert (machine.memory_bytes, machine.available_bytes) == (8255040 << 10, 7000000 << 10)
    assert machine.temperature_c == 61.5
    assert machine.architecture == platform.machine()
    assert machine.disk_bytes is not None
    assert machine.gpus == ()


def test_threads_of_one_core_count_once(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, write(tmp_path, {"proc/cpuinfo": PC}), no_gpu)
    assert (machine.name, machine.cores) == ("Some CPU @ 3 GHz", 2)
    assert machine.features == {"avx", "avx2", "avx512f", "avx512_vnni"}


@pytest.mark.parametrize(("limit", "total"), [("2147483648\n", 2 << 30), ("max\n", 4 << 30), ("99999999999999\n", 4 << 30)])
def test_a_container_has_what_it_was_given(tmp_path: Path, limit: str, total: int) -> None:
    root = write(tmp_path, {"proc/meminfo": "MemTotal:        4194304 kB\n", "sys/fs/cgroup/memory.max": limit})
    assert read_machine(root, root, no_gpu).memory_bytes == total


def test_gpus(tmp_path: Path) -> None:
    root = write(tmp_path, {"sys/class/drm/card0/device/mem_info_vram_total": "17163091968\n"})
    machine = read_machine(root, root, lambda command: "NVIDIA RTX 4070, 12282\n" if command[0] == "nvidia-smi" else "")
    assert machine.gpus == (Gpu("NVIDIA RTX 4070", 12282 << 20), Gpu("AMD GPU", 17163091968))
    assert machine.gpu_bytes == 17163091968


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, tmp_path, lambda _: "Failed to initialize NVML: Driver/library version mismatch\n")
    assert machine.gpus == ()


def test_nothing_to_read(tmp_path: Path) -> None:
    machine = read_machine(tmp_path / "not" / "there", tmp_path, no_gpu)
    assert machine.memory_bytes == 0
    assert machine.cores >= 1
    assert machine.name == platform.machine()
    assert machine.temperature_c is None
    assert machine.disk_bytes is not None


def test_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_machine(tmp_path, tmp_path).gpus == ()


def test_an_nvidia_smi_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'No GPU, 16384'\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert read_machine(tmp_path, tmp_path).gpus == ()
    program.write_text("#!/bin/sh\necho 'A GPU, 16384'\n")
    assert read_machine(tmp_path, tmp_path).gpus == (Gpu("A GPU", 16 << 30),)
