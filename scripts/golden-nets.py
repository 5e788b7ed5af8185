#!/usr/bin/env python3
"""Numbers that the tests of torch/src expect, by PyTorch: recurrent cells, whole nets, the quantile
head, distributions, losses, the optimiser.

    python3 -m venv /tmp/nets && /tmp/nets/bin/pip install torch==2.11.0
    /tmp/nets/bin/python scripts/golden-nets.py > torch/tests/golden.json

Prints one JSON object with flat keys. A tensor is `KEY.shape` and `KEY`, its values in row-major
order; a number is a list of one. All is computed in 64 bits and printed in full, so that equal
PyTorch gives equal bytes.

Inputs and weights are stored beside what comes of them; all are made by `small`.
"""

import json
import math

import torch
from torch import nn
from torch.distributions import Beta, NegativeBinomial, Normal, StudentT

ROWS = {}


def put(key, value):
    value = torch.as_tensor(value, dtype=torch.float64).detach()
    ROWS[f"{key}.shape"] = list(value.shape)
    ROWS[key] = value.reshape(-1).tolist()


def small(shape, start):
    """Fixed numbers within ±0.5: ((start + 7 i) mod 23 - 11) / 22 for the i-th value."""
    count = math.prod(shape)
    values = [((start + 7 * i) % 23 - 11) / 22 for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def fill(module, start):
    """Fills the parameters of a module in their order; the k-th begins at `start + 3 k`."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(small(parameter.shape, start + 3 * k))
    return module


# Cells -------------------------------------------------------------------------------------------


def cells():
    """2 layers of 3 on 2 inputs, 4 steps, batch 2. Parameters in PyTorch's order: for each layer
    weight_ih, weight_hh, bias_ih, bias_hh; the gates are i, f, g, o (LSTM) and r, z, n (GRU)."""
    x = small((2, 4, 2), 5)
    put("cells.input", x)
    put("cells.given.hidden", small((2, 2, 3), 4))
    put("cells.given.cell", small((2, 2, 3), 13))
    for name, kind in (("lstm", nn.LSTM), ("gru", nn.GRU)):
        net = fill(kind(2, 3, num_layers=2, batch_first=True), 1)
        for parameter, value in net.named_parameters():
            put(f"{name}.{parameter}", value)
        for case, start in (("zero", None), ("given", 4)):
            h = (
                torch.zeros(2, 2, 3, dtype=torch.float64)
                if start is None
                else small((2, 2, 3), start)
            )
            c = (
                torch.zeros(2, 2, 3, dtype=torch.float64)
                if start is None
                else small((2, 2, 3), start + 9)
            )
            if name == "lstm":
                output, (hidden, cell) = net(x, (h, c))
                put(f"lstm.{case}.cell", cell)
            else:
                output, hidden = net(x, h)
            put(f"{name}.{case}.output", output)
            put(f"{name}.{case}.hidden", hidden)


# Distributions -----------------------------------------------------------------------------------


def distributions():
    """`D.points` is a table, one point a row, of the parameters and y; `D.log_prob` and `D.mean`
    are of each."""

    def rows(name, points, make):
        table = torch.tensor(points, dtype=torch.float64)
        *parameters, y = table.unbind(1)
        distribution = make(*parameters)
        put(f"{name}.points", table)
        put(f"{name}.log_prob", distribution.log_prob(y))
        put(f"{name}.mean", distribution.mean)
        put(f"{name}.variance", distribution.variance)

    # mean, standard deviation, y
    rows(
        "gaussian",
        [
            (0.0, 1.0, 0.0),
            (0.0, 1.0, 2.5),
            (-1.5, 0.3, -1.4),
            (10.0, 4.0, -3.0),
            (0.2, 1e-3, 0.201),
            (1e3, 50.0, 1e3),
        ],
        Normal,
    )
    # degrees of freedom, location, scale, y
    rows(
        "student_t",
        [
            (2.5, 0.0, 1.0, 0.0),
            (3.0, 0.0, 1.0, 4.0),
            (4.2, -1.5, 0.3, -1.0),
            (10.0, 10.0, 4.0, -3.0),
            (100.0, 0.2, 0.01, 0.23),
            (2.01, 1.0, 2.0, 50.0),
        ],
        StudentT,
    )

    # Salinas et al. 2020: variance mu + alpha mu². torch counts successes at odds alpha mu.
    def negative_binomial(mu, alpha):
        return NegativeBinomial(total_count=1 / alpha, logits=torch.log(alpha * mu))

    # mean mu, dispersion alpha, y
    rows(
        "negative_binomial",
        [
            (1.0, 1.0, 0.0),
            (3.5, 0.5, 2.0),
            (3.5, 0.5, 12.0),
            (120.0, 0.05, 100.0),
            (0.1, 2.0, 1.0),
            (1000.0, 1e-3, 1040.0),
        ],
        negative_binomial,
    )

    # mean m, precision s: a = m s, b = (1 - m) s
    rows(
        "beta",
        [
            (0.5, 2.0, 0.3),
            (0.5, 2.0, 0.999),
            (0.2, 10.0, 0.1),
            (0.9, 30.0, 0.95),
            (0.01, 5.0, 0.002),
            (0.6, 0.8, 0.5),
        ],
        lambda m, s: Beta(m * s, (1 - m) * s),
    )


# The quantile head -------------------------------------------------------------------------------


def spread_outwards(heads, median):
    """The median's head as it is; each further level a softplus outside of the one before."""
    softplus = nn.functional.softplus
    levels = [heads[..., median]]
    for level in range(median + 1, heads.shape[-1]):
        levels.append(levels[-1] + softplus(heads[..., level]))
    for level in reversed(range(median)):
        levels.insert(0, levels[0] - softplus(heads[..., level]))
    return torch.stack(levels, -1)


def quantiles():
    heads = small((2, 3, 5), 2) * 8
    put("quantiles.heads", heads)
    put("quantiles.median_2", spread_outwards(heads, 2))
    put("quantiles.median_0", spread_outwards(heads, 0))


# Losses and the optimiser ------------------------------------------------------------------------


def losses():
    forecast, truth = small((3, 4), 1) * 6, small((3, 4), 8) * 6
    put("losses.forecast", forecast)
    put("losses.truth", truth)
    put("losses.mse", nn.functional.mse_loss(forecast, truth))
    put("losses.mae", nn.functional.l1_loss(forecast, truth))
    put("losses.huber", nn.functional.huber_loss(forecast, truth, delta=1.0))
    # Koenker and Bassett 1978; PyTorch has none.
    levels = torch.tensor([0.25, 0.5, 0.875], dtype=torch.float64)
    quantiles = small((3, 4, 3), 3) * 6
    error = truth[..., None] - quantiles
    put("losses.quantiles", quantiles)
    put("losses.levels", levels)
    put("losses.pinball", torch.where(error < 0, (levels - 1) * error, levels * error).mean())


def optimiser():
    """Three steps of AdamW on the gradients `adamw.gradients`, one a row."""
    sizes = torch.tensor([[1.0], [10.0], [0.01]], dtype=torch.float64)
    start, gradients = small((5,), 3) * 4, small((3, 5), 6) * sizes
    put("adamw.start", start)
    put("adamw.gradients", gradients)
    flat = start.clone().requires_grad_()
    adam = torch.optim.AdamW([flat], lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.3)
    for step, gradient in enumerate(gradients, 1):
        flat.grad = gradient.clone()
        adam.step()
        put(f"adamw.step{step}", flat)
    state = adam.state[flat]
    put("adamw.first_moment", state["exp_avg"])
    put("adamw.second_moment", state["exp_avg_sq"])

    for name, factor in (("long", 20.0), ("short", 0.1)):
        flat.grad = small((5,), 6) * factor
        put(f"clip.{name}", flat.grad)
        put(f"clip.{name}.norm", nn.utils.clip_grad_norm_([flat], 1.0))
        put(f"clip.{name}.clipped", flat.grad)


# Whole nets --------------------------------------------------------------------------------------


class SegRnn(nn.Module):
    """Lin et al. 2023, as torch/src/segrnn.rs has it; by default one column and one output."""

    def __init__(
        self, horizon, segment, hidden, series, columns=1, targets=(0,), future=0, outputs=1
    ):
        super().__init__()
        count = -(-horizon // segment)
        self.horizon, self.segment, self.targets = horizon, segment, list(targets)
        self.embed = nn.Linear(segment * columns, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.position = nn.Parameter(torch.zeros(count, hidden // 2))
        self.channel = nn.Parameter(torch.zeros(series, hidden // 2))
        self.out = nn.Linear(hidden, segment * outputs)
        if future:
            self.future = nn.Linear(segment * future, hidden, bias=False)

    def forward(self, past, series, future=None):
        """From `[issues, lookback, columns]` to `[issues, horizon, outputs]`, relative to the last
        values of the targets."""
        batch, count = len(past), len(self.position)
        rows = past.clone()
        rows[:, :, self.targets] -= past[:, -1:, self.targets]
        segments = rows.unflatten(1, (-1, self.segment)).flatten(2)
        _, state = self.gru(torch.relu(self.embed(segments)))
        position = self.position.expand(batch, -1, -1)
        channel = self.channel[series].unsqueeze(1).expand(-1, count, -1)
        queries = torch.cat([position, channel], 2)
        if future is not None:
            known = torch.zeros(batch, count * self.segment, future.shape[2], dtype=future.dtype)
            known[:, : self.horizon] = future
            queries = queries + self.future(known.unflatten(1, (count, -1)).flatten(2))
        states = state.repeat_interleave(count, 1)
        _, decoded = self.gru(queries.flatten(0, 1).unsqueeze(1), states)
        steps = self.out(decoded[0]).unflatten(1, (self.segment, -1))
        return steps.unflatten(0, (batch, count)).flatten(1, 2)[:, : self.horizon]


def put_forecast(name, raw, base, spread=None):
    """The mean, and the levels 0.1, 0.5 and 0.9; each lead of each target in units of its spread. What
    nets give is `[issues, horizon, targets × 4]`, what is stored and what it is relative to
    `[issues, targets × horizon]`."""
    raw = raw.unflatten(2, (-1, 4)).transpose(1, 2).flatten(1, 2)
    spread = torch.ones(raw.shape[1], dtype=torch.float64) if spread is None else spread
    put(f"{name}.mean", base + raw[..., 0] * spread)
    offsets = spread_outwards(raw[..., 1:], 1) * spread[:, None]
    put(f"{name}.quantiles", base[..., None] + offsets)


def segrnn():
    """Lookback 6 in segments of 2, horizon 5 (the last segment is cut), hidden 4, three series."""
    net = fill(SegRnn(horizon=5, segment=2, hidden=4, series=3), 2)
    for name, value in net.named_parameters():
        put(f"segrnn.{name}", value)
    x, series = small((3, 6), 9) * 4, torch.tensor([0, 2, 1])
    put("segrnn.input", x)
    put("segrnn.series", series)
    put("segrnn.output", net(x[..., None], series)[..., 0] + x[:, -1:])


def segrnn_wide():
    """Three columns of which the second is the target, two known in the future, three levels."""
    net = fill(
        SegRnn(
            horizon=3, segment=2, hidden=4, series=2, columns=3, targets=[1], future=2, outputs=4
        ),
        6,
    )
    for name, value in net.named_parameters():
        put(f"segrnn_wide.{name}", value)
    past, future = small((2, 4, 3), 9) * 4, small((2, 3, 2), 14) * 4
    series = torch.tensor([1, 0])
    put("segrnn_wide.past", past)
    put("segrnn_wide.future_columns", future)
    put("segrnn_wide.series", series)
    put_forecast("segrnn_wide", net(past, series, future), past[:, -1:, 1])


# Several targets: the first and the third of three columns.
TWO = [0, 2]


def carried(past, horizon):
    """The last values of both, at every lead."""
    return past[:, -1, TWO].repeat_interleave(horizon, 1)


def segrnn_two():
    """Two targets, one column known in the future, three levels."""
    net = fill(
        SegRnn(
            horizon=3, segment=2, hidden=4, series=2, columns=3, targets=TWO, future=1, outputs=8
        ),
        11,
    )
    for name, value in net.named_parameters():
        put(f"segrnn_two.{name}", value)
    past, future = small((2, 4, 3), 9) * 4, small((2, 3, 1), 14) * 4
    series = torch.tensor([1, 0])
    put("segrnn_two.past", past)
    put("segrnn_two.future_columns", future)
    put("segrnn_two.series", series)
    put_forecast("segrnn_two", net(past, series, future), carried(past, 3))


def moving_mean(x, kernel):
    """With the ends repeated."""
    half = (kernel - 1) // 2
    padded = torch.cat([x[:, :1].repeat(1, half), x, x[:, -1:].repeat(1, half)], 1)
    return padded.unfold(1, kernel, 1).mean(2)


def dlinear():
    """Zeng et al. 2023: a moving mean of 5 with the ends repeated, what it leaves, and a linear
    map of each, lookback 8 to horizon 3. `relative_output` is the same of the input relative to
    its last value, which is added back, as torch/src/dlinear.rs has it."""
    x = small((2, 8), 4) * 4
    trend = moving_mean(x, 5)
    maps = {"seasonal": fill(nn.Linear(8, 3), 1), "trend": fill(nn.Linear(8, 3), 12)}
    for name, linear in maps.items():
        put(f"dlinear.{name}.weight", linear.weight)
        put(f"dlinear.{name}.bias", linear.bias)
    put("dlinear.input", x)
    put("dlinear.moving_mean", trend)
    put("dlinear.output", maps["seasonal"](x - trend) + maps["trend"](trend))
    relative = x - x[:, -1:]
    trend = moving_mean(relative, 5)
    output = maps["seasonal"](relative - trend) + maps["trend"](trend)
    put("dlinear.relative_output", output + x[:, -1:])


def dlinear_wide():
    """Three columns of which the second is the target, two known in the future, three levels."""
    maps = {"seasonal": fill(nn.Linear(4, 12), 2), "trend": fill(nn.Linear(4, 12), 9)}
    for name, linear in maps.items():
        put(f"dlinear_wide.{name}.weight", linear.weight)
        put(f"dlinear_wide.{name}.bias", linear.bias)
    row = fill(nn.Linear(3, 12, bias=False), 5)
    put("dlinear_wide.row.weight", row.weight)
    known = small((3, 2, 4), 8)
    put("dlinear_wide.known.weight", known)
    past, future = small((2, 4, 3), 9) * 4, small((2, 3, 2), 14) * 4
    put("dlinear_wide.past", past)
    put("dlinear_wide.future_columns", future)
    relative = past[:, :, 1] - past[:, -1:, 1]
    trend = moving_mean(relative, 3)
    leads = maps["seasonal"](relative - trend) + maps["trend"](trend) + row(past[:, -1])
    raw = leads.unflatten(1, (3, 4)) + torch.einsum("ihf,hfo->iho", future, known)
    put_forecast("dlinear_wide", raw, past[:, -1:, 1])


def dlinear_two():
    """Two targets with maps of their own, one column known in the future, three levels."""
    maps = {"seasonal": fill(nn.Linear(4, 24), 2), "trend": fill(nn.Linear(4, 24), 9)}
    for name, linear in maps.items():
        put(f"dlinear_two.{name}.weight", linear.weight)
        put(f"dlinear_two.{name}.bias", linear.bias)
    row = fill(nn.Linear(3, 24, bias=False), 5)
    put("dlinear_two.row.weight", row.weight)
    known = small((3, 1, 8), 8)
    put("dlinear_two.known.weight", known)
    past, future = small((2, 4, 3), 9) * 4, small((2, 3, 1), 14) * 4
    put("dlinear_two.past", past)
    put("dlinear_two.future_columns", future)
    leads = []
    for place, target in enumerate(TWO):
        relative = past[:, :, target] - past[:, -1:, target]
        trend = moving_mean(relative, 3)
        of = slice(12 * place, 12 * (place + 1))
        parts = {"seasonal": relative - trend, "trend": trend}
        made = [
            x @ maps[name].weight[of].T + maps[name].bias[of] for name, x in parts.items()
        ]
        leads.append(sum(made).unflatten(1, (3, 4)))
    raw = torch.cat(leads, 2) + row(past[:, -1]).unflatten(1, (3, 8))
    raw = raw + torch.einsum("ihf,hfo->iho", future, known)
    put_forecast("dlinear_two", raw, carried(past, 3))


class Recurrent(nn.Module):
    """As torch/src/recurrent.rs has it, but for the linear path."""

    def __init__(self, cell, horizon, segment, hidden, columns, targets, future, outputs, more=0):
        super().__init__()
        self.segment, self.targets = segment, targets
        self.embed = nn.Linear(columns + len(targets), hidden)
        self.state = nn.Linear(hidden + 3 * columns + more, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, outputs)
        self.lead = nn.Embedding(horizon, hidden)
        self.future = nn.Linear(future, hidden, bias=False)
        self.cells = cell(hidden, hidden, num_layers=2, batch_first=True)

    def encode(self, past, future):
        relative = past[:, :, self.targets] - past[:, -1:, self.targets]
        rows = torch.cat([past, relative], 2)
        segments = rows.unflatten(1, (-1, self.segment)).mean(2)
        top, encoded = self.cells(torch.relu(self.embed(segments)))
        known = torch.cat([top[:, -1], self.recent(past)], 1)
        return self.state(known)[:, None] + self.lead.weight + self.future(future), known, encoded

    def recent(self, past):
        return past[:, -3:].flatten(1)

    def forward(self, past, future):
        lead, _, _ = self.encode(past, future)
        return self.out(torch.relu(self.mix(torch.relu(lead))))


class Head(nn.Module):
    """As torch/src/heads.rs has it; its width is twice that of the net."""

    def __init__(self, known, width, leads):
        super().__init__()
        self.first = nn.Linear(known, width)
        self.second = nn.Linear(width, width)
        self.out = nn.Linear(width, leads)

    def forward(self, known):
        return self.out(torch.relu(self.second(torch.relu(self.first(known)))))


class WithHeads(Recurrent):
    """With two heads, and torch/src/changes.rs: over one and three rows."""

    def __init__(self, cell, horizon, segment, hidden, columns, targets, future, outputs, scale):
        more = 2 * columns
        super().__init__(cell, horizon, segment, hidden, columns, targets, future, outputs, more)
        known = hidden + 3 * columns + more
        heads = [Head(known, 2 * hidden, horizon * outputs) for _ in range(2)]
        self.heads, self.scale = nn.ModuleList(heads), scale

    def recent(self, past):
        changes = torch.cat([past[:, -1] - past[:, -1 - lag] for lag in (1, 3)], 1)
        return torch.cat([super().recent(past), changes * self.scale], 1)

    def forward(self, past, future):
        lead, known, _ = self.encode(past, future)
        leads = self.out(torch.relu(self.mix(torch.relu(lead))))
        horizon = leads.shape[1]
        for head, reach in zip(self.heads, (horizon / 4, math.inf)):
            fades = torch.exp(-torch.arange(horizon, dtype=torch.float64) / reach)
            leads = leads + head(known).unflatten(1, (horizon, -1)) * fades[:, None]
        return leads


class EncoderDecoder(Recurrent):
    """With torch/src/decoder.rs."""

    def __init__(self, cell, horizon, segment, hidden, **sizes):
        super().__init__(cell, horizon, segment, hidden, **sizes)
        of_one = len(self.targets) == 1
        shape = (hidden,) if of_one else (len(self.targets), hidden)
        self.feedback = nn.Parameter(torch.zeros(shape))
        self.decoder = cell(hidden, hidden, num_layers=2, batch_first=True)

    def forward(self, past, future, base, spread):
        leads, _, state = self.encode(past, future)
        count = len(self.targets)
        base, spread = base.unflatten(1, (count, -1)), spread.unflatten(0, (count, -1))
        last = past[:, -1, self.targets]
        before, made = torch.zeros_like(last), []
        for lead in range(leads.shape[1]):
            read = torch.relu(leads[:, lead] + before @ self.feedback.view(count, -1))
            top, state = self.decoder(read[:, None], state)
            made.append(self.out(torch.relu(self.mix(top[:, 0]))))
            means = made[-1].unflatten(1, (count, -1))[..., 0]
            before = base[..., lead] - last + means * spread[:, lead]
        return torch.stack(made, 1)


def recurrent():
    """Lookback 4 in segments of 2, horizon 3, two columns of which the second is the target, one
    known in the future, three levels. `base` stands for what the linear path gives. No unit is
    nearer than 0.016 to where its relu bends, so that differences can check gradients."""
    past, future = small((2, 4, 2), 9) * 4, small((2, 3, 1), 14) * 4
    base, spread = small((2, 3), 4) * 2, torch.tensor([0.5, 0.75, 1.25], dtype=torch.float64)
    put("recurrent.past", past)
    put("recurrent.future_columns", future)
    put("recurrent.base", base)
    put("recurrent.spread", spread)
    for name, cell in (("lstm", nn.LSTM), ("gru", nn.GRU)):
        net = fill(Recurrent(cell, 3, 2, 6, columns=2, targets=[1], future=1, outputs=4), 9)
        for parameter, value in net.named_parameters():
            put(f"recurrent_{name}.{parameter}", value)
        put_forecast(f"recurrent_{name}", net(past, future), base, spread)
        sizes = {"columns": 2, "targets": [1], "future": 1, "outputs": 4}
        net = fill(EncoderDecoder(cell, 3, 2, 6, **sizes), 9)
        for parameter, value in net.named_parameters():
            put(f"decoder_{name}.{parameter}", value)
        put_forecast(f"decoder_{name}", net(past, future, base, spread), base, spread)
    scale = torch.tensor([1.0, 0.5, 0.75, 1.5], dtype=torch.float64)
    put("recurrent.scale", scale)
    net = fill(WithHeads(nn.LSTM, 3, 2, 6, **sizes, scale=scale), 18)
    for parameter, value in net.named_parameters():
        put(f"heads_lstm.{parameter}", value)
    put_forecast("heads_lstm", net(past, future), base, spread)


def recurrent_two():
    """The same of two targets of three columns: with heads, and one lead after the other."""
    past, future = small((2, 4, 3), 9) * 4, small((2, 3, 1), 14) * 4
    base = small((2, 6), 4) * 2
    spread = torch.tensor([0.5, 0.75, 1.25, 1.0, 0.25, 0.5], dtype=torch.float64)
    scale = torch.tensor([1.0, 0.5, 0.75, 1.5, 1.25, 0.25], dtype=torch.float64)
    put("recurrent_two.past", past)
    put("recurrent_two.future_columns", future)
    put("recurrent_two.base", base)
    put("recurrent_two.spread", spread)
    put("recurrent_two.scale", scale)
    sizes = {"columns": 3, "targets": TWO, "future": 1, "outputs": 8}
    net = fill(WithHeads(nn.LSTM, 3, 2, 6, **sizes, scale=scale), 14)
    for parameter, value in net.named_parameters():
        put(f"heads_two.{parameter}", value)
    put_forecast("heads_two", net(past, future), base, spread)
    net = fill(EncoderDecoder(nn.GRU, 3, 2, 6, **sizes), 10)
    for parameter, value in net.named_parameters():
        put(f"decoder_two.{parameter}", value)
    put_forecast("decoder_two", net(past, future, base, spread), base, spread)


# DeepAR ------------------------------------------------------------------------------------------


def student_t_below(z, freedom):
    """The share of Student's t below `z`: torch has none. Simpson's rule over the angle whose tangent t is."""
    steps = 20_000
    far = torch.atan(torch.as_tensor(1e9, dtype=torch.float64))
    angles = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    angles = -far + (torch.atan(z).unsqueeze(-1) + far) * angles
    t = torch.tan(angles)
    density = StudentT(freedom.unsqueeze(-1)).log_prob(t).exp() * (1 + t.square())
    weights = torch.ones(steps + 1, dtype=torch.float64)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    width = (angles[..., -1] - angles[..., 0]) / steps
    return (density * weights).sum(-1) * width / 3


def emission(kind, raw, usual_before, usual, before, typical):
    """The distribution of each value: its parameters but the mean are those of the net, and the mean is the usual
    value with a share of how far the value before lay from its own."""
    softplus = nn.functional.softplus
    kept = torch.sigmoid(raw[..., -1] + (0.0 if kind == "negative_binomial" else 2.0))
    if kind in ("gaussian", "student_t"):
        mean = raw[..., 0] * typical + usual + kept * (before - usual_before)
        scale = (softplus(raw[..., 1]) + 1e-3) * typical
        if kind == "gaussian":
            return Normal(mean, scale)
        return StudentT(softplus(raw[..., 2]) + 2.001, mean, scale)
    if kind == "beta":
        usual_before, usual, before = (x.logit(0.02) for x in (usual_before, usual, before))
        mean = torch.sigmoid(raw[..., 0] * typical + usual + kept * (before - usual_before)) * 0.998 + 1e-3
        precision = 1 / ((softplus(raw[..., 1]) + 1e-3) ** 2 * typical**2 * mean * (1 - mean))
        return Beta(mean * precision, (1 - mean) * precision)
    expected = ((usual + kept * (before - usual_before)) / typical).clamp(min=0.25)
    mean = (softplus(raw[..., 0] + torch.log(torch.expm1(expected))) + 1e-6) * typical
    excess = softplus(raw[..., 1]) + 1e-6
    return NegativeBinomial(total_count=1 / excess, logits=torch.log(mean * excess), validate_args=False)


def censored(distribution, truth, bounds):
    """The logarithm of the likelihood where what lies beyond a bound is seen on it."""
    if isinstance(distribution, Beta):
        truth = truth.clamp(1e-3, 1 - 1e-3)
    if bounds is None:
        return distribution.log_prob(truth)
    low, high = bounds
    log = distribution.log_prob(truth.clamp(low + 1e-9, high - 1e-9))
    for is_there, z in (
        (truth <= low, (low - distribution.loc) / distribution.scale),
        (truth >= high, (distribution.loc - high) / distribution.scale),
    ):
        if isinstance(distribution, Normal):
            below = torch.special.log_ndtr(z)
        else:
            below = student_t_below(z, distribution.df).log()
        log = torch.where(is_there, below, log)
    return log


def deepar():
    """Lookback 7, horizon 5, a season of 3, two layers of 4; a target, a past column and one known. The target is
    beyond its bounds at times where it has some. The loss is that of the horizon, with that of what is expected by the
    known column."""
    lookback, horizon, season, least = 7, 5, 3, 0.1
    conditioning = lookback - season
    count = conditioning + horizon
    cell = fill(nn.LSTM(8, 4, num_layers=2, batch_first=True), 3)
    for name, value in cell.named_parameters():
        put(f"deepar.cell.{name}", value)
    outs = {outputs: fill(nn.Linear(4, outputs), 8) for outputs in (3, 4)}
    for outputs, out in outs.items():
        put(f"deepar.out{outputs}.weight", out.weight)
        put(f"deepar.out{outputs}.bias", out.bias)
    response = [fill(nn.Linear(*shape), 5 + place) for place, shape in enumerate(((8, 4), (4, 4), (4, 2)))]
    for name, layer in zip(("first", "second", "out"), response):
        put(f"deepar.response.{name}.weight", layer.weight)
        put(f"deepar.response.{name}.bias", layer.bias)
    past, future = small((3, lookback, 3), 9) * 4, small((3, horizon, 1), 14) * 4
    numbers = small((3, horizon), 17) * 4
    put("deepar.past", past)
    put("deepar.future_columns", future)
    bounds = (-0.8, 0.9)
    for name, kind, between in (
        ("gaussian", "gaussian", None),
        ("student_t", "student_t", None),
        ("gaussian_bounds", "gaussian", bounds),
        ("student_t_bounds", "student_t", bounds),
        ("negative_binomial", "negative_binomial", None),
        ("beta", "beta", None),
    ):
        of = {"beta": lambda x: x / 4 + 0.5, "negative_binomial": lambda x: ((x + 2) * 5).round()}
        own = of.get(kind, lambda x: x if between is None else x.clamp(*between))
        target, truth = own(past[..., 0]), own(numbers)
        put(f"deepar.{name}.target", target)
        put(f"deepar.{name}.truth", truth)
        if kind in ("gaussian", "student_t"):
            typical = (target.var(1, correction=0, keepdim=True) + least**2).sqrt()
            unit = typical
        else:
            unit = torch.ones_like(target[:, :1])
            if kind == "beta":
                typical = (target.logit(0.02).var(1, correction=0, keepdim=True) + least**2).sqrt()
            else:
                typical = target.mean(1, keepdim=True) + 1
        whole = torch.cat([target, truth], 1)
        seasons = target[:, lookback // season * -season :].view(3, -1, season).mean(1)
        first = (season - 1 - lookback) % season
        usual = seasons.repeat(1, 9)[:, first : first + 1 + count]
        last = target[:, -1:]
        others = past[:, season - 1 :, 1]
        steps = torch.stack(
            [
                (whole[:, season - 1 : season - 1 + count] - usual[:, :count]) / unit,
                (whole[:, :count] - usual[:, 1:]) / unit,
                (usual[:, 1:] - last) / unit,
                last.expand(-1, count),
                typical.log().expand(-1, count),
                (torch.arange(-conditioning, horizon).clamp(min=0) / horizon).expand(3, -1),
                torch.cat([past[:, season:, 2], future[..., 0]], 1),
                torch.cat([others, others[:, -1:].expand(-1, horizon - 1)], 1),
            ],
            2,
        )
        known = torch.cat([past[:, season - 1 :, 2], future[..., 0]], 1)
        around = nn.functional.pad(known.unsqueeze(1), (2, 2), mode="replicate").squeeze(1)
        causes = torch.stack(
            [
                *(around[:, place : place + 1 + count] for place in range(5)),
                ((torch.arange(-conditioning - 1, horizon) + 1).clamp(min=1) / horizon).expand(3, -1),
                last.expand(-1, 1 + count),
                typical.log().expand(-1, 1 + count),
            ],
            2,
        )
        first, second, out = response
        answer = out(torch.relu(second(torch.relu(first(causes)))))
        expected = usual + torch.sigmoid(answer[..., 1] - 2) * (answer[..., 0] - usual)
        apart = (expected[:, conditioning + 1 :] - truth) / typical * (4 if kind == "beta" else 1)
        top, _ = cell(steps)
        raw = outs[4 if kind == "student_t" else 3](top[:, conditioning:])
        distribution = emission(
            kind,
            raw,
            expected[:, conditioning : conditioning + horizon],
            expected[:, conditioning + 1 :],
            whole[:, lookback - 1 : -1],
            typical,
        )
        loss = -censored(distribution, truth, between) + 9 * ((1 + apart**2 / 9).sqrt() - 1)
        put(f"deepar.{name}.loss", loss.mean())


def main():
    for part in (
        cells,
        distributions,
        quantiles,
        losses,
        optimiser,
        segrnn,
        segrnn_wide,
        segrnn_two,
        dlinear,
        dlinear_wide,
        dlinear_two,
        recurrent,
        recurrent_two,
        deepar,
    ):
        part()
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in ROWS.items())
    print("{\n" + rows + "\n}")


if __name__ == "__main__":
    main()
