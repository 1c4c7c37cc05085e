"""How the next token is chosen from logits."""

import numpy as np
from numpy.typing import NDArray

from edge_assistant.runtime import Sampling


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax in double precision. Shape [vocab]."""
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    return shifted / shifted.sum()


def choose(logits: NDArray[np.float32], sampling: Sampling, random: np.random.Generator) -> tuple[int, float]:
    """A token and the model's own probability of it (temperature 1)."""
    own = probabilities(logits)
    if sampling.temperature <= 0:
        best = int(logits.argmax())
        return best, float(own[best])
    weights = probabilities(logits / np.float32(sampling.temperature))
    order = np.argsort(-weights, kind="stable")
    if sampling.top_k > 0:
        order = order[: sampling.top_k]
    if sampling.top_p < 1:
        reached = np.cumsum(weights[order]) / weights[order].sum()
        order = order[: int(np.searchsorted(reached, sampling.top_p)) + 1]
    kept = weights[order]
    chosen = int(order[random.choice(len(order), p=kept / kept.sum())])
    return chosen, float(own[chosen])
