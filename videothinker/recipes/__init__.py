"""What the commands do, as functions that a notebook or a script can call: several rooms put together, and nothing printed.

    from videothinker.recipes import curation, diagnosis
    curation.curate_clevrer(Path("annotation_train"), Path("train.json"), Path("curated"), Settings(rule=Rule.ORACLE))
    asked = DiagnosisSettings(split="dev")
    report = diagnosis.diagnose({"ours": "runs/cdpo"}, open_curated(Path("curated")), asked, Path("runs/dev"))
    report.runs[0].metrics.gap

What takes long accepts a `Bars`, which is told how far it is.
"""
