"""Where the application keeps what it makes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder under which everything that the application keeps lives; folders are made by whoever writes."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Home:
        """`BITPRESS_HOME`, else the platform's data folder for applications."""
        if named := environment.get("BITPRESS_HOME"):
            return cls(Path(named).expanduser().absolute())
        import platformdirs

        return cls(Path(platformdirs.user_data_dir("bitpress", appauthor=False)))

    @property
    def settings_file(self) -> Path:
        return self.root / "settings.json"

    @property
    def store_file(self) -> Path:
        """The SQLite file of runs."""
        return self.root / "runs.sqlite"

    @property
    def runs(self) -> Path:
        """One folder a run: log, events, telemetry, large results."""
        return self.root / "runs"

    def run_folder(self, run: int) -> Path:
        return self.runs / f"{run:06d}"

    @property
    def models(self) -> Path:
        """Imported models, the starter model among them."""
        return self.root / "models"

    @property
    def artifacts(self) -> Path:
        """Compressed models, unless a run names another place."""
        return self.root / "artifacts"

    @property
    def downloads(self) -> Path:
        return self.root / "cache" / "downloads"

    @property
    def surveys(self) -> Path:
        """What the worker found inside models, one JSON file per fingerprint."""
        return self.root / "cache" / "surveys"

    @property
    def answers(self) -> Path:
        """Self-made calibration chat, one folder per model and settings."""
        return self.root / "cache" / "answers"

    @property
    def sensitivities(self) -> Path:
        """How sensitive weights were found to be, one file per model and calibration data."""
        return self.root / "cache" / "sensitivities"

    @property
    def consents(self) -> Path:
        """What models' own code a person agreed to, one JSON file per fingerprint."""
        return self.root / "consents"

    @property
    def presets(self) -> Path:
        """Named recipes, one YAML file each."""
        return self.root / "presets"

    @property
    def gates(self) -> Path:
        """A person's own gates, one YAML file each."""
        return self.root / "gates"

    @property
    def sweeps(self) -> Path:
        """One folder a sweep."""
        return self.root / "sweeps"

    @property
    def calibration_sets(self) -> Path:
        """Named calibration sets: their contents by hash, and one small file a name."""
        return self.root / "calibration"

    @property
    def texts(self) -> Path:
        """Evaluation texts that were fetched on request, one folder each."""
        return self.root / "texts"

    @property
    def engines(self) -> Path:
        """Environments of engines that are not part of the application, one folder each."""
        return self.root / "engines"

    @property
    def reports(self) -> Path:
        return self.root / "reports"
