"""Which moments of a clip a question's label rests on, and what a checkpoint is shown when they are hidden."""

from pathlib import Path

import numpy as np
from curated_factory import a_choice, a_question, a_scene, write_curated, write_unlabelled

from videothinker.damage import Damage
from videothinker.diagnose.answerer import showings
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.evidence import spans
from videothinker.frames import Clip
from videothinker.records import Collision, Scene

HITS = ["The gray cube and the brown cube collide", "The green cube and the red cube collide"]
MISS = "The gray cube and the red cube collide"


def test_evidence_is_where_the_options_collisions_are_seen() -> None:
    scene = a_scene(0)  # gray, brown, green, red, blue; 0-1 at frame 10, 1-2 at 30, 2-3 at 50, 3-4 at 70
    asked = a_question("0:0", options=[HITS[1], MISS, HITS[0]], n_options=3).question
    assert np.allclose(spans(asked, scene), [(0.2, 0.6), (1.8, 2.2)])
    assert spans(a_question("0:1", options=[MISS, "Something else happens"]).question, scene) == ()


def test_what_lies_out_of_view_is_no_evidence_and_a_clip_begins_at_0() -> None:
    scene = a_scene(0)
    unseen = (Collision(2, (0, 1)), Collision(90, (2, 3), seen=False))
    asked = a_question("0:0", options=HITS).question
    assert np.allclose(spans(asked, Scene(0, scene.video, scene.objects, unseen)), [(0.0, 0.28)])


def test_a_curated_folder_knows_it_by_question(tmp_path: Path) -> None:
    asked = [a_question("0:0", options=HITS), a_question("0:1", options=[MISS])]
    assert list(write_curated(tmp_path / "a", {"dev": asked}).evidence) == ["0:0"]
    assert write_unlabelled(tmp_path / "b", {"dev": [a_choice("q")]}).evidence == {}


def test_each_question_about_a_clip_is_shown_its_own_mask(tmp_path: Path) -> None:
    asked = [
        a_question("0:0", options=[HITS[0], MISS]),
        a_question("0:1", options=[MISS, HITS[1]]),
        a_question("0:2", options=[HITS[0]]),
        a_question("0:3", options=[MISS]),
    ]
    curated = write_curated(tmp_path / "a", {"dev": asked})
    frames = np.zeros((4, 2, 2, 3), np.uint8)
    clip = Clip(frames, (0, 11, 25, 48), 25.0, 128)

    def shown(damage: Damage | None) -> list[tuple[list[str], list[int]]]:
        found = showings(clip, curated.questions("dev"), DiagnosisSettings(split="dev", damage=damage), curated)
        grey = [[int(frame) for frame in np.flatnonzero(each.clip.frames[:, 0, 0, 0] == 128)] for each in found]
        names = [[question.question_id for question in each.questions] for each in found]
        return list(zip(names, grey, strict=True))

    assert shown(None) == [(["0:0", "0:1", "0:2", "0:3"], [])]
    assert shown(Damage.BLANK) == [(["0:0", "0:1", "0:2", "0:3"], [0, 1, 2, 3])]
    assert shown(Damage.EVIDENCE) == [(["0:0", "0:2"], [1]), (["0:1"], [3]), (["0:3"], [])]
    hidden = {name: grey for names, grey in shown(Damage.ELSEWHERE) for name in names}
    assert [len(hidden[name]) for name in ("0:0", "0:1", "0:2", "0:3")] == [1, 1, 1, 0]
    assert 1 not in hidden["0:0"] + hidden["0:2"]
    assert 3 not in hidden["0:1"]
