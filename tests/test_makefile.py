"""What the documents tell people to make can be made."""

import re
from pathlib import Path

HOUSE = Path(__file__).parents[1]
MAKEFILE = (HOUSE / "Makefile").read_text()
RULES = set(re.findall(r"^([\w./-]+):(?!=)", MAKEFILE, re.MULTILINE)) - {".PHONY", ".DEFAULT_GOAL"}
PHONY = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)


def test_every_phony_target_has_a_rule():
    """make says "Nothing to be done", and succeeds, where one has none."""
    assert PHONY
    assert set(PHONY[1].split()) - RULES == set()


def test_every_target_that_a_document_names_is_there():
    documents = [HOUSE / "README.md", HOUSE / "CHANGELOG.md", *(HOUSE / "docs").rglob("*.md"), *(HOUSE / "assets").rglob("*.md")]
    named = {(name, each.name) for each in documents for name in re.findall(r"`make ([a-z0-9-]+)", each.read_text())}
    assert len(named) > 20
    assert {(name, document) for name, document in named if name not in RULES} == set()
