"""Checked tasks written anew into a private folder: the only task files that lm-evaluation-harness ever reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.errors import BitpressError
from core.measure.task_files import TaskFile
from core.methods.yaml_nodes import dump


def write_tasks(tasks: Sequence[TaskFile], folder: Path) -> None:
    """One `NAME.yaml` and one parquet file a split for each task, into the new folder.

    The YAML is made of what passed the checks, so it holds no tag, no template that did not pass and no path but
    those of our own files; `datasets` unpacks them into `folder` as well. Parquet, because the JSON reader of
    `datasets` takes texts that look like dates for dates. Raises BitpressError `bad-task-data`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    for task in tasks:
        data_files: dict[str, str] = {}
        for split, rows in task.data.items():
            fields = dict.fromkeys(field for row in rows for field in row)
            path = (folder / f"{task.name}.{split}.parquet").absolute()
            try:
                pq.write_table(pa.Table.from_pylist([dict.fromkeys(fields) | row for row in rows]), path)
            except (pa.ArrowException, OverflowError) as error:
                raise BitpressError(
                    "bad-task-data",
                    f"The items of {task.name} do not make a table: {str(error).splitlines()[0]}.",
                    "Give each field the same kind of value in every item.",
                ) from error
            data_files[split] = str(path)
        config = {
            **task.config,
            "dataset_path": "parquet",
            "dataset_kwargs": {"data_files": data_files, "cache_dir": str((folder / "cache").absolute())},
        }
        (folder / f"{task.name}.yaml").write_text(dump(config), encoding="utf-8")
