"""The school: an untaught checkpoint with the words of the world, and 8 scenes."""

import pytest
import torch
from pretrain.school import School, open_school


@pytest.fixture(scope="session")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    """Built once, since no test trains it."""
    torch.set_num_threads(2)
    return open_school(tmp_path_factory.mktemp("school"))
