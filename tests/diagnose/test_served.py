"""What a run over servers is known by: the model's name and what servers say of it, and not where they stand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnose.fake_server import Fake, serving
from vt_command import one_error, vt

from videothinker import store
from videothinker.curated import Curated
from videothinker.diagnose.served import said_of
from videothinker.errors import VtError
from videothinker.records import Served

VLLMS = {"id": "served", "owned_by": "vllm", "root": "/models/base"}


@pytest.fixture
def servers() -> Iterator[tuple[Fake, Fake]]:
    """Two that serve the same."""
    with serving() as one, serving() as other:
        one.models = other.models = {"object": "list", "data": [VLLMS]}
        yield one, other


def ask(server: Fake, curated: Curated, out: Path, *options: str) -> int:
    given = ("--data", curated.folder, "--model", "served", "--endpoint", server.url, "--frames", "4", "--out", out)
    return vt("diagnose", *given, *options)


def told(folder: Path) -> dict[str, Any]:
    return store.read_json(folder / "served" / "run.json", dict[str, Any])


def test_shards_that_each_had_a_server_are_one_run(
    servers: tuple[Fake, Fake], colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, server in enumerate(servers, start=1):
        assert ask(server, colours, tmp_path / "runs", "--shard", f"{number}/2") == 0
    capsys.readouterr()
    assert vt("merge", tmp_path / "runs") == 0
    assert "did not say" not in capsys.readouterr().err
    record = told(tmp_path / "runs")
    assert record["endpoint"] == record["fed"]["endpoint"] == ", ".join(sorted(server.url for server in servers))
    assert record["served"] == {"by": "vllm", "root": "/models/base"}
    assert record["fed"]["n_requests"] == 6
    assert sorted(len(server.bodies) for server in servers) == [2, 4], "three clips with two questions each"


def test_shards_of_an_earlier_version_are_merged_too(
    servers: tuple[Fake, Fake], colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their run.json has an address, and nothing of what was served, as that of a server which does not list its models."""
    for number, server in enumerate(servers, start=1):
        assert ask(server, colours, tmp_path / "runs", "--shard", f"{number}/2") == 0
    path = tmp_path / "runs" / "shards" / "1-of-2" / "served" / "run.json"
    store.write_json(path, {name: value for name, value in store.read_json(path, dict[str, Any]).items() if name != "served"})
    capsys.readouterr()
    assert vt("merge", tmp_path / "runs") == 0
    assert "the servers of 1 of 2 shards did not say what they serve" in capsys.readouterr().err
    assert told(tmp_path / "runs")["served"] == {"by": "vllm", "root": "/models/base"}


def test_a_shard_of_other_weights_under_the_same_name_is_refused_before_it_asks(
    servers: tuple[Fake, Fake], colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = servers
    other.models = {"data": [{**VLLMS, "root": "/models/cdpo"}]}
    assert ask(one, colours, tmp_path / "runs", "--shard", "1/2") == 0
    capsys.readouterr()
    assert ask(other, colours, tmp_path / "runs", "--shard", "2/2") == 2
    assert 'served.root was "/models/base", is "/models/cdpo"' in one_error(capsys)
    assert not other.bodies


def test_a_run_goes_on_at_another_address(servers: tuple[Fake, Fake], colours: Curated, tmp_path: Path) -> None:
    one, other = servers
    assert ask(one, colours, tmp_path / "runs", "--limit", "2") == 0
    assert ask(other, colours, tmp_path / "runs") == 0
    assert (len(one.bodies), len(other.bodies)) == (2, 4)
    assert told(tmp_path / "runs")["endpoint"] == ", ".join(sorted(server.url for server in servers))
    one.models = {"data": [{**VLLMS, "root": "/models/cdpo"}]}
    assert ask(one, colours, tmp_path / "runs") == 2


def test_servers_of_one_run_serve_the_same(servers: tuple[Fake, Fake]) -> None:
    one, other = servers
    urls = [one.url, other.url, "http://127.0.0.1:9/v1"]  # where nobody answers, which the run itself tells of
    assert said_of(urls, ["served", "unknown", "solver:gold"]) == {"served": Served(by="vllm", root="/models/base")}
    other.models = None  # not every server lists its models
    assert said_of(urls, ["served"]) == {"served": Served(by="vllm", root="/models/base")}
    other.models = {"data": [{**VLLMS, "root": "/models/cdpo\n"}]}
    with pytest.raises(VtError, match=r"serves served from /models/cdpo by vllm, and http.* from /models/base by vllm"):
        said_of(urls, ["served"])


def test_a_probe_goes_on_at_another_address_and_not_with_other_weights(
    servers: tuple[Fake, Fake], colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def probe(server: Fake, samples: int) -> int:
        given = ("--data", colours.folder, "--model", "served", "--endpoint", server.url, "--frames", "4")
        asked = ("--views", "normal,blind", "--samples", str(samples), "--split", "dev", "--no-margins")
        return vt("curate", "probe", *given, *asked, "--out", tmp_path / "labels.parquet")

    one, other = servers
    assert probe(one, 1) == 0
    assert probe(other, 2) == 0
    assert len(one.bodies) == len(other.bodies) == 12
    one.models = {"data": [{**VLLMS, "root": "/models/cdpo"}]}
    capsys.readouterr()
    assert probe(one, 3) == 2
    assert 'served.root was "/models/base", is "/models/cdpo"' in one_error(capsys)
