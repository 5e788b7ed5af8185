// A recurrent layer over all its steps in one launch on a GPU, in 32 bits.
//
// cuDNN launches kernels at every step, and a step of a small layer is shorter than a launch. Here a
// block takes a few windows through all steps by itself: the weights of the hidden state stay in its
// registers (what has no room there, in its shared memory), and only what the windows read and what
// the way back needs goes through the memory of the GPU. What does not depend on the step before is
// left to products of matrices before and after: the gates of x, and the gradients of x and of all
// weights.
//
//     forward     h of the step before · weights ─▶ + gates of x ─▶ gates ─▶ h, cell
//     backward    gradient of the gates · weights ─▶ gradient of h of the step before
//
// Formulas and order of the gates: those of PyTorch, as cpp/recurrent.cpp says them.
//
// It is compiled at run time after layer.h, for one layer: LSTM is 1 or 0 (a GRU), HIDDEN the units,
// ROWS the windows of a block, 2 or 4; FORWARD or BACKWARD says which kernel. For the tests
// cpp/emulated.cpp compiles it for a CPU.

INLINE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

INLINE void add_product(float& sum, const float4& a, const float4& b) {
  sum += a.x * b.x;
  sum += a.y * b.y;
  sum += a.z * b.z;
  sum += a.w * b.w;
}

// Adds up, over the lanes whose numbers differ below 2 × MASK, COUNT rows of sums that each of them has
// a part of. While there are several rows a lane keeps half of them, so that in the end each lane has
// one in `sums[0]`: which one, the upper bits of its number say.
template <int MASK, int COUNT, int WIDTH>
INLINE void share_out(float (&sums)[COUNT][WIDTH], int lane) {
  if constexpr (MASK > 0) {
    constexpr int HALF = COUNT > 1 ? COUNT / 2 : 1;
    const bool upper = lane & MASK;
    float kept[HALF][WIDTH];
#pragma unroll
    for (int i = 0; i < HALF; ++i)
#pragma unroll
      for (int j = 0; j < WIDTH; ++j) {
        float mine = sums[i][j], other = sums[i][j];
        if constexpr (COUNT > 1) {
          mine = upper ? sums[i + HALF][j] : sums[i][j];
          other = upper ? sums[i][j] : sums[i + HALF][j];
        }
        kept[i][j] = mine + shuffle_xor(other, MASK);
      }
    share_out<MASK / 2>(kept, lane);
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) sums[0][j] = kept[0][j];
  }
}

