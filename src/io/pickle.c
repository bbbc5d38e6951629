/* A stack machine over the opcodes of Python's pickletools.py, protocols 2 to 5, less those that run code. */
#include "io/pickle.h"

#include <string.h>

#include "base/mem.h"
#include "io/set.h"

enum { CHUNK_BYTES = 1 << 16, MAX_STACK = 8 << 20, MAX_MEMO = 4 << 20 };

/* ---- names that a pickle may mention ---- */

enum call { CALL_NONE, CALL_TENSOR_V2, CALL_TENSOR_V3, CALL_PARAMETER, CALL_DICT, CALL_SIZE, CALL_DEVICE };

struct wn_pickle_global {
    const char *name; /* "module.name" */
    enum call call;
    enum wn_dtype type; /* of a storage class or a dtype */
    bool is_storage;
};

static const struct wn_pickle_global globals[] = {
    {"torch._utils._rebuild_tensor_v2", CALL_TENSOR_V2, WN_NONE, false},
    {"torch._utils._rebuild_tensor_v3", CALL_TENSOR_V3, WN_NONE, false},
    {"torch._utils._rebuild_parameter", CALL_PARAMETER, WN_NONE, false},
    {"torch._utils._rebuild_parameter_with_state", CALL_PARAMETER, WN_NONE, false},
    {"collections.OrderedDict", CALL_DICT, WN_NONE, false},
    {"builtins.dict", CALL_DICT, WN_NONE, false},
    {"__builtin__.dict", CALL_DICT, WN_NONE, false},
    {"torch.Size", CALL_SIZE, WN_NONE, false},
    {"torch.device", CALL_DEVICE, WN_NONE, false},
    {"torch.FloatStorage", CALL_NONE, WN_F32, true},
    {"torch.HalfStorage", CALL_NONE, WN_F16, true},
    {"torch.BFloat16Storage", CALL_NONE, WN_BF16, true},
    {"torch.DoubleStorage", CALL_NONE, WN_F64, true},
    {"torch.LongStorage", CALL_NONE, WN_I64, true},
    {"torch.IntStorage", CALL_NONE, WN_I32, true},
    {"torch.ShortStorage", CALL_NONE, WN_I16, true},
    {"torch.CharStorage", CALL_NONE, WN_I8, true},
    {"torch.ByteStorage", CALL_NONE, WN_U8, true},
    {"torch.BoolStorage", CALL_NONE, WN_BOOL, true},
    {"torch.storage.UntypedStorage", CALL_NONE, WN_NONE, true},
    {"torch.UntypedStorage", CALL_NONE, WN_NONE, true},
    {"torch.float32", CALL_NONE, WN_F32, false},
    {"torch.float16", CALL_NONE, WN_F16, false},
    {"torch.bfloat16", CALL_NONE, WN_BF16, false},
    {"torch.float64", CALL_NONE, WN_F64, false},
    {"torch.float8_e4m3fn", CALL_NONE, WN_F8_E4M3, false},
    {"torch.float8_e5m2", CALL_NONE, WN_F8_E5M2, false},
    {"torch.int64", CALL_NONE, WN_I64, false},
    {"torch.int32", CALL_NONE, WN_I32, false},
    {"torch.int16", CALL_NONE, WN_I16, false},
    {"torch.int8", CALL_NONE, WN_I8, false},
    {"torch.uint8", CALL_NONE, WN_U8, false},
    {"torch.bool", CALL_NONE, WN_BOOL, false},
};

/* ---- the machine ---- */

struct wn_pickle_chunk {
    struct wn_pickle_chunk *next;
    size_t used, cap;
};

struct machine {
    const uint8_t *p, *end;
    struct wn_pickle *out;
    struct wn_pv **stack, **memo;
    size_t n, cap;           /* stack */
    size_t n_memo, cap_memo; /* memo; holes are NULL */
    size_t *mark;            /* stack heights */
    size_t n_marks, cap_marks;
    size_t n_values;
    const char *path;
    struct wn_err *err;
    enum wan_status st; /* the first failure ends the run */
};

static struct wn_pv *fail(struct machine *m, const char *what)
{
    if (!m->st) m->st = wn_fail(m->err, WAN_EFORMAT, "%s: malformed pickle: %s", m->path, what);
    return NULL;
}

