"""The readers of the benchmarks: what becomes of each row of a release and of the same rows in Video-R1's form."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks_factory import (
    MMVU_ROWS,
    MVBENCH,
    TEMPCOMPASS,
    in_video_r1,
    mmvu_row,
    mvbench_row,
    read_set,
    tagged,
    write_json,
    write_longvideobench,
    write_longvideobench_parquet,
    write_mmvu,
    write_mmvu_in_video_r1,
    write_mvbench,
    write_mvbench_in_video_r1,
    write_parquet,
    write_tempcompass,
    write_tempcompass_hub,
    write_video_holmes,
    write_video_holmes_in_video_r1,
    write_videomme,
    write_videomme_in_video_r1,
)

from videothinker.curate.datasets import NEEDS_JUDGE, ReadQuestions, dataset_named
from videothinker.curate.datasets.mmvu import DISCIPLINES, repaired
from videothinker.curate.datasets.mvbench import TASKS
from videothinker.errors import VtError
from videothinker.records import Clip, Form, Question


def by_id(found: ReadQuestions) -> dict[str, Question]:
    return {one.question_id: one for one in found.questions}


def content(found: ReadQuestions) -> list[tuple[Any, ...]]:
    """What two files of the same questions have to agree in; ids are each file's own."""
    return sorted((one.clip.path, one.text, one.options, one.gold, sorted(one.facets.items())) for one in found.questions)


def reasons(found: ReadQuestions) -> list[tuple[str, str]]:
    return [(one.question_id, one.reason) for one in found.unresolved]


# ---- MMVU ------------------------------------------------------------------------------------------------------------------


def test_mmvu_keeps_open_questions_out_and_knows_the_discipline(tmp_path: Path) -> None:
    found = read_set("mmvu", write_mmvu(tmp_path).source)
    assert reasons(found) == [("validation_0", NEEDS_JUDGE)]
    assert by_id(found)["validation_3"] == Question(
        question_id="validation_3",
        text="Which path is taken?",
        options=("left", "right", "both", "up", "down"),
        clip=Clip(path="Computer_Science/3.mp4"),
        gold=("E",),
        form=Form.CHOICE,
        group="Computer_Science/3.mp4",
        facets={"discipline": "Engineering", "subject": "Computer Science"},
        source="MMVU",
    )
    assert [one.facets["discipline"] for one in found.questions] == ["Science", "Healthcare", "Engineering"]
    assert found.n_published == 1_000


def test_mmvus_file_in_video_r1s_form_is_repaired_unless_it_is_wanted_as_it_is(tmp_path: Path) -> None:
    source = write_mmvu_in_video_r1(tmp_path / "eval_mmvu.json")
    found = read_set("mmvu", source)
    release = read_set("mmvu", write_mmvu(tmp_path / "release").source)
    said = [(one.clip.path, one.gold, one.facets) for one in found.questions]
    assert said == [(one.clip.path, one.gold, one.facets) for one in release.questions]
    assert [one.text for one in found.questions] == [
        "Which gas leaves the flask?",
        "Which pathogen is it?",
        "Which optical path is taken?",
    ]
    assert found.notes == [
        '2 rows with "video" where the release has "path" ("videoogen"); repaired, and --variant as-published keeps the file\'s'
        " words"
    ]
    kept = read_set("mmvu", source, variant="as-published")
    assert [one.text for one in kept.questions][1:] == ["Which videoogen is it?", "Which optical video is taken?"]
    assert kept.notes == ['2 rows with "video" where the release has "path" ("videoogen"); kept as in the file']
    assert found.n_published == kept.n_published == 625


@pytest.mark.parametrize(
    ("damaged", "sound"),
    [
        ("the videoogenesis of", "the pathogenesis of"),
        ("two videoways, in the video", "two pathways, in the video"),
        ("fixed motion videos for all", "fixed motion paths for all"),
        ("is limited by the video, so", "is limited by the path, so"),
        ("What happens in the video, and in the videos?", "What happens in the video, and in the videos?"),
        ("a videographer's videotape", "a videographer's videotape"),
    ],
)
def test_only_what_was_a_path_is_repaired(damaged: str, sound: str) -> None:
    assert repaired(damaged) == sound


def test_an_option_begins_with_a_capital() -> None:
    assert (repaired("videoogenesis", is_option=True), repaired("videoogenesis")) == ("Pathogenesis", "pathogenesis")