#ifdef FORWARD
KERNEL(forward, Forward p) {
  SHARED(shared);
  float4(*quads)[ROWS][UNITS / 4] = reinterpret_cast<float4(*)[ROWS][UNITS / 4]>(shared);
  float4* far = shared + 2 * ROWS * UNITS / 4;
  const int thread = threadIdx.x, lane = thread % 4, unit = thread / 4;

  float4 near[FORWARD_KEPT][GATES];
#pragma unroll
  for (int i = 0; i < FORWARD_QUADS; ++i)
#pragma unroll
    for (int g = 0; g < GATES; ++g) {
      float four[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int from = 4 * (4 * i + lane) + j;
        const bool is = unit < HIDDEN && from < HIDDEN;
        four[j] = is ? p.weights[(g * HIDDEN + unit) * HIDDEN + from] : 0.0f;
      }
      const float4 quad = make_float4(four[0], four[1], four[2], four[3]);
      if (i < FORWARD_KEPT)
        near[i < FORWARD_KEPT ? i : 0][g] = quad;
      else
        far[((i - FORWARD_KEPT) * GATES + g) * THREADS + thread] = quad;
    }

  // The one of the block's windows whose unit this lane computes in the end; of several lanes that
  // have the same one, the first writes.
  const int row = lane / (4 / ROWS);
  const long long window = (long long)blockIdx.x * ROWS + row;
  const bool is = unit < HIDDEN && window < p.batch;
  const bool writes = is && lane % (4 / ROWS) == 0;
  float h = is && p.h0 ? p.h0[window * HIDDEN + unit] : 0.0f;
  float c = is && p.c0 ? p.c0[window * HIDDEN + unit] : 0.0f;
  for (int i = thread; i < 2 * ROWS * UNITS / 4; i += THREADS)
    shared[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  wait_for_block();
  const auto hand_on = [&](int to) { reinterpret_cast<float*>(quads[to][row])[unit] = h; };
  if (writes) hand_on(0);

  float bias[GATES], next[GATES];
  const float* gates = p.gates + window * p.steps * GATES * HIDDEN + unit;
#pragma unroll
  for (int g = 0; g < GATES; ++g) {
    bias[g] = is ? p.bias[g * HIDDEN + unit] : 0.0f;
    next[g] = is ? gates[g * HIDDEN] : 0.0f;
  }
  wait_for_block();

  for (long long t = 0; t < p.steps; ++t) {
    float now[GATES];
    gates += GATES * HIDDEN;
#pragma unroll
    for (int g = 0; g < GATES; ++g) {
      now[g] = next[g];
      // Asked for a step ahead: it takes as long as the product.
      next[g] = is && t + 1 < p.steps ? gates[g * HIDDEN] : 0.0f;
    }
    float sums[ROWS][GATES] = {};
#pragma unroll
    for (int i = 0; i < FORWARD_QUADS; ++i)
#pragma unroll
      for (int g = 0; g < GATES; ++g) {
        const float4 weights = i < FORWARD_KEPT
                                   ? near[i < FORWARD_KEPT ? i : 0][g]
                                   : far[((i - FORWARD_KEPT) * GATES + g) * THREADS + thread];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) add_product(sums[r][g], weights, quads[t % 2][r][4 * i + lane]);
      }
    share_out<2>(sums, lane);

    const long long at = window * p.steps + t;
    float* keep = p.keep ? p.keep + at * KEPT * HIDDEN + unit : nullptr;
    if (writes && p.before) p.before[at * HIDDEN + unit] = h;
    if constexpr (LSTM) {
      const float in = sigmoid(now[0] + sums[0][0] + bias[0]);
      const float forget = sigmoid(now[1] + sums[0][1] + bias[1]);
      const float candidate = tanhf(now[2] + sums[0][2] + bias[2]);
      const float out = sigmoid(now[GATES - 1] + sums[0][GATES - 1] + bias[GATES - 1]);
      c = forget * c + in * candidate;
      h = out * tanhf(c);
      if (writes && keep) {
        keep[0] = in, keep[HIDDEN] = forget, keep[2 * HIDDEN] = candidate;
        keep[3 * HIDDEN] = out, keep[4 * HIDDEN] = c;
      }
    } else {
      const float reset = sigmoid(now[0] + sums[0][0] + bias[0]);
      const float z = sigmoid(now[1] + sums[0][1] + bias[1]);
      const float of_h = sums[0][2] + bias[2];
      const float candidate = tanhf(now[2] + reset * of_h);
      h = candidate + z * (h - candidate);
      if (writes && keep) {
        keep[0] = reset, keep[HIDDEN] = z, keep[2 * HIDDEN] = candidate, keep[3 * HIDDEN] = of_h;
      }
    }
    if (writes) {
      if (p.y) p.y[at * HIDDEN + unit] = h;
      hand_on((t + 1) % 2);
    }
    wait_for_block();
  }
  if (writes) {
    p.h[window * HIDDEN + unit] = h;
    if (LSTM) p.c[window * HIDDEN + unit] = c;
  }
}
#endif

