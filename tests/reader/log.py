"""The log of a repository: docs/formats/repository-log.md."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealing import Damaged, decode, sha256


def read_entry(repository, number, before):
    """One entry (The log, Bytes): checksum, format, authenticator, chain."""
    name = f"log/{number:010}"
    data = (repository.folder / name).read_bytes()
    if len(data) < 40 or sha256(data[:-32]) != data[-32:]:
        raise Damaged(name, "the checksum does not fit")
    if data[:8] != b"custlog\1":
        raise Damaged(name, "no entry of format 1")
    payload, (how, proof) = decode(name, data[8:-32])
    entry, said = decode(name, payload), data[:8] + payload
    if how == 0:
        if keys_mac(repository.keys, name, proof[0], said) != proof[1]:
            raise Damaged(name, "the authenticator does not fit")
    else:
        try:
            Ed25519PublicKey.from_public_bytes(proof[0]).verify(proof[1], said)
        except (InvalidSignature, ValueError) as error:
            raise Damaged(name, "the signature does not fit") from error
    if (entry[0], entry[1], entry[2]) != (repository.keys.vault, number, before):
        raise Damaged(name, "does not follow the entry before it")
    return entry, how == 0, sha256(data)


def keys_mac(keys, name, generation, said):
    return keys.mac(name, generation, "custody/1 mac", said, b"\1")


class State:
    """What the entries say (State and void entries)."""

    def __init__(self):
        self.genesis, self.ring, self.intent, self.newest_commit = None, (0, None), None, 0
        self.living, self.points, self.gone, self.unconfirmed = {}, {}, {}, {}
        self.indexes, self.packs, self.removed = {}, set(), set()

    def apply(self, number, entry, keyed):
        """Takes one entry in; a void one changes nothing."""
        kind, body = entry[5]
        if (kind == 0) != (number == 1) or (not keyed and kind not in (3, 4)):
            return
        rules = [self.begin, self.started, self.commit, self.ended, self.forget, self.prune, self.finish, self.head, self.confirm]
        if kind < len(rules):  # a checkpoint tells nothing to who reads from the first entry
            rules[kind](number, entry, body, keyed)

    def begin(self, _number, entry, body, _keyed):
        self.genesis = (body[0], entry[3])

    def started(self, number, _entry, body, _keyed):
        self.living.setdefault(body[0], number)

    def commit(self, number, entry, body, _keyed):
        session, point, used = body[0], body[2], set(body[4]) | set(body[5])
        if session not in self.living or point in self.points or point in self.gone or used & self.removed:
            return
        if self.intent:
            doomed = used & self.intent["doomed"]
            if doomed and self.living[session] > self.intent["number"]:
                return
            self.intent["spared"] |= doomed
        self.points[point] = {"item": body[1], "received": entry[3]}
        self.indexes.update(dict.fromkeys(body[3], body[4]))
        self.packs |= set(body[4])
        self.newest_commit = number

    def ended(self, number, _entry, body, keyed):
        if self.living.pop(body[0], None) and not keyed:
            self.unconfirmed[number] = None

    def forget(self, number, _entry, body, keyed):
        if body[0] not in self.points:
            return
        self.gone[body[0]] = self.points.pop(body[0])
        if not keyed:
            self.unconfirmed[number] = body[0]

    def prune(self, number, _entry, body, _keyed):
        doomed, added = set(body[2]), set(body[3])
        if body[0] not in self.living or self.intent or self.newest_commit > body[1] or self.unconfirmed:
            return
        if (doomed | added) & self.removed:
            return
        self.intent = {"number": number, "doomed": doomed, "replaced": body[5], "spared": set()}
        self.indexes.update(dict.fromkeys(body[4], body[3]))
        self.packs |= added

    def finish(self, _number, _entry, body, _keyed):
        intent = self.intent
        if not intent or intent["number"] != body[0] or min(self.living.values(), default=body[0]) < body[0]:
            return
        removed = intent["doomed"] - intent["spared"]
        if (set(body[1]), set(body[2])) != (removed, intent["spared"]):
            return
        self.intent, self.packs, self.removed = None, self.packs - removed, self.removed | removed
        for index in () if intent["spared"] else intent["replaced"]:
            self.indexes.pop(index, None)

    def head(self, _number, _entry, body, _keyed):
        if body[0] > self.ring[0]:
            self.ring = (body[0], body[1])

    def confirm(self, number, _entry, body, _keyed):
        if body[0] >= number:
            return
        for signed in [one for one in self.unconfirmed if one <= body[0]]:
            point = self.unconfirmed.pop(signed)
            if signed in body[1] and point in self.gone:
                self.points[point] = self.gone.pop(point)
