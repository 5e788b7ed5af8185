// A recurrent layer over all its steps as one node of the autograd graph, in 32 bits on the CPU.
//
// at::lstm and at::gru run a dozen small operations and as many nodes at every step, each of them
// over memory that has left the cache by then. Here some rows of the batch at a time walk alone
// through all steps, there and back again:
//
//     x of a step │ h of the step before ─▶ · weights ─▶ + bias ─▶ gates ─▶ h, cell
//
// What the way back reads is kept: gates and cell of every step. Gradients of the weights are summed
// up in the cache on the way. It works on the thread that calls it: whoever has several gives each a
// part of the windows. A row does not depend on the rows beside it.
//
// Formulas: those of torch.nn.LSTM and torch.nn.GRU (for the GRU the reset gate acts after the matrix
// product, with a bias of its own; Cho et al. 2014, arXiv 1406.1078v1). Both are four blocks of
// columns before the gates:
//
//     LSTM  i │ f │ g │ o    all of them from x and h
//     GRU   n │ r │ z │ m    n from x, m from h, r and z from both; the candidate is tanh(n + r m)

#include "recurrent.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "told.h"

namespace {

#define INLINE static inline __attribute__((always_inline))

// Columns of a tile. Hidden units and inputs are padded with zeros to a multiple of it, which makes
// it 64 bytes for the widest vectors there are.
constexpr int64_t TILE = 16;
constexpr int64_t BLOCKS = 4;
// Rows that go through the steps together: enough to read the weights seldom, few enough for all of
// a step to stay in the cache of a core.
constexpr int64_t ROWS = 128;

int64_t padded(int64_t count) { return (count + TILE - 1) / TILE * TILE; }

// One layer at work: shapes, and pointers that are null where there is nothing.
struct Layer {
  bool lstm;
  int64_t batch, steps, inputs, hidden;

  // [batch, steps, inputs], [batch, hidden], [batch, hidden], [gates × hidden, ...].
  const float *x, *h0, *c0, *w_in, *w_hid, *b_in, *b_hid;
  // [batch, steps, hidden], [batch, hidden], [batch, hidden].
  float *y, *h, *c;
  // [steps, batch, kept]: the gates, and the cell of an LSTM.
  float* keep;

  // Gradients, of the outputs and of what is read.
  const float *gy, *gh, *gc;
  float *gx, *gh0, *gc0;

  int64_t in() const { return padded(inputs); }
  int64_t hid() const { return padded(hidden); }
  int64_t reads() const { return in() + hid(); }
  int64_t wide() const { return BLOCKS * hid(); }
  int64_t kept() const { return (lstm ? 5 : 4) * hid(); }
  int64_t gates() const { return lstm ? 4 : 3; }
  // x goes into the first blocks, as many as there are gates, and h into those from here on.
  int64_t from_h() const { return lstm ? 0 : 1; }
  // Where the weights of a block are in PyTorch's order: i f g o, and r z n.
  int64_t gate(int64_t block) const { return lstm ? block : (block + 2) % 3; }

