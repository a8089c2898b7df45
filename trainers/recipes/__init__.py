"""Recipes, one file an algorithm."""
