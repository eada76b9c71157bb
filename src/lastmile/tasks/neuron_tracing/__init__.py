"""Neuron tracing: follow one cell through a stack of electron micrographs."""

from __future__ import annotations

from lastmile.tasks.neuron_tracing.annotator import NeuronTracingAnnotator
from lastmile.tasks.neuron_tracing.interface import NeuronTracingInterface, State
from lastmile.tasks.neuron_tracing.world import (
    DIFFICULTIES,
    NeuronTracingWorld,
    Node,
    make_world,
    nodes_by_slice,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task


class NeuronTracing(Task[NeuronTracingWorld, State, Node]):
    """Tracing one neurite through serial sections.

    **What it is.** A stack of electron micrographs shows densely packed cell processes: light
    cytoplasm with mitochondria and vesicles, bounded by dark membranes. From section to section the
    tissue drifts and every cross-section changes its shape. The annotator follows the cell under
    the cross-hair in the first slice to the last slice, with one node in each.

    **What is seen.** One slice at a time, with the node of this slice as a yellow dot, the node of
    the previous slice as a faint cyan ring, the node of the next slice as a small faint dot, and
    the last nodes joined by a faint line. The bar along the bottom of the canvas has a place for
    each slice, green with a node and dark without; its white knob is the current slice. The status
    bar gives the slice and the number of nodes.

    **What can be done.** `+z`, `-z`, `+5` and `-5` change the slice, by five as far as the stack
    goes. A click on the canvas sets the node of the current slice and replaces the one it had.
    `Undo` removes the last node. `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Share of slices whose node is in the target cell. Success: at least 95 %
    of the slices, and a node in every slice.

    **Mistakes.** slip: at most 6 px outside the target. confusion: in another cell (a merge error),
    which the annotator then follows. lapse: a slice left out.

    **What is simplified.** The target does not branch, does not end, stays inside the stack, and
    has a cross-section in one piece that is large enough to click in every slice. No section is
    missing, folded or torn. The cross-hair in the first slice is the only aid from the ground
    truth.

    **Sources.** One node per section as in skeleton tracing with CATMAID (Saalfeld et al.,
    Bioinformatics 2009). Share of correctly traced nodes after the skeleton measures of Januszewski
    et al., Nature Methods 2018.
    """

    name = "neuron_tracing"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = NeuronTracingInterface
    annotator = NeuronTracingAnnotator
    mistake_rate = 0.2
    overlooked = 0.16

    def judge(self, world: NeuronTracingWorld, earlier: tuple[Node, ...], edit: Node) -> str:
        """Judge a node by the cell it is in. It is a lapse if the slice before has no node yet."""
        verdict = world.verdict(edit)
        if verdict == RIGHT and edit.z > 0:
            nodes = nodes_by_slice(world.slices, earlier)
            if nodes[edit.z - 1] < 0:
                return "lapse"
        return verdict

    def mistakes(self, world: NeuronTracingWorld, state: State) -> tuple[Mistake, ...]:
        """Return the misplaced nodes, and the slices left out before the last one with a node."""
        return world.mistakes(state.edits)

    def score(self, world: NeuronTracingWorld, state: State) -> Score:
        """Return the share of slices whose node is in the target, with the precision of nodes."""
        indices = nodes_by_slice(world.slices, state.edits)
        nodes = [state.edits[index] for index in indices if index >= 0]
        correct = sum(world.verdict(node) == RIGHT for node in nodes)
        share = correct / world.slices
        details = {"precision": correct / len(nodes) if nodes else 0.0, "coverage": share}
        complete = len(nodes) == world.slices
        return Score(share, bool(state.done and share >= 0.95 and complete), details)


TASK = NeuronTracing()
