#!/usr/bin/env python3
"""Deterministic data for measuring backup engines; needs nothing but Python.

  make-data.py gen    DIR [--seed 1] [--tree-mb 1024] [--vm-mb 1536] [--dump-mb 512]
  make-data.py apply  DIR     the second generation: edits in place
  make-data.py revert DIR     back to the first
  make-data.py stat   DIR     files, bytes and one SHA-256 over all names and contents

DIR/tree         like a tree of source code: many small files of log-normal size, some of them
                 copies of others, some binary, some incompressible
DIR/large        vm.img, a raw disk (holes, text, binary, noise, repeated extents), and dump.sql
DIR/.bench       seed, pools of content, and what revert needs

The second generation edits, adds, deletes and renames some files of the tree, overwrites blocks of
the disk, and inserts into and cuts out of the dump. The same seed and sizes give the same bytes on
every CPython from 3.9 on.
"""
import argparse
import hashlib
import json
import os
import random
import shutil

MIB = 1 << 20
BLOCK = 4096
# The clock of the data: first generation and edits.
TIME_FIRST, TIME_EDITS = 1_700_000_000, 1_710_000_000
POOL_BYTES = {"text": 32 * MIB, "binary": 16 * MIB}
TEMPLATES = [
    "let mut {} = {}({}, {})?;", "if {}.{} == {} {{", "}}", "return Err({}::{}(\"{} {}\"));",
    "pub fn {}(&self, {}: {}) -> Result<{}> {{", "// {} {} {} {} {} {}", "self.{}.{}({}.{}());",
    "impl {} for {} {{", "\"{}\": \"{}\",", "for {} in {}.iter() {{", "", "#define {} {}",
    "<{} class=\"{}\">{} {} {}</{}>", "{},{},{},{},{}",
]
ENDINGS = [".rs", ".c", ".h", ".md", ".json", ".py", ".html", ".so"]


def vocabulary(rng, count):
    """Distinct pronounceable words in random order."""
    found = set()
    while len(found) < count:
        syllables = range(rng.randint(1, 5))
        word = "".join(rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in syllables)
        found.add(word + rng.choice(["", "", "s", "er", "_id", "ed"]))
    words = sorted(found)
    rng.shuffle(words)
    return words


def skewed(rng, items):
    """One of the items, the first ones far more often than the last (about Zipf)."""
    return items[int(len(items) ** rng.random()) - 1]


def make_text(rng, length):
    words, lines, size = vocabulary(rng, 30_000), [], 0
    while size < length:
        template = rng.choice(TEMPLATES)
        holes = template.count("{}") - template.count("{{}}")
        filled = template.format(*(skewed(rng, words) for _ in range(holes)))
        line = (" " * (4 * rng.randint(0, 3)) + filled + "\n").encode()
        lines.append(line)
        size += len(line)
    return b"".join(lines)


def make_binary(rng, length):
    """Like machine code: few short patterns again and again, with operands and padding."""
    patterns = [rng.randbytes(rng.randint(2, 5)) for _ in range(3_000)]
    parts, size = [], 0
    while size < length:
        part = skewed(rng, patterns)
        if rng.random() < 0.22:
            part += rng.randbytes(2)
        if rng.random() < 0.03:
            part += bytes(rng.randint(4, 24))
        parts.append(part)
        size += len(part)
    return b"".join(parts)


class Content:
    """Content joined from short runs of two pools, so that no two files repeat a whole chunk."""

    def __init__(self, folder, seed):
        self.pools = {}
        makers = {"text": make_text, "binary": make_binary}
        for kind, length in POOL_BYTES.items():
            path = f"{folder}/.bench/{kind}"
            if not os.path.exists(path):
                with open(path, "wb") as file:
                    file.write(makers[kind](random.Random(f"{seed}-{kind}"), length))
            with open(path, "rb") as file:
                self.pools[kind] = file.read()

    def make(self, rng, kind, length):
        if kind == "noise":
            return rng.randbytes(length)
        pool, parts = self.pools[kind], []
        while length > 0:
            run = min(length, rng.randint(512, 6_144))
            start = rng.randrange(len(pool) - 8_192)
            parts.append(pool[start:start + run])
            length -= run
        return b"".join(parts)


