"""Isolation layers, each by system calls of its own; standard library only, used inside the box."""
