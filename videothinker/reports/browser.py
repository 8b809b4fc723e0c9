"""The data of a page's question browser, as JSON: questions, scenes in words, film strips and replies.

Curation and diagnosis pages have the same browser. That of a curation has no replies, and that of a diagnosis without curated
data has no scenes.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from videothinker import answers
from videothinker.curated import Labels, counterfactual_name
from videothinker.diagnose.grading import is_right
from videothinker.footage import Footage
from videothinker.progress import Progress, no_progress
from videothinker.records import Category, Clip, Form, Prediction, Question, Scene, label
from videothinker.reports import words
from videothinker.reports.strips import BUDGET, Strips, strip_frames
from videothinker.reports.words import Explained

MOST_VALUES = 50
"""Values of a facet that can be chosen from; one with more is none to filter by, but a name or a number."""


def shuffled(question_id: str) -> str:
    """A sort key that puts questions into an order that looks random and is always the same."""
    return hashlib.sha256(question_id.encode()).hexdigest()


class Films:
    """Strips and links of a data set's clips; strips are embedded until the page's budget is used up."""

    def __init__(self, root: Path | None, out: Path | None) -> None:
        """root: folder that clips' paths are relative to. out: folder that the page will lie in; None means no links."""
        self.root = root
        self.out = out
        self.strips = Strips()
        self.pictures: dict[str, list[str]] = {}
        """The strip of each clip, by its path relative to `root`."""

    def counterfactual(self, one: Explained) -> str:
        """Path, relative to the root, of the clip without the object. Only a generated world has such clips."""
        folder, slash, name = one.question.clip.path.rpartition("/")
        return folder + slash + counterfactual_name(name, one.removed_object)

    def exists(self, video: str) -> bool:
        """Whether the clip, a file, is there."""
        return self.root is not None and (self.root / video).is_file()

    def embed(self, questions: Iterable[Explained], progress: Progress = no_progress) -> None:
        """Put strips of these questions' clips, and of those without the object, into the page, in order until it is full."""
        for one in questions:
            for video in (one.question.clip.path, self.counterfactual(one)):
                if self.root is None or self.strips.left <= 0:
                    return
                if video in self.pictures or not self.exists(video):
                    continue
                strip = self.strips.read(Footage(self.root / video), frames_shown(one.scene))
                if strip is not None:
                    self.pictures[video] = strip
            progress(1)

    def note(self) -> str:
        """A sentence for the page's reader on which strips it holds."""
        if self.root is None:
            return "There are no clips, so the page has no film strips."
        said = f"Film strips of {len(self.pictures):,} clips are in the page"
        if self.strips.left <= 0:
            said += f", as many as fit into {BUDGET // 1_000_000} MB; the other clips are linked"
        if self.strips.n_unreadable:
            said += f"; {self.strips.n_unreadable:,} clips could not be read"
        return said + "."

    def film(self, video: str) -> dict[str, Any] | None:
        """Strip and link of one clip, a file; None when it is not there."""
        if self.root is None or not self.exists(video):
            return None
        link = None if self.out is None else quote(Path(os.path.relpath(self.root / video, self.out)).as_posix())
        return {"strip": self.pictures.get(video), "clip": link}

    def part(self, clip: Clip) -> dict[str, Any] | None:
        """Link that plays just the part that a question is about; None when it is not there, or a folder of frames."""
        film = self.film(clip.path)
        if film is None or film["clip"] is None or (clip.start is None and clip.end is None):
            return film
        end = "" if clip.end is None else f",{clip.end:.15g}"
        return film | {"clip": f"{film['clip']}#t={clip.start or 0:.15g}{end}"}  # a W3C media fragment, which browsers heed


def clip_text(clip: Clip) -> str:
    """A clip's path, and in words which part of it a question is about, and the rate of a folder of frames."""
    said = clip.path if clip.fps is None else f"{clip.path}, frames at {clip.fps:.15g} per second"
    if clip.start is None and clip.end is None:
        return said
    end = "the end" if clip.end is None else f"{clip.end:.15g} s"
    return f"{said}, from {clip.start or 0:.15g} s to {end}"


def frames_shown(scene: Scene) -> tuple[int, ...]:
    """The frames of a scene's strip."""
    return strip_frames([collision.frame for collision in scene.collisions if collision.seen], words.N_TOTAL)


def scene_data(scene: Scene, film: dict[str, Any] | None) -> dict[str, Any]:
    """One scene: objects, collision log and strip captions in words."""
    frames = frames_shown(scene)
    hits = {collision.frame: words.collision_text(collision, scene) for collision in scene.collisions if collision.seen}
    return {
        "objects": [words.object_name(thing) for thing in scene.objects],
        "log": words.log(scene),
        "captions": [[words.moment(frame), hits.get(frame, "")] for frame in frames],
        "film": film,
    }