def write(path, data, time):
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (time, time))


def file_length(rng, limit):
    return max(1, min(limit, int(rng.lognormvariate(8.517, 1.5))))


def gen(folder, options):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(f"{folder}/.bench")
    with open(f"{folder}/.bench/seed", "w") as file:
        json.dump(options.seed, file)
    content = Content(folder, options.seed)
    gen_tree(f"{folder}/tree", content, options.seed, options.tree_mb * MIB)
    os.makedirs(f"{folder}/large")
    gen_disk(f"{folder}/large/vm.img", content, options.seed, options.vm_mb * MIB)
    rng = random.Random(f"{options.seed}-dump")
    with open(f"{folder}/large/dump.sql", "wb") as file:
        for _ in range(options.dump_mb):
            file.write(content.make(rng, "text", MIB))
    os.utime(f"{folder}/large/dump.sql", (TIME_FIRST, TIME_FIRST))


def gen_tree(top, content, seed, length):
    rng = random.Random(f"{seed}-tree")
    names = vocabulary(rng, 4_000)
    os.makedirs(top)
    folders, recent, written, count = [top], [], 0, 0
    while written < length:
        if count % 14 == 0:
            parent = rng.choice(folders[-400:]) if rng.random() < 0.7 else top
            if parent.count("/") - top.count("/") > 8:
                parent = top
            current = f"{parent}/{rng.choice(names)}{len(folders)}"
            os.makedirs(current)
            folders.append(current)
        size, share = file_length(rng, 8 * MIB), rng.random()
        if recent and share < 0.08:
            data = rng.choice(recent)
        else:
            kind = "noise" if share < 0.14 else "binary" if share < 0.26 else "text"
            data = content.make(rng, kind, size)
        if len(recent) < 500:
            recent.append(data)
        else:
            recent[rng.randrange(500)] = data
        name = f"{current}/{rng.choice(names)}{count}{rng.choice(ENDINGS)}"
        write(name, data, TIME_FIRST + count)
        written += len(data)
        count += 1


def gen_disk(path, content, seed, length):
    rng = random.Random(f"{seed}-disk")
    kept = []
    with open(path, "wb") as file:
        file.truncate(length)
        position = 0
        while position < length:
            size = min(length - position, BLOCK * rng.choice([16 << n for n in range(8)]))
            share = rng.random()
            file.seek(position)
            if share < 0.30:
                pass  # a hole
            elif share < 0.38 and kept:
                repeated = rng.choice(kept)[:size]
                size = len(repeated)
                file.write(repeated)
            else:
                kind = "text" if share < 0.62 else "binary" if share < 0.82 else "noise"
                data = content.make(rng, kind, size)
                file.write(data)
                if size >= MIB and len(kept) < 24:
                    kept.append(data)
            position += size
    os.utime(path, (TIME_FIRST, TIME_FIRST))


def files(top):
    found = []
    for folder, folders, names in os.walk(top):
        folders.sort()
        found += [f"{folder}/{name}" for name in sorted(names)]
    return found


def apply(folder):
    undo = f"{folder}/.bench/undo"
    if os.path.exists(undo):
        raise SystemExit("the edits are applied already")
    os.makedirs(undo)
    with open(f"{folder}/.bench/seed") as file:
        seed = json.load(file)
    content, rng = Content(folder, seed), random.Random(f"{seed}-edits")
    edits = edit_tree(folder, undo, content, rng)
    edit_disk(f"{folder}/large/vm.img", undo, content, rng)
    edit_dump(f"{folder}/large/dump.sql", undo, content, rng)
    with open(f"{undo}/edits", "w") as file:
        json.dump(edits, file)