static struct wn_pv *nomem(struct machine *m, size_t bytes)
{
    if (!m->st) m->st = wn_fail_nomem(m->err, m->path, bytes);
    return NULL;
}

/* Memory that lives as long as the pickle. */
static void *arena_alloc(struct machine *m, size_t bytes)
{
    bytes = (bytes + 15) / 16 * 16;
    struct wn_pickle_chunk *c = m->out->chunks;
    if (!c || bytes > c->cap - c->used) {
        size_t cap = bytes > CHUNK_BYTES / 4 ? bytes : CHUNK_BYTES;
        if (!(c = wn_alloc(WN_ALIGN + cap))) return nomem(m, cap);
        *c = (struct wn_pickle_chunk){m->out->chunks, 0, cap};
        m->out->chunks = c;
    }
    void *p = (char *)c + WN_ALIGN + c->used;
    c->used += bytes;
    return p;
}

static struct wn_pv *new_value(struct machine *m, enum wn_pickle_kind kind)
{
    if (++m->n_values > WN_PICKLE_MAX_VALUES) return fail(m, "too many values");
    struct wn_pv *v = arena_alloc(m, sizeof *v);
    if (v) *v = (struct wn_pv){.kind = kind};
    return v;
}

static const uint8_t *take(struct machine *m, uint64_t n)
{
    if (m->st || (uint64_t)(m->end - m->p) < n) {
        fail(m, "it ends in the middle");
        return NULL;
    }
    const uint8_t *p = m->p;
    m->p += n;
    return p;
}

/* An unsigned little-endian number of `bytes` bytes; 0 after a failure. */
static uint64_t take_uint(struct machine *m, int bytes)
{
    const uint8_t *p = take(m, (uint64_t)bytes);
    uint64_t v = 0;
    for (int i = bytes; p && i-- > 0;) v = v << 8 | p[i];
    return v;
}

/* A line without its newline. */
static struct wn_pickle_text take_line(struct machine *m)
{
    const uint8_t *p = m->p, *nl = m->st ? NULL : memchr(p, '\n', (size_t)(m->end - p));
    if (!nl) {
        fail(m, "it ends in the middle");
        return (struct wn_pickle_text){"", 0};
    }
    m->p = nl + 1;
    return (struct wn_pickle_text){(const char *)p, (size_t)(nl - p)};
}

static void push(struct machine *m, struct wn_pv *v)
{
    if (!v || m->st) return;
    if (m->n >= MAX_STACK)
        fail(m, "its stack grows too large");
    else if (!wn_grow((void **)&m->stack, m->n, &m->cap, sizeof *m->stack))
        nomem(m, m->n * sizeof *m->stack);
    else
        m->stack[m->n++] = v;
}

static size_t floor_of(const struct machine *m)
{
    return m->n_marks ? m->mark[m->n_marks - 1] : 0;
}

static struct wn_pv *pop(struct machine *m)
{
    if (m->st || m->n <= floor_of(m)) return fail(m, "its stack is empty");
    return m->stack[--m->n];
}

static struct wn_pv *top(struct machine *m)
{
    if (m->st || m->n <= floor_of(m)) return fail(m, "its stack is empty");
    return m->stack[m->n - 1];
}

static void push_mark(struct machine *m)
{
    if (m->n_marks >= MAX_STACK)
        fail(m, "its stack grows too large");
    else if (!wn_grow((void **)&m->mark, m->n_marks, &m->cap_marks, sizeof *m->mark))
        nomem(m, m->n_marks * sizeof *m->mark);
    else
        m->mark[m->n_marks++] = m->n;
}

/* Take off everything above the last mark: *items points to it (valid until the next push). */
static size_t pop_to_mark(struct machine *m, struct wn_pv ***items)
{
    *items = NULL;
    if (m->st || !m->n_marks) {
        fail(m, "a mark is missing");
        return 0;
    }
    size_t at = m->mark[--m->n_marks], n = m->n - at;
    *items = m->stack + at;
    m->n = at;
    return n;
}

/* ---- containers ---- */

static void append(struct machine *m, struct wn_pv *seq, struct wn_pv *item)
{
    if (!seq || !item || m->st) return;
    if (seq->seq.n == seq->seq.cap) {
        size_t cap = seq->seq.cap ? 2 * seq->seq.cap : 4;
        struct wn_pv **grown = arena_alloc(m, cap * sizeof *grown);
        if (!grown) return;
        if (seq->seq.n) memcpy(grown, seq->seq.item, seq->seq.n * sizeof *grown);
        seq->seq.item = grown;
        seq->seq.cap = cap;
    }
    seq->seq.item[seq->seq.n++] = item;
}