  // Rows in scratch are a tile longer than they must be: lengths that are a power of two would all
  // fall into the same few lines of the cache.
  int64_t read_row() const { return reads() + TILE; }
  int64_t wide_row() const { return wide() + TILE; }
};

// Weights as a product reads them, one after the other: of columns (the blocks) and rows (x and h).
// `place` says where a column and a row are.
template <class Place>
std::vector<float> packed(const Layer& l, const Place& place) {
  std::vector<float> packed(l.wide() * l.reads());
  for (int64_t block = 0; block < BLOCKS; ++block)
    for (int64_t first = 0; first < l.hidden; first += TILE) {
      const int64_t column = block * l.hid() + first, at = l.gate(block) * l.hidden + first;
      const int64_t units = std::min(TILE, l.hidden - first);
      // A tile of units beside each other, so that no line of the cache is written twice.
      const auto pack = [&](const float* weights, int64_t count, int64_t row) {
        for (int64_t i = 0; i < count; ++i)
          for (int64_t unit = 0; unit < units; ++unit)
            packed[place(column + unit, row + i)] = weights[(at + unit) * count + i];
      };
      if (block < l.gates()) pack(l.w_in, l.inputs, 0);
      if (block >= l.from_h()) pack(l.w_hid, l.hidden, l.in());
    }
  return packed;
}

// [columns / TILE, rows, TILE].
std::vector<float> packed_forward(const Layer& l) {
  return packed(l, [rows = l.reads()](int64_t column, int64_t row) {
    return (column / TILE * rows + row) * TILE + column % TILE;
  });
}

// [rows / TILE, columns, TILE].
std::vector<float> packed_backward(const Layer& l) {
  return packed(l, [columns = l.wide()](int64_t column, int64_t row) {
    return (row / TILE * columns + column) * TILE + row % TILE;
  });
}

std::vector<float> packed_bias(const Layer& l) {
  std::vector<float> packed(l.wide());
  for (int64_t block = 0; block < BLOCKS; ++block)
    for (int64_t unit = 0; unit < l.hidden; ++unit) {
      const int64_t at = l.gate(block) * l.hidden + unit;
      float& bias = packed[block * l.hid() + unit];
      if (block < l.gates()) bias += l.b_in[at];
      if (block >= l.from_h()) bias += l.b_hid[at];
    }
  return packed;
}

// Vectors -----------------------------------------------------------------------------------------

// All of this is compiled once for each width: the functions are inlined into one that is compiled
// for processors which have it.

template <int N>
struct Vector {
  typedef float type __attribute__((vector_size(4 * N)));
};

template <class V>
INLINE V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

template <class V>
INLINE void store(float* to, V v) {
  std::memcpy(to, &v, sizeof v);
}

template <class V>
constexpr int64_t LANES = sizeof(V) / sizeof(float);

// The rational function of Eigen's ptanh_float: within 4 units of the last place. A NaN stays one.
template <class V>
INLINE V tanh(V x) {
  const V most = V{} + 7.90531110763549805f;
  x = most < x ? most : x;
  x = -most > x ? -most : x;
  const V s = x * x;
  V p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * s + -8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928875436e-04f;
  p = p * s + 4.89352455891786e-03f;
  V q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return x * p / q;
}

template <class V>
INLINE V sigmoid(V x) {
  return tanh<V>(x * 0.5f) * 0.5f + 0.5f;
}

// c = start + a b for m rows and a tile of columns. Row i of a has its numbers at `a + i × a_row`,
// `a_step` apart.
struct Operands {
  int64_t k;
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_row;
  const float* start;
  int64_t start_row;
  float* c;
  int64_t c_row;
};

template <class V, int M>
INLINE void tile(const Operands& o, const float* a, const float* start, float* c) {
  constexpr int N = TILE / LANES<V>;
  const int64_t a_row = o.a_row, a_step = o.a_step, b_row = o.b_row;
  const float* b = o.b;
  V sum[M][N] = {};
  for (int64_t p = o.k; p > 0; --p, a += a_step, b += b_row) {
    V right[N];
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) right[j] = load<V>(b + j * LANES<V>);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const float left = a[i * a_row];
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) {
      const int64_t at = j * LANES<V>;
      store<V>(c + i * o.c_row + at, load<V>(start + i * o.start_row + at) + sum[i][j]);
    }
}

// Whatever m is, a number is summed up in the same order.
template <class V, int M>
INLINE void tiles(const Operands& o, int64_t m, const float* a, const float* start, float* c) {
  for (; m >= M; m -= M, a += M * o.a_row, start += M * o.start_row, c += M * o.c_row)
    tile<V, M>(o, a, start, c);
  constexpr int FEWER = M > 8 ? 8 : M > 4 ? 4 : M / 2;
  if constexpr (M > 1) tiles<V, FEWER>(o, m, a, start, c);
}

