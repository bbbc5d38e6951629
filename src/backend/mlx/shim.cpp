// Every call into MLX. Functions with C linkage catch all exceptions; the rest throw them.
#include "backend/mlx/mlx.h"

#include <mlx/mlx.h>
#include <mlx/primitives.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "backend/mlx/ledger.hpp"

extern "C" {
#include "base/half.h"
#include "base/mem.h"
#include "base/pages.h"
#include "tensor/convert.h"
}

namespace mx = mlx::core;
using mx::array;
using std::optional;

namespace {

// What a buffer's handle points to.
struct Slot {
    optional<array> a;    // its type is the stored one of the tensors in it, or uint8 as uploaded
    optional<array> conv; // of a mapped weight: channels last, made at its first convolution
    const void *mapped = nullptr;
    Ledger::Hold hold, conv_hold;           // of a dry device: the memory that they would take
    bool in_place = false;                  // `a` is the mapped memory itself
    Slot *next = nullptr, **link = nullptr; // in the list of slots to evaluate; link null: in none
};

// A failure with a status of its own.
struct Refused : std::runtime_error {
    wan_status code;
    Refused(wan_status code, const std::string &text) : std::runtime_error(text), code(code) {}
};

} // namespace

struct wn_mlx_state {
    mx::Stream stream;
    bool gpu, fast, compiled;       // as in wn_mlx
    size_t limit;                   // bytes that arrays may take
    std::unique_ptr<Ledger> ledger; // of a dry device, which evaluates nothing
    std::unordered_map<unsigned, std::function<std::vector<array>(const std::vector<array> &)>> chains;
    Slot *pending = nullptr;
    int n_ops = 0; // recorded since the last evaluation
    int64_t n_evaluations = 0;
    const char *last_op = "nothing"; // recorded
    array f8[2];                     // [256] float32: values of E4M3 and E5M2 bytes
};

