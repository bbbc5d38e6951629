#include "io/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/dialect.h"

static const char high_folder[] = "high_noise_model", low_folder[] = "low_noise_model";
static const char index_ext[] = ".safetensors.index.json";

/* Put before every name by third-party single files. */
static const char *const prefixes[] = {"model.diffusion_model.", "diffusion_model.", "transformer.",
                                       "model."};

const char *wn_part_name(enum wn_part part)
{
    static const char *const names[WN_PART_COUNT] = {"transformer",
                                                     "high-noise transformer",
                                                     "low-noise transformer",
                                                     "text encoder",
                                                     "VAE",
                                                     "image encoder",
                                                     "tokenizer"};
    return part < WN_PART_COUNT ? names[part] : "unknown part";
}

/* Where an official folder has it: for messages. */
static const char *expected_file(enum wn_part part)
{
    static const char *const files[WN_PART_COUNT] = {
        "diffusion_pytorch_model.safetensors (or its shards and index)",
        "high_noise_model/diffusion_pytorch_model.safetensors.index.json",
        "low_noise_model/diffusion_pytorch_model.safetensors.index.json",
        "models_t5_umt5-xxl-enc-bf16.pth",
        "Wan2.1_VAE.pth or Wan2.2_VAE.pth",
        "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
        "google/umt5-xxl/tokenizer.json",
    };
    return files[part];
}

static const char *const task_names[] = {"unknown", "t2v", "i2v", "ti2v", "flf2v", "vace", "s2v", "animate"};

const char *wn_task_name(enum wn_task task)
{
    return (size_t)task < sizeof task_names / sizeof *task_names ? task_names[task] : "unknown";
}

static enum wn_task parse_task(const char *name)
{
    for (size_t i = 1; i < sizeof task_names / sizeof *task_names; i++)
        if (!strcmp(name, task_names[i])) return (enum wn_task)i;
    return WN_TASK_UNKNOWN;
}

/* ---- text ---- */

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Does `s` contain `word` (lower case), in any case? */
static bool mentions(const char *s, const char *word)
{
    for (; *s; s++) {
        size_t i = 0;
        while (word[i] && lower(s[i]) == word[i]) i++;
        if (!word[i]) return true;
    }
    return false;
}

/* The last name of a path, which may end in slashes, into out. */
static void last_name(const char *path, char *out, size_t size)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    size_t n = end - begin < size - 1 ? end - begin : size - 1;
    memcpy(out, path + begin, n);
    out[n] = 0;
}

/* ---- a folder that is being looked at ---- */

struct scan {
    struct wn_checkpoint *ck;
    const char *folder;
    char **name; /* its files and folders */
    size_t n;
    struct wn_err *err;
};

static bool nomem(const struct scan *s)
{
    wn_fail_nomem(s->err, s->folder, 0);
    return false;
}

static bool problem(const struct scan *s, const char *text, const char *a, const char *b)
{
    return wn_problems_add(&s->ck->problems, "%s: %s (%s%s%s)", s->folder, text, a, b ? ", " : "",
                           b ? b : "") ||
           nomem(s);
}

/* *out = folder/name, unless it is set. */
static bool set_path(const struct scan *s, char **out, const char *name)
{
    if (*out) return true;
    return (*out = wn_path_join(s->folder, name)) ? true : nomem(s);
}

static bool is_weight_file(const char *name)
{
    static const char *const ext[] = {".safetensors", ".pth", ".pt", ".ckpt", ".bin"};
    for (size_t i = 0; i < sizeof ext / sizeof *ext; i++)
        if (!strcmp(wn_path_ext(name), ext[i])) return true;
    return false;
}