// For n columns; tiles of b are `b_tile` apart.
template <class V>
INLINE void product_of(int64_t m, int64_t n, int64_t b_tile, Operands o) {
  // As many sums as the registers hold: 12 of 16, or 12 of 32 of the widest kind.
  constexpr int M = LANES<V> == 4 ? 3 : LANES<V> == 8 ? 6 : 12;
  for (int64_t j = 0; j < n; j += TILE, o.b += b_tile, o.start += TILE, o.c += TILE)
    tiles<V, M>(o, m, o.a, o.start, o.c);
}

using Product = void(int64_t m, int64_t n, int64_t b_tile, Operands o);

INLINE void copy(float* to, const float* from, int64_t count) {
  std::memcpy(to, from, count * sizeof(float));
}

// Copies a row of this step and asks for that of the next one, `next` numbers on: rows of a sequence
// lie far apart, so the processor does not see them coming.
template <int WRITE>
INLINE void copy_ahead(float* to, const float* from, int64_t count, int64_t next) {
  const float* far = WRITE ? to : from;
  for (int64_t i = 0; i < count; i += TILE) __builtin_prefetch(far + next + i, WRITE);
  copy(to, from, count);
}

INLINE void zero(float* to, int64_t count) { std::memset(to, 0, count * sizeof(float)); }

// Forwards ----------------------------------------------------------------------------------------

int64_t forward_scratch(const Layer& l) {
  return ROWS * (l.read_row() + l.wide_row() + l.hid()) + l.kept();
}

template <class V, Product product>
INLINE void forward_rows(const Layer& l, const float* weights, const float* bias, float* scratch,
                         int64_t first, int64_t m) {
  const int64_t I = l.in(), H = l.hid(), K = l.reads();
  float* read = scratch;
  float* pre = read + ROWS * l.read_row();
  float* cell = pre + ROWS * l.wide_row();
  float* unkept = cell + ROWS * H;
  zero(read, m * l.read_row());
  zero(cell, m * H);
  for (int64_t r = 0; r < m; ++r) {
    const int64_t at = (first + r) * l.hidden;
    if (l.h0) copy(read + r * l.read_row() + I, l.h0 + at, l.hidden);
    if (l.c0) copy(cell + r * H, l.c0 + at, l.hidden);
  }
  for (int64_t t = 0; t < l.steps; ++t) {
    // Nothing is asked of a state of zeros.
    const bool is_zero = t == 0 && !l.h0;
    for (int64_t r = 0; r < m; ++r)
      copy_ahead<0>(read + r * l.read_row(), l.x + ((first + r) * l.steps + t) * l.inputs, l.inputs,
                    l.inputs);
    for (int64_t block = 0; block < BLOCKS; ++block) {
      const int64_t from = block < l.gates() ? 0 : I;
      const int64_t upto = block < l.from_h() || is_zero ? I : K;
      product(m, H, K * TILE,
              {upto - from, read + from, l.read_row(), 1, weights + block * H * K + from * TILE, TILE,
               bias + block * H, 0, pre + block * H, l.wide_row()});
    }
    for (int64_t r = 0; r < m; ++r) {
      const float* p = pre + r * l.wide_row();
      float* h = read + r * l.read_row() + I;
      float* c = cell + r * H;
      float* kept = l.keep ? l.keep + (t * l.batch + first + r) * l.kept() : unkept;
      for (int64_t u = 0; u < H; u += LANES<V>) {
        if (l.lstm) {
          const V i = sigmoid<V>(load<V>(p + u)), f = sigmoid<V>(load<V>(p + H + u));
          const V g = tanh<V>(load<V>(p + 2 * H + u)), o = sigmoid<V>(load<V>(p + 3 * H + u));
          const V now = f * load<V>(c + u) + i * g;
          store<V>(c + u, now);
          store<V>(h + u, o * tanh<V>(now));
          store<V>(kept + u, i), store<V>(kept + H + u, f), store<V>(kept + 2 * H + u, g);
          store<V>(kept + 3 * H + u, o), store<V>(kept + 4 * H + u, now);
        } else {
          const V reset = sigmoid<V>(load<V>(p + H + u)), z = sigmoid<V>(load<V>(p + 2 * H + u));
          const V of_h = load<V>(p + 3 * H + u), n = tanh<V>(load<V>(p + u) + reset * of_h);
          store<V>(h + u, n + z * (load<V>(h + u) - n));
          store<V>(kept + u, n), store<V>(kept + H + u, reset), store<V>(kept + 2 * H + u, z);
          store<V>(kept + 3 * H + u, of_h);
        }
      }
      if (l.y) copy_ahead<1>(l.y + ((first + r) * l.steps + t) * l.hidden, h, l.hidden, l.hidden);
    }
  }
  for (int64_t r = 0; r < m; ++r) {
    const int64_t at = (first + r) * l.hidden;
    copy(l.h + at, read + r * l.read_row() + I, l.hidden);
    if (l.lstm) copy(l.c + at, cell + r * H, l.hidden);
  }
}

