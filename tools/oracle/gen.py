"""Counter-based numbers that C and Python make alike (C side: tests/model/gen.h; definition: README.md, "Generator")."""
import numpy as np

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
GOLDEN, MIX1, MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
CHUNK = 1 << 18  # elements mixed at a time: the temporaries stay in cache


def name_hash(name):
    """FNV-1a, 64 bits, over the UTF-8 bytes of the name."""
    h = FNV_OFFSET
    for b in name.encode():
        h = ((h ^ b) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return h


def _mix(z):
    """splitmix64's output function, in place."""
    t = z >> np.uint64(30)
    z ^= t
    z *= MIX1
    np.right_shift(z, np.uint64(27), out=t)
    z ^= t
    z *= MIX2
    np.right_shift(z, np.uint64(31), out=t)
    z ^= t
    return z


def uniform(name, shape, scale=1.0, offset=0.0, start=0):
    """float32 array: offset + scale * u, u = element `start` and following of the stream `name`, in [-1, 1)."""
    n = int(np.prod(shape, dtype=np.int64))
    out = np.empty(n, np.float32)
    base = np.uint64(name_hash(name))
    scale, offset = np.float32(scale), np.float32(offset)
    with np.errstate(over='ignore'):
        for a in range(0, n, CHUNK):
            b = min(a + CHUNK, n)
            z = np.arange(start + a + 1, start + b + 1, dtype=np.uint64)
            z *= GOLDEN
            z += base
            u = (_mix(z) >> np.uint64(40)).astype(np.float32)  # 24 bits: exact
            u -= np.float32(1 << 23)
            u *= np.float32(2.0**-23)  # exact, in [-1, 1)
            u *= scale
            if offset:
                u += offset
            out[a:b] = u
    return out.reshape(shape)


def bf16_bits(x):
    """float32 -> bfloat16 bit patterns (uint16), round to nearest even; finite input."""
    b = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((b + np.uint32(0x7FFF) + ((b >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def bf16_round(x):
    """float32 -> the nearest bfloat16 value, as float32."""
    return (bf16_bits(x).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(np.shape(x))


def sample_index(n, count):
    """The `count` places (of n) that a strided golden keeps: k * 2654435761 mod n."""
    return (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(n)).astype(np.int64)
