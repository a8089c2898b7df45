"""Policies, one file a family."""
