"""Ways in which a sealed part may be damaged, and what a check must say of each."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from dpipe.catalog import seals
from dpipe.checks import store
from dpipe.storage import Objects


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes
    ----------
    do : callable
        Damages the part with this base, and returns the key that a check must name.
    says : str
        What the check says of it.
    modes : tuple of str
        In which modes it is found.
    opens : bool
        Whether the part can still be opened.
    pixels : bool
        Whether reading all pixels must fail.
    """

    do: Callable[[Objects, str], str]
    says: str
    modes: tuple[str, ...] = store.MODES
    opens: bool = True
    pixels: bool = False


def shards(objects: Objects, base: str) -> list[str]:
    """Return the keys of all objects of the part's pixels."""
    return [e.key for e in objects.list(f"{base}.") if "/0/image/c/" in e.key]


def flip(objects: Objects, key: str, place: float = 0.5) -> str:
    """Flip one bit; 0 is the first byte, 1 the last."""
    data = bytearray(objects.read(key))
    data[int(place * (len(data) - 1))] ^= 1
    objects.put(key, bytes(data))
    return key


def _delete_chunk(objects: Objects, base: str) -> str:
    key = shards(objects, base)[1]
    objects.delete(key)
    return key


def _truncate(objects: Objects, base: str) -> str:
    key = shards(objects, base)[-1]
    objects.put(key, objects.read(key)[:-7])
    return key


def _empty(objects: Objects, base: str) -> str:
    key = shards(objects, base)[0]
    objects.put(key, b"")
    return key


def _swap(objects: Objects, base: str) -> str:
    first, second = shards(objects, base)[:2]
    data = objects.read(first)
    objects.put(first, objects.read(second))
    objects.put(second, data)
    return first


def _extra(objects: Objects, base: str) -> str:
    key = f"{shards(objects, base)[0]}9"
    objects.put(key, b"stray")
    return key


def _delete(suffix: str) -> Callable[[Objects, str], str]:
    def do(objects: Objects, base: str) -> str:
        objects.delete(base + suffix)
        return base + suffix

    return do


def _flip(suffix: str) -> Callable[[Objects, str], str]:
    def do(objects: Objects, base: str) -> str:
        path = seals.read(objects, base)[0].path if suffix.startswith("/") else base
        return flip(objects, path + suffix)

    return do


def _flip_shard(place: float) -> Callable[[Objects, str], str]:
    return lambda objects, base: flip(objects, shards(objects, base)[0], place)


def _other_list(objects: Objects, base: str) -> str:
    """Make the list agree with a damaged object, as a clumsy forger would."""
    key = flip(objects, shards(objects, base)[0])
    listed = json.loads(objects.read(f"{base}.objects.json"))
    listed.pop(next(name for name in listed if key.endswith(name)))
    objects.put(f"{base}.objects.json", json.dumps(listed).encode())
    return f"{base}.objects.json"


def _other_seal(objects: Objects, base: str) -> str:
    """Put a seal that can be read, but is not the one that the version names."""
    sealed = seals.read(objects, base)[0]
    summary = sealed.summary | {"dtype": "float64"}
    objects.put(f"{base}.json", replace(sealed, summary=summary).to_bytes())
    return f"{base}.json"


def _torn_seal(objects: Objects, base: str) -> str:
    objects.put(f"{base}.json", objects.read(f"{base}.json")[:-100])
    return f"{base}.json"


_BYTES = ("bytes", "decode")

DAMAGES = {
    "deleted chunk": Damage(_delete_chunk, "the object is missing", pixels=True),
    "truncated shard": Damage(_truncate, "were sealed", pixels=True),
    "emptied shard": Damage(_empty, "0 bytes;", pixels=True),
    "flipped first bit": Damage(_flip_shard(0), "its bytes differ", _BYTES, pixels=True),
    "flipped bit": Damage(_flip_shard(0.5), "its bytes differ", _BYTES, pixels=True),
    "flipped last bit": Damage(_flip_shard(1), "its bytes differ", _BYTES, pixels=True),
    "swapped shards": Damage(_swap, "", _BYTES),
    "extra object": Damage(_extra, "is not part of what was sealed"),
    "flipped bit in metadata": Damage(_flip("/zarr.json"), "its bytes differ", _BYTES),
    "flipped bit in a coordinate": Damage(_flip("/0/t/c/0"), "its bytes differ", _BYTES),
    "missing seal": Damage(_delete(".json"), "the seal is missing", opens=False),
    "torn seal": Damage(_torn_seal, "the seal is damaged", opens=False),
    "another seal": Damage(_other_seal, "not the one that the version names", opens=False),
    "missing list of objects": Damage(_delete(".objects.json"), "list of objects is missing"),
    "damaged list of objects": Damage(_flip(".objects.json"), "not the one that was sealed"),
    "forged list of objects": Damage(_other_list, "not the one that was sealed", pixels=True),
}
