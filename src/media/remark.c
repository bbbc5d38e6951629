#include "media/remark.h"

#include <string.h>

enum wan_status wn_remarks_check(const char *path, const struct wn_media_text *text, size_t n_text,
                                 struct wn_err *err)
{
    for (size_t i = 0; i < n_text; i++) {
        const char *key = text[i].key;
        size_t n = strlen(key), value = strlen(text[i].value);
        for (const char *k = key; *k; k++)
            if (*k <= 0x20 || *k > 0x7e) n = 0;
        if (n < 1 || n > 79)
            return wn_fail(err, WAN_EINVAL,
                           "%s: \"%s\" cannot be a metadata key (1 to 79 ASCII characters, no spaces)", path,
                           key);
        if (value > WN_REMARK_MAX_BYTES)
            return wn_fail(err, WAN_EINVAL, "%s: the remark \"%s\" has %zu bytes, more than %d", path, key,
                           value, WN_REMARK_MAX_BYTES);
    }
    return WAN_OK;
}
