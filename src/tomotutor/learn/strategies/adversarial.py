"""VAAL and SRAAL: an autoencoder and a discriminator that learns to tell labeled items from unlabeled ones.

They share nothing with the task networks, so training them after the task, with the same number of steps, gives what
training them in turns with it gives.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, pad
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy

LATENT = 32
CHANNELS = (128, 256, 512, 1024)
LEARNING_RATE = 5e-4
VAE_STEPS = 2  # to one of the discriminator, for each mini-batch of the task training
_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class VAE(nn.Module):
    """Four convolutions (kernel 4, stride 2) to a Gaussian of 32 numbers, and the mirror image of them back.

    Parameters
    ----------
    shape : tuple of int
        (C, ...spatial) of an item; padded with 0, the mean, to multiples of 16.
    width : float
        Scales the 128, 256, 512, 1024 channels, as it does those of the task networks.
    """

    def __init__(self, shape: tuple[int, ...], width: float) -> None:
        super().__init__()
        ndim = len(shape) - 1
        widths = [shape[0], *(max(1, round(c * width)) for c in CHANNELS)]
        self.margin = [-size % 16 for size in shape[1:]]
        self.code = (widths[-1], *((size + m) // 16 for size, m in zip(shape[1:], self.margin, strict=True)))
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            encoder += [_CONV[ndim](before, after, 4, 2, 1, bias=False), _NORM[ndim](after), nn.ReLU()]
            decoder = [
                _NORM[ndim](after),
                nn.ReLU(),
                _TRANSPOSED[ndim](after, before, 4, 2, 1, bias=before == shape[0]),
                *decoder,
            ]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.mean, self.log_variance = (nn.Linear(math.prod(self.code), LATENT) for _ in range(2))
        self.unfold = nn.Linear(LATENT, math.prod(self.code))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², (N, 32) each."""
        hidden = self.encoder(self.padded(x)).flatten(1)
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, z: Tensor) -> Tensor:
        """Return the reconstruction of a padded item."""
        return self.decoder(self.unfold(z).unflatten(1, self.code))

    def padded(self, x: Tensor) -> Tensor:
        """Pad (N, C, ...spatial) to what the convolutions halve four times."""
        return pad(x, [n for m in reversed(self.margin) for n in (0, m)])


def discriminator() -> nn.Sequential:
    """Return 32 → 512 → 512 → 1; its output is the logit of "labeled"."""
    return nn.Sequential(nn.Linear(LATENT, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1))


def judged(net: nn.Module, mean_NZ: Tensor, target: Tensor | float) -> Tensor:
    """Return the cross-entropy of the discriminator's logits with targets between 0 and 1."""
    logit_N = net(mean_NZ)[:, 0]
    return binary_cross_entropy_with_logits(
        logit_N, torch.as_tensor(target, device=logit_N.device).expand(len(logit_N))
    )


def uncertainty(probs_NC: Tensor) -> Tensor:
    """U = 1 − m·minVar/Var, with m = max p, Var the variance of p over the classes, and minVar the least it can be at
    that m.

    0 where the answer is certain; 1 − 1/C where it is uniform, the limit as Var → 0.
    """
    c = probs_NC.shape[1]
    m = probs_NC.max(1).values
    variance = (probs_NC - 1 / c).square().mean(1)
    least = ((1 / c - m).square() + (c - 1) * (1 / c - (1 - m) / (c - 1)).square()) / c
    ratio = torch.where(variance > 1e-12, least / variance.clamp_min(1e-12), 1.0)
    return 1 - m * ratio


