"""Files as one commit of a space or model on the hub, by `huggingface_hub`'s own calls.

A space shows the published pages (static; README.md says so). A model gets its scores: those of
`model-index` join the front matter of its card, whose other words stay; `.eval_results` and
`results.json` lie beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from harness.errors import DataError, UsageError

NAME = re.compile(r"(?P<kind>space|model)/(?P<id>[\w.-]+/[\w.-]+)")
Files = Mapping[PurePosixPath, bytes]


@dataclass(frozen=True)
class Repository:
    """`space/ORG/NAME` or `model/ORG/NAME`."""

    kind: Literal["space", "model"]
    id: str

    @classmethod
    def of(cls, name: str) -> Repository:
        """The repository of that name."""
        found = NAME.fullmatch(name)
        if not found or ".." in name:
            raise UsageError(f"'{name[:100]}' is none of space/ORG/NAME and model/ORG/NAME")
        return cls("space" if found["kind"] == "space" else "model", found["id"])

    def send(self, files: Files, message: str) -> str:
        """Make the repository if there is none, and add the files as one commit; its address."""
        from huggingface_hub import CommitOperationAdd

        with _told(self):
            api = _api()
            static = {"space_sdk": "static"} if self.kind == "space" else {}
            api.create_repo(self.id, repo_type=self.kind, exist_ok=True, **static)
            done = api.create_commit(
                self.id,
                [CommitOperationAdd(str(path), data) for path, data in sorted(files.items())],
                repo_type=self.kind,
                commit_message=message,
            )
        return str(done.commit_url)

    def card(self) -> str:
        """README.md as it is there; empty where there is none."""
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

        try:
            with _told(self, EntryNotFoundError, RepositoryNotFoundError):
                path = _api().hf_hub_download(self.id, "README.md", repo_type=self.kind)
        except (EntryNotFoundError, RepositoryNotFoundError):
            return ""
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.read()


def space_readme(title: str, page: str) -> bytes:
    """The front matter by which a space shows pages as they are."""
    import yaml

    told = {"title": title, "sdk": "static", "app_file": page, "pinned": False}
    return f"---\n{yaml.safe_dump(told, sort_keys=False)}---\n\n{title}\n".encode()


def merged_card(card: str, index: str) -> bytes:
    """A model card with the results of a `model-index` in place of older ones of the same kind."""
    import yaml
    from huggingface_hub import ModelCard, ModelCardData
    from huggingface_hub.repocard_data import model_index_to_eval_results

    name, ours = model_index_to_eval_results(yaml.safe_load(index)["model-index"])
    try:
        there: Any = ModelCard(card or "---\n{}\n---\n", ignore_metadata_errors=False)
    except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(
            f"the model's card has a front matter that cannot be read: {error}"
        ) from error
    known: Sequence[Any] = there.data.eval_results or []
    new = {(each.unique_identifier, each.metric_type) for each in ours}
    kept = [each for each in known if (each.unique_identifier, each.metric_type) not in new]
    told = {key: value for key, value in there.data.to_dict().items() if key != "model-index"}
    data = ModelCardData(
        **{**told, "model_name": there.data.model_name or name, "eval_results": [*kept, *ours]}
    )
    return f"---\n{data.to_yaml()}\n---\n{there.text}".encode()


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


@contextmanager
def _told(repository: Repository, *free: type[Exception]) -> Iterator[None]:
    """Failures of the hub as ours; those in `free` as they are."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    place = f"{repository.kind} {repository.id}"
    try:
        yield
    except free:
        raise
    except LocalTokenNotFoundError as error:
        raise UsageError(f"{place}: the hub wants to know who you are: `hf auth login`") from error
    except OfflineModeIsEnabled as error:
        raise UsageError(f"{place}: HF_HUB_OFFLINE is set; unset it") from error
    except HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        if code in (401, 403):
            raise UsageError(
                f"{place}: the hub refuses ({code}). Log in by `hf auth login` with a token that "
                "may write there"
            ) from error
        raise DataError(f"{place}: {str(error)[:500]}") from error
    except Exception as error:
        web = type(error).__module__.startswith("httpx")  # another one in each version of the hub's
        if not web and not isinstance(error, OSError):
            raise
        raise DataError(f"{place}: the hub does not answer: {str(error)[:300]}") from error
