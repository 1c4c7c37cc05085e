"""What the assistant can do: one file for each kind of thing, and entry points for those of others.

`contract` makes a tool of a typed function, `toolbox` runs it, `plugins` finds what other packages bring.
"""

from edge_assistant.tools.contract import Between, Cancel, OneOf, Outcome, Result, Risk, Tool, ToolError, Transcript, tool
from edge_assistant.tools.toolbox import Toolbox

__all__ = ["Between", "Cancel", "OneOf", "Outcome", "Result", "Risk", "Tool", "ToolError", "Toolbox", "Transcript", "tool"]
