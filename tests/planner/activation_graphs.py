"""Buffers of made-up neural networks: (start, end, bytes), with the character of real graphs."""

import random

Lives = list[tuple[int, int, int]]


def transformer_training(seed: int, blocks: int) -> Lives:
    """Transformer blocks, forward and backward: what is saved dies in mirror order.

    Weights and two states of the optimiser live always, gradients of weights to the end, and
    short-lived work space lies between.
    """
    chance = random.Random(seed)
    hidden = chance.choice([768, 1024, 2048, 2560])
    length, heads, batch = (
        chance.choice([512, 1024]),
        chance.choice([16, 32]),
        chance.choice([1, 2]),
    )
    tokens, scores = 2 * length * batch * hidden, 2 * length * length * heads * batch
    block = [
        (tokens, True, 0),  # normalised input
        (3 * tokens, True, 3 * hidden * hidden),  # queries, keys, values
        (scores, False, 0),
        (scores, True, 0),  # softmax
        (scores, True, 0),  # dropout
        (tokens, True, hidden * hidden),
        (tokens, False, 0),
        (tokens, True, 0),  # residual link
        (4 * tokens, True, 4 * hidden * hidden),
        (4 * tokens, True, 4 * hidden * hidden),
        (tokens, True, 0),
    ]
    found: Lives = []
    saved: list[tuple[int, int, int]] = []
    weights: list[tuple[int, int]] = []
    time = 0
    for _ in range(blocks):
        for size, is_saved, weight in block:
            if is_saved:
                saved.append((time, size, weight))
            else:
                found.append((time, time + chance.randint(2, 4), size))
            if is_saved and chance.random() < 0.5:
                saved.append((time, max(512, size // hidden), 0))
            for _ in range(chance.randint(0, 3)):
                scratch = chance.choice([512, 4096, size // 16, size // 4])
                found.append((time, time + chance.randint(1, 3), scratch))
            time += 1
    for born, size, weight in reversed(saved):
        found.append((born, time + chance.randint(1, 3), size))
        found.append((time, time + chance.randint(2, 5), size))
        for _ in range(chance.randint(0, 2)):
            found.append((time, time + chance.randint(1, 3), chance.choice([512, size // 16])))
        if weight:
            weights.append((time, 2 * weight))
        time += 1
    end = time + 8
    for born, size in weights:
        found += [(born, end, size), (0, end, size), (0, end, 2 * size)]
    return found


def residual_chain(seed: int, layers: int) -> Lives:
    """A long chain of layers of which some are read again far below, with work space."""
    chance = random.Random(seed)
    size = chance.choice([1 << 20, 3 << 20])
    found: Lives = []
    for layer in range(layers):
        if chance.random() < 0.02:
            size = max(4096, size // 2 if chance.random() < 0.6 else size * 2)
        reach = 1 if chance.random() < 0.7 else chance.randint(2, 60)
        if chance.random() < 0.03:
            reach = chance.randint(60, max(61, layers // 3))
        wide = chance.choice([1, 1, 1, 2, 3, 4]) * size + chance.choice([0, 64, 4096])
        found.append((2 * layer, 2 * layer + 2 * reach + 1, wide))
        if chance.random() < 0.8:
            scratch = chance.choice([size // 9, size * 9 // 4, chance.randint(1, 1 << 20)])
            found.append((2 * layer, 2 * layer + 1, scratch))
        end = 2 * layer + 1 + chance.randint(1, 6)
        found.append((2 * layer + 1, end, chance.choice([256, 1024, size // 8])))
    return found


def fan_out(seed: int, nodes: int) -> Lives:
    """Tensors read all over the rest of a wide graph, with sizes over seven decades."""
    chance = random.Random(seed)
    found: Lives = []
    for node in range(nodes):
        life = 1 + int(chance.expovariate(1) * chance.choice([3, 30, 300, nodes / 8]))
        if chance.random() < 0.5:
            size = int(64 * 10 ** (chance.random() * 6))
        else:
            size = 1 << chance.randint(6, 24)
        found.append((node, min(nodes + 1, node + life), size))
    return found


def chain(seed: int, nodes: int) -> Lives:
    """One layer after the other: what each makes is read by the next only, beside work space."""
    chance = random.Random(seed)
    found: Lives = []
    while len(found) < nodes:
        time = 2 * len(found)
        found.append((time, time + 4, _tensor(chance)))
        if chance.random() < 0.5:
            found.append((time + 1, time + 2, _tensor(chance)))
    return found


def fan_in(seed: int, nodes: int) -> Lives:
    """Many producers, each kept for a consumer far behind: `fan_out` with time reversed."""
    return [(nodes + 1 - end, nodes + 1 - start, size) for start, end, size in fan_out(seed, nodes)]


def random_graph(seed: int, nodes: int) -> Lives:
    """Every node reads a few earlier ones, near ones more often than those far away."""
    chance = random.Random(seed)
    last = [node + 1 for node in range(nodes)]
    for node in range(1, nodes):
        for _ in range(chance.randint(1, 4)):
            reach = int(2 ** (chance.random() * node.bit_length()))
            source = max(0, node - reach)
            last[source] = max(last[source], node + 1)
    return [(node, last[node], _tensor(chance)) for node in range(nodes)]


def layered(seed: int, nodes: int) -> Lives:
    """Layers of many tensors, each read somewhere in the next layer, a few by the one after."""
    chance = random.Random(seed)
    found: Lives = []
    begin = 0
    width = chance.randint(4, 60)
    while len(found) < nodes:
        following = chance.randint(4, 60)
        for place in range(width):
            reach = chance.randint(0, following)
            if chance.random() < 0.1:
                reach += following
            found.append((begin + place, begin + width + reach + 1, _tensor(chance)))
        begin += width
        width = following
    return found


def _tensor(chance: random.Random) -> int:
    """Bytes of a tensor: some decades wide, half of them powers of two."""
    if chance.random() < 0.5:
        return int(512 * 10 ** (chance.random() * 5))
    return 1 << chance.randint(9, 25)