/* Which part a file's name speaks of; WN_PART_COUNT: none that is known. */
static enum wn_part part_of_name(const char *name)
{
    if (ends_with(name, index_ext)) return WN_PART_DIT;
    if (!is_weight_file(name) || mentions(name, "lora")) return WN_PART_COUNT;
    if (mentions(name, "vae_encoder")) return WN_PART_COUNT; /* half of a VAE, whose whole file has it too */
    if (mentions(name, "vae")) return WN_PART_VAE;
    if (mentions(name, "clip")) return WN_PART_CLIP;
    if (mentions(name, "umt5") || mentions(name, "t5_") || mentions(name, "t5-")) return WN_PART_T5;
    return ends_with(name, ".safetensors") ? WN_PART_DIT : WN_PART_COUNT;
}

static bool has_name(const struct scan *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->name[i], name)) return true;
    return false;
}

/* Parts that are one file each. */
static bool find_single(const struct scan *s, enum wn_part part)
{
    const char *found = NULL, *second = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (part_of_name(s->name[i]) != part) continue;
        if (!found)
            found = s->name[i];
        else if (!second)
            second = s->name[i];
    }
    if (second && !problem(s, "more than one file for the same part; the first is taken", found, second))
        return false;
    return !found || set_path(s, &s->ck->part[part].path, found);
}

/* ---- the transformer's files ---- */

static bool add_shard(const struct scan *s, struct wn_checkpoint_part *p, const char *name)
{
    char **grown = wn_realloc(p->file, (p->n_files + 1) * sizeof *grown);
    if (!grown) return nomem(s);
    p->file = grown;
    if (!(grown[p->n_files] = wn_path_join(s->folder, name))) return nomem(s);
    p->n_files++;
    return true;
}

static bool is_shard(const char *name)
{
    return strstr(name, "-of-") != NULL;
}

/* Several files and no index: shards are opened together, anything else is for the user to decide. */
static bool take_several(const struct scan *s, struct wn_checkpoint_part *p, const char *first,
                         const char *second)
{
    if (!is_shard(first) || !is_shard(second))
        return problem(s, "several files could be the transformer; give the right one as the model", first,
                       second);
    for (size_t i = 0; i < s->n; i++)
        if (part_of_name(s->name[i]) == WN_PART_DIT && is_shard(s->name[i]) && !add_shard(s, p, s->name[i]))
            return false;
    return (p->path = wn_strdup(s->folder)) ? true : nomem(s);
}

static bool find_config(const struct scan *s, enum wn_part part)
{
    return !has_name(s, "config.json") || set_path(s, &s->ck->part[part].config_path, "config.json");
}

/* Two files in one folder that are called high and low are the two experts, and its config.json is theirs. */
static bool take_experts(const struct scan *s, const char *first, const char *second, bool *taken)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += part_of_name(s->name[i]) == WN_PART_DIT;
    bool in_order = mentions(first, "high") && mentions(second, "low");
    *taken = n == 2 && !is_shard(first) && (in_order || (mentions(first, "low") && mentions(second, "high")));
    if (!*taken) return true;
    return set_path(s, &s->ck->part[WN_PART_DIT_HIGH].path, in_order ? first : second) &&
           set_path(s, &s->ck->part[WN_PART_DIT_LOW].path, in_order ? second : first) &&
           find_config(s, WN_PART_DIT_HIGH) && find_config(s, WN_PART_DIT_LOW);
}

/* Is the file that an index is named after there? Then that is all, whatever the index says: it came along
 * from the files it was made of. */
static bool is_whole(const struct scan *s, const char *index)
{
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(strlen(index) - strlen(".index.json")), index);
    return has_name(s, name);
}

