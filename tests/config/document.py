"""Puts the default file of this version into its documentation: `make docs/configuration.md`."""

import sys
from pathlib import Path

from edge_assistant.config_text import default_text

page = Path(sys.argv[1])
head, fence, _ = page.read_text().partition("```toml\n")
page.write_text(f"{head}{fence}{default_text()}```\n")
