"""labels.parquet: CLEVRER's labelled counterfactual questions as one table, for notebooks and the pages that explain them."""

FILE = "labels.parquet"

COLUMNS = {
    "question_id": "string",
    "scene_index": "int64",
    "qid": "int64",
    "video": "string",
    "removed_object": "int64",
    "negated": "bool",
    "n_choices": "int64",
    "n_correct": "int64",
    "any_option": "string",
    "correct_option": "string",
    "oracle": "string",
    "category": "string",
    "split": "string",
    "in_train_set": "bool",
    "gold": "string",
    "observer": "string",
}
"""Columns by Arrow type: one row per labelled question, by scene and qid. `category` is the chosen rule's; `gold` and
`observer` are letters joined by ","; `in_train_set` is False for questions left out of the training set."""
