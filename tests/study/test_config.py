"""A study's file: unknown keys and contradictions, all told at once; overrides; the shipped files."""

import re
from pathlib import Path

import pytest
from study_factory import FILE, write_study

from videothinker.errors import VtError
from videothinker.records.study import Claim, Stage
from videothinker.study.claims import Comparison, pairs_of, parse_claim
from videothinker.study.config import load_study, with_seeds
from videothinker.study.plan import make_plan

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    assert study.seeds_of("cdpo") == (1, 2, 3, 4)
    assert study.seeds_of("attract") == (1, 2)
    assert study.seeds_of("base") == ()
    assert study.arms["attract"].against == ("cdpo",)
    assert not study.arms["repel-start"].needs_bias
    assert study.arms["attract"].needs_bias
    assert study.train.configs[Stage.BIAS] == "bias.toml"


def test_every_violation_is_told_at_once(tmp_path: Path) -> None:
    text = FILE.replace("steps = 40", 'steps = 0\nstep = 3\nset = { "seed" = 1 }').replace('data = "curated"\nsteps', "steps")
    text = text.replace('stage = "grpo"', 'stage = "gpro"')
    with pytest.raises(VtError) as caught:
        load_study(write_study(tmp_path, text))
    said = str(caught.value)
    for part in ("train.steps = 0", "train.step: unknown setting", "train.data: is missing", "arms.grpo.stage = 'gpro'"):
        assert part in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = [1, 2, 3, 4]", "seeds = [1, 2, 2]", "a seed is listed twice"),
        ("seeds = [1, 2, 3, 4]", "seeds = [-1]", "seeds = [-1]"),
        ('model = "lab/tiny"', 'model = "{basis}"', "there is no [prepare.basis]"),
        ('configs = { bias = "bias.toml"', 'configs = { bias = "bies.toml"', "no such file beside the study's"),
        (', grpo = "grpo.toml" }', " }", "train.configs has no file for it"),
        ("--out {out}", "--out {oat}", "there is no [prepare.oat] before it"),
        ("--out {out}", "--out x", "writes nowhere"),
        ('note = "repulsion 0.03"', 'bias = "grpo"', "is no arm of stage bias"),
        ('note = "repulsion 0.03"', 'rule = "oracle"', "only stage bias"),
        ('note = "repulsion 0.03"', 'against = ["repulsion-03"]', "is neither another arm"),
        ('stage = "bias"\n', 'stage = "bias"\nseeds = 2\n', "'bias' is trained with fewer"),
        ('stage = "bias"\n', 'stage = "bias"\nseeds = 5\n', "the study has 4"),
        ('{ "objective.repulsion" = 0.03 }', '{ "optimizer.steps" = 3 }', "the study's own train.steps"),
        ('holds = ["cdpo > grpo"]', 'holds = ["cdpo >= grpo"]', "is not of the form"),
        ('holds = ["cdpo > grpo"]', 'holds = ["cdpo > gpro"]', "'gpro' is neither an arm"),
        ('holds = ["cdpo > grpo"]', 'holds = ["cdpo > cdpo"]', "with itself"),
        ('holds = ["cdpo > grpo"]', 'holds = ["cdpo > grpo + much"]', "expected 1 and 1"),
        ('holds = ["cdpo > grpo"]', 'holds = ["cdpo > grpo"]\nmeasure = "speed"', "measure"),
        ("{ repulsion-03 = 0.03, grpo", "{ repulsion-3 = 0.03, grpo", "sweeps[0].arms: 'repulsion-3' is no arm"),
        ("grpo = 0, cdpo = 0.01", "grpo = 0, cdpo = 0.0", "the same number"),
        ("[arms.attract]", "[arms.base]", "the name is taken"),
        ("[arms.cdpo]", "[arms.cdpo-x]", "an arm that gives no `against` is compared with cdpo"),
        ("[arms.attract]", '[arms."At tract"]', "a name has small letters"),
        ('[ask.greedy]\ndata = "curated"', '[ask.greedy]\ndata = "cured"', "there is no [prepare.cured]"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    with pytest.raises(VtError, match=r"study\.toml") as caught:
        load_study(write_study(tmp_path, FILE.replace(old, new, 1)))
    assert said in str(caught.value)


def test_set_overrides_what_the_file_says(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path), ["model=runs/base", "train.steps=7", "schedule.jobs_per_gpu=3"])
    assert (study.model, study.train.steps, study.schedule.jobs_per_gpu) == ("runs/base", 7, 3)
    with pytest.raises(VtError, match="is no section"):
        load_study(write_study(tmp_path), ["model.size=3"])
    with pytest.raises(VtError, match="is not KEY=VALUE"):
        load_study(write_study(tmp_path), ["model"])


