"""The normalisation table of sentencepiece ('Precompiled' in tokenizer.json), built from a mapping of texts."""

import struct


def charsmap(mapping):
    """A sentencepiece charsmap: bytes of the trie (u32), a double-array trie (darts-clone), texts that end in NUL."""
    texts, offsets, trie = bytearray(), {}, {}
    for key, text in sorted(mapping.items()):
        if text not in offsets:
            offsets[text] = len(texts)
            texts += text.encode() + b"\0"
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = offsets[text]
    units, used, bases, pending = {0: 0}, {0}, set(), [(0, trie)]
    while pending:
        at, node = pending.pop()
        base = next(b for b in range(1, 1 << 21) if (b ^ at) < 1 << 21 and b not in bases and
                    not any(b ^ label in used for label in node))
        bases.add(base)
        units[at] |= (base ^ at) << 10 | (1 << 8 if 0 in node else 0)
        for label, child in node.items():
            used.add(base ^ label)
            if label == 0:
                units[base] = 1 << 31 | child
            else:
                units[base ^ label] = label
                pending.append((base ^ label, child))
    array = b"".join(struct.pack("<I", units.get(i, 0)) for i in range((max(units) | 255) + 1))
    return struct.pack("<I", len(array)) + array + bytes(texts)
