"""Names of the surgeries, and how those of a network are replayed, packed for the disk and unpacked.

A surgery changes a network's structure and leaves `{"kind": name, **record}`, plain JSON-able values, at the end of
`network.surgeries`. Loading creates the network by name and config, replays its records in order, and only then puts
the tensors in; so nothing is pickled, and no code comes out of a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from leadline.errors import UserError, unknown_name
from leadline.models import Network
from leadline.surgeries.bundle import bundle, unbundle

Record = dict[str, Any]
Tensors = dict[str, Tensor]
_SURGERIES: dict[str, Surgery] = {}


@dataclass(frozen=True)
class Surgery:
    """A kind of surgery.

    Args:
        replay: `replay(network, **record) -> network` gives a network, whose weights are still those of its creation,
            the structure that the record tells of.
        pack: `pack(network, record, tensors) -> tensors` writes what the surgery made small in few bytes (several
            weights to a byte, indices, zeros left out). None: tensors are stored as they are.
        unpack: takes `pack` back, bit by bit, for a network that has been replayed.
        bundle: whether a file with it is stored as one entropy-coded block (see `bundle.py`).
    """

    replay: Callable[..., Network]
    pack: Callable[[Network, Record, Tensors], Tensors] | None = None
    unpack: Callable[[Network, Record, Tensors], Tensors] | None = None
    bundle: bool = False


def add_surgery(kind: str, surgery: Surgery) -> None:
    """Gives a surgery the name under which checkpoints know it."""
    _SURGERIES[kind] = surgery


def replay(network: Network, records: list[Record], where: str) -> Network:
    """Does again what the records tell of, in order. `where` begins the message of an error.

    Raises:
        UserError: an unknown kind, or a record that does not fit the network.
    """
    for record in records:
        surgery = _surgery(record, where)
        try:
            network = surgery.replay(network, **{key: value for key, value in record.items() if key != "kind"})
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise UserError(f"{where}: its surgery {record['kind']!r} does not fit the network ({error})") from error
    network.surgeries = records
    return network


def pack(network: Network, tensors: Tensors) -> Tensors:
    """The tensors of a network as they are stored."""
    records = getattr(network, "surgeries", [])
    for record in records:
        surgery = _surgery(record, network.name)
        if surgery.pack is not None:
            tensors = surgery.pack(network, record, tensors)
    is_bundled = any(_surgery(record, network.name).bundle for record in records)
    is_bundled &= all(record.get("coding") != "plain" for record in records)
    return bundle(tensors) if is_bundled else tensors


def unpack(network: Network, tensors: Tensors, where: str) -> Tensors:
    """The tensors of a network from what is stored.

    Raises:
        UserError: stored tensors that cannot be unpacked.
    """
    try:
        tensors = unbundle(tensors)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise UserError(f"{where}: its tensors are damaged: copy it again") from error
    for record in reversed(network.surgeries):
        surgery = _surgery(record, where)
        if surgery.unpack is not None:
            try:
                tensors = surgery.unpack(network, record, tensors)
            except (KeyError, IndexError, ValueError, RuntimeError) as error:
                raise UserError(f"{where}: what {record['kind']!r} packed is damaged: copy it again") from error
    return tensors


def _surgery(record: Record, where: str) -> Surgery:
    kind = record.get("kind")
    if kind not in _SURGERIES:
        raise unknown_name(f"surgery in {where}", str(kind), list(_SURGERIES))
    return _SURGERIES[kind]