def test_mmvu_has_27_subjects_in_four_disciplines() -> None:
    assert len(DISCIPLINES) == 27
    counts = {name: list(DISCIPLINES.values()).count(name) for name in DISCIPLINES.values()}
    assert counts == {"Science": 10, "Engineering": 6, "Healthcare": 5, "Humanities & Social Sciences": 6}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "F"}, "its answer is 'F', expected the letter of one of its 5 options"),
        ({"answer": None}, "its `answer` is missing, expected text"),
        ({"choices": ["a", "b"]}, "its options are ['a', 'b'], expected an object of letters"),
        (
            {"choices": {"A": "x", "B": "", "C": "z"}},
            "its options are {'A': 'x', 'B': '', 'C': 'z'}, expected texts for A, B and",
        ),
        ({"video": "videos/../../x.mp4"}, "its clip is '../x.mp4', expected a path below the clips' folder"),
        ({"question": " "}, "its `question` is ' ', expected text"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    source = write_json(tmp_path / "validation.json", [MMVU_ROWS[1] | change, MMVU_ROWS[2], 17])
    found = read_set("mmvu", source)
    assert [one.question_id for one in found.questions] == ["validation_2"]
    assert [(name, said[: len(reason)]) for name, said in reasons(found)] == [
        ("validation_1", reason),
        ("row 3", "row 3: is 17, expected an object"),
    ]


def test_options_without_text_at_the_end_are_none_and_of_equal_ids_none_is_taken(tmp_path: Path) -> None:
    four = mmvu_row(7, "Law", "Who wins?", ("a", "b", "c", "d", ""), "D")
    twice = mmvu_row(8, "Law", "Who wins?", ("a", "b", "c", "d", "e"), "D")
    found = read_set("mmvu", write_json(tmp_path / "validation.json", [four, twice, twice]))
    assert [(one.question_id, one.options) for one in found.questions] == [("validation_7", ("a", "b", "c", "d"))]
    assert reasons(found) == [("validation_8", "its id is there 2 times")] * 2


# ---- Video-Holmes ----------------------------------------------------------------------------------------------------------


def test_video_holmes_reads_the_release_and_video_r1s_form_alike(tmp_path: Path) -> None:
    found = read_set("video-holmes", write_video_holmes(tmp_path).source)
    assert [(one.question_id, one.gold, one.facets, one.group) for one in found.questions] == [
        ("fAa1:1", ("F",), {"question_type": "SR"}, "fAa1.mp4"),
        ("fAa1:2", ("D",), {"question_type": "TA"}, "fAa1.mp4"),
        ("gB-_:3", ("A",), {"question_type": "CTI"}, "gB-_.mp4"),
    ]
    again = read_set("video-holmes", write_video_holmes_in_video_r1(tmp_path / "eval_video_holmes.json"))
    assert content(again) == content(found)
    assert [one.text for one in again.questions] == ["Who are they?", "In which order?", "What is it about?"]  # no list in it
    assert [one.question_id for one in again.questions] == ["1", "2", "3"]


# ---- MVBench ---------------------------------------------------------------------------------------------------------------


def test_mvbench_has_20_tasks_and_their_clips(tmp_path: Path) -> None:
    found = read_set("mvbench", write_mvbench(tmp_path).source)
    asked = by_id(found)
    assert len(TASKS) == 20
    assert {one.facets["task"] for one in found.questions} == set(TASKS)
    assert (len(found.questions), found.unresolved) == (22, [])
    assert asked["action_antonym:1"].clip == Clip(path="ssv2_video/12.webm")
    assert asked["fine_grained_pose:1"].clip == Clip(path="nturgbd/S010C002_rgb.avi")
    assert asked["action_prediction:2"].clip == Clip(path="star/Charades_v1_480/FGHIJ.mp4", start=9.0, end=12.25)
    assert asked["episodic_reasoning:1"].clip == Clip(
        path="tvqa/frames_fps3_hq/castle_s01e02_seg02_clip_14", start=0.0, end=38.32, fps=3.0
    )
    assert asked["fine_grained_action:1"].group == "Moments_in_Time_Raw/videos/validation/bathing/x_0.mp4"


def test_mvbench_turns_text_into_letters_and_marks_clevrers_clips(tmp_path: Path) -> None:
    found = read_set("mvbench", write_mvbench(tmp_path).source)
    asked = by_id(found)
    assert (asked["action_antonym:1"].gold, asked["action_antonym:1"].options) == (("C",), ("Not sure", "opening", "closing"))
    assert (asked["episodic_reasoning:1"].gold, asked["episodic_reasoning:1"].options[1]) == (("B",), "A fall")
    assert found.notes == ["1 answer with a blank at the end that the option lacks; read as that option"]
    in_domain = {one.facets["task"] for one in found.questions if one.facets.get("in_domain") == "CLEVRER"}
    assert in_domain == {
        "Counterfactual Inference", "Moving Attribute", "Moving Count", "Moving Direction", "Object Existence"
    }  # fmt: skip
    assert {one.facets.get("in_domain") for one in found.questions} == {"CLEVRER", None}


def test_mvbenchs_tasks_and_names_are_found_in_video_r1s_form(tmp_path: Path) -> None:
    found = read_set("mvbench", write_mvbench_in_video_r1(tmp_path / "eval_mvbench.json"))
    release = read_set("mvbench", write_mvbench(tmp_path / "release").source)
    assert content(found) == content(release)
    assert [one.clip for one in found.questions] == [one.clip for one in release.questions]
    assert [one.question_id for one in found.questions] == [str(number) for number in range(1, 23)]


def test_mvbenchs_other_style_has_the_release_s_name_in_video(tmp_path: Path) -> None:
    row = {"problem": "What is done?", "options": ["A. x", "B. y"], "solution": tagged("B"), "answer": "y"}
    rows = [
        row | {"video": "166583.webm", "path": "./ssv2_video/166583.mp4"},
        row | {"video": "left/4.mp4", "path": "./Evaluation/MVBench/video/vlnqa/left/4.mp4"},
        row | {"path": "./else/1.mp4"},
    ]
    found = read_set("mvbench", in_video_r1(tmp_path / "mvbench.json", rows))
    assert [(one.clip.path, one.facets) for one in found.questions] == [
        ("ssv2_video/166583.webm", {"task": "Action Antonym"}),
        ("vlnqa/left/4.mp4", {"task": "Egocentric Navigation"}),
        ("else/1.mp4", {}),
    ]
    assert found.elsewhere["1"][0] == Clip(path="ssv2_video/166583.mp4")
    assert found.notes == ["1 question of no known task"]


def test_mvbenchs_clips_may_lie_elsewhere(tmp_path: Path) -> None:
    found = read_set("mvbench", write_mvbench(tmp_path).source)
    assert found.elsewhere["action_antonym:1"] == (Clip(path="ssv2_video_mp4/12.mp4"),)
    assert found.elsewhere["action_prediction:2"] == (
        Clip(path="data0613/star/Charades_v1_480/FGHIJ.mp4", start=9.0, end=12.25),
        Clip(path="star/Charades_segment/FGHIJ_9.0_12.25.mp4"),
    )
    assert found.elsewhere["episodic_reasoning:1"] == (
        Clip(path="tvqa/video_fps3_hq_segment/castle_s01e02_seg02_clip_14_0.0_38.32.mp4"),
    )
    assert found.elsewhere["scene_transition:1"] == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (mvbench_row("1.webm", "What?", ("x", "y"), "z"), "its answer is 'z', expected the text of one of its options"),
        (
            mvbench_row("1.webm", "What?", ("x", "y", "x "), "x"),
            "its answer 'x' is the text of the options A and C, so no one letter is right",
        ),
        (mvbench_row("1.webm", "What?", (), "x"), "has no options"),
        (
            mvbench_row("1.webm", "What?", ("x",), "x", start=3.0, end=3.0),
            "its part of the clip is from 3 to 3 s, expected some",
        ),
        (mvbench_row("1.webm", "What?", ("x",), "x", start="soon"), "its `start` is 'soon', expected a number of at least 0"),
    ],
)
def test_mvbenchs_rows_that_cannot_be_used(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    found = read_set("mvbench", write_json(tmp_path / "action_antonym.json", [row]))
    assert [(name, said[: len(reason)]) for name, said in reasons(found)] == [("action_antonym:1", reason)]


def test_a_release_s_file_of_another_name_is_of_no_task(tmp_path: Path) -> None:
    found = read_set("mvbench", write_json(tmp_path / "mine.json", MVBENCH["action_count"][1]))
    assert "is in no file that is called as one of the 20 tasks" in found.unresolved[0].reason


# ---- TempCompass -----------------------------------------------------------------------------------------------------------


def test_tempcompass_has_four_formats_of_which_one_needs_a_judge(tmp_path: Path) -> None:
    found = read_set("tempcompass", write_tempcompass(tmp_path).source)
    assert reasons(found) == [("1034:captioning:action:1", NEEDS_JUDGE)]
    assert [
        (one.question_id, one.text, one.options, one.gold, one.form, one.facets.get("type")) for one in found.questions
    ] == [
        (
            "1034:multi-choice:action:1",
            "What is done?",
            ("dunking", "passing", "running"),
            ("B",),
            "choice",
            "fine-grained action",
        ),
        ("1034:multi-choice:action:2", "Which is it?", ("running", "passing"), ("A",), "choice", "fine-grained action"),
        ("1034_reverse:multi-choice:order:1", "What comes first?", ("a fall", "a jump"), ("A",), "choice", "order"),
        ("1034:yes-no:attribute_change:1", "Does it grow?", ("yes", "no"), ("B",), "yes-no", "size & shape change"),
        (
            "1034:caption-matching:action:1",
            "Which description is a more suitable match for the video?",
            ("He runs.", "He dunks."),
            ("B",),
            "choice",
            "fine-grained action",
        ),
        (
            "1034:caption-matching:action:2",
            "Which sentence better captures the essence of the video?",
            ("He dunks.", "He runs."),
            ("A",),
            "choice",
            "fine-grained action",
        ),
    ]
    assert found.questions[3].facets == {
        "format": "yes-no", "dimension": "attribute-change", "type": "size & shape change"
    }  # fmt: skip
    assert found.questions[2].group == "1034_reverse.mp4"


def test_tempcompass_as_letters_asks_the_judge_s_question(tmp_path: Path) -> None:
    release = write_tempcompass(tmp_path / "release").source
    found = by_id(read_set("tempcompass", release, variant="captioning-as-letters"))
    recast = found["1034:captioning:action:1"]
    assert (len(found), recast.text, recast.options, recast.gold) == (
        7,
        "What is done?",
        ("dunking", "passing", "running"),
        ("B",),
    )
    yes_no = found["1034:yes-no:attribute_change:1"]
    assert (yes_no.form, yes_no.options, yes_no.gold) == (Form.CHOICE, ("yes", "no"), ("B",))
    hub = by_id(read_set("tempcompass", write_tempcompass_hub(tmp_path / "hub").source, variant="captioning-as-letters"))
    own = hub["1034:captioning:action:1"]
    assert (own.text, own.options, own.gold) == ("What is done?", ("passing", "dunking"), ("A",))


def test_tempcompass_reads_the_hub_s_tables_alike_but_for_the_types(tmp_path: Path) -> None:
    release = read_set("tempcompass", write_tempcompass(tmp_path / "release").source)
    hub = read_set("tempcompass", write_tempcompass_hub(tmp_path / "hub").source)
    for one in release.questions:
        one.facets.pop("type")
    assert hub.questions == release.questions
    assert reasons(hub) == reasons(release)


def test_tempcompass_in_video_r1s_form_is_all_letters(tmp_path: Path) -> None:
    def row(problem: str, options: list[str], letter: str, **more: Any) -> dict[str, Any]:
        clip = "./Evaluation/TempCompass/1034.mp4"
        return {"problem": problem, "options": options, "solution": tagged(letter), "path": clip} | more

    rows = [
        row("What is done?", ["A. x", "B. y"], "B", dim="attribute_change"),
        row("Does it grow?", ["A. yes", "B. no"], "B"),
        row("Which caption matches the video better?", ["A. x", "B. y"], "A"),
        row("Write a caption.\nInformation A: {}\nInformation B: {}", ["A. x", "B. y"], "A"),
    ]
    found = read_set("tempcompass", in_video_r1(tmp_path / "eval_tempcompass.json", rows))
    assert [one.facets for one in found.questions] == [
        {"format": "multi-choice", "dimension": "attribute-change"},
        {"format": "yes-no"},
        {"format": "caption-matching"},
        {"format": "captioning"},
    ]
    assert {(one.form, one.clip.path) for one in found.questions} == {(Form.CHOICE, "1034.mp4")}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"question": "What?\nA. x\nB. y", "answer": "B. x"}, "its answer is 'B. x', but the option of that label is 'y'"),
        ({"question": "What?\nA. x\nB. y", "answer": "z"}, "its answer is 'z', expected the text of one of its options"),
        ({"question": "A. x\nB. y", "answer": "A. x"}, "its question is not one with an option on each line behind it"),
        ({"question": "What?", "answer": "A. x"}, "its question is not one with an option on each line behind it"),
        ({"question": "What?\nA. x\nwhy\nB. y", "answer": "A. x"}, "its question is not one with an option on each line"),
    ],
)
def test_tempcompass_s_rows_that_cannot_be_used(asked: dict[str, str], reason: str, tmp_path: Path) -> None:
    found = read_set("tempcompass", write_json(tmp_path / "multi-choice.json", {"9": {"speed": [asked]}}))
    assert [(name, said[: len(reason)]) for name, said in reasons(found)] == [("9:multi-choice:speed:1", reason)]


