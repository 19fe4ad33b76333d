"""The report as a PDF, laid out by typst: tagged, with an outline, its charts as vectors.

What is said travels as one JSON file beside the template and is never pasted into its source, so that a model's name or
a generated text cannot become markup.
"""

from __future__ import annotations

import json
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from core.durable import naming
from core.report.charts import canvas
from core.report.data import ReportData
from core.report.document import document
from core.report.wording import one_line, shortened, visible
from core.value import Json


def pdf(data: ReportData, *, system_fonts: bool = True) -> bytes:
    """The PDF's bytes. `system_fonts` lends glyphs that the page's own fonts lack, such as Chinese."""
    import typst

    pages = document(data)
    said: dict[str, Json] = _made_visible(pages.model_dump(mode="json"))
    said["title"] = one_line(pages.title)
    said["short_title"] = shortened(said["title"], 90)
    said["colours"] = [canvas.ORIGINAL, *canvas.SERIES]
    with tempfile.TemporaryDirectory(prefix="bitpress-report-") as name, as_file(files("resources") / "report") as kept:
        root = Path(name)
        for path, content in (
            (root / "report.json", json.dumps(said, ensure_ascii=False).encode()),
            (root / "report.typ", (kept / "report.typ").read_bytes()),
        ):
            with naming(path, len(content)):
                path.write_bytes(content)
        fonts = typst.Fonts(include_system_fonts=system_fonts, font_paths=[str(kept / "fonts")])
        compiler = typst.Compiler(input=str(root / "report.typ"), root=str(root), font_paths=fonts)
        moment = int(data.created.timestamp())
        try:
            made = compiler.compile(format="pdf", timestamp=moment, pdf_standards="ua-1")
        except typst.TypstError:
            # PDF/UA-1 refuses text for which no font has a glyph; a tagged PDF with a box in its place is still right.
            made = compiler.compile(format="pdf", timestamp=moment)
    assert isinstance(made, bytes)  # noqa: S101
    return made


def _made_visible(value: Json) -> Json:
    """Every string of the document with its hidden characters shown; charts are drawn already and stay."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_made_visible(item) for item in value]
    if isinstance(value, dict):
        return {key: item if key == "svg" else _made_visible(item) for key, item in value.items()}
    return value
