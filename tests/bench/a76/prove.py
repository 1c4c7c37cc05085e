"""The Pi 5's processor core, emulated: which instructions do the large products take? `make prove-a76`.

Four layers of E2B's real width (two that write keys and values, two that read them), a head in E2B's proportion to them and two
layers of the audio encoder, random, as a GGUF pair. They run as a Cortex-A76 (dot-product instructions, no matrix ones) under
qemu, by the program's own session on onnxruntime's arm64 wheel, and by llama.cpp compiled for that core. A plugin counts
instructions. What it shows, and fails where it does not:

- every large product is done by dot-product instructions: they multiply as many pairs as the matrices have weights, each token;
- each kernel rounds activations as its formula says (`rounding.py`), and nothing else is between it and the exact product;
- the logits are as far from the exact ones, and from x86-64's, as such rounding explains;
- keys and values in 8 bits are multiplied by dot-product instructions too, and take no more from the logits than on x86-64;
- instructions a token, beside llama.cpp's. Counts, not times: an emulator knows nothing of memory, which a Pi waits for most.

Needs qemu-user (not -static: that takes no plugins), gcc, g++-aarch64-linux-gnu, cmake, ninja-build and mmdebstrap, or what they
would make: --base the system of prove-arm64, --peer a llama.cpp side that is compiled. 3 GB of room; an hour the first time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "e2b"), str(HERE.parents[1] / "parity")]

import fullsize
import rounding
import shape
from gguf_pairs import Kind

from edge_assistant.gemma4.export import export

CORE = "cortex-a76"
ARCHITECTURE = "armv8.2-a+dotprod+fp16"
LLAMA = "llama-cpp-python==0.3.36"
TEXT: dict[str, Any] = shape.TEXT | {
    "num_hidden_layers": 4,
    "layer_types": [shape.SLIDING, shape.FULL] * 2,
    "num_kv_shared_layers": 2,
    "vocab_size": 28_672,  # a head of 18 % of the weights a token passes, as in E2B
    "vocab_size_per_layer_input": 28_672,
}
AUDIO: dict[str, Any] = shape.AUDIO | {"num_hidden_layers": 2}
SPREAD = 1.25
"""Between two draws of one noise, each of a few dozen logits: among random weights near ties decide how much comes through."""
CPUINFO = """\
processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
"""What a Pi 5's /proc/cpuinfo says of each core: onnxruntime reads it, and must not find the PC's there."""
FILES: dict[str, dict[str, Any]] = {
    "4 bits": {"token_embd.weight": Kind.Q4_0},
    "as published": fullsize.GGUF_KINDS,
}
"""Every matrix of the decoder in Q4_0, or with the head in Q6_K and one matrix in BF16."""
PROMPT, TOKENS, SECONDS = 16, 16, 0.65
LONG, AFTER = 1024, 4
"""Tokens of the context that shows what the cache costs, and tokens decoded after it."""
CACHES = {32: "bundle", 8: "bundle-cache8"}
"""Bits of keys and values, and the folder of the bundle that has them so."""
ROUNDED = {"x86-64": dict.fromkeys(rounding.KINDS, "blocks"), "a76": dict.fromkeys(rounding.KINDS, "blocks") | {"4 bits": "rows"}}
"""How each processor's kernels round."""
SAME = 1e-4
"""Of a product's size: less than one activation of a row in another step, and a hundredth of what rounding does."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What ran between two places. `dot`, `matrix`, `float`: pairs multiplied by such instructions."""

    instructions: int
    dot: int
    matrix: int
    float: int


@dataclass(frozen=True, slots=True)
class Run:
    """The prompt, a token on average, the sound; and the logits after the prompt and each token (and the sound)."""

    prompt: Phase
    token: Phase
    sound: Phase | None
    logits: Any
    soft: int = 0


def phases(file: Path) -> Iterator[Phase]:
    rows = [[int(word) for word in line.split()[1:]] for line in file.read_text().splitlines()]
    for before, after in pairwise(rows):
        yield Phase(*(b - a for a, b in zip(before, after, strict=True)))


