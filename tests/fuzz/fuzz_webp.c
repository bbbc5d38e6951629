/* WEBP images. Only inputs that begin like one get past the first look: it is put there. */
#define FUZZ_MAGIC MAGIC_WEBP
#include "fuzz_image.h"
