"""Upload a trained checkpoint to the hub, with a card that says what it is and how it answered.

hub = pushing.hub_for("me/cdpo")                        # before hours of training: is there a token, and is it accepted?
pushing.push(Path("runs/cdpo"), "me/cdpo", hub, results=Path("runs/diagnosis"))
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET

from videothinker import store
from videothinker.diagnose import runs
from videothinker.diagnose.files import METRICS, RUN
from videothinker.errors import VtError, missing_extra
from videothinker.fingerprint import fingerprint
from videothinker.progress import silent
from videothinker.records import Metrics
from videothinker.records.run import RunRecord
from videothinker.records.training import TrainRecord
from videothinker.reports.page import estimate, percent, points
from videothinker.train.card import Measurements, model_card

_TAKEN = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "metrics.jsonl")
"""What is uploaded of a checkpoint's folder: weights, tokenizer and processor, the records of the training, its log. Questions
and replies (completions.parquet, gate/) stay here, and so do checkpoints to resume from."""
_RECORDS = ("run.json", "gate.json", "metrics.jsonl", "videothinker_prompt.json")
"""Files about the training rather than of the weights; they go with every form."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_](?:[\w.-]*[\w])?")


class Form(StrEnum):
    """What is uploaded."""

    ADAPTER = "adapter"
    MERGED = "merged"
    """Weights that stand alone: an adapter is merged into its base, full weights are as they are."""
    DELTA = "delta"
    """The file of `vt checkpoint pack`, beside the checkpoint that training began with."""


class Hub(Protocol):
    """What is used of `huggingface_hub.HfApi`."""

    def whoami(self) -> dict[str, Any]: ...
    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> object: ...
    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> object: ...


class Pushed(NamedTuple):
    """What is on the hub now."""

    repo_id: str
    form: Form
    files: tuple[str, ...]
    n_bytes: int


def hub_for(repo_id: str) -> Hub:
    """The hub, once the name is one that it could have and it accepts the token that is here.

    Raises:
        VtError: it is no name, there is no token, or the hub refuses it or cannot be reached.
    """
    if not _NAME.fullmatch(repo_id) or len(repo_id) > 96 or ".." in repo_id or "--" in repo_id or repo_id.endswith(".git"):
        raise VtError(
            f"{repo_id}: is no name of a repository on the hub; expected OWNER/NAME in letters, digits, '-', '_' and '.', at"
            " most 96 of them"
        )
    try:
        from huggingface_hub import HfApi, get_token
    except ImportError as error:
        raise missing_extra("transformers", "models", f"uploading to {repo_id}") from error
    if get_token() is None:
        raise VtError(f"{repo_id}: there is no token of the hub here; run hf auth login, or set HF_TOKEN to one that may write")
    hub = HfApi()
    with _told(repo_id, "nothing was uploaded"):
        hub.whoami()
    return hub


def push(
    folder: Path,
    repo_id: str,
    hub: Hub,
    *,
    form: Form | None = None,
    results: Path | None = None,
    private: bool = False,
    warn: Callable[[str], None] = silent,
) -> Pushed:
    """Upload what `vt train` left in a folder, and write the card anew, with the results of a diagnosis if there is one.

    form: None uploads an adapter as such, and else the whole checkpoint. results: the folder of a diagnosis that asked this
    checkpoint. private: for a repository that is not there yet. A repository that is there gets one more commit.

    Raises:
        VtError: the folder holds no finished training, the form does not fit, the results are of other weights, or the hub
            refuses the upload or cannot be reached. Nothing in the folder is changed in any case.
    """
    from videothinker.models.checkpoint import is_adapter

    record = store.read_json(folder / RUN, TrainRecord)
    if not record.finished:
        raise VtError(f"{folder}: its training has not finished; repeat its command to go on, then upload it")
    adapter = is_adapter(str(folder), folder)
    form = form or (Form.ADAPTER if adapter else Form.MERGED)
    _check_form(folder, record, form, adapter, warn)
    measured = None if results is None else measurements(folder, results)
    with tempfile.TemporaryDirectory(prefix="vt-push-") as made:
        staged = Path(made)
        _stage(folder, staged, record, form, adapter)
        (staged / "README.md").write_text(model_card(record, measured, form=form.value, repo_id=repo_id), encoding="utf-8")
        files = tuple(sorted(path.name for path in staged.iterdir()))
        n_bytes = sum((staged / name).stat().st_size for name in files)
        with _told(repo_id, f"{folder} is as it was: vt checkpoint push {folder} {repo_id} tries again"):
            hub.create_repo(repo_id, private=private or None, exist_ok=True)
            hub.upload_folder(repo_id=repo_id, folder_path=made, commit_message=f"{record.stage} checkpoint, {form.value}")
    return Pushed(repo_id, form, files, n_bytes)