static struct wn_pv *new_seq(struct machine *m, enum wn_pickle_kind kind, struct wn_pv *const *items,
                             size_t n)
{
    struct wn_pv *v = new_value(m, kind);
    if (!v || !n) return v;
    if (!(v->seq.item = arena_alloc(m, n * sizeof *items))) return NULL;
    memcpy(v->seq.item, items, n * sizeof *items);
    v->seq.n = v->seq.cap = n;
    return v;
}

static void op_tuple_n(struct machine *m, size_t n)
{
    struct wn_pv *item[3];
    for (size_t i = n; i-- > 0;) item[i] = pop(m);
    if (!m->st) push(m, new_seq(m, WN_PICKLE_TUPLE, item, n));
}

static void op_collect(struct machine *m, enum wn_pickle_kind kind)
{
    struct wn_pv **items;
    size_t n = pop_to_mark(m, &items);
    if (kind == WN_PICKLE_DICT && n % 2) fail(m, "a key without a value");
    if (!m->st) push(m, new_seq(m, kind, items, n));
}

/* The items above the mark go into the container below it: a list's elements, or a dict's keys and values. */
static void op_extend(struct machine *m, enum wn_pickle_kind kind)
{
    struct wn_pv **items;
    size_t n = pop_to_mark(m, &items);
    struct wn_pv *to = top(m);
    if (to && to->kind != kind) fail(m, "items are added to something that holds none");
    if (kind == WN_PICKLE_DICT && n % 2) fail(m, "a key without a value");
    for (size_t i = 0; i < n && !m->st; i++) append(m, to, items[i]);
}

static void op_append(struct machine *m)
{
    struct wn_pv *item = pop(m), *to = top(m);
    if (to && to->kind != WN_PICKLE_LIST) fail(m, "items are added to something that holds none");
    append(m, to, item);
}

static void op_set_item(struct machine *m)
{
    struct wn_pv *item = pop(m), *key = pop(m), *to = top(m);
    if (to && to->kind != WN_PICKLE_DICT) fail(m, "items are added to something that holds none");
    append(m, to, key);
    append(m, to, item);
}

/* ---- names and calls ---- */

static bool same(struct wn_pickle_text t, const char *s)
{
    return t.n == strlen(s) && !memcmp(t.s, s, t.n);
}

static bool is_global(const struct wn_pickle_global *g, struct wn_pickle_text module,
                      struct wn_pickle_text name)
{
    size_t n = strlen(g->name);
    return n == module.n + 1 + name.n && !memcmp(g->name, module.s, module.n) && g->name[module.n] == '.' &&
           !memcmp(g->name + module.n + 1, name.s, name.n);
}

static void push_global(struct machine *m, struct wn_pickle_text module, struct wn_pickle_text name)
{
    if (m->st) return;
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (!is_global(&globals[i], module, name)) continue;
        struct wn_pv *v = new_value(m, WN_PICKLE_GLOBAL);
        if (v) v->global = &globals[i];
        push(m, v);
        return;
    }
    m->st =
        wn_fail(m->err, WAN_EFORMAT,
                "%s: names %.*s.%.*s, which no file of plain tensors needs (nothing in it was run); save its "
                "state_dict, or use safetensors",
                m->path, (int)(module.n < 100 ? module.n : 100), module.s, (int)(name.n < 100 ? name.n : 100),
                name.s);
}

static void op_global(struct machine *m)
{
    struct wn_pickle_text module = take_line(m), name = take_line(m);
    push_global(m, module, name);
}

static void op_stack_global(struct machine *m)
{
    struct wn_pv *name = pop(m), *module = pop(m);
    if (m->st) return;
    if (name->kind != WN_PICKLE_STR || module->kind != WN_PICKLE_STR)
        fail(m, "a name that is not a text");
    else
        push_global(m, module->text, name->text);
}

