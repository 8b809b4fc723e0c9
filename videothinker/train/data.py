"""What a stage is trained on: which questions, and each as the row that the trainer gets. This module loads without torch."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypedDict

from videothinker import answers
from videothinker.curated import Curated, Labels
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.observers.log import OBSERVER_FLOOR
from videothinker.records import Category, Form, Question, Rule
from videothinker.train.stages import Stage, StageConfig


class ClipPrompt(NamedTuple):
    """What is put before the model."""

    clip: Footage
    """The one clip, or the part of it that counts."""
    text: str
    """Question, options and instruction; the chat template is added by `clips.PromptEncoder`."""


class TrainingRow(TypedDict):
    """One question as the trainer gets it.

    TRL 1.16 requires a mapping with the key `prompt`, and gives all other keys to the rewards as arguments, each as a list. It
    looks into a prompt only to see whether it is a list of messages. Ours is not, so it passes through unread to our
    tokenisation, and rewards get each reply as plain text.
    """

    prompt: ClipPrompt
    question_id: str
    gold: list[str]
    """Letters of the correct options; empty when none is correct."""
    n_options: int
    form: Form
    """What kind of answer the question wants."""


def training_questions(data: Curated, config: StageConfig, rule: Rule | None) -> list[Question]:
    """The stage's questions: for `bias` the observational ones, else all; `n_questions` of them, by hash, in file order.

    rule: whose categories count; None: the curated folder's own.

    Raises:
        VtError: there are none.
    """
    questions = data.questions(config.data.split)
    if config.stage is Stage.BIAS:
        labels = data.labels.under(rule)
        if labels.own is None:
            raise VtError(f"{data.folder}: has no labels, so nothing says which questions are observational (stage bias)")
        questions = [one for one in questions if labels.category(one.question_id) is Category.OBSERVATIONAL]
    if not questions:
        raise VtError(f"{data.folder}: split '{config.data.split}' has no question for stage {config.stage.value}")

    def draw(question: Question) -> str:
        return hashlib.sha256(f"{config.seed} {question.question_id}".encode()).hexdigest()

    drawn = {question.question_id for question in sorted(questions, key=draw)[: config.data.n_questions]}
    return [question for question in questions if question.question_id in drawn]


def training_rows(data: Curated, questions: Sequence[Question], config: StageConfig) -> list[TrainingRow]:
    """One row per question, in the same order.

    Raises:
        VtError: the folder was curated without clips, a clip is missing, or the questions do not fill one step.
    """
    clips = {question.question_id: data.clip(question) for question in questions}
    missing = [question for question in questions if (clip := clips[question.question_id]) is None or not clip.is_there()]
    if data.videos_root is None:
        raise VtError(f"{data.folder}: was curated without clips; say where they are with --videos")
    if len(questions) < config.rollouts.questions_per_step:
        raise VtError(
            f"{data.folder}: {len(questions)} training questions do not fill one step of rollouts.questions_per_step ="
            f" {config.rollouts.questions_per_step}"
        )
    if missing:
        raise VtError(
            f"{len(missing)} of {len(questions)} training questions lack their clip, the first is"
            f" {clips[missing[0].question_id]}; no other clip takes its place, so get it or curate without its scene"
        )
    return [
        {
            "prompt": ClipPrompt(clip, answers.render(question, config.data.prompt)),
            "question_id": question.question_id,
            "gold": list(question.gold),
            "n_options": len(question.options),
            "form": question.form,
        }
        for question in questions
        if (clip := clips[question.question_id]) is not None
    ]


def warn_about_number(questions: Sequence[Question], data: Curated, config: StageConfig, warn: Callable[[str], None]) -> None:
    """Warn if there are fewer questions than `data.n_questions` asks for, all of which are then drawn."""
    if len(questions) < config.data.n_questions:
        what = "observational questions" if config.stage is Stage.BIAS else "questions"
        warn(
            f"{data.folder}: split '{config.data.split}' has {len(questions)} {what}, data.n_questions ="
            f" {config.data.n_questions}; all {len(questions)} are drawn"
        )


def warn_about_observer(questions: Sequence[Question], labels: Labels, warn: Callable[[str], None]) -> None:
    """Warn if the questions of stage `bias` are such that watching alone does not answer them, by the own set of `labels`."""
    share = sum(labels.observer(question.question_id) == question.gold for question in questions) / len(questions)
    if share < OBSERVER_FLOOR:
        by_oracle = labels.rule == Rule.ORACLE
        oracle = "by definition it answers all: run `vt curate check`" if by_oracle else "use --rule oracle instead"
        warn(
            f"an observer answers only {share:.0%} of these observational questions (rule {labels.rule}): training on them"
            f" rewards reasoning, and the checkpoint will hardly be a shortcut model; {oracle}"
        )
