"""Where the database lies: file systems on which SQLite cannot keep its promises.

Owns the lists of network file systems, and of directories that a program copies elsewhere.
Promises one sentence, or none; a file system that cannot be found out is taken for a good one.
Leaves warning to whoever shows it.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

#: Types of /proc/self/mounts whose locks or shared memory do not hold between machines.
NETWORK: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.davfs2", "fuse.gcsfuse",
        "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs",
        "nfs", "nfs4", "ocfs2", "smb3", "smbfs", "virtiofs",
    },
)  # fmt: skip
#: A directory in the path, or an entry of such a directory, and whose it is.
SYNCED: Final = {
    "Mobile Documents": "iCloud",
    ".dropbox": "Dropbox",
    ".dropbox.cache": "Dropbox",
    ".tmp.drivedownload": "Google Drive",
    ".tmp.driveupload": "Google Drive",
    ".849C9593-D756-4E56-8D6E-42412F2A707B": "OneDrive",
}
#: How the directories of such programs are called.
SYNCED_NAMES: Final = {
    "dropbox": "Dropbox",
    "google drive": "Google Drive",
    "googledrive-": "Google Drive",
    "icloud drive": "iCloud",
    "my drive": "Google Drive",
    "onedrive": "OneDrive",
}
MOUNTS: Final = Path("/proc/self/mounts")


def trouble(directory: Path, mounts: Path = MOUNTS) -> str | None:
    """Return why a database should not lie in ``directory``, None when nothing speaks against."""
    real = directory.resolve()
    kind = _file_system(real, mounts)
    if kind in NETWORK:
        return (
            f"{directory} is on a network file system ({kind}): the database may be damaged there; "
            "set BLUEPLANE_HOME to a local directory"
        )
    owner = next(filter(None, map(_synced_by, [real, *real.parents])), None)
    if owner is not None:
        return (
            f"{directory} is in a folder of {owner}, which copies files while they change: the "
            "database may be damaged there; set BLUEPLANE_HOME to another directory"
        )
    return None


def _file_system(path: Path, mounts: Path) -> str:
    """Return the type of the file system of a path, '' where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    found = (0, "")
    for line in lines:
        _, point, kind, *_ = [*line.split(" "), "", "", ""]
        point = point.replace("\\040", " ")
        if point and path.is_relative_to(point) and len(point) >= found[0]:
            found = (len(point), kind)  # of two on one directory the later one counts
    return found[1]


def _synced_by(directory: Path) -> str | None:
    name = directory.name.lower()
    if directory.name in SYNCED:
        return SYNCED[directory.name]
    for beginning, owner in SYNCED_NAMES.items():
        if name.startswith(beginning):
            return owner
    with suppress(OSError):  # not ours to read
        names = {entry.name for entry in directory.iterdir()}
        return next((owner for mark, owner in SYNCED.items() if mark in names), None)
    return None