def test_what_is_no_question_in_tempcompass_s_files_is_counted(tmp_path: Path) -> None:
    document = {"1": {"speed": [17, {"question": "What?\nA. x\nB. y", "answer": "B. y"}]}, "2": "nothing", "3": {"order": {}}}
    found = read_set("tempcompass", write_json(tmp_path / "multi-choice.json", document))
    assert [one.question_id for one in found.questions] == ["1:multi-choice:speed:1"]
    assert [name for name, _ in reasons(found)] == ["row 1", "row 3", "3:multi-choice:order:1"]
    assert sum(len(group) for by in TEMPCOMPASS["multi-choice"].values() for group in by.values()) == 3


# ---- Video-MME and LongVideoBench ------------------------------------------------------------------------------------------


def test_videomme_reads_its_parquet_and_video_r1s_form_alike(tmp_path: Path) -> None:
    found = read_set("videomme", write_videomme(tmp_path).source)
    assert found.questions[0] == Question(
        question_id="001-1",
        text="How many apples?",
        options=("One.", "Two.", "Three.", "None of the above."),
        clip=Clip(path="fFjv-_1.mp4"),
        gold=("C",),
        form=Form.CHOICE,
        group="fFjv-_1",
        facets={
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Finance & Commerce",
            "task_type": "Counting Problem",
        },
        source="Video-MME",
    )
    again = read_set("videomme", write_videomme_in_video_r1(tmp_path / "eval_videomme.json"))
    assert again.questions == found.questions


