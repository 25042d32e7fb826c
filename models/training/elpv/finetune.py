"""Recipe 1, ``python -m models.training.elpv.finetune``: fine-tune EfficientNet-Lite0 on labelled cells.

It writes a PyTorch checkpoint, of which ``python -m models.training.elpv.export_classifier`` makes the model package.
"""

from __future__ import annotations

import argparse
import copy
import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.datasets.elpv import load_cells
from models.training.elpv.backbone import DefectClassifier
from models.training.elpv.images import augment, read_grey, resize

log = logging.getLogger(__name__)

#: Training target for each expert probability: the doubtful labels are softened, not trusted.
SOFT_TARGETS = {0.0: 0.02, 1 / 3: 0.25, 2 / 3: 0.75, 1.0: 0.98}


def soft_target(probability: float) -> float:
    """Return the target of the loss for one expert probability.

    Examples
    --------
    >>> soft_target(0.3333333333)
    0.25
    """
    return SOFT_TARGETS[min(SOFT_TARGETS, key=lambda known: abs(known - probability))]


@torch.no_grad()
def predict(model: nn.Module, images: list[np.ndarray], batch: int = 32) -> np.ndarray:
    """Return the defect scores in [0, 1], one for each ``(size, size)`` uint8 image."""
    model.eval()
    scores = []
    for start in range(0, len(images), batch):
        x = torch.from_numpy(np.stack(images[start : start + batch])[:, None])
        scores.append(torch.sigmoid(model(x.to(memory_format=torch.channels_last)))[:, 0].float())
    return torch.cat(scores).numpy()


def train(args: argparse.Namespace) -> None:
    """Train, report the validation accuracy after each epoch, and save the averaged weights."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    train_cells, validation_cells = load_cells("train"), load_cells("validation")
    images = read_grey(train_cells)
    targets = np.array([soft_target(cell.probability) for cell in train_cells], dtype=np.float32)
    validation = [resize(image, args.size) for image in read_grey(validation_cells)]
    truth = np.array([cell.defective for cell in validation_cells])

    model = DefectClassifier().to(memory_format=torch.channels_last)
    if args.init is not None:
        model.load_state_dict(torch.load(args.init, weights_only=True)["state"])
    average = copy.deepcopy(model)
    head = list(model.head.parameters())
    body = [p for p in model.backbone.parameters() if p.requires_grad]
    groups = [{"params": body, "lr": args.lr}, {"params": head, "lr": 3 * args.lr}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
    steps = args.epochs * (len(images) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [args.lr, 3 * args.lr], total_steps=steps, pct_start=0.15)

    step = 0
    for epoch in range(args.epochs):
        model.train()
        began, losses = time.monotonic(), []
        order = rng.permutation(len(images))
        for start in range(0, len(images) - args.batch + 1, args.batch):
            chosen = order[start : start + args.batch]
            x = torch.from_numpy(np.stack([augment(images[i], args.size, rng) for i in chosen])[:, None])
            y = torch.from_numpy(targets[chosen])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
                logits = model(x.to(memory_format=torch.channels_last))[:, 0].float()
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(body, 2.0)
            optimiser.step()
            schedule.step()
            step += 1
            losses.append(loss.item())
            decay = min(args.ema, step / (step + 10))
            with torch.no_grad():
                for kept, now in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                    if kept.dtype.is_floating_point:
                        kept.lerp_(now, 1 - decay)
                    else:
                        kept.copy_(now)
        scores = predict(average, validation)
        accuracy = float(((scores >= 0.5) == truth).mean())
        log.info(
            "epoch %d/%d: loss %.4f, validation accuracy %.4f, %.0f s",
            epoch + 1, args.epochs, float(np.mean(losses)), accuracy, time.monotonic() - began,
        )  # fmt: skip
        torch.save({"state": average.state_dict(), "size": args.size, "epochs": epoch + 1, "seed": args.seed}, args.out)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("elpv-classifier.pt"), help="checkpoint to write")
    parser.add_argument("--init", type=Path, help="checkpoint to go on from, with a new cycle of the learning rate")
    parser.add_argument("--size", type=int, default=224, help="input height and width in pixels")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-4, help="peak learning rate of the backbone")
    parser.add_argument("--ema", type=float, default=0.99, help="decay of the weight average, per step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16 (faster where the CPU has it)")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