static bool find_dit(const struct scan *s, enum wn_part part)
{
    bool experts = false;
    static const char official[] = "diffusion_pytorch_model.safetensors";
    static const char official_index[] = "diffusion_pytorch_model.safetensors.index.json";
    struct wn_checkpoint_part *p = &s->ck->part[part];
    const char *first = NULL, *second = NULL, *index = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (part_of_name(s->name[i]) != WN_PART_DIT) continue;
        if (ends_with(s->name[i], index_ext)) {
            if (is_whole(s, s->name[i])) continue;
            if (index && strcmp(s->name[i], official_index) &&
                !problem(s, "more than one index", index, s->name[i]))
                return false;
            if (!index || !strcmp(s->name[i], official_index)) index = s->name[i];
        } else if (!first) {
            first = s->name[i];
        } else if (!second) {
            second = s->name[i];
        }
    }
    if (index) first = index;
    if (!index && has_name(s, official)) first = official, second = NULL;
    if (first && second && !index) {
        if (part == WN_PART_DIT && !take_experts(s, first, second, &experts)) return false;
        return experts || take_several(s, p, first, second);
    }
    return !first || set_path(s, &p->path, first);
}

/* ---- tokenizer ---- */

static bool holds_tokenizer(const struct scan *s, const char *folder, bool *found)
{
    static const char *const files[] = {"tokenizer.json", "spiece.model"};
    *found = false;
    for (size_t i = 0; i < 2 && !*found; i++) {
        char *path = wn_path_join(folder, files[i]);
        if (!path) return nomem(s);
        *found = wn_file_kind(path) == WN_FILE_REGULAR;
        wn_free(path);
    }
    return true;
}

static bool find_tokenizer(const struct scan *s)
{
    static const char *const places[] = {"google/umt5-xxl", "umt5-xxl", "tokenizer", ""};
    char **out = &s->ck->part[WN_PART_TOKENIZER].path;
    for (size_t i = 0; i < sizeof places / sizeof *places && !*out; i++) {
        bool found;
        char *path = places[i][0] ? wn_path_join(s->folder, places[i]) : wn_strdup(s->folder);
        if (!path) return nomem(s);
        const bool ok = holds_tokenizer(s, path, &found);
        if (ok && found)
            *out = path;
        else
            wn_free(path);
        if (!ok) return false;
    }
    return true;
}

/* ---- folders ---- */

static bool scan_begin(struct scan *s, struct wn_checkpoint *ck, const char *folder, struct wn_err *err)
{
    *s = (struct scan){.ck = ck, .folder = folder, .err = err};
    return !wn_dir_list(folder, &s->name, &s->n, err);
}

/* high_noise_model/ or low_noise_model/ below `path`. */
static bool scan_expert(struct wn_checkpoint *ck, const char *path, const char *name, enum wn_part part,
                        struct wn_err *err)
{
    char *folder = wn_path_join(path, name);
    if (!folder) return wn_fail_nomem(err, path, 0), false;
    struct scan s = {0};
    bool ok = true;
    if (wn_file_kind(folder) == WN_FILE_DIR)
        ok = scan_begin(&s, ck, folder, err) && find_dit(&s, part) && find_config(&s, part);
    wn_names_free(s.name, s.n);
    wn_free(folder);
    return ok;
}

static bool scan_folder(struct wn_checkpoint *ck, const char *path, struct wn_err *err)
{
    struct scan s;
    bool ok = scan_begin(&s, ck, path, err) && find_dit(&s, WN_PART_DIT) && find_config(&s, WN_PART_DIT) &&
              find_single(&s, WN_PART_VAE) && find_single(&s, WN_PART_T5) && find_single(&s, WN_PART_CLIP) &&
              find_tokenizer(&s);
    if (ok && has_name(&s, "model_index.json"))
        ok = problem(&s, "diffusers' layout, whose weights cannot be read yet", "model_index.json", NULL);
    wn_names_free(s.name, s.n);
    return ok && scan_expert(ck, path, high_folder, WN_PART_DIT_HIGH, err) &&
           scan_expert(ck, path, low_folder, WN_PART_DIT_LOW, err);
}

/* ---- weights ---- */

/* Take the prefix off that stands before the transformer's names, if there is one. */
static void strip_prefix(struct wn_weights *w)
{
    char name[64];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        snprintf(name, sizeof name, "%spatch_embedding.weight", prefixes[i]);
        if (!wn_weights_find(w, name)) continue;
        wn_weights_strip_prefix(w, prefixes[i]);
        return;
    }
}

