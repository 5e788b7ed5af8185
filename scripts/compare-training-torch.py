"""What scripts/compare-training measures krammerti against: the same nets in Python's PyTorch.

    python compare-training-torch.py '{"kind": "lstm", "mode": "memory", ...}'

The only argument is a JSON object; `Spec` has its keys. Prints JSON lines: `{"first_step": true}`
once the optimiser has made one step, then a line an epoch with the seconds that its training took
(its validation is made too, and not counted). Every batch is read as the mode says:

    loader   a Dataset that slices windows, a DataLoader that shuffles, stacks and copies them
    memory   the series lies on the device; windows are gathered by as_strided and index_select

Nets are those of torch/src, layer for layer, by PyTorch's own modules and its fused AdamW; SegRNN as its authors
have it, which asks the state anew for each segment ahead, where krammerti asks it once. What is
left out, to PyTorch's advantage: the linear path (krammerti solves it before a training and adds
what it gives to each window), and the running average of weights.
"""

import dataclasses
import json
import math
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

RECENT_ROWS = 3
VALIDATION_BATCH = 1024


@dataclasses.dataclass
class Spec:
    """All that decides a run. `series` blocks of `rows` rows lie one after another in `data`, a
    file of 32-bit floats; the target is the first column, the last `known` are known ahead."""

    data: str
    rows: int
    columns: int
    known: int = 0
    series: int = 1
    train_rows: int = 0
    validation_rows: int = 0
    kind: str = "lstm"
    mode: str = "memory"
    workers: int = 0
    lookback: int = 96
    horizon: int = 24
    hidden: int = 64
    layers: int = 1
    segment: int = 1
    dropout: float = 0.0
    batch: int = 256
    stride: int = 1
    epochs: int = 3
    # Of `linear`: rows of the moving average. Of `deepar`: rows of a season.
    kernel: int = 25
    season: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    seed: int = 1
    device: str = "cpu"
    threads: int = 2
    # Ends after so many seconds at the end of an epoch, with as many as there are.
    most_s: float = 1e9


# The nets ----------------------------------------------------------------------------------------


class PointNet(nn.Module):
    """A net that gives a value for each lead, and is trained by the squared error."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        # One over the unit of each lead, as torch/src/loss.rs has it; spreads are ones here.
        self.register_buffer("weight", torch.ones(spec.horizon))

    def loss(self, past, future, series, truth):
        return ((self(past, future, series) - truth) * self.weight).square().mean()


class Recurrent(PointNet):
    """torch/src/recurrent.rs with one member, no noise and no quantiles; also with GRU cells."""

    def __init__(self, spec):
        super().__init__(spec)
        hidden, columns = spec.hidden, spec.columns
        recent = min(RECENT_ROWS, spec.lookback) * columns
        cell = {"lstm": nn.LSTM, "gru": nn.GRU}[spec.kind]
        self.embed = nn.Linear(columns + 1, hidden)
        self.cell = cell(hidden, hidden, spec.layers, batch_first=True)
        self.state = nn.Linear(hidden + recent, hidden)
        self.lead = nn.Parameter(torch.empty(spec.horizon, hidden).uniform_(-0.1, 0.1))
        self.future = nn.Linear(spec.known, hidden, bias=False)
        self.mix = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1)
        self.register_buffer("spread", torch.ones(spec.horizon))

    def forward(self, past, future, _):
        spec = self.spec
        last = past[:, -1:, 0]
        rows = torch.cat([past, past[:, :, :1] - last.unsqueeze(2)], 2)
        segments = rows if spec.segment == 1 else rows.unflatten(1, (-1, spec.segment)).mean(2)
        _, state = self.cell(torch.relu(self.embed(segments)))
        hidden = state[0] if spec.kind == "lstm" else state
        recent = past[:, -min(RECENT_ROWS, spec.lookback) :].flatten(1)
        state = self.state(torch.cat([hidden[-1], recent], 1))
        lead = torch.relu(state.unsqueeze(1) + self.lead + self.future(future))
        raw = self.out(torch.relu(self.mix(lead))).squeeze(2)
        return last + raw * self.spread


class SegRnn(PointNet):
    """torch/src/segrnn.rs: segments of the target through a GRU, all leads decoded at once."""

    def __init__(self, spec):
        super().__init__(spec)
        hidden, segment = spec.hidden, spec.segment
        self.count = -(-spec.horizon // segment)
        self.embed = nn.Linear(segment * spec.columns, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.position = nn.Parameter(torch.randn(self.count, hidden // 2))
        self.channel = nn.Parameter(torch.randn(spec.series, hidden // 2))
        self.drop = nn.Dropout(spec.dropout)
        self.out = nn.Linear(hidden, segment)

    def forward(self, past, _, series):
        spec, count, batch = self.spec, self.count, len(past)
        last = past[:, -1:, :]
        segments = (past - last).reshape(batch, -1, spec.segment * spec.columns)
        _, state = self.gru(torch.relu(self.embed(segments)))
        position = self.position.expand(batch, -1, -1)
        channel = self.channel[series].unsqueeze(1).expand(-1, count, -1)
        queries = torch.cat([position, channel], 2).view(batch * count, 1, -1)
        _, decoded = self.gru(queries, state.repeat_interleave(count, 1))
        steps = self.out(self.drop(decoded[0])).view(batch, -1)
        return steps[:, : spec.horizon] + last[:, :, 0]


class Linear(PointNet):
    """torch/src/dlinear.rs: a linear map of trend and remainder, of the last row, and of each lead's own."""

    def __init__(self, spec):
        super().__init__(spec)
        self.trend = nn.Linear(spec.lookback, spec.horizon)
        self.remainder = nn.Linear(spec.lookback, spec.horizon)
        self.row = nn.Linear(spec.columns, spec.horizon, bias=False)
        bound = max(spec.known, 1) ** -0.5
        self.known = nn.Parameter(torch.empty(spec.horizon, spec.known).uniform_(-bound, bound))

    def forward(self, past, future, _):
        last = past[:, -1:, 0]
        relative = past[:, :, 0] - last
        side = (self.spec.kernel - 1) // 2
        padded = nn.functional.pad(relative.unsqueeze(1), (side, side), mode="replicate")
        trend = nn.functional.avg_pool1d(padded, self.spec.kernel, 1).squeeze(1)
        leads = self.trend(trend) + self.remainder(relative - trend) + self.row(past[:, -1])
        return last + leads + (future * self.known).sum(2)


