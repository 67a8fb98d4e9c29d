#include "core/internal.h"

#include <stdio.h>

size_t kiln_dtype_size(kiln_dtype dtype) {
  static const uint8_t size[] = {4, 8, 2, 2, 4, 8, 1, 1, 1, 1};
  return (unsigned)dtype < sizeof size ? size[dtype] : 0;
}

const char *kiln_dtype_name(kiln_dtype dtype) {
  static const char *const name[] = {"f32", "f64", "f16", "bf16", "i32", "i64", "u8", "i8",
                                     "f8_e4m3", "f8_e5m2"};
  return (unsigned)dtype < sizeof name / sizeof *name ? name[dtype] : "unknown";
}

kiln_tensor kiln_tensor_dense(void *data, kiln_dtype dtype, int32_t rank, const int64_t *shape) {
  kiln_tensor t = {data, 0, dtype, rank < 0 ? 0 : rank > KILN_MAX_RANK ? KILN_MAX_RANK : rank, {0}, {0}};
  int64_t stride = 1;
  for (int i = t.rank - 1; i >= 0; i--) {
    t.shape[i] = shape[i];
    t.strides[i] = stride;
    // A product that overflows leaves a negative stride, which kiln__check refuses.
    if (__builtin_mul_overflow(stride, shape[i] > 0 ? shape[i] : 1, &stride)) stride = -1;
  }
  return t;
}

kiln__text kiln__shape_text(const kiln_tensor *t) {
  kiln__text text = {"["};
  size_t at = 1;
  for (int i = 0; i < t->rank && i < KILN_MAX_RANK && at < sizeof text.s - 24; i++) {
    at += (size_t)snprintf(text.s + at, sizeof text.s - at, i ? ", %lld" : "%lld", (long long)t->shape[i]);
  }
  snprintf(text.s + at, sizeof text.s - at, "]");
  return text;
}

int64_t kiln__count(const kiln_tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++) n *= t->shape[i];
  return n;
}

bool kiln__same_shape(const kiln_tensor *a, const kiln_tensor *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++) {
    if (a->shape[i] != b->shape[i]) return false;
  }
  return true;
}

bool kiln__is_dense(const kiln_tensor *t) {
  int64_t stride = 1;
  for (int i = t->rank - 1; i >= 0; i--) {
    if (t->shape[i] != 1 && t->strides[i] != stride) return false;
    stride *= t->shape[i];
  }
  return true;
}

kiln_status kiln__check(kiln_context *ctx, const char *name, const kiln_tensor *t) {
  if (!t) return kiln__fail(ctx, KILN_ERR_NULL, "%s is NULL", name);
  if (kiln_dtype_size(t->dtype) == 0) return kiln__fail(ctx, KILN_ERR_DTYPE, "%s has unknown dtype %d", name, t->dtype);
  if (t->rank < 0 || t->rank > KILN_MAX_RANK) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s has rank %d, outside 0...%d", name, t->rank, KILN_MAX_RANK);
  }
  if (t->offset < 0) {
    return kiln__fail(ctx, KILN_ERR_STRIDE, "%s has the negative offset %lld", name, (long long)t->offset);
  }
  int64_t last = 0, count = 1;
  for (int i = 0; i < t->rank; i++) {
    int64_t extent = t->shape[i], span;
    if (extent < 0) return kiln__fail(ctx, KILN_ERR_SHAPE, "%s has a negative extent: %s", name, kiln__shape_text(t).s);
    if (t->strides[i] < 0) {
      return kiln__fail(ctx, KILN_ERR_STRIDE, "%s has the negative stride %lld", name, (long long)t->strides[i]);
    }
    if (__builtin_mul_overflow(extent > 0 ? extent - 1 : 0, t->strides[i], &span) ||
        __builtin_add_overflow(last, span, &last) || __builtin_mul_overflow(count, extent, &count) ||
        last > INT64_MAX / 64 || count > INT64_MAX / 64) {
      return kiln__fail(ctx, KILN_ERR_OVERFLOW, "%s is too large to address: %s", name, kiln__shape_text(t).s);
    }
  }
  if (!t->data && count > 0 && !ctx->query) return kiln__fail(ctx, KILN_ERR_NULL, "%s has no data", name);
  return KILN_OK;
}

kiln_status kiln__check_dtype(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype) {
  KILN_TRY(kiln__check(ctx, name, t));
  if (t->dtype == dtype) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DTYPE, "%s is %s, not %s", name, kiln_dtype_name(t->dtype), kiln_dtype_name(dtype));
}

kiln_status kiln__check_dense(kiln_context *ctx, const char *name, const kiln_tensor *t) {
  return kiln__is_dense(t) ? KILN_OK : kiln__fail(ctx, KILN_ERR_STRIDE, "%s is not dense", name);
}

static kiln_status check_computed(kiln_context *ctx, const char *name, const kiln_tensor *t, bool narrow,
                                  kiln_dtype *dtype) {
  KILN_TRY(kiln__check(ctx, name, t));
  *dtype = t->dtype;
  if (t->dtype == KILN_F32 || t->dtype == KILN_F64 || (narrow && kiln__is_narrow(t->dtype))) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DTYPE, "%s is %s, not %s", name, kiln_dtype_name(t->dtype),
                    narrow ? "f32, f64, bf16 or f16" : "f32 or f64");
}

kiln_status kiln__check_real(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype *dtype) {
  return check_computed(ctx, name, t, true, dtype);
}

kiln_status kiln__check_wide(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype *dtype) {
  return check_computed(ctx, name, t, false, dtype);
}

kiln_status kiln__check_like(kiln_context *ctx, const char *name, const kiln_tensor *t, const char *like_name,
                             const kiln_tensor *like) {
  KILN_TRY(kiln__check_dtype(ctx, name, t, like->dtype));
  if (kiln__same_shape(t, like)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_SHAPE, "shapes differ: %s is %s, %s is %s", name, kiln__shape_text(t).s, like_name,
                    kiln__shape_text(like).s);
}

kiln_status kiln__check_vector(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype, int64_t n) {
  if (!t) return KILN_OK;
  KILN_TRY(kiln__check_dtype(ctx, name, t, dtype));
  if (t->rank != 1 || t->shape[0] != n) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, not [%lld]", name, kiln__shape_text(t).s, (long long)n);
  }
  if (n > 1 && t->strides[0] != 1) {
    return kiln__fail(ctx, KILN_ERR_STRIDE, "%s has stride %lld, not 1", name, (long long)t->strides[0]);
  }
  return KILN_OK;
}

kiln_status kiln__fold(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln__rows *out) {
  *out = (kiln__rows){0};
  if (!t) return KILN_OK;
  *out = (kiln__rows){kiln__data(t), 1, 1, 1};
  if (t->rank == 0) return KILN_OK;
  out->cols = t->shape[t->rank - 1];
  out->stride = out->cols;
  if (out->cols > 1 && t->strides[t->rank - 1] != 1) {
    return kiln__fail(ctx, KILN_ERR_STRIDE, "%s has stride %lld in its last dimension, not 1", name,
                      (long long)t->strides[t->rank - 1]);
  }
  bool first = true;
  for (int i = t->rank - 2; i >= 0; i--) {
    if (t->shape[i] == 1) continue;
    if (first) {
      out->stride = t->strides[i];
      first = false;
    } else if (t->strides[i] != out->stride * out->rows) {
      return kiln__fail(ctx, KILN_ERR_STRIDE, "the leading dimensions of %s do not fold into one stride", name);
    }
    out->rows *= t->shape[i];
  }
  return KILN_OK;
}
