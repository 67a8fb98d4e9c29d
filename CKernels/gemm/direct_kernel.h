// Products with few rows (generation) or few columns, without packing. The few, as fp32, stay in the first cache; the
// other operand, `many`, streams past them once, in vectors along k (dots) or along n (columns), where its stride is 1.

#define DIRECT_GROUP 6   // most of the few that share a load of many
#define DIRECT_FEW 12288 // floats of the few in one run of k
#define DIRECT_COPY 4096 // floats of many that the groups share in one run of k
// Of k in one run of columns where one group of `rows` is all: as many streams as the processor's own prefetching
// follows; with more rows, enough to pay for loading and storing the sums.
#define DIRECT_RUN(rows) ((rows) > 2 ? 32 : 8)
// Vectors of many in a tile of `rows`: they and the sums stay in registers.
#define DIRECT_WIDE(rows) ((rows) == 1 || ((rows) + 1) * 8 <= KILN_GEMM_MR * KILN_GEMM_NV ? 8 \
                           : ((rows) + 1) * 4 <= KILN_GEMM_MR * KILN_GEMM_NV ? 4 : 2)

// Which group it is: the only one, the first, which leaves a copy of many for the others, or one of those.
typedef enum KER(direct_stage) { KER(ONLY), KER(FIRST), KER(LATER) } KER(direct_stage);

// One run of k. few [_, k], `pitch` from row to row, padded with zeros to whole vectors; `count` of many, which lie
// `stride` apart (dots), or whose steps along k do (columns).
typedef struct KER(direct_run) {
  float *few;
  const ELEMENT *many;
  int64_t pitch, stride, count, k;
  float *copy;  // [k, ld]
  float *sums;  // [_, ld]
  int64_t ld;   // whole vectors
} KER(direct_run);

// n lanes of one step along k
VEC void KER(direct_dots_step)(KER(direct_run) r, const float *few, const ELEMENT *many, int64_t n, int rows,
                               int cols, vf *sum) {
  vf line[8];
  GEMM_UNROLL
  for (int j = 0; j < cols; j++) line[j] = vf_read(many + j * r.stride, n);
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    vf value = vf_load(few + i * r.pitch);
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_fma(value, line[j], sum[i * cols + j]);
  }
}

// sums[i][j] += few i . many j for rows x cols of them
VEC void KER(direct_dots)(KER(direct_run) r, int64_t i0, int64_t j0, int rows, int cols) {
  const float *few = r.few + i0 * r.pitch;
  const ELEMENT *many = r.many + j0 * r.stride;
  float *sums = r.sums + i0 * r.ld + j0;
  const bool fetch = rows > 1 || sizeof(ELEMENT) < sizeof(float);  // the next columns; one row of fp32 needs no help
  vf sum[DIRECT_GROUP * 8];
  GEMM_UNROLL
  for (int s = 0; s < rows * cols; s++) sum[s] = vf_set(0);
  int64_t x = 0;
  for (; x + KILN_VL <= r.k; x += KILN_VL) {
    GEMM_UNROLL
    for (int j = 0; j < cols && fetch; j++) __builtin_prefetch(many + (j + cols) * r.stride + x, 0, 3);
    KER(direct_dots_step)(r, few + x, many + x, KILN_VL, rows, cols, sum);
  }
  if (x < r.k) KER(direct_dots_step)(r, few + x, many + x, r.k - x, rows, cols, sum);
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) sums[i * r.ld + j] += vf_sum(sum[i * cols + j]);
  }
}

// The same for rows x (cols vectors) of sums; n columns are there.
VEC void KER(direct_columns)(KER(direct_run) r, KER(direct_stage) stage, int64_t i0, int64_t j0, int rows,
                             int cols, int64_t n) {
  const float *few = r.few + i0 * r.pitch;
  const ELEMENT *many = r.many + j0;
  float *sums = r.sums + i0 * r.ld + j0, *copy = r.copy + j0;
  const bool fetch = stage == KER(FIRST) || (stage == KER(ONLY) && rows > 2);  // the next run's
  vf sum[DIRECT_GROUP * 8];
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_load(sums + i * r.ld + j * KILN_VL);
  }
  for (int64_t x = 0; x < r.k; x++, many += r.stride, copy += r.ld) {
    vf line[8];
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) {
      if (stage == KER(LATER)) line[j] = vf_load(copy + j * KILN_VL);
      else line[j] = vf_read(many + j * KILN_VL, n - j * KILN_VL);
      if (stage == KER(FIRST)) vf_store(copy + j * KILN_VL, line[j]);
      if (fetch && j % 2 == 0) __builtin_prefetch(many + r.k * r.stride + j * KILN_VL, 0, 3);
    }
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
      vf value = vf_set(few[i * r.pitch + x]);
      GEMM_UNROLL
      for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_fma(value, line[j], sum[i * cols + j]);
    }
  }
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) vf_store(sums + i * r.ld + j * KILN_VL, sum[i * cols + j]);
  }
}

VEC void KER(direct_columns_group)(KER(direct_run) r, KER(direct_stage) stage, int64_t i, int rows) {
  const int wide = DIRECT_WIDE(rows) * KILN_VL;
  int64_t j = 0;
  for (; j + wide <= r.count; j += wide) KER(direct_columns)(r, stage, i, j, rows, wide / KILN_VL, wide);
  for (; j < r.count; j += KILN_VL) KER(direct_columns)(r, stage, i, j, rows, 1, r.count - j);
}

