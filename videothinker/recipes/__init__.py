"""What the commands do, as functions that a notebook or a script can call: several rooms put together, and nothing printed.

    from videothinker.recipes import curation, diagnosis
    curation.curate_clevrer(Path("annotation_train"), Path("train.json"), Path("curated"), Settings(rule=Rule.ORACLE))
    report = diagnosis.diagnose({"ours": "runs/cdpo"}, open_curated(Path("curated")), Settings(split="dev"), Path("runs/dev"))
    report.runs[0].metrics.gap

Each takes a `Bars` for who wants to see how far it is.
"""
