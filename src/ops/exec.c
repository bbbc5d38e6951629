#include "ops/exec.h"

#include <stdio.h>
#include <string.h>

void wn_scope_begin(struct wn_exec *ex, struct wn_scope *scope)
{
    *scope = (struct wn_scope){.parent = ex->scope};
    ex->scope = scope;
    if (ex->dev->table->scope_begin) ex->dev->table->scope_begin(ex->dev);
}

static void unlink_buf(struct wn_buf *buf)
{
    if (!buf->link) return;
    *buf->link = buf->next;
    if (buf->next) buf->next->link = buf->link;
    buf->link = NULL;
    buf->next = NULL;
}

static void link_buf(struct wn_scope *scope, struct wn_buf *buf)
{
    if (!scope) return;
    buf->next = scope->first;
    buf->link = &scope->first;
    if (buf->next) buf->next->link = &buf->next;
    scope->first = buf;
}

static bool in_scope(const struct wn_scope *scope, const struct wn_buf *buf)
{
    for (const struct wn_buf *b = scope->first; b; b = b->next)
        if (b == buf) return true;
    return false;
}

struct wn_tensor wn_keep(struct wn_exec *ex, struct wn_tensor t)
{
    if (!wn_has(t) || !ex->scope || !in_scope(ex->scope, t.buf)) return t;
    unlink_buf(t.buf);
    link_buf(ex->scope->parent, t.buf);
    return t;
}

void wn_scope_end(struct wn_exec *ex, struct wn_scope *scope)
{
    while (scope->first) {
        struct wn_buf *buf = scope->first;
        unlink_buf(buf);
        wn_buf_release(buf);
    }
    ex->scope = scope->parent;
    if (wn_ok(ex) && ex->dev->table->scope_end) ex->dev->table->scope_end(ex->dev, &ex->err);
}

struct wn_tensor wn_new(struct wn_exec *ex, struct wn_tensor shape)
{
    if (!wn_ok(ex)) return (struct wn_tensor){0};
    shape.offset = 0;
    if (wn_buf_new(&shape.buf, ex->dev, wn_n_bytes(shape), &ex->err)) return (struct wn_tensor){0};
    link_buf(ex->scope, shape.buf);
    return shape;
}

void wn_drop(struct wn_exec *ex, struct wn_tensor t)
{
    (void)ex;
    if (!wn_has(t) || !t.buf->link) return;
    unlink_buf(t.buf);
    wn_buf_release(t.buf);
}

struct wn_tensor wn_upload(struct wn_exec *ex, struct wn_tensor shape, const void *data)
{
    struct wn_tensor t = wn_new(ex, shape);
    if (wn_has(t)) ex->dev->table->upload(ex->dev, t.buf, 0, data, wn_n_bytes(t), &ex->err);
    return t;
}

enum wan_status wn_download(struct wn_exec *ex, struct wn_tensor t, void *data)
{
    if (!wn_ok(ex)) return ex->err.code;
    if (!wn_has(t)) return wn_exec_fail(ex, WAN_EINTERNAL, "download of an absent tensor");
    return ex->dev->table->download(ex->dev, t.buf, t.offset, data, wn_n_bytes(t), &ex->err);
}

struct wn_tensor wn_map_tensor(struct wn_device *dev, struct wn_tensor shape, const void *data,
                               struct wn_err *err)
{
    struct wn_buf *buf;
    if (wn_buf_map(&buf, dev, wn_n_bytes(shape), data, err)) return (struct wn_tensor){0};
    shape.buf = buf;
    shape.offset = 0;
    return shape;
}

void wn_unmap(struct wn_tensor t)
{
    if (wn_has(t)) wn_buf_release(t.buf);
}

void wn_advise(struct wn_exec *ex, struct wn_tensor t, bool soon)
{
    if (wn_ok(ex) && wn_has(t) && t.buf->mapped && !t.buf->later && ex->dev->table->advise)
        ex->dev->table->advise(ex->dev, t.buf, t.offset, wn_n_bytes(t), soon);
}

struct wn_tensor wn_retain(struct wn_exec *ex, struct wn_tensor t)
{
    (void)ex;
    if (!wn_has(t)) return t;
    if (t.buf->link)
        unlink_buf(t.buf); /* the scope's reference becomes the caller's */
    else
        wn_buf_retain(t.buf);
    return t;
}

void wn_release(struct wn_tensor t)
{
    if (wn_has(t)) wn_buf_release(t.buf);
}

void wn_name(struct wn_exec *ex, struct wn_tensor t, const char *fmt, ...)
{
    if (!ex->on_named || !wn_ok(ex) || !wn_has(t)) return;
    char name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    ex->on_named(ex->on_named_ctx, ex, name, t);
}

enum wan_status wn_exec_fail(struct wn_exec *ex, enum wan_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    code = wn_vfail(&ex->err, code, fmt, ap);
    va_end(ap);
    return code;
}
