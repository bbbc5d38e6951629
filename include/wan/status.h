/* Status codes of libwan. Included by wan.h; not needed on its own. */
#ifndef WAN_STATUS_H
#define WAN_STATUS_H

#if defined(__GNUC__)
#define WAN_API __attribute__((visibility("default")))
#else
#define WAN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Every function that can fail returns one of these. The message that goes with it names the file, tensor,
 * dtype or option at fault (wan_context_error). Values are stable. */
enum wan_status {
    WAN_OK = 0,
    WAN_EINVAL = 1,       /* an argument or option is out of range or contradicts another */
    WAN_ENOMEM = 2,       /* an allocation failed, or the memory limit would be exceeded */
    WAN_EIO = 3,          /* open, read, write, rename or map failed */
    WAN_EFORMAT = 4,      /* a file is truncated, malformed or lies about its contents */
    WAN_EUNSUPPORTED = 5, /* well-formed, but not something this build or device can do */
    WAN_ECANCELED = 6,    /* the cancel callback asked to stop */
    WAN_ENUMERIC = 7,     /* NaN, infinity or an all-zero result where none can be */
    WAN_EINTERNAL = 8     /* a bug in libwan */
};

/* The name of a code, "WAN_EIO"; never NULL. Thread-safe. */
WAN_API const char *wan_status_name(enum wan_status status);

#ifdef __cplusplus
}
#endif
#endif