def edit_tree(folder, undo, content, rng):
    """Of 100 files 3 are edited, 1 deleted, 1 renamed; 2 are added."""
    edits = []
    for number, path in enumerate(files(f"{folder}/tree")):
        share, time = rng.random(), TIME_EDITS + number
        if share < 0.03:
            shutil.copy2(path, f"{undo}/{number}")
            with open(path, "rb") as file:
                data = file.read()
            place, inserted = rng.random(), content.make(rng, "text", rng.randint(20, 400))
            at = 0 if place < 0.3 else len(data) if place < 0.5 else rng.randrange(len(data) + 1)
            behind = at + len(inserted) if place > 0.85 else at  # overwritten or moved on
            write(path, data[:at] + inserted + data[behind:], time)
            edits.append(["edited", path, number])
        elif share < 0.04:
            shutil.copy2(path, f"{undo}/{number}")
            os.remove(path)
            edits.append(["deleted", path, number])
        elif share < 0.05:
            os.rename(path, f"{path}.moved")
            edits.append(["renamed", path, number])
        elif share < 0.07:
            write(f"{path}.new", content.make(rng, "text", file_length(rng, MIB)), time)
            edits.append(["added", f"{path}.new", number])
    return edits


def edit_disk(path, undo, content, rng):
    shutil.copy2(path, f"{undo}/vm.img")
    length = os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(length // (5 * MIB)):
            size = BLOCK * rng.choice([1, 1, 1, 2, 4, 16, 64])
            file.seek(BLOCK * rng.randrange((length - size) // BLOCK))
            file.write(content.make(rng, rng.choice(["text", "binary", "noise"]), size))
    os.utime(path, (TIME_EDITS, TIME_EDITS))


def edit_dump(path, undo, content, rng):
    os.rename(path, f"{undo}/dump.sql")
    with open(f"{undo}/dump.sql", "rb") as file:
        data = file.read()
    cuts = sorted(rng.randrange(len(data)) for _ in range(max(1, len(data) // (4 * MIB))))
    parts, done = [], 0
    for cut in cuts:
        if cut >= done:
            parts += [data[done:cut], content.make(rng, "text", rng.randint(50, 20_000))]
            done = cut + (rng.randint(1, 3_000) if rng.random() < 0.3 else 0)
    write(path, b"".join(parts) + data[done:], TIME_EDITS)


def revert(folder):
    undo = f"{folder}/.bench/undo"
    with open(f"{undo}/edits") as file:
        edits = json.load(file)
    for edit, path, number in edits:
        if edit in ("edited", "deleted"):
            shutil.copy2(f"{undo}/{number}", path)
        elif edit == "renamed":
            os.rename(f"{path}.moved", path)
        else:
            os.remove(path)
    for name in ("vm.img", "dump.sql"):
        os.replace(f"{undo}/{name}", f"{folder}/large/{name}")
    shutil.rmtree(undo)


def stat(folder):
    for part in ("tree", "large"):
        digest, count, length = hashlib.sha256(), 0, 0
        for path in files(f"{folder}/{part}"):
            with open(path, "rb") as file:
                data = file.read()
            count, length = count + 1, length + len(data)
            digest.update(f"{path[len(folder):]}\0{len(data)}\0".encode())
            digest.update(hashlib.sha256(data).digest())
        print(f"{part}: files={count} bytes={length} sha256={digest.hexdigest()}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["gen", "apply", "revert", "stat"])
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tree-mb", type=int, default=1024)
    parser.add_argument("--vm-mb", type=int, default=1536)
    parser.add_argument("--dump-mb", type=int, default=512)
    options = parser.parse_args()
    folder = options.folder.rstrip("/")
    if options.command == "gen":
        gen(folder, options)
    else:
        {"apply": apply, "revert": revert, "stat": stat}[options.command](folder)


if __name__ == "__main__":
    main()
