"""The settings of a pretraining of six steps on a CPU, for the tests of this folder."""

SMALL = """
[model]
size = "test"
[world]
n_questions = 4
n_unseen = 4
[lessons]
draws = 1
rows = 1
n_questions = 2
n_tracks = 1
length = 448
backlog = 32
noise = 0
[optimizer]
steps = 6
rows = 4
learning_rate = 3e-3
warmup_steps = 0
[evaluation]
times = 1
n_questions = 1
n_late_questions = 1
max_new_tokens = 8
[compute]
workers = 1
clips_a_round = 16
log_every = 2
save_every = 2
"""
