/* The state of a run on disk: latents and solver history, and everything that must be the same when it goes
 * on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "lib/build.h"
#include "lib/session.h"

/* ---- what must be the same ---- */

enum { MAX_FACTS = 64 };

/* Key and value, as they stand in the file's metadata. */
struct facts {
    char *text[2 * MAX_FACTS + 1]; /* key, value, …, NULL */
    int n;
    bool nomem;
};

static void facts_release(struct facts *f)
{
    for (int i = 0; i < f->n; i++) wn_free(f->text[i]);
    *f = (struct facts){0};
}

/* Takes `value`, NULL for lack of memory. */
static void add(struct facts *f, const char *key, char *value)
{
    char *copy = wn_strdup(key);
    if (copy && value && f->n < 2 * MAX_FACTS) {
        f->text[f->n++] = copy;
        f->text[f->n++] = value;
        return;
    }
    f->nomem = true;
    wn_free(copy);
    wn_free(value);
}

static void add_digest(struct facts *f, const char *key, struct wn_digest d)
{
    char hex[17];
    wn_digest_hex(&d, hex);
    add(f, key, wn_strdup(hex));
}

/* Options that do not change the latents, or whose content is looked at instead of their name. */
static bool is_free(const char *option, bool image)
{
    static const char *const free_ones[] = {"fps",     "crf",   "save-latents", "strict",       "noise",
                                            "context", "image", "resume-from",  "from-latents", "cache"};
    if (!image && !strcmp(option, "vae-precision")) return true;
    for (size_t i = 0; i < sizeof free_ones / sizeof *free_ones; i++)
        if (!strcmp(option, free_ones[i])) return true;
    return false;
}

static void add_options(struct facts *f, const struct wan_session *s)
{
    size_t n;
    const struct wan_option *o = wan_gen_options(&n);
    for (size_t i = 0; i < n; i++)
        if (!is_free(o[i].name, s->image.pixels != NULL)) add(f, o[i].name, wn_option_text(&s->p, &o[i]));
}

static enum wan_status add_weights(struct facts *f, struct wan_session *s, struct wn_err *err)
{
    struct wn_parts *parts = &s->model->parts;
    bool image = s->image.pixels != NULL, text = !s->p.context_file;
    for (int part = 0; part < WN_PART_COUNT; part++) {
        bool used = part < WN_N_DITS || (part == WN_PART_T5 && text) || (part == WN_PART_VAE && image);
        if (!used || !wn_checkpoint_has(parts->checkpoint, (enum wn_part)part)) continue;
        if (wn_parts_weights(parts, (enum wn_part)part, err)) return err->code;
        add_digest(f, wn_part_name((enum wn_part)part),
                   (struct wn_digest){wn_weights_fingerprint(parts->weights[part])});
    }
    return WAN_OK;
}

/* Everything that decides what the remaining steps give. */
static enum wan_status collect(struct wan_session *s, struct facts *f, struct wn_err *err)
{
    const struct wn_device *dev = s->model->ctx->dev;
    *f = (struct facts){0};
    add(f, "wan.build", wn_strdup(WN_BUILD));
    add(f, "wan.device", wn_sprintf("%s %s", dev->table->name, dev->isa ? dev->isa : ""));
    add_options(f, s);
    add_digest(f, "noise", s->noise);
    if (s->p.context_file) add_digest(f, "context", s->context);
    if (s->image.pixels) {
        struct wn_digest d = {0};
        wn_digest_add(&d, s->image.pixels, 3 * sizeof(float) * (size_t)s->p.width * (size_t)s->p.height);
        add_digest(f, "image", d);
    }
    if (add_weights(f, s, err)) return err->code;
    return f->nomem ? wn_fail_nomem(err, "the state of the run", 0) : WAN_OK;
}

/* ---- going on ---- */

bool wn_state_seed(const char *path, int64_t *seed)
{
    struct wn_weights *w;
    if (wn_file_kind(path) != WN_FILE_REGULAR || wn_weights_open(&w, path, NULL)) return false;
    const char *text = wn_weights_metadata(w, "seed");
    char *end = NULL;
    if (text) *seed = strtoll(text, &end, 10);
    bool ok = end && end > text && !*end;
    wn_weights_close(w);
    return ok;
}

/* A sentence about one fact that is not the same. Another build or device may only round differently. */
static enum wan_status differs(const struct wan_session *s, const char *key, const char *was, const char *is,
                               struct wn_err *err)
{
    const char *file = s->p.resume_file;
    if (!strcmp(key, "wan.build") || !strcmp(key, "wan.device")) {
        wn_logf(&s->model->ctx->log, WN_LOG_WARN,
                "%s was made by another %s (%s, this is %s): the result may differ in rounding", file,
                key + 4, was, is);
        return WAN_OK;
    }
    if (strlen(was) == 16 && strlen(is) == 16 && strspn(is, "0123456789abcdef") == 16)
        return wn_fail(err, WAN_EINVAL, "%s was made with another %s than this run's", file, key);
    return wn_fail(err, WAN_EINVAL, "%s was made with --%s %s, and this run has %s", file, key,
                   *was ? was : "\"\"", *is ? is : "\"\"");
}

