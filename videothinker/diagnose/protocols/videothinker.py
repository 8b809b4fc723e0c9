"""The evaluator of VideoThinker, the paper's code: Video-R1's, with other decoding, frames and files."""

from videothinker.diagnose.frame_rules import FrameRule
from videothinker.diagnose.protocols import video_r1
from videothinker.diagnose.protocols.base import ANY, Decoding, Prompt, Protocol, listed
from videothinker.records import Question

_DECODING = Decoding(max_new_tokens=1024, temperature=0.01, top_p=0.001)
_FRAMES = FrameRule("fps", 32, fps=2.0)


def _video_holmes(question: Question) -> Prompt:
    """Its file of Video-Holmes has the options in the question, and no heading."""
    return video_r1.ponder(f"{question.text} \n" + "\n".join(listed(question)))


PROTOCOL = Protocol(
    "videothinker",
    "falonss703/VideoThinker, src/eval/eval_bench.py at 5c95a05",
    (
        *video_r1.FAULTS,
        "its file of MMVU has 'video' for 'path' in 21 of 625 rows ('videoogen'); questions are asked here as curated",
        "ignores start and end of the 1,000 MVBench rows that have them",
        "trains with another prompt, and with larger frames",
    ),
    {
        "Video-Holmes": video_r1.rules(_video_holmes, decoding=_DECODING, frames=_FRAMES),
        ANY: video_r1.rules(video_r1.prompt, decoding=_DECODING, frames=_FRAMES),
    },
)
