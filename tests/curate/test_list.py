"""`vt curate list`: what can be curated, for people and for programs."""

import json

import pytest
from vt_command import vt

from videothinker.curate.datasets import DATASETS, dataset_named

NAMES = ["clevrer", *DATASETS]


def test_the_table_names_every_data_set_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("curate", "list") == 0
    printed = capsys.readouterr().out
    first = [line.split()[0] for line in printed.splitlines() if line[:1].strip()]
    assert first == NAMES
    assert "None" not in printed


def test_a_program_reads_the_same_as_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("curate", "list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == NAMES
    fields = {"what", "needs", "origin", "size", "licence", "split", "n_published", "hub", "variants"}
    assert all(set(one) == fields for one in told.values())
    assert all(one[field] for one in told.values() for field in fields - {"n_published", "hub", "variants"})
    assert (told["clevrer"]["n_published"], told["clevrer"]["licence"]) == (18_642, "CC0")
    assert (told["records"]["n_published"], told["records"]["split"]) == (None, "test")
    assert {name: one["n_published"] for name, one in told.items() if one["hub"]} == {
        "mmvu": 1_000,
        "video-holmes": 1_837,
        "mvbench": 4_000,
        "tempcompass": 7_540,
        "videomme": 2_700,
        "longvideobench": 1_337,
    }
    assert {name: list(one["variants"]) for name, one in told.items() if one["variants"]} == {
        "mmvu": ["as-published"],
        "tempcompass": ["captioning-as-letters"],
    }


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_what_it_is_in_whole_lines(name: str) -> None:
    one = dataset_named(name)
    for told in (one.what, one.needs, one.origin, one.size, one.licence, one.split):
        assert told.strip() == told != ""
        assert "\n" not in told


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_has_a_command_that_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("curate", name, "--help") == 0
    printed = capsys.readouterr().out
    assert "Usage" in printed
    assert "--out" in printed
