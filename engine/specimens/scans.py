"""The recurrences of Mamba (arXiv 2312.00752) and RWKV-7 (arXiv 2503.14456) for the CPU, compiled by Numba, with gradients.

Both walk the tokens one by one with the state in the first-level cache, instead of writing a state per token to memory as
tensor operations would. The backward pass starts from states kept every `STRIDE` tokens and repeats the tokens between.
In the innermost loops the neighbouring numbers are channels of one token, so that they compile to vector instructions.

Shapes: B batch, T tokens, I inner channels, N states of a channel, H heads, P width of a head. Everything is float32.
"""

import math

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import float32, int32, njit, prange
from numba.extending import intrinsic
from torch import Tensor

STRIDE = 16
LANES = 32  # channels that one task of the selective scan walks together; divides I

jit = njit(parallel=True, fastmath=True, error_model="numpy", cache=True)


def set_threads(count: int) -> None:
    """Threads of the scans; at most those that Numba started with."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


@intrinsic
def float_of_bits(_context, bits):
    """The float32 whose bit pattern is this int32."""

    def generate(_typing, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return float32(int32), generate


@njit(fastmath=True, inline="always")
def exp(x):
    """e^x in float32 for x <= 80 with a relative error below 3e-7: 2^n times a polynomial in the fraction, which vectorises."""
    scaled = max(x, np.float32(-87.0)) * np.float32(1.44269504)
    whole = np.floor(scaled + np.float32(0.5))
    f = scaled - whole
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1.0)
    return p * float_of_bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@jit
def selective_forward(u, dt, a, b, c, start):
    """u, dt [B, T, I]; a [N, I] below 0; b, c [B, T, N]; start [B, N, I] -> y [B, T, I], kept states [B, ceil(T / STRIDE), N, I], last [B, N, I].

    h[n, i] <- exp(dt a[n, i]) h[n, i] + dt u b[n]; y = sum over n of h[n, i] c[n].
    """
    batch, length, inner = u.shape
    size = a.shape[0]
    blocks = inner // LANES
    y = np.empty((batch, length, inner), np.float32)
    kept = np.empty((batch, (length + STRIDE - 1) // STRIDE, size, inner), np.float32)
    last = np.empty((batch, size, inner), np.float32)
    for task in prange(batch * blocks):
        row, first = task // blocks, (task % blocks) * LANES
        h = np.empty((size, LANES), np.float32)
        rates = np.empty((size, LANES), np.float32)
        for n in range(size):
            for i in range(LANES):
                h[n, i] = start[row, n, first + i]
                rates[n, i] = a[n, first + i]
        total, step, push = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
        for t in range(length):
            if t % STRIDE == 0:
                for n in range(size):
                    for i in range(LANES):
                        kept[row, t // STRIDE, n, first + i] = h[n, i]
            for i in range(LANES):
                total[i] = 0.0
                step[i] = dt[row, t, first + i]
                push[i] = step[i] * u[row, t, first + i]
            for n in range(size):
                bn, cn = b[row, t, n], c[row, t, n]
                for i in range(LANES):
                    h[n, i] = exp(step[i] * rates[n, i]) * h[n, i] + push[i] * bn
                    total[i] += h[n, i] * cn
            for i in range(LANES):
                y[row, t, first + i] = total[i]
        for n in range(size):
            for i in range(LANES):
                last[row, n, first + i] = h[n, i]
    return y, kept, last


@jit
def selective_backward(dy, u, dt, a, b, c, kept):
    """Gradients of `selective_forward` for dy [B, T, I]: du, ddt [B, T, I], da [B, N, I] per row, db, dc [B, blocks, T, N] per block."""
    batch, length, inner = u.shape
    size = a.shape[0]
    blocks = inner // LANES
    du, ddt = np.empty((batch, length, inner), np.float32), np.empty((batch, length, inner), np.float32)
    da = np.empty((batch, size, inner), np.float32)
    db, dc = np.empty((batch, blocks, length, size), np.float32), np.empty((batch, blocks, length, size), np.float32)
    for task in prange(batch * blocks):
        row, block = task // blocks, task % blocks
        first = block * LANES
        rates, dh, grad_a = np.empty((size, LANES), np.float32), np.zeros((size, LANES), np.float32), np.zeros((size, LANES), np.float32)
        states, decays = np.empty((STRIDE + 1, size, LANES), np.float32), np.empty((STRIDE, size, LANES), np.float32)
        step, push, out = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
        grad_step, grad_push = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
        for n in range(size):
            for i in range(LANES):
                rates[n, i] = a[n, first + i]
        for chunk in range((length + STRIDE - 1) // STRIDE - 1, -1, -1):
            origin = chunk * STRIDE
            count = min(STRIDE, length - origin)
            for n in range(size):
                for i in range(LANES):
                    states[0, n, i] = kept[row, chunk, n, first + i]
            for s in range(count):
                t = origin + s
                for i in range(LANES):
                    step[i] = dt[row, t, first + i]
                    push[i] = step[i] * u[row, t, first + i]
                for n in range(size):
                    bn = b[row, t, n]
                    for i in range(LANES):
                        decays[s, n, i] = exp(step[i] * rates[n, i])
                        states[s + 1, n, i] = decays[s, n, i] * states[s, n, i] + push[i] * bn
            for s in range(count - 1, -1, -1):
                t = origin + s
                for i in range(LANES):
                    step[i] = dt[row, t, first + i]
                    push[i] = step[i] * u[row, t, first + i]
                    out[i] = dy[row, t, first + i]
                    grad_step[i] = 0.0
                    grad_push[i] = 0.0
                for n in range(size):
                    bn, cn = b[row, t, n], c[row, t, n]
                    grad_b, grad_c = np.float32(0.0), np.float32(0.0)
                    for i in range(LANES):
                        grad = dh[n, i] + out[i] * cn
                        grad_c += out[i] * states[s + 1, n, i]
                        grad_b += grad * push[i]
                        grad_push[i] += grad * bn
                        scaled = grad * states[s, n, i] * decays[s, n, i]
                        grad_step[i] += scaled * rates[n, i]
                        grad_a[n, i] += scaled * step[i]
                        dh[n, i] = grad * decays[s, n, i]
                    db[row, block, t, n] = grad_b
                    dc[row, block, t, n] = grad_c
                for i in range(LANES):
                    du[row, t, first + i] = grad_push[i] * step[i]
                    ddt[row, t, first + i] = grad_step[i] + grad_push[i] * u[row, t, first + i]
        for n in range(size):
            for i in range(LANES):
                da[row, n, first + i] = grad_a[n, i]
    return du, ddt, da, db, dc


@jit
def wkv_forward(r, w, k, v, q, a, start):
    """All of r, w, k, v, q (the removal key), a [B, T, H, P]; start [B, H, P keys, P values] -> y [B, T, H, P], kept states, last state.

    With S[j, i] for key channel j and value channel i: S <- w_j S + k_j v_i - q_j a_j (sum over l of S[l, i] q_l); y_i = sum over j of S[j, i] r_j.
    """
    batch, length, heads, width = r.shape
    y = np.empty((batch, length, heads, width), np.float32)
    kept = np.empty((batch, heads, (length + STRIDE - 1) // STRIDE, width, width), np.float32)
    last = np.empty((batch, heads, width, width), np.float32)
    for task in prange(batch * heads):
        row, head = task // heads, task % heads
        state = np.empty((width, width), np.float32)
        removed, total, value = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
        for j in range(width):
            for i in range(width):
                state[j, i] = start[row, head, j, i]
        for t in range(length):
            if t % STRIDE == 0:
                for j in range(width):
                    for i in range(width):
                        kept[row, head, t // STRIDE, j, i] = state[j, i]
            for i in range(width):
                removed[i] = 0.0
                total[i] = 0.0
                value[i] = v[row, t, head, i]
            for j in range(width):
                qj = q[row, t, head, j]
                for i in range(width):
                    removed[i] += state[j, i] * qj
            for j in range(width):
                wj, kj, rj = w[row, t, head, j], k[row, t, head, j], r[row, t, head, j]
                dj = q[row, t, head, j] * a[row, t, head, j]
                for i in range(width):
                    state[j, i] = state[j, i] * wj + value[i] * kj - removed[i] * dj
                    total[i] += state[j, i] * rj
            for i in range(width):
                y[row, t, head, i] = total[i]
        for j in range(width):
            for i in range(width):
                last[row, head, j, i] = state[j, i]
    return y, kept, last


@jit
def wkv_backward(dy, r, w, k, v, q, a, kept):
    """Gradients of `wkv_forward` for dy [B, T, H, P], in the order of its arguments, each [B, T, H, P]."""
    batch, length, heads, width = r.shape
    shape = (batch, length, heads, width)
    dr, dw, dk = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    dv, dq, da = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    for task in prange(batch * heads):
        row, head = task // heads, task % heads
        states, removals = np.empty((STRIDE + 1, width, width), np.float32), np.empty((STRIDE, width), np.float32)
        grad = np.zeros((width, width), np.float32)
        out, value, grad_value, grad_removed = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
        for chunk in range((length + STRIDE - 1) // STRIDE - 1, -1, -1):
            origin = chunk * STRIDE
            count = min(STRIDE, length - origin)
            for j in range(width):
                for i in range(width):
                    states[0, j, i] = kept[row, head, chunk, j, i]
            for s in range(count):
                t = origin + s
                for i in range(width):
                    removals[s, i] = 0.0
                    value[i] = v[row, t, head, i]
                for j in range(width):
                    qj = q[row, t, head, j]
                    for i in range(width):
                        removals[s, i] += states[s, j, i] * qj
                for j in range(width):
                    wj, kj, dj = w[row, t, head, j], k[row, t, head, j], q[row, t, head, j] * a[row, t, head, j]
                    for i in range(width):
                        states[s + 1, j, i] = states[s, j, i] * wj + value[i] * kj - removals[s, i] * dj
            for s in range(count - 1, -1, -1):
                t = origin + s
                for i in range(width):
                    out[i] = dy[row, t, head, i]
                    value[i] = v[row, t, head, i]
                    grad_value[i] = 0.0
                    grad_removed[i] = 0.0
                for j in range(width):
                    rj, kj, dj = r[row, t, head, j], k[row, t, head, j], q[row, t, head, j] * a[row, t, head, j]
                    gr, gk, gw, gd = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
                    for i in range(width):
                        gr += out[i] * states[s + 1, j, i]
                        g = grad[j, i] + out[i] * rj
                        gk += g * value[i]
                        gw += g * states[s, j, i]
                        gd += g * removals[s, i]
                        grad_value[i] += g * kj
                        grad_removed[i] -= g * dj
                        grad[j, i] = g
                    dr[row, t, head, j] = gr
                    dk[row, t, head, j] = gk
                    dw[row, t, head, j] = gw
                    dq[row, t, head, j] = -gd * a[row, t, head, j]
                    da[row, t, head, j] = -gd * q[row, t, head, j]
                for j in range(width):
                    wj, qj = w[row, t, head, j], q[row, t, head, j]
                    gq = np.float32(0.0)
                    for i in range(width):
                        gq += grad_removed[i] * states[s, j, i]
                        grad[j, i] = grad[j, i] * wj + grad_removed[i] * qj
                    dq[row, t, head, j] += gq
                for i in range(width):
                    dv[row, t, head, i] = grad_value[i]
    return dr, dw, dk, dv, dq, da


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def tensors(*results: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(result) for result in results]


def chunks_of(length: int) -> int:
    return math.ceil(length / STRIDE)


@torch.library.custom_op("specimens::selective_scan", mutates_args=())
def selective_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, start: Tensor) -> list[Tensor]:
    """The operation of `selective_forward`; gradients reach everything but the start."""
    return tensors(*selective_forward(*arrays(u, dt, a, b, c, start)))


@selective_scan.register_fake
def _(u, dt, a, b, c, start):
    batch, length, inner = u.shape
    return [torch.empty_like(u), u.new_empty(batch, chunks_of(length), a.shape[0], inner), torch.empty_like(start)]


@torch.library.custom_op("specimens::selective_scan_gradients", mutates_args=())
def selective_scan_gradients(dy: Tensor, u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, kept: Tensor) -> list[Tensor]:
    du, ddt, da, db, dc = tensors(*selective_backward(*arrays(dy, u, dt, a, b, c, kept)))
    return [du, ddt, da.sum(0), db.sum(1), dc.sum(1)]


@selective_scan_gradients.register_fake
def _(dy, u, dt, a, b, c, kept):
    return [torch.empty_like(tensor) for tensor in (u, dt, a, b, c)]


def keep_selective(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:5], output[1])


def selective_gradient(ctx, grads):
    return *selective_scan_gradients(grads[0], *ctx.saved_tensors), None


selective_scan.register_autograd(selective_gradient, setup_context=keep_selective)


@torch.library.custom_op("specimens::wkv", mutates_args=())
def wkv(r: Tensor, w: Tensor, k: Tensor, v: Tensor, q: Tensor, a: Tensor, start: Tensor) -> list[Tensor]:
    """The operation of `wkv_forward`; gradients reach everything but the start."""
    return tensors(*wkv_forward(*arrays(r, w, k, v, q, a, start)))


@wkv.register_fake
def _(r, w, k, v, q, a, start):
    batch, length, heads, width = r.shape
    return [torch.empty_like(r), r.new_empty(batch, heads, chunks_of(length), width, width), torch.empty_like(start)]


@torch.library.custom_op("specimens::wkv_gradients", mutates_args=())
def wkv_gradients(dy: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, q: Tensor, a: Tensor, kept: Tensor) -> list[Tensor]:
    return tensors(*wkv_backward(*arrays(dy, r, w, k, v, q, a, kept)))


@wkv_gradients.register_fake
def _(dy, r, w, k, v, q, a, kept):
    return [torch.empty_like(r) for _ in range(6)]


def keep_wkv(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:6], output[1])


def wkv_gradient(ctx, grads):
    return *wkv_gradients(grads[0], *ctx.saved_tensors), None


wkv.register_autograd(wkv_gradient, setup_context=keep_wkv)