namespace {

using State = wn_mlx_state;

enum { MOST_OPS = 256 };                  // recorded before an evaluation comes without being asked for
const size_t most_idle = size_t{2} << 30; // bytes of freed memory that MLX keeps for later, at most

State &state_of(wn_device *dev)
{
    return *reinterpret_cast<wn_mlx *>(dev)->state;
}

Slot &slot_of(const wn_buf *buf)
{
    return *static_cast<Slot *>(buf->handle);
}

void unlink_slot(Slot &slot)
{
    if (!slot.link) return;
    *slot.link = slot.next;
    if (slot.next) slot.next->link = slot.link;
    slot.link = nullptr;
    slot.next = nullptr;
}

void link_slot(State &st, Slot &slot)
{
    if (slot.link) return;
    slot.next = st.pending;
    slot.link = &st.pending;
    if (slot.next) slot.next->link = &slot.next;
    st.pending = &slot;
}

void ask_owner(wn_device *dev)
{
    if (dev->cancelled && dev->cancelled(dev->cancel_ctx)) throw Refused(WAN_ECANCELED, "canceled");
}

// Runs `body`; what it throws becomes a status with `what` in front.
template <class Body> wan_status guarded(const char *what, wn_err *err, Body body)
try {
    body();
    return WAN_OK;
} catch (const Refused &e) {
    if (e.code == WAN_ECANCELED) return wn_fail(err, e.code, "%s", e.what());
    return wn_fail(err, e.code, "%s: %s", what, e.what());
} catch (const std::bad_alloc &) {
    return wn_fail(err, WAN_ENOMEM, "%s: out of memory on device mlx", what);
} catch (const std::exception &e) {
    bool memory = std::strstr(e.what(), "llocate") != nullptr; // MLX has no type for it
    return wn_fail(err, memory ? WAN_ENOMEM : WAN_EINTERNAL, "%s: MLX says: %s", what, e.what());
} catch (...) {
    return wn_fail(err, WAN_EINTERNAL, "%s: MLX threw something unknown", what);
}

// ---- evaluation ----

// Waits for an array, and asks the owner now and then. Short work is awaited without sleeping for long.
void await(wn_device *dev, array &a)
{
    auto nap = std::chrono::microseconds(20);
    while (dev->cancelled && !a.is_available()) {
        std::this_thread::sleep_for(nap);
        if (nap < std::chrono::milliseconds(20)) nap += nap / 4;
        if (nap > std::chrono::milliseconds(5)) ask_owner(dev);
    }
    a.wait();
}

void evaluate(wn_device *dev)
{
    State &st = state_of(dev);
    std::vector<array> todo;
    std::vector<Slot *> slots;
    while (st.pending) {
        Slot &slot = *st.pending;
        unlink_slot(slot);
        if (!slot.a) continue;
        slots.push_back(&slot);
        todo.push_back(*slot.a);
    }
    st.n_ops = 0;
    if (todo.empty()) return;
    ask_owner(dev);
    st.n_evaluations++;
    if (st.ledger) {
        std::vector<Ledger::Result> results = st.ledger->evaluate(todo);
        for (size_t i = 0; i < slots.size(); i++) {
            slots[i]->a = std::move(results[i].a);
            slots[i]->hold = std::move(results[i].hold);
        }
        return;
    }
    mx::async_eval(todo);
    for (array &a : todo) await(dev, a);
}

// A slot's array goes or is replaced. Steps that were recorded before may still read it.
void let_go(State &st, Slot &slot, bool may_be_read)
{
    if (st.ledger && slot.a) st.ledger->let_go(*slot.a, std::move(slot.hold), may_be_read);
    slot.a.reset();
}

// Calls `visit` with every step that an evaluation of `a` would take and that was not `seen` yet, and whether
// it makes elements or is a view of others'.
template <class Visit>
void walk(const array &a, std::unordered_set<std::uintptr_t> &seen, Layouts &layouts, Visit visit)
{
    if (!a.has_primitive() || a.status() != array::Status::unscheduled || !seen.insert(a.id()).second) return;
    for (const array &input : a.inputs()) walk(input, seen, layouts, visit);
    bool copied;
    layouts.of(a, &copied);
    visit(a.primitive().name(), copied);
}

// ---- tensors and arrays ----

// How elements of a type are stored. fp8 stays bytes; float64, which no GPU has, is moved as int64.
mx::Dtype stored(wn_dtype type)
{
    switch (type) {
    case WN_F32: return mx::float32;
    case WN_BF16: return mx::bfloat16;
    case WN_F16: return mx::float16;
    case WN_F64:
    case WN_I64: return mx::int64;
    case WN_I32: return mx::int32;
    case WN_U32: return mx::uint32;
    case WN_I16: return mx::int16;
    case WN_I8: return mx::int8;
    default: return mx::uint8;
    }
}

mx::Shape shape_of(const wn_tensor &t)
{
    mx::Shape shape;
    for (int i = 0; i < t.n_dims; i++) shape.push_back(static_cast<int32_t>(t.dim[i]));
    return shape;
}

int size_of(int64_t n)
{
    if (n > std::numeric_limits<int32_t>::max())
        throw Refused(WAN_EUNSUPPORTED, "a tensor has more than 2^31 - 1 elements");
    return static_cast<int>(n);
}

// A copy of host memory at any alignment.
array from_host(const void *data, const mx::Shape &shape, mx::Dtype type)
{
    size_t bytes = mx::size_of(type);
    for (int32_t n : shape) bytes *= static_cast<size_t>(n);
    auto memory = mx::allocator::malloc(bytes);
    if (bytes) std::memcpy(memory.buffer().raw_ptr(), data, bytes);
    return array(std::move(memory), shape, type);
}

// Mapped memory without a copy, where MLX can: on a GPU that shares memory with the CPU, whole pages,
// elements aligned. The pages around the data belong to the same file.
optional<array> in_place(State &st, const void *data, const mx::Shape &shape, mx::Dtype type)
{
    const uintptr_t page = 16384, at = reinterpret_cast<uintptr_t>(data), first = at / page * page;
    size_t n = 1, size = mx::size_of(type);
    for (int32_t d : shape) n *= static_cast<size_t>(d);
    if (!st.gpu || (at - first) % size || n * size < 4 * page) return {};
    size_t bytes = at - first + n * size;
    bytes = (bytes + page - 1) / page * page;
    auto buffer = mx::allocator::make_buffer(reinterpret_cast<void *>(first), bytes);
    if (!buffer.ptr()) return {};
    if (bytes / size > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
        mx::allocator::release(buffer);
        return {};
    }
    array all(mx::allocator::Data(buffer, [](mx::allocator::Buffer b) { mx::allocator::release(b); }),
              mx::Shape{static_cast<int32_t>(bytes / size)}, type);
    auto begin = static_cast<int32_t>((at - first) / size);
    array part = mx::slice(all, {begin}, {begin + static_cast<int32_t>(n)}, {1}, st.stream);
    return mx::reshape(part, shape, st.stream);
}

// The whole of a mapped buffer, in the shape of the tensor that fills it or else flat.
void load_mapped(State &st, Slot &slot, const wn_tensor &t)
{
    size_t size = wn_dtype_size(t.type);
    mx::Shape shape = shape_of(t);
    if (wn_n_bytes(t) != t.buf->bytes) shape = {size_of(static_cast<int64_t>(t.buf->bytes / size))};
    optional<array> a = in_place(st, slot.mapped, shape, stored(t.type));
    slot.in_place = a.has_value();
    if (!a && st.ledger) {
        Ledger::Result r = st.ledger->make(shape, stored(t.type));
        slot.hold = std::move(r.hold);
        a = std::move(r.a);
    }
    slot.a = a ? std::move(*a) : from_host(slot.mapped, shape, stored(t.type));
}

// What is stored in a tensor's buffer, as elements of its type, in whatever shape.
array whole(State &st, const wn_tensor &t)
{
    Slot &slot = slot_of(t.buf);
    if (!slot.a && slot.mapped) load_mapped(st, slot, t);
    if (!slot.a) throw Refused(WAN_EINTERNAL, "a tensor is read before anything was written to it");
    if (slot.a->dtype() != stored(t.type)) /* uploaded bytes */
        slot.a = mx::view(*slot.a, stored(t.type), st.stream);
    return *slot.a;
}

// Extents but the first agree, so that a view is some rows.
bool has_rows(const array &a, const wn_tensor &t)
{
    if (a.ndim() != static_cast<size_t>(t.n_dims) || !t.n_dims) return false;
    for (int i = 1; i < t.n_dims; i++)
        if (a.shape(i) != t.dim[i]) return false;
    return true;
}

array slice_rows(State &st, const array &a, int64_t begin, int64_t end)
{
    mx::Shape from(a.ndim(), 0), to = a.shape();
    from[0] = static_cast<int32_t>(begin);
    to[0] = static_cast<int32_t>(end);
    return mx::slice(a, from, to, st.stream);
}

// A tensor's elements as stored, in its shape.
array fetch(State &st, const wn_tensor &t)
{
    int64_t n = wn_n_elems(t);
    if (!n) return mx::zeros(shape_of(t), stored(t.type), st.stream);
    array a = whole(st, t);
    auto at = static_cast<int64_t>(t.offset / wn_dtype_size(t.type));
    if (at == 0 && static_cast<int64_t>(a.size()) == n) return mx::reshape(a, shape_of(t), st.stream);
    int64_t row = n / (t.n_dims ? t.dim[0] : 1);
    if (has_rows(a, t) && at % row == 0) return slice_rows(st, a, at / row, at / row + t.dim[0]);
    a = slice_rows(st, mx::reshape(a, {-1}, st.stream), at, at + n);
    return mx::reshape(a, shape_of(t), st.stream);
}

// Makes `a`, of the tensor's stored type, its contents.
void put(State &st, const wn_tensor &t, array a)
{
    Slot &slot = slot_of(t.buf);
    a = mx::reshape(a, shape_of(t), st.stream);
    if (wn_n_bytes(t) != t.buf->bytes) {
        int at = size_of(static_cast<int64_t>(t.offset / wn_dtype_size(t.type)));
        int n = size_of(wn_n_elems(t));
        array all = mx::reshape(whole(st, t), {-1}, st.stream);
        a = mx::slice_update(all, mx::reshape(a, {-1}, st.stream), mx::Shape{at}, mx::Shape{at + n},
                             st.stream);
    }
    let_go(st, slot, true);
    slot.a = std::move(a);
    link_slot(st, slot);
}

array cast(State &st, const array &a, mx::Dtype type)
{
    return mx::astype(a, type, st.stream);
}

// Float elements of any type as float32.
array to_f32(State &st, const array &a, wn_dtype type)
{
    if (type == WN_F8_E4M3 || type == WN_F8_E5M2) return mx::take(st.f8[type == WN_F8_E5M2], a, st.stream);
    if (type == WN_F64) return cast(st, mx::view(a, mx::float64, st.stream), mx::float32);
    return cast(st, a, mx::float32);
}

array fetch_f32(State &st, const wn_tensor &t)
{
    return to_f32(st, fetch(st, t), t.type);
}

array flat_f32(State &st, const wn_tensor &t)
{
    return mx::reshape(fetch_f32(st, t), {-1}, st.stream);
}

// Puts float values, rounded to the tensor's type.
void put_f32(State &st, const wn_tensor &t, const array &a)
{
    put(st, t, cast(st, a, stored(t.type)));
}

// An operand of a product: float32, or rounded to BF16 where the product is to do that. On the CPU such a
// product is done in float32 then, which is exact; the GPU has its own for BF16, which rounds its sums to
// BF16.
array operand(State &st, const array &a, wn_dtype type, wn_precision precision)
{
    if (precision != WN_PREC_BF16) return to_f32(st, a, type);
    array rounded = type == WN_BF16 ? a : cast(st, to_f32(st, a, type), mx::bfloat16);
    return st.fast ? rounded : cast(st, rounded, mx::float32);
}

array fetch_operand(State &st, const wn_tensor &t, wn_precision precision)
{
    return operand(st, fetch(st, t), t.type, precision);
}

// A bias, in the type of the operands.
array flat_operand(State &st, const wn_tensor &t, mx::Dtype type)
{
    return cast(st, flat_f32(st, t), type);
}

array scalar(float x)
{
    return array(x, mx::float32);
}

array add(State &st, const array &a, const array &b)
{
    return mx::add(a, b, st.stream);
}

array multiply(State &st, const array &a, const array &b)
{
    return mx::multiply(a, b, st.stream);
}

array activate(const mx::Stream &s, wn_act act, const array &x)
{
    const float sqrt_half = 0.70710678f, two_sqrt_2_pi = 1.59576912f;
    switch (act) {
    case WN_ACT_SILU: return mx::multiply(x, mx::sigmoid(x, s), s);
    case WN_ACT_GELU_TANH: { // 0.5 (1 + tanh u) = sigmoid(2u)
        array cube = mx::multiply(mx::multiply(x, x, s), x, s);
        array u = mx::add(mx::multiply(cube, scalar(0.044715f), s), x, s);
        return mx::multiply(x, mx::sigmoid(mx::multiply(u, scalar(two_sqrt_2_pi), s), s), s);
    }
    case WN_ACT_GELU_ERF: {
        array half = mx::multiply(x, scalar(0.5f), s);
        return mx::add(half, mx::multiply(half, mx::erf(mx::multiply(x, scalar(sqrt_half), s), s), s), s);
    }
    default: return x;
    }
}

// ---- what lies between products ----

// Applied to each element after a product or a norm, in float32: times WEIGHT plus BIAS, times (1 + SCALE)
// plus SHIFT, the activation, times MUL, times GATE, plus ADD, each where it is there.
enum Operand { WEIGHT, BIAS, SCALE, SHIFT, MUL, GATE, ADD, N_OPERANDS };

struct Chain {
    wn_act act = WN_ACT_NONE;
    optional<array> with[N_OPERANDS];
};

// `in`: the elements, then the operands that bits of `mask` name.
array run_chain(const mx::Stream &s, wn_act act, unsigned mask, mx::Dtype type, const std::vector<array> &in)
{
    array y = mx::astype(in[0], mx::float32, s);
    size_t n = 1;
    for (int k = 0; k < N_OPERANDS; k++) {
        if (k == MUL) y = activate(s, act, y);
        if (!(mask >> k & 1)) continue;
        array b = mx::astype(in[n++], mx::float32, s);
        if (k == SCALE) b = mx::add(b, scalar(1), s);
        bool sum = k == BIAS || k == SHIFT || k == ADD;
        y = sum ? mx::add(y, b, s) : mx::multiply(y, b, s);
    }
    return mx::astype(y, type, s);
}

// x after the chain, as `type`; one step of the device where it can compile them.
array apply(State &st, const Chain &chain, const array &x, mx::Dtype type)
{
    std::vector<array> in{x};
    unsigned mask = 0;
    for (int k = 0; k < N_OPERANDS; k++)
        if (chain.with[k]) {
            mask |= 1u << k;
            in.push_back(*chain.with[k]);
        }
    if (!mask && chain.act == WN_ACT_NONE) return cast(st, x, type);
    wn_act act = chain.act;
    if (!st.compiled) return run_chain(st.stream, act, mask, type, in);
    auto &f = st.chains[mask | static_cast<unsigned>(act) << 8 |
                        static_cast<unsigned>(static_cast<mx::Dtype::Val>(type)) << 16];
    if (!f)
        f = mx::compile([s = st.stream, act, mask, type](const std::vector<array> &in) {
            return std::vector<array>{run_chain(s, act, mask, type, in)};
        });
    return f(in)[0];
}

// An operand of a chain [T or 1, N], as stored where the chain can read that.
array chain_operand(State &st, const wn_tensor &t, int T, int N)
{
    bool as_stored = t.type == WN_F32 || t.type == WN_BF16 || t.type == WN_F16;
    return mx::reshape(as_stored ? fetch(st, t) : fetch_f32(st, t), {T, N}, st.stream);
}

// ---- indices ----

// The address of an I32 tensor's elements; valid while the slot keeps its array.
const int32_t *host_index(wn_device *dev, const wn_tensor &index)
{
    State &st = state_of(dev);
    Slot &slot = slot_of(index.buf);
    whole(st, index);
    if (!slot.a->is_available() && st.ledger) { // uploaded, so there for real
        mx::async_eval(std::vector<array>{*slot.a});
        slot.a->wait();
    } else if (!slot.a->is_available()) {
        slot.a = mx::contiguous(*slot.a, false, st.stream);
        link_slot(st, slot);
        evaluate(dev);
    }
    return slot.a->data<int32_t>() + index.offset / sizeof(int32_t);
}

// The index as an array, each element checked to be in [0, n).
array checked_index(wn_device *dev, const wn_tensor &index, int64_t n)
{
    const int32_t *i = host_index(dev, index);
    for (int64_t t = 0; t < wn_n_elems(index); t++)
        if (i[t] < 0 || i[t] >= n)
            throw Refused(WAN_EINVAL, "index " + std::to_string(i[t]) + " of row " + std::to_string(t) +
                                          " is outside its table of " + std::to_string(n) + " rows");
    return mx::reshape(fetch(state_of(dev), index), {-1}, state_of(dev).stream);
}

// Rows `row` of a modulation: [T, D], or [1, D] where all tokens share one.
array mod_rows(wn_device *dev, const wn_mod &mod, int row)
{
    State &st = state_of(dev);
    array table = fetch(st, mod.table); // [n, R, D]
    int n = table.shape(0), D = table.shape(2);
    bool one = !wn_has(mod.index);
    array rows = mx::slice(table, {0, row, 0}, {one ? 1 : n, row + 1, D}, st.stream);
    rows = mx::reshape(rows, {-1, D}, st.stream);
    return one ? rows : mx::take(rows, checked_index(dev, mod.index, n), 0, st.stream);
}

// ---- the operations ----

void linear(wn_device *dev, const wn_linear_args &a)
{
    State &st = state_of(dev);
    int K = size_of(wn_last_dim(a.x)), T = size_of(wn_n_rows(a.x)), N = size_of(a.w.dim[0]);
    array x = mx::reshape(fetch_operand(st, a.x, a.precision), {T, K}, st.stream);
    array w = mx::reshape(fetch_operand(st, a.w, a.precision), {N, K}, st.stream);
    w = mx::transpose(w, {1, 0}, st.stream);
    array y = wn_has(a.b) ? mx::addmm(flat_operand(st, a.b, x.dtype()), x, w, 1, 1, st.stream)
                          : mx::matmul(x, w, st.stream);
    Chain after;
    after.act = a.act;
    if (wn_has(a.mul)) after.with[MUL] = chain_operand(st, a.mul, T, N);
    if (wn_has(a.gate.table)) after.with[GATE] = mod_rows(dev, a.gate, a.gate_row);
    if (wn_has(a.add)) after.with[ADD] = chain_operand(st, a.add, T, N);
    put(st, a.out, apply(st, after, y, stored(a.out.type)));
}

// Rows of x [T, D] float32 normalised, without weights. MLX sums on the CPU one after the other in float32,
// which is too coarse for long rows: float64 then.
array normalise(State &st, const array &x, wn_norm_kind kind, float eps)
{
    array wide = st.fast ? x : cast(st, x, mx::float64);
    array small = array(eps, wide.dtype()), D = array(x.shape(-1), wide.dtype());
    if (kind == WN_NORM_LAYER) wide = mx::subtract(wide, mx::mean(wide, -1, true, st.stream), st.stream);
    array squares = mx::sum(mx::square(wide, st.stream), -1, true, st.stream), size = squares;
    if (kind == WN_NORM_L2) {
        size = mx::maximum(mx::sqrt(squares, st.stream), small, st.stream);
        size = mx::divide(size, mx::sqrt(D, st.stream), st.stream);
    } else
        size = mx::sqrt(add(st, mx::divide(squares, D, st.stream), small), st.stream);
    return cast(st, mx::divide(wide, size, st.stream), mx::float32);
}

// The same with a weight [D] and a bias [D], each optional; what is left to do of them goes in front of
// `after`.
array normalise(State &st, array x, wn_norm_kind kind, float eps, optional<array> weight,
                optional<array> bias, Chain &after)
{
    if (st.fast && kind == WN_NORM_LAYER) {
        x = mx::fast::layer_norm(x, weight, weight ? bias : std::nullopt, eps, st.stream);
        if (weight) weight = bias = std::nullopt;
    } else if (st.fast && kind == WN_NORM_RMS) {
        x = mx::fast::rms_norm(x, weight, eps, st.stream);
        weight = std::nullopt;
    } else
        x = normalise(st, x, kind, eps);
    after.with[WEIGHT] = weight;
    after.with[BIAS] = bias;
    return x;
}

void norm(wn_device *dev, const wn_norm_args &a)
{
    State &st = state_of(dev);
    int D = size_of(wn_last_dim(a.x)), T = size_of(wn_n_rows(a.x));
    array x = mx::reshape(fetch_f32(st, a.x), {T, D}, st.stream);
    optional<array> weight, bias;
    if (wn_has(a.weight)) weight = flat_f32(st, a.weight);
    if (wn_has(a.bias)) bias = flat_f32(st, a.bias);
    Chain after;
    x = normalise(st, x, a.kind, a.eps, weight, bias, after);
    after.act = a.act;
    if (wn_has(a.mod.table)) {
        after.with[SCALE] = mod_rows(dev, a.mod, a.scale_row);
        after.with[SHIFT] = mod_rows(dev, a.mod, a.shift_row);
    }
    put(st, a.out, apply(st, after, x, stored(a.out.type)));
}

// [T, 1, HD / 2] complex: the numbers of unit size that turn each token's pairs; of fewer tokens where those
// of the others are the same again.
array turns(wn_device *dev, const wn_qk_norm_rope_args &a, int T)
{
    State &st = state_of(dev);
    array table = fetch(st, a.rope); // [P, HD]
    int P = table.shape(0), HD = table.shape(1);
    if (wn_has(a.index))
        table = mx::take(table, checked_index(dev, a.index, P), 0, st.stream);
    else if (P > T)
        table = slice_rows(st, table, 0, T);
    else if (T % P) {
        array t = mx::remainder(mx::arange(T, mx::int32, st.stream), array(P), st.stream);
        table = mx::take(table, t, 0, st.stream);
    }
    return mx::reshape(mx::view(table, mx::complex64, st.stream), {-1, 1, HD / 2}, st.stream);
}

void qk_norm_rope(wn_device *dev, const wn_qk_norm_rope_args &a)
{
    State &st = state_of(dev);
    int T = size_of(a.x.dim[0]), W = size_of(wn_n_elems(a.x) / a.x.dim[0]), NH = a.n_heads;
    array x = mx::reshape(fetch_f32(st, a.x), {T, W}, st.stream);
    if (wn_has(a.weight)) {
        Chain after;
        x = normalise(st, x, WN_NORM_RMS, a.eps, flat_f32(st, a.weight), {}, after);
        x = apply(st, after, x, mx::float32);
    }
    if (wn_has(a.rope)) {
        array by = turns(dev, a, T);
        x = mx::reshape(x, {T / by.shape(0), by.shape(0), NH, W / NH}, st.stream);
        x = multiply(st, mx::view(x, mx::complex64, st.stream), by);
        x = mx::view(x, mx::float32, st.stream);
    }
    put_f32(st, a.out, x);
}

// ---- attention ----

// Segments of equal lengths that follow each other, done as a batch.
struct Group {
    int n, q0, k0, Lq, Lk; // from rows q0 and k0 on
};

// What is added to the logits of query rows [i0, i1) of a group: [n or 1, NH or 1, i1 - i0, Lk] float32.
struct Mask {
    optional<array> bias;
    bool may_be_empty = false; // there may be rows of nothing but -inf
    void plus(State &st, const array &a) { bias = bias ? add(st, *bias, a) : a; }
};

// [i1 - i0, Lk] int32: key minus query
array distances(State &st, int i0, int i1, int Lk)
{
    array i = mx::reshape(mx::arange(i0, i1, 1, st.stream), {i1 - i0, 1}, st.stream);
    array j = mx::reshape(mx::arange(0, Lk, 1, st.stream), {1, Lk}, st.stream);
    return mx::subtract(j, i, st.stream);
}

// 0 where query and key see each other, else -inf.
array visible(State &st, const wn_attention_args &a, const array &distance, int ahead)
{
    array d = mx::subtract(distance, array(ahead), st.stream);
    array sees = mx::full(mx::Shape{1, 1}, array(true), st.stream);
    auto bound = [](int64_t n) { return array(static_cast<int>(n < INT32_MAX / 2 ? n : INT32_MAX / 2)); };
    if (a.causal) sees = mx::less_equal(d, array(0), st.stream);
    if (a.windowed && a.window_left >= 0)
        sees = mx::logical_and(
            sees, mx::greater_equal(d, mx::negative(bound(a.window_left), st.stream), st.stream), st.stream);
    if (a.windowed && a.window_right >= 0)
        sees = mx::logical_and(sees, mx::less_equal(d, bound(a.window_right), st.stream), st.stream);
    return mx::where(sees, scalar(0), scalar(-std::numeric_limits<float>::infinity()), st.stream);
}

Mask make_mask(State &st, const wn_attention_args &a, const Group &g, int i0, int i1)
{
    Mask mask;
    if (wn_has(a.key_log_weight)) {
        array w = slice_rows(st, flat_f32(st, a.key_log_weight), g.k0, g.k0 + g.n * g.Lk);
        mask.plus(st, mx::reshape(w, {g.n, 1, 1, g.Lk}, st.stream));
        mask.may_be_empty = true;
    }
    if (wn_has(a.rel_bias)) {
        array table = fetch(st, a.rel_bias); // [NH, 2R - 1]
        array at = add(st, distances(st, i0, i1, g.Lk), array((table.shape(1) + 1) / 2 - 1));
        mask.plus(st, mx::expand_dims(mx::take(table, at, 1, st.stream), 0, st.stream));
    }
    if (a.causal || (a.windowed && (a.window_left >= 0 || a.window_right >= 0))) {
        array v = visible(st, a, distances(st, i0, i1, g.Lk), g.Lk - g.Lq);
        mask.plus(st, mx::expand_dims(v, {0, 1}, st.stream));
        mask.may_be_empty = true;
    }
    return mask;
}

// Can MLX do it in one kernel, in the operands' type and without a matrix of logits?
bool is_fused(const State &st, const wn_attention_args &a)
{
    bool masked = wn_has(a.key_log_weight) || wn_has(a.rel_bias) || a.causal || a.windowed;
    int64_t HD = a.q.dim[2];
    return st.gpu && !masked && (HD == 64 || HD == 80 || HD == 128);
}

// q [n, NH, rows, HD], k and v [n, NH, Lk, HD] -> the same shape as q, float32
array attend(State &st, const array &q, const array &k, const array &v, float scale, const Mask &mask)
{
    array y =
        cast(st, mx::fast::scaled_dot_product_attention(q, k, v, scale, "", mask.bias, {}, false, st.stream),
             mx::float32);
    if (!mask.may_be_empty) return y;
    array none = scalar(-std::numeric_limits<float>::infinity());
    array empty = mx::equal(mx::max(*mask.bias, -1, true, st.stream), none, st.stream);
    return mx::where(empty, scalar(0), y, st.stream);
}

// Rows of queries done at once: all, or as many as make 256 MB of logits.
int rows_at_once(const State &st, const wn_attention_args &a, const Group &g)
{
    if (is_fused(st, a)) return g.Lq;
    int64_t rows = (int64_t{1} << 26) / (g.n * a.q.dim[1] * g.Lk) + 1;
    return static_cast<int>(rows < g.Lq ? rows : g.Lq);
}

// [n * L, NH, HD] from row `first` on as [n, NH, L, HD]
array heads(State &st, const array &t, int first, int n, int L)
{
    array part = slice_rows(st, t, first, first + n * L);
    part = mx::reshape(part, {n, L, t.shape(1), t.shape(2)}, st.stream);
    return mx::transpose(part, {0, 2, 1, 3}, st.stream);
}

// [n * Lq, NH, HD] float32
array attend_group(State &st, const wn_attention_args &a, const Group &g, const array &q, const array &k,
                   const array &v)
{
    int NH = q.shape(1), HD = q.shape(2), step = rows_at_once(st, a, g);
    float scale = a.scale != 0 ? a.scale : 1 / std::sqrt(static_cast<float>(HD));
    array queries = heads(st, q, g.q0, g.n, g.Lq), keys = heads(st, k, g.k0, g.n, g.Lk),
          values = heads(st, v, g.k0, g.n, g.Lk);
    std::vector<array> parts;
    for (int i = 0; i < g.Lq; i += step) {
        int end = i + step < g.Lq ? i + step : g.Lq;
        array rows = mx::slice(queries, {0, 0, i, 0}, {g.n, NH, end, HD}, st.stream);
        parts.push_back(attend(st, rows, keys, values, scale, make_mask(st, a, g, i, end)));
    }
    array y = parts.size() == 1 ? parts[0] : mx::concatenate(parts, 2, st.stream);
    return mx::reshape(mx::transpose(y, {0, 2, 1, 3}, st.stream), {g.n * g.Lq, NH, HD}, st.stream);
}

void attention(wn_device *dev, const wn_attention_args &a)
{
    State &st = state_of(dev);
    // Elsewhere float32: logits in BF16 are too coarse, and so is a mask, which has the operands' type.
    auto operand = [&](const wn_tensor &t) {
        array x = fetch_operand(st, t, a.precision);
        return is_fused(st, a) ? x : cast(st, x, mx::float32);
    };
    array q = operand(a.q), k = operand(a.k), v = operand(a.v);
    std::vector<array> parts;
    for (int s = 0, n = 0; s < a.n_seg; s += n) {
        auto lq = [&](int i) { return a.q_seg[i + 1] - a.q_seg[i]; };
        auto lk = [&](int i) { return a.k_seg[i + 1] - a.k_seg[i]; };
        for (n = 1; s + n < a.n_seg && lq(s + n) == lq(s) && lk(s + n) == lk(s);) n++;
        Group g = {n, size_of(a.q_seg[s]), size_of(a.k_seg[s]), size_of(lq(s)), size_of(lk(s))};
        if (!g.Lq) continue;
        if (g.Lk)
            parts.push_back(attend_group(st, a, g, q, k, v));
        else
            parts.push_back(mx::zeros({n * g.Lq, q.shape(1), q.shape(2)}, mx::float32, st.stream));
    }
    put_f32(st, a.out, parts.size() == 1 ? parts[0] : mx::concatenate(parts, 0, st.stream));
}

// ---- convolution ----

// [Co, KT, KH, KW, Ci] as stored, kept with a mapped weight.
array conv_weight(State &st, const wn_tensor &w)
{
    Slot &slot = slot_of(w.buf);
    bool keep = slot.mapped && wn_n_bytes(w) == w.buf->bytes;
    if (keep && slot.conv) return *slot.conv;
    array last = mx::contiguous(mx::transpose(fetch(st, w), {0, 2, 3, 4, 1}, st.stream), false, st.stream);
    if (!keep) return last;
    slot.conv = last;
    if (st.ledger) {
        Ledger::Result r = st.ledger->make(last.shape(), last.dtype());
        slot.conv = r.a;
        slot.conv_hold = r.hold;
    }
    if (!slot.in_place) let_go(st, slot, true); // one copy is enough
    return *slot.conv;
}

// Frames before x, then x, each pixel doubled where asked: [T', H', W', Ci]
array conv_frames(State &st, const wn_conv_args &a)
{
    array x = fetch_operand(st, a.x, a.precision);
    if (wn_has(a.cache) && a.cache.dim[0])
        x = mx::concatenate({fetch_operand(st, a.cache, a.precision), x}, 0, st.stream);
    if (a.upsample < 2) return x;
    int T = x.shape(0), H = x.shape(1), W = x.shape(2), C = x.shape(3), up = a.upsample;
    x = mx::reshape(x, {T, H, 1, W, 1, C}, st.stream);
    x = mx::broadcast_to(x, {T, H, up, W, up, C}, st.stream);
    return mx::reshape(x, {T, H * up, W * up, C}, st.stream);
}

// A kernel of one frame: frames are a batch of pictures.
array conv_2d(State &st, const wn_conv_args &a, array x, const array &w)
{
    if (a.pad_front) x = mx::pad(x, {0}, {a.pad_front}, {0}, array(0, x.dtype()), "constant", st.stream);
    if (a.stride[0] > 1) x = mx::slice(x, {0, 0, 0, 0}, x.shape(), {a.stride[0], 1, 1, 1}, st.stream);
    array flat = mx::reshape(w, {w.shape(0), w.shape(2), w.shape(3), w.shape(4)}, st.stream);
    return mx::conv_general(x, flat, {a.stride[1], a.stride[2]}, {a.pad_h[0], a.pad_w[0]},
                            {a.pad_h[1], a.pad_w[1]}, {}, {}, 1, false, st.stream);
}

array conv_3d(State &st, const wn_conv_args &a, const array &x, const array &w)
{
    array y = mx::conv_general(mx::expand_dims(x, 0, st.stream), w, {a.stride[0], a.stride[1], a.stride[2]},
                               {a.pad_front, a.pad_h[0], a.pad_w[0]}, {0, a.pad_h[1], a.pad_w[1]}, {}, {}, 1,
                               false, st.stream);
    return mx::squeeze(y, 0, st.stream);
}

bool is_pointwise(const wn_conv_args &a)
{
    for (int i = 0; i < 3; i++)
        if (a.w.dim[2 + i] != 1 || a.stride[i] != 1) return false;
    return !a.pad_front && !a.pad_h[0] && !a.pad_h[1] && !a.pad_w[0] && !a.pad_w[1];
}

void conv(wn_device *dev, const wn_conv_args &a)
{
    State &st = state_of(dev);
    array x = conv_frames(st, a), w = operand(st, conv_weight(st, a.w), a.w.type, a.precision);
    int Co = w.shape(0), Ci = w.shape(4);
    if (is_pointwise(a)) {
        array flat = mx::reshape(x, {-1, Ci}, st.stream), columns = mx::reshape(w, {Co, Ci}, st.stream);
        x = mx::matmul(flat, mx::transpose(columns, {1, 0}, st.stream), st.stream);
    } else
        x = w.shape(1) == 1 ? conv_2d(st, a, x, w) : conv_3d(st, a, x, w);
    int T = size_of(wn_n_rows(a.out));
    Chain after;
    if (wn_has(a.b)) after.with[BIAS] = flat_f32(st, a.b);
    if (wn_has(a.add)) after.with[ADD] = chain_operand(st, a.add, T, Co);
    x = mx::reshape(x, {T, Co}, st.stream);
    put(st, a.out, apply(st, after, x, stored(a.out.type)));
}

// ---- elements and rows ----

// To fp8, which MLX would round in its own way: on the host.
void put_f8(wn_device *dev, const wn_tensor &t, const array &a)
{
    State &st = state_of(dev);
    if (st.ledger) {
        put(st, t, mx::zeros(shape_of(t), mx::uint8, st.stream));
        return;
    }
    array values = mx::contiguous(a, false, st.stream);
    mx::async_eval(std::vector<array>{values});
    await(dev, values);
    auto memory = mx::allocator::malloc(wn_n_bytes(t));
    wn_from_f32(values.data<float>(), t.type, memory.buffer().raw_ptr(), wn_n_elems(t));
    put(st, t, array(std::move(memory), shape_of(t), mx::uint8));
}

void unary(wn_device *dev, const wn_unary_args &a)
{
    State &st = state_of(dev);
    if (a.act == WN_ACT_NONE && a.out.type == a.x.type) {
        // Arrays never change, so one serves both tensors; but a few rows must not hold the memory of all.
        bool part = wn_n_bytes(a.x) != a.x.buf->bytes;
        put(st, a.out, part ? mx::contiguous(fetch(st, a.x), false, st.stream) : fetch(st, a.x));
        return;
    }
    Chain chain;
    chain.act = a.act;
    bool bits = a.out.type == WN_F8_E4M3 || a.out.type == WN_F8_E5M2 || a.out.type == WN_F64;
    array y = apply(st, chain, fetch_f32(st, a.x), bits ? mx::float32 : stored(a.out.type));
    if (a.out.type == WN_F8_E4M3 || a.out.type == WN_F8_E5M2)
        put_f8(dev, a.out, y);
    else if (a.out.type == WN_F64)
        put(st, a.out, mx::view(cast(st, y, mx::float64), mx::int64, st.stream));
    else
        put(st, a.out, y);
}

void binary(wn_device *dev, const wn_binary_args &args)
{
    State &st = state_of(dev);
    array b = flat_f32(st, args.b);
    array a = mx::reshape(fetch_f32(st, args.a), {-1, size_of(wn_n_elems(args.b))}, st.stream);
    switch (args.kind) {
    case WN_ADD: a = add(st, a, b); break;
    case WN_SUB: a = mx::subtract(a, b, st.stream); break;
    case WN_MUL: a = multiply(st, a, b); break;
    }
    put_f32(st, args.out, a);
}

void concat(wn_device *dev, const wn_concat_args &a)
{
    State &st = state_of(dev);
    put(st, a.out, mx::concatenate({fetch(st, a.a), fetch(st, a.b)}, 0, st.stream));
}

// Rows of a table in mapped memory that nothing else has used yet: only they are copied.
array gather_mapped(wn_device *dev, const wn_gather_args &a)
{
    const int32_t *index = host_index(dev, a.index);
    int64_t n = a.index.dim[0];
    size_t row = static_cast<size_t>(a.table.dim[1]) * wn_dtype_size(a.table.type);
    const char *table = static_cast<const char *>(slot_of(a.table.buf).mapped) + a.table.offset;
    auto memory = mx::allocator::malloc(static_cast<size_t>(n) * row);
    auto *to = static_cast<char *>(memory.buffer().raw_ptr());
    for (int64_t t = 0; t < n; t++, to += row)
        std::memcpy(to, table + static_cast<size_t>(index[t]) * row, row);
    return array(std::move(memory), shape_of(a.out), stored(a.table.type));
}

void gather(wn_device *dev, const wn_gather_args &a)
{
    State &st = state_of(dev);
    array index = checked_index(dev, a.index, a.table.dim[0]);
    const Slot &slot = slot_of(a.table.buf);
    array rows =
        slot.mapped && !slot.a ? gather_mapped(dev, a) : mx::take(fetch(st, a.table), index, 0, st.stream);
    if (a.out.type == a.table.type)
        put(st, a.out, rows);
    else
        put_f32(st, a.out, to_f32(st, rows, a.table.type));
}

void permute(wn_device *dev, const wn_permute_args &a)
{
    State &st = state_of(dev);
    array x = mx::transpose(fetch(st, a.x), std::vector<int>(a.axis, a.axis + a.x.n_dims), st.stream);
    if (a.out.type == a.x.type)
        put(st, a.out, x);
    else
        put_f32(st, a.out, to_f32(st, x, a.x.type));
}

// ---- streams ----

// Streams live as long as the process: a closed device's waits here for the next.
struct Streams {
    std::mutex lock;
    std::vector<mx::Stream> idle;
};

Streams &streams()
{
    static Streams all;
    return all;
}

mx::Stream take_stream(bool gpu)
{
    Streams &all = streams();
    mx::Device device(gpu ? mx::Device::gpu : mx::Device::cpu);
    std::lock_guard<std::mutex> hold(all.lock);
    for (auto s = all.idle.begin(); s != all.idle.end(); ++s)
        if (s->device == device) {
            mx::Stream found = *s;
            all.idle.erase(s);
            return found;
        }
    return mx::new_thread_unsafe_stream(device);
}

array f8_values(float (*value)(uint8_t))
{
    float table[256];
    for (int i = 0; i < 256; i++) table[i] = value(static_cast<uint8_t>(i));
    return from_host(table, {256}, mx::float32);
}

} // namespace

