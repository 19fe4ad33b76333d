"""Which function serves which command; heavy libraries are imported inside the tasks."""

from __future__ import annotations

from core.jobs.opens import Opens, opened
from core.jobs.protocol import (
    AnswerPrompts,
    Benchmark,
    Command,
    Compress,
    CutModel,
    Evaluate,
    ExportPlain,
    Generate,
    GetReady,
    ImportGguf,
    InspectCalibration,
    Load,
    MeasureSensitivity,
    MeasureServer,
    Prove,
    Recover,
    RunTasks,
    SurveyModel,
    Unload,
)
from core.value import Json
from core.worker.loading import Loaded
from core.worker.own_code import open_own_code
from core.worker.reporter import Reporter


class Tasks:
    """Runs commands; keeps the one model that `load` loaded, until `unload`."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None

    def run(self, command: Command, report: Reporter) -> Json:
        """The command's result as JSON. Raises BitpressError, or whatever a library raises."""
        if isinstance(command, Opens):
            open_own_code(opened(command), command.code)
        match command:
            case ImportGguf():
                from core.worker import import_gguf

                return import_gguf.run(command, report)
            case ExportPlain():
                from core.worker import export_plain

                return export_plain.run(command, report)
            case SurveyModel():
                from core.worker import survey

                return survey.run(command, report)
            case InspectCalibration():
                from core.worker import inspect_calibration

                return inspect_calibration.run(command, report)
            case AnswerPrompts():
                from core.worker import answers

                return answers.run(command, report)
            case Compress():
                from core.worker import compress

                return compress.run(command, report)
            case Prove():
                from core.worker import prove

                return prove.run(command, report)
            case Recover():
                from core.worker.recovery import run as recovery

                return recovery.run(command, report)
            case CutModel():
                from core.worker import cut_model

                return cut_model.run(command, report)
            case GetReady():
                from core.worker import loading

                loading.import_libraries()
                return None
            case Evaluate():
                from core.worker import evaluate

                return evaluate.run(command, report)
            case RunTasks():
                from core.worker import task_run

                return task_run.run(command, report)
            case Benchmark():
                from core.worker import benchmark

                return benchmark.run(command, report)
            case MeasureSensitivity():
                from core.worker import sensitivity

                return sensitivity.run(command, report)
            case MeasureServer():
                from core.worker import measure_server

                return measure_server.run(command, report)
            case Load():
                from core.worker import generate

                self._loaded = None
                self._loaded, result = generate.load(command, report)
                return result
            case Generate():
                from core.worker import generate

                return generate.run(command, report, self._loaded)
            case Unload():
                from core.worker.loading import release

                self._loaded = None
                release()
                return None
        raise AssertionError(f"not a task: {command.type}")
