"""Blocks of random bytes of every ggml format that the engine reads, with the values that the gguf package gives for them.

    pip install gguf==0.19.0 numpy==2.4.6
    python test/golden/make/gguf_blocks.py > test/golden/gguf_blocks.json

Bytes are random; the f16 scales of the first blocks are zero, minus zero, the smallest subnormal, the largest number and infinity.
Both are base64: `bytes` as in a file, `values` as little-endian f32.
"""

import base64
import json

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Place of every f16 in a block.
SCALES = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "MXFP4": [],
}
EDGES = [0x0000, 0x8000, 0x0001, 0x7BFF, 0x7C00]
MXFP4_EXPONENTS = [0, 1, 2, 127, 128, 254, 255]

rng = np.random.default_rng(20250)
formats = {}
for name, places in SCALES.items():
    kind = GGMLQuantizationType[name]
    numbers, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (len(EDGES) + 3, size), dtype=np.uint8)
    for index, block in enumerate(blocks):
        for place in places:
            # Scales of a real file are finite; a random exponent of all ones would make most blocks NaN.
            half = EDGES[index] if index < len(EDGES) else int(rng.integers(0, 0x7000)) | int(rng.integers(0, 2)) << 15
            block[place : place + 2] = [half & 255, half >> 8]
        if name == "MXFP4" and index < len(MXFP4_EXPONENTS):
            block[0] = MXFP4_EXPONENTS[index]
    with np.errstate(all="ignore"):
        values = dequantize(blocks, kind).astype("<f4")
    assert values.shape == (len(blocks), numbers)
    formats[name.lower()] = {
        "bytes": base64.b64encode(blocks.tobytes()).decode(),
        "values": base64.b64encode(values.tobytes()).decode(),
    }
print(json.dumps({"gguf": "0.19.0", "formats": formats}, indent=1))
