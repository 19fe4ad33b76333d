"""The jinja templates of task files: checked by their syntax tree, rendered in a sandbox.

lm-evaluation-harness renders them in a plain jinja environment, from which `{{ ''.__class__ }}` leads to any Python
code. A template comes from a stranger's file: only the constructs named here pass, and the worker renders what passed
in the sandbox of this file, put in the place of lm-evaluation-harness's own environment.

Templates are also filled in by the application itself, to check every item before a run. So nothing is let through by
which a few characters could keep a processor busy or fill the memory: no regular expressions, no loops inside loops,
no variables that grow, no repetition, and no text longer than a context.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2.sandbox import SandboxedEnvironment

LONGEST = 32 * 1024
"""Characters of a template."""

LONGEST_RENDERED = 1024 * 1024
"""Characters of a rendered prompt: more than most contexts hold, and small enough for any memory."""

MOST_TURNS = 100
"""Turns of one `range`."""

_NODES = (
    "Template Output TemplateData Name Getitem Getattr Const List Tuple Dict Pair Filter If For CondExpr Compare "
    "Operand And Or Not Add Sub Neg Concat Slice Test Call Keyword"
)
_FILTERS = (
    "abs capitalize d default first float int join last length list lower replace reverse round sort "
    "string title tojson trim unique upper"
)
_TESTS = "defined undefined none string number sequence mapping iterable odd even eq ne lt le gt ge in equalto"
_METHODS = (
    "strip lstrip rstrip lower upper title capitalize split rsplit splitlines replace index find startswith endswith "
    "join get items keys values count removeprefix removesuffix isdigit"
)


class TemplateRefusedError(Exception):
    """The template holds something that is not let through; the text says what."""


def check_template(template: str) -> None:
    """Raise TemplateRefusedError unless the template holds nothing but harmless constructs."""
    from jinja2 import TemplateSyntaxError

    if len(template) > LONGEST:
        raise TemplateRefusedError(f"it has {len(template):,} characters, and at most {LONGEST:,} are read")
    try:
        tree = sandbox().parse(template)
        _check(tree, 0)
        sandbox().from_string(template)
    except TemplateSyntaxError as error:
        raise TemplateRefusedError(f"it is no jinja template: {error.message}") from None
    except (RecursionError, MemoryError):
        raise TemplateRefusedError("it is nested too deep") from None


def render(template: str, document: Mapping[str, Any]) -> str:
    """The template filled with the item's fields. Raises TemplateRefusedError with what is wrong with the item."""
    try:
        text = sandbox().from_string(template).render(**document)
    except TemplateRefusedError:
        raise
    except Exception as error:
        # A template may raise whatever the methods it calls raise.
        said = str(error).splitlines()
        raise TemplateRefusedError(f"it cannot be filled in: {said[0] if said else type(error).__name__}") from None
    _bounded(len(text))
    return text


@cache
def sandbox() -> SandboxedEnvironment:
    """The environment of lm-evaluation-harness (strict about unknown names, keeping the last newline), sandboxed.

    Cached because building one takes longer than rendering; nothing changes it afterwards.
    """
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**", "%"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            raise TemplateRefusedError(f"the operator {operator} is not offered")

        def call(self, context: Any, called: Any, *args: Any, **options: Any) -> Any:
            text, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
            if isinstance(text, str) and name == "replace":
                return _replace(text, *args, **options)
            if isinstance(text, str) and name == "join":
                return _join(args[0] if args else (), text)
            return super().call(context, called, *args, **options)

    environment = Sandbox(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    own = {"replace": _replace, "join": _join}
    environment.filters = {name: rule for name, rule in environment.filters.items() if name in _FILTERS.split()} | own
    tests = _TESTS.split()
    environment.tests = {name: rule for name, rule in environment.tests.items() if name in tests or not name.isalpha()}
    environment.globals = {"range": _turns}
    return environment


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text = str(value)
    found = text.count(old) if count < 0 else min(text.count(old), count)
    _bounded(len(text) + found * len(new))
    return text.replace(old, new, count)


def _join(parts: Any, between: str = "") -> str:
    words = [str(part) for part in parts]
    _bounded(sum(map(len, words)) + len(between) * len(words))
    return between.join(words)


def _turns(*bounds: int) -> range:
    wanted = range(*bounds)
    if len(wanted) > MOST_TURNS:
        raise TemplateRefusedError(f"a range of {len(wanted):,} is longer than {MOST_TURNS:,}")
    return wanted


def _bounded(length: int) -> None:
    if length > LONGEST_RENDERED:
        raise TemplateRefusedError(f"it becomes {length:,} characters long, more than {LONGEST_RENDERED:,}")


def _check(node: Any, loops: int) -> None:
    from jinja2 import nodes

    kind = type(node).__name__
    if kind not in _NODES.split():
        raise TemplateRefusedError(f"it uses {_named(kind)}")
    if isinstance(node, nodes.Filter) and node.name not in _FILTERS.split():
        raise TemplateRefusedError(f"it uses the filter {node.name}")
    if isinstance(node, nodes.Test) and node.name not in _TESTS.split():
        raise TemplateRefusedError(f"it uses the test {node.name}")
    if isinstance(node, nodes.Name | nodes.Getattr) and _attribute(node).startswith("_"):
        raise TemplateRefusedError(f"it reaches for {_attribute(node)}")
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and str(node.arg.value).startswith("__"):
        raise TemplateRefusedError(f"it reaches for {node.arg.value}")
    if isinstance(node, nodes.Call):
        called = node.node
        method = isinstance(called, nodes.Getattr) and called.attr in _METHODS.split()
        if not method and not (isinstance(called, nodes.Name) and called.name == "range"):
            raise TemplateRefusedError(f"it calls {getattr(called, 'attr', getattr(called, 'name', 'something'))}")
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateRefusedError("it unpacks arguments")
    if isinstance(node, nodes.For):
        loops += 1
        if node.recursive or loops > 1:
            raise TemplateRefusedError("it loops inside a loop")
    for child in node.iter_child_nodes():
        _check(child, loops)


def _attribute(node: Any) -> str:
    return str(getattr(node, "attr", getattr(node, "name", "")))


def _named(kind: str) -> str:
    words = {"Mul": "the operator *", "Pow": "the operator **", "Mod": "the operator %", "Include": "include"}
    return words.get(kind, f"the construct {kind}")