static enum wan_status open_part(const struct wn_checkpoint_part *p, struct wn_weights **w,
                                 struct wn_err *err)
{
    enum wan_status st =
        p->n_files ? wn_weights_open_files(w, p->path, (const char *const *)p->file, p->n_files, err)
                   : wn_weights_open(w, p->path, err);
    if (!st) st = wn_dialect_names(*w, err);
    if (!st) {
        strip_prefix(*w);
        st = wn_dialect_layout(*w, err);
    }
    if (st) {
        wn_weights_close(*w);
        *w = NULL;
    }
    return st;
}

enum wan_status wn_checkpoint_weights(const struct wn_checkpoint *ck, enum wn_part part,
                                      struct wn_weights **w, struct wn_err *err)
{
    *w = NULL;
    if (part == WN_PART_TOKENIZER || part >= WN_PART_COUNT)
        return wn_fail(err, WAN_EINVAL, "%s: the %s has no weights", ck->path, wn_part_name(part));
    if (!ck->part[part].path)
        return wn_fail(err, WAN_EFORMAT, "%s: no %s here: expected %s", ck->path, wn_part_name(part),
                       expected_file(part));
    enum wan_status st = open_part(&ck->part[part], w, err);
    if (st) return st;
    enum wn_part is = wn_part_of_weights(*w);
    enum wn_part wanted = part < WN_N_DITS ? WN_PART_DIT : part;
    if (is == wanted) return WAN_OK;
    st = wn_fail(err, WAN_EFORMAT, "%s: its tensors are not those of a Wan %s with official names",
                 ck->part[part].path, wn_part_name(part));
    wn_weights_close(*w);
    *w = NULL;
    return st;
}

enum wan_status wn_checkpoint_dit_config(const struct wn_checkpoint *ck, enum wn_part part,
                                         const struct wn_weights *w, struct wn_dit_config *config,
                                         struct wn_err *err)
{
    return wn_dit_config_load(config, ck->part[part].config_path, w, err);
}

/* ---- what model it is ---- */

enum wn_part wn_checkpoint_dit(const struct wn_checkpoint *ck)
{
    for (enum wn_part part = WN_PART_DIT; part < WN_N_DITS; part++)
        if (ck->part[part].path) return part;
    return WN_PART_COUNT;
}

/* Dimensions from the tensors' shapes (headers only), where config.json cannot tell. Failures show when the
 * part is opened for use. */
static enum wan_status peek(struct wn_checkpoint *ck, enum wn_part part, struct wn_err *err)
{
    struct wn_weights *w;
    struct wn_err why = {0};
    struct wn_dit_config config;
    if (!wn_checkpoint_weights(ck, part, &w, &why)) {
        if (!wn_checkpoint_dit_config(ck, part, w, &config, &why)) {
            ck->config = config;
            ck->has_config = true;
        }
        wn_weights_close(w);
    }
    return why.code == WAN_ENOMEM ? wn_fail(err, why.code, "%s", why.text) : WAN_OK;
}

static enum wan_status read_config(struct wn_checkpoint *ck, struct wn_err *err)
{
    enum wn_part part = wn_checkpoint_dit(ck);
    if (part == WN_PART_COUNT) return WAN_OK;
    const char *path = ck->part[part].config_path;
    if (!path) return peek(ck, part, err);
    struct wn_err why = {0};
    if (!wn_dit_config_read(&ck->config, path, &why)) {
        ck->has_config = true;
        /* Only the tensors tell whether an i2v transformer takes CLIP features. */
        return part == WN_PART_DIT && !strcmp(ck->config.model_type, "i2v") ? peek(ck, part, err) : WAN_OK;
    }
    if (why.code == WAN_ENOMEM) return wn_fail(err, why.code, "%s", why.text);
    if (!wn_problems_add(&ck->problems, "%s", why.text)) return wn_fail_nomem(err, path, 0);
    return WAN_OK;
}

