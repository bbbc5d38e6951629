/* Remarks out of the files that this program writes: chunks of PNG, the XMP packet of WebP, and what FFmpeg
 * finds in a video. */
#include <string.h>

#include <libavformat/avformat.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/av.h"
#include "media/remark.h"

static const char *const keys[WN_REMARK_COUNT] = {"comment", "description"};

void wn_remarks_release(struct wn_remarks *r)
{
    for (int i = 0; i < WN_REMARK_COUNT; i++) wn_free(r->value[i]);
    *r = (struct wn_remarks){0};
}

/* The first of each key counts. */
static enum wan_status keep(struct wn_remarks *r, const char *path, const char *key, const char *text,
                            size_t n, struct wn_err *err)
{
    for (int i = 0; i < WN_REMARK_COUNT; i++) {
        if (strcmp(key, keys[i]) || r->value[i]) continue;
        if (n > WN_REMARK_MAX_BYTES)
            return wn_fail(err, WAN_EFORMAT, "%s: the remark \"%s\" has %zu bytes, more than %d", path, key,
                           n, WN_REMARK_MAX_BYTES);
        if (!(r->value[i] = wn_strndup(text, n))) return wn_fail_nomem(err, "a remark", n);
    }
    return WAN_OK;
}

/* The part of data[n) behind `times` zero bytes; NULL when there are fewer. */
static const char *behind_zeros(const char *data, size_t n, int times)
{
    const char *end = data + n;
    while (times-- && data) {
        data = memchr(data, 0, (size_t)(end - data));
        if (data) data++;
    }
    return data;
}

/* ---- PNG ---- */

static uint32_t u32_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* tEXt: key, 0, text. iTXt: key, 0, compressed?, method, language, 0, key, 0, text. */
static enum wan_status read_text_chunk(struct wn_remarks *r, const char *path, const char *data, size_t n,
                                       bool international, struct wn_err *err)
{
    const char *text = behind_zeros(data, n, 1);
    if (!text) return WAN_OK; /* no remark of ours, and no harm */
    if (international) {
        size_t left = (size_t)(data + n - text);
        if (left < 2 || text[0]) return WAN_OK; /* compressed: not ours */
        text = behind_zeros(text + 2, left - 2, 2);
    }
    return text ? keep(r, path, data, text, (size_t)(data + n - text), err) : WAN_OK;
}

static enum wan_status read_png(struct wn_remarks *r, const struct wn_map *map, struct wn_err *err)
{
    for (size_t at = 8; map->size - at >= 12;) {
        const uint8_t *chunk = map->data + at;
        size_t n = u32_be(chunk);
        if (n > map->size - at - 12)
            return wn_fail(err, WAN_EFORMAT, "%s: a chunk of this PNG is cut off", map->path);
        bool international = !memcmp(chunk + 4, "iTXt", 4);
        if ((international || !memcmp(chunk + 4, "tEXt", 4)) &&
            read_text_chunk(r, map->path, (const char *)chunk + 8, n, international, err))
            return err->code;
        at += n + 12;
    }
    return WAN_OK;
}

/* ---- WebP ---- */

static uint32_t u32_le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* Where `what` begins in text[n), or NULL. */
static const char *find(const char *text, size_t n, const char *what)
{
    size_t m = strlen(what);
    const char *end = text + n;
    for (const char *p = text; p && (size_t)(end - p) >= m; p++) {
        p = memchr(p, what[0], (size_t)(end - p) - m + 1);
        if (!p) break;
        if (!memcmp(p, what, m)) return p;
    }
    return NULL;
}

