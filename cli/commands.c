#include "run.h"

const struct command commands[N_COMMANDS] = {
    {"generate", cmd_generate, "generate -m MODEL --prompt TEXT -o FILE", "make a video from a text"},
    {"inspect", cmd_inspect, "inspect PATH", "say what a checkpoint is, and what is wrong with it"},
    {"convert", cmd_convert, "convert -m MODEL -o FOLDER --to LAYOUT",
     "write a model in another layout or type"},
    {"eval", cmd_eval, "eval PART [-m MODEL] [-i IN] [-o OUT]",
     "run one part of a model on tensors from a file"},
    {"bench", cmd_bench, "bench [-m MODEL]", "measure this machine, and the parts of a model on it"},
};