// ---- C linkage ----

extern "C" bool wn_mlx_has_gpu(void)
try {
    return mx::is_available(mx::Device(mx::Device::gpu));
} catch (...) {
    return false;
}

extern "C" const char *wn_mlx_version(void)
{
    return mx::version();
}

// Bytes that arrays may take at most without harm: what a GPU is recommended to use, or the CPU's memory.
static size_t most_memory(bool gpu)
{
    if (gpu) {
        const auto &info = mx::gpu::device_info(0);
        for (const char *key : {"max_recommended_working_set_size", "total_memory", "memory_size"})
            if (auto i = info.find(key); i != info.end()) return std::get<size_t>(i->second);
        return 0;
    }
    return wn_machine_memory();
}

// For all of this process. Above the limit MLX hands out no further step before others have ended; wired are
// pages that the system may not take from a GPU.
static void set_limits(bool gpu, size_t limit)
{
    if (!limit) return;
    mx::set_memory_limit(limit);
    mx::set_cache_limit(limit / 4 < most_idle ? limit / 4 : most_idle);
    if (gpu && mx::gpu::device_info(0).count("max_recommended_working_set_size"))
        mx::set_wired_limit(limit < most_memory(gpu) ? limit : most_memory(gpu));
}

extern "C" wan_status wn_mlx_state_new(wn_mlx *m, const wn_device_params *params, wn_err *err)
{
    return guarded("opening device mlx", err, [&] {
        size_t most = most_memory(m->gpu), asked = params->max_memory;
        void *room = wn_zalloc(sizeof(State));
        if (!room) throw std::bad_alloc();
        try {
            m->state = new (room) State{.stream = take_stream(m->gpu),
                                        .gpu = m->gpu,
                                        .fast = m->fast,
                                        .compiled = m->compiled,
                                        .limit = asked && (asked < most || !most) ? asked : most,
                                        .ledger = params->dry ? std::make_unique<Ledger>(m->gpu) : nullptr,
                                        .chains = {},
                                        .f8 = {f8_values(wn_f8e4m3_f32), f8_values(wn_f8e5m2_f32)}};
            if (!params->dry) set_limits(m->gpu, m->state->limit);
        } catch (...) {
            wn_free(room);
            throw;
        }
    });
}

