"""Road mapping: trace the roads of an aerial map as a graph."""

from __future__ import annotations

from lastmile.tasks.road_mapping.annotator import RoadMappingAnnotator
from lastmile.tasks.road_mapping.graph import Edits, Link, Node, measures, verdicts
from lastmile.tasks.road_mapping.interface import RoadMappingInterface, State
from lastmile.tasks.road_mapping.world import DIFFICULTIES, RoadMappingWorld, make_world
from lastmile.tasks.task import RIGHT, Mistake, Score, Task

ENOUGH = 0.85
"""Smallest score that counts as a success."""


class RoadMapping(Task[RoadMappingWorld, State, Node | Link]):
    """Construction of a road network.

    **What it is.** An aerial map shows a few connected roads between fields, woods and houses. The
    task is to trace them as a graph: nodes at ends, bends and junctions, links along the roads. A
    stream and a field track look similar but are not roads. Trees hide parts of some roads.

    **What is seen.** A window of 256 x 256 px on the map (512 px wide in `full` worlds, 384 px in
    `short` ones), with nodes and links; a red ring marks the selected node. A small key at the
    lower right and the status bar tell where on the map the window is. `Check` tints the roads that
    have no links yet.

    **What can be done.** `Up`, `Down`, `Left`, `Right` pan by half a window. With `Node`, a click
    on the canvas places a node, which is linked to the selected one and becomes the selected one; a
    click on a node selects it. With `Link`, a click on a node links the selected one to it. `Check`
    turns the tint on and off (nothing can be placed while it is on). `Undo` takes back the last
    node or link, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** The mean of length precision (share of the links' length within 6 px of a
    road) and length recall (share of the roads' length within 6 px of a link), times the F1 of the
    junctions (nodes with three or more links, matched one to one within 8 px). Success: a score of
    at least 0.85.

    **Mistakes.** slip: a node beside the road or the junction. confusion: a node on the stream or
    the field track, or a link between the wrong nodes or along a road that is already mapped.
    lapse: a step left out, so that the link leaves the road or passes a junction without a node,
    because a bend or junction was skipped or a branch was begun without selecting its junction. A
    missed branch is not an edit; it lowers only recall and the F1 of the junctions.

    **What is simplified.** `Check` tints from the truth: it uses the true road network, as if a
    perfect road detector were at hand, so it shows every missing road and never the stream or the
    track. The map is synthetic and seen at one scale; roads have one width and color, and every
    road is connected to the others.

    **Sources.** Length precision and recall within a buffer: correctness and completeness of
    Wiedemann et al., Empirical Evaluation Techniques in Computer Vision 1998. Junctions: Citraro et
    al., ECCV 2020; after TOPO, Biagioni and Eriksson, Transportation Research Record 2012.
    """

    name = "road_mapping"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = RoadMappingInterface
    annotator = RoadMappingAnnotator
    mistake_rate = 0.22
    overlooked = 0.15

    def judge(self, world: RoadMappingWorld, earlier: Edits, edit: Node | Link) -> str:
        """Judge a node by its place and its link, a link by the road that it covers."""
        return verdicts(world, (*earlier, edit))[-1]

    def mistakes(self, world: RoadMappingWorld, state: State) -> tuple[Mistake, ...]:
        """Return the wrong nodes and links, each judged after those made before it."""
        # The same as the default, but with cached verdicts.
        return tuple(
            Mistake(verdict, i)
            for i, verdict in enumerate(verdicts(world, state.edits))
            if verdict != RIGHT
        )

    def score(self, world: RoadMappingWorld, state: State) -> Score:
        """Return the mean of length precision and recall times the F1 of the junctions."""
        precision, recall, junctions = measures(world, state.edits)
        score = (precision + recall) / 2 * junctions
        details = {
            "precision": precision,
            "recall": recall,
            "junctions": junctions,
            "coverage": recall,
        }
        return Score(score, bool(state.done and score >= ENOUGH), details)


TASK = RoadMapping()
