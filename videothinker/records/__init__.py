"""The schema of every file, and every record that crosses a border between two rooms: frozen, typed, no logic.

The words: a *question* asks about a clip and has a gold answer; an *observer* is anyone who answers while looking less; a
*label* is what an observer and a rule make of a question, *observational* (it can be answered from what was seen),
*inferential* (it needs more) or *unsure*; a *prediction* is one checkpoint's reply to one question; a *facet* is a named
breakdown.
"""

from videothinker.records.label import DECIDED, Category, Label, LabelSet, Rule
from videothinker.records.manifest import Benchmark, Manifest, Unresolved
from videothinker.records.metrics import AgainstChance, ByCategory, Comparison, Estimate, Metrics, Pool, ReadBy
from videothinker.records.prediction import Prediction, ProtocolScore, Status
from videothinker.records.probe import Against, OneSample, OptionScores, ProbeReply, ProbeSummary, Verdict, Verdicts, ViewResult
from videothinker.records.question import Clip, Form, Question
from videothinker.records.run import RunRecord, Served
from videothinker.records.scene import Collision, Scene, SceneObject
from videothinker.records.summary import Summary
from videothinker.records.views import ViewEffects

__all__ = [
    "DECIDED",
    "Against",
    "AgainstChance",
    "Benchmark",
    "ByCategory",
    "Category",
    "Clip",
    "Collision",
    "Comparison",
    "Estimate",
    "Form",
    "Label",
    "LabelSet",
    "Manifest",
    "Metrics",
    "OneSample",
    "OptionScores",
    "Pool",
    "Prediction",
    "ProbeReply",
    "ProbeSummary",
    "ProtocolScore",
    "Question",
    "ReadBy",
    "Rule",
    "RunRecord",
    "Scene",
    "SceneObject",
    "Served",
    "Status",
    "Summary",
    "Unresolved",
    "Verdict",
    "Verdicts",
    "ViewEffects",
    "ViewResult",
]
