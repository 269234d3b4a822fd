#!/usr/bin/env python3
"""Exports what train_bundled.py has in WORK_DIR as the bundled model (environment A).

    python scripts/export_bundled.py WORK_DIR models/folktale-2m

Writes the ONNX export, tokenizer, held-out text, golden logits, PyTorch's perplexity, model.json and a README whose
samples come from the same PyTorch weights. May be run on any checkpoint, also while training goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

import export_hf
import golden

GREEDY_PROMPT = "Once upon a time there was a little girl named Lily."
SAMPLED_PROMPT = "The old man said to his son,"
SAMPLE_TOKENS, TEMPERATURE, TOP_K, SEED = 160, 0.7, 40, 3
LARGEST = 12_000_000

README = """# {name}

A Llama-style model ({parameters:,} parameters: {layers} layers, width {width}, {heads} query and {kv} key/value heads,
tied embedding, context {context}, byte-level BPE with {vocab} tokens), trained from nothing for this project so that tests
have a model that speaks.

## Samples

By PyTorch float32 from the exported weights. The prompt is in bold.

Greedy:

> **{greedy_prompt}**{greedy}

Temperature {temperature}, top-k {top_k}, seed {seed}:

> **{sampled_prompt}**{sampled}

## Numbers

| what | value |
|---|---|
| perplexity on `heldout.txt` (windows of {window} tokens, PyTorch float32) | {perplexity:.3f} |
| mean NLL per token | {nll:.4f} |
| held-out tokens | {heldout_tokens} |
| tokens seen in training | {seen:,} |
| last training loss (smoothed) | {loss} |
| training time | {minutes:.0f} minutes on {threads} thread(s) |

## How it was made

Text: public-domain folk tales (Project Gutenberg), cleaned by `scripts/bundled_text.py`, and simple stories sampled
from two small story models by `scripts/sample_stories.py`. `heldout.txt` is from a file that training never read:
Aesop's fables.

```
python scripts/sample_stories.py ../shared/data/weights stories.txt
python scripts/train_bundled.py ../shared/data/text/folktales WORK_DIR --stories stories.txt --tokens {budget} --threads {threads}
python scripts/export_bundled.py WORK_DIR models/{name}
```

in the environment of `scripts/requirements-export-a.txt`. The run draws its batches from a seed, so the same machine
makes the same weights again and another machine weights that differ by rounding. `training` in `model.json` has its
settings and losses. `golden.json` holds the reference numbers (`models/README.md`).
"""


@torch.no_grad()
def sample(model, tokenizer, prompt: str, **options) -> str:
    torch.manual_seed(SEED)
    ids = torch.tensor([tokenizer.encode(prompt)])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=SAMPLE_TOKENS,
                         pad_token_id=tokenizer.eos_token_id, **options)
    return tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).replace("\n", "\n>\n> ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    training = json.loads((args.work / "training.json").read_text())
    source = args.work / "hf"
    model, tokenizer = golden.load(source), PreTrainedTokenizerFast.from_pretrained(source)
    GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=[tokenizer.eos_token_id]).save_pretrained(source)

    export_hf.export(source, args.out, command=f"scripts/export_bundled.py WORK_DIR models/{args.out.name}",
                     extra={"parameters": training["parameters"], "training": training})
    shutil.copyfile(args.work / "heldout.txt", args.out / "heldout.txt")
    heldout = tokenizer.encode((args.out / "heldout.txt").read_text())
    measured = {"text": "heldout.txt", **golden.perplexity(model, heldout)}
    rows = golden.PROMPT_TOKENS + golden.CONTINUATION_TOKENS
    golden.write_golden(model, args.out, heldout[:rows], tokenizer.encode(GREEDY_PROMPT), {"perplexity": measured})
    export_hf.add_to_model_json(args.out, {"check": golden.check_onnx(args.out)})

    config = model.config
    (args.out / "README.md").write_text(README.format(
        name=args.out.name, parameters=training["parameters"], layers=config.num_hidden_layers,
        width=config.hidden_size, heads=config.num_attention_heads, kv=config.num_key_value_heads,
        context=config.max_position_embeddings, vocab=config.vocab_size, greedy_prompt=GREEDY_PROMPT,
        greedy=sample(model, tokenizer, GREEDY_PROMPT, do_sample=False), sampled_prompt=SAMPLED_PROMPT,
        sampled=sample(model, tokenizer, SAMPLED_PROMPT, do_sample=True, temperature=TEMPERATURE, top_k=TOP_K),
        temperature=TEMPERATURE, top_k=TOP_K, seed=SEED, window=measured["window"], nll=measured["nll"],
        perplexity=measured["perplexity"], heldout_tokens=measured["tokens"], seen=training["tokens"],
        loss=training["history"][-1]["training_loss"], minutes=training["seconds"] / 60,
        budget=training["budget_tokens"], threads=training["threads"]))
    size = sum(f.stat().st_size for f in args.out.iterdir())
    assert size < LARGEST, f"{args.out} holds {size} bytes, more than {LARGEST}"
    print((args.out / "README.md").read_text())
    print(f"{args.out}: {size} bytes, perplexity {measured['perplexity']:.3f}")


if __name__ == "__main__":
    main()
