"""The rules of the house that no linter knows."""

import ast
from pathlib import Path

import pytest

import edge_assistant

ROOT = Path(edge_assistant.__file__).parent
PURE = (
    *("frames", "endpoint", "attention", "hearing", "turn", "answer", "sentences", "reply", "prompt"),
    *("echo/delay", "echo/guard", "echo/measure"),
)
IMPURE = {"time", "datetime", "threading", "queue", "os", "random", "subprocess", "socket"}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path, *, inside_functions):
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if inside_functions else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", PURE)
def test_pure_files_ask_the_computer_nothing(file):
    assert not IMPURE & set(imports(ROOT / f"{file}.py", inside_functions=True))


def test_no_import_goes_in_a_circle():
    modules = {name(path) for path in FILES}
    graph = {name(path): {m for m in imports(path, inside_functions=True) if m in modules} - {name(path)} for path in FILES}
    done: set[str] = set()

    def visit(module, road):
        assert module not in road, " -> ".join([*road, module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, [*road, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])


def test_the_product_never_imports_torch():
    for path in FILES:
        assert not {m.split(".")[0] for m in imports(path, inside_functions=True)} & {"torch", "transformers"}, path


def test_files_stay_readable():
    long = {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 500}
    assert not long