// Backwards ---------------------------------------------------------------------------------------

int64_t backward_scratch(const Layer& l) {
  return ROWS * (l.read_row() + l.wide_row() + l.in() + 3 * l.hid()) + l.wide() + l.in();
}

// Of the weights [wide, reads] and then of the biases [wide].
int64_t sums_length(const Layer& l) { return l.wide() * (l.reads() + 1); }

template <class V, Product product>
INLINE void backward_rows(const Layer& l, const float* weights, float* sums, float* scratch,
                          int64_t first, int64_t m) {
  const int64_t I = l.in(), H = l.hid(), K = l.reads(), W = l.wide();
  float* read = scratch;
  float* pre = read + ROWS * l.read_row();
  float* dx = pre + ROWS * l.wide_row();
  float* dh = dx + ROWS * I;
  float* dc = dh + ROWS * H;
  float* c0 = dc + ROWS * H;
  float* step = c0 + ROWS * H;
  float* zeros = step + W;
  zero(zeros, I);
  zero(read, m * l.read_row());
  zero(dh, m * H), zero(dc, m * H), zero(c0, m * H);
  for (int64_t r = 0; r < m; ++r) {
    const int64_t at = (first + r) * l.hidden;
    if (l.gh) copy(dh + r * H, l.gh + at, l.hidden);
    if (l.gc) copy(dc + r * H, l.gc + at, l.hidden);
    if (l.c0) copy(c0 + r * H, l.c0 + at, l.hidden);
  }
  for (int64_t t = l.steps - 1; t >= 0; --t) {
    zero(step, W);
    for (int64_t r = 0; r < m; ++r) {
      const int64_t at = (first + r) * l.steps + t;
      float* h = read + r * l.read_row() + I;
      copy_ahead<0>(h - I, l.x + at * l.inputs, l.inputs, -l.inputs);
      if (t > 0) {
        copy_ahead<0>(h, l.y + (at - 1) * l.hidden, l.hidden, -l.hidden);
      } else if (l.h0) {
        copy(h, l.h0 + (first + r) * l.hidden, l.hidden);
      } else {
        zero(h, l.hidden);
      }
      if (l.gy) {
        const float* gy = l.gy + at * l.hidden;
        for (int64_t u = 0; u < l.hidden; ++u) dh[r * H + u] += gy[u];
      }
      const float* kept = l.keep + (t * l.batch + first + r) * l.kept();
      const float* before = t > 0 ? kept - l.batch * l.kept() + 4 * H : c0 + r * H;
      float* p = pre + r * l.wide_row();
      for (int64_t u = 0; u < H; u += LANES<V>) {
        float* at_h = dh + r * H + u;
        float* at_c = dc + r * H + u;
        const V d = load<V>(at_h);
        V of[BLOCKS];
        if (l.lstm) {
          const V i = load<V>(kept + u), f = load<V>(kept + H + u);
          const V g = load<V>(kept + 2 * H + u), o = load<V>(kept + 3 * H + u);
          const V tc = tanh<V>(load<V>(kept + 4 * H + u));
          const V d_cell = load<V>(at_c) + d * o * (1.0f - tc * tc);
          of[0] = d_cell * g * i * (1.0f - i);
          of[1] = d_cell * load<V>(before + u) * f * (1.0f - f);
          of[2] = d_cell * i * (1.0f - g * g);
          of[3] = d * tc * o * (1.0f - o);
          store<V>(at_c, d_cell * f);
          store<V>(at_h, V{});
        } else {
          const V n = load<V>(kept + u), reset = load<V>(kept + H + u);
          const V z = load<V>(kept + 2 * H + u), of_h = load<V>(kept + 3 * H + u);
          of[0] = d * (1.0f - z) * (1.0f - n * n);
          of[1] = of[0] * of_h * reset * (1.0f - reset);
          of[2] = d * (load<V>(h + u) - n) * z * (1.0f - z);
          of[3] = of[0] * reset;
          store<V>(at_h, d * z);
        }
#pragma GCC unroll 4
        for (int64_t b = 0; b < BLOCKS; ++b) {
          store<V>(p + b * H + u, of[b]);
          store<V>(step + b * H + u, load<V>(step + b * H + u) + of[b]);
        }
      }
    }
    for (int64_t j = 0; j < W; ++j) sums[W * K + j] += step[j];
    const int64_t skip = l.from_h() * H, R = l.wide_row();
    const float* from_h = weights + I * W + skip * TILE;
    const bool is_zero = t == 0 && !l.h0;
    if (!is_zero)
      product(m, H, W * TILE, {W - skip, pre + skip, R, 1, from_h, TILE, dh, H, dh, H});
    float* sums_h = sums + skip * K + I;
    product(l.gates() * H, I, TILE, {m, pre, 1, R, read, l.read_row(), sums, K, sums, K});
    if (!is_zero)
      product(W - skip, H, TILE,
              {m, pre + skip, 1, R, read + I, l.read_row(), sums_h, K, sums_h, K});
    if (!l.gx) continue;
    product(m, I, W * TILE, {l.gates() * H, pre, R, 1, weights, TILE, zeros, 0, dx, I});
    for (int64_t r = 0; r < m; ++r)
      copy_ahead<1>(l.gx + ((first + r) * l.steps + t) * l.inputs, dx + r * I, l.inputs, -l.inputs);
  }
  for (int64_t r = 0; r < m; ++r) {
    const int64_t at = (first + r) * l.hidden;
    if (l.gh0) copy(l.gh0 + at, dh + r * H, l.hidden);
    if (l.gc0) copy(l.gc0 + at, dc + r * H, l.hidden);
  }
}

