"""What our own modifiers tell while they work; whoever runs them overrides these in a subclass."""

from __future__ import annotations

from llmcompressor.modifiers import Modifier


class ReportedModifier(Modifier):
    """A modifier that says how far it is and what it measured. Alone, it says so to nobody."""

    def told(self, done: float, total: float, detail: str) -> None:
        """So much of so much is done; may raise, to end the work."""

    def measured(self, name: str, value: float, layer: str, relative: float | None = None) -> None:
        """A figure of one part of the model."""

    def warned(self, code: str, message: str) -> None:
        """What a person should know and what did not stop the work."""