def mean(rows: list[Phase]) -> Phase:
    columns = ([getattr(row, name) for row in rows] for name in Phase.__slots__)
    return Phase(*(sum(column) // len(rows) for column in columns))


def products(graph: Path) -> int:
    """Weights of a graph's quantised matrices: pairs multiplied for each row."""
    nodes = onnx.load(graph, load_external_data=False).graph.node
    sizes = [{a.name: a.i for a in node.attribute} for node in nodes if node.op_type == "MatMulNBits"]
    return sum(size["K"] * size["N"] for size in sizes)


class Prover:
    def __init__(self, work: Path, base: Path | None, peer: Path | None) -> None:
        self.work, self.base = work, base or work / "base.tar"
        self.root, self.packages, self.plugin = work / "root", work / "packages", work / "count.so"
        self.peer = peer or work / "peer"

    def prepare(self, peer: bool) -> None:
        """What is there already is taken as it is; llama.cpp is compiled where it is wanted."""
        if not self.base.exists():
            include = "--include=python3"
            run("mmdebstrap", "--quiet", "--architectures=arm64", "--variant=apt", include, "trixie", str(self.base))
        if not self.root.exists():
            with tarfile.open(self.base) as tar:
                wanted = [one for one in tar if one.name.removeprefix("./").split("/")[0] in ("usr", "lib", "lib64", "bin")]
                tar.extractall(self.root, wanted, filter="tar")
        (self.root / "proc").mkdir(exist_ok=True)
        (self.root / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(core) for core in range(4)))
        if not self.packages.exists():
            tags = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 26, 27, 28, 34, 35)]
            lock = ["--no-deps", "--requirement", str(ROOT / "deploy-pi" / "locks" / "trixie.txt")]
            run(
                *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(self.packages)),
                "--ignore-requires-python",  # pip holds packages for 3.13 against the Python that runs it
                *("--only-binary=:all:", "--python-version=3.13", "--platform=manylinux2014_aarch64", *tags, *lock),
            )
        run("gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(self.plugin), str(HERE / "count.c"))
        if peer and not self.peer.exists():
            self._compile_peer()

    def _compile_peer(self) -> None:
        """llama.cpp from its own source, for the core, static."""
        source, built = self.work / "llama", self.work / "llama-built"
        if not source.exists():
            run(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--no-binary=llama-cpp-python",
                "--dest",
                str(self.work),
                LLAMA,
            )
            with tarfile.open(next(self.work.glob("llama_cpp_python-*.tar.gz"))) as tar:
                tar.extractall(self.work / "unpacked", filter="data")
            next((self.work / "unpacked").glob("*/vendor/llama.cpp")).rename(source)
            shutil.rmtree(self.work / "unpacked")
        settings = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_SYSTEM_NAME": "Linux",
            "CMAKE_SYSTEM_PROCESSOR": "aarch64",
            "CMAKE_C_COMPILER": "aarch64-linux-gnu-gcc",
            "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
            "BUILD_SHARED_LIBS": "OFF",
            "GGML_NATIVE": "OFF",
            "GGML_CPU_ARM_ARCH": ARCHITECTURE,
            "GGML_OPENMP": "OFF",
            "LLAMA_CURL": "OFF",
            **{f"LLAMA_BUILD_{part}": "OFF" for part in ("COMMON", "EXAMPLES", "SERVER", "TESTS", "TOOLS")},
        }
        defines = [f"-D{key}={value}" for key, value in settings.items()]
        run("cmake", "-G", "Ninja", "-S", str(source), "-B", str(built), *defines)
        run("ninja", "-C", str(built), "llama")
        names = ("src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a")
        libraries = [built / name for name in names]
        includes = [f"-I{source / folder}" for folder in ("include", "ggml/include")]
        objects = [self.work / "peer.o", *libraries]
        run("aarch64-linux-gnu-gcc", "-O2", "-c", *includes, "-o", str(objects[0]), str(HERE / "peer.c"))
        run("aarch64-linux-gnu-g++", "-static", "-o", str(self.peer), *map(str, objects))

    def make(self, name: str) -> Path:
        """A folder with the pair and its bundle."""
        folder = self.work / name.replace(" ", "-")
        if not (folder / "bundle").exists():
            shutil.rmtree(folder, ignore_errors=True)
            fullsize.write_pair(folder / "pair", TEXT, FILES[name])
            self._export(folder, 32)  # products with weights alone
        return folder

    @staticmethod
    def _export(folder: Path, cache_bits: int) -> None:
        export(folder / "pair" / "gemma-4-q4_0.gguf", folder / CACHES[cache_bits], cache_bits=cache_bits)

    def make_cached(self, name: str) -> Path:
        """The same with a second bundle, whose cache is in 8 bits."""
        folder = self.make(name)
        if not (folder / CACHES[8]).exists():
            self._export(folder, 8)
        return folder

    def emulate(self, what: str, folder: Path, command: list[str], environment: dict[str, str] | None = None) -> list[Phase]:
        counts = folder / f"{what}.counts"
        run(*self._emulator("-plugin", f"{self.plugin},out={counts}", *command), environment=os.environ | (environment or {}))
        return list(phases(counts))

    def _emulator(self, *command: str) -> list[str]:
        return ["qemu-aarch64", "-cpu", CORE, "-L", str(self.root), *command]

    @property
    def _packages(self) -> dict[str, str]:
        return {"PYTHONPATH": f"{ROOT}:{self.packages}", "PYTHONDONTWRITEBYTECODE": "1"}

    def ours(self, folder: Path, bundle: str = CACHES[32], prompt: int = PROMPT, tokens: int = TOKENS) -> Run:
        out = folder / "a76.npz"
        job = self._job(folder / bundle, out, prompt, tokens)
        found = self.emulate("ours", folder, [str(self.root / "usr/bin/python3.13"), *job], self._packages)
        with np.load(out) as file:
            return Run(found[0], mean(found[1:-1]), found[-1], file["logits"], int(file["soft"]))

    def kernels(self) -> dict[str, dict[str, dict[str, float]]]:
        """By processor and kind of matrix, how far its products are from what formulas say."""
        found: dict[str, Any] = {}
        for name, python in {"x86-64": [sys.executable], "a76": self._emulator(str(self.root / "usr/bin/python3.13"))}.items():
            out = self.work / f"{name}.kernels.json"
            run(*python, str(HERE / "rounding.py"), str(out), environment=os.environ | (self._packages if name == "a76" else {}))
            found[name] = json.loads(out.read_text())
        return found

    def here(self, bundle: Path, prompt: int = PROMPT, tokens: int = TOKENS) -> Any:
        """The logits of this machine's own processor."""
        out = bundle.with_suffix(".npz")
        run(sys.executable, *self._job(bundle, out, prompt, tokens))
        with np.load(out) as file:
            return file["logits"]

    @staticmethod
    def _job(bundle: Path, out: Path, prompt: int, tokens: int) -> list[str]:
        return [str(HERE / "ours.py"), str(bundle), str(out), str(prompt), str(tokens), str(SECONDS)]

    def llama(self, folder: Path) -> Run:
        out = folder / "llama.logits"
        job = [str(folder / "pair" / "gemma-4-q4_0.gguf"), str(out), str(PROMPT), str(TOKENS)]
        found = self.emulate("llama", folder, [str(self.peer), *job])
        return Run(found[0], mean(found[1:]), None, np.fromfile(out, np.float32).reshape(TOKENS + 1, -1))


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