def test_longvideobench_reads_json_and_parquet_alike(tmp_path: Path) -> None:
    found = read_set("longvideobench", write_longvideobench(tmp_path).source)
    assert [(one.question_id, one.options, one.gold, one.facets) for one in found.questions] == [
        ("86Cx_0", ("a girl", "a dog", "a boy"), ("C",), {"duration_group": "15", "question_category": "S2E"}),
        (
            "86Cx_1",
            ("a pen", "a cup", "a hat", "a key", "a map"),
            ("A",),
            {"duration_group": "3600", "question_category": "T3O"},
        ),
    ]
    table = write_longvideobench_parquet(tmp_path / "hub" / "validation-00000-of-00001.parquet")
    assert read_set("longvideobench", table.parent).questions == found.questions


def test_longvideobench_s_test_part_is_refused(tmp_path: Path) -> None:
    release = write_longvideobench(tmp_path).source
    with pytest.raises(VtError, match=r"lvb_test_wo_gt\.json: no row has a `correct_choice`, so nothing can be graded"):
        read_set("longvideobench", release / "lvb_test_wo_gt.json")


# ---- what readers share ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mmvu", "video-holmes", "mvbench", "tempcompass", "videomme", "longvideobench"])
def test_a_folder_of_something_else_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(VtError, match=rf"--from .*: has no file of {dataset_named(name).name} \(such as .*\); expected the"):
        read_set(name, tmp_path)


