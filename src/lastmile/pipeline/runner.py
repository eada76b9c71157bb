"""Run one job of a stage: check its spec, code and inputs, do the work, write the manifest."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lastmile.errors import LastmileError
from lastmile.pipeline.stage import Facts, files_of, parse_spec
from lastmile.pipeline.stages import get_stage
from lastmile.provenance.fingerprints import check_code, code_label
from lastmile.provenance.manifests import check_inputs, write_manifests
from lastmile.simulation.workers import one_thread


def run_stage(name: str, spec: str, results: Path, code: str | None = None) -> None:
    """Run a job.

    Args:
        name: Name of the stage.
        spec: What to do, as JSON.
        results: Folder of the study's results; all inputs and outputs are below it.
        code: Label of the code that the job was planned with; other code is refused.

    Raises:
        LastmileError: The spec is wrong, an input is missing, or the code has changed.
    """
    stage = get_stage(name)
    parsed = parse_spec(stage.Spec, spec)
    if code:
        from lastmile.pipeline import lock

        check_code(code)
        lock.end_with_snakemake()
    inputs, outputs = stage.inputs(parsed, results), stage.outputs(parsed, results)
    for path in files_of(inputs):
        if not path.is_file():
            raise LastmileError(f"stage {name}: its input {path} is missing")
    check_inputs(files_of(inputs))

    one_thread()
    started = time.monotonic()
    facts = stage.run(parsed, inputs, outputs)
    if facts is None:
        if getattr(outputs, "manifest", None) is not None:
            return  # a further process of a training run
        torch = sys.modules.get("torch")
        facts = Facts(
            spec=parsed.model_dump(mode="json"),
            inputs=files_of(inputs),
            device="cpu",
            threads=torch.get_num_threads() if torch else 1,
            seconds=round(time.monotonic() - started, 1),
        )
    label = code or code_label(f"pipeline.stages.{name}", stage.parts(parsed))
    about = {"device": facts.device, "threads": facts.threads, "seconds": facts.seconds}
    if facts.arithmetic is not None:
        about["arithmetic"] = facts.arithmetic
    write_manifests(name, facts.spec, label, facts.inputs, files_of(outputs), **about)
