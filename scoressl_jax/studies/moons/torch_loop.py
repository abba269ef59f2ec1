"""A plain PyTorch loop of the arithmetic of the two-moons study, for `scoressl benchmark moons`.

Started as a process of its own: it reads `NAME STEPS` lines, makes that many updates, answers with the seconds that
they took. Networks, losses and optimiser are those of the released program; noise is drawn as it is there.
"""

import sys
import time

import torch
from torch import nn

from scoressl_jax.studies.moons.points import load_moons

BATCH, SIGMA_MIN, SIGMA_MAX, CE_WEIGHT = 4000, 1e-3, 10.0, 0.125


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64))
        self.sigma = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.out = nn.Linear(80, 2)

    def forward(self, x, sigma):
        return self.out(torch.cat([self.x(x), self.sigma(sigma)], 1))


def noisy_batch(points, labels):
    rows = torch.randint(len(points), (BATCH,))
    sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** torch.rand(BATCH, 1)
    z = torch.randn(BATCH, 2)
    return points[rows] + sigma * z, labels[rows], sigma, z


def dsm(network, x_t, sigma, z):
    return ((network(x_t, sigma) * sigma**2 + z * sigma) ** 2).mean()


def dlsm_ce(classifier, score_network, x_t, y, sigma, z):
    with torch.no_grad():
        score = score_network(x_t, sigma)
    x_t = x_t.clone().requires_grad_(True)
    logits = classifier(x_t, sigma)
    log_p = torch.log(torch.softmax(logits, 1) + 1e-8)
    (g,) = torch.autograd.grad(log_p, x_t, nn.functional.one_hot(y, 2).float(), create_graph=True)
    error = g * sigma**2 + score * sigma**2 + z * sigma
    return (0.5 * error**2).mean() + CE_WEIGHT * nn.functional.cross_entropy(logits, y)


def main():
    points, labels = load_moons()
    data = torch.tensor(points, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)
    score, frozen, classifier = Network(), Network(), Network()
    optimizers = {
        "DSM": torch.optim.Adam(score.parameters(), lr=6.5e-4),
        "DLSM+CE": torch.optim.Adam(classifier.parameters(), lr=1e-5),
    }

    def update(name):
        x_t, y, sigma, z = noisy_batch(*data)
        loss = dsm(score, x_t, sigma, z) if name == "DSM" else dlsm_ce(classifier, frozen, x_t, y, sigma, z)
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()

    for line in sys.stdin:
        name, steps = line.split()
        started = time.perf_counter()
        for _ in range(int(steps)):
            update(name)
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