extern "C" void wn_mlx_state_free(wn_mlx *m)
{
    guarded("closing device mlx", nullptr, [&] {
        mx::synchronize(m->state->stream);             // after a cancellation something may still run
        if (m->state->ledger) mx::reset_peak_memory(); // what was uploaded has been
        std::lock_guard<std::mutex> hold(streams().lock);
        streams().idle.push_back(m->state->stream);
    });
    m->state->~State();
    wn_free(m->state);
}

extern "C" wan_status wn_mlx_alloc(wn_device *dev, wn_buf *buf, wn_err *err)
{
    (void)dev;
    void *room = wn_zalloc(sizeof(Slot));
    if (!room) return wn_fail_nomem(err, "a tensor", sizeof(Slot));
    buf->handle = new (room) Slot;
    return WAN_OK;
}

extern "C" wan_status wn_mlx_map(wn_device *dev, wn_buf *buf, const void *data, wn_err *err)
{
    wan_status st = wn_mlx_alloc(dev, buf, err);
    if (!st) slot_of(buf).mapped = data;
    return st;
}

extern "C" void wn_mlx_release(wn_device *dev, wn_buf *buf)
{
    Slot &slot = slot_of(buf);
    State &st = state_of(dev);
    unlink_slot(slot);
    if (st.ledger) guarded("releasing a tensor", nullptr, [&] { let_go(st, slot, st.pending != nullptr); });
    if (slot.in_place) { // the memory goes away: what is made from it must be done, whatever the owner says
        auto cancelled = std::exchange(dev->cancelled, nullptr);
        guarded("releasing a tensor", nullptr, [&] { evaluate(dev); });
        guarded("releasing a tensor", nullptr, [&] { mx::synchronize(st.stream); });
        dev->cancelled = cancelled;
    }
    slot.~Slot();
    wn_free(&slot);
}