MANY = FILE.replace('stage = "grpo"\n', 'stage = "grpo"\nearly_seeds = 3\n').replace(
    "[[sweeps]]",
    '[arms.mid]\nstage = "blend"\nof = ["base", "attract"]\nweight = 0.5\nseeds = 2\nagainst = ["base"]\n\n[[sweeps]]',
)
"""Arms with all seeds, one of them with three early ones, arms with two seeds, and a blend of such an arm."""


@pytest.mark.parametrize(("n_seeds", "few"), [(1, 1), (2, 2), (3, 2), (4, 2)])
def test_the_first_seeds_of_each_arm_are_kept(tmp_path: Path, n_seeds: int, few: int) -> None:
    """An arm that has no more than that keeps its own number, and early seeds that are left are early."""
    study = with_seeds(load_study(write_study(tmp_path, MANY)), n_seeds)
    first = (1, 2, 3, 4)
    assert study.seeds == first[:n_seeds]
    for arm in ("grpo", "bias", "cdpo"):
        assert study.seeds_of(arm) == first[:n_seeds], arm
    for arm in ("repel-start", "attract", "repulsion-03", "mid"):
        assert study.seeds_of(arm) == first[:few], arm
    assert study.arms["grpo"].early_seeds == min(n_seeds, 3)
    assert study.arms["cdpo"].early_seeds is None


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_fewer_seeds_leave_the_cells_of_the_others_as_they_are(tmp_path: Path, n_seeds: int) -> None:
    """Same commands and identities, so that what is finished counts; and no cell that the whole study lacks."""
    file = write_study(tmp_path, MANY)
    study = load_study(file)
    whole = {cell.name: cell for cell in make_plan(study, file.parent)}
    kept = make_plan(with_seeds(study, n_seeds), file.parent)
    assert {cell.name for cell in kept} == {name for name, cell in whole.items() if (cell.seed or 0) <= n_seeds}
    for cell in kept:
        before = whole[cell.name]
        assert (cell.arguments, cell.identity, cell.needs) == (before.arguments, before.identity, before.needs), cell.name


def test_more_seeds_than_there_are_is_a_line(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    assert with_seeds(study, 4) == study
    with pytest.raises(VtError, match=r"^--seeds 5: the study has 4$"):
        with_seeds(study, 5)


def test_a_bound_is_in_percentage_points_and_names_may_hold_dashes() -> None:
    claim = Claim(text="x", holds=("cdpo > grpo", "a-1 > b-2 + 1", "a-1 <b-2 - 0.5", "a>b"))
    assert parse_claim(claim) == [
        Comparison((("cdpo", 1), ("grpo", -1)), above=True),
        Comparison((("a-1", 1), ("b-2", -1)), above=True, bound=0.01),
        Comparison((("a-1", 1), ("b-2", -1)), above=False, bound=-0.005),
        Comparison((("a", 1), ("b", -1)), above=True),
    ]


def test_pairs_of_claims_are_compared_once(tmp_path: Path) -> None:
    """'attract < cdpo' is already an `against`; 'bias < grpo' and 'base > attract' are not."""
    extra = '\n[[claims]]\ntext = "x"\nholds = ["cdpo > attract", "bias < grpo", "base > attract"]\n'
    study = load_study(write_study(tmp_path, FILE + extra))
    assert pairs_of(study) == [
        ("grpo", "base"),
        ("bias", "base"),
        ("cdpo", "grpo"),
        ("cdpo", "base"),
        ("repel-start", "cdpo"),
        ("repel-start", "grpo"),
        ("attract", "cdpo"),
        ("repulsion-03", "cdpo"),
        ("bias", "grpo"),
        ("attract", "base"),  # base has no seed of its own to be subtracted from
    ]
    first, second, _ = parse_claim(study.claims[-1])
    assert isinstance(first, Comparison)
    assert isinstance(second, Comparison)
    assert (first.pair, first.above, second.above) == (("cdpo", "attract"), True, False)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("study-*.toml")), ids=lambda path: path.stem)
def test_the_shipped_studies_load(file: Path) -> None:
    study = load_study(file)
    repelled = Stage.AUTO if study.answers_twice else Stage.CDPO
    assert {arm.stage for arm in study.arms.values()} >= {Stage.BIAS, Stage.GRPO, repelled}
    assert study.claims


