"""Evaluations count what was answered, and write the replies that `vt diagnose` gets."""

import numpy as np
import pytest
import torch
from pretrain.school import School

from videothinker.models.vision import SeenClip
from videothinker.pretrain import examine, tower
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.variants import as_they_are
from videothinker.world import draw


def test_scores_count_what_was_answered(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies put in the model's mouth: with `cf` all true, with `obs` all "none", left to itself the observer's answers."""
    scenes, words = school.scenes, school.words
    scene, question = (scenes.lengths[:, :2] > 0).nonzero()
    gold, observer = scenes.gold[scene, question], scenes.observer[scene, question]

    def letters(answers: np.ndarray) -> list[str]:
        return [",".join(np.array(list("ABCD"))[a]) or "none" for a in answers]

    said = {words.modes[1]: letters(gold), words.modes[0]: ["none"] * len(gold), 0: letters(observer)}

    def reply(_: object, __: object, prompts: object, begun: list[list[int]], *___: object) -> list[str]:
        found = []
        for i, start in enumerate(begun):
            answer = said[start[1] if start else 0][i % len(gold)]
            found.append(f"<think>obs x</think><answer>{answer}</answer>")
        return found

    monkeypatch.setattr(examine, "_replies", reply)
    parts = [scenes.take([0, 1, 2]), scenes.take([3, 4, 5, 6, 7])]
    found = examine.examine(school.model, school.processor, parts, school.layout, words, n_questions=2, max_new_tokens=4)
    assert [len(marks.inferential) for marks in found] == [6, 10]
    scores = examine.Scores.of(found)
    is_inferential = (gold != observer).any(-1)
    assert scores.n_questions == len(gold)
    assert (scores.counterfactual, scores.counterfactual_inferential) == (1.0, 1.0)
    assert scores.observed == pytest.approx((~observer.any(-1)).mean())
    assert scores.greedy == pytest.approx((~is_inferential).mean())
    assert (scores.greedy_inferential, scores.shortcut) == (0.0, 1.0)
    assert (scores.chooses_counterfactual, scores.readable) == (0.0, 1.0)


def test_replies_are_those_that_diagnose_gets(school: School) -> None:
    """Generation from features that were seen before gives what the processor's tensors give."""
    shown = as_they_are(school.scenes.take([0, 1])).clips()
    frames = draw.frames(shown.rollouts(), width=168, height=112, device="cpu")
    patches = tower.patches(frames, school.processor)
    with torch.inference_mode():
        seen = tower.visual_tokens(school.model, patches, school.layout)
        prompts = [school.scenes.prompts[i, 0, : school.scenes.lengths[i, 0]].tolist() for i in (0, 1)]
        clips = [SeenClip(features, school.layout.grid, school.layout.seconds_per_grid) for features in seen]
        beginning = school.layout.beginning.tolist()
        asked = [beginning + prompt for prompt in prompts]
        ours = examine._replies(school.model, school.processor, asked, [[], []], clips, 6)
        for i in (0, 1):
            ids = torch.tensor([[*school.layout.beginning.tolist(), *prompts[i]]])
            new = school.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=2 * (ids == school.model.config.video_token_id).int(),
                pixel_values_videos=patches.chunk(2)[i],
                video_grid_thw=torch.tensor([school.layout.grid]),
                second_per_grid_ts=[0.64],
                do_sample=False,
                max_new_tokens=6,
            )
            assert school.processor.decode(new[0, ids.shape[1] :], skip_special_tokens=True) == ours[i]


def test_processes_share_the_scenes_of_every_set(school: School) -> None:
    """Scene 0, 1, ... of each set in turn: two processes read what one reads, each its half."""
    first, second = ([0, 1, 2, 3, 4], [6, 7, 8, 9, 10])
    for size in (1, 2):
        for rank in range(size):
            found = examine.exam_scenes(school.source, (first[0], second[0]), 5, Ranks(rank, size, "cpu"), 1)
            for scenes, indices in zip(found, (first, second), strict=True):
                expected = school.source.read(indices[rank::size])
                for mine, theirs in zip(scenes, expected, strict=True):
                    np.testing.assert_array_equal(mine, theirs)
