"""Names that train/ still uses until its new rooms are merged; see `answers`."""

from videothinker import answers
from videothinker.answers import LETTERS, format_score, is_exact, render_prompt
from videothinker.answers import Style as Prompt
from videothinker.records import Form

_LETTERS = answers.FORMS[Form.LETTERS]
parse_reply, solution, soft_score = _LETTERS.parse, _LETTERS.solution, _LETTERS.soft
__all__ = ["LETTERS", "Prompt", "format_score", "is_exact", "parse_reply", "render_prompt", "soft_score", "solution"]
