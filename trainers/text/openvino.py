"""openvino: an engine for evaluation alone, several times as fast as transformers on processors.

Idea     The weights are written once as a GGUF file in float16, which openvino-genai reads into a
         graph of its own with paged attention and continuous batching. Token ids go in and come
         out. Each job has its own seed.
Limits   Llama, Mistral, Qwen2 and Qwen3 with plain rotary embeddings and a byte-level tokenizer.
         It reads the weights once: nothing that learns can answer through it. It tells
         log-probabilities at temperature 1 and before truncation, so they are passed on only where
         that is the distribution drawn from, or the answer is greedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import ModelError, UsageError, need
from harness.models import Sampling
from trainers.engine import Drawn, Job
from trainers.text import files
from trainers.text.engine import sampling_dtype
from trainers.text.export import export
from trainers.text.settings import TextSettings

if TYPE_CHECKING:
    from trainers.text.load import Loaded

HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
APART = {"f32": 0.1, "bf16": 0.6, "f16": 0.6}
"""Nats by which a probe's log-probabilities may differ from the model's own on average."""


class OpenvinoEngine:
    """Draws with openvino-genai on the weights as they were when it was opened."""

    independent = False
    """Sums depend in their last bits on the shape of the batch."""

    def __init__(self, loaded: Loaded, settings: TextSettings) -> None:
        genai = need("openvino_genai", "openvino", "engine openvino")
        self.loaded = loaded
        self.rows = settings.batch_size
        asked = sampling_dtype(settings, loaded.model.device)
        self.dtype = asked or str(loaded.model.dtype).removeprefix("torch.")
        self.hint = HINTS[self.dtype]
        file = export(loaded, settings.cache or files.user_cache())
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_seqs = settings.batch_size
        scheduler.enable_prefix_caching = False  # what came before must not move the last bits
        scheduler.num_kv_blocks = -(-settings.batch_tokens // 32)
        try:
            properties = {"INFERENCE_PRECISION_HINT": self.hint}
            self.pipe = genai.ContinuousBatchingPipeline(str(file), scheduler, "CPU", properties)
        except Exception as error:  # whatever its compiler raises
            raise ModelError(
                f"openvino cannot read {loaded.spec} ({_first_line(error)}); leave out --engine"
            ) from error
        self._check()

    def draw(self, jobs: Sequence[Job], sampling: Sampling) -> Iterator[tuple[Job, Drawn]]:
        """Each job with what was drawn for it, as soon as it is finished."""
        import openvino

        told = sampling.temperature in (0, 1) and sampling.top_p == 1 and not sampling.top_k
        handles: dict[int, tuple[Job, Drawn, Any]] = {}
        for place, job in enumerate(jobs):
            ids = openvino.Tensor(np.array([job.ids], np.int64))
            config = self._config(job, sampling)
            drawn = Drawn() if told or sampling.temperature == 0 else Drawn(logprobs=None)
            handles[place] = (job, drawn, self.pipe.add_request(place, ids, config))
        try:
            while handles:
                if not self.pipe.has_non_finished_requests():
                    raise ModelError("openvino stopped before it had answered everything")
                self.pipe.step()
                for place in list(handles):
                    job, drawn, handle = handles[place]
                    if self._heard(job, drawn, handle):
                        del handles[place]
                        yield job, drawn
        finally:
            for _, _, handle in handles.values():
                handle.stop()
            while self.pipe.has_non_finished_requests():
                self.pipe.step()

    def _heard(self, job: Job, drawn: Drawn, handle: Any) -> bool:
        """Take what came; whether it was the last."""
        while handle.can_read():
            for told in handle.read().values():
                pairs = zip(told.generated_ids, told.generated_log_probs, strict=True)
                for token, logprob in pairs:
                    drawn.add(int(token), float(logprob))
                    if drawn.over(job, self.loaded.ends):
                        handle.stop()
                        return True
        return False

    def _config(self, job: Job, sampling: Sampling) -> Any:
        import openvino_genai as genai

        config = genai.GenerationConfig()
        config.max_new_tokens = job.budget
        config.ignore_eos = True  # the file names one end token; the model may have others
        config.stop_token_ids = set(self.loaded.ends)
        config.logprobs = 1
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            if sampling.top_k:
                config.top_k = sampling.top_k
            config.rng_seed = int(np.random.SeedSequence(job.entropy).generate_state(1)[0])
        return config

    def _check(self) -> None:
        """ModelError unless a probe is answered as the model itself would answer it."""
        import torch

        ids = tuple(number * (self.loaded.model.config.vocab_size // 9) for number in range(1, 9))
        ((_, drawn),) = self.draw([Job(0, ids, 4, (0,))], Sampling(temperature=0, max_tokens=4))
        said = torch.tensor([[*ids, *drawn.ids]], device=self.loaded.model.device)
        with torch.inference_mode():
            logits = self.loaded.model(input_ids=said, use_cache=False).logits[0].float()
        scores = logits[len(ids) - 1 : -1].log_softmax(-1)
        taken = scores.gather(-1, said[0, len(ids) :, None])[:, 0]
        apart = np.abs(np.array(drawn.logprobs) - taken.cpu().numpy()).mean()
        if not apart <= APART[self.hint]:
            raise ModelError(
                f"openvino computes {self.loaded.spec} otherwise than transformers does (a probe's "
                f"log-probabilities differ by {apart:.2f}); leave out --engine"
            )

    def refresh(self) -> None:
        """UsageError: what it read is read."""
        raise UsageError(
            "the engine openvino reads the weights once and cannot follow a model that changes; "
            "train with engine='torch'"
        )

    def rest(self) -> None:
        """Nothing: what it read is not read again."""

    def describe(self) -> Mapping[str, Any]:
        """Engine, version, precision."""
        import openvino_genai as genai

        return {
            "engine": "openvino-genai",
            "sample_dtype": self.dtype,
            "kernels": f"openvino-genai {genai.__version__}, float16 weights, {self.hint}",
            "batch": {"rows": self.rows, "order": "as asked"},
        }


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