def draws(rows: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield mini-batches of rows for ever, each row equally often; every batch is full."""
    waiting = np.zeros(0, rows.dtype)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(rows)])
        yield waiting[:size]
        waiting = waiting[size:]


class VAAL(Strategy):
    """Ask what the discriminator takes for unlabeled (Sinha, Ebrahimi and Darrell, ICCV 2019).

    The autoencoder reconstructs labeled and unlabeled items and tries to make the unlabeled look labeled to the
    discriminator. Reconstruction and KL term are both means: with one of them a sum the other counts for nothing.
    """

    summary = "what a discriminator on an autoencoder's code takes for unlabeled"

    def build(self, shape: tuple[int, ...], classes: int, seed: int) -> None:
        """Make fresh networks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.vae = VAE(shape, self.recipe.network.width or 1.0)
            self.judge = discriminator()
            self.head = nn.Linear(LATENT, classes)

    def trained_parts(self) -> list[nn.Parameter]:
        """Return what the autoencoder's optimizer moves."""
        return list(self.vae.parameters())

    def target(self, mean_NZ: Tensor) -> Tensor | float:
        """Return what the discriminator should say of unlabeled items."""
        return 0.0

    def task_loss(self, z_NZ: Tensor, y_N: Tensor) -> Tensor | float:
        """Return what labeled items add to the autoencoder's loss through their labels."""
        return 0.0

    def vae_loss(self, labeled: Tensor, y_N: Tensor, unlabeled: Tensor, generator: torch.Generator) -> Tensor:
        """Reconstruction + KL of both batches + the discriminator fooled: both codes are to be taken for labeled."""
        total = torch.zeros((), device=labeled.device)
        for x, is_labeled in ((labeled, True), (unlabeled, False)):
            mean, log_variance = self.vae.encode(x)
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            z = mean + noise * torch.exp(0.5 * log_variance)
            kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
            total = total + mse_loss(self.vae.decode(z), self.vae.padded(x)) + kl + judged(self.judge, mean, 1.0)
            if is_labeled:
                total = total + self.task_loss(z, y_N)
        return total

    def judge_loss(self, labeled: Tensor, unlabeled: Tensor) -> Tensor:
        """Labeled items are 1, unlabeled ones the `target`; nothing flows into the autoencoder."""
        with torch.no_grad():
            mean_l, mean_u = self.vae.encode(labeled)[0], self.vae.encode(unlabeled)[0]
            target = self.target(mean_u)
        return judged(self.judge, mean_l, 1.0) + judged(self.judge, mean_u, target)

    @override
    def fit(self, candidates: Candidates) -> None:
        backend, rng = candidates.backend, candidates.rng
        x = backend.read(candidates.rows[:1])
        self.build(tuple(x.shape[1:]), candidates.teacher.log_probs_NC.shape[1], int(rng.integers(2**31)))
        for net in (self.vae, self.judge, self.head):
            net.to(backend.device).train()
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        y = torch.from_numpy(candidates.labels).to(backend.device)
        vae_parameters, judge_parameters = self.trained_parts(), list(self.judge.parameters())
        vae_adam, judge_adam = (
            torch.optim.Adam(vae_parameters, LEARNING_RATE),
            torch.optim.Adam(judge_parameters, LEARNING_RATE),
        )
        from_labeled = draws(np.arange(len(candidates.labeled_rows)), self.recipe.training.batch_size, rng)
        from_unlabeled = draws(candidates.unlabeled_rows, self.recipe.training.batch_size, rng)
        for step in range(backend.steps):
            for _ in range(VAE_STEPS):
                index = next(from_labeled)
                labeled, unlabeled = backend.read(candidates.labeled_rows[index]), backend.read(next(from_unlabeled))
                vae_adam.zero_grad()
                loss = self.vae_loss(labeled, y[torch.from_numpy(index).to(y.device)], unlabeled, generator)
                loss.backward(inputs=vae_parameters)
                vae_adam.step()
            judge_adam.zero_grad()
            self.judge_loss(labeled, unlabeled).backward(inputs=judge_parameters)
            judge_adam.step()
            backend.tell(step + 1, backend.steps)
        for net in (self.vae, self.judge, self.head):
            net.eval()

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return -candidates.run(lambda x: self.judge(self.vae.encode(x)[0])[:, 0])


class SRAAL(VAAL):
    """VAAL whose discriminator learns how sure a classifier on the code is of an unlabeled item (Zhang et al., CVPR
    2020).

    The target of an unlabeled item is 1 − U: one whose class is plain counts as good as labeled.
    """

    summary = "VAAL, with unlabeled items weighed by how uncertain their class is"

    @override
    def trained_parts(self) -> list[nn.Parameter]:
        return [*self.vae.parameters(), *self.head.parameters()]

    @override
    def target(self, mean_NZ: Tensor) -> Tensor:
        return 1 - uncertainty(self.head(mean_NZ).softmax(1))

    @override
    def task_loss(self, z_NZ: Tensor, y_N: Tensor) -> Tensor:
        return cross_entropy(self.head(z_NZ), y_N)
