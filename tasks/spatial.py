"""spatial: is the answer right, does the reasoning entail it, and is the reasoning true?

Data     Generated: scenes of 3 to 6 spheres, cubes and cones on flat ground, drawn from seeds, with
         margins that make left, right, closer and farther strict; four questions a scene, half of
         the relations to be answered yes. Splits are ranges of seeds. Six of the 24 pairs of color
         and shape are seen out of distribution only. Every answer has the form
         <think>...</think><answer>...</answer>, each tag once, nothing outside.
Scores   correct, format. consistent, contradictory, undetermined: what the reasoning entails, by
         its text alone, is the answer, something else, or nothing. accurate_consistent: correct and
         consistent. Where the scene is known: grounding (true claims over claims, 0 where nothing
         is claimed), box_hit (boxes of IoU 0.5 or more with what they name), needed (share of the
         objects that the question needs of which something true is said). coverage: share of the
         sentences that are understood. Counts: claims, true_claims, boxes, box_hits, sentences,
         refs, hallucinated (references that nothing fits). yes_or_no, says_yes: for the yes-rate.
Metric   pass@1; consistency over all answers, inconsistency over those of the right form; grounding
         micro (claims) and mean (answers); yes_rate, to be read beside one half. Intervals resample
         scenes. Mirrored: pair_correct (both scenes of a pair right), then pair_consistent (the
         answer turns where left and right are exchanged, and stays where they are not).
Paper    Faithful GRPO, arXiv:2604.08476, measures consistency and grounding by a judge model; here
         both follow from a grammar of claims (`tasks/spatial_claims/grammar.py`).
Limits   Sentences outside of the grammar claim nothing: read coverage beside consistency. True but
         idle claims raise grounding: read `needed` beside it. Boxes are in pixels of the image
         that the model saw; its policy tells the transform.
Members  scenes                pictures of 224 x 224 pixels
         scenes_ood            pictures with pairs of color and shape that training never shows
         scenes_mirrored       pairs of a picture and its mirror image
         scenes_text           the scenes as lists of objects with their places
         scenes_text_ood       lists with pairs of color and shape that training never shows
         scenes_text_mirrored  pairs of a list and that of the mirrored scene
         scenes_short          three shapes in a line, a question, a claim; for small models
"""

from __future__ import annotations

from harness import Task
from tasks._spatial_members import MEMBERS, generated

TASKS: list[Task] = [generated(name) for name in MEMBERS]