static enum wan_status compare(const struct wan_session *s, const struct facts *f, const struct wn_weights *w,
                               struct wn_err *err)
{
    for (int i = 0; i < f->n; i += 2) {
        const char *was = wn_weights_metadata(w, f->text[i]);
        if (!was)
            return wn_fail(err, WAN_EFORMAT, "%s: not the state of a run like this one: no '%s' in it",
                           wn_weights_path(w), f->text[i]);
        if (strcmp(was, f->text[i + 1]) && differs(s, f->text[i], was, f->text[i + 1], err)) return err->code;
    }
    return WAN_OK;
}

static enum wan_status restore(struct wan_session *s, const struct wn_weights *w, struct wn_err *err)
{
    const char *text = wn_weights_metadata(w, "wan.steps_done");
    char *end = NULL;
    long done = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || done < 1 || done > s->p.steps)
        return wn_fail(err, WAN_EFORMAT, "%s: metadata 'wan.steps_done' is '%s'", wn_weights_path(w),
                       text ? text : "");
    if (wn_job_restore(s->job, w, (int)done, err)) return err->code;
    wn_logf(&s->model->ctx->log, WN_LOG_NOTICE, "going on after step %ld of %d, from %s", done, s->p.steps,
            s->p.resume_file);
    return WAN_OK;
}

enum wan_status wn_state_resume(struct wan_session *s, struct wn_err *err)
{
    struct wn_weights *w;
    struct facts f;
    if (!s->p.resume_file || wn_file_kind(s->p.resume_file) == WN_FILE_NONE) return WAN_OK;
    if (wn_weights_open(&w, s->p.resume_file, err)) return err->code;
    if (!collect(s, &f, err) && !compare(s, &f, w, err)) restore(s, w, err);
    facts_release(&f);
    wn_weights_close(w);
    return err->code;
}

/* ---- saving ---- */

struct wn_state_writer {
    char *path;
    struct facts facts;
    char done[16];
    float *copy[WN_JOB_STATE_TENSORS]; /* of the job's tensors, which change while the file is written */
    struct wn_weight tensor[WN_JOB_STATE_TENSORS];
    int n;
    struct wn_thread *thread;
    struct wn_err err; /* of the write that ended last */
};

static void write_now(void *arg)
{
    struct wn_state_writer *w = arg;
    const char *meta[2 * MAX_FACTS + 3] = {"wan.steps_done", w->done};
    for (int i = 0; i < w->facts.n; i++) meta[2 + i] = w->facts.text[i];
    wn_safetensors_write(w->path, w->tensor, (size_t)w->n, meta, &w->err);
}

static void writer_free(struct wn_state_writer *w)
{
    if (!w) return;
    for (int i = 0; i < WN_JOB_STATE_TENSORS; i++) wn_free(w->copy[i]);
    facts_release(&w->facts);
    wn_free(w->path);
    wn_free(w);
}

enum wan_status wan_session_keep_state(struct wan_session *s, const char *path)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    if (s->p.from_latents_file) return wn_fail(err, WAN_EINVAL, "a run without steps has no state to keep");
    if (s->state) return wn_fail(err, WAN_EINVAL, "the state of this session is kept already");
    if (wn_place_check(path, err)) return err->code;
    struct wn_state_writer *w = wn_zalloc(sizeof *w);
    if (!w || !(w->path = wn_strdup(path))) {
        wn_free(w);
        return wn_fail_nomem(err, "the state of the run", sizeof *w);
    }
    if (collect(s, &w->facts, err)) {
        writer_free(w);
        return err->code;
    }
    s->state = w;
    return WAN_OK;
}

/* The write that may be in progress is over, and a failure was told. */
static void wait_for_writer(struct wan_session *s)
{
    struct wn_state_writer *w = s->state;
    wn_thread_join(w->thread);
    w->thread = NULL;
    if (w->err.code)
        wn_logf(&s->model->ctx->log, WN_LOG_WARN,
                "the state of this run could not be saved, so it could not go on after being stopped: %s",
                w->err.text);
    w->err = (struct wn_err){0};
}

static bool snapshot(struct wn_state_writer *w, struct wn_job *job)
{
    w->n = wn_job_state(job, w->tensor);
    for (int i = 0; i < w->n; i++) {
        if (!w->copy[i] && !(w->copy[i] = wn_alloc(w->tensor[i].bytes)))
            return !wn_fail_nomem(&w->err, "the state of the run", w->tensor[i].bytes);
        memcpy(w->copy[i], w->tensor[i].data, w->tensor[i].bytes);
        w->tensor[i].data = w->copy[i];
    }
    snprintf(w->done, sizeof w->done, "%d", wn_job_steps_done(job));
    return true;
}

void wn_state_save(struct wan_session *s)
{
    struct wn_state_writer *w = s->state;
    if (!w) return;
    wait_for_writer(s);
    if (snapshot(w, s->job)) wn_thread_start(&w->thread, write_now, w, &w->err);
}

void wan_session_drop_state(struct wan_session *s)
{
    wn_state_end(s, true);
}

void wn_state_end(struct wan_session *s, bool remove_it)
{
    if (!s->state) return;
    wait_for_writer(s);
    if (remove_it) remove(s->state->path);
    writer_free(s->state);
    s->state = NULL;
}