// Processors --------------------------------------------------------------------------------------

struct Kernels {
  void (*forward)(const Layer&, const float*, const float*, float*, int64_t, int64_t);
  void (*backward)(const Layer&, const float*, float*, float*, int64_t, int64_t);
};

#define KERNELS(name, lanes, target)                                                             \
  target void product_##name(int64_t m, int64_t n, int64_t b_tile, Operands o) {                 \
    product_of<Vector<lanes>::type>(m, n, b_tile, o);                                            \
  }                                                                                              \
  target void forward_##name(const Layer& l, const float* weights, const float* bias,            \
                             float* scratch, int64_t first, int64_t m) {                         \
    forward_rows<Vector<lanes>::type, product_##name>(l, weights, bias, scratch, first, m);      \
  }                                                                                              \
  target void backward_##name(const Layer& l, const float* weights, float* sums, float* scratch, \
                              int64_t first, int64_t m) {                                        \
    backward_rows<Vector<lanes>::type, product_##name>(l, weights, sums, scratch, first, m);     \
  }

KERNELS(plain, 4, )
#ifdef __x86_64__
KERNELS(avx2, 8, __attribute__((target("avx2,fma"))))
KERNELS(avx512, 16, __attribute__((target("avx512f"))))
#endif

Kernels kernels() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) return {forward_avx512, backward_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {forward_avx2, backward_avx2};
#endif
  return {forward_plain, backward_plain};
}

