"""Templates: a small part of Jinja's language, which can put a question into words and nothing else.

    {% set style = "cot" %}
    {% block system %}You watch closely.{% endblock %}
    {{ question }}
    {% for letter in letters %}
    {{ letter }}. {{ options[loop.index0] }}
    {% endfor %}
    Think inside <think></think>, then answer inside <answer></answer>.

A checkpoint brings its prompt along, so a template may come from strangers. It is rendered in Jinja's sandbox, and what it may
hold is listed below rather than what it may not: no calls, no attributes but those of `loop`, no arithmetic that makes long
texts, and loops over the question's options alone. So rendering ends, soon, with the same text everywhere. A question's words
are values, and are never read as a template.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import msgspec
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2 import Template as Compiled
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from videothinker import answers
from videothinker.answers import Style
from videothinker.errors import VtError
from videothinker.records import Form, Question
from videothinker.records.prompt import Template

LONGEST_FILE = 20_000
"""Characters that a template may have: some ten times the longest prompt that anybody has published."""
LONGEST_PROMPT = 100_000
"""Characters that may come of it for one question, system text included."""
VARIABLES = ("question", "options", "letters", "form", "n_options")
"""What a template is told: the question's text, the options' texts and letters, "letters", "choice" or "yes-no" (or a further
`records.Form`), and the number of options."""

_ALLOWED: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Getattr),
    *(nodes.Getitem, nodes.Slice, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr),
    *(nodes.Filter, nodes.Test, nodes.Add, nodes.Sub, nodes.Concat, nodes.List, nodes.Tuple),
)
_FILTERS = ("upper", "lower", "trim", "capitalize", "title", "length", "first", "last", "join")
_TESTS = ("odd", "even", "in")
_LOOP = ("index", "index0", "revindex", "revindex0", "first", "last", "length")
_SHORT = ("options", "letters")
"""What may be looped over and joined: 26 texts at most."""
_NESTED = 2
"""Loops inside one another."""
_STYLE, _SYSTEM = "style", "system"


class Rendered(NamedTuple):
    """What comes of a template for one question."""

    user: str
    """The text behind the clip."""
    system: str | None
    """The system text; None leaves it to the checkpoint's chat template."""


class _Parsed(NamedTuple):
    user: Compiled
    system: Compiled | None
    style: Style


def read_file(path: Path) -> Template:
    """The template in a file.

    Raises:
        VtError: it cannot be read, is too long, or is no template; names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise VtError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise VtError(f"{path}: is not UTF-8, expected a text file") from error
    return make(text, str(path))


def make(text: str, source: str) -> Template:
    """The template of a text. source: what messages call it.

    Raises:
        VtError: as for `read_file`.
    """
    if len(text) > LONGEST_FILE:
        raise VtError(f"{source}: has {len(text):,} characters, expected a prompt of {LONGEST_FILE:,} at most")
    _parsed(text, source)
    return Template(sha256=hashlib.sha256(text.encode()).hexdigest(), text=text)


def style_of(template: Template, source: str = "the prompt") -> Style:
    """The style of reply that a template says it asks for."""
    return _parsed(template.text, source).style


def render(template: Template, question: Question, source: str = "the prompt") -> Rendered:
    """The prompt for a question.

    Raises:
        VtError: the template asks for something that is not there, or makes too long a text.
    """
    parsed = _parsed(template.text, source)
    known = {
        "question": question.text,
        "options": list(question.options),
        "letters": list(answers.LETTERS[: len(question.options)]),
        "form": question.form.value,
        "n_options": len(question.options),
    }
    user = _rendered(parsed.user, known, source)
    system = None if parsed.system is None else _rendered(parsed.system, known, source)
    if len(user) + len(system or "") > LONGEST_PROMPT:
        raise VtError(
            f"{source}: makes more than {LONGEST_PROMPT:,} characters of question {question.question_id}; write a shorter"
            " prompt"
        )
    return Rendered(user, system)


def check(template: Template, questions: Sequence[Question], source: str = "the prompt") -> None:
    """Check that every question can be put, and is put with its text and, unless it is of yes or no, its options.

    Whether they are in the prompt is tried with characters that stand for them, once for each form and number of options.

    Raises:
        VtError: one cannot, or is not.
    """
    for question in {(one.form, len(one.options)): one for one in questions}.values():
        _check_mentions(template, question, source)
    for question in questions:
        render(template, question, source)


_MARK = 0xE000
"""The first of the characters that no text uses and no filter changes."""


def _check_mentions(template: Template, question: Question, source: str) -> None:
    marks = [chr(_MARK + 1 + i) for i in range(len(question.options))]
    marked = msgspec.structs.replace(question, text=chr(_MARK), options=tuple(marks))
    user, system = render(template, marked, source)
    kind = f"a question of the form {question.form.value}"
    said = user + (system or "")
    if chr(_MARK) not in said:
        raise VtError(f"{source}: does not say {kind}; write {{{{ question }}}} where its text belongs")
    shown = () if question.form is Form.YES_NO else marks
    if lost := [answers.LETTERS[i] for i, mark in enumerate(shown) if mark not in said]:
        raise VtError(
            f"{source}: leaves out option{'s' * (len(lost) > 1)} {', '.join(lost)} of {kind} with {len(marks)} options; loop"
            " over them: {% for letter in letters %}{{ letter }}. {{ options[loop.index0] }}{% endfor %}"
        )


def _rendered(template: Compiled, known: dict[str, Any], source: str) -> str:
    pieces, n = [], 0
    try:
        for piece in template.generate(known):
            pieces.append(piece)
            n += len(piece)
            if n > LONGEST_PROMPT:
                break  # the caller says so
    except (TemplateError, TypeError, ValueError, LookupError) as error:
        raise VtError(f"{source}{_line(error)}: {_message(error)}") from error
    return "".join(pieces).strip("\n")


_FILE = "<prompt>"


def _line(error: BaseException) -> str:
    """ ", line 3", as the traceback has it: Jinja compiles a template so that its lines are the file's."""
    found, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == _FILE:
            found = at.tb_lineno
        at = at.tb_next
    return "" if found is None else f", line {found}"