extern "C" void wn_mlx_rest(wn_device *dev, wn_buf *buf)
{
    if (!buf || !buf->handle) return; // memory that is not there
    guarded("resting a tensor", nullptr, [&] {
        State &st = state_of(dev);
        Slot &slot = slot_of(buf);
        if (!slot.in_place) let_go(st, slot, st.pending != nullptr);
        slot.conv.reset();
        slot.conv_hold.reset();
    });
}

extern "C" wan_status wn_mlx_upload(wn_device *dev, wn_buf *buf, size_t offset, const void *data,
                                    size_t bytes, wn_err *err)
{
    if (buf->mapped || offset > buf->bytes || bytes > buf->bytes - offset)
        return wn_fail(err, WAN_EINTERNAL, "upload of %zu bytes does not fit its buffer", bytes);
    return guarded("upload", err, [&] {
        if (bytes != buf->bytes) throw Refused(WAN_EUNSUPPORTED, "device mlx takes whole tensors only");
        auto memory = mx::allocator::malloc(bytes);
        if (bytes) std::memcpy(memory.buffer().raw_ptr(), data, bytes);
        Slot &slot = slot_of(buf);
        // Bytes, until a tensor tells their type; in rows of 8 where there are more than an axis can count.
        bool rows = bytes > static_cast<size_t>(std::numeric_limits<int32_t>::max());
        auto n = static_cast<int32_t>(rows ? bytes / 8 : bytes);
        if (rows && bytes % 8) throw Refused(WAN_EUNSUPPORTED, "a tensor has more than 2^31 - 1 elements");
        slot.a = array(std::move(memory), rows ? mx::Shape{n, 8} : mx::Shape{n}, mx::uint8);
        if (State &st = state_of(dev); st.ledger) slot.hold = st.ledger->count(*slot.a);
        unlink_slot(slot);
    });
}