def told(form: Form, answer: answers.Answer) -> str:
    """An answer as the page's data hold it: letters as one string, "AC"; a number or an interval in words, "12.5 to 20"."""
    if form in (Form.LETTERS, Form.CHOICE, Form.YES_NO):
        return "".join(answer)
    return answers.FORMS[form].solution(answer).removeprefix("<answer>").removesuffix("</answer>")


def facets_of(question: Question) -> dict[str, str]:
    """What questions can be told apart by: the breakdowns of `Metrics`, as the value of each for this question."""
    counts = {"options": str(len(question.options)), "correct options": str(len(question.gold) if question.options else 0)}
    return counts | {"form": question.form.value} | question.facets


def facet_values(questions: Iterable[Question]) -> dict[str, list[str]]:
    """The values of every facet that tells some of the questions apart, sorted as people sort."""
    found: dict[str, set[str]] = {}
    for question in questions:
        for name, value in facets_of(question).items():
            found.setdefault(name, set()).add(value)
    return {name: sorted(values, key=_natural) for name, values in found.items() if 1 < len(values) <= MOST_VALUES}


def _natural(value: str) -> tuple[bool, float, str]:
    """A sort key by which "10" comes after "9", and numbers come before words."""
    return (False, float(value), value) if value.isdecimal() else (True, 0.0, value)


def question_data(question: Question, split: str, labels: Labels, facets: Iterable[str] = ()) -> dict[str, Any]:
    """One question with its labels. Answers are as `told` has them, categories in the order of the label sets, null for none.

    facets: names of those to give. `happens` says of a "what will" or "what will not" question for each option whether its
    event takes place.
    """
    rows = [each.by_question.get(question.question_id) for each in labels.sets]
    polarity, letters = question.facets.get("polarity"), answers.LETTERS[: len(question.options)]
    values = facets_of(question)
    return {
        "id": question.question_id,
        "scene": question.group,
        "split": split,
        "text": question.text,
        "options": [answers.option_line(index, text) for index, text in enumerate(question.options)],
        "happens": None if polarity is None else [(letter in question.gold) != (polarity == "will not") for letter in letters],
        "gold": told(question.form, question.gold),
        "observer": None if (said := labels.observer(question.question_id)) is None else told(question.form, said),
        "categories": [None if row is None else str(row.category) for row in rows],
        "facets": {name: values[name] for name in facets if name in values},
    }


def reasons(question: Question, labels: Labels) -> list[str | None]:
    """What decided the question's category, in the order of the label sets; None where nobody says it."""
    rows = [each.by_question.get(question.question_id) for each in labels.sets]
    return [None if row is None else row.reason for row in rows]


def told_data(one: Explained, labels: Labels) -> dict[str, Any]:
    """What the scene adds to a question; the reasons of the collision log's labels then name objects and frames."""
    why, plain = {str(rule): told for rule, told in words.why(one).items()}, reasons(one.question, labels)
    return {
        "removed": words.removed_name(one),
        "seen": words.seen(one),
        "why": [
            why.get(each.rule, said) if each.observer == label.LOG else said
            for each, said in zip(labels.sets, plain, strict=True)
        ],
    }


def reply_data(question: Question, prediction: Prediction) -> dict[str, Any]:
    """One checkpoint's reply, as text; the page never reads it as HTML."""
    return {
        "chosen": None if prediction.chosen is None else told(question.form, prediction.chosen),
        "right": is_right(question, prediction),
        "status": str(prediction.status),
        "reply": prediction.reply if prediction.error is None else prediction.error,
    }


def browser_data(
    questions: Sequence[tuple[str, Question]],
    labels: Labels,
    known: Mapping[str, Explained],
    films: Films,
    *,
    runs: Sequence[tuple[str, Mapping[str, Prediction]]] = (),
) -> dict[str, Any]:
    """Everything the browser shows.

    questions: (split, question). labels: their label sets, those of the page first. known: what explains a question, by
    question_id; one without it has no collision log. runs: (name, predictions by question_id).
    """
    rows = []
    facets = facet_values(question for _, question in questions)
    for split, question in questions:
        replies = [predictions.get(question.question_id) for _, predictions in runs]
        row = question_data(question, split, labels, facets)
        row["replies"] = [None if reply is None else reply_data(question, reply) for reply in replies]
        row["why"] = reasons(question, labels)
        if (one := known.get(question.question_id)) is not None:
            row |= told_data(one, labels) | {"film": films.film(films.counterfactual(one))}
        else:
            row |= {"clip": clip_text(question.clip), "play": films.part(question.clip)}
        rows.append(row)
    scenes = {one.question.group: one for one in known.values()}
    return {
        "rules": [each.name for each in labels.sets],
        "rule": labels.rule,
        "has_unsure": any(str(Category.UNSURE) in row["categories"] for row in rows),
        "splits": list(dict.fromkeys(split for split, _ in questions)),
        "facets": facets,
        "runs": [name for name, _ in runs],
        "scenes": {group: scene_data(one.scene, films.film(one.question.clip.path)) for group, one in scenes.items()},
        "questions": rows,
    }
