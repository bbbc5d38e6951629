/* Host-side conversion between element types, at any alignment. */
#ifndef WN_TENSOR_CONVERT_H
#define WN_TENSOR_CONVERT_H

#include "tensor/tensor.h"

/* n elements of a float type to float32. F64 rounds; integer types are exact up to 2^24. */
void wn_to_f32(const void *src, enum wn_dtype type, float *dst, int64_t n);
/* n float32 to a float type, nearest even. Integer types are not written. */
void wn_from_f32(const float *src, enum wn_dtype type, void *dst, int64_t n);

#endif