extern "C" wan_status wn_mlx_download(wn_device *dev, const wn_buf *buf, size_t offset, void *data,
                                      size_t bytes, wn_err *err)
{
    if (offset > buf->bytes || bytes > buf->bytes - offset)
        return wn_fail(err, WAN_EINTERNAL, "download of %zu bytes passes the end of its buffer", bytes);
    return guarded("download", err, [&] {
        if (!bytes) return;
        Slot &slot = slot_of(buf);
        if (!slot.a && slot.mapped) {
            std::memcpy(data, static_cast<const char *>(slot.mapped) + offset, bytes);
            return;
        }
        if (!slot.a) throw Refused(WAN_EINTERNAL, "a tensor is read before anything was written to it");
        State &st = state_of(dev);
        slot.a = mx::contiguous(*slot.a, false, st.stream);
        link_slot(st, slot);
        evaluate(dev);
        if (st.ledger)
            std::memset(data, 0, bytes);
        else
            std::memcpy(data, slot.a->data<char>() + offset, bytes);
    });
}

extern "C" wan_status wn_mlx_evaluate(wn_device *dev, wn_err *err)
{
    char what[64];
    std::snprintf(what, sizeof what, "evaluation up to %s", state_of(dev).last_op);
    return guarded(what, err, [&] { evaluate(dev); });
}