/* ("storage", torch.XStorage, key, location, numel) */
static void op_persistent_id(struct machine *m)
{
    struct wn_pv *id = pop(m);
    if (m->st) return;
    struct wn_pv **a = id->seq.item;
    if (id->kind != WN_PICKLE_TUPLE || id->seq.n < 5 || a[0]->kind != WN_PICKLE_STR ||
        !same(a[0]->text, "storage") || a[1]->kind != WN_PICKLE_GLOBAL || !a[1]->global->is_storage ||
        a[2]->kind != WN_PICKLE_STR || a[4]->kind != WN_PICKLE_INT || a[4]->i < 0) {
        fail(m, "a persistent id that is not a storage");
        return;
    }
    struct wn_pv *v = new_value(m, WN_PICKLE_STORAGE);
    if (v) v->storage = (struct wn_pickle_storage){a[2]->text, a[1]->global->type, a[4]->i};
    push(m, v);
}

static bool read_ints(struct wn_pv *v, int64_t *out, int n)
{
    if (v->kind != WN_PICKLE_TUPLE || v->seq.n != (size_t)n) return false;
    for (int i = 0; i < n; i++) {
        if (v->seq.item[i]->kind != WN_PICKLE_INT) return false;
        out[i] = v->seq.item[i]->i;
    }
    return true;
}

/* (storage, offset, size, stride, requires_grad, hooks), and dtype in version 3. */
static struct wn_pv *rebuild_tensor(struct machine *m, struct wn_pv *args, bool v3)
{
    struct wn_pv **a = args->seq.item;
    if (args->seq.n < (v3 ? 7u : 4u) || a[0]->kind != WN_PICKLE_STORAGE || a[1]->kind != WN_PICKLE_INT ||
        a[2]->kind != WN_PICKLE_TUPLE)
        return fail(m, "a tensor with odd arguments");
    if (a[2]->seq.n > WN_MAX_DIMS) return fail(m, "a tensor with more dimensions than are supported");
    struct wn_pv *v = new_value(m, WN_PICKLE_TENSOR);
    struct wn_pickle_tensor *t = v ? arena_alloc(m, sizeof *t) : NULL;
    if (!t) return NULL;
    *t = (struct wn_pickle_tensor){&a[0]->storage, a[0]->storage.type, a[1]->i, (int)a[2]->seq.n, {0}, {0}};
    if (v3 && a[6]->kind == WN_PICKLE_GLOBAL && !a[6]->global->is_storage) t->type = a[6]->global->type;
    if (t->type == WN_NONE || !read_ints(a[2], t->dim, t->n_dims) || !read_ints(a[3], t->stride, t->n_dims))
        return fail(m, "a tensor with odd arguments");
    v->tensor = t;
    return v;
}

/* OrderedDict(), or OrderedDict([[key, value], …]) */
static struct wn_pv *new_dict(struct machine *m, struct wn_pv *args)
{
    struct wn_pv *v = new_value(m, WN_PICKLE_DICT);
    if (!v || !args->seq.n) return v;
    struct wn_pv *list = args->seq.item[0];
    if (list->kind != WN_PICKLE_LIST) return fail(m, "a dict made of something else than pairs");
    for (size_t i = 0; i < list->seq.n && !m->st; i++) {
        struct wn_pv *pair = list->seq.item[i];
        if ((pair->kind != WN_PICKLE_TUPLE && pair->kind != WN_PICKLE_LIST) || pair->seq.n != 2)
            return fail(m, "a dict made of something else than pairs");
        append(m, v, pair->seq.item[0]);
        append(m, v, pair->seq.item[1]);
    }
    return v;
}

static struct wn_pv *call(struct machine *m, const struct wn_pickle_global *g, struct wn_pv *args)
{
    size_t n = args->seq.n;
    struct wn_pv *first = n ? args->seq.item[0] : NULL;
    switch (g->call) {
    case CALL_TENSOR_V2: return rebuild_tensor(m, args, false);
    case CALL_TENSOR_V3: return rebuild_tensor(m, args, true);
    case CALL_PARAMETER:
        return first && first->kind == WN_PICKLE_TENSOR ? first : fail(m, "a parameter without its tensor");
    case CALL_DICT: return new_dict(m, args);
    case CALL_SIZE:
        return first && first->kind == WN_PICKLE_TUPLE ? first : fail(m, "a size that is not a tuple");
    case CALL_DEVICE: return new_value(m, WN_PICKLE_OPAQUE);
    case CALL_NONE: break;
    }
    return fail(m, "a type is called as if it were a function");
}

