#include "media/frame_name.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

/* The parts of a valid pattern: text, one conversion, text. Every '%' in the texts is doubled. */
struct pattern {
    const char *conversion, *rest; /* the '%', and what follows its 'd' */
    int width;
    bool zeros;
};

/* NULL, or what is wrong. */
static const char *parse_conversion(const char *p, struct pattern *out)
{
    *out = (struct pattern){.conversion = p++};
    if (*p == '0') {
        out->zeros = true;
        p++;
        if (*p < '1' || *p > '9') return "the number after %0 must be 1 to 9";
    }
    if (*p >= '1' && *p <= '9') out->width = *p++ - '0';
    if (*p != 'd')
        return "only %d, %Nd and %0Nd with N from 1 to 9 stand for the frame number, and %% for a percent "
               "sign";
    out->rest = p + 1;
    return NULL;
}

static const char *parse_pattern(const char *pattern, struct pattern *out)
{
    *out = (struct pattern){0};
    for (const char *p = wn_path_base(pattern); *p; p++) {
        if (*p != '%') continue;
        if (p[1] == '%') {
            p++;
            continue;
        }
        if (out->conversion) return "the frame number may stand in it only once";
        const char *why = parse_conversion(p, out);
        if (why) return why;
        p = out->rest - 1;
    }
    return out->conversion ? NULL : "a frame number such as %04d is missing";
}

bool wn_frame_pattern_has(const char *path)
{
    return strchr(wn_path_base(path), '%') != NULL;
}

enum wan_status wn_frame_pattern_check(const char *pattern, struct wn_err *err)
{
    struct pattern p;
    const char *why = parse_pattern(pattern, &p);
    return why ? wn_fail(err, WAN_EINVAL, "%s: not a pattern for frame names: %s", pattern, why) : WAN_OK;
}

/* Append [from, to) with each doubled '%' made one. */
static int add_text(struct wn_str *s, const char *from, const char *to)
{
    for (const char *p = from; p < to; p++) {
        if (wn_str_add(s, p, 1)) return -1;
        if (*p == '%') p++;
    }
    return 0;
}

char *wn_frame_pattern_expand(const char *pattern, int64_t index)
{
    struct pattern p;
    if (index < 0 || parse_pattern(pattern, &p)) return NULL;
    const char *base = wn_path_base(pattern);
    struct wn_str s = {0};
    char *name = NULL;
    int bad = wn_str_add(&s, pattern, (size_t)(base - pattern)) || add_text(&s, base, p.conversion) ||
              wn_str_addf(&s, p.zeros ? "%0*lld" : "%*lld", p.width, (long long)index) ||
              add_text(&s, p.rest, p.rest + strlen(p.rest));
    if (!bad) name = wn_strdup(s.data);
    wn_str_release(&s);
    return name;
}
