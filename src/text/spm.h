/* The sentencepiece library behind C linkage; no exception leaves. */
#ifndef WN_TEXT_SPM_H
#define WN_TEXT_SPM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct wn_spm;

/* `model` [n bytes] is copied. NULL on failure, with the reason in why[n_why]. */
struct wn_spm *wn_spm_open(const void *model, size_t n, char *why, size_t n_why);
void wn_spm_close(struct wn_spm *spm); /* NULL is fine */
int32_t wn_spm_n_pieces(const struct wn_spm *spm);
int32_t wn_spm_unk(const struct wn_spm *spm);
/* Id of a piece, -1 when there is none of that name. */
int32_t wn_spm_find(const struct wn_spm *spm, const char *piece);
/* Hand each id of `s` [n bytes] to `put`. -1 on failure. */
int wn_spm_encode(const struct wn_spm *spm, const char *s, size_t n, void (*put)(void *ctx, int32_t id),
                  void *ctx);

#ifdef __cplusplus
}
#endif
#endif