#ifdef BACKWARD
KERNEL(backward, Backward p) {
  SHARED(shared);
  constexpr int QUADS = BACKWARD_QUADS * 16;
  float4(*quads)[ROWS][QUADS] = reinterpret_cast<float4(*)[ROWS][QUADS]>(shared);
  float4* far = shared + 2 * ROWS * QUADS;
  const int thread = threadIdx.x, lane = thread % 16, first = thread / 16 * 4;

  float4 near[BACKWARD_KEPT][4];
#pragma unroll
  for (int i = 0; i < BACKWARD_QUADS; ++i)
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      float four[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int column = 4 * (16 * i + lane) + j, gate = column / UNITS, from = column % UNITS;
        const bool is = gate < GATES && from < HIDDEN && first + u < HIDDEN;
        four[j] = is ? p.weights[(gate * HIDDEN + from) * HIDDEN + first + u] : 0.0f;
      }
      const float4 quad = make_float4(four[0], four[1], four[2], four[3]);
      if (i < BACKWARD_KEPT)
        near[i < BACKWARD_KEPT ? i : 0][u] = quad;
      else
        far[((i - BACKWARD_KEPT) * 4 + u) * THREADS + thread] = quad;
    }

  // As forwards: window and unit that this lane computes in the end.
  const int place = lane / (4 / ROWS), row = place / 4, unit = first + place % 4;
  const long long window = (long long)blockIdx.x * ROWS + row;
  const bool is = unit < HIDDEN && window < p.batch;
  const bool writes = is && lane % (4 / ROWS) == 0;
  for (int i = thread; i < 2 * ROWS * QUADS; i += THREADS)
    shared[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  wait_for_block();

  const long long end = window * HIDDEN + unit;
  float dh = is && p.gh ? p.gh[end] : 0.0f, dc = is && p.gc ? p.gc[end] : 0.0f;

  // What a step reads, asked for while the step after it is at work: what was kept, the cell or h of
  // the step before, and the gradient of y.
  float kept[KEPT], before, dy;
  const auto ask = [&](long long t) {
    const long long at = window * p.steps + t;
    const float* keep = p.keep + at * KEPT * HIDDEN + unit;
#pragma unroll
    for (int k = 0; k < KEPT; ++k) kept[k] = is ? keep[k * HIDDEN] : 0.0f;
    if (!LSTM)
      before = is ? p.before[at * HIDDEN + unit] : 0.0f;
    else if (t > 0)
      before = is ? keep[-HIDDEN] : 0.0f;
    else
      before = is && p.c0 ? p.c0[end] : 0.0f;
    dy = is && p.gy ? p.gy[at * HIDDEN + unit] : 0.0f;
  };
  ask(p.steps - 1);

  for (long long t = p.steps - 1; t >= 0; --t) {
    const float d = dh + dy;
    // Of the gates of x, and of those of h.
    float of[4], of_h[GATES], direct = 0.0f;
    if constexpr (LSTM) {
      const float in = kept[0], forget = kept[1], candidate = kept[2], out = kept[3];
      const float bent = tanhf(kept[KEPT - 1]);
      dc += d * out * (1.0f - bent * bent);
      of[0] = dc * candidate * in * (1.0f - in);
      of[1] = dc * before * forget * (1.0f - forget);
      of[2] = dc * in * (1.0f - candidate * candidate);
      of[3] = d * bent * out * (1.0f - out);
      dc *= forget;
#pragma unroll
      for (int g = 0; g < GATES; ++g) of_h[g] = of[g];
    } else {
      const float reset = kept[0], z = kept[1], candidate = kept[2], from_h = kept[3];
      of[2] = d * (1.0f - z) * (1.0f - candidate * candidate);
      of[3] = of[2] * reset;
      of[0] = of[2] * from_h * reset * (1.0f - reset);
      of[1] = d * (before - candidate) * z * (1.0f - z);
      direct = d * z;
      of_h[0] = of[0], of_h[1] = of[1], of_h[2] = of[3];
    }
    if (writes) {
      float* gates = p.gates + (window * p.steps + t) * 4 * HIDDEN + unit;
      float* handed_on = reinterpret_cast<float*>(quads[t % 2][row]) + unit;
#pragma unroll
      for (int g = 0; g < 4; ++g) gates[g * HIDDEN] = of[g];
#pragma unroll
      for (int g = 0; g < GATES; ++g) handed_on[g * UNITS] = of_h[g];
    }
    if (t > 0) ask(t - 1);
    wait_for_block();
    float sums[4 * ROWS][1] = {};
#pragma unroll
    for (int i = 0; i < BACKWARD_QUADS; ++i)
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const float4 weights = i < BACKWARD_KEPT
                                   ? near[i < BACKWARD_KEPT ? i : 0][u]
                                   : far[((i - BACKWARD_KEPT) * 4 + u) * THREADS + thread];
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
          add_product(sums[4 * r + u][0], weights, quads[t % 2][r][16 * i + lane]);
      }
    share_out<8>(sums, lane);
    dh = sums[0][0] + direct;
  }
  if (writes) {
    if (p.gh0) p.gh0[end] = dh;
    if (p.gc0) p.gc0[end] = dc;
  }
}
#endif
