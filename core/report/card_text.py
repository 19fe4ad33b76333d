"""Foreign text as the model card may hold it."""

from __future__ import annotations

import re

from core.report.wording import one_line


def text(foreign: str) -> str:
    """Foreign text on one line, with everything that Markdown or HTML would read as markup escaped."""
    plain = one_line(foreign).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", plain).replace("://", ":&#47;&#47;").replace("@", "&#64;")
