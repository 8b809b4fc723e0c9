"""A study: trainings and diagnoses over seeds, planned from one file, run as `vt` commands, gathered into one report."""