// `rows` of the few, from i on, against all of many.
VEC void KER(direct_group)(KER(direct_run) r, bool dots, KER(direct_stage) stage, int64_t i, int rows) {
  const int wide = DIRECT_WIDE(rows);
  int64_t j = 0;
  if (dots) {
    for (; j + wide <= r.count; j += wide) KER(direct_dots)(r, i, j, rows, wide);
    for (; j < r.count; j++) KER(direct_dots)(r, i, j, rows, 1);
  } else switch (stage) {
    case KER(ONLY): KER(direct_columns_group)(r, KER(ONLY), i, rows); break;
    case KER(FIRST): KER(direct_columns_group)(r, KER(FIRST), i, rows); break;
    case KER(LATER): KER(direct_columns_group)(r, KER(LATER), i, rows); break;
  }
}

// All of the few, in groups of about the same size.
static void KER(direct_groups)(KER(direct_run) r, bool dots, int64_t few) {
  for (int64_t i = 0, rows; i < few; i += rows) {
    rows = kiln__ceil_div(few - i, kiln__ceil_div(few - i, DIRECT_GROUP));
    KER(direct_stage) stage = rows == few ? KER(ONLY) : i == 0 ? KER(FIRST) : KER(LATER);
    switch (rows) {
      case 1: KER(direct_group)(r, dots, stage, i, 1); break;
      case 2: KER(direct_group)(r, dots, stage, i, 2); break;
      case 3: KER(direct_group)(r, dots, stage, i, 3); break;
      case 4: KER(direct_group)(r, dots, stage, i, 4); break;
      case 5: KER(direct_group)(r, dots, stage, i, 5); break;
      default: KER(direct_group)(r, dots, stage, i, DIRECT_GROUP);
    }
  }
}

// few [rows, pitch] = rows x k of x as fp32
VEC void KER(direct_read_few)(float *few, int64_t pitch, const ELEMENT *x, int64_t across, int64_t along, int64_t rows,
                              int64_t k) {
  for (int64_t i = 0; i < rows; i++, few += pitch, x += across) {
    for (int64_t j = 0; j < pitch; j += KILN_VL) {
      if (along == 1) vf_store(few + j, vf_read(x + j, k - j));
      else for (int64_t lane = j; lane < j + KILN_VL; lane++) few[lane] = lane < k ? get(x + lane * along) : 0;
    }
  }
}

// sums [few, ld] of a part, from where the few and many begin
static void KER(direct_sums)(float *sums, int64_t ld, const kiln__matrix *few, const ELEMENT *few_data, int64_t rows,
                             const kiln__matrix *many, const ELEMENT *many_data, int64_t count, int64_t k) {
  float copy_of_few[DIRECT_FEW], copy_of_many[DIRECT_COPY];
  const bool dots = many->row == 1;
  int64_t columns_run = rows > DIRECT_GROUP ? DIRECT_COPY / ld : DIRECT_RUN(rows);
  int64_t run = dots ? DIRECT_FEW / rows / KILN_VL * KILN_VL : columns_run;
  memset(sums, 0, (size_t)(rows * ld) * sizeof *sums);
  for (int64_t x = 0; x < k; x += run) {
    int64_t depth = kiln__min(run, k - x), pitch = kiln__round_up(depth, KILN_VL);
    KER(direct_read_few)(copy_of_few, pitch, few_data + x * few->col, few->row, few->col, rows, depth);
    KER(direct_run) r = {copy_of_few, many_data + x * many->row, pitch, dots ? many->col : many->row, count, depth,
                         copy_of_many, sums, ld};
    KER(direct_groups)(r, dots, rows);
  }
}

static void KER(gemm_direct)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  float sums[KILN_GEMM_DIRECT_SUMS], turned[KILN_GEMM_DIRECT_SUMS];
  const ELEMENT *a = (const ELEMENT *)g->a.data + p->batch * g->a.batch + p->i * g->a.row;
  const ELEMENT *b = (const ELEMENT *)g->b.data + p->batch * g->b.batch + p->j * g->b.col;
  if (kiln__gemm_has_few_rows(g)) {
    int64_t ld = kiln__round_up(p->cols, KILN_VL);
    KER(direct_sums)(sums, ld, &g->a, a, p->rows, &g->b, b, p->cols, g->k);
    gemm_finish(&g->finish, p, sums, ld);
    return;
  }
  const kiln__matrix few = {.row = g->b.col, .col = g->b.row}, many = {.row = g->a.col, .col = g->a.row};
  int64_t ld = kiln__round_up(p->rows, KILN_VL);
  KER(direct_sums)(sums, ld, &few, b, p->cols, &many, a, p->rows, g->k);
  for (int64_t i = 0; i < p->rows; i++) {
    for (int64_t j = 0; j < p->cols; j++) turned[i * p->cols + j] = sums[j * ld + i];
  }
  gemm_finish(&g->finish, p, turned, p->cols);
}

static bool KER(gemm_prefers_direct)(const kiln__gemm_args *g) {
  bool few_columns = g->n <= KILN_GEMM_FEW && g->a.col == 1;
  return g->k == 0 || kiln__gemm_has_few_rows(g) || few_columns;
}
