"""Ask a pretrained checkpoint about clips in files, which its training never saw."""

from pathlib import Path

from videothinker.curated import Curated
from videothinker.diagnose import run, runs
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.progress import Bars, no_bars
from videothinker.recipes.diagnosis import ask
from videothinker.records import Metrics


def diagnose_base(folder: Path, curated: Curated, *, max_new_tokens: int, bars: Bars = no_bars) -> Metrics:
    """The metrics of the checkpoint in `folder` on a curated folder's dev split; answers and metrics go to its diagnosis/.

    Raises:
        VtError: the checkpoint cannot be asked, or diagnosis/ holds answers that were given under other settings.
    """
    asked = DiagnosisSettings(split=curated.default_split(), max_new_tokens=max_new_tokens)
    jobs = run.plan({"base": str(folder)}, curated, asked, folder / "diagnosis")
    ask(jobs, what="diagnosing", bars=bars)
    (found,) = runs.load_runs([job.folder for job in jobs], curated)
    return found.metrics
