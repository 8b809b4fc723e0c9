"""What a training says before its first step: what it is trained on, and what becomes of the clips. Loads without torch."""

from collections import Counter
from collections.abc import Iterator, Sequence

from videothinker.answers import form_of
from videothinker.curated import Labels
from videothinker.records import Question
from videothinker.records.question import Kind
from videothinker.train.stages import StageConfig


def kinds(questions: Sequence[Question]) -> dict[str, int]:
    """Number of questions that show a clip, an image or nothing; without the kinds that there are none of."""
    found = Counter(question.kind for question in questions)
    return {kind.value: found[kind] for kind in Kind if found[kind]}


def told(config: StageConfig, questions: Sequence[Question], labels: Labels) -> Iterator[str]:
    """Lines for whoever starts the training. labels: whose own set's categories count."""
    forms = Counter(question.form for question in questions)
    scored = {question.form for question in questions if form_of(question).by_score}
    answers = ", ".join(f"{form.value} {n:,}{' (graded by score)' if form in scored else ''}" for form, n in forms.items())
    yield f"questions: {_listed(kinds(questions))}; answers: {answers}"
    unlabelled = sum(labels.category(question.question_id) is None for question in questions)
    if labels.own is not None and unlabelled:
        yield f"{unlabelled:,} of {len(questions):,} questions have no label, so they are in no category"
    yield _vision(config)


def _listed(found: dict[str, int]) -> str:
    return ", ".join(f"{kind} {n:,}" for kind, n in found.items())


def _vision(config: StageConfig) -> str:
    model = config.model
    if model.train_vision and config.lora is None:
        return "vision tower: trained, so it sees each clip anew at every step that asks about it"
    if not (model.vision_cache_gib or model.vision_spill_gib):
        return "vision tower: frozen; what it makes of clips is not kept (model.vision_cache_gib and vision_spill_gib are 0)"
    kept = f"up to {model.vision_cache_gib:g} GiB of memory, then {model.vision_spill_gib:g} GiB of disk"
    return f"vision tower: frozen, so it sees each clip once; kept in {kept}, but not under FSDP or ZeRO-3"
