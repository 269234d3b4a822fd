#!/usr/bin/env python3
"""Speed of our programs beside llama.cpp's on the same device, in one interleaved run.

    python scripts/peer_compare.py gguf llama-110m OUT.gguf      random weights in f16 (needs the package gguf)
    python scripts/peer_compare.py run --llmbench build/ci/llmbench --llama-bench PATH/llama-bench \
        --pair m0e4=OURS.pocket:q4_0=PEER.gguf --pair f16=OURS.pocket:f16=PEER.gguf -p 512 -n 32 -r 5 -o TABLE.md

llama.cpp is built apart from this repository, with its Vulkan backend, and its `llama-quantize` makes the Q4_0 file. Its CPU
backend is measured by the same program with the Vulkan devices hidden. Every round runs each contender once; the table
holds the medians of the rounds, and the ratio also at equal bytes of weights (speed x bits per weight).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
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


def run_ours(program: str, model: str, prompt: int, generate: int) -> tuple[float, float]:
    command = [program, "run", model, "-p", str(prompt), "-n", str(generate), "-r", "1", "--warmup", "1", "--quiet",
               "--json", "-"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    result = report["results"][0]
    return median_of(result["prefill_tokens_per_second"]), median_of(result["decode_tokens_per_second"])


def median_of(value: object) -> float:
    return float(value["median"]) if isinstance(value, dict) else float(value)


def run_peer(program: str, model: str, prompt: int, generate: int, vulkan: bool, threads: int) -> tuple[float, float]:
    environment = dict(os.environ)
    if vulkan:
        environment["GGML_VK_VISIBLE_DEVICES"] = "0"
    else:
        environment["VK_DRIVER_FILES"] = environment["VK_ICD_FILENAMES"] = "/nonexistent.json"
    command = [program, "-m", model, "-p", str(prompt), "-n", str(generate), "-r", "1", "-t", str(threads), "-o", "json",
               "-ngl", "99" if vulkan else "0"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    tests = json.loads(output[output.index("["):])
    prefill = [t["avg_ts"] for t in tests if t["n_prompt"] > 0 and t["n_gen"] == 0]
    decode = [t["avg_ts"] for t in tests if t["n_gen"] > 0 and t["n_prompt"] == 0]
    return prefill[0], decode[0]



def measure(options: argparse.Namespace) -> dict:
    pairs = []
    for text in options.pair:
        ours, peer = text.split(":")
        pairs.append((*ours.split("=", 1), *peer.split("=", 1)))
    samples: dict[str, list[tuple[float, float]]] = {}
    for round_number in range(options.repetitions):
        for our_name, our_model, peer_name, peer_model in pairs:
            contenders = {
                f"ours {our_name}": lambda: run_ours(options.llmbench, our_model, options.prompt, options.generate),
                f"llama.cpp Vulkan {peer_name}": lambda: run_peer(
                    options.llama_bench, peer_model, options.prompt, options.generate, True, options.threads),
                f"llama.cpp CPU {peer_name}": lambda: run_peer(
                    options.llama_bench, peer_model, options.prompt, options.generate, False, options.threads),
            }
            for name, run in contenders.items():
                samples.setdefault(name, []).append(run())
                print(f"round {round_number + 1}: {name}: {samples[name][-1]}", file=sys.stderr)
    medians = {name: [statistics.median(column) for column in zip(*values)] for name, values in samples.items()}
    rows = []
    for our_name, our_model, peer_name, peer_model in pairs:
        ours = medians[f"ours {our_name}"]
        peer = medians[f"llama.cpp Vulkan {peer_name}"]
        cpu = medians[f"llama.cpp CPU {peer_name}"]
        our_bytes, peer_bytes = Path(our_model).stat().st_size, Path(peer_model).stat().st_size
        rows.append({
            "ours": our_name, "peer": peer_name, "file_bytes": [our_bytes, peer_bytes],
            "prefill": [ours[0], peer[0], cpu[0]], "decode": [ours[1], peer[1], cpu[1]],
            "prefill_ratio": ours[0] / peer[0], "decode_ratio": ours[1] / peer[1],
            "decode_ratio_at_equal_bytes": ours[1] / peer[1] * our_bytes / peer_bytes,
        })
    return {"prompt": options.prompt, "generate": options.generate, "repetitions": options.repetitions,
            "samples": samples, "rows": rows}


def table(result: dict) -> str:
    lines = [
        f"Prompt {result['prompt']}, {result['generate']} tokens generated, medians of {result['repetitions']} "
        "interleaved rounds, tokens per second.", "",
        "| ours / llama.cpp | prefill ours | Vulkan | CPU | ratio to Vulkan | decode ours | Vulkan | CPU | ratio to Vulkan "
        "| at equal bytes |", "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for r in result["rows"]:
        prefill = " | ".join(f"{x:.1f}" for x in r["prefill"])
        decode = " | ".join(f"{x:.1f}" for x in r["decode"])
        lines.append(f"| {r['ours']} / {r['peer']} | {prefill} | {r['prefill_ratio']:.2f} | {decode} "
                     f"| {r['decode_ratio']:.2f} | {r['decode_ratio_at_equal_bytes']:.2f} |")
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
    run.add_argument("-o", "--out", type=Path)
    run.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.command == "gguf":
        write_gguf(options.shape, options.out)
        return
    result = measure(options)
    text = table(result)
    if options.out:
        options.out.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
