"""Keys, the ring, and sealed objects: docs/formats/keyring.md."""

import hashlib
import hmac

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER, FOOTER = 100, 16


class Damaged(Exception):
    """What an object should be and is not. The text begins with the object's name."""

    def __init__(self, name, what):
        super().__init__(f"{name}: {what}")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u32(number):
    return number.to_bytes(4, "big")


def decode(name, data):
    """CBOR in its one spelling: what is decoded is encoded again and compared."""
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise Damaged(name, f"no CBOR: {error}") from error
    if cbor2.dumps(value, canonical=True) != data:
        raise Damaged(name, "CBOR in another spelling")
    return value


class Keys:
    """Everything derived from the data keys (keyring.md §3)."""

    def __init__(self, vault, data_keys, infrastructure):
        self.vault, self.data_keys, self.infrastructure = vault, data_keys, infrastructure
        self.infrastructure_generation, self.name_key = 0, None

    def derive(self, key, salt, label, *parts):
        info = label.encode() + b"\0" + self.vault + b"".join(parts)
        return HKDF(SHA256(), 32, salt, info).derive(key)

    def dek(self, name, generation):
        if not 1 <= generation <= len(self.data_keys):
            raise Damaged(name, f"no data key of generation {generation}")
        return self.data_keys[generation - 1]

    def mac(self, name, generation, label, data, *parts):
        key = self.derive(self.dek(name, generation), None, label, u32(generation), *parts)
        return hmac.digest(key, data, "sha256")


def open_ring(name, data, keys):
    """Keyring.md §2 and §4: MACs, commitments, endorsements; takes the id key out. Gives number, chain, fingerprint."""
    ring = decode(name, data)
    if ring[0] != "custody keyring" or ring[1] != 1:
        raise Damaged(name, "no ring of format 1")
    body, before, own = ring[2:]
    ring = decode(name, body)
    chain, generations = ring.get(3), ring[4]
    if ring[0] != keys.vault:
        raise Damaged(name, "a ring of another vault")
    if len(generations) != len(keys.data_keys):
        raise Damaged(name, f"has {len(generations)} data keys, {len(keys.data_keys)} were given")
    for number, generation in enumerate(generations, 1):
        wrapped = generation[0]
        commitment = keys.derive(keys.dek(name, number), None, "custody/1 data key commitment", u32(number))
        if (wrapped[0], wrapped[2]) != (number, commitment):
            raise Damaged(name, f"commits to another data key of generation {number}")
        if number > 1:
            said = keys.vault + u32(number) + commitment
            if keys.mac(name, number - 1, "custody/1 endorsement", said) != generation[1]:
                raise Damaged(name, f"generation {number} is not endorsed")
    if chain and keys.mac(name, chain[2], "custody/1 ring before", body) != before or not chain and before:
        raise Damaged(name, "the MAC under the ring before does not fit")
    if keys.mac(name, len(generations), "custody/1 ring", body + before) != own:
        raise Damaged(name, "the MAC does not fit")
    if (6 in ring) != (keys.infrastructure is not None):
        raise Damaged(name, "an infrastructure key is in the ring and was not given, or the reverse")
    if keys.infrastructure:
        keys.infrastructure_generation = ring[6][0]
        label = "custody/1 infrastructure key commitment"
        if keys.derive(keys.infrastructure, None, label, u32(ring[6][0])) != ring[6][2]:
            raise Damaged(name, "commits to another infrastructure key")
    number, sealed_by, salt, sealed = (ring[5][-1][key] for key in range(4))  # the newest id key
    key = keys.derive(keys.dek(name, sealed_by), salt, "custody/1 id key", u32(number))
    id_key = unseal(name, AESGCM(key), bytes(12), sealed, b"")
    keys.name_key = keys.derive(id_key, None, "custody/1 id purpose", u32(number), b"\1")
    first = chain[1] if chain else sha256(data)
    fingerprint = sha256(b"custody/1 fingerprint\0", first, generations[0][0][2])
    return ring[1], chain, fingerprint


def unseal(name, cipher, nonce, data, associated):
    try:
        return cipher.decrypt(nonce, data, associated)
    except InvalidTag as error:
        raise Damaged(name, "does not open: the seal does not fit") from error


class Sealed:
    """A sealed object (keyring.md §7): header in clear, then positions."""

    def __init__(self, repository, name, kind, associated=b""):
        self.name, self.associated, self.path = name, associated, repository.folder / name
        keys = repository.keys
        try:
            self.size = self.path.stat().st_size
        except OSError as error:
            raise Damaged(name, "is missing") from error
        header = self.read(0, HEADER)
        if header[:12] != b"custody\1" + bytes([kind]) + bytes(3) or header[12:28] != keys.vault:
            raise Damaged(name, "the header is none of its type and vault")
        dek = keys.dek(name, int.from_bytes(header[28:32], "big"))
        if int.from_bytes(header[32:36], "big") != keys.infrastructure_generation:
            raise Damaged(name, "the header names another infrastructure key")
        salt, kind = header[36:68], bytes([kind])
        if keys.derive(dek, salt, "custody/1 commitment", kind) != header[68:]:
            raise Damaged(name, "the commitment does not fit")
        self.inner = AESGCM(keys.derive(dek, salt, "custody/1", kind))
        self.outer = keys.infrastructure and ChaCha20Poly1305(
            keys.derive(keys.infrastructure, salt, "custody/1 second layer", kind))

    def read(self, offset, length):
        if offset < 0 or offset + length > self.size:
            raise Damaged(self.name, "is cut short, or its lengths are wrong")
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def position(self, number, offset, length, last=False):
        nonce = bytes(7) + u32(number) + bytes([last])
        data = self.read(offset, length)
        if self.outer:
            data = unseal(self.name, self.outer, nonce, data, self.associated)
        return unseal(self.name, self.inner, nonce, data, self.associated)

    def last(self):
        """The last position of a pack or index, found by the footer (repository.md, Sealed objects), and where it begins."""
        footer = self.read(self.size - FOOTER, FOOTER)
        count, length = int.from_bytes(footer[8:12], "big"), int.from_bytes(footer[12:], "big")
        if footer[:8] != b"custodyF" or count == 0:
            raise Damaged(self.name, "has no footer")
        begin = self.size - FOOTER - length
        return self.position(count - 1, begin, length, last=True), begin, count - 1

    def whole(self):
        """The one position of a point or bad mark."""
        return self.position(0, HEADER, self.size - HEADER, last=True)