// The node ----------------------------------------------------------------------------------------

using namespace recurrent;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Layer layer_of(bool lstm, const Read& read) {
  Layer l{};
  l.lstm = lstm;
  l.batch = read[0].size(0), l.steps = read[0].size(1), l.inputs = read[0].size(2);
  l.hidden = read[4].size(1);
  l.x = data_of(read[0]), l.h0 = data_of(read[1]), l.c0 = data_of(read[2]);
  l.w_in = data_of(read[3]), l.w_hid = data_of(read[4]);
  l.b_in = data_of(read[5]), l.b_hid = data_of(read[6]);
  return l;
}

void check(bool lstm, const Read& read) {
  TORCH_CHECK(read[0].dim() == 3 && read[4].dim() == 2,
              "a recurrent layer reads [batch, steps, inputs]");
  const int64_t batch = read[0].size(0), inputs = read[0].size(2), hidden = read[4].size(1);
  const int64_t rows = (lstm ? 4 : 3) * hidden;
  const auto is = [](const Tensor& tensor, at::IntArrayRef shape) {
    TORCH_CHECK(tensor.sizes() == shape, "a recurrent layer expects ", shape, ", found ",
                tensor.sizes());
  };
  for (int i : {1, 2})
    if (read[i].defined()) is(read[i], {batch, hidden});
  is(read[3], {rows, inputs}), is(read[4], {rows, hidden});
  is(read[5], {rows}), is(read[6], {rows});
  for (const Tensor& tensor : read)
    TORCH_CHECK(!tensor.defined() || (tensor.device() == read[0].device() &&
                                      tensor.scalar_type() == at::kFloat),
                "a fused recurrent layer computes in 32 bits on one device");
}

// Outputs of all steps (undefined unless they are wanted), h and cell after the last, and what is
// kept (undefined unless it is wanted).
std::array<Tensor, 4> forward(bool lstm, const Read& read, bool outputs, bool keep) {
  Layer l = layer_of(lstm, read);
  const auto options = read[0].options();
  std::array<Tensor, 4> made;
  if (outputs) made[0] = at::empty({l.batch, l.steps, l.hidden}, options);
  made[1] = at::empty({l.batch, l.hidden}, options);
  if (lstm) made[2] = at::empty({l.batch, l.hidden}, options);
  if (keep) made[3] = at::empty({l.steps * l.batch * l.kept()}, options);
  l.y = data_to(made[0]), l.h = data_to(made[1]), l.c = data_to(made[2]), l.keep = data_to(made[3]);

  const auto weights = packed_forward(l), bias = packed_bias(l);
  const Tensor scratch = at::empty({padded(forward_scratch(l))}, options);
  const auto kernel = kernels().forward;
  for (int64_t first = 0; first < l.batch; first += ROWS)
    kernel(l, weights.data(), bias.data(), scratch.mutable_data_ptr<float>(), first,
           std::min(ROWS, l.batch - first));
  return made;
}

struct Node : torch::autograd::Function<Node> {
  using Maybe = std::optional<Tensor>;

  // h0 and c0 may be missing.
  static variable_list forward(AutogradContext* context, bool lstm, Tensor x, Maybe h0, Maybe c0,
                               Tensor w_in, Tensor w_hid, Tensor b_in, Tensor b_hid) {
    const Read read{x, or_none(h0), or_none(c0), w_in, w_hid, b_in, b_hid};
    auto [y, h, c, kept] = ::forward(lstm, read, true, true);
    context->set_materialize_grads(false);
    context->saved_data["lstm"] = lstm;
    variable_list saved(read.begin(), read.end());
    saved.insert(saved.end(), {y, kept});
    context->save_for_backward(saved);
    if (lstm) return {y, h, c};
    return {y, h};
  }

