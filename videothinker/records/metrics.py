"""What a diagnosis found: metrics.json of each run, and summary.json beside them. docs/metrics.md gives every formula."""

import msgspec

FILE = "metrics.json"


class Estimate(msgspec.Struct, frozen=True):
    """A mean with its uncertainty, all as fractions in [0, 1] (differences: [-1, 1]), but for means in a unit of their own."""

    value: float | None
    """None if there is nothing to average; shown as a dash, never as 0."""
    stderr: float | None
    """Standard error clustered by group with the factor G/(G-1); None for fewer than two groups."""
    ci95: tuple[float, float] | None
    """95 % interval: longer on the side where more is possible, and never without length; that of a share lies within [0, 1].
    None if stderr is."""


class AgainstChance(Estimate, frozen=True):
    """A share, and the one that would be expected without the shortcut."""

    chance: float | None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """How the questions of one kind were answered. Questions with a decode_error are counted apart and in nothing else."""

    n_questions: int
    """Questions asked and answered, unreadable replies included."""
    n_options: int
    n_scenes: int
    """Groups that the questions belong to: CLEVRER's are scenes."""
    n_unparsed: int
    """Replies without a readable answer: wrong in every option, unless the run's protocol counts one as right."""
    n_truncated: int
    """Replies cut at the token limit, readable or not."""
    n_decode_error: int
    """Questions that could not be asked because their clip could not be read; they are in none of the other counts."""
    per_question: Estimate
    """Share of questions whose whole answer is right. Questions that are graded by score count with that, intervals with their
    IoU and estimates with their mean relative accuracy, so that of those alone it is the mean score."""
    per_option: Estimate
    """Share of options judged right."""
    soft: Estimate
    """Mean of the paper's soft score; for single choices the same as `per_question`."""
    chance: float | None
    """Expected `per_question` of a uniformly random answer in each question's form."""


class ByCategory(msgspec.Struct, frozen=True, kw_only=True):
    """The contrast that the diagnosis is about, under one set of labels."""

    all: Pool
    observational: Pool
    inferential: Pool
    unsure: Pool | None = None
    """None where the labels call no question unsure. These questions are in `all`, and in no contrast."""
    gap: Estimate
    """per_question on observational minus that on inferential questions: what is lost when watching is not enough."""
    shortcut_reliance: AgainstChance
    """Share of inferential answers that equal the observer's; chance: the same for uniformly random answers."""
    shortcut_error_share: AgainstChance
    """Of the wrong options on inferential questions, the share on which the observer is wrong in the same way; chance: the same
    for errors that fall evenly on a question's options."""


class LetterScore(msgspec.Struct, frozen=True, kw_only=True):
    """How one letter is treated, which shows whether it is favoured whatever its option says."""

    n_options: int
    """Questions asked that have this letter."""
    per_option: Estimate
    chosen: Estimate
    """Share of these questions whose answer contains the letter."""
    correct: float | None
    """Share of these questions whose gold answer contains the letter."""


class BenchmarkScore(msgspec.Struct, frozen=True, kw_only=True):
    """The one number that a benchmark is quoted by."""

    name: str
    """Name of the benchmark and how it averages, such as "MVBench, mean over task"."""
    value: float | None
    ci95: tuple[float, float] | None


class TwiceScore(msgspec.Struct, frozen=True, kw_only=True):
    """Both answers of one checkpoint on some questions; intervals are clustered by group."""

    n_questions: int
    """Questions that were asked; decode_errors are in no count."""
    n_scenes: int
    first: Estimate
    """Share whose first answer is exactly right, or mean score where answers have one; the fallback sentence is no answer."""
    second: Estimate
    """Share whose second answer is: the checkpoint's accuracy."""
    think_helps: Estimate
    """`second` minus `first`, paired by question."""
    p_value: float | None
    """Two-sided p-value of the exact test that swaps the two answers group by group; None for fewer than two groups."""
    fix_rate: Estimate
    """Of the first answers that are wrong, those whose second is right."""
    break_rate: Estimate
    """Of the first answers that are right, those whose second is not."""
    thinking_ratio: Estimate
    """Share of replies that think: a stopped one does not."""
    stopped: Estimate
    """Share of replies that were ended behind their first answer (`--stop-at`)."""
    mean_tokens: float | None
    """Tokens really written per reply; None where a reply's are not known."""


