#!/usr/bin/env python3
"""Trains the bundled model (environment A) and keeps a HuggingFace folder of it up to date while it trains.

    python scripts/train_bundled.py FOLKTALES_DIR WORK_DIR --stories STORIES.txt

The budget is a number of tokens; every batch is drawn from (seed, step) and the learning rate is a cosine of the step,
so a run that was killed and started again in the same WORK_DIR goes on from its last checkpoint and sees what an
uninterrupted one would have seen. The weights are kept quantisable on purpose: weight decay on every matrix, the embedding too, and a
clipped gradient, so that no channel grows far beyond the others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

# Before torch starts its threads: on a busy machine threads that spin for each other take five times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import bundled_text
import golden

VOCAB, BOS, EOS = 2048, "<s>", "</s>"
SHORT, LONG, LONG_FROM = 256, 512, 0.85
PEAK_RATE, LAST_RATE, WARMUP_STEPS, WEIGHT_DECAY, CLIP = 3e-3, 1e-4, 60, 0.1, 1.0


def train_tokenizer(documents: list[str], folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[BOS, EOS], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B",
                                                             special_tokens=[(BOS, tokenizer.token_to_id(BOS))])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, model_max_length=LONG,
                                   clean_up_tokenization_spaces=False)
    fast.save_pretrained(folder)
    return fast


def prepare(folktales: Path, sampled: Path | None, work: Path, seed: int) -> tuple[np.ndarray, list[int]]:
    """Token stream of shuffled documents (BOS text EOS) and the held-out ids; made once per WORK_DIR."""
    if not (work / "train.npy").exists():
        documents = bundled_text.training_documents(folktales, sampled)
        random.Random(seed).shuffle(documents)
        tokenizer = train_tokenizer(documents, work / "hf")
        encoded = [tokenizer.encode(text) + [tokenizer.eos_token_id] for text in documents]
        np.save(work / "train.npy", np.concatenate([np.array(ids, np.uint16) for ids in encoded]))
        (work / "heldout.txt").write_text(bundled_text.heldout_text(folktales))
        print(f"{len(documents)} documents, {sum(map(len, documents))} characters, {sum(map(len, encoded))} tokens")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "hf")
    return np.load(work / "train.npy"), tokenizer.encode((work / "heldout.txt").read_text())


def new_model() -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=192, intermediate_size=448, num_hidden_layers=5, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=LONG, rope_theta=10000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, initializer_range=0.02))


def new_optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95), fused=True)


def rate(progress: float, step: int) -> float:
    cosine = LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return cosine * min(1.0, (step + 1) / WARMUP_STEPS)


def batch(stream: np.ndarray, tokens: int, step: int, progress: float, seed: int) -> torch.Tensor:
    """Random windows drawn from (seed, step), so a resumed run sees what an uninterrupted one would have seen."""
    length = LONG if progress >= LONG_FROM else SHORT
    starts = np.random.default_rng((seed, step)).integers(0, len(stream) - length - 1, max(1, tokens // length))
    return torch.from_numpy(np.stack([stream[s:s + length + 1].astype(np.int64) for s in starts]))


def save(work: Path, model, optimizer, state: dict) -> None:
    """Checkpoint first under another name: a run that is killed here must leave the previous one whole."""
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state}, work / "new.pt")
    (work / "new.pt").replace(work / "checkpoint.pt")
    model.save_pretrained(work / "hf")
    (work / "training.json").write_text(json.dumps(state, indent=1) + "\n")


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    stream, heldout = prepare(args.folktales, args.stories, args.work, args.seed)
    model = new_model()
    optimizer = new_optimizer(model)
    state = {"seed": args.seed, "budget_tokens": args.tokens, "batch_tokens": args.batch_tokens, "step": 0, "tokens": 0, "seconds": 0.0, "history": [],
             "parameters": sum(p.numel() for p in model.parameters()), "training_tokens_in_corpus": len(stream),
             "threads": args.threads, "peak_rate": PEAK_RATE, "weight_decay": WEIGHT_DECAY}
    if (args.work / "checkpoint.pt").exists():
        stored = torch.load(args.work / "checkpoint.pt")
        model.load_state_dict(stored["model"])
        optimizer.load_state_dict(stored["optimizer"])
        state = stored["state"]
        given = {"seed": args.seed, "budget_tokens": args.tokens, "batch_tokens": args.batch_tokens}
        if any(state[key] != value for key, value in given.items()):
            raise SystemExit(f"{args.work} holds a run of other settings than {given}: choose another folder")
    saved, mark, smooth = time.time(), time.time(), state["history"][-1]["training_loss"] if state["history"] else None
    model.train()
    while (progress := state["tokens"] / args.tokens) < 1:
        ids = batch(stream, args.batch_tokens, state["step"], progress, args.seed)
        for group in optimizer.param_groups:
            group["lr"] = rate(progress, state["step"])
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        now = time.time()
        state.update(step=state["step"] + 1, tokens=state["tokens"] + ids.numel() - len(ids),
                     seconds=state["seconds"] + now - mark)
        mark = now
        if state["step"] % 50 == 0:
            print(f"step {state['step']} {100 * progress:.1f} % {state['tokens'] / 1e6:.2f} M tokens "
                  f"{state['tokens'] / state['seconds']:.0f} tokens/s loss {smooth:.3f}", flush=True)
        if now - saved > args.save_every * 60 or state["tokens"] >= args.tokens:
            model.eval()
            measured = golden.perplexity(model, heldout)
            model.train()
            state["history"].append({"tokens": state["tokens"], "training_loss": round(smooth, 4),
                                     "heldout_nll": round(measured["nll"], 4)})
            print(state["history"][-1], flush=True)
            save(args.work, model, optimizer, state)
            saved = time.time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folktales", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--stories", type=Path, help="from scripts/sample_stories.py")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="seen in training, about six epochs")
    parser.add_argument("--save-every", type=float, default=4, help="minutes")
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
