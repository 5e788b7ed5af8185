// Sizes and arguments of the kernels in recurrent.cu, for the GPU and for whoever launches them: LSTM,
// HIDDEN and ROWS are defined before. Nothing is included.

// Units in multiples of what a warp takes.
#define UNITS ((HIDDEN + 15) / 16 * 16)
#define GATES (LSTM ? 4 : 3)
// What the forward pass keeps of a step for the way back, in units: the gates, and the cell of an LSTM;
// or r, z, n and what of n comes from h.
#define KEPT (LSTM ? 5 : 4)
#define THREADS (4 * UNITS)
// Weights that the registers of a thread have room for, of 65536 that all of a block share; the rest
// lies in shared memory.
#ifndef ROOM
#define ROOM (UNITS <= 96 ? 96 : UNITS <= 112 ? 80 : 64)
#endif

#define LESSER(a, b) ((a) < (b) ? (a) : (b))

// Forward: four lanes share a unit. A lane has every fourth quad of h, for all gates of the unit.
#define FORWARD_QUADS (UNITS / 16)
#define FORWARD_KEPT LESSER(FORWARD_QUADS, ROOM / (4 * GATES))
// Backward: 16 lanes share four units. A lane has every 16th quad of the gates.
#define BACKWARD_QUADS ((GATES * UNITS + 63) / 64)
#define BACKWARD_KEPT LESSER(BACKWARD_QUADS, ROOM / 16)

// Shared memory in bytes: what the windows hand on from step to step, twice, so that a step is written
// while the one before is still read; and weights.
#define FORWARD_SHARED \
  (16 * (2 * ROWS * UNITS / 4 + (FORWARD_QUADS - FORWARD_KEPT) * GATES * THREADS))
#define BACKWARD_SHARED \
  (16 * (2 * ROWS * BACKWARD_QUADS * 16 + (BACKWARD_QUADS - BACKWARD_KEPT) * 4 * THREADS))

struct Forward {
  // [batch, steps, gates × hidden]: the gates of x, with the bias of x.
  const float* gates;
  // [batch, hidden], or null for zeros.
  const float *h0, *c0;
  // [gates × hidden, hidden], [gates × hidden].
  const float *weights, *bias;
  // [batch, steps, hidden], or null: h of each step, and h of the step before.
  float *y, *before;
  // [batch, hidden]: after the last step.
  float *h, *c;
  // [batch, steps, KEPT, hidden], or null.
  float* keep;
  long long batch, steps;
};

struct Backward {
  // Gradients of y, h and c; null for zeros.
  const float *gy, *gh, *gc;
  const float *weights, *keep, *before, *c0;
  // [batch, steps, 4, hidden]: gradients of the gates before their functions; of a GRU r, z, n of x,
  // and n of h.
  float* gates;
  // [batch, hidden], or null.
  float *gh0, *gc0;
  long long batch, steps;
};
