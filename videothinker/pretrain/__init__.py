"""Teaching a tiny model to watch, to imagine and to answer, before reinforcement learning begins (`vt pretrain`)."""