static enum wn_vae_kind tell_vae_kind(const struct wn_checkpoint *ck)
{
    const char *path = ck->part[WN_PART_VAE].path;
    const char *name = path ? wn_path_base(path) : "";
    if (ck->vae_kind) return ck->vae_kind;
    if (mentions(name, "2.2")) return WN_VAE_22;
    if (mentions(name, "2.1")) return WN_VAE_21;
    if (!ck->has_config) return WN_VAE_UNKNOWN;
    return ck->config.out_dim == 48 ? WN_VAE_22 : WN_VAE_21;
}

/* " 1.3B", " A14B" (one of two experts), and for dimensions of no official model ", dim 128, 3 layers". */
static void size_label(const struct wn_dit_config *c, bool expert, char *out, size_t size)
{
    static const struct {
        int64_t dim;
        int n_layers;
        const char *label;
    } official[] = {{1536, 30, "1.3B"}, {3072, 30, "5B"}, {5120, 40, "14B"}};
    for (size_t i = 0; i < sizeof official / sizeof *official; i++)
        if (c->dim == official[i].dim && c->n_layers == official[i].n_layers) {
            snprintf(out, size, " %s%s", expert ? "A" : "", official[i].label);
            return;
        }
    snprintf(out, size, ", dim %lld, %d layers", (long long)c->dim, c->n_layers);
}

static void upper(char *out, size_t size, const char *s)
{
    size_t i = 0;
    for (; s[i] && i + 1 < size; i++) out[i] = (char)(s[i] >= 'a' && s[i] <= 'z' ? s[i] - 32 : s[i]);
    out[i] = 0;
}

static void name_model(struct wn_checkpoint *ck)
{
    char base[48], task[16], size[40];
    last_name(ck->path, base, sizeof base);
    if (!ck->has_config || ck->task == WN_TASK_UNKNOWN) {
        snprintf(ck->name, sizeof ck->name, "%s", base);
        return;
    }
    const bool lone = ck->a14b && !wn_checkpoint_has_experts(ck);
    const bool high = lone && mentions(base, "high_noise"), low = lone && mentions(base, "low_noise");
    const bool is22 =
        ck->a14b || ck->task == WN_TASK_TI2V || ck->task == WN_TASK_S2V || ck->task == WN_TASK_ANIMATE;
    upper(task, sizeof task, wn_task_name(ck->task));
    size_label(&ck->config, ck->a14b, size, sizeof size);
    snprintf(ck->name, sizeof ck->name, "Wan%s %s%s%s", is22 ? "2.2" : "2.1", task, size,
             high  ? ", high-noise expert"
             : low ? ", low-noise expert"
                   : "");
}

/* Do names of files and folders speak of Wan2.2's pairs of experts? */
static bool names_a14b(const char *name)
{
    return mentions(name, "a14b") || mentions(name, "high_noise") || mentions(name, "low_noise") ||
           mentions(name, "wan2.2") || mentions(name, "wan2_2") || mentions(name, "wan22");
}

/* Metadata in which tools that make single files say what is in them. */
static bool metadata_a14b(const struct wn_weights *w)
{
    static const char *const keys[] = {"modelspec.architecture", "modelspec.title", "wan.model"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = wn_weights_metadata(w, keys[i]);
        if (text && names_a14b(text)) return true;
    }
    return false;
}

/* Does the path of the transformer, or of the folder it lies in, say so? */
static bool path_a14b(const struct wn_checkpoint *ck)
{
    char base[256];
    last_name(ck->path, base, sizeof base);
    enum wn_part part = wn_checkpoint_dit(ck);
    return names_a14b(base) || (part != WN_PART_COUNT && names_a14b(wn_path_base(ck->part[part].path)));
}

/* Tensors do not tell a T2V expert of Wan2.2 from Wan2.1 T2V 14B, and an I2V expert from Wan2.1's only by the
 * image branch that it lacks. `metadata`: a file's own word on the first. */
