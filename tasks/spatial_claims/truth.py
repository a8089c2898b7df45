"""Whether claims are true of a scene.

A reference that picks no object, or several where one is meant, makes its claim false; so does a
box whose IoU with the object is below one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tasks.spatial_claims.boxes import HIT, iou, scaled
from tasks.spatial_claims.grammar import Claim, Ref
from tasks.spatial_scenes.questions import at_end, holds
from tasks.spatial_scenes.world import Box, Thing

Scale = tuple[float, float]


class Boxed(NamedTuple):
    """A box that was claimed, in pixels of the image that was given, and whether it hits."""

    box: Box
    hit: bool


class Checked(NamedTuple):
    """What came of one claim."""

    true: bool
    boxes: tuple[Boxed, ...]
    refs: int
    """References that name objects."""
    unknown: int
    """Of these, how many no object fits."""
    about: frozenset[str]
    """Names of the objects that the claim speaks of."""


class Picked(NamedTuple):
    """What a reference with its box picks out of a scene."""

    fitting: tuple[Thing, ...]
    """Objects that the words describe."""
    there: tuple[Thing, ...]
    """Of these, those that are where the box says."""
    boxes: tuple[Boxed, ...]

    @property
    def one(self) -> Thing | None:
        """The object that is meant; None where the words fit none or several, or the box misses."""
        return self.there[0] if len(self.fitting) == 1 and self.there else None


def checked(claim: Claim, scene: Sequence[Thing], scale: Scale = (1.0, 1.0)) -> Checked:
    """A claim (no conclusion) against the scene; boxes are scaled to the image that was given."""
    assert claim.ref is not None, claim
    first = picked(claim.ref, claim.box, scene, scale)
    about = {each.name for each in first.there}
    unknown = int(not first.fitting)
    if claim.kind == "count":
        return Checked(len(first.fitting) == claim.number, (), 0, 0, frozenset(about))
    if claim.kind == "exist":
        return Checked(bool(first.there), first.boxes, 1, unknown, frozenset(about))
    one = first.one
    if claim.kind == "rel":
        assert claim.other is not None
        second = picked(claim.other, claim.other_box, scene, scale)
        two = second.one
        true = one is not None and two is not None and one is not two
        if true and one is not None and two is not None:
            true = holds(claim.word, one, two) != claim.negated
        unknown += not second.fitting
        about |= {each.name for each in second.there}
        return Checked(true, first.boxes + second.boxes, 2, unknown, frozenset(about))
    if claim.kind == "attr":
        true = one is not None and claim.word in (one.size, one.color)
    else:
        true = one is not None and at_end(claim.word, scene) is one
    return Checked(true, first.boxes, 1, unknown, frozenset(about))


def picked(ref: Ref, box: Box | None, scene: Sequence[Thing], scale: Scale) -> Picked:
    """The objects that a reference describes, and which of them its box hits."""
    fitting = tuple(each for each in scene if ref.fits(each))
    if box is None:
        return Picked(fitting, fitting, ())
    given = scaled(box, scale)
    there = tuple(each for each in fitting if iou(given, each.box) >= HIT)
    return Picked(fitting, there, (Boxed(given, bool(there)),))
