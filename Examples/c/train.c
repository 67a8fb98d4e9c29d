/* Trains a small GPT on the bytes of a text, with Kiln's C interface alone: forward, backward and AdamW, by hand.
 *
 *   cc -std=c99 -O2 train.c -o train $(pkg-config --cflags --libs kiln) -lm
 *   ./train [text file]
 *
 * The model is GPT-2 in small: byte and position embeddings, blocks of causal attention and an MLP with the norms in
 * front, a final norm, and an output projection that shares its weight with the byte embedding. */
#include <kiln.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 8, TIME = 64, CHANNELS = 64, HEADS = 4, BLOCKS = 2, VOCABULARY = 256, STEPS = 100 };
enum { ROWS = BATCH * TIME, WIDTH = CHANNELS / HEADS, PARAMETERS = 4 + 12 * BLOCKS, MEMORY = 64 << 20 };

static const unsigned char default_text[] =
    "How doth the little crocodile\nImprove his shining tail,\nAnd pour the waters of the Nile\nOn every golden "
    "scale!\n\nHow cheerfully he seems to grin,\nHow neatly spreads his claws,\n";

/* One context serves one thread of the caller at a time; this program has one. */
static kiln_context *ctx;

static void fail(const char *what) {
  fprintf(stderr, "train: %s\n", what);
  exit(1);
}

/* Every call goes through this: a failure has a status, and one line that tells what was wrong. */
#define CHECK(call) ((call) == KILN_OK ? (void)0 : fail(kiln_last_error(ctx)))

/* ---- Memory. Kiln owns no tensors, it gets views of the caller's memory: here one block, handed out in order. ---- */

static char *memory;
static size_t memory_used;

static kiln_tensor tensor(kiln_dtype dtype, int rank, const int64_t *shape) {
  kiln_tensor t = kiln_tensor_dense(memory + memory_used, dtype, rank, shape);
  size_t bytes = kiln_dtype_size(dtype);
  for (int i = 0; i < rank; i++) bytes *= (size_t)shape[i];
  memory_used += (bytes + 63) / 64 * 64;
  if (memory_used > MEMORY) fail("the model needs more than MEMORY bytes");
  return t;
}

static kiln_tensor vector(kiln_dtype dtype, int64_t n) { return tensor(dtype, 1, &n); }
static kiln_tensor matrix(int64_t m, int64_t n) { return tensor(KILN_F32, 2, (const int64_t[]){m, n}); }

/* ---- The model ---- */

typedef struct parameter { kiln_tensor value, gradient, moment1, moment2; } parameter;
typedef struct linear { parameter *weight, *bias; } linear; /* y = x weight + bias, weight [in, out] */
typedef struct norm { parameter *gain, *bias; } norm;

typedef struct block {
  const kiln_tensor *in; /* the block before, or the embedding */
  norm norm1, norm2;
  linear qkv, project, expand, contract;
  /* Results of the forward that the backward reads, each with ROWS rows, but lse [BATCH, HEADS, TIME]. */
  kiln_tensor normed1, packed, attended, lse, middle, normed2, preactivation, activated, out;
} block;

typedef struct model {
  parameter parameters[PARAMETERS];
  int count;
  parameter *bytes, *positions; /* [VOCABULARY, CHANNELS], [TIME, CHANNELS] */
  block blocks[BLOCKS];
  norm last_norm;
  kiln_tensor tokens, targets, places;    /* I32 [ROWS], [ROWS], and 0, 1 ... [TIME] */
  kiln_tensor embedded, normed, loss;     /* results outside the blocks */
  kiln_tensor dx, dbranch, dpacked, dmlp; /* gradients: every block uses the same memory */
} model;

/* A parameter of zeros. */
static parameter *add_parameter(model *m, kiln_tensor value) {
  parameter *p = &m->parameters[m->count++];
  p->value = value;
  p->gradient = tensor(value.dtype, value.rank, value.shape);
  p->moment1 = tensor(value.dtype, value.rank, value.shape);
  p->moment2 = tensor(value.dtype, value.rank, value.shape);
  return p;
}

