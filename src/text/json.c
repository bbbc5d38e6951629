#include "text/json.h"

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
    }
    return "?";
}

enum wan_status wn_json_get(const json_t *object, const char *key, json_type type, const json_t **out,
                            const char *path, struct wn_err *err)
{
    *out = json_object_get(object, key); /* NULL for what is no object */
    if (!*out) return wn_fail(err, WAN_EFORMAT, "%s: \"%s\" is missing", path, key);
    if (json_typeof(*out) == type) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: \"%s\" is %s, not %s", path, key, type_name(json_typeof(*out)),
                   type_name(type));
}

enum wan_status wn_json_get_bool(const json_t *object, const char *key, bool *out, const char *path,
                                 struct wn_err *err)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_boolean(v)) return wn_fail(err, WAN_EFORMAT, "%s: \"%s\" is not true or false", path, key);
    *out = json_is_true(v);
    return WAN_OK;
}