static void tell_a14b(struct wn_checkpoint *ck, bool metadata)
{
    ck->told = "config.json and tensors";
    if (wn_checkpoint_has_experts(ck)) {
        ck->a14b = true;
        ck->told = "its two experts";
    } else if (ck->task == WN_TASK_I2V && ck->config.image_dim == 0 && ck->part[WN_PART_CLIP].path == NULL &&
               ck->has_config) {
        ck->a14b = true;
        ck->told = "its tensors: 36 channels in and no image branch";
    } else if (ck->task == WN_TASK_T2V && ck->config.dim > 1536) {
        ck->a14b = metadata || path_a14b(ck);
        ck->told = metadata   ? "its metadata"
                   : ck->a14b ? "its name"
                              : "nothing else: no name speaks of Wan2.2";
        ck->guessed = !ck->a14b;
    }
}

static enum wan_status set_type(struct wn_checkpoint *ck, const char *type, struct wn_err *err)
{
    static const struct {
        const char *name;
        enum wn_task task;
        bool a14b;
    } types[] = {{"t2v", WN_TASK_T2V, false},
                 {"i2v", WN_TASK_I2V, false},
                 {"ti2v", WN_TASK_TI2V, false},
                 {"t2v-a14b", WN_TASK_T2V, true},
                 {"i2v-a14b", WN_TASK_I2V, true}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i].name)) continue;
        if (!types[i].a14b && wn_checkpoint_has_experts(ck))
            return wn_fail(err, WAN_EINVAL,
                           "--model-type %s: %s has two experts, so it is t2v-a14b or i2v-a14b", type,
                           ck->path);
        ck->task = types[i].task;
        ck->a14b = types[i].a14b;
        ck->told = "--model-type";
        ck->guessed = false;
        return WAN_OK;
    }
    return wn_fail(err, WAN_EINVAL, "--model-type '%s': must be t2v, i2v, ti2v, t2v-a14b or i2v-a14b", type);
}

static enum wan_status describe(struct wn_checkpoint *ck, const char *model_type, bool metadata,
                                struct wn_err *err)
{
    if (ck->has_config) ck->task = parse_task(ck->config.model_type);
    tell_a14b(ck, metadata);
    if (model_type && set_type(ck, model_type, err)) return err->code;
    ck->vae_kind = tell_vae_kind(ck);
    ck->image_branch = ck->part[WN_PART_CLIP].path != NULL || ck->config.image_dim > 0 ||
                       ck->task == WN_TASK_FLF2V || ck->task == WN_TASK_ANIMATE;
    name_model(ck);
    return WAN_OK;
}

/* ---- single files ---- */

static enum wan_status copy_path(char **out, const char *path, struct wn_err *err)
{
    *out = wn_strdup(path);
    return *out ? WAN_OK : wn_fail_nomem(err, path, strlen(path));
}

/* A config.json beside a lone transformer file counts when it fits the tensors: a folder of assorted files
 * may hold one of some other model. */
static enum wan_status find_config_beside(struct wn_checkpoint *ck, enum wn_part part,
                                          const struct wn_weights *w, struct wn_err *err)
{
    struct wn_err why = {0};
    const char *file = ck->part[part].path;
    char *path = wn_sprintf("%.*sconfig.json", (int)(wn_path_base(file) - file), file);
    if (!path) return wn_fail_nomem(err, file, 0);
    if (wn_file_kind(path) == WN_FILE_REGULAR && !wn_dit_config_load(&ck->config, path, w, &why)) {
        ck->part[part].config_path = path;
        ck->has_config = true;
        return WAN_OK;
    }
    wn_free(path);
    if (why.code == WAN_ENOMEM) return wn_fail(err, why.code, "%s", why.text);
    if (why.code && !wn_problems_add(&ck->problems, "config.json beside the file is not used: %s", why.text))
        return wn_fail_nomem(err, file, 0);
    struct wn_err unused = {0};
    ck->has_config = !wn_dit_config_derive(&ck->config, w, &unused);
    return WAN_OK;
}

