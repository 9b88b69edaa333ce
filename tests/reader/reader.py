"""An independent reader of custody repositories, format 1.

Written from docs/formats/{keyring,repository,repository-log}.md alone, as proof that the documents are enough; it shares no
code with the engine. Simple and read-only. What a function follows is said at it, by the name of the document's section.

    reader.py points  KEYS REPOSITORY                 what can be restored, one line a point
    reader.py verify  KEYS REPOSITORY                 every byte of every object that the log names
    reader.py restore KEYS REPOSITORY POINT TARGET    one point into a new folder

KEYS is a file of JSON: {"vault": "GUID", "dataKeys": ["DEK 1 in hexadecimal", "DEK 2", ...], "infrastructureKey": "..." or null}.
Each damage is a line "damaged: OBJECT: what" on standard error and makes the exit code 1; what is not touched by it is restored.
"""

import datetime
import json
import os
import pathlib
import stat
import sys
import uuid

import cbor2

from repository import Repository, pack_name
from sealing import Damaged, Keys, sha256

FILE, FOLDER, LINK, PIPE, SOCKET, BLOCK, CHARACTER = range(1, 8)


class Restore:
    """Restores one point (repository.md, Listings and Points)."""

    def __init__(self, repository, target):
        self.repository, self.target, self.damages, self.linked = repository, os.fsencode(target), [], {}

    def run(self, point):
        top, root = self.repository.read_point(point)[5:7]
        os.mkdir(self.target)
        self.folder(self.target, root)
        if top:
            dress(self.target, top)

    def folder(self, path, content):
        for name, metadata, node in self.repository.read_listing(content):
            inner = os.path.join(path, name)
            try:
                self.entry(inner, metadata, node)
            except Damaged as error:
                self.damages.append(f"{error} ({os.path.relpath(inner, self.target)!r})")

    def entry(self, path, metadata, node):
        kind = node[0]
        if kind == FILE:
            return self.file(path, metadata, node[1])
        if kind == FOLDER:
            os.mkdir(path)
            self.folder(path, node[1])
        elif kind == LINK:
            os.symlink(node[1], path)
        elif kind in (PIPE, SOCKET):
            os.mknod(path, {PIPE: stat.S_IFIFO, SOCKET: stat.S_IFSOCK}[kind] | 0o600)
        else:
            device = os.makedev(node[1], node[2])
            os.mknod(path, {BLOCK: stat.S_IFBLK, CHARACTER: stat.S_IFCHR}[kind] | 0o600, device)
        dress(path, metadata)

    def file(self, path, metadata, content):
        """A file; one that stood there already under another name is linked (Listings, Hard links)."""
        device, inode, links = metadata[8:11]
        identity = (device, inode, cbor2.dumps(content)) if links > 1 else None
        if identity in self.linked:
            return os.link(self.linked[identity], path)
        try:
            with open(path, "xb") as file:
                for extent in self.repository.extents(content):
                    if len(extent) == 1:
                        file.seek(extent[0], os.SEEK_CUR)
                    else:
                        file.write(self.repository.read_chunk(extent[1], extent[0]))
                file.truncate(content[2])
        except Damaged:
            os.remove(path)
            raise
        if identity:
            self.linked[identity] = path
        dress(path, metadata)


def dress(path, metadata):
    """Owner, attributes, mode and time, in an order in which none undoes another."""
    mode, uid, gid, _user, _group, seconds, nanoseconds, attributes = metadata[:8]
    link = os.path.islink(path)
    if os.geteuid() == 0:
        os.chown(path, uid, gid, follow_symlinks=False)
    for name, value in zip(*[iter(attributes)] * 2, strict=True):
        os.setxattr(path, name, value, follow_symlinks=False)
    if not link:
        os.chmod(path, stat.S_IMODE(mode))
    time = seconds * 1_000_000_000 + nanoseconds
    os.utime(path, ns=(time, time), follow_symlinks=False)


def verify(repository):
    """Every object that the log names: its name, its seals, its chunks; then that every point finds its chunks."""
    damages, log = [*repository.notes], repository.log

    def attempt(name, work):
        try:
            if sha256((repository.folder / name).read_bytes()).hex() != name.rpartition("/")[2]:
                raise Damaged(name, "its bytes are not those of its name")
            work()
        except OSError as error:
            damages.append(Damaged(name, f"cannot be read: {error}"))
        except Damaged as error:
            damages.append(error)

    for pack in sorted(log.packs):
        attempt(pack_name(pack), lambda pack=pack: verify_pack(repository, pack))
    for index in sorted(log.indexes):
        name = f"index/{index.hex()}"
        attempt(name, lambda name=name: list(repository.read_index(name)))
    for point in sorted(log.points):
        attempt(f"points/{point.hex()}", lambda point=point: verify_listing(repository, repository.read_point(point)[6]))
    return damages


def verify_pack(repository, pack):
    for chunk, place in repository.read_directory(pack):
        repository.read_at(chunk, place[-1], place)


def verify_listing(repository, content):
    for _name, _metadata, node in repository.read_listing(content):
        if node[0] == FOLDER:
            verify_listing(repository, node[1])
        for extent in repository.extents(node[1]) if node[0] == FILE else ():
            if len(extent) == 2 and extent[1] not in repository.where:
                raise Damaged(f"chunk {extent[1].hex()}", "is in no pack")


def points(repository):
    for point, facts in sorted(repository.log.points.items(), key=lambda one: one[1]["received"]):
        received = datetime.datetime.fromtimestamp(facts["received"] / 1000, datetime.UTC)
        print(point.hex(), received.isoformat(timespec="milliseconds"), facts["item"].hex())


def main(command, keys, folder, *rest):
    given = json.loads(pathlib.Path(keys).read_text())
    data_keys = [bytes.fromhex(key) for key in given["dataKeys"]]
    infrastructure = given.get("infrastructureKey")
    keys = Keys(uuid.UUID(given["vault"]).bytes, data_keys, infrastructure and bytes.fromhex(infrastructure))
    damages = []
    try:
        repository = Repository(folder, keys)
        if command == "points":
            points(repository)
        elif command == "verify":
            damages = verify(repository)
        elif command == "restore":
            restore = Restore(repository, rest[1])
            restore.run(bytes.fromhex(rest[0]))
            damages = repository.notes + restore.damages
        else:
            sys.exit(__doc__)
    except Damaged as error:
        damages.append(error)
    for damage in damages:
        print(f"damaged: {damage}", file=sys.stderr)
    sys.exit(1 if damages else 0)


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] == "restore" and len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
