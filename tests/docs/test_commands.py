"""Commands in the documentation are commands of this version: all are parsed, and run if they need neither weights nor minutes.

A page's commands run one after the other in a folder of their own, beside what a reader has there: CLEVRER's files (a small
generated world in its layout, as folders and as zips), clips with a table of questions about them, configs/ and data/study/.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import LEFT_OUT, PAGES, ROOT, Command, commands_named, commands_of, words_of
from release_factory import zip_of
from vt_command import vt

from videothinker.cli.parse import find, parse
from videothinker.diagnose.presets import PRESETS
from videothinker.diagnose.protocols import PROTOCOLS
from videothinker.errors import VtError
from videothinker.study.config import load_study
from videothinker.train.stage_files import load_stage
from videothinker.train.stages import Stage

COMMANDS = [command for page in PAGES for command in commands_of(page)]
RUN = sorted({command.page for command in COMMANDS if not command.why_not})


@pytest.fixture(autouse=True)
def _at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # paths of settings count from there


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_of_a_page_is_one_of_this_version(command: Command) -> None:
    check(command.words)


def examples() -> Iterator[tuple[str, ...]]:
    """The examples of every `--help`; a line of one that goes on is set in further."""

    def below(found: Any) -> Iterator[Any]:
        yield found
        for one in getattr(found, "commands", {}).values():
            yield from below(one)

    for command in below(find(())[1]):
        text = re.sub(r"\[/?\w+\]", "", command.epilog or "")
        for example in re.findall(r"^  vt (.*(?:\n  (?!vt ) *\S.*)*)", text, re.MULTILINE):
            yield words_of(example.replace("\\\n", " "))


@pytest.mark.parametrize("words", dict.fromkeys(examples()), ids=shlex.join)
def test_an_example_of_a_help_is_a_command_of_this_version(words: tuple[str, ...]) -> None:
    check(words)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_what_a_sentence_names_exists(page: str) -> None:
    """`vt curate probe`, or `vt train bias|cdpo|grpo`, and the options behind it."""
    for words in commands_named(page):
        for name in alternatives(words):
            if "NAME" not in name:
                place = next((place for place, word in enumerate(name) if word.startswith("-")), len(name))
                options = {"--help", "--version", *options_below(find(name[:place])[1])}
                named = {word.split("=")[0] for word in name[place:] if word.startswith("-")}
                assert named <= options, f"vt {' '.join(words)}"


def options_below(command: Any) -> set[str]:
    """The options of a command, or of all those under it."""
    inside = [options_below(one) for one in getattr(command, "commands", {}).values()]
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts)}.union(*inside)


def alternatives(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """`train bias|cdpo` as two."""
    place = next((place for place, word in enumerate(words) if "|" in word), None)
    if place is None:
        yield words
        return
    for word in words[place].split("|"):
        yield (*words[:place], word, *words[place + 1 :])


def check(words: tuple[str, ...]) -> None:
    """Parse a command, and read what its values name as far as that lies in this repository.

    Raises:
        VtError: `vt` would refuse it.
    """
    try:
        options = parse(completed(words) if LEFT_OUT in words else words)
    except typer.Exit:  # it only lists something
        return
    for name, known in (("preset", {each.name for each in PRESETS}), ("protocol", set(PROTOCOLS))):
        if words[0] == "diagnose" and options[name] is not None and options[name] not in known:
            raise VtError(f"--{name} {options[name]}: there is no such {name}")
    if words[0] == "train" and words[1] in list(Stage) and str(options["config"]) != LEFT_OUT:
        load_stage(Stage(words[1]), Path(options["config"]), options["set_"] or [])
    if words[0] == "study":
        load_study(Path(options["config"]), options["set_"] or [])


def completed(words: tuple[str, ...]) -> list[str]:
    """A command of which something was left out, with all that has to be given."""
    _, command = find(words)
    given = [word for word in words if word != LEFT_OUT]
    for one in command.params:
        if one.required and one.param_type_name == "argument":
            given += [LEFT_OUT]
        elif one.required and not set(one.opts) & set(given):
            given += [one.opts[0], LEFT_OUT]
    return given


@pytest.mark.parametrize(
    "words",
    ["study configs/study-2.toml", "diagnose --data d --out o --frames few", "train cdop", "curate check d --lenient",
     "diagnose --data d --out o --preset nobody", "train grpo --set rollouts.n_repliez=3 --config configs/grpo-3b.toml ..."],
)  # fmt: skip
def test_a_command_that_is_none_is_found(words: str) -> None:
    with pytest.raises(VtError):
        check(tuple(words.split()))


def test_a_marker_counts_for_its_block_and_for_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(
        "<!-- parsed only: weights -->\n\n    vt demo\n\nwords\n\n    vt demo --scenes 3 # few\n\n"
        "<!-- parsed only 2: minutes -->\n```\nvt demo\npython -m videothinker demo \\\n   --scenes 4\n```\n"
    )
    monkeypatch.setattr("documents.ROOT", tmp_path)
    found = [(command.line, command.words, command.why_not) for command in commands_of("page.md")]
    assert found == [
        (3, ("demo",), "weights"),
        (7, ("demo", "--scenes", "3"), ""),
        (10, ("demo",), ""),
        (10, ("demo", "--scenes", "4"), "minutes"),
    ]


@pytest.fixture(scope="module")
def neighbourhood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies in a reader's folder before the first command."""
    folder = tmp_path_factory.mktemp("reader")
    world = folder / "world"
    assert vt("world", "make", world, "--scenes", "6", "--seed", "5", "--size", "120x80") == 0
    for name in ("annotation_train", "train.json", "video_train"):
        (folder / name).symlink_to(world / name)
        (folder / name.replace("train", "validation")).symlink_to(world / name)
    zip_of(world / "annotation_train", folder / "annotation_train.zip")
    (folder / "annotation_validation.zip").symlink_to(folder / "annotation_train.zip")
    (folder / "clips").symlink_to(world / "video_train/video_00000-01000")
    row = "1,What falls?,the cube,the ball,nothing,B,video_00000.mp4,falling\n"
    (folder / "quiz.csv").write_text("nr,prompt,a,b,c,gold,file,about\n" + row)
    return folder


@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page: str, neighbourhood: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in neighbourhood.iterdir():
        (tmp_path / path.name).symlink_to(path)
    if any(word.startswith("clevrer/") for command in commands_of(page) for word in command.words):
        (tmp_path / "clevrer").symlink_to(neighbourhood)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/study").symlink_to(ROOT / "data/study")
    monkeypatch.chdir(tmp_path)
    for command in commands_of(page):
        if not command.why_not:
            assert vt(*command.words) == 0, command.name
