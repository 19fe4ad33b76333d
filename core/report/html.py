"""The report as one HTML file that needs nothing beside it, runs nothing and loads nothing."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files

from core.report.blocks import (
    Answer,
    Answers,
    Block,
    Callout,
    Cell,
    Chart,
    Code,
    Facts,
    Heading,
    Paragraph,
    Quote,
    Section,
    Table,
)
from core.report.charts.canvas import SERIES
from core.report.data import Level, ReportData
from core.report.document import document
from core.report.wording import one_line, visible

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing may be loaded or run, whatever a name or a text holds; charts and the page carry their own styles."""


MANY = 6
"""Columns from which on a table is set narrower, and scrolls by itself where the window is too small."""


def html(data: ReportData) -> str:
    """The whole page. Everything that comes from outside is escaped, and hidden characters are shown."""
    page = document(data)
    title = _text(one_line(page.title))
    chapters = "".join(_section(number, section) for number, section in enumerate(page.sections, 1))
    contents = "".join(f'<li><a href="#{_text(s.id)}">{_text(s.title)}</a></li>' for s in page.sections)
    words = "".join(f"<dt>{_text(word)}</dt><dd>{_text(meaning)}</dd>" for word, meaning in page.words)
    style = files("resources").joinpath("report/report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="kicker">{_text(page.kicker)}</p><h1>{title}</h1></header>\n'
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>\n{chapters}'
        f"<section><h2>The words of this report</h2><dl>{words}</dl></section>\n"
        f"<footer>{_text(page.author)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return escape(visible(text), quote=True)


def _section(number: int, section: Section) -> str:
    blocks = "\n".join(_block(block, f"{section.id}-{place}") for place, block in enumerate(section.blocks))
    heading = f'<h2><span class="number">{number}</span>{_text(section.title)}</h2>'
    return f'<section id="{_text(section.id)}">\n{heading}\n{blocks}\n</section>\n'


def _block(block: Block, identity: str) -> str:
    match block:
        case Heading():
            return f"<h3>{_named(block.text, block.series)}</h3>"
        case Paragraph():
            return f"<p{' class=quiet' if block.quiet else ''}>{_text(block.text)}</p>"
        case Callout():
            lines = "".join(f"<p>{_text(line)}</p>" for line in block.lines)
            return f'<div class="callout {block.level}"><strong>{_text(block.title)}</strong>{lines}</div>'
        case Table():
            return _table(block)
        case Facts():
            rows = "".join(f"<dt>{_text(label)}</dt><dd>{_cell(cell)}</dd>" for label, cell in block.rows)
            return f"<dl>{rows}</dl>"
        case Chart():
            drawn = _chart(block, identity)
            return f"<figure>{drawn}<figcaption>{_text(block.caption)}</figcaption></figure>"
        case Code():
            return f"{_label(block.label)}<pre><code>{_text(block.text)}</code></pre>"
        case Quote():
            return f'{_label(block.label)}<div class="quote" dir="auto">{_text(block.text)}</div>'
        case Answers():
            return f'<div class="answers">{"".join(map(_answer, block.answers))}</div>'


def _label(label: str) -> str:
    return f'<p class="label">{_text(label)}</p>' if label else ""


def _named(title: str, series: int | None) -> str:
    if series is None:
        return _text(title)
    return f'<span class="square series-{_place(series)}"></span>{_text(title)}'


def _place(series: int) -> int:
    """Number of the series' colour in the style sheet."""
    return 0 if series == 0 else (series - 1) % len(SERIES) + 1


def _table(table: Table) -> str:
    kinds = [' class="figures"' if column.figures else "" for column in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{_named(column.title, column.series)}</th>'
        for kind, column in zip(kinds, table.columns, strict=True)
    )
    body = "".join(f"<tr>{_row(row, kinds)}</tr>" for row in table.rows)
    total = sum(column.share for column in table.columns)
    widths = "".join(f'<col style="width: {column.share / total:.1%}">' for column in table.columns)
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    many = ' class="many"' if len(table.columns) > MANY else ""
    columns = f"<colgroup>{widths}</colgroup>"
    rows = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table{many}>{caption}{columns}{rows}</table></div>'


def _row(row: tuple[Cell, ...], kinds: list[str]) -> str:
    first, *others = (f"{kind}>{_cell(cell)}" for kind, cell in zip(kinds, row, strict=True))
    return f'<th scope="row"{first}</th>' + "".join(f"<td{other}</td>" for other in others)


def _cell(cell: Cell) -> str:
    kinds = ["mono"] * cell.mono + [str(cell.level)] * (cell.level is not Level.NEUTRAL)
    said = f'<span class="{" ".join(kinds)}">{_text(cell.text)}</span>' if kinds else _text(cell.text)
    return said + (f'<span class="note">{_text(cell.note)}</span>' if cell.note else "")


def _answer(answer: Answer) -> str:
    mark = f"<mark>{_text(answer.mark)}</mark>" if answer.mark else ""
    lines = "<br>".join(_text(line) for line in answer.lines)
    text = f"{_text(answer.same)}{mark}{_text(answer.rest)}"
    return (
        f'<div><h4>{_named(answer.title, answer.series)}</h4><p class="lines">{lines}</p>'
        f'<div class="answer edge-{_place(answer.series)}" dir="auto">{text}</div></div>'
    )


def _chart(chart: Chart, identity: str) -> str:
    """The drawing inside the page: named for readers that cannot see it, its ids made its own."""
    own = re.sub("<[^>]*>", lambda tag: re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{identity}-", tag.group()), chart.svg)
    return own.replace("<svg ", f'<svg role="img" aria-label="{_text(chart.alternative)}" ', 1)
