"""Marker, index, packs, contents, listings: docs/formats/repository.md."""

import datetime
import io
import pathlib
import uuid

import blake3
import cbor2
import zstandard

from log import State, read_entry
from sealing import HEADER, Damaged, Sealed, decode, open_ring, sha256

PACK, INDEX, POINT = 1, 2, 3
LONGEST_GROUP, MOST_LEVELS = 1_048_576 + 262_144, 4


class Repository:
    """A repository that was opened: marker, ring, log, index (Order of writing, Read). `notes`: damage that did not hinder that."""

    def __init__(self, folder, keys):
        self.folder, self.keys, self.notes, self.groups = pathlib.Path(folder), keys, [], {}
        created = self.read_marker()
        number, chain, fingerprint, digest = self.read_rings()
        self.log = self.read_log()
        if self.log.genesis is None or self.log.genesis[0] != fingerprint:
            raise Damaged("log/0000000001", "begins the log of another ring")
        if created != self.log.genesis[1]:
            raise Damaged("custody-repository", "its time is not that of the log's first entry")
        known, wanted = self.log.ring
        follows = digest == wanted if number == known else number > known + 1 or chain and chain[0] == wanted
        if known and (number < known or not follows):
            raise Damaged(f"keys/ring-{number:010}", "is not the ring that the log names")
        self.where = self.read_indexes()

    def read_marker(self):
        """Marker. Gives the time in it, in milliseconds."""
        name = "custody-repository"
        try:
            first, second, *rest = (self.folder / name).read_text().split("\n")
            if second != "format 1":
                raise Damaged(name, f"{second!r} is not known")
            vault, created = (line.split(" ", 1) for line in rest[:2])
            if first != "custody repository" or (vault[0], created[0], *rest[2:]) != ("vault", "created", ""):
                raise Damaged(name, "is no marker")
            if uuid.UUID(vault[1]).bytes != self.keys.vault:
                raise Damaged(name, f"is of vault {vault[1]}")
            return round(datetime.datetime.fromisoformat(created[1]).timestamp() * 1000)
        except (OSError, ValueError) as error:
            raise Damaged(name, f"is no marker: {error}") from error

    def read_rings(self):
        """The newest genuine ring, in either of its places (keyring.md §4, §5)."""
        stored = sorted({path.stem for path in (self.folder / "keys").glob("ring-*")}, reverse=True)
        genuine = None
        for number in stored:
            for name in (f"keys/{number}", f"keys/{number}.copy"):
                try:
                    data = (self.folder / name).read_bytes()
                    genuine = genuine or (*open_ring(name, data, self.keys), sha256(data))
                    if sha256(data) != genuine[-1]:
                        raise Damaged(name, "is not the copy that it should be")
                except OSError:
                    self.notes.append(Damaged(name, "is missing"))
                except Damaged as error:
                    self.notes.append(error)
                except (IndexError, KeyError, TypeError, ValueError) as error:
                    self.notes.append(Damaged(name, f"is no ring: {error!r}"))
            if genuine:
                return genuine
        raise Damaged("keys", "; ".join(["there is no genuine ring", *map(str, self.notes)]))

    def read_log(self):
        state, number, before = State(), 1, bytes(32)
        while (self.folder / f"log/{number:010}").exists():
            entry, keyed, before = read_entry(self, number, before)
            state.apply(number, entry, keyed)
            number += 1
        if (self.folder / f"log/{number + 1:010}").exists():
            raise Damaged(f"log/{number:010}", "is missing")
        return state

    def read_indexes(self):
        """Index: where each chunk lies; of a damaged index object, what the directories of its packs say."""
        where = {}
        for index, packs in self.log.indexes.items():
            try:
                found = list(self.read_index(f"index/{index.hex()}"))
            except Damaged as error:
                self.notes.append(error)
                found = [one for pack in packs if pack not in self.log.removed for one in self.read_directory(pack)]
            for chunk, place in found:
                if place[0] not in self.log.removed:
                    where.setdefault(chunk, []).append(place)
        return where

    def read_index(self, name):
        sealed = Sealed(self, name, INDEX)
        table, begin, _ = sealed.last()
        packs, blocks = decode(name, table)
        groups, offset, before = [], HEADER, b""
        for pack, _length, shapes in packs:
            at = HEADER
            for number, shape in enumerate(zip(*[iter(shapes)] * 3, strict=True)):
                groups.append((pack, number, at, *shape))
                at += shape[0]
        for number, (length, first) in enumerate(blocks):
            block = sealed.position(number, offset, length)
            offset += length
            if len(block) % 44 or block[:32] != first or first < before:
                raise Damaged(name, f"block {number} is out of order")
            for record in (block[i:i + 44] for i in range(0, len(block), 44)):
                group, start, size = (int.from_bytes(record[i:i + 4], "big") for i in (32, 36, 40))
                if record[:36] < before or group >= len(groups):
                    raise Damaged(name, f"block {number} is out of order")
                before = record[:36]
                yield record[:32], (*groups[group], start, size)
        if offset != begin:
            raise Damaged(name, "its blocks do not fill it")

    def read_directory(self, pack):
        """Groups and packs: the directory at a pack's end."""
        name = pack_name(pack)
        directory, begin, count = Sealed(self, name, PACK).last()
        groups, at = decode(name, directory), HEADER
        for number, (sealed, plain, compression, chunks) in enumerate(groups):
            start = 0
            for chunk, length in zip(*[iter(chunks)] * 2, strict=True):
                yield chunk, (pack, number, at, sealed, plain, compression, start, length)
                start += length
            if start != plain:
                raise Damaged(name, f"the chunks of group {number} do not fill it")
            at += sealed
        if at != begin or len(groups) != count:
            raise Damaged(name, "its groups do not fill it")

    def read_group(self, pack, number, at, sealed, plain, compression):
        name = pack_name(pack)
        if (pack, number) not in self.groups:
            if plain > LONGEST_GROUP or compression > 1:
                raise Damaged(name, f"group {number} is no group")
            data = Sealed(self, name, PACK).position(number, at, sealed)
            try:
                data = zstandard.ZstdDecompressor().decompress(data, max_output_size=plain) if compression else data
            except zstandard.ZstdError as error:
                raise Damaged(name, f"group {number} does not decompress") from error
            if len(data) != plain:
                raise Damaged(name, f"group {number} has another length")
            if len(self.groups) >= 16:
                self.groups.pop(next(iter(self.groups)))
            self.groups[pack, number] = data
        return self.groups[pack, number]

    def read_at(self, chunk, length, place):
        """Chunks: what lies there is named again."""
        *group, start, size = place
        data = self.read_group(*group)[start:start + size]
        if len(data) != length or blake3.blake3(data, key=self.keys.name_key).digest() != chunk:
            raise Damaged(pack_name(place[0]), f"chunk {chunk.hex()} is not what its name says")
        return data

    def read_chunk(self, chunk, length):
        fault = Damaged(f"chunk {chunk.hex()}", "is in no pack")
        for place in self.where.get(chunk, ()):
            try:
                return self.read_at(chunk, length, place)
            except Damaged as error:
                fault = error
        raise fault

    def extents(self, content):
        """Contents: the extents of level 0."""
        _chunker, level, size, extents = content
        if level > MOST_LEVELS:
            raise Damaged("content", "has too many levels")
        for _ in range(level):
            extents = decode("content", b"".join(self.read_chunk(name, length) for length, name in extents))
        if sum(extent[0] for extent in extents) != size:
            raise Damaged("content", "its extents do not add up")
        return extents

    def read_listing(self, content):
        """Listings: entries in ascending order of well-formed names."""
        data = b"".join(self.read_chunk(name, length) for length, name in self.extents(content))
        stream, before = io.BytesIO(data), b""
        while stream.tell() < len(data):
            name, metadata, node = cbor2.CBORDecoder(stream, read_size=1).decode()
            if not before < name or len(name) > 255 or b"/" in name or b"\0" in name or name in (b".", b".."):
                raise Damaged("listing", f"has the entry {name!r}, which is out of order or no name")
            before = name
            yield name, metadata, node

    def read_point(self, point):
        name = f"points/{point.hex()}"
        return decode(name, Sealed(self, name, POINT).whole())


def pack_name(pack):
    return f"packs/{pack.hex()[:2]}/{pack.hex()}"
