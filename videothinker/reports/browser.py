"""What the browser of questions shows, as JSON: questions, scenes in words, film strips, replies.

Both pages hold one browser; the curation page's has no replies, and a diagnosis without curated data has no scenes.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from videothinker import mcq
from videothinker.curated import counterfactual_name
from videothinker.records import CuratedQuestion, Prediction, Progress, Rule, Scene, no_progress
from videothinker.reports import words
from videothinker.reports.strips import BUDGET, Strips, strip_frames


def shuffled(question_id: str) -> str:
    """Sorts questions into an order that looks random and is the same every time."""
    return hashlib.sha256(question_id.encode()).hexdigest()


class Films:
    """Strips and links of a data set's clips; strips are embedded until the page's budget is used up."""

    def __init__(self, root: Path | None, out: Path | None) -> None:
        """root: folder that the questions' `video` lies in; out: where the page will lie, for links (None: no links)."""
        self.root = root
        self.out = out
        self.strips = Strips()
        self.pictures: dict[str, list[str]] = {}
        """Strip by clip, as a path relative to `root`."""

    def counterfactual(self, question: CuratedQuestion) -> str:
        """Name, relative to the root, of the clip without the object; only a generated world has it."""
        folder, slash, name = question.video.rpartition("/")
        return folder + slash + counterfactual_name(name, question.removed_object)

    def exists(self, video: str) -> bool:
        """Is the clip there?"""
        return self.root is not None and (self.root / video).is_file()

    def embed(
        self, questions: Iterable[CuratedQuestion], scenes: Mapping[int, Scene], progress: Progress = no_progress
    ) -> None:
        """Put strips of these questions' clips, and of those without the object, into the page, the first ones first."""
        for question in questions:
            for video in (question.video, self.counterfactual(question)):
                if self.root is None or self.strips.left <= 0:
                    return
                if video in self.pictures or not self.exists(video):
                    continue
                strip = self.strips.read(self.root / video, frames_shown(scenes[question.scene_index]))
                if strip is not None:
                    self.pictures[video] = strip
            progress(1)

    def note(self) -> str:
        """Which strips the page holds, for its reader."""
        if self.root is None:
            return "There are no clips, so no film strips."
        said = f"Film strips of {len(self.pictures):,} clips are in the page"
        if self.strips.left <= 0:
            said += f", as many as fit into {BUDGET // 1_000_000} MB; the other clips are linked"
        if self.strips.n_unreadable:
            said += f"; {self.strips.n_unreadable:,} clips could not be read"
        return said + "."

    def film(self, video: str) -> dict[str, Any] | None:
        """Strip and link of one clip; None when it is not there."""
        if self.root is None or not self.exists(video):
            return None
        link = None if self.out is None else quote(Path(os.path.relpath(self.root / video, self.out)).as_posix())
        return {"strip": self.pictures.get(video), "clip": link}


def frames_shown(scene: Scene) -> tuple[int, ...]:
    """The frames of a scene's strip."""
    return strip_frames([collision.frame for collision in scene.collisions], words.N_TOTAL)


def scene_data(scene: Scene, film: dict[str, Any] | None) -> dict[str, Any]:
    """One scene: objects, collision log and strip captions in words."""
    frames = frames_shown(scene)
    hits = {collision.frame: words.collision_text(collision, scene) for collision in scene.collisions}
    return {
        "objects": [words.object_name(thing) for thing in scene.objects],
        "log": words.log(scene),
        "captions": [[words.moment(frame), hits.get(frame, "")] for frame in frames],
        "film": film,
    }


def question_data(question: CuratedQuestion, split: str) -> dict[str, Any]:
    """One question with its labels; letters as one string ("AC"), categories in the order of `Rule`."""
    return {
        "id": question.question_id,
        "scene": str(question.scene_index),
        "split": split,
        "text": question.problem,
        "options": list(question.options),
        "happens": words.happens(question, question.gold),
        "gold": "".join(question.gold),
        "observer": "".join(question.observer),
        "categories": [str(getattr(question, rule.column)) for rule in Rule],
    }


def told_data(question: CuratedQuestion, scene: Scene) -> dict[str, Any]:
    """What the scene adds to a question."""
    return {
        "removed": words.removed_name(question, scene),
        "seen": words.seen(question, scene),
        "why": list(words.why(question, scene).values()),
    }


def reply_data(prediction: Prediction) -> dict[str, Any]:
    """One checkpoint's reply, as text; the page never reads it as HTML."""
    return {
        "chosen": None if prediction.chosen is None else "".join(prediction.chosen),
        "right": mcq.is_exact(prediction.chosen, prediction.gold),
        "status": str(prediction.status),
        "reply": prediction.reply if prediction.error is None else prediction.error,
    }


def browser_data(
    questions: Sequence[tuple[str, CuratedQuestion]],
    scenes: Mapping[int, Scene],
    films: Films,
    *,
    rule: Rule,
    runs: Sequence[tuple[str, Mapping[str, Prediction]]] = (),
) -> dict[str, Any]:
    """Everything the browser shows.

    questions: (split, question). scenes: where known; a question without its scene has no collision log. runs: (name,
    predictions by question_id).
    """
    rows = []
    for split, question in questions:
        replies = [predictions.get(question.question_id) for _, predictions in runs]
        row = question_data(question, split)
        row["replies"] = [None if reply is None else reply_data(reply) for reply in replies]
        if question.scene_index in scenes:
            row |= told_data(question, scenes[question.scene_index])
            row["film"] = films.film(films.counterfactual(question))
        rows.append(row)
    shown = {question.scene_index: question for _, question in questions if question.scene_index in scenes}
    return {
        "rules": list(Rule),
        "rule": rule,
        "splits": list(dict.fromkeys(split for split, _ in questions)),
        "runs": [name for name, _ in runs],
        "scenes": {str(index): scene_data(scenes[index], films.film(question.video)) for index, question in shown.items()},
        "questions": rows,
    }
