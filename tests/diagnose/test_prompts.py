"""Questions in the chat template and as tokens."""

from pathlib import Path

from transformers import AutoProcessor

from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.diagnose.prompts import chats, in_style, write_prompts


def test_every_question_is_rendered_as_by_the_template_itself(taught: Path, colours: Curated) -> None:
    processor = AutoProcessor.from_pretrained(taught)
    questions = colours.questions("dev")
    alone = [chats(processor, [question], in_style(Style.COT))[0] for question in questions]
    assert chats(processor, questions, in_style(Style.COT)) == alone
    prompts = write_prompts(processor, questions, in_style(Style.COT))
    assert list(prompts.texts.values()) == alone
    assert prompts.ends is not None
    for question, text in zip(questions, alone, strict=True):
        whole = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        end = prompts.ends[question.question_id]
        assert whole[len(whole) - len(end) :] == end
    template = processor.chat_template
    # a template that changes the text itself is filled in for every question
    processor.chat_template = template.replace("part['text']", "part['text'] | upper")
    assert (
        chats(processor, questions, in_style(Style.COT))[3]
        == chats(processor, [questions[3]], in_style(Style.COT))[0]
        != alone[3]
    )
