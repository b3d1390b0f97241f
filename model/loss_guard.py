"""What a step's loss says about its batch: whether it stands out from those before it, and what the batch was made of.

Batches are a function of the step, so a sample that is named here can be read again and looked at; so can a document,
in its repository.
"""

import heapq
import statistics
from collections import Counter, deque

from model.batches import TrainBatches
from model.document_index import Document, Origin

WINDOW_STEPS = 64
LEAST_STEPS = 16
"""Before so many there is nothing to compare with."""
DEVIATIONS = 6.0
LEAST_RISE_NATS = 0.1
"""No spike below it, however quiet the steps before were."""
NAMED_DOCUMENTS = 8
"""So many documents of a batch are told by name; a sentence with more is not read."""
_NAME_CHARS = 160


class SpikeGuard:
    """Compares each loss with those of the steps before it: spikes are what diverging runs begin with.

    PaLM (arXiv 2204.02311, section 5.1) saw some twenty and went on from before them without their batches.
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW_STEPS)

    def usual_before(self, loss: float) -> float | None:
        """The mean of the steps before if `loss` is a spike above it, else None; `loss` then counts as one of them."""
        usual: float | None = None
        if len(self._losses) >= LEAST_STEPS:
            mean = statistics.fmean(self._losses)
            rise = max(DEVIATIONS * statistics.pstdev(self._losses, mean), LEAST_RISE_NATS)
            usual = mean if loss > mean + rise else None
        self._losses.append(loss)
        return usual


def describe_batch(batches: TrainBatches, step: int, batch_size: int) -> str:
    """What an optimizer step (from 1) read: its samples, how many of each source, and the largest of their documents.

    It never fails: if the documents cannot be told, it says why.
    """
    numbers = range((step - 1) * batch_size, step * batch_size)
    sources = Counter(batches.window_of(number)[0] for number in numbers)
    told = ", ".join(f"{name} {count}" for name, count in sorted(sources.items()))
    samples = f"samples {numbers[0]} to {numbers[-1]} ({told})"
    try:
        return f"{samples}, which read {_told(_documents(batches, numbers))}"
    except Exception as error:  # noqa: BLE001 - whatever an index holds, it is no reason to end a training
        return f"{samples}, whose documents cannot be told: {error}"


def _documents(batches: TrainBatches, numbers: range) -> Counter[tuple[str, Document]]:
    """How many tokens of each document the samples read; a document counts once for its source."""
    tokens: Counter[tuple[str, Document]] = Counter()
    for number in sorted(numbers, key=batches.window_of):  # neighbours lie in one row group of the index
        source, _ = batches.window_of(number)
        for document, held in batches.documents_of(number):
            tokens[source, document] += held
    return tokens


def _told(tokens: Counter[tuple[str, Document]]) -> str:
    named = heapq.nsmallest(NAMED_DOCUMENTS, tokens, key=lambda key: (-tokens[key], key[0], key[1].start))
    parts = [f"{_name(document.origin)} ({tokens[source, document]} tokens)" for source, document in named]
    rest = tokens.keys() - named
    if rest:
        repositories = {document.origin.repository for _, document in rest}
        documents, of = _counted(len(rest), "more document"), _counted(len(repositories), "repository")
        parts.append(f"{documents} of {of}")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _counted(count: int, what: str) -> str:
    plural = f"{what.removesuffix('y')}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else plural}"


def _name(origin: Origin) -> str:
    """`repository:path` for a line of a terminal: a corpus names its files as it likes."""
    name = f"{origin.repository}:{origin.path}" if origin.path else origin.repository
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    if len(shown) > _NAME_CHARS:
        shown = f"{shown[: _NAME_CHARS // 2]}...{shown[-_NAME_CHARS // 2 :]}"
    return f"{shown} and {_counted(origin.files - 1, 'more file')}" if origin.files > 1 else shown