static enum wan_status recognise_file(struct wn_checkpoint *ck, const struct wn_weights *w,
                                      struct wn_err *err)
{
    enum wn_part part = wn_part_of_weights(w);
    if (part == WN_PART_COUNT)
        return wn_fail(err, WAN_EFORMAT, "%s: its tensors are not those of a Wan model with official names",
                       ck->path);
    enum wan_status st = copy_path(&ck->part[part].path, ck->path, err);
    if (!st && part == WN_PART_DIT) st = find_config_beside(ck, part, w, err);
    if (part == WN_PART_VAE) ck->vae_kind = wn_vae_kind_of(w);
    return st;
}

static enum wan_status open_file(struct wn_checkpoint *ck, bool *metadata, struct wn_err *err)
{
    const char *base = wn_path_base(ck->path);
    if (!strcmp(base, "tokenizer.json") || ends_with(base, ".model"))
        return copy_path(&ck->part[WN_PART_TOKENIZER].path, ck->path, err);
    const struct wn_checkpoint_part p = {.path = ck->path};
    struct wn_weights *w;
    enum wan_status st = open_part(&p, &w, err);
    if (st) return st;
    st = recognise_file(ck, w, err);
    *metadata = metadata_a14b(w);
    wn_weights_close(w);
    return st;
}

/* ---- the interface ---- */

static bool has_any_part(const struct wn_checkpoint *ck)
{
    for (int i = 0; i < WN_PART_COUNT; i++)
        if (ck->part[i].path) return true;
    return false;
}

static enum wan_status open_folder(struct wn_checkpoint *ck, bool must_have, struct wn_err *err)
{
    struct wn_err local = {0};
    if (!scan_folder(ck, ck->path, &local)) return wn_fail(err, local.code, "%s", local.text);
    if (must_have && !has_any_part(ck))
        return wn_fail(err, WAN_EFORMAT, "%s: no part of a Wan model in this folder%s%s", ck->path,
                       ck->problems.n ? "; " : "", ck->problems.n ? ck->problems.text[0] : "");
    return WAN_OK;
}

static void release_part(struct wn_checkpoint_part *p)
{
    for (size_t k = 0; k < p->n_files; k++) wn_free(p->file[k]);
    wn_free(p->file);
    wn_free(p->path);
    wn_free(p->config_path);
    *p = (struct wn_checkpoint_part){0};
}

/* A part named by the caller instead of what the folder holds. A folder stands for the transformer in it. */
static enum wan_status name_part(struct wn_checkpoint *ck, enum wn_part part, const char *path,
                                 struct wn_err *err)
{
    struct wn_checkpoint_part *p = &ck->part[part];
    enum wn_file_kind kind = wn_file_kind(path);
    if (kind == WN_FILE_NONE) return wn_fail(err, WAN_EIO, "%s: no such file or folder", path);
    release_part(p);
    if (part < WN_N_DITS && kind == WN_FILE_DIR) {
        struct scan s = {0};
        bool ok = scan_begin(&s, ck, path, err) && find_dit(&s, part) && find_config(&s, part);
        wn_names_free(s.name, s.n);
        if (ok && !p->path)
            return wn_fail(err, WAN_EFORMAT, "%s: no %s in this folder", path, wn_part_name(part));
        return err->code;
    }
    struct wn_weights *w;
    if (copy_path(&p->path, path, err) || part >= WN_N_DITS || wn_checkpoint_weights(ck, part, &w, err))
        return err->code;
    find_config_beside(ck, part, w, err);
    wn_weights_close(w);
    return err->code;
}

