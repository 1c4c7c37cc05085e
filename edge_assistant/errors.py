"""Everything that can go wrong for a reason a person can mend.

EdgeAssistantError          one clear line: what is wrong; `mend` says what to do
├── UsageError              the command line asks for something that cannot be
├── ConfigError             an unknown key, a wrong type, a value out of range
├── AudioFileError          a recording that cannot be read as sound
├── DeviceError             a sound device that is absent, busy or forbidden
├── EchoError               an echo canceller that is not installed, or not set up
├── VoiceError              no voice can speak
├── JournalError            a journal that cannot be read, or whose decisions are other ones now
├── FetchError              a model that cannot be fetched from where it lies
├── StorageError            no room, or a folder that cannot be written
├── CheckpointError         a published checkpoint that cannot become a bundle
├── BundleError             a bundle that is absent, altered, incomplete or of another version
└── ContextFull             the conversation no longer fits the model's cache
"""


class EdgeAssistantError(Exception):
    """A fault with a mend. The command line prints both in one line and exits with 2."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}; {mend}" if mend else what)
        self.what = what
        self.mend = mend


class UsageError(EdgeAssistantError):
    """The command line asks for something that cannot be."""


class ConfigError(EdgeAssistantError):
    """An unknown key, a wrong type, or a value out of range."""


class AudioFileError(EdgeAssistantError):
    """A recording that cannot be read as sound."""


class DeviceError(EdgeAssistantError):
    """A sound device that is absent, busy or forbidden."""


class EchoError(EdgeAssistantError):
    """An echo canceller that is not installed, or not set up."""


class VoiceError(EdgeAssistantError):
    """No voice can speak."""


class JournalError(EdgeAssistantError):
    """A journal that cannot be read, or whose decisions are other ones now."""


class FetchError(EdgeAssistantError):
    """A model that cannot be fetched from where it lies."""


class StorageError(EdgeAssistantError):
    """No room, or a folder that cannot be written."""


class CheckpointError(EdgeAssistantError):
    """A published checkpoint that cannot become a bundle."""


class BundleError(EdgeAssistantError):
    """A bundle that is absent, altered, incomplete or of another version."""


class ContextFull(EdgeAssistantError):
    """The conversation no longer fits the model's cache."""
