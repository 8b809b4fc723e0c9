"""run.json and gate.json of a training that never ran, as the commands write them."""

from videothinker.records import Rule
from videothinker.records.training import GateMargins, GateVerdict, Measured, TrainedOn, TrainRecord, Weights


def a_train_record(stage: str, *, finished: bool = True) -> TrainRecord:
    """Of 8 replies to each of 2 questions a step."""
    return TrainRecord(
        stage=stage,
        settings={"rollouts": {"n_replies": 8, "questions_per_step": 2}},
        model=Weights(ref="base", sha256="0" * 64),
        bias_model=None,
        data=TrainedOn(folder="curated", sha256="1" * 64, rule=Rule.ORACLE, n_questions=100),
        finished=finished,
    )


def a_gate(*reasons: str) -> GateVerdict:
    """Passed, unless something speaks against it."""
    measured = Measured(observational=0.9, inferential=0.5, shortcut_reliance=0.3, n_observational=200, n_inferential=200)
    return GateVerdict(
        passed=not reasons,
        reasons=reasons,
        start=measured,
        bias=measured,
        margins=GateMargins(),
        split="dev",
        rule=Rule.ORACLE,
    )
