"""Prompts from files: what comes of one, what one may hold, and that what strangers wrote stays text.

Covers: `prompts.find`, `template.make`, `render` and `check`, with prompts worked out by hand.
"""

from pathlib import Path

import pytest

from videothinker import prompts
from videothinker.answers import Style
from videothinker.diagnose.protocols import video_r1
from videothinker.errors import VtError
from videothinker.prompts import template
from videothinker.records import Clip, Form, Question

CONFIGS = Path(__file__).parents[2] / "configs" / "prompts"
HEAD = '{% set style = "cot" %}\n'
BARE = HEAD + "{{ question }} {{ options|join(' / ') }}"


def question(
    text: str = "What falls?", options: tuple[str, ...] = ("the cube", "the ball"), form: Form = Form.LETTERS
) -> Question:
    return Question(
        question_id="q1",
        text=text,
        options=options,
        gold=("A",),
        form=form,
        clip=Clip(path="clip.mp4"),
        group="s",
        source="CLEVRER",
    )


def rendered(text: str, one: Question | None = None) -> template.Rendered:
    return template.render(template.make(text, "mine.jinja"), one or question(), "mine.jinja")


def test_the_example_says_what_a_reader_expects() -> None:
    asked = prompts.find(str(CONFIGS / "observe-first.jinja"))
    assert asked.style is Style.COT
    assert asked.template is not None
    said = template.render(asked.template, question(form=Form.CHOICE))
    assert said.system == "You watch videos closely, and say only what they support."
    assert said.user == (
        "Question: What falls?\n"
        "(A) the cube\n"
        "(B) the ball\n"
        "Say what you saw, and what would follow from it, inside <think></think>.\n"
        "Then give one letter inside <answer></answer>."
    )
    yes_no = template.render(asked.template, question("Does it fall?", ("yes", "no"), Form.YES_NO))
    assert yes_no.user == (
        "Question: Does it fall?\nSay what you saw inside <think></think>, then yes or no inside <answer></answer>."
    )
    kinds = [question(), question(form=Form.CHOICE), question("Does it fall?", ("yes", "no"), Form.YES_NO)]
    template.check(asked.template, kinds)


@pytest.mark.parametrize("form", [Form.LETTERS, Form.CHOICE])
def test_the_shipped_template_has_the_words_of_its_protocol(form: Form) -> None:
    for name in ("video-r1", "videothinker"):
        asked = prompts.find(name)
        assert asked.template is not None
        one = question(form=form)
        assert template.render(asked.template, one) == (video_r1.prompt(one).user, None)


def test_names_of_ours_have_no_template() -> None:
    assert [prompts.find(name) for name in ("cot", "direct")] == [(Style.COT, None), (Style.DIRECT, None)]


def test_no_such_prompt_names_those_there_are() -> None:
    with pytest.raises(VtError, match="prompt mine: is neither a file nor one of cot, direct, twice, video-r1, videothinker"):
        prompts.find("mine")


def test_a_questions_words_are_never_read_as_a_template() -> None:
    text = "{{ 7 * 7 }} {% for x in letters %} {# gone #} {{ question.__class__ }}"
    assert rendered(BARE, question(text, ("{{ letters }}", "<b>&"))).user == text + " {{ letters }} / <b>&"


def test_the_same_text_comes_of_a_file_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(BARE)
    assert prompts.find(str(tmp_path / "one")) == prompts.find(str(tmp_path / "two"))


@pytest.mark.parametrize(
    ("body", "line", "what"),
    [
        ("{{ ''.__class__.__mro__ }}", 2, "loop alone has attributes"),
        ("{{ question['__class__'] }}", 2, "items have numbers"),
        ("{{ question['up' ~ 'per'] }}", 2, "items have numbers"),
        ("{{ question|attr('__class__') }}", 2, "the filter attr is not allowed|No filter"),
        ("\n{{ question.upper() }}", 3, "call is not allowed"),
        ("{{ cycler }}", 2, "there is no cycler"),
        ("{{ self }}", 2, "there is no self"),
        ("{% for i in range(9) %}{% endfor %}", 2, "a loop is over options or letters"),
        ("{% for c in question %}{% endfor %}", 2, "a loop is over options or letters"),
        ("{{ 'a' * 999999999 }}", 2, "mul is not allowed"),
        ("{{ 9 ** 999999999 }}", 2, "pow is not allowed"),
        ("{{ '%999999999d' % 1 }}", 2, "mod is not allowed"),
        ("{% include '/etc/passwd' %}", 2, "include is not allowed"),
        ("{% import 'os' as os %}", 2, "import is not allowed"),
        ("{% macro m() %}{% endmacro %}", 2, "macro is not allowed"),
        ("{% set more = question ~ question %}", 2, "assign is not allowed"),
        ("{{ question|join(question) }}", 2, "join is for options and letters"),
        ("{% for question in options %}{% endfor %}", 2, "a loop has one variable"),
        (
            "{% for a in letters %}{% for b in letters %}{% for c in letters %}{% endfor %}{% endfor %}{% endfor %}",
            2,
            "3 loops in one another",
        ),
        ("{{ optoins }}", 2, "there is no optoins; known here are question, options, letters, form, n_options"),
        ("text\n{{ options[7] }}", 3, "list object has no element 7"),
        ("text\n{% if %}", 3, "is no Jinja template"),
        ("{% block other %}{% endblock %}", 2, "expected one block, which is named system"),
        ('\n{% set style = "thrice" %}', 3, "style is 'thrice', expected 'cot' or 'direct' or 'twice'"),
    ],
)
def test_what_a_prompt_may_not_hold_is_named_with_its_line(body: str, line: int, what: str) -> None:
    with pytest.raises(VtError, match=rf"^mine\.jinja, line {line}: .*(?:{what})") as error:
        rendered(HEAD + body)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("body", ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{{ 1" + " + 1" * 4000 + " }}"])
def test_deep_nesting_ends_in_one_line(body: str) -> None:
    with pytest.raises(VtError, match=r"mine\.jinja: is nested too deeply"):
        rendered(HEAD + body)


def test_bounds_of_file_and_prompt() -> None:
    with pytest.raises(VtError, match=r"mine\.jinja: has 20,001 characters, expected a prompt of 20,000 at most"):
        template.make("a" * 20_001, "mine.jinja")
    longest = HEAD + "{% for a in letters %}{% for b in letters %}" + "a" * 19_000 + "{% endfor %}{% endfor %}"
    rendered(longest)  # 2 x 2 x 19,000
    with pytest.raises(VtError, match="makes more than 100,000 characters of question q1"):
        rendered(longest, question(options=("a", "b", "c")))


def test_a_prompt_without_style_is_refused() -> None:
    with pytest.raises(VtError, match="does not say how replies are laid out"):
        template.make("{{ question }}", "mine.jinja")


def test_a_prompt_has_to_show_question_and_options() -> None:
    def check(body: str, one: Question | None = None) -> None:
        template.check(template.make(HEAD + body, "mine.jinja"), [one or question()], "mine.jinja")

    with pytest.raises(VtError, match=r"mine\.jinja: does not say a question of the form letters"):
        check("{{ options }} {# {{ question }} #}")
    with pytest.raises(VtError, match=r"leaves out option B of a question of the form letters with 2 options"):
        check("{{ question }} {{ options[0] }}")
    check("{% block system %}{{ options|join }}{% endblock %}{{ question|upper }}")
    check("{{ question }}", question("Does it?", ("yes", "no"), Form.YES_NO))
