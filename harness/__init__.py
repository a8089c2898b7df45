"""harness: define a task once, train against it, publish a number that others can believe."""

from harness.errors import HarnessError
from harness.frames import frames
from harness.models import Model, Sampling
from harness.types import (
    Completion,
    Dialogue,
    Example,
    Fault,
    Judging,
    Message,
    Metric,
    Prompt,
    Rollout,
    Row,
    Split,
    Task,
    Verdict,
)

__all__ = [
    "Completion",
    "Dialogue",
    "Example",
    "Fault",
    "HarnessError",
    "Judging",
    "Message",
    "Metric",
    "Model",
    "Prompt",
    "Rollout",
    "Row",
    "Sampling",
    "Split",
    "Task",
    "Verdict",
    "frames",
]

__version__ = "0.1.0"
