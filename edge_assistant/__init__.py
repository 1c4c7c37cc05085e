"""edge-assistant: speak to a small computer with no network, and it answers aloud."""

import os

# From 1.29 on, onnxruntime's own Linux wheels keep usage records under ~/.cache and send them home unless this stands in the
# environment before the library is loaded. Nothing here sends anything anywhere, so it is not the user's to forget.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