class IntervalScore(msgspec.Struct, frozen=True, kw_only=True):
    """Temporal grounding, as the field reports it, on some questions; intervals are clustered by group."""

    n_questions: int
    """Questions of the form "interval" that were asked; decode_errors are in no count."""
    n_scenes: int
    miou: Estimate
    """Mean IoU of the interval said and the gold one; an unreadable reply has 0."""
    recall: dict[str, Estimate]
    """R@0.3, R@0.5 and R@0.7: by such a bound the share whose IoU is at least that."""


class Metrics(ByCategory, frozen=True, kw_only=True):
    """metrics.json: `ByCategory` under the folder's own labels, the same under every other set, and further breakdowns."""

    rule: str | None
    """Name of the label set that the top fields use; None if there are no labels, so that fields by category are empty."""
    chance: float | None
    """`all.chance`, for readers that want one number to hold `all` against."""
    by_rule: dict[str, ByCategory]
    """The contrast under each label set, by its name (`LabelSet.name`)."""
    by_facet: dict[str, dict[str, Pool]] = {}
    """By named breakdown and its value: the questions' own facets, their form if there are several, and the categories of every
    label set under its name."""
    by_n_options: dict[int, Pool]
    by_n_correct: dict[int, Pool]
    by_polarity: dict[str, Pool]
    """For CLEVRER by "will" and "will not"; otherwise empty."""
    by_letter: dict[str, LetterScore]
    benchmark: BenchmarkScore | None = None
    """None unless the question set says how it is averaged."""
    twice: dict[str, TwiceScore] | msgspec.UnsetType = msgspec.UNSET
    """Both answers of replies in the style "twice", by "all" and category; not in the file in other styles."""
    intervals: dict[str, IntervalScore] | msgspec.UnsetType = msgspec.UNSET
    """Temporal grounding by "all" and category; not in the file without questions of the form "interval"."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two checkpoints on the same questions."""

    before: str
    after: str
    """Names of the two runs."""
    measure: str
    """"all", "observational", "inferential" (per_question), "gap" or "shortcut_reliance"."""
    n_questions: int
    """Questions that both answered, without decode_errors of either."""
    n_scenes: int
    n_gained: int | None
    """Questions that only `after` has right, or on which it has the higher score (for shortcut_reliance: answers as the
    observer does); None for the gap."""
    n_lost: int | None
    """The same of `before`."""
    difference: Estimate
    """`after` minus `before`, paired by question, clustered by group."""
    p_value: float | None
    """Two-sided p-value of the exact test that swaps the two checkpoints group by group; None for fewer than two groups."""
    p_holm: float | None
    """`p_value` after Holm's correction for all comparisons of the report."""


class ReadBy(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint's replies to one question set, read as one protocol reads them (`diagnose.readings`)."""

    run: str
    source: str
    """The question set, as `Question.source` names it."""
    protocol: str
    n_questions: int
    """Questions in the denominator."""
    n_left_out: int
    """Questions that the protocol takes out of it."""
    n_unread: int
    """Replies from which no answer was read."""
    n_guessed: int
    """Replies for which a random option was drawn."""
    n_right_unread: int
    """Replies that count as right though no answer was read: they are empty, or fit several options."""
    n_for_a_judge: int
    """Replies that the protocol would give to a judge model."""
    n_gained: int
    """Replies that are right here, and not as we read them."""
    n_lost: int
    """Replies that are right as we read them, and not here."""
    per_question: Estimate