/* Random numbers are a function of (seed, site, place in the tensor), so two runs start from the same model. */
static parameter *random_matrix(model *m, int64_t rows, int64_t columns, double std) {
  parameter *p = add_parameter(m, matrix(rows, columns));
  kiln_random_options o = kiln_random_defaults();
  o.seed = 1;
  o.site = (uint32_t)m->count;
  CHECK(kiln_random_normal(ctx, &p->value, 0, std, &o));
  return p;
}

static linear make_linear(model *m, int64_t in, int64_t out, double std) {
  linear l;
  l.weight = random_matrix(m, in, out, std);
  l.bias = add_parameter(m, vector(KILN_F32, out));
  return l;
}

static norm make_norm(model *m) {
  norm n;
  n.gain = add_parameter(m, vector(KILN_F32, CHANNELS));
  n.bias = add_parameter(m, vector(KILN_F32, CHANNELS));
  CHECK(kiln_fill(ctx, &n.gain->value, 1));
  return n;
}

static void make_block(model *m, block *b) {
  const double std = 0.02, residual_std = std / sqrt(2.0 * BLOCKS); /* smaller for what is added to the residual */
  b->norm1 = make_norm(m);
  b->qkv = make_linear(m, CHANNELS, 3 * CHANNELS, std);
  b->project = make_linear(m, CHANNELS, CHANNELS, residual_std);
  b->norm2 = make_norm(m);
  b->expand = make_linear(m, CHANNELS, 4 * CHANNELS, std);
  b->contract = make_linear(m, 4 * CHANNELS, CHANNELS, residual_std);
  b->normed1 = matrix(ROWS, CHANNELS);
  b->packed = matrix(ROWS, 3 * CHANNELS);
  b->attended = matrix(ROWS, CHANNELS);
  b->lse = tensor(KILN_F32, 3, (const int64_t[]){BATCH, HEADS, TIME});
  b->middle = matrix(ROWS, CHANNELS);
  b->normed2 = matrix(ROWS, CHANNELS);
  b->preactivation = matrix(ROWS, 4 * CHANNELS);
  b->activated = matrix(ROWS, 4 * CHANNELS);
  b->out = matrix(ROWS, CHANNELS);
}

static void make_model(model *m) {
  m->bytes = random_matrix(m, VOCABULARY, CHANNELS, 0.02);
  m->positions = random_matrix(m, TIME, CHANNELS, 0.01);
  for (int i = 0; i < BLOCKS; i++) {
    make_block(m, &m->blocks[i]);
    m->blocks[i].in = i == 0 ? &m->embedded : &m->blocks[i - 1].out;
  }
  m->last_norm = make_norm(m);
  m->tokens = vector(KILN_I32, ROWS);
  m->targets = vector(KILN_I32, ROWS);
  m->places = vector(KILN_I32, TIME);
  for (int t = 0; t < TIME; t++) ((int32_t *)m->places.data)[t] = t;
  m->embedded = matrix(ROWS, CHANNELS);
  m->normed = matrix(ROWS, CHANNELS);
  m->loss = tensor(KILN_F32, 0, NULL);
  m->dx = matrix(ROWS, CHANNELS);
  m->dbranch = matrix(ROWS, CHANNELS);
  m->dpacked = matrix(ROWS, 3 * CHANNELS);
  m->dmlp = matrix(ROWS, 4 * CHANNELS);
}

/* ---- Forward and backward. Every gradient is overwritten, so there is nothing to set to zero between steps. ---- */

/* Columns [part * CHANNELS, (part + 1) * CHANNELS) of a matrix with ROWS rows, as [BATCH, TIME, HEADS, WIDTH]: the
 * queries, keys and values of a packed projection are used where they lie. */
static kiln_tensor heads(const kiln_tensor *rows, int part) {
  kiln_tensor t = kiln_tensor_dense(rows->data, rows->dtype, 4, (const int64_t[]){BATCH, TIME, HEADS, WIDTH});
  t.offset = rows->offset + part * CHANNELS * (int64_t)kiln_dtype_size(rows->dtype);
  t.strides[0] = TIME * rows->strides[0];
  t.strides[1] = rows->strides[0];
  return t;
}

