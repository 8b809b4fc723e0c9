"""Puts what lies at the root of the checkout, and the installed package needs, into the wheel; see videothinker/shipped.py."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ("configs", "data/README.md", "data/sample", "data/study", "reports/study-world")


class BuildWithShipped(build_py):
    """An editable install reads these folders where they are, so only a real build copies them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in SHIPPED:
            to = Path(self.build_lib) / "videothinker" / "_shipped" / name
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copyfile(ROOT / name, to)
            else:
                shutil.rmtree(to, ignore_errors=True)
                shutil.copytree(ROOT / name, to)


setup(cmdclass={"build_py": BuildWithShipped})