  static variable_list backward(AutogradContext* context, variable_list given) {
    const bool lstm = context->saved_data["lstm"].toBool();
    const auto saved = context->get_saved_variables();
    Read read;
    std::copy_n(saved.begin(), read.size(), read.begin());
    Layer l = layer_of(lstm, read);
    l.y = const_cast<float*>(data_of(saved[7])), l.keep = const_cast<float*>(data_of(saved[8]));
    for (Tensor& gradient : given) gradient = contiguous(gradient);
    l.gy = data_of(given[0]), l.gh = data_of(given[1]), l.gc = lstm ? data_of(given[2]) : nullptr;

    // Of x, h0 and c0, where they are wanted.
    Tensor of[3];
    float** to[] = {&l.gx, &l.gh0, &l.gc0};
    const auto wanted = recurrent::wanted(context, read);
    for (int i = 0; i < 3; ++i) {
      if (!wanted[i]) continue;
      of[i] = at::empty_like(read[i]);
      *to[i] = of[i].mutable_data_ptr<float>();
    }

    const auto weights = packed_backward(l);
    const auto options = read[0].options();
    const Tensor scratch = at::empty({padded(backward_scratch(l))}, options);
    const Tensor sums = at::zeros({sums_length(l)}, options);
    float* all = sums.mutable_data_ptr<float>();
    const auto kernel = kernels().backward;
    for (int64_t first = 0; first < l.batch; first += ROWS)
      kernel(l, weights.data(), all, scratch.mutable_data_ptr<float>(), first,
             std::min(ROWS, l.batch - first));

    Tensor w_in = at::empty_like(read[3]), w_hid = at::empty_like(read[4]);
    Tensor b_in = at::empty_like(read[5]), b_hid = at::empty_like(read[6]);
    const auto unpack = [&](int64_t first_block, int64_t column, int64_t columns, Tensor& weight,
                            Tensor& bias) {
      float *w = weight.mutable_data_ptr<float>(), *b = bias.mutable_data_ptr<float>();
      for (int64_t block = first_block; block < first_block + l.gates(); ++block)
        for (int64_t unit = 0; unit < l.hidden; ++unit) {
          const int64_t from = block * l.hid() + unit, to = l.gate(block) * l.hidden + unit;
          std::copy_n(all + from * l.reads() + column, columns, w + to * columns);
          b[to] = all[l.wide() * l.reads() + from];
        }
    };
    unpack(0, 0, l.inputs, w_in, b_in);
    unpack(l.from_h(), l.in(), l.hidden, w_hid, b_hid);
    return {Tensor(), of[0], of[1], of[2], w_in, w_hid, b_in, b_hid};
  }
};

}  // namespace

// Reads x, h0, c0, w_in, w_hid, b_in, b_hid, of which h0 and c0 may be null for zeros. Gives new
// tensors into `made`: the outputs of all steps (null unless `outputs` or the graph asks for them), h
// and, for an LSTM, the cell after the last. Returns null, or what went wrong, which is valid until
// the next call on this thread.
extern "C" const char* krammerti_recurrent(bool lstm, bool outputs, const Tensor* const* given,
                                           Tensor** made) {
  return told([&] {
    Read read;
    for (size_t i = 0; i < read.size(); ++i)
      if (given[i]) read[i] = given[i]->contiguous();
    check(lstm, read);
    bool graph = false;
    for (const Tensor& tensor : read) graph |= tensor.defined() && tensor.requires_grad();
    graph &= at::GradMode::is_enabled();
    std::vector<Tensor> out;
    if (read[0].is_cuda() || is_emulated()) {
      const auto all = on_gpu(lstm, read, outputs, graph);
      out.assign(all.begin(), all.end());
    } else if (graph) {
      out = Node::apply(lstm, read[0], maybe(read[1]), maybe(read[2]), read[3], read[4], read[5],
                        read[6]);
    } else {
      const auto all = forward(lstm, read, outputs, false);
      out.assign(all.begin(), all.begin() + (lstm ? 3 : 2));
    }
    for (size_t i = 0; i < out.size(); ++i)
      made[i] = out[i].defined() ? new Tensor(out[i]) : nullptr;
  });
}
