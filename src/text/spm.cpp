#include "text/spm.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

struct wn_spm {
    sentencepiece::SentencePieceProcessor processor;
};

static void say(char *why, size_t n_why, const char *text)
{
    std::snprintf(why, n_why, "%s", text);
}

extern "C" struct wn_spm *wn_spm_open(const void *model, size_t n, char *why, size_t n_why)
try {
    auto spm = std::make_unique<wn_spm>();
    auto status =
        spm->processor.LoadFromSerializedProto(absl::string_view(static_cast<const char *>(model), n));
    if (status.ok()) return spm.release();
    say(why, n_why, status.ToString().c_str());
    return nullptr;
} catch (const std::exception &e) {
    say(why, n_why, e.what());
    return nullptr;
} catch (...) {
    say(why, n_why, "unknown exception");
    return nullptr;
}

extern "C" void wn_spm_close(struct wn_spm *spm)
{
    delete spm;
}

extern "C" int32_t wn_spm_n_pieces(const struct wn_spm *spm)
try {
    return spm->processor.GetPieceSize();
} catch (...) {
    return 0;
}

extern "C" int32_t wn_spm_unk(const struct wn_spm *spm)
try {
    return spm->processor.unk_id();
} catch (...) {
    return -1;
}

extern "C" int32_t wn_spm_find(const struct wn_spm *spm, const char *piece)
try {
    int id = spm->processor.PieceToId(piece); // the unknown id for what is no piece
    bool there = id >= 0 && id < spm->processor.GetPieceSize() && spm->processor.IdToPiece(id) == piece;
    return there ? id : -1;
} catch (...) {
    return -1;
}

extern "C" int wn_spm_encode(const struct wn_spm *spm, const char *s, size_t n,
                             void (*put)(void *ctx, int32_t id), void *ctx)
try {
    std::vector<int> ids;
    if (!spm->processor.Encode(absl::string_view(s, n), &ids).ok()) return -1;
    for (int id : ids) put(ctx, id);
    return 0;
} catch (...) {
    return -1;
}
