"""What a stage is trained on: which questions, and each as the row that the trainer gets. This module loads without torch."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypedDict

from videothinker import answers
from videothinker.curated import Curated, Labels
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.observers.log import OBSERVER_FLOOR
from videothinker.prompts import Asked, template
from videothinker.records import Category, Form, Question, Rule, label
from videothinker.records.question import Kind
from videothinker.records.training import Matched
from videothinker.train.stages import Stage, StageConfig


class ClipPrompt(NamedTuple):
    """What is put before the model."""

    clip: Footage | None
    """The one clip, or the part of it that counts, or one image; None: nothing is shown."""
    text: str
    """Question, options and instruction; the chat template is added by `clips.PromptEncoder`."""
    system: str | None = None
    """The system text; None leaves it to the chat template."""


class TrainingRow(TypedDict):
    """One question as the trainer gets it.

    TRL 1.16 requires a mapping with the key `prompt`, and gives all other keys to the rewards as arguments, each as a list. It
    looks into a prompt only to see whether it is a list of messages. Ours is not, so it passes through unread to our
    tokenisation, and rewards get each reply as plain text.
    """

    prompt: ClipPrompt
    question_id: str
    gold: list[str]
    """Letters of the correct options, empty when none is correct; a number or an interval as `Question.gold` holds it."""
    n_options: int
    form: Form
    """What kind of answer the question wants."""
    style: answers.Style
    """How a reply is asked to be laid out."""


def let_through(data: Curated, config: StageConfig, matched: Matched | None) -> list[Question]:
    """The split's questions of which `data.where` is true; without one all."""
    if (matched is None) is not (config.data.where is None):
        raise ValueError(
            f"data.where = {config.data.where!r}: its matches have to be given with it (recipes.training.train does)"
        )
    questions = data.questions(config.data.split)
    return questions if matched is None else [one for one in questions if one.question_id in matched.ids]


def training_questions(data: Curated, config: StageConfig, rule: Rule | None, matched: Matched | None = None) -> list[Question]:
    """The stage's questions: for `bias` the observational ones, else all; `n_questions` of them, by hash, in file order.

    rule: whose categories count; None: those of the first label file of `data`, else the folder's own. matched: what
    `data.where` lets through, if there is one.

    Raises:
        VtError: there are none.
    """
    questions = let_through(data, config, matched)
    if not questions and config.data.where is not None:
        raise VtError(f"{data.folder}: --where {config.data.where!r} lets no question of split '{config.data.split}' through")
    if config.stage is Stage.BIAS:
        labels = data.labels_by(rule)
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
        VtError: the folder was curated without clips, a clip is missing, the questions do not fill one step, or the settings'
            template cannot put one of them.
    """
    clips = {question.question_id: data.clip(question) for question in questions}
    showing = [question for question in questions if question.clip is not None]
    missing = [question for question in showing if (clip := clips[question.question_id]) is None or not clip.is_there()]
    if data.videos_root is None and showing:
        raise VtError(f"{data.folder}: was curated without clips; say where they are with --videos")
    if len(questions) < config.rollouts.questions_per_step:
        raise VtError(
            f"{data.folder}: {len(questions)} training questions do not fill one step of rollouts.questions_per_step ="
            f" {config.rollouts.questions_per_step}"
        )
    if missing:
        raise VtError(
            f"{len(missing)} of {len(questions)} training questions lack their clip or image, the first is"
            f" {clips[missing[0].question_id]}; no other clip takes its place, so get it or curate without its scene"
        )
    still = [question for question in questions if question.kind is not Kind.CLIP]
    if config.rollouts.shuffled and still:
        raise VtError(
            f"rollouts.shuffled = {config.rollouts.shuffled}: {len(still)} of {len(questions)} training questions show no clip,"
            " so there is no order of frames; leave them out with --where, or set shuffled = 0 and leave out rewards.ordered"
        )
    if config.data.template is not None:
        template.check(config.data.template, questions, "the template of data.prompt")
    return [
        {
            "prompt": put(question, clips[question.question_id], config.data.asked),
            "question_id": question.question_id,
            "gold": list(question.gold),
            "n_options": len(question.options),
            "form": question.form,
            "style": config.data.prompt,
        }
        for question in questions
    ]


def put(question: Question, clip: Footage | None, asked: Asked) -> ClipPrompt:
    """The question in the words of a prompt."""
    if asked.template is None:
        return ClipPrompt(clip, answers.render(question, asked.style))
    return ClipPrompt(clip, *template.render(asked.template, question))


def keyed_clips(rows: Sequence[TrainingRow], seed: int) -> list[tuple[Footage | None, str]]:
    """What each question is about, and the key that the order of its frames is drawn from where they are shuffled."""
    return [(row["prompt"].clip, f"{seed} {row['question_id']}") for row in rows]


def warn_about_number(questions: Sequence[Question], data: Curated, config: StageConfig, warn: Callable[[str], None]) -> None:
    """Warn if there are fewer questions than `data.n_questions` asks for, all of which are then drawn."""
    if len(questions) < config.data.n_questions:
        what = "observational questions" if config.stage is Stage.BIAS else "questions"
        what += "" if config.data.where is None else " for which --where is true"
        warn(
            f"{data.folder}: split '{config.data.split}' has {len(questions)} {what}, data.n_questions ="
            f" {config.data.n_questions}; all {len(questions)} are drawn"
        )


class Undecided(NamedTuple):
    """Questions that are in no pool of a category."""

    n_unlabelled: int
    n_unsure: int


def undecided(data: Curated, config: StageConfig, rule: Rule | None, matched: Matched | None) -> Undecided | None:
    """How many of the questions let through have no label, or one that is unsure; None where no category is asked for."""
    if config.stage is not Stage.BIAS:
        return None
    labels = data.labels_by(rule)
    found = [labels.category(one.question_id) for one in let_through(data, config, matched)]
    return Undecided(found.count(None), found.count(Category.UNSURE))


def warn_about_undecided(found: Undecided | None, data: Curated, warn: Callable[[str], None]) -> None:
    """Say how many questions are in no pool, if there are any."""
    if found is None or not any(found):
        return
    kinds = {"without a label": found.n_unlabelled, "unsure": found.n_unsure}
    warn(f"{data.folder}: in no pool: {', '.join(f'{n} questions {kind}' for kind, n in kinds.items() if n)}")


def warn_about_observer(questions: Sequence[Question], labels: Labels, warn: Callable[[str], None]) -> None:
    """Warn if the questions of stage `bias` are such that watching alone does not answer them, by the own set of `labels`."""
    answered = [labels.observer(question.question_id) for question in questions]
    if all(answer is None for answer in answered):
        return  # labels that came without answers; whether they are right is for whoever made them to say
    share = sum(answer == question.gold for answer, question in zip(answered, questions, strict=True)) / len(questions)
    if share < OBSERVER_FLOOR:
        if labels.rule == Rule.ORACLE:
            remedy = "by definition it answers all: run `vt curate check`"
        elif labels.own is not None and labels.own.observer != label.LOG:
            remedy = "look at how these labels were made"
        else:
            remedy = "use --rule oracle instead"
        warn(
            f"an observer answers only {share:.0%} of these observational questions (rule {labels.rule}): training on them"
            f" rewards reasoning, and the checkpoint will hardly be a shortcut model; {remedy}"
        )
