"""Greedy answers of text:smollm2 are those of lm-eval's `hf` model: same prompts, fp32, batch 1."""

from __future__ import annotations

import os

import pytest

from harness import registry
from harness.models import Sampling
from harness.types import Completion, Verdict

COUNT, TOKENS = 50, 8


@pytest.mark.slow
@pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="needs gsm8k: HARNESS_DATA is unset")
@pytest.mark.filterwarnings("default")  # lm-eval and evaluate warn of their own imports
def test_greedy_answers_agree_item_by_item():
    lm_eval = pytest.importorskip("lm_eval.models.huggingface", reason="needs the extra lm-eval")
    from lm_eval.api.instance import Instance

    from trainers.policies.text import open_text

    task = registry.task("mathqa/gsm8k")
    examples = list(task.examples("test"))[:COUNT]
    prompts = [task.prompt(example) for example in examples]
    policy = open_text(
        "smollm2", Sampling(temperature=0, max_tokens=TOKENS), dtype="float32", batch_size=1
    )
    ours = dict(policy.answer(prompts))

    theirs = lm_eval.HFLM(
        pretrained=str(policy.loaded.origin.folder), dtype="float32", batch_size=1, device="cpu"
    )
    settings = {"until": [], "max_gen_toks": TOKENS, "do_sample": False, "temperature": 0.0}
    requests = []
    for number, prompt in enumerate(prompts):
        history = [{"role": each.speaker, "content": each.content} for each in prompt.spoken()]
        written = theirs.apply_chat_template(history)
        assert written == policy.chat.written(prompt)
        requests.append(Instance("generate_until", {}, (written, settings), number))
    answers = theirs.generate_until(requests, disable_tqdm=True)

    def judged(text: str, number: int) -> Verdict:
        return task.verify(examples[number], Completion(text, ours[number].stopped))

    for number, text in enumerate(answers):
        assert ours[number].output == text, examples[number].id
        mine, its = judged(ours[number].output, number), judged(text, number)
        assert (mine.answer, mine.scores, mine.reason) == (its.answer, its.scores, its.reason)