@pytest.mark.parametrize(("name", "facet"), [("mmvu", "discipline"), ("mvbench", "task")])
def test_a_file_of_another_set_is_refused(name: str, facet: str, tmp_path: Path) -> None:
    source = write_video_holmes_in_video_r1(tmp_path / "eval.json")
    with pytest.raises(
        VtError, match=rf"--from eval\.json: no row tells its {facet}, as those of .* do; is it a file of another"
    ):
        read_set(name, source)


def test_shards_of_a_table_are_read_in_order(tmp_path: Path) -> None:
    rows = [
        {"videoID": "x", "question_id": str(number), "question": "What?", "options": ["A. x", "B. y"], "answer": "A"}
        for number in range(4)
    ]
    write_parquet(tmp_path / "videomme" / "test-00001-of-00002.parquet", rows[2:])
    write_parquet(tmp_path / "videomme" / "test-00000-of-00002.parquet", rows[:2])
    assert [one.question_id for one in read_set("videomme", tmp_path).questions] == ["0", "1", "2", "3"]


def test_lines_of_json_read_like_a_list(tmp_path: Path) -> None:
    source = write_mmvu_in_video_r1(tmp_path / "eval_mmvu.json")
    lines = tmp_path / "eval_mmvu.jsonl"
    lines.write_text("\n".join(map(json.dumps, json.loads(source.read_text()))))
    assert read_set("mmvu", lines).questions == read_set("mmvu", source).questions
