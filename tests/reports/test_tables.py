"""One table in every format: LaTeX in which nothing is taken for an order, CSV that a program reads."""

import csv
import io

import pandas as pd
import pytest

from videothinker.reports.tables import Table, latex_text, name_by_facet, table_files

SCORES = Table(
    "scores, all",
    'Accuracy of "base" & co, 100 %.',
    ("Checkpoint", "Right", "Change", "p", "Questions", "Note"),
    [
        ("base_1", "74.0\u00a0% [73.4, 74.6]", "\u2013", "\u2013", "12,345", 'says "A", then B'),
        ("[new]*", "5.0\u00a0%", "\u22121.5 [\u22122.0, +0.5] *", "< 0.001", "80", "a\nb"),
        ("chance", "25.0\u00a0% [20.0, 30.0]", "+0.5 [+0.1, +0.9]", "0.20", "\u2013", ""),
    ],
    parts=(2,),
)


def test_a_table_in_latex_by_hand() -> None:
    assert SCORES.latex().splitlines() == [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Accuracy of ``base'' \& co, 100 \%.}",
        r"\label{tab:scores-all}",
        r"\begin{tabular}{lrrrrl}",
        r"\toprule",
        r"Checkpoint & Right & Change & p & Questions & Note \\",
        r"\midrule",
        r"base\_1 & 74.0~\% [73.4, 74.6] & -- & -- & 12,345 & says ``A'', then B \\",
        r"{}[new]* & 5.0~\% & $-$1.5 [$-$2.0, +0.5] * & \textless{} 0.001 & 80 & a b \\",
        r"\midrule",
        r"chance & 25.0~\% [20.0, 30.0] & +0.5 [+0.1, +0.9] & 0.20 & -- &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\input{x} $1 #2", r"\textbackslash{}input\{x\} \$1 \#2"),
        ("a^b~c|d`e<f>", r"a\textasciicircum{}b\textasciitilde{}c\textbar{}d\textasciigrave{}e\textless{}f\textgreater{}"),
        ('("yes" or "no")', "(``yes'' or ``no'')"),
        ("5\" wide, it's", "5'' wide, it's"),
        ("\u00b12.0 \u00d7 a\u2026", r"$\pm$2.0 $\times$ a\ldots{}"),
        ("a\x00\u202eb", r"a\textbackslash{}x00\textbackslash{}u202eb"),
        ("% a\n% b", r"\% a \% b"),
    ],
)
def test_no_text_is_an_order_to_latex(text: str, expected: str) -> None:
    assert latex_text(text) == expected


def test_a_table_in_csv_is_numbers_to_a_program_and_keeps_every_text() -> None:
    found = pd.read_csv(io.StringIO(SCORES.csv()))
    assert list(found.columns) == [
        "Checkpoint",
        *("Right (%)", "Right (%) low", "Right (%) high"),
        *("Change", "Change low", "Change high", "Change significant"),
        "p",
        "Questions",
        "Note",
    ]
    assert found["Right (%)"].tolist() == [74.0, 5.0, 25.0]
    assert found["Right (%) low"].isna().tolist() == [False, True, False]
    assert found["Change"].tolist()[1:] == [-1.5, 0.5]
    assert found["Change low"].tolist()[1:] == [-2.0, 0.1]
    assert found["Change significant"].isna().tolist() == [True, False, False]
    assert found["Change significant"].tolist()[1:] == ["yes", "no"]
    assert found["Questions"].tolist()[:2] == [12345, 80]
    assert found["Note"].tolist()[:2] == ['says "A", then B', "a\nb"]
    assert [row[8] for row in csv.reader(io.StringIO(SCORES.csv()))] == ["p", "", "<0.001", "0.20"]


def test_text_that_only_looks_like_numbers_in_places_stays_text() -> None:
    table = Table(
        "t", "Caption.", ("Setting", "Value"), [("seed", "42"), ("n, m", "1,234"), ("dtype", "auto"), ("x", "\u2013")]
    )
    assert table.csv().split("\n") == ["Setting,Value", "seed,42", '"n, m","1,234"', "dtype,auto", "x,\u2013", ""]


def test_files_lie_in_a_folder_of_their_own_under_names_that_are_none_of_a_path() -> None:
    assert list(table_files([SCORES, Table("../a/b", "", ("x",), [("1",)])])) == [
        *("tables/scores-all.tex", "tables/scores-all.csv"),
        *("tables/-a-b.tex", "tables/-a-b.csv"),
    ]


def test_a_table_without_rows_has_its_head() -> None:
    table = Table("t", "Caption.", ("Name", "Score"), [])
    assert table.csv() == "Name,Score\n"
    assert r"\begin{tabular}{lr}" in table.latex()


def test_tables_of_facets_that_differ_share_no_file_whatever_their_names() -> None:
    assert name_by_facet("question_type") == "by-question_type"
    assert name_by_facet("task", "mvbench-2") == "mvbench-2-by-task"
    alike = [
        ("a/b", None),
        ("a b", None),
        ("a-b", None),
        ("a.b", None),
        ("c", "a-by-b"),
        ("b-by-c", "a"),
        ("a b", "x"),
        ("b", "x a"),
    ]
    names = [name_by_facet(facet, dataset) for facet, dataset in alike]
    assert len(set(names)) == len(alike)
    assert not [name for name in names if not name.replace("-", "").isalnum()]
    assert [Table(name, "", (), ()).file_stem for name in names] == names
    assert name_by_facet("half \ud800") == name_by_facet("half \ud800")