/* y = x weight + bias, and whatever else `o` asks for. */
static void linear_fwd(const linear *l, const kiln_tensor *y, const kiln_tensor *x, kiln_gemm_options o) {
  o.bias = &l->bias->value;
  CHECK(kiln_gemm(ctx, y, x, &l->weight->value, &o));
}

/* dx = dy weight^T; dweight = x^T dy; dbias = sum of dy's rows. */
static void linear_bwd(const linear *l, const kiln_tensor *dx, const kiln_tensor *dy, const kiln_tensor *x) {
  kiln_gemm_options by_weight = kiln_gemm_defaults(), by_input = by_weight;
  by_weight.transpose_b = 1;
  CHECK(kiln_gemm(ctx, dx, dy, &l->weight->value, &by_weight));
  by_input.transpose_a = 1;
  CHECK(kiln_gemm(ctx, &l->weight->gradient, x, dy, &by_input));
  CHECK(kiln_bias_bwd(ctx, &l->bias->gradient, dy, NULL));
}

static void norm_fwd(const norm *n, const kiln_tensor *y, const kiln_tensor *x) {
  CHECK(kiln_layer_norm_fwd(ctx, y, x, &n->gain->value, &n->bias->value, NULL));
}

static void norm_bwd(const norm *n, const kiln_tensor *dx, const kiln_tensor *dy, const kiln_tensor *x, int add) {
  kiln_norm_options o = kiln_norm_defaults();
  o.accumulate_dx = (uint32_t)add;
  CHECK(kiln_layer_norm_bwd(ctx, dx, &n->gain->gradient, &n->bias->gradient, dy, x, &n->gain->value, &o));
}

static void block_fwd(const block *b) {
  const kiln_tensor q = heads(&b->packed, 0), k = heads(&b->packed, 1), v = heads(&b->packed, 2);
  const kiln_tensor o = heads(&b->attended, 0);
  kiln_attention_options attention = kiln_attention_defaults();
  kiln_gemm_options plain = kiln_gemm_defaults(), residual1 = plain, residual2 = plain, gelu = plain;
  attention.causal = 1;
  residual1.residual = b->in;
  residual2.residual = &b->middle;
  gelu.activation = KILN_ACT_GELU_TANH;
  gelu.preactivation = &b->preactivation;

  norm_fwd(&b->norm1, &b->normed1, b->in);
  linear_fwd(&b->qkv, &b->packed, &b->normed1, plain);
  CHECK(kiln_attention_fwd(ctx, &o, &b->lse, &q, &k, &v, &attention));
  linear_fwd(&b->project, &b->middle, &b->attended, residual1);
  norm_fwd(&b->norm2, &b->normed2, &b->middle);
  linear_fwd(&b->expand, &b->activated, &b->normed2, gelu);
  linear_fwd(&b->contract, &b->out, &b->activated, residual2);
}

/* m->dx holds the gradient of the block's output and becomes that of its input: the residual path leaves it as it is,
 * and each branch adds to it. */
static void block_bwd(const model *m, const block *b) {
  const kiln_tensor q = heads(&b->packed, 0), k = heads(&b->packed, 1), v = heads(&b->packed, 2);
  const kiln_tensor dq = heads(&m->dpacked, 0), dk = heads(&m->dpacked, 1), dv = heads(&m->dpacked, 2);
  const kiln_tensor o = heads(&b->attended, 0), d_o = heads(&m->dbranch, 0);
  const kiln_attention_saved saved = {&q, &k, &v, &o, &b->lse};
  kiln_attention_options attention = kiln_attention_defaults();
  kiln_activation_options gelu = kiln_activation_defaults();
  attention.causal = 1;
  gelu.kind = KILN_ACT_GELU_TANH;

  linear_bwd(&b->contract, &m->dmlp, &m->dx, &b->activated);
  CHECK(kiln_activation_bwd(ctx, &m->dmlp, &m->dmlp, &b->preactivation, &gelu));
  linear_bwd(&b->expand, &m->dbranch, &m->dmlp, &b->normed2);
  norm_bwd(&b->norm2, &m->dx, &m->dbranch, &b->middle, 1);
  linear_bwd(&b->project, &m->dbranch, &m->dx, &b->attended);
  CHECK(kiln_attention_bwd(ctx, &dq, &dk, &dv, &d_o, &saved, &attention));
  linear_bwd(&b->qkv, &m->dbranch, &m->dpacked, &b->normed1);
  norm_bwd(&b->norm1, &m->dx, &m->dbranch, b->in, 1);
}