def off(a: Any, b: Any) -> float:
    """How far apart two sets of logits are, as part of their size: about the sine of the angle between them."""
    a, b = (np.asarray(x, np.float64) - np.mean(x, -1, keepdims=True, dtype=np.float64) for x in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def prove(prover: Prover, name: str) -> dict[str, Any]:
    folder = prover.make(name)
    bundle = folder / "bundle"
    lower, upper, encoder = (products(bundle / f"{graph}.onnx") for graph in ("lower", "upper", "encoder"))
    ours, peer = prover.ours(folder), prover.llama(folder)
    here, exact = prover.here(bundle), prover.here(rounding.unrounded(bundle, folder / "unrounded"))
    formula = prover.here(rounding.rounded_by_rows(bundle, folder / "rows"))
    assert ours.sound
    wanted = {
        "prompt": (ours.prompt, PROMPT * lower + upper),
        "token": (ours.token, lower + upper),
        "sound": (ours.sound, ours.soft * (lower + encoder)),
    }
    texts = slice(0, TOKENS + 1)
    return {
        "file": name,
        "weights_a_token_passes": lower + upper,
        "dot_products_of_products": {key: phase.dot / count for key, (phase, count) in wanted.items()},
        "matrix_instructions": sum(phase.matrix for phase, _ in wanted.values()),
        "instructions_of_ours": {"prompt": ours.prompt.instructions // PROMPT, "token": ours.token.instructions},
        "instructions_of_llama_cpp": {"prompt": peer.prompt.instructions // PROMPT, "token": peer.token.instructions},
        "llama_cpp_to_ours": {
            "prompt": round(peer.prompt.instructions / ours.prompt.instructions, 2),
            "token": round(peer.token.instructions / ours.token.instructions, 2),
        },
        "off": {
            "a76 from x86-64": off(ours.logits, here),
            "a76 from a76's formula": off(ours.logits, formula),
            "a76 from unrounded activations": off(ours.logits, exact),
            "x86-64 from unrounded activations": off(here, exact),
            "a76's formula from unrounded activations": off(formula, exact),
            "llama.cpp on a76 from unrounded activations": off(peer.logits, exact[texts]),
        },
        "same_best_token": float((ours.logits.argmax(-1) == here.argmax(-1)).mean()),
    }


def attention_pairs(context: int) -> int:
    """Pairs that a token multiplies with a cache in 8 bits: two digits, with each key and each value that it sees."""
    seen = {
        shape.SLIDING: (min(context, TEXT["sliding_window"]), TEXT["head_dim"]),
        shape.FULL: (context, TEXT["global_head_dim"]),
    }
    rows = 2 * TEXT["num_attention_heads"]
    return sum(2 * rows * tokens * size for tokens, size in (seen[kind] for kind in TEXT["layer_types"]))


def prove_cache(prover: Prover) -> dict[str, Any]:
    """Keys and values in floats and in 8 bits, after a short context and a long one."""
    folder = prover.make_cached("4 bits")
    short = {bits: prover.ours(folder, bundle) for bits, bundle in CACHES.items()}
    long = {bits: prover.ours(folder, bundle, LONG, AFTER) for bits, bundle in CACHES.items()}
    exact = prover.here(rounding.unrounded(folder / CACHES[32], folder / "unrounded"), LONG, AFTER)
    here = {bits: prover.here(folder / bundle, LONG, AFTER) for bits, bundle in CACHES.items()}
    return {
        "context": LONG,
        "instructions_a_token": {
            bits: {PROMPT: short[bits].token.instructions, LONG: long[bits].token.instructions} for bits in CACHES
        },
        "dot_products_of_attention": (long[8].token.dot - long[32].token.dot) / attention_pairs(LONG),
        "matrix_instructions": long[8].token.matrix + long[8].prompt.matrix,
        "off": {
            **{f"a76, {bits} bits, from exact": off(long[bits].logits, exact) for bits in CACHES},
            **{f"x86-64, {bits} bits, from exact": off(here[bits], exact) for bits in CACHES},
        },
    }


def cache_faults(found: dict[str, Any]) -> Iterator[str]:
    if not 1 <= found["dot_products_of_attention"] <= 1.5:  # whole blocks are multiplied, empty slots with them
        yield f"cache: {found['dot_products_of_attention']:.2f} of attention's products by dot-product instructions"
    if found["matrix_instructions"]:
        yield "cache: instructions that the core does not have"
    off = found["off"]
    rounding_of_cache = np.sqrt(off["x86-64, 8 bits, from exact"] ** 2 - off["x86-64, 32 bits, from exact"] ** 2)
    if not off["a76, 8 bits, from exact"] <= SPREAD * np.hypot(off["a76, 32 bits, from exact"], rounding_of_cache):
        yield "cache: 8 bits take more from the logits than on x86-64"


def faults(found: dict[str, Any]) -> Iterator[str]:
    for phase, part in found["dot_products_of_products"].items():
        if not 1 <= part <= 1.1:  # the 8-bit kernels add some of their own
            yield f"{found['file']}: {phase}: {part:.2f} of the products by dot-product instructions"
    if found["matrix_instructions"]:
        yield f"{found['file']}: instructions that the core does not have"
    apart = found["off"]
    own, other = (apart[f"{what} from unrounded activations"] for what in ("a76's formula", "x86-64"))
    bounds = {
        "unrounded activations": SPREAD * own,
        "x86-64": SPREAD * float(np.hypot(own, other)),  # two roundings that know nothing of each other
        "a76's formula": own / 2,  # else it explains nothing
    }
    for what, bound in bounds.items():
        if not apart[f"a76 from {what}"] <= bound:  # nothing is near a NaN
            yield f"{found['file']}: further from {what} than rounding explains"


def kernel_faults(found: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    for processor, kinds in found.items():
        for kind, apart in kinds.items():
            how = ROUNDED[processor][kind]
            if not apart[how] <= SAME:
                yield f"{processor}, {kind}: the kernel does not round by {how}: {apart}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    work = home / "edge-assistant" / "a76"
    parser.add_argument("--work", type=Path, default=work, help="folder for all that is made (%(default)s)")
    parser.add_argument("--base", type=Path, metavar="TAR", help="an arm64 Debian trixie with Python")
    parser.add_argument("--peer", type=Path, metavar="PROGRAM", help="peer.c with llama.cpp, compiled")
    parser.add_argument("--files", nargs="*", choices=FILES, default=list(FILES), help="held against llama.cpp; may be none")
    options = parser.parse_args()
    for tool, package in {"qemu-aarch64": "qemu-user", "gcc": "gcc", "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu"}.items():
        if not shutil.which(tool):
            parser.error(f"{tool} is missing: sudo apt install {package}")
    options.work.mkdir(parents=True, exist_ok=True)
    base = options.base or options.work / "base.tar"
    if not base.exists() and not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        parser.error(
            f"{base} is not there, and making it takes a system that runs arm64 programs: sudo apt install qemu-user-static"
        )
    shape.AUDIO = AUDIO
    prover = Prover(options.work.resolve(), options.base, options.peer)
    prover.prepare(peer=bool(options.files))
    kernels = prover.kernels()
    cache = prove_cache(prover)
    found = [prove(prover, name) for name in options.files]
    print(json.dumps({"kernels": kernels, "cache": cache, "files": found}, indent=1))
    wrong = [*kernel_faults(kernels), *cache_faults(cache), *(fault for each in found for fault in faults(each))]
    for fault in wrong:
        print(fault, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
