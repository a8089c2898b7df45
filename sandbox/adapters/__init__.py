"""Services of others: what they run is our own runner, sent along as text, so that verdicts agree.

How well they separate programs is their word alone. Results say so in their layers, and tests of
assertions share a process with the submission there, and are flagged weak.
"""
