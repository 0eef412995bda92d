"""A ranking tower from PyTorch: export, serve, verify, score."""

import numpy as np
import served
import torch
from torch import nn

import mlpserve

torch.manual_seed(0)
tower = nn.Sequential(
    nn.BatchNorm1d(96), nn.Linear(96, 256), nn.ReLU(), nn.Dropout(0.1),
    nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())

models = served.repository()
mlpserve.export(tower, models / "tower", output_name="score")
address = served.serve(models)

with mlpserve.Client(address) as client:
    client.wait_until_ready()
    candidates = np.random.default_rng(0).standard_normal((20, 96), np.float32)
    scores = client.infer("tower", candidates)[:, 0]
    print("best five of 20:", np.argsort(-scores)[:5])
print(mlpserve.verify(tower, address))
