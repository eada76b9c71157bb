"""The preset `smoke` on a real SLURM on this machine, against a local run (`make test-slurm`).

Needs root, Debian's slurm-wlm and munge, and the extra `slurm` of this package. All daemons that
are started here are stopped at the end.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import test_faults as study
from fault_log import fault

CONF = Path("/etc/slurm/slurm.conf")
"""Where srun looks in a job, whose environment has lost SLURM_CONF."""
NEEDED = ("munged", "slurmctld", "slurmd", "sinfo")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, NEEDED)),
        reason="needs root and: apt-get install slurm-wlm munge",
    ),
    pytest.mark.skipif(CONF.exists(), reason=f"this machine has a SLURM of its own ({CONF})"),
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
        reason="needs: pip install -e '.[slurm]'",
    ),
]


def write_conf(folder: Path) -> Path:
    """Configure a cluster of this machine alone, without systemd and accounting."""
    host, memory = (
        socket.gethostname(),
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 9 // 10 >> 20,
    )
    path = CONF
    path.parent.mkdir(exist_ok=True)
    lines = [
        "ClusterName=lastmile",
        f"SlurmctldHost={host}(127.0.0.1)",
        "AuthType=auth/munge",
        f"AuthInfo=socket={folder}/munge.socket",
        "MpiDefault=none",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        "SlurmUser=root",
        "SlurmdUser=root",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd.log",
        "ReturnToService=2",
        "SlurmctldPort=16817",
        "SlurmdPort=16818",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=sched_interval=2",
        "MinJobAge=600",
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} "
        f"RealMemory={memory} State=UNKNOWN",
        "PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run munged, slurmctld and slurmd, and stop them at the end."""
    folder = Path(f"/run/lastmile-slurm-{os.getpid()}")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    os.chmod(folder, 0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    os.chmod(key, 0o400)
    conf = write_conf(folder)
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    commands = [
        [
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munge.pid",
            f"--log-file={folder}/munge.log",
            f"--seed-file={folder}/munge.seed",
        ],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", socket.gethostname()],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(
                subprocess.Popen(
                    command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            time.sleep(2)
        deadline = time.monotonic() + 60
        while "idle" not in (
            said := subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=env, capture_output=True, text=True
            ).stdout
        ):
            assert time.monotonic() < deadline, said + "".join(
                path.read_text()[-2000:] for path in folder.glob("*.log")
            )
            time.sleep(1)
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        conf.unlink()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("cluster")
def test_results_are_those_of_a_local_run(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "STUDY", {"name": study.STUDY["name"]})  # the preset as it is
    local = study.copy(root, tmp_path_factory.mktemp("local").resolve())
    study.finish(local, "all")

    remote = study.copy(root, tmp_path_factory.mktemp("remote").resolve())
    # No accounts, no GPUs and no accounting here; everything else is as in the profile that users
    # start from, and the command is word for word that of the page on clusters.
    profile = remote / "profiles" / "slurm" / "config.yaml"
    lines = profile.read_text().splitlines()
    assert "slurm_account" in "".join(lines) and "slurm_partition" in "".join(lines)
    kept = [line for line in lines if "slurm_account" not in line]
    here = """
slurm-no-account: true
slurm-status-command: squeue
seconds-between-status-checks: 5
set-resources:
  train: {gpu: 0}
  train_joint: {gpu: 0}
  train_longest: {gpu: 0}
"""
    profile.write_text("\n".join(kept).replace("your_partition", "work") + here)
    page = (root / "docs" / "howto" / "run_on_a_cluster.md").read_text()
    (line,) = re.findall(r"^snakemake (--profile .*)$", page, re.MULTILINE)
    with fault("every job on a cluster (SLURM)", "whole study"):
        said = study.finish(remote, words=tuple(line.split()))
        assert "SLURM jobid" in said or "slurm" in said.lower()
        study.alike(remote, study.results(local))
