"""What the commands do, as functions for notebooks and scripts: they put several rooms together and print nothing.

    from videothinker.recipes import curation, diagnosis
    curation.curate_clevrer(Path("annotation_train"), Path("train.json"), Path("curated"), Settings(rule=Rule.ORACLE))
    data, settings = open_curated(Path("curated")), DiagnosisSettings(split="dev")
    report = diagnosis.diagnose({"ours": "runs/cdpo"}, data, settings, Path("runs/dev"))
    report.runs[0].metrics.gap

Each takes a `Bars`, which is told how far the work is.
"""
