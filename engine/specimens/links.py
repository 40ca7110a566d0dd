"""What tokens of a context must know of others so that answers two steps away can be found: targets for probes that only training has.

Who looks for what `sum` returns cannot find the line by the name, which does not stand in it: the tokens of that line must already carry the name of
the function around them. A comment and a path stand above the name and cannot know it, so there the definition must carry how they begin. Answers
alone teach these steps slowly, a few of a pack; here every such line teaches them. Alain and Bengio 2016 call such readings linear probes; trained
together with the model, they are a loss on states in the middle of it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Which token a probe reads: of the name around a line; of the words of the comment above a name; of the path of the file a name is defined in.
SLOTS = ["nameFirst", "nameLast", "comment1", "comment2", "comment3", "path1", "stem1", "stem2"]
NAME, COMMENT, PATH = SLOTS.index("nameFirst"), SLOTS.index("comment1"), SLOTS.index("path1")
LINE_TOKENS = 12  # of an answer that know their name
NAME_TOKENS = 6  # from the end of a defined name on, that know what is above
PER_SLOT = 128  # of a batch


class Link(NamedTuple):
    position: int
    slot: int
    token: int


def named_line(start: int, ids: list[int], indent: int, name: list[int]) -> list[Link]:
    """Links of a line at token `start` whose tokens (the first `indent` are blank) stand in a definition of `name`."""
    reach = range(start + indent, start + min(len(ids), indent + LINE_TOKENS))
    return [link for at in reach for link in (Link(at, NAME, name[0]), Link(at, NAME + 1, name[-1]))]


def known_above(start: int, ids: list[int], name: list[int], slot: int, tokens: list[int]) -> list[Link]:
    """Links of a line at token `start` that defines `name`: from the end of the name on, it knows `tokens`, in slots from `slot` on."""
    for at in range(len(ids) - len(name) + 1):
        if ids[at : at + len(name)] == name:
            end = at + len(name) - 1
            reach = range(start + end, start + min(len(ids), end + NAME_TOKENS))
            return [Link(at, slot + index, token) for at in reach for index, token in enumerate(tokens)]
    return []


class Probes(nn.Module):
    """One matrix for every slot, read through the model's own table."""

    def __init__(self, width: int):
        super().__init__()
        self.slots = nn.Parameter(torch.randn(len(SLOTS), width, width) / width**0.5)

    def forward(self, states: Tensor, links: Tensor, table: Tensor) -> tuple[Tensor, dict[str, float]]:
        """states [N, E] of the middle of the model, links [L, 3] of (row of states, slot, token), table [V, E]: mean loss, and accuracy of the slots that have links."""
        losses, right = [], {}
        for slot, matrix in enumerate(self.slots):
            chosen = links[links[:, 1] == slot][:PER_SLOT]
            if len(chosen) == 0:
                continue
            read = F.rms_norm(states[chosen[:, 0]], states.shape[-1:]) @ matrix.to(states.dtype)
            logits = F.linear(read, table.to(states.dtype)).float()
            losses.append(F.cross_entropy(logits, chosen[:, 2]))
            right[SLOTS[slot]] = round(float((logits.argmax(-1) == chosen[:, 2]).float().mean()), 2)
        return (torch.stack(losses).mean() if losses else states.new_zeros(())), right