def _message(error: BaseException) -> str:
    """The first line of what Jinja says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@lru_cache(maxsize=16)
def _parsed(text: str, source: str) -> _Parsed:
    """The template's two texts, compiled, and its style."""
    environment = _environment()
    try:
        whole = environment.parse(text)
    except TemplateSyntaxError as error:
        raise VtError(f"{source}, line {error.lineno}: is no Jinja template: {_message(error)}") from error
    except RecursionError as error:
        raise VtError(f"{source}: is nested too deeply; write a simpler prompt") from error
    style, system, body = None, None, []
    for node in whole.body:
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name) and node.target.name == _STYLE:
            style = _style(node, source)
        elif isinstance(node, nodes.Block):
            if node.name != _SYSTEM or system is not None:
                raise VtError(f"{source}, line {node.lineno}: block {node.name}: expected one block, which is named {_SYSTEM}")
            system = node.body
        else:
            body.append(node)
    if style is None:
        raise VtError(
            f'{source}: does not say how replies are laid out; begin with {{% set style = "cot" %}} (<think></think>, then'
            ' <answer></answer>) or "direct" (<answer></answer> alone)'
        )
    try:
        for node in (*body, *(system or ())):
            _check(node, source, known=VARIABLES, depth=0)
        return _Parsed(_compiled(environment, body), None if system is None else _compiled(environment, system), style)
    except (RecursionError, SyntaxError, MemoryError) as error:  # what Python's compiler says of deep nesting
        raise VtError(f"{source}: is nested too deeply; write a simpler prompt") from error


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which [...] takes items and never attributes, whose texts hold addresses in memory."""

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The item of a list or text; a name in brackets is refused."""
        if isinstance(argument, str):
            raise SecurityError(f"[{argument!r}] is not allowed in a prompt: items have numbers")
        return super().getitem(obj, argument)


def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, optimized=False, cache_size=0
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


def _compiled(environment: _Environment, body: list[nodes.Node]) -> Compiled:
    lineno = body[0].lineno if body else 1
    template = nodes.Template(body, lineno=lineno)
    template.set_environment(environment)
    code: CodeType = environment.compile(template, filename=_FILE)
    return Compiled.from_code(environment, code, {})


def _style(node: nodes.Assign, source: str) -> Style:
    value = node.node.value if isinstance(node.node, nodes.Const) else None
    if value not in list(Style):
        raise VtError(f"{source}, line {node.lineno}: style is {value!r}, expected {' or '.join(map(repr, map(str, Style)))}")
    return Style(value)


def _check(node: nodes.Node, source: str, known: tuple[str, ...], depth: int) -> None:
    """Raise VtError if a part of a template is not among what templates may hold. known: names that it may use."""
    if (fault := next(_faults(node, known, depth), None)) is not None:
        raise VtError(f"{source}, line {node.lineno}: {fault} (docs/diagnose.md says what a prompt may hold)")
    if isinstance(node, nodes.For):
        known, depth = (*known, "loop", getattr(node.target, "name", "")), depth + 1
    for child in node.iter_child_nodes():
        _check(child, source, known, depth)


def _faults(node: nodes.Node, known: tuple[str, ...], depth: int) -> Iterator[str]:
    if isinstance(node, nodes.Name) and node.ctx == "load" and node.name not in known:
        yield f"there is no {node.name}; known here are {', '.join(known)}"
    if not isinstance(node, _ALLOWED):
        yield f"{type(node).__name__.lower()} is not allowed in a prompt"
    if isinstance(node, nodes.Getattr) and not (
        isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in _LOOP
    ):
        yield f".{node.attr} is not allowed in a prompt: loop alone has attributes ({', '.join(_LOOP)})"
    if isinstance(node, nodes.Filter) and (node.name not in _FILTERS or node.node is None):
        yield f"the filter {node.name} is not allowed in a prompt; there are {', '.join(_FILTERS)}"
    if isinstance(node, nodes.Filter) and node.name == "join" and not _is_short(node.node):
        yield f"join is for {' and '.join(_SHORT)}"
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        yield f"the test {node.name} is not allowed in a prompt; there are {', '.join(_TESTS)}"
    if isinstance(node, nodes.For) and (not _is_short(node.iter) or node.recursive):
        yield f"a loop is over {' or '.join(_SHORT)}"
    if isinstance(node, nodes.For) and depth >= _NESTED:
        yield f"{depth + 1} loops in one another, expected {_NESTED} at most"
    if isinstance(node, nodes.For) and not (
        isinstance(node.target, nodes.Name) and node.target.name not in (*VARIABLES, "loop")
    ):
        yield "a loop has one variable, with a name of its own"


def _is_short(node: nodes.Node | None) -> bool:
    return isinstance(node, nodes.Name) and node.name in _SHORT
