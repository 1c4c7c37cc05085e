"""edge-assistant: speak to a small computer with no network, and it answers aloud."""