/* One pass forward and one backward; the mean loss of a byte, in nats. */
static float loss_and_gradients(model *m) {
  kiln_embedding_options add = kiln_embedding_defaults();
  kiln_cross_entropy_options mean = kiln_cross_entropy_defaults();
  const kiln_tensor *last = &m->blocks[BLOCKS - 1].out;
  add.accumulate = 1;
  mean.scale = 1.0f / ROWS;

  CHECK(kiln_embedding_fwd(ctx, &m->embedded, &m->bytes->value, &m->tokens, NULL));
  CHECK(kiln_embedding_fwd(ctx, &m->embedded, &m->positions->value, &m->places, &add));
  for (int i = 0; i < BLOCKS; i++) block_fwd(&m->blocks[i]);
  norm_fwd(&m->last_norm, &m->normed, last);
  CHECK(kiln_linear_cross_entropy(ctx, &m->loss, &m->dbranch, &m->bytes->gradient, &m->normed, &m->bytes->value,
                                  &m->targets, &mean));

  norm_bwd(&m->last_norm, &m->dx, &m->dbranch, last, 0);
  for (int i = BLOCKS - 1; i >= 0; i--) block_bwd(m, &m->blocks[i]);
  CHECK(kiln_embedding_bwd(ctx, &m->positions->gradient, &m->dx, &m->places, NULL));
  CHECK(kiln_embedding_bwd(ctx, &m->bytes->gradient, &m->dx, &m->tokens, &add)); /* the weight is used twice */
  return *(float *)m->loss.data;
}

static void update(model *m, int step) {
  kiln_adam_options o = kiln_adam_defaults();
  o.decoupled = 1;
  o.step = step;
  o.lr = 3e-3;
  for (int i = 0; i < m->count; i++) {
    parameter *p = &m->parameters[i];
    o.weight_decay = p->value.rank == 2 ? 0.1 : 0; /* no decay of biases and gains */
    CHECK(kiln_adam(ctx, &p->value, &p->moment1, &p->moment2, &p->gradient, &o));
  }
}

/* ---- Data: BATCH pieces of the text from random places; each byte's target is the next byte. ---- */

static void next_batch(model *m, const unsigned char *text, int64_t length, int step) {
  double places[BATCH];
  const kiln_tensor view = kiln_tensor_dense(places, KILN_F64, 1, (const int64_t[]){BATCH});
  kiln_random_options o = kiln_random_defaults();
  o.seed = 2;
  o.step = (uint64_t)step;
  CHECK(kiln_random_uniform(ctx, &view, 0, (double)(length - TIME), &o));
  for (int i = 0; i < ROWS; i++) {
    const unsigned char *piece = text + (int64_t)places[i / TIME] + i % TIME;
    ((int32_t *)m->tokens.data)[i] = piece[0];
    ((int32_t *)m->targets.data)[i] = piece[1];
  }
}

int main(int argc, char **argv) {
  static model m;
  static unsigned char buffer[4 << 20]; /* what is read of a file at most */
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (argc > 1 && !file) fail("the text cannot be opened");
  const unsigned char *text = file ? buffer : default_text;
  int64_t length = (int64_t)(file ? fread(buffer, 1, sizeof buffer, file) : sizeof default_text - 1);
  if (file) fclose(file);
  if (length <= TIME) fail("the text is too short");

  memory = calloc(MEMORY, 1); /* zeros: what biases and AdamW's moments start from */
  if (!memory) fail("there is no memory");
  CHECK(kiln_context_create(&ctx, NULL)); /* on failure ctx is NULL, and kiln_last_error(NULL) tells why */
  make_model(&m);
  for (int step = 1; step <= STEPS; step++) {
    next_batch(&m, text, length, step);
    printf("step %3d  loss %.4f\n", step, loss_and_gradients(&m));
    update(&m, step);
  }
  kiln_context_free(ctx);
  free(memory);
  return 0;
}