extern "C" void wn_mlx_steps(wn_device *dev, void (*visit)(void *ctx, const char *name, bool view), void *ctx)
{
    guarded("counting", nullptr, [&] {
        std::unordered_set<std::uintptr_t> seen;
        Layouts layouts;
        for (Slot *slot = state_of(dev).pending; slot; slot = slot->next)
            if (slot->a)
                walk(*slot->a, seen, layouts,
                     [&](const char *name, bool copied) { visit(ctx, name, !copied); });
    });
}

extern "C" int64_t wn_mlx_n_evaluations(wn_device *dev)
{
    return state_of(dev).n_evaluations;
}

extern "C" void wn_mlx_memory(wn_device *dev, wn_memory *m)
{
    guarded("counting", nullptr, [&] {
        State &st = state_of(dev);
        size_t used = st.ledger ? st.ledger->used() : mx::get_active_memory();
        size_t peak = st.ledger ? st.ledger->peak() : mx::get_peak_memory();
        m->used += used;
        m->peak += peak > used ? peak : used;
        m->least += st.ledger ? st.ledger->least() : peak > used ? peak : used;
        m->limit = st.limit;
    });
}

extern "C" void wn_mlx_reset_peak(wn_device *dev)
{
    guarded("counting", nullptr, [&] {
        if (State &st = state_of(dev); st.ledger)
            st.ledger->reset_peak();
        else
            mx::reset_peak_memory();
    });
}

extern "C" void wn_mlx_trim(wn_device *dev)
{
    (void)dev;
    guarded("trim", nullptr, [] { mx::clear_cache(); });
}

#define WN_OP(ENUM, name, needs, summary)                                              \
    extern "C" wan_status wn_mlx_##name(wn_device *dev, const void *args, wn_err *err) \
    {                                                                                  \
        return guarded(#name, err, [&] {                                               \
            state_of(dev).last_op = #name;                                             \
            ask_owner(dev);                                                            \
            name(dev, *static_cast<const wn_##name##_args *>(args));                   \
            if (++state_of(dev).n_ops >= MOST_OPS) evaluate(dev);                      \
        });                                                                            \
    }
#include "backend/ops.def"
