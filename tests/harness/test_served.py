"""A served model against a real server that misbehaves."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from harness.endpoint import Endpoint
from harness.errors import ModelError, UsageError
from harness.models import Model, Sampling
from harness.play import play
from harness.served import Served, folded
from harness.types import Completion, Example, Fault, Message, Prompt, Rollout, Task, Verdict
from tests.harness.endpoint_server import Reply, Wire, answer, error, good, raw, serving, table


@pytest.fixture
def wire() -> Iterator[Wire]:
    with serving() as running:
        yield running


def served(wire: Wire, sampling: Sampling | None = None, **settings: Any) -> Served:
    settings = {"backoff": 0.01, "timeout": 5.0, "deadline": 20.0, "attempts": 4, **settings}
    return Served(Endpoint.of(f"m@{wire.url}", **settings), sampling or Sampling())


def prompts(examples: int, attempts: int = 1) -> list[Prompt]:
    return [
        Prompt(Example(f"e{e}", {}, ""), (Message("user", f"say {e}"),), attempt=a)
        for e in range(examples)
        for a in range(attempts)
    ]


def answers(model: Model, asked: list[Prompt]) -> list[Completion]:
    found = list(model.answer(asked))
    assert sorted(number for number, _ in found) == list(range(len(asked)))
    return [completion for _, completion in sorted(found, key=lambda pair: pair[0])]


def bad_request(message: str) -> Any:
    return error(400, message)


def test_answers_carry_text_tokens_seed_and_who_answered(wire: Wire) -> None:
    model = served(wire, Sampling(temperature=0.7, top_p=0.9, max_tokens=99, stop=("###",), seed=3))
    (completion,) = answers(model, prompts(1))
    seed = folded(3, prompts(1)[0])
    assert completion.output == f"say 0|{seed}|0"
    assert (completion.stopped, completion.steps) == ("done", len(completion.output))
    assert completion.trace["model"] == "m-1"
    assert completion.trace["system_fingerprint"] == "fp"
    assert completion.trace["usage"]["prompt_tokens"] == 7
    (asked,) = wire.asked
    assert asked == {
        "path": "/v1/chat/completions",
        "model": "m",
        "messages": [{"role": "user", "content": "say 0"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 99,
        "stop": ["###"],
        "seed": seed,
    }
    assert isinstance(model, Model)
    assert model.costs["requests"] == model.costs["answers"] == 1


def test_attempts_at_one_prompt_are_one_request(wire: Wire) -> None:
    found = answers(served(wire), prompts(3, attempts=4))
    assert len(wire.asked) == 3
    assert [c.output.rsplit("|", 1)[1] for c in found] == ["0", "1", "2", "3"] * 3
    assert sum(c.steps for c in found[:4]) == sum(len(c.output) for c in found[:4])


def test_without_grouping_every_attempt_has_its_own_seed(wire: Wire) -> None:
    answers(served(wire, group=False), prompts(2, attempts=3))
    assert len({asked["seed"] for asked in wire.asked}) == 6
    assert all("n" not in asked and 0 <= asked["seed"] < 2**31 for asked in wire.asked)


def test_missing_choices_are_asked_one_by_one(wire: Wire) -> None:
    wire.plan = [lambda asked: answer(asked, ["a", "b"])]
    model = served(wire)
    found = answers(model, prompts(1, attempts=4))
    assert [asked.get("n", 1) for asked in wire.asked] == [4, 1, 1]
    assert len({asked["seed"] for asked in wire.asked}) == 3
    assert [c.output for c in found[:2]] == ["a", "b"]
    assert all(c.stopped == "done" for c in found)
    assert model.costs["short"] == 1


def test_a_server_that_ignores_n_is_asked_singly_from_then_on(wire: Wire) -> None:
    wire.always = lambda asked: answer(asked, ["only one"])
    model = served(wire, concurrency=1)
    answers(model, prompts(4, attempts=3))
    assert sum("n" in asked for asked in wire.asked) < 4
    assert "n" in model.costs["given_up"]
    assert model.costs["answers"] == 12


def test_a_server_that_refuses_n_is_asked_singly(wire: Wire) -> None:
    refuse = bad_request("n must be 1 when using greedy sampling")
    wire.always = lambda asked: refuse(asked) if "n" in asked else good(asked)
    found = answers(served(wire), prompts(2, attempts=3))
    assert all(c.stopped == "done" for c in found)


@pytest.mark.parametrize(
    ("refused", "message", "gone"),
    [
        ("max_tokens", "Unsupported parameter: use 'max_completion_tokens'", "max_tokens"),
        ("logprobs", "logprobs is not supported by this model", "logprobs"),
        ("seed", "Unknown field seed", "seed"),
    ],
)
def test_what_a_server_refuses_is_left_out_and_reported(
    wire: Wire, refused: str, message: str, gone: str
) -> None:
    refuse = bad_request(message)
    wire.always = lambda asked: refuse(asked) if refused in asked else good(asked)
    model = served(wire, logprobs=True, concurrency=1)
    found = answers(model, prompts(3))
    assert all(c.stopped == "done" for c in found)
    assert model.costs["given_up"] == [gone]
    assert len(wire.asked) == 4


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (error(429, "slow down"), "rate limit"),
        (error(500, "oops"), "server error"),
        (error(503, "busy"), "server error"),
        (raw(b"not json"), "invalid answer"),
        (raw(b""), "invalid answer"),
        (raw(b"<html>login</html>"), "invalid answer"),
        (raw(b"[" * 50_000), "invalid answer"),
        (raw(b'{"choices": []}'), "invalid answer"),
        (raw(b'{"choices": null}'), "invalid answer"),
        (raw(b'{"choices": [{"message": {"content": null}}]}'), "invalid answer"),
        (raw(b'{"choices": [{"message": {"content": 7}}]}'), "invalid answer"),
        (raw(b'{"choices": [{"message": "hello"}]}'), "invalid answer"),
        (raw(b'{"choices": [{"index": "a", "text": "x"}]}'), "invalid answer"),
        (raw(b'{"error": {"message": "overloaded"}}'), "invalid answer"),
        (raw(b'{"choices": [{"text": "\\ud800"}]}'), "invalid answer"),
        (raw(b'{"choices": [{"message": {"content": "%s"}}]}' % (b"x" * 10**7)), "invalid answer"),
        (raw(b'{"choices": [{"message": {"content": "%s"}}]}' % (b"x" * 10**6)), "invalid answer"),
        (raw(b'{"choices": [', drop=True), "connection"),
        (raw(b"xx", headers={"Content-Encoding": "gzip"}), "connection"),
        (lambda asked: Reply(good(asked).body, drip=0.3), "timeout"),
        (lambda asked: Reply(good(asked).body, wait=3), "timeout"),
    ],
)
def test_a_passing_failure_is_counted_and_asked_again(wire: Wire, fault: Any, kind: str) -> None:
    wire.plan = [fault]
    model = served(wire, timeout=1.0 if kind == "timeout" else 10.0)
    (completion,) = answers(model, prompts(1))
    assert completion.stopped == "done"
    assert completion.output.startswith("say 0|")
    costs = model.costs
    assert costs["retries"] == {kind: 1}
    assert costs["requests"] == 2
    assert costs["wasted_seconds"] > 0
    assert costs["lost"] == 0


def test_tokens_of_thrown_away_answers_are_counted(wire: Wire) -> None:
    usage = {"completion_tokens": 40, "prompt_tokens": 5}
    wire.plan = [lambda asked: table({"choices": [], "usage": usage})]
    model = served(wire)
    answers(model, prompts(1))
    assert model.costs["wasted_tokens"] == 40


def test_retry_after_is_waited_for(wire: Wire) -> None:
    wire.plan = [error(429, "slow down", **{"Retry-After": "1"})]
    model = served(wire)
    start = time.monotonic()
    answers(model, prompts(1))
    assert 1 <= time.monotonic() - start < 4
    assert model.costs["waited_seconds"] >= 1


@pytest.mark.parametrize("header", ["nan", "-5", "soon", "inf", "Wed, 99 Foo 2000"])
def test_an_unreadable_retry_after_is_left_aside(wire: Wire, header: str) -> None:
    wire.plan = [error(429, "slow down", **{"Retry-After": header})]
    (completion,) = answers(served(wire), prompts(1))
    assert completion.stopped == "done"


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(wire: Wire) -> None:
    wire.plan = [error(429, "come back tomorrow", **{"Retry-After": "86400"})]
    start = time.monotonic()
    (completion,) = answers(served(wire), prompts(1))
    assert completion.stopped == "failed"
    assert "come back tomorrow" in completion.note
    assert time.monotonic() - start < 4


def test_what_never_works_fails_with_its_reason_and_leaves_the_others_alone(wire: Wire) -> None:
    broken = error(500, "this one breaks me")
    wire.always = lambda a: broken(a) if a["messages"][0]["content"] == "say 1" else good(a)
    model = served(wire)
    found = answers(model, prompts(3))
    assert [c.stopped for c in found] == ["done", "failed", "done"]
    assert "this one breaks me" in found[1].note
    assert model.costs["lost"] == 1
    assert model.costs["retries"] == {"server error": 3}


def test_the_deadline_ends_everything(wire: Wire) -> None:
    wire.always = lambda asked: Reply(good(asked).body, drip=1)
    start = time.monotonic()
    (completion,) = answers(served(wire, timeout=30.0, deadline=1.0), prompts(1))
    assert completion.stopped == "failed"
    assert "no answer within 1 s" in completion.note
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_fatal_and_shows_the_servers_words(wire: Wire, status: int) -> None:
    wire.always = error(status, "temperature must be 1 for you")
    with pytest.raises(ModelError, match=f"{status} temperature must be 1 for you"):
        answers(served(wire), prompts(30))
    assert len(wire.asked) <= 30


def test_an_exhausted_quota_is_not_waited_for(wire: Wire) -> None:
    body = json.dumps({"error": {"message": "pay up", "code": "insufficient_quota"}}).encode()
    wire.always = raw(body, status=429)
    with pytest.raises(ModelError, match="pay up"):
        answers(served(wire), prompts(2))


def test_a_prompt_too_long_is_its_own_failure(wire: Wire) -> None:
    long = bad_request("This model's maximum context length is 512 tokens")
    wire.always = lambda a: long(a) if a["messages"][0]["content"] == "say 0" else good(a)
    found = answers(served(wire, concurrency=1), prompts(2))
    assert [c.stopped for c in found] == ["failed", "done"]
    assert "maximum context length" in found[0].note


def test_an_endpoint_that_goes_away_ends_the_call_and_keeps_what_came(wire: Wire) -> None:
    down = error(503, "down")
    wire.plan = [good] * 5
    wire.always = down
    kept: list[Completion] = []
    stream = served(wire, attempts=2, concurrency=1).answer(prompts(40))
    with pytest.raises(ModelError, match=r"in a row.*down.*same command again"):
        kept.extend(completion for _, completion in stream)
    assert sum(c.stopped == "done" for c in kept) == 5
    assert len(wire.asked) <= 5 + 2 * 8 + 2


def test_nobody_there_is_said_within_seconds() -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    model = Served(Endpoint.of(f"m@http://127.0.0.1:{port}/v1"), Sampling())
    start = time.monotonic()
    with pytest.raises(ModelError, match="nobody answers at"):
        answers(model, prompts(1))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("status", [403, 404, 405, 500])
def test_a_server_without_a_list_of_models_is_asked_all_the_same(wire: Wire, status: int) -> None:
    wire.models = Reply(b"no such page", status)
    (completion,) = answers(served(wire), prompts(1))
    assert completion.stopped == "done"


def test_a_bad_key_is_said_at_once_and_never_shown(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    wire.models = Reply(json.dumps({"error": {"message": "bad key sk-secret"}}).encode(), 401)
    with pytest.raises(ModelError, match=r"401 bad key \*\*\*.*--api-key-env"):
        answers(served(wire, key_env="MY_KEY"), prompts(1))


def test_the_key_travels_but_is_not_described(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    model = served(wire, key_env="MY_KEY")
    answers(model, prompts(1))
    assert wire.keys == ["Bearer sk-secret"]
    assert "sk-secret" not in repr((model.describe(), model.costs, model.endpoint))
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UsageError, match="MY_KEY holds no key"):
        served(wire, key_env="MY_KEY")


def test_an_unknown_model_is_answered_with_what_there_is(wire: Wire) -> None:
    wire.always = error(404, "The model `m` does not exist")
    wire.models = table({"data": [{"id": "other/model"}]})
    with pytest.raises(ModelError, match=r"does not exist\. It lists: other/model"):
        answers(served(wire), prompts(1))


def test_a_vllm_server_is_told_not_to_use_the_checkpoints_own_sampling(wire: Wire) -> None:
    wire.models = table({"data": [{"id": "m", "owned_by": "vllm"}]})
    answers(served(wire), prompts(1))
    (asked,) = wire.asked
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"]) == (-1, 0.0, 1.0)


def test_length_and_reasoning_and_refusal_are_read(wire: Wire) -> None:
    def choice(finish: str, **message: Any) -> Any:
        return lambda asked: table({"choices": [{"finish_reason": finish, "message": message}]})

    wire.plan = [
        choice("length", content=None, reasoning_content="hmm"),
        choice("stop", content="42", reasoning_content="hmm"),
        choice("stop", content=None, refusal="I will not"),
        choice("stop", content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        choice("content_filter", content="bad"),
    ]
    found = answers(served(wire, concurrency=1), prompts(5))
    assert [(c.output, c.stopped) for c in found] == [
        ("", "budget"),
        ("42", "done"),
        ("I will not", "done"),
        ("ab", "done"),
        ("bad", "failed"),
    ]
    assert found[1].trace["reasoning"] == "hmm"


def test_logprobs_of_both_endpoints_are_read(wire: Wire) -> None:
    pairs = [{"token": "4", "logprob": -0.5}, {"token": "2", "logprob": -1.5}]
    wire.plan = [
        lambda asked: table(
            {"choices": [{"message": {"content": "42"}, "logprobs": {"content": pairs}}]}
        )
    ]
    (chat,) = answers(served(wire, logprobs=True), prompts(1))
    assert wire.asked[-1]["logprobs"] is True
    legacy = {"tokens": ["4", "2"], "token_logprobs": [-0.5, -1.5]}
    wire.plan = [lambda asked: table({"choices": [{"text": "42", "logprobs": legacy}]})]
    (plain,) = answers(served(wire, logprobs=True, chat=False), prompts(1))
    assert wire.asked[-1]["path"] == "/v1/completions"
    assert wire.asked[-1]["prompt"] == "say 0"
    for completion in (chat, plain):
        assert completion.logprobs is not None
        np.testing.assert_array_equal(completion.logprobs, np.float32([-0.5, -1.5]))
        assert completion.pieces == ("4", "2")
        assert completion.steps == 2


@pytest.mark.parametrize(
    "logprobs", [7, {"content": [1]}, {"content": [{"token": "a", "logprob": "x"}]}, {"tokens": []}]
)
def test_unreadable_logprobs_are_left_out(wire: Wire, logprobs: Any) -> None:
    wire.plan = [
        lambda asked: table({"choices": [{"message": {"content": "42"}, "logprobs": logprobs}]})
    ]
    (completion,) = answers(served(wire, logprobs=True), prompts(1))
    assert completion.output == "42"
    assert completion.logprobs is None


def test_settings_of_the_template_and_top_k_travel_in_the_body(wire: Wire) -> None:
    model = served(
        wire,
        Sampling(top_k=20),
        template={"enable_thinking": False},
        extra={"return_token_ids": True},
    )
    answers(model, prompts(1))
    (asked,) = wire.asked
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert (asked["top_k"], asked["return_token_ids"]) == (20, True)
    assert model.describe()["chat_template_kwargs"] == {"enable_thinking": False}


def test_no_more_requests_at_once_than_allowed(wire: Wire) -> None:
    wire.always = lambda asked: Reply(good(asked).body, wait=0.05)
    answers(served(wire, concurrency=3), prompts(12))
    assert wire.most_at_once == 3


def test_answers_stream_as_they_finish(wire: Wire) -> None:
    slow = threading.Event()

    def held(asked: Any) -> Reply:
        if asked["messages"][0]["content"] == "say 0":
            assert slow.wait(10)
        return good(asked)

    wire.always = held
    stream = served(wire).answer(prompts(2))
    assert next(stream)[0] == 1
    slow.set()
    assert next(stream)[0] == 0
    assert list(stream) == []


def test_leaving_early_ends_all_requests(wire: Wire) -> None:
    wire.always = lambda asked: Reply(good(asked).body, wait=0.2)
    stream = served(wire, concurrency=2).answer(prompts(50))
    next(stream)
    stream.close()
    time.sleep(0.3)  # what was on its way arrives
    seen = len(wire.asked)
    time.sleep(0.5)
    assert len(wire.asked) == seen < 10
    assert not [t for t in threading.enumerate() if t.name == "served"]


def echo() -> Task:
    """Everything said is right."""

    def verify(example: Example, completion: Completion) -> Verdict:
        return Verdict({"correct": 1.0}, answer=completion.output)

    return Task(
        name="echo/say",
        version=1,
        examples=lambda split: [],
        prompt=lambda example: Prompt(example, (Message("user", example.id),)),
        verify=verify,
        gold=lambda example: "",
        metrics=(),
        reward={"correct": 1.0},
    )


def test_failures_become_faults_in_play(wire: Wire) -> None:
    broken = error(500, "no")
    wire.always = lambda a: broken(a) if a["messages"][0]["content"] == "say 1" else good(a)
    asked = [p.but(rollouts=2) for p in prompts(3)]
    outcomes = list(play(echo(), asked, served(wire, attempts=2)))
    assert sum(isinstance(o, Rollout) for o in outcomes) == 4
    faults = [o for o in outcomes if isinstance(o, Fault)]
    assert {f.prompt.example.id for f in faults} == {"e1"}
    assert all("500 no" in f.note for f in faults)


@pytest.mark.parametrize(
    "place",
    ["m", "m@", "m@localhost:80", "@http://a/v1", "m@http://u:p@a/v1", "m@http://a/v1?k=1"],
)
def test_an_address_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(UsageError):
        Endpoint.of(place)


def test_a_name_may_hold_slashes_and_ats() -> None:
    endpoint = Endpoint.of("org/m@rev@https://a.b/v1/")
    assert (endpoint.model, endpoint.url) == ("org/m@rev", "https://a.b/v1")


def test_what_describes_a_run_does_not_change_while_it_runs(wire: Wire) -> None:
    refuse = bad_request("no logprobs here")
    wire.always = lambda asked: refuse(asked) if "logprobs" in asked else good(asked)
    model = served(wire, logprobs=True)
    before = model.describe()
    answers(model, prompts(2))
    assert model.describe() == before


def test_media_are_refused_with_a_word(wire: Wire) -> None:
    prompt = Prompt(Example("e", {}, ""), (Message("user", np.zeros(3)),))
    with pytest.raises(UsageError, match="asked in text"):
        answers(served(wire), [prompt])


def test_going_on_asks_only_for_what_is_missing_and_draws_it_anew(wire: Wire) -> None:
    asked = [p.but(rollouts=4) for p in prompts(2)]
    list(play(echo(), asked, served(wire)))
    seeds = {a["seed"] for a in wire.asked}
    done = [("e0", 0), ("e0", 1), ("e0", 2), ("e0", 3), ("e1", 0), ("e1", 1)]
    wire.asked.clear()
    rest = list(play(echo(), asked, served(wire), done=done))
    assert {(o.prompt.example.id, o.prompt.attempt) for o in rest} == {("e1", 2), ("e1", 3)}
    (again,) = wire.asked
    assert again["n"] == 2
    assert again["seed"] not in seeds  # the same seed could give what is there once more


@pytest.mark.parametrize(("temperature", "repeats"), [(1.0, 6), (0.0, 0)])
def test_a_server_that_does_not_sample_is_noticed(
    wire: Wire, temperature: float, repeats: int
) -> None:
    wire.always = lambda asked: answer(asked, ["always the same words"])
    model = served(wire, Sampling(temperature=temperature), group=False)
    answers(model, prompts(2, attempts=4))
    assert model.costs["repeats"] == repeats
