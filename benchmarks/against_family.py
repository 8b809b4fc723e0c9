"""How far arms of a study stand above a family's curve, whether or not a claim says so, from its answers in letters.

    python benchmarks/against_family.py reports/study-2 blend cdpo-1 cdpo-share grpo-50

At the arm's own observational accuracy, in points of inferential accuracy, with 95 % over scenes and seeds, as a claim such as
"cdpo-1 > blend" is judged. What no claim says is exploratory.
"""

import argparse
from pathlib import Path

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.study import BASE
from videothinker.records.study_results import ANSWERS, RESULTS, Results
from videothinker.study.contrasts import against_family
from videothinker.study.sheets import read_sheet


def lines(folder: Path, family: str, arms: list[str]) -> list[str]:
    """A line for each arm.

    Raises:
        VtError: the study has no such family, or an arm of it or of these was not asked.
    """
    study = store.read_json(folder / RESULTS, Results).study
    if family not in study.families:
        raise VtError(f"{folder}: has no family {family!r}; there are {', '.join(study.families) or 'none'}")
    by_arm = read_sheet(folder / ANSWERS / f"{study.first_ask}.parquet").arms((BASE, *study.arms))
    if missing := [arm for arm in (*study.families[family].arms, *arms) if arm not in by_arm]:
        raise VtError(f"{folder}: {missing[0]} was not asked; there are {', '.join(by_arm)}")
    found = []
    for arm in arms:
        value, reason = against_family(arm, study.families[family].arms, by_arm, study.rule)
        if value is None or value.scenes.value is None or value.crossed.ci95 is None:
            found.append(f"{arm} - {family}: was not compared{f': {reason}' if reason else ''}")
            continue
        low, high = value.crossed.ci95
        found.append(f"{arm} - {family}: {100 * value.scenes.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with a study's results.json and answers/")
    parser.add_argument("family", help="name of the family, as the study's file has it")
    parser.add_argument("arms", nargs="+")
    options = parser.parse_args()
    try:
        print("\n".join(lines(options.folder, options.family, options.arms)))
    except VtError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
