"""Fine-tunes an encoder as a classifier, so that there is one to measure what a precision costs it.

    python benches/peers/finetune.py --model MINILM --data train.csv -o classifier
    batchwright quantize classifier -o classifier-fast --calibration test.csv --label-column intent

The data is CSV with the columns `text` and `intent`. Plain AdamW over shuffled batches, warm-up over the first
tenth of the steps and then down to zero in a straight line; the seed is fixed. MiniLM on the 15,000 queries of CLINC150
takes about a quarter of an hour on two cores.
"""

import argparse
import csv
import random
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--model", type=Path, required=True, help="directory of the encoder")
    option("--data", type=Path, required=True, help="CSV file with the columns `text` and `intent`")
    option("-o", "--output", type=Path, required=True)
    option("--epochs", type=int, default=5)
    option("--batch", type=int, default=32)
    option("--rate", type=float, default=2e-4)
    option("--seed", type=int, default=7)
    return parser.parse_args()


def main():
    args = parse()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    rows = list(csv.DictReader(args.data.open(newline="")))
    labels = sorted({row["intent"] for row in rows})
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, id2label=dict(enumerate(labels)), label2id={label: at for at, label in enumerate(labels)})
    steps = args.epochs * (len(rows) // args.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps)))
    model.train()
    step = 0
    while step < steps:
        random.shuffle(rows)
        for start in range(0, len(rows) - args.batch + 1, args.batch):
            batch = rows[start : start + args.batch]
            inputs = tokenizer([row["text"] for row in batch], padding=True, truncation=True, return_tensors="pt")
            targets = torch.tensor([model.config.label2id[row["intent"]] for row in batch])
            loss = model(**inputs, labels=targets).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % 100 == 0:
                print(f"step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)


main()