def _check_form(folder: Path, record: TrainRecord, form: Form, adapter: bool, warn: Callable[[str], None]) -> None:
    if form is Form.ADAPTER and not adapter:
        raise VtError(f"{folder}: holds full weights, no adapter; expected --as merged or delta")
    if form is Form.DELTA and adapter:
        raise VtError(f"{folder}: is a LoRA adapter, which is small already; expected --as adapter or merged")
    needed = {Form.ADAPTER: "an adapter", Form.DELTA: "a delta"}.get(form)
    if needed and Path(record.model.ref).is_dir():
        warn(f"{record.model.ref}: is a folder of this machine, and {needed} is of use to those alone who have it")


def _stage(folder: Path, staged: Path, record: TrainRecord, form: Form, adapter: bool) -> None:
    """Lay out what is uploaded; large files are links."""
    names = _RECORDS if form is Form.DELTA or (adapter and form is Form.MERGED) else _TAKEN
    for path in sorted(path for name in names for path in folder.glob(name) if path.is_file()):
        (staged / path.name).symlink_to(path.resolve())
    if form is Form.DELTA:
        _pack(folder, staged / f"{record.stage}.delta", record)
    elif adapter and form is Form.MERGED:
        from videothinker.models.merged import write_merged

        write_merged(str(folder), staged)


def _pack(folder: Path, out: Path, record: TrainRecord) -> None:
    from videothinker.models.checkpoint import find_checkpoint, weights_hash
    from videothinker.models.delta import pack

    start = find_checkpoint(record.model.ref)
    if weights_hash(start) != record.model.sha256:
        raise VtError(
            f"{record.model.ref}: is not what {folder} was trained from, its weights have changed; expected weights"
            f" `{record.model.sha256[:12]}`, or --as merged"
        )
    pack(start.folder, folder, out)


def measurements(folder: Path, results: Path) -> Measurements:
    """The table of a card: what the checkpoints of a diagnosis answered right, by category, the one in `folder` among them.

    Raises:
        VtError: there is no diagnosis in `results`, or it did not ask this checkpoint.
    """
    found = [(path, runs.read_record(path)) for path in runs.run_folders([results])]
    print_ = fingerprint(folder)
    ours = [record.name for _, record in found if record.weights == print_]
    if not ours:
        names = ", ".join(f"{record.name} ({record.model})" for _, record in found)
        raise VtError(f"{results}: none of its runs asked the weights in {folder}; it has {names}")
    metrics = {record.name: store.read_json(path / METRICS, Metrics) for path, record in found}
    rows = tuple((f"**{name}**" if name in ours else name, *_cells(one)) for name, one in metrics.items())
    return Measurements(_caption(found[0][1], metrics[ours[0]], ours[0]), _HEADINGS, rows)


_HEADINGS = (
    "checkpoint",
    "questions",
    "all",
    "observational",
    "inferential",
    "gap",
    "as the observer (by chance)",
    "unreadable",
)


def _cells(found: Metrics) -> tuple[str, ...]:
    reliance = found.shortcut_reliance
    return (
        f"{found.all.n_questions:,} of {found.all.n_scenes:,} clips",
        *(estimate(pool.per_question) for pool in (found.all, found.observational, found.inferential)),
        points(found.gap),
        f"{estimate(reliance)} ({percent(reliance.chance)})",
        f"{found.all.n_unparsed:,}",
    )


def _caption(asked: RunRecord, found: Metrics, name: str) -> str:
    settings = asked.settings
    sampled = settings.get("temperature") or 0
    how = f"sampled at temperature {sampled:g}" if sampled else "greedy"
    part = "" if asked.partial is None else "; not all of the split was asked"
    graded = found.intervals is not UNSET or not found.all.n_options or "estimate" in found.by_facet.get("form", {})
    what = "Share of questions answered exactly right" + (", or the mean score where answers have one" if graded else "")
    rule = f"labels {found.rule}" if found.rule else "no labels"
    return (
        f"{what}, with 95 % intervals clustered by clip; split {settings.get('split')},"
        f" {rule}, {how}{part}. {name} is this checkpoint. Gap: observational minus inferential, in points."
        " As the observer: share of inferential answers that equal those of one who only watches."
    )


@contextmanager
def _told(repo_id: str, then: str) -> Iterator[None]:
    """One line for what the hub refuses, or for what keeps it from being reached."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its parents are the errors of whichever library carries the requests; hf-xet, which carries large files, raises
    # RuntimeError.
    failures: tuple[Any, ...] = (HfHubHTTPError, *HfHubHTTPError.__bases__, ValueError, RuntimeError)
    try:
        yield
    except failures as error:
        raise VtError(f"{repo_id}: {_why(error)}; {then}") from error


def _why(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    lines = str(getattr(error, "server_message", None) or error).strip().splitlines() or [type(error).__name__]
    if status == 401:
        return "the hub does not accept the token (401); run hf auth login, or set HF_TOKEN to one that may write"
    if status == 403:
        return f"the hub refuses it (403: {lines[0]}); the token must be one that may write there"
    if status is not None:
        return f"the hub answered {status} ({lines[0]})"
    if isinstance(error, ValueError):  # among them what the hub says of a card that it does not take
        return " ".join(line.strip() for line in lines)
    return f"the hub cannot be reached or broke off ({lines[0]})"
