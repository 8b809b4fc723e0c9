"""`python -m videothinker` is the command `vt`."""

from videothinker.cli import main

if __name__ == "__main__":
    main()
