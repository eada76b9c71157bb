"""Neuron tracing: follow one cell through a stack of electron micrographs."""

from __future__ import annotations

from lastmile.tasks.neuron_tracing.annotator import NeuronTracingAnnotator
from lastmile.tasks.neuron_tracing.interface import NeuronTracingInterface
from lastmile.tasks.neuron_tracing.world import (
    DIFFICULTIES,
    NeuronTracingWorld,
    Node,
    make_world,
    standing,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, State, Task


class NeuronTracing(Task):
    """Tracing one neurite through serial sections.

    **What it is.** A stack of electron micrographs shows densely packed cell processes: light cytoplasm with mitochondria and vesicles,
    bounded by dark membranes. From section to section the tissue drifts and every cross-section changes its shape. The cell under the
    cross-hair in the first slice is to be followed to the last, with one node in each slice.

    **What is seen.** One slice at a time; the node of this slice as a yellow dot, the node of the slice before as a faint cyan ring, the
    one of the slice after as a faint small dot, and the last nodes as a faint line. The bar along the bottom of the canvas has a place for each slice: green with a node, dark without; the
    white knob is the present slice. The status bar tells the slice and the number of nodes.

    **What can be done.** `+z`, `-z`, `+5`, `-5` change the slice (by five: as far as the stack goes), a click on the canvas sets the node of
    the slice that is shown (in place of the one before), `Undo` takes the last node back, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Share of slices whose node lies in the target cell. Success: at least 95 % of the slices, and every slice with a
    node.

    **Mistakes.** slip: beside the target, at most 6 px outside. confusion: in another cell (a merge error), which then is followed. lapse: a
    slice left out.

    **Sources.** One node a section as in skeleton tracing with CATMAID (Saalfeld et al., Bioinformatics 2009); share of rightly traced
    nodes after the measures of skeletons in Januszewski et al., Nature Methods 2018.
    """

    name = "neuron_tracing"
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = NeuronTracingInterface
    annotator = NeuronTracingAnnotator
    mistake_rate = 0.2

    def judge(self, world: NeuronTracingWorld, earlier: tuple[Node, ...], edit: Node) -> str:
        verdict = world.verdict(edit)
        if verdict == RIGHT and edit.z > 0 and standing(world.slices, earlier)[edit.z - 1] < 0:
            return "lapse"
        return verdict

    def mistakes(self, world: NeuronTracingWorld, state: State) -> tuple[Mistake, ...]:
        """Nodes that stand in a wrong place, and slices without a node before the last one that has a node."""
        return world.mistakes(state.edits)

    def score(self, world: NeuronTracingWorld, state: State) -> Score:
        nodes = [state.edits[index] for index in standing(world.slices, state.edits) if index >= 0]
        right = sum(world.verdict(node) == RIGHT for node in nodes)
        share = right / world.slices
        details = {"precision": right / len(nodes) if nodes else 0.0, "coverage": share}
        return Score(
            share, bool(state.done and share >= 0.95 and len(nodes) == world.slices), details
        )


TASK = NeuronTracing()