static void op_reduce(struct machine *m)
{
    struct wn_pv *args = pop(m), *what = pop(m);
    if (m->st) return;
    if (what->kind != WN_PICKLE_GLOBAL || args->kind != WN_PICKLE_TUPLE)
        fail(m, "something is called that is not a function");
    else
        push(m, call(m, what->global, args));
}

/* Attributes set on an object: state dicts carry "_metadata". They do not matter here. */
static void op_build(struct machine *m)
{
    pop(m);
    struct wn_pv *v = top(m);
    if (v && v->kind != WN_PICKLE_DICT && v->kind != WN_PICKLE_TENSOR)
        fail(m, "attributes of something that has none");
}

/* ---- memo ---- */

static void memo_put(struct machine *m, uint64_t i)
{
    struct wn_pv *v = top(m);
    if (!v) return;
    if (i >= MAX_MEMO) {
        fail(m, "a memo index that is too large");
        return;
    }
    /* Writers count up from 0, so that a hole past what was pushed cannot come from one. */
    if (i > m->n_memo + m->n_values) {
        fail(m, "a memo index out of order");
        return;
    }
    while (m->n_memo <= i) {
        if (!wn_grow((void **)&m->memo, m->n_memo, &m->cap_memo, sizeof *m->memo)) {
            nomem(m, m->n_memo * sizeof *m->memo);
            return;
        }
        m->memo[m->n_memo++] = NULL;
    }
    m->memo[i] = v;
}

static void memo_get(struct machine *m, uint64_t i)
{
    if (m->st) return;
    if (i >= m->n_memo || !m->memo[i])
        fail(m, "a memo entry that was never set");
    else
        push(m, m->memo[i]);
}

/* ---- plain values ---- */

static void push_int(struct machine *m, enum wn_pickle_kind kind, int64_t i)
{
    struct wn_pv *v = m->st ? NULL : new_value(m, kind);
    if (v) v->i = i;
    push(m, v);
}

/* A two's complement number of n bytes. */
static void op_long(struct machine *m, uint64_t n)
{
    const uint8_t *p = take(m, n);
    if (!p) return;
    if (n > 8) {
        fail(m, "a number of more than 64 bits");
        return;
    }
    uint64_t v = n && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = n; i-- > 0;) v = v << 8 | p[i];
    push_int(m, WN_PICKLE_INT, (int64_t)v);
}

static void op_float(struct machine *m)
{
    const uint8_t *p = take(m, 8);
    struct wn_pv *v = p ? new_value(m, WN_PICKLE_FLOAT) : NULL;
    if (!v) return;
    uint64_t u = 0;
    for (int i = 0; i < 8; i++) u = u << 8 | p[i]; /* the one big-endian field of the format */
    memcpy(&v->f, &u, 8);
    push(m, v);
}

static void op_text(struct machine *m, enum wn_pickle_kind kind, int length_bytes)
{
    uint64_t n = take_uint(m, length_bytes);
    const uint8_t *p = take(m, n);
    struct wn_pv *v = p ? new_value(m, kind) : NULL;
    if (v) v->text = (struct wn_pickle_text){(const char *)p, (size_t)n};
    push(m, v);
}

/* ---- the opcodes, by subject; each function says whether it knew the one given ---- */

static bool plain_op(struct machine *m, uint8_t op)
{
    switch (op) {
    case 'N': push(m, new_value(m, WN_PICKLE_NONE)); return true;
    case 0x88: push_int(m, WN_PICKLE_BOOL, 1); return true;
    case 0x89: push_int(m, WN_PICKLE_BOOL, 0); return true;
    case 'J': push_int(m, WN_PICKLE_INT, (int32_t)take_uint(m, 4)); return true;
    case 'K': push_int(m, WN_PICKLE_INT, (int64_t)take_uint(m, 1)); return true;
    case 'M': push_int(m, WN_PICKLE_INT, (int64_t)take_uint(m, 2)); return true;
    case 0x8a: op_long(m, take_uint(m, 1)); return true;
    case 0x8b: op_long(m, take_uint(m, 4)); return true;
    case 'G': op_float(m); return true;
    case 0x8c: op_text(m, WN_PICKLE_STR, 1); return true;
    case 'X': op_text(m, WN_PICKLE_STR, 4); return true;
    case 0x8d: op_text(m, WN_PICKLE_STR, 8); return true;
    case 'U': op_text(m, WN_PICKLE_STR, 1); return true;
    case 'T': op_text(m, WN_PICKLE_STR, 4); return true;
    case 'C': op_text(m, WN_PICKLE_BYTES, 1); return true;
    case 'B': op_text(m, WN_PICKLE_BYTES, 4); return true;
    case 0x8e: op_text(m, WN_PICKLE_BYTES, 8); return true;
    case 0x96: op_text(m, WN_PICKLE_BYTES, 8); return true;
    default: return false;
    }
}