/* text[n) without what XML needs of escapes, in new memory. */
static char *unescape(const char *text, size_t n)
{
    static const struct {
        const char *from;
        char to;
    } escapes[] = {{"&amp;", '&'},  {"&lt;", '<'},    {"&gt;", '>'},
                   {"&quot;", '"'}, {"&apos;", '\''}, {"&#xD;", '\r'}};
    char *out = wn_alloc(n + 1), *to = out;
    for (size_t i = 0; out && i < n;) {
        size_t used = 0;
        for (size_t k = 0; k < sizeof escapes / sizeof *escapes && !used; k++) {
            size_t m = strlen(escapes[k].from);
            if (m <= n - i && !memcmp(text + i, escapes[k].from, m)) used = m, *to++ = escapes[k].to;
        }
        if (!used) *to++ = text[i];
        i += used ? used : 1;
    }
    if (out) *to = 0;
    return out;
}

/* What stands between `open` and the next '<', which no text holds. */
static enum wan_status read_property(struct wn_remarks *r, const char *path, const char *xmp, size_t n,
                                     const char *key, const char *open, struct wn_err *err)
{
    const char *from = find(xmp, n, open);
    if (!from) return WAN_OK;
    from += strlen(open);
    const char *to = memchr(from, '<', (size_t)(xmp + n - from));
    if (!to) return WAN_OK;
    char *text = unescape(from, (size_t)(to - from));
    if (!text) return wn_fail_nomem(err, "a remark", (unsigned long long)(to - from));
    keep(r, path, key, text, strlen(text), err);
    wn_free(text);
    return err->code;
}

static enum wan_status read_webp(struct wn_remarks *r, const struct wn_map *map, struct wn_err *err)
{
    for (size_t at = 12; map->size - at >= 8;) {
        const uint8_t *chunk = map->data + at;
        size_t n = u32_le(chunk + 4), room = map->size - at - 8;
        const char *xmp = (const char *)chunk + 8;
        if (n > room) return wn_fail(err, WAN_EFORMAT, "%s: a chunk of this WebP is cut off", map->path);
        if (!memcmp(chunk, "XMP ", 4) &&
            (read_property(r, map->path, xmp, n, "comment",
                           "<exif:UserComment><rdf:Alt><rdf:li xml:lang=\"x-default\">", err) ||
             read_property(r, map->path, xmp, n, "description",
                           "<dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">", err)))
            return err->code;
        if (n + n % 2 > room) break;
        at += 8 + n + n % 2;
    }
    return WAN_OK;
}

/* ---- video files ---- */

static enum wan_status read_video(struct wn_remarks *r, const char *path, struct wn_err *err)
{
    char *url = wn_sprintf("file:%s", path);
    AVFormatContext *file = NULL;
    AVDictionary *options = NULL;
    wn_av_quiet();
    int ret = url ? 0 : AVERROR(ENOMEM);
    if (ret >= 0) ret = av_dict_set(&options, "protocol_whitelist", "file", 0);
    if (ret >= 0) ret = av_dict_set(&options, "format_whitelist", "mov,mp4,matroska,webm", 0);
    if (ret >= 0) ret = avformat_open_input(&file, url, NULL, &options);
    av_dict_free(&options);
    wn_free(url);
    if (ret < 0) return wn_av_fail(path, ret, WAN_EFORMAT, "read its metadata", err);
    for (int i = 0; i < WN_REMARK_COUNT && !err->code; i++) {
        const AVDictionaryEntry *e = av_dict_get(file->metadata, keys[i], NULL, 0);
        if (e) keep(r, path, keys[i], e->value, strlen(e->value), err);
    }
    avformat_close_input(&file);
    return err->code;
}

enum wan_status wn_remarks_read(struct wn_remarks *r, const char *path, struct wn_err *err)
{
    struct wn_map map;
    *r = (struct wn_remarks){0};
    if (wn_map_open(&map, path, err)) return err->code;
    if (map.size >= 8 && !memcmp(map.data, "\x89PNG\r\n\x1a\n", 8))
        read_png(r, &map, err);
    else if (map.size >= 12 && !memcmp(map.data, "RIFF", 4) && !memcmp(map.data + 8, "WEBP", 4))
        read_webp(r, &map, err);
    else
        read_video(r, path, err);
    wn_map_close(&map);
    if (err->code) wn_remarks_release(r);
    return err->code;
}