class DeepAr(nn.Module):
    """torch/src/deepar.rs with one member and Student's t: the true values before each lead are read, and
    the likelihood of the horizon is what is learnt from."""

    # krammerti solves the last one before the training.
    LEAST_SCALE, LEAST_FREEDOM, KEPT, LEAST_DEVIATION = 1e-3, 2.001, 2.0, 0.1

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.cell = nn.LSTM(
            5 + 1 + spec.columns - 1, spec.hidden, spec.layers, batch_first=True, dropout=spec.dropout
        )
        self.out = nn.Linear(spec.hidden, 4)

    def loss(self, past, future, _, truth):
        spec = self.spec
        lookback, horizon, season = spec.lookback, spec.horizon, spec.season
        conditioning = lookback - season
        count = conditioning + horizon
        target = past[:, :, 0]
        whole = torch.cat([target, truth], 1)
        usual = self.usual(target)
        last = target[:, -1:]
        unit = (target.var(1, correction=0, keepdim=True) + self.LEAST_DEVIATION**2).sqrt()
        ages = torch.arange(-conditioning, horizon, device=past.device).clamp(min=0) / horizon
        known = torch.cat([past[:, season:, spec.columns - spec.known :], future], 1)
        others = past[:, season - 1 :, 1 : spec.columns - spec.known]
        stale = others[:, -1:].expand(-1, horizon - 1, -1)
        steps = [
            (whole[:, season - 1 : season - 1 + count] - usual[:, :count]) / unit,
            (whole[:, :count] - usual[:, 1 : count + 1]) / unit,
            (usual[:, 1 : count + 1] - last) / unit,
            last.expand(-1, count),
            unit.log().expand(-1, count),
            ages.expand(len(past), -1),
        ]
        others = torch.cat([others, stale], 1)
        steps = torch.cat([torch.stack(steps, 2), known, others], 2)
        top, _ = self.cell(steps)
        mean, scale, freedom, kept = self.out(top[:, conditioning:]).unbind(2)
        before = whole[:, lookback - 1 : -1] - usual[:, conditioning : conditioning + horizon]
        mean = mean * unit + usual[:, conditioning + 1 :] + torch.sigmoid(kept + self.KEPT) * before
        scale = (nn.functional.softplus(scale) + self.LEAST_SCALE) * unit
        freedom = nn.functional.softplus(freedom) + self.LEAST_FREEDOM
        # Written out: PyTorch's own distribution waits for the GPU at each step.
        apart = (truth - mean) / scale
        half = (freedom + 1) / 2
        log = (
            torch.lgamma(half)
            - torch.lgamma(freedom / 2)
            - 0.5 * torch.log(freedom * math.pi)
            - scale.log()
            - half * torch.log1p(apart.square() / freedom)
        )
        return -log.mean()

    def usual(self, target):
        """The mean of the seasons at each row that has a value a season before, and one row before."""
        spec = self.spec
        lookback, season = spec.lookback, spec.season
        whole = lookback // season * season
        mean = target[:, lookback - whole :].view(len(target), -1, season).mean(1)
        first = (season - 1 - lookback) % season
        rows = 1 + lookback - season + spec.horizon
        return mean.repeat(1, -(-(first + rows) // season))[:, first : first + rows]


NETS = {"lstm": Recurrent, "gru": Recurrent, "segrnn": SegRnn, "linear": Linear, "deepar": DeepAr}


# Windows -----------------------------------------------------------------------------------------


def issues_of(spec, first, rows):
    """The issue rows of all windows within `rows` rows of each series from `first` on."""
    begin, end = first + spec.lookback - 1, first + rows - spec.horizon
    starts = torch.arange(begin, max(begin, end), spec.stride)
    return torch.cat([starts + block * spec.rows for block in range(spec.series)])


class InMemory:
    """Windows gathered on the device."""

    def __init__(self, spec, table):
        self.spec, self.table = spec, table.to(spec.device)
        self.target = self.table[:, :1].contiguous()
        self.known = self.table[:, spec.columns - spec.known :].contiguous()

    def batches(self, issues, batch, shuffle):
        issues = issues.to(self.spec.device)
        if shuffle:
            issues = issues[torch.randperm(len(issues), device=issues.device)]
        return (self.windows(part) for part in issues.split(batch))

    def windows(self, issues):
        spec = self.spec
        past = gather(self.table, issues - (spec.lookback - 1), spec.lookback)
        future = gather(self.known, issues + 1, spec.horizon)
        truth = gather(self.target, issues + 1, spec.horizon).squeeze(2)
        return past, future, issues // spec.rows, truth


def gather(table, starts, rows):
    height, width = table.shape
    if width == 0:
        return table.new_zeros(len(starts), rows, 0)
    views = table.as_strided((height - rows + 1, rows * width), (width, 1))
    return views.index_select(0, starts).view(len(starts), rows, width)


class Slices(Dataset):
    """Windows sliced one by one."""

    def __init__(self, spec, table, issues):
        self.spec, self.table, self.issues = spec, table, issues.tolist()

    def __len__(self):
        return len(self.issues)

    def __getitem__(self, i):
        spec, now = self.spec, self.issues[i] + 1
        ahead = self.table[now : now + spec.horizon]
        past = self.table[now - spec.lookback : now]
        return past, ahead[:, spec.columns - spec.known :], self.issues[i] // spec.rows, ahead[:, 0]


class Loader:
    """Windows by a DataLoader, which lives as long as the training does."""

    def __init__(self, spec, table):
        self.spec, self.table, self.loaders = spec, table, {}

    def batches(self, issues, batch, shuffle):
        spec = self.spec
        if shuffle not in self.loaders:
            self.loaders[shuffle] = DataLoader(
                Slices(spec, self.table, issues),
                batch_size=batch,
                shuffle=shuffle,
                num_workers=spec.workers,
                persistent_workers=spec.workers > 0,
                pin_memory=spec.device != "cpu",
            )
        move = lambda tensor: tensor.to(spec.device, non_blocking=True)
        return (tuple(map(move, windows)) for windows in self.loaders[shuffle])


# Training ----------------------------------------------------------------------------------------


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def tell(**line):
    print(json.dumps(line), flush=True)


def main():
    spec = Spec(**json.loads(sys.argv[1]))
    begun = time.perf_counter()
    torch.manual_seed(spec.seed)
    torch.set_num_interop_threads(1)
    torch.set_num_threads(spec.threads)
    total = spec.series * spec.rows * spec.columns
    table = torch.from_file(spec.data, size=total, dtype=torch.float32).view(-1, spec.columns)
    table = table.clone()
    net = NETS[spec.kind](spec).to(spec.device)
    adam = torch.optim.AdamW(
        net.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
    )
    source = (Loader if spec.mode == "loader" else InMemory)(spec, table)
    train = issues_of(spec, 0, spec.train_rows)
    validation = issues_of(
        dataclasses.replace(spec, stride=1), spec.train_rows, spec.validation_rows
    )
    stepped = False
    for epoch in range(1, spec.epochs + 1):
        wait(spec.device)
        started = time.perf_counter()
        net.train()
        losses = torch.zeros((), dtype=torch.float64, device=spec.device)
        for windows in source.batches(train, spec.batch, shuffle=True):
            adam.zero_grad()
            loss = net.loss(*windows)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), spec.clip)
            adam.step()
            losses += loss.detach() * len(windows[0])
            if not stepped:
                stepped = True
                wait(spec.device)
                tell(first_step=True)
        loss = losses.item() / len(train)
        seconds = time.perf_counter() - started
        net.eval()
        with torch.no_grad():
            batches = source.batches(validation, VALIDATION_BATCH, shuffle=False)
            sums = [net.loss(*windows).double() * len(windows[0]) for windows in batches]
            judged = sum(sums).item() / len(validation) if sums else None
        tell(epoch=epoch, seconds=seconds, windows=len(train), loss=loss, validation=judged)
        if time.perf_counter() - begun > spec.most_s:
            break


if __name__ == "__main__":
    main()