static enum wan_status name_parts(struct wn_checkpoint *ck, const struct wn_checkpoint_files *files,
                                  struct wn_err *err)
{
    if (files->part[WN_PART_DIT_HIGH] || files->part[WN_PART_DIT_LOW]) {
        release_part(&ck->part[WN_PART_DIT]);
        ck->has_config = false;
    }
    for (int i = 0; i < WN_PART_COUNT && !err->code; i++)
        if (files->part[i]) name_part(ck, (enum wn_part)i, files->part[i], err);
    return err->code;
}

/* The folder that holds `path`. */
static enum wan_status parent_of(const char *path, char **out, struct wn_err *err)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    while (end > 0 && path[end - 1] != '/') end--;
    *out = end ? wn_sprintf("%.*s", (int)end, path) : wn_strdup(".");
    return *out ? WAN_OK : wn_fail_nomem(err, path, end);
}

/* The files of `ck->path`, then the caller's, then what the transformer's dimensions are. */
static enum wan_status open_all(struct wn_checkpoint *ck, const struct wn_checkpoint_files *files,
                                bool *metadata, struct wn_err *err)
{
    enum wn_file_kind kind = wn_file_kind(ck->path);
    if (kind == WN_FILE_NONE) return wn_fail(err, WAN_EIO, "%s: no such file or folder", ck->path);
    if (kind == WN_FILE_DIR ? open_folder(ck, files->path != NULL, err) : open_file(ck, metadata, err))
        return err->code;
    if (name_parts(ck, files, err)) return err->code;
    return ck->has_config ? WAN_OK : read_config(ck, err);
}

enum wan_status wn_checkpoint_open_files(struct wn_checkpoint *ck, const struct wn_checkpoint_files *files,
                                         struct wn_err *err)
{
    *ck = (struct wn_checkpoint){0};
    struct wn_err why = {0};
    bool metadata = false;
    const char *high = files->part[WN_PART_DIT_HIGH], *low = files->part[WN_PART_DIT_LOW];
    if (files->path)
        copy_path(&ck->path, files->path, &why);
    else if (high || low)
        parent_of(high ? high : low, &ck->path, &why);
    else
        wn_fail(&why, WAN_EINVAL, "no model is named: give its folder or file");
    if (!why.code && !open_all(ck, files, &metadata, &why) &&
        !describe(ck, files->model_type, metadata, &why))
        return WAN_OK;
    wn_checkpoint_release(ck);
    return wn_fail(err, why.code, "%s", why.text);
}

enum wan_status wn_checkpoint_open(struct wn_checkpoint *ck, const char *path, struct wn_err *err)
{
    return wn_checkpoint_open_files(ck, &(const struct wn_checkpoint_files){.path = path}, err);
}

void wn_checkpoint_release(struct wn_checkpoint *ck)
{
    for (int i = 0; i < WN_PART_COUNT; i++) release_part(&ck->part[i]);
    wn_problems_release(&ck->problems);
    wn_free(ck->path);
    *ck = (struct wn_checkpoint){0};
}

bool wn_checkpoint_has(const struct wn_checkpoint *ck, enum wn_part part)
{
    return part < WN_PART_COUNT && ck->part[part].path;
}

bool wn_checkpoint_has_experts(const struct wn_checkpoint *ck)
{
    return !ck->part[WN_PART_DIT].path && (ck->part[WN_PART_DIT_HIGH].path || ck->part[WN_PART_DIT_LOW].path);
}

unsigned wn_checkpoint_missing(const struct wn_checkpoint *ck)
{
    unsigned needed = 1u << WN_PART_T5 | 1u << WN_PART_VAE | 1u << WN_PART_TOKENIZER;
    needed |=
        wn_checkpoint_has_experts(ck) ? 1u << WN_PART_DIT_HIGH | 1u << WN_PART_DIT_LOW : 1u << WN_PART_DIT;
    if (ck->image_branch) needed |= 1u << WN_PART_CLIP;
    for (int i = 0; i < WN_PART_COUNT; i++)
        if (ck->part[i].path) needed &= ~(1u << i);
    return needed;
}