static bool container_op(struct machine *m, uint8_t op)
{
    switch (op) {
    case '(': push_mark(m); return true;
    case ')': push(m, new_value(m, WN_PICKLE_TUPLE)); return true;
    case ']': push(m, new_value(m, WN_PICKLE_LIST)); return true;
    case '}': push(m, new_value(m, WN_PICKLE_DICT)); return true;
    case 0x85: op_tuple_n(m, 1); return true;
    case 0x86: op_tuple_n(m, 2); return true;
    case 0x87: op_tuple_n(m, 3); return true;
    case 't': op_collect(m, WN_PICKLE_TUPLE); return true;
    case 'l': op_collect(m, WN_PICKLE_LIST); return true;
    case 'd': op_collect(m, WN_PICKLE_DICT); return true;
    case 'a': op_append(m); return true;
    case 'e': op_extend(m, WN_PICKLE_LIST); return true;
    case 's': op_set_item(m); return true;
    case 'u': op_extend(m, WN_PICKLE_DICT); return true;
    default: return false;
    }
}

static bool stack_op(struct machine *m, uint8_t op)
{
    struct wn_pv **items;
    switch (op) {
    case '0': pop(m); return true;
    case '1': pop_to_mark(m, &items); return true;
    case '2': push(m, top(m)); return true;
    case 'q': memo_put(m, take_uint(m, 1)); return true;
    case 'r': memo_put(m, take_uint(m, 4)); return true;
    case 0x94: memo_put(m, m->n_memo); return true;
    case 'h': memo_get(m, take_uint(m, 1)); return true;
    case 'j': memo_get(m, take_uint(m, 4)); return true;
    case 'c': op_global(m); return true;
    case 0x93: op_stack_global(m); return true;
    case 'Q': op_persistent_id(m); return true;
    case 'R': op_reduce(m); return true;
    case 0x81: op_reduce(m); return true; /* NEWOBJ: cls.__new__(cls, *args), for the dicts alone */
    case 'b': op_build(m); return true;
    case 0x95: take(m, 8); return true; /* FRAME: a hint for buffering */
    default: return false;
    }
}

static void run(struct machine *m)
{
    if (take_uint(m, 1) != 0x80) fail(m, "it does not start with a protocol");
    uint64_t protocol = take_uint(m, 1);
    if (!m->st && (protocol < 2 || protocol > 5)) fail(m, "a protocol other than 2 to 5");
    while (!m->st) {
        uint8_t op = (uint8_t)take_uint(m, 1);
        if (m->st) break;
        if (op == '.') {
            m->out->root = pop(m);
            break;
        }
        if (!plain_op(m, op) && !container_op(m, op) && !stack_op(m, op))
            m->st = wn_fail(m->err, WAN_EFORMAT,
                            "%s: malformed pickle: opcode 0x%02x is not one that torch writes", m->path, op);
    }
}

enum wan_status wn_pickle_read(struct wn_pickle *pickle, const uint8_t *data, size_t n, const char *path,
                               struct wn_err *err)
{
    *pickle = (struct wn_pickle){0};
    if (n > WN_PICKLE_MAX_BYTES)
        return wn_fail(err, WAN_EFORMAT, "%s: a pickle of %zu bytes is too large", path, n);
    struct machine m = {.p = data, .end = data + n, .out = pickle, .path = path, .err = err};
    run(&m);
    wn_free(m.stack);
    wn_free(m.memo);
    wn_free(m.mark);
    if (m.st) wn_pickle_release(pickle);
    return m.st;
}

void wn_pickle_release(struct wn_pickle *pickle)
{
    for (struct wn_pickle_chunk *c = pickle->chunks, *next; c; c = next) {
        next = c->next;
        wn_free(c);
    }
    *pickle = (struct wn_pickle){0};
}
