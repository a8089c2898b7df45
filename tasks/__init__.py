"""Tasks, one file a family: data, prompts, verifiers, metrics."""
