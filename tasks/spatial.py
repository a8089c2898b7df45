"""spatial: is the answer right, does the reasoning entail it, and is the reasoning true?

Data     Generated: scenes of 3 to 6 spheres, cubes and cones on flat ground, drawn from seeds, with
         margins that make left, right, closer and farther strict; four questions a scene, half of
         the relations to be answered yes. Splits are ranges of seeds. Six of the 24 pairs of color
         and shape are seen out of distribution only. Public sets, test only, come from their hub or
         from `spatial/` below HARNESS_DATA, photos from `spatial/images/SET/`; options are
         shuffled. Every answer has the form <think>...</think><answer>...</answer>, each tag
         once, nothing outside.
Scores   correct, format. consistent, contradictory, undetermined: what the reasoning entails, by
         its text alone, is the answer, something else, or nothing. accurate_consistent: correct and
         consistent. Where the scene is known: grounding (true claims over claims, 0 where nothing
         is claimed), box_hit (boxes of IoU 0.5 or more with what they name), needed (share of the
         objects that the question needs of which something true is said). coverage: share of the
         sentences that are understood. Counts: claims, true_claims, boxes, box_hits, sentences,
         refs, hallucinated (references that nothing fits). yes_or_no, says_yes, says_A to says_D:
         for the biases.
Metric   pass@1; consistency over all answers, inconsistency over those of the right form; grounding
         micro (claims) and mean (answers); yes_rate, to be read beside one half. Intervals resample
         scenes. Mirrored: pair_correct (both scenes of a pair right), then pair_consistent (the
         answer turns where left and right are exchanged, and stays where they are not).
Paper    Faithful GRPO, arXiv:2604.08476, measures consistency and grounding by a judge model; here
         both follow from a grammar of claims (`tasks/spatial_claims/grammar.py`).
Limits   Sentences outside of the grammar claim nothing: read coverage beside consistency. True but
         idle claims raise grounding: read `needed` beside it. Boxes are in pixels of the image
         that the model saw; its policy tells the transform.
Settings order   of the options: a number seeds the shuffle, `file` leaves them (not vsr)
         subset  of blink: Spatial_Relation, Relative_Depth, Multi-view_Reasoning, all
         part    of whatsup: images, clevr
         form    of spatialeval: tqa (text alone), vqa (picture), vtqa (both)
Members  scenes                pictures of 224 x 224 pixels
         scenes_ood            pictures with pairs of color and shape that training never shows
         scenes_mirrored       pairs of a picture and its mirror image
         scenes_text           the scenes as lists of objects with their places
         scenes_text_ood       lists with pairs of color and shape that training never shows
         scenes_text_mirrored  pairs of a list and that of the mirrored scene
         scenes_short          three shapes in a line, a question, a claim; for small models
         scenes_pair           the same with two shapes, in the order in which they are asked about
         vsr                   captions of photos, true or false (COCO)
         cvbench               CV-Bench: relation, count, depth and distance
         blink                 BLINK: spatial relation, relative depth, several views
         whatsup               What'sUp: which of four captions; pairs and sets of photos
         spatialeval           SpatialEval: maps, mazes, grids and photos
"""

from __future__ import annotations

from functools import lru_cache

from harness import Task
from harness.errors import UnknownName
from tasks._settings import named, parted, settled
from tasks._spatial_members import MEMBERS, generated
from tasks._spatial_public import SETS, public


@lru_cache(maxsize=64)
def open_member(name: str) -> Task:
    """The member of that name, with the settings behind it; UnknownName where there is none."""
    member, given = parted(name)
    if member in MEMBERS:
        settled(f"spatial/{member}", given, {})
        return generated(member)
    if member not in SETS:
        known = [f"spatial/{each}" for each in (*MEMBERS, *SETS)]
        raise UnknownName(f"spatial/{member}", "tasks", known)
    defaults = SETS[member].settings
    settings = settled(f"spatial/{member}", given, defaults)
    return public(named(member, settings, defaults), member, settings)


TASKS: list[Task] = [open_member(name) for name in (*MEMBERS, *SETS)]
