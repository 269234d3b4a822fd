#!/usr/bin/env python3
"""Speed of our programs beside llama.cpp's on the same device, in one interleaved run.

    python scripts/peer_compare.py gguf llama-110m OUT.gguf      random weights in f16 (needs the package gguf)
    LLAMA/llama-quantize --pure OUT.gguf OUT-q4_0.gguf q4_0      every matrix in 4 bits, as ours
    python scripts/peer_compare.py run --llmbench build/ci/llmbench --llama-bench LLAMA/llama-bench \\
        --pair m0e4=OURS.pocket:q4_0=PEER.gguf --pair f16=OURS.pocket:f16=PEER.gguf -p 512 -n 32 -r 5 \\
        --title "110 M Llama shape" -o TABLE.md --json TABLE.json

llama.cpp is built apart from this repository, with its Vulkan backend (-DGGML_VULKAN=ON). Its CPU backend is measured
by the same program with the Vulkan devices hidden. Every round runs each contender once, in a process of its own that
warms up first; a contender's speed is the median of the rounds, and a ratio the median of the rounds' ratios, so that a
spell of load meets both sides. "At equal bytes" is the ratio of decode times our bits per weight over the peer's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

# As in make_large.py: vocabulary, width, feed-forward width, layers, heads, K/V heads.
SHAPES = {
    "llama-110m": (32000, 768, 2048, 12, 12, 12),
    "tinyllama-1.1b": (32000, 2048, 5632, 22, 32, 4),
}


def write_gguf(shape: str, path: Path) -> None:
    import gguf
    import numpy as np

    vocab, width, inner, layers, heads, kv_heads = SHAPES[shape]
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces + [f"t{i}" for i in range(len(pieces), vocab)])
    writer.add_token_scores([0.0] * vocab)
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (vocab - len(kinds)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = random.standard_normal((rows, columns), dtype=np.float32) * 0.02
        writer.add_tensor(name, values.astype(np.float16))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    kv_width = width // heads * kv_heads
    matrix("token_embd.weight", vocab, width)
    for i in range(layers):
        block = f"blk.{i}."
        ones(block + "attn_norm.weight")
        matrix(block + "attn_q.weight", width, width)
        matrix(block + "attn_k.weight", kv_width, width)
        matrix(block + "attn_v.weight", kv_width, width)
        matrix(block + "attn_output.weight", width, width)
        ones(block + "ffn_norm.weight")
        matrix(block + "ffn_gate.weight", inner, width)
        matrix(block + "ffn_up.weight", inner, width)
        matrix(block + "ffn_down.weight", width, inner)
    ones("output_norm.weight")
    matrix("output.weight", vocab, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def run_json(command: list[str], environment: dict[str, str] | None = None) -> object:
    """The JSON document that a program prints; its own words where it fails."""
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()[-2000:]}")
    return json.loads(result.stdout)


def run_ours(options: argparse.Namespace, model: str) -> dict:
    report = run_json([options.llmbench, "run", model, "-p", str(options.prompt), "-n", str(options.generate),
                       "-r", "1", "--warmup", "1", "--no-tuned", "--quiet", "--json", "-"])
    result = report["results"][0]
    return {"prefill": result["prefill_tokens_per_second"]["median"],
            "decode": result["decode_tokens_per_second"]["median"],
            "device": report["device"]["name"]}


def run_peer(options: argparse.Namespace, model: str, vulkan: bool) -> dict:
    environment = dict(os.environ, GGML_VK_VISIBLE_DEVICES="0" if vulkan else "")  # without one: the CPU backend
    tests = run_json([options.llama_bench, "-m", model, "-p", str(options.prompt), "-n", str(options.generate),
                      "-r", "1", "-t", str(options.threads), "-o", "json", "-ngl", "99" if vulkan else "0"],
                     environment)
    prefill = next(t for t in tests if t["n_prompt"] > 0 and t["n_gen"] == 0)
    decode = next(t for t in tests if t["n_gen"] > 0 and t["n_prompt"] == 0)
    return {"prefill": prefill["avg_ts"], "decode": decode["avg_ts"], "backends": prefill["backends"],
            "device": prefill["gpu_info"] if vulkan else prefill["cpu_info"], "build": prefill["build_number"],
            "parameters": prefill["model_n_params"], "weight_bytes": prefill["model_size"]}


def measure(options: argparse.Namespace) -> dict:
    pairs = []
    for text in options.pair:
        ours, peer = text.split(":")
        pairs.append((*ours.split("=", 1), *peer.split("=", 1)))
    rows = [{"ours": our_name, "peer": peer_name, "rounds": []} for our_name, _, peer_name, _ in pairs]
    for round_number in range(options.repetitions):
        for row, (our_name, our_model, peer_name, peer_model) in zip(rows, pairs):
            sample = {"ours": run_ours(options, our_model), "vulkan": run_peer(options, peer_model, True),
                      "cpu": run_peer(options, peer_model, False)}
            if "Vulkan" not in sample["vulkan"]["backends"] or not sample["vulkan"]["device"]:
                sys.exit(f"{options.llama_bench} has found no Vulkan device: backends {sample['vulkan']['backends']}")
            row["rounds"].append(sample)
            speeds = ", ".join(f"{side} {x['prefill']:.1f} / {x['decode']:.2f}" for side, x in sample.items())
            print(f"round {round_number + 1}, {our_name} and {peer_name}, prefill / decode: {speeds}", file=sys.stderr)
            summarize(row, our_model)
            if options.json:  # each round is kept: a run of an hour may be stopped
                options.json.write_text(json.dumps(document(options, rows), indent=1) + "\n")
    return document(options, rows)


def document(options: argparse.Namespace, rows: list[dict]) -> dict:
    return {"schema": "pocketformer.peer_compare", "version": 1, "title": options.title, "prompt": options.prompt,
            "generate": options.generate, "repetitions": min(len(r["rounds"]) for r in rows),
            "threads": options.threads, "rows": rows}


def summarize(row: dict, our_model: str) -> None:
    rounds = row["rounds"]
    peer = rounds[0]["vulkan"]
    our_bytes = Path(our_model).stat().st_size
    row["device"] = [rounds[0]["ours"]["device"], peer["device"]]
    row["peer_build"] = peer["build"]
    row["bits_per_weight"] = [8 * size / peer["parameters"] for size in (our_bytes, peer["weight_bytes"])]
    for phase in ("prefill", "decode"):
        row[phase] = {side: statistics.median(r[side][phase] for r in rounds) for side in ("ours", "vulkan", "cpu")}
        for side in ("vulkan", "cpu"):
            ratios = [r["ours"][phase] / r[side][phase] for r in rounds]
            row[phase][f"ratio_to_{side}"] = statistics.median(ratios)
            row[phase][f"ratio_to_{side}_range"] = [min(ratios), max(ratios)]
    row["decode"]["ratio_to_vulkan_at_equal_bytes"] = (
        row["decode"]["ratio_to_vulkan"] * row["bits_per_weight"][0] / row["bits_per_weight"][1])


def table(result: dict) -> str:
    first = result["rows"][0]
    lines = [
        f"{result['title']}: prompt {result['prompt']}, {result['generate']} tokens decoded, tokens per second, "
        f"medians of {result['repetitions']} interleaved rounds on `{first['device'][0]}`, "
        f"{result['threads']} threads, llama.cpp build {first['peer_build']}; ratios with their range over the rounds.",
        "",
        "| ours / llama.cpp | bits per weight | phase | ours | its Vulkan | its CPU | ours : Vulkan | at equal bytes "
        "| ours : CPU |", "|---|--:|---|--:|--:|--:|--:|--:|--:|"]
    for r in result["rows"]:
        bits = " / ".join(f"{x:.2f}" for x in r["bits_per_weight"])
        for phase in ("prefill", "decode"):
            p = r[phase]
            low, high = p["ratio_to_vulkan_range"]
            equal = f"{p['ratio_to_vulkan_at_equal_bytes']:.2f}" if phase == "decode" else ""
            lines.append(
                f"| `{r['ours']}` / {r['peer']} | {bits} | {phase} "
                f"| {p['ours']:.1f} | {p['vulkan']:.2f} | {p['cpu']:.1f} "
                f"| {p['ratio_to_vulkan']:.2f} [{low:.2f}, {high:.2f}] | {equal} | {p['ratio_to_cpu']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("gguf")
    make.add_argument("shape", choices=SHAPES)
    make.add_argument("out", type=Path)
    run = commands.add_parser("run")
    run.add_argument("--llmbench", required=True)
    run.add_argument("--llama-bench", required=True)
    run.add_argument("--pair", action="append", required=True, help="NAME=OURS.pocket:NAME=PEER.gguf")
    run.add_argument("-p", "--prompt", type=int, default=512)
    run.add_argument("-n", "--generate", type=int, default=32)
    run.add_argument("-r", "--repetitions", type=int, default=5)
    run.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    run.add_argument("--title", default="Speed beside llama.cpp")
    run.add_argument("-o", "--out", type=Path)
    run.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.command == "gguf":
        write_gguf(options.shape, options.out)
        return
    begin = time.monotonic()
    result = measure(options)
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    words = re.sub(r"[^ =:]*/", "", shlex.join(sys.argv[1:]))  # names of files without their folders
    text = f"`python3 scripts/peer_compare.py {words}`\n\n{table(result)}"
    if options.out:
        options.out.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
