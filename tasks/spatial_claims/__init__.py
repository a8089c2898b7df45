"""Reasoning about a scene, judged without a judge model: claims, their truth, what they entail."""