def test_there_are_shipped_studies() -> None:
    shipped = {"study-cpu", "study-world", "study-clevrer", "study-2", "study-2-cpu", "study-auto"}
    assert {path.stem for path in CONFIGS.glob("study-*.toml")} == shipped


def test_the_miniature_of_study_2_has_its_arms_and_claims() -> None:
    """All that differs is how much of everything there is."""
    whole, small = load_study(CONFIGS / "study-2.toml"), load_study(CONFIGS / "study-2-cpu.toml")
    assert whole.claims == small.claims
    assert whole.families == small.families
    assert whole.arms.keys() == small.arms.keys()
    for name, arm in whole.arms.items():
        mine = small.arms[name]
        for field in ("stage", "of", "weight", "set", "data", "labels", "bias", "rule", "force", "against"):
            assert getattr(mine, field) == getattr(arm, field), (name, field)


def test_study_2_asks_scenes_that_no_training_saw() -> None:
    """Worlds of one seed share no scene if their ranges do not overlap; no other world of this repository has that seed."""
    study = load_study(CONFIGS / "study-2.toml")
    words = {name: study.prepare[name].run.split() for name in ("world", "heldout-world")}

    def said(name: str, option: str) -> int:
        return int(words[name][words[name].index(option) + 1]) if option in words[name] else 0

    assert said("heldout-world", "--first-scene") >= said("world", "--scenes")
    assert said("heldout-world", "--seed") == said("world", "--seed") == 14
    assert "--seed 14" not in (CONFIGS / "study-world.toml").read_text()
    assert not {*study.seeds} & {*load_study(CONFIGS / "study-world.toml").seeds}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'stage = "cdpo"\nseeds = 2\nnote = "attracted',
            'stage = "blend"\nseeds = 2\nnote = "attracted',
            "stage blend needs `of`",
        ),
        ('note = "repulsion 0.03"', 'of = ["base", "grpo"]\nweight = 0.5', "only stage blend has `of` and `weight`"),
        ('note = "repulsion 0.03"', 'labels = "{probe}/x.parquet"', "there is no [prepare.probe]"),
    ],
)
def test_blends_and_labels_are_checked(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    with pytest.raises(VtError) as caught:
        load_study(write_study(tmp_path, FILE.replace(old, new, 1)))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("blend", "said"),
    [
        ('of = ["base", "grpo"]\nweight = 0.5', None),
        ('of = ["base", "gpro"]\nweight = 0.5', "'gpro' is neither a trained arm nor 'base'"),
        ('of = ["base", "base"]\nweight = 0.5', "both are 'base'"),
        ('of = ["base", "attract"]\nweight = 0.5', "'attract' is trained with fewer"),
        ('of = ["base", "grpo"]\nweight = 0.5\nsteps = 3', "mid.steps: stage blend trains nothing"),
        ('of = ["base", "grpo"]\nweight = 1.5', "weight = 1.5"),
    ],
)
def test_a_blend_lies_between_two_trained_arms(tmp_path: Path, blend: str, said: str | None) -> None:
    file = write_study(tmp_path, f'{FILE}\n[arms.mid]\nstage = "blend"\n{blend}\nagainst = ["base"]\n')
    if said is None:
        assert load_study(file).arms["mid"].weight == 0.5
        return
    with pytest.raises(VtError) as caught:
        load_study(file)
    assert said in str(caught.value)


def test_the_study_of_real_clevrer_has_the_claims_of_study_2() -> None:
    """The same claims about the same arms, which have as many seeds; what differs is the model, the data and the steps."""
    tiny, real = load_study(CONFIGS / "study-2.toml"), load_study(CONFIGS / "study-clevrer.toml")
    assert real.claims == tiny.claims
    assert real.families == tiny.families
    assert real.arms.keys() - tiny.arms.keys() == {"cdpo-paper", "cdpo-published"}
    for name, arm in tiny.arms.items():
        assert len(real.seeds_of(name)) == len(tiny.seeds_of(name)), name
        for field in ("stage", "of", "weight", "set", "data", "bias", "rule", "force", "against"):
            assert getattr(real.arms[name], field) == getattr(arm, field), (name, field)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[paths]\nout = "x"\n', "paths.out: the name is taken"),
        ('[paths]\nclips = []\n', "paths.clips: names no path"),
        ('[arms.far]\nstage = "grpo"\nbias_model = "lab/bias"\n', "arms.far.bias_model: only stage cdpo"),
        ('[arms.far]\nstage = "cdpo"\nbias_model = "{nowhere}"\n', "no 'nowhere' in [paths]"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_what_lies_elsewhere(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(VtError, match=re.escape(said)):
        load_study(write_study(tmp_path, FILE + text))
