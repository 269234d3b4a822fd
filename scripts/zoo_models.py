"""Tiny random-weight models of many structures, each built from the real `transformers` class.

Sizes are odd on purpose (vocabularies that no tile divides, head counts that are no power of two, head sizes that are
not hidden / heads) and every trait that makes a structure special is set so that it matters within 96 tokens: windows
are shorter than the prompt, soft caps bend, scaled rotary frequencies differ. `Structure.traits` names, per trait, a
change of the configuration that removes it; make_zoo.py proves that removing it moves the logits, so that a reader that
ignores the trait cannot pass.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Callable

import torch
import transformers

import chatglm2

VOCAB = 131
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


@dataclasses.dataclass
class Structure:
    """One structure: how the model is made, what may differ in its export, and which traits must matter."""

    build: Callable[[dict], torch.nn.Module]
    note: str = ""
    embedding: float = 0.5            # standard deviation of the token embedding
    head: float = 2.0                 # standard deviation of the logits where the head is no embedding
    gain: float = 0.9
    eager: bool = False               # attention that `sdpa` cannot express (soft cap)
    traits: dict = dataclasses.field(default_factory=dict)
    export: dict = dataclasses.field(default_factory=dict)   # options of optimum's exporter
    same_as: str = ""                 # only another size of a structure that is exported in every form


def make(class_name: str, config_name: str, **fixed) -> Callable[[dict], torch.nn.Module]:
    """A builder that takes changes of the configuration. `Auto` is avoided: the class is part of what is tested."""

    def build(changes: dict) -> torch.nn.Module:
        from transformers.modeling_utils import no_init_weights  # moved in transformers 5, which only loads checkpoints

        config = getattr(transformers, config_name)(**{**IDS, "vocab_size": VOCAB, **fixed, **changes})
        config._attn_implementation = "eager"
        with no_init_weights():  # randomise() follows, and StableLM's own initialisation fails without a bias
            model = getattr(transformers, class_name)(config)
        model.tie_weights()  # a part of the initialisation that was left out
        return model

    return build


def llama(**sizes) -> Callable[[dict], torch.nn.Module]:
    return make("LlamaForCausalLM", "LlamaConfig", **{**dict(
        hidden_size=48, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4, head_dim=12,
        num_key_value_heads=4, max_position_embeddings=160, tie_word_embeddings=False), **sizes})


def longrope(half: int, original: int) -> dict:
    """Two lists of divisors, far enough apart that using the wrong one is seen."""
    return {"original_max_position_embeddings": original,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0 + 0.05 * i for i in range(half)],
                             "long_factor": [1.5 + 0.6 * i for i in range(half)]}}


PHI3 = dict(hidden_size=48, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=256, sliding_window=None, tie_word_embeddings=False)
FALCON = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, ffn_hidden_size=112)
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}

STRUCTURES = {
    "llama2": Structure(llama(), "MHA, RMSNorm, rotary, SwiGLU; the structure of LLaMA-2"),
    "vicuna": Structure(llama(max_position_embeddings=128), "LLaMA-2's structure", same_as="llama2"),
    "tinyllama": Structure(llama(num_attention_heads=8, head_dim=8, hidden_size=64, num_key_value_heads=1),
                           "LLaMA's structure, GQA 8/1", same_as="llama2"),
    "mobilellama": Structure(llama(num_attention_heads=3, head_dim=20, hidden_size=60, num_key_value_heads=3),
                             "LLaMA's structure, head size 20", same_as="llama2"),
    "smollm": Structure(llama(num_attention_heads=9, head_dim=8, hidden_size=72, num_key_value_heads=3,
                              tie_word_embeddings=True, intermediate_size=64), "LLaMA's structure, GQA 9/3, tied head",
                        embedding=0.3, same_as="llama2"),
    "llama3": Structure(llama(num_key_value_heads=2, rope_theta=500000.0, rope_scaling=LLAMA3_ROPE, head_dim=16,
                              max_position_embeddings=512), "GQA, scaled rotary frequencies",
                        traits={"rope scaling": {"rope_scaling": None}}),
    "mistral": Structure(make(
        "MistralForCausalLM", "MistralConfig", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=12, max_position_embeddings=160, sliding_window=24,
        tie_word_embeddings=False), "sliding window of 24", traits={"window": {"sliding_window": None}}),
    "qwen1.5": Structure(make(
        "Qwen2ForCausalLM", "Qwen2Config", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=160, tie_word_embeddings=False),
        "Qwen2's class with as many KV heads as heads; QKV bias"),
    "qwen2": Structure(make(
        "Qwen2ForCausalLM", "Qwen2Config", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=160, tie_word_embeddings=True),
        "GQA 6/2, QKV bias, tied head", embedding=0.3),
    "qwen3": Structure(make(
        "Qwen3ForCausalLM", "Qwen3Config", hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=160,
        tie_word_embeddings=True), "norm of q and k per head, head size unlike hidden / heads", embedding=0.3),
    "gemma1": Structure(make(
        "GemmaForCausalLM", "GemmaConfig", hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, head_dim=16, max_position_embeddings=160),
        "embedding times sqrt(hidden), 1+w norms, GeGLU, MQA", embedding=0.3),
    "gemma2": Structure(make(
        "Gemma2ForCausalLM", "Gemma2Config", hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=12, max_position_embeddings=160, sliding_window=20,
        query_pre_attn_scalar=20, attn_logit_softcapping=2.0, final_logit_softcapping=4.0),
        "sandwich norms, soft caps, alternating windows", embedding=0.3, eager=True,
        traits={"window": {"sliding_window": 4096}, "attention soft cap": {"attn_logit_softcapping": None},
                "final soft cap": {"final_logit_softcapping": None},
                "query scale": {"query_pre_attn_scalar": 12}}),
    "gemma3": Structure(make(
        "Gemma3ForCausalLM", "Gemma3TextConfig", hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=1, head_dim=16, max_position_embeddings=160, sliding_window=20,
        query_pre_attn_scalar=20, rope_theta=1000000.0, rope_local_base_freq=10000.0,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
        "norm of q and k, two rotary bases, window on some layers", embedding=0.3,
        traits={"window": {"sliding_window": 4096}, "local rotary base": {"rope_local_base_freq": 1000000.0},
                "global rotary base": {"rope_theta": 10000.0}}),
    "glm": Structure(make(
        "GlmForCausalLM", "GlmConfig", hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=12, partial_rotary_factor=0.5, attention_bias=True,
        max_position_embeddings=160, tie_word_embeddings=False),
        "interleaved rotary on half of the head, 2 KV groups, merged gate and up"),
    "chatglm2": Structure(lambda changes: chatglm2.ChatGLM2(chatglm2.Config(vocab_size=VOCAB, **changes)),
                          "our module in ChatGLM2's published form: sequence first, interleaved rotary on half, "
                          "merged QKV with bias, 2 KV groups"),
    "chatglm2-cache": Structure(lambda changes: chatglm2.ChatGLM2(chatglm2.Config(
        vocab_size=VOCAB, cache_first="tokens", **changes)),
        "as chatglm2 with the original's cache [tokens, batch, 2, d]"),
    "phi1.5": Structure(make(
        "PhiForCausalLM", "PhiConfig", hidden_size=48, intermediate_size=112, num_hidden_layers=2,
        num_attention_heads=3, partial_rotary_factor=0.5, max_position_embeddings=160, tie_word_embeddings=False),
        "parallel block, one LayerNorm, partial rotary 0.5, head with bias"),
    "phi2": Structure(make(
        "PhiForCausalLM", "PhiConfig", hidden_size=40, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, partial_rotary_factor=0.4, max_position_embeddings=160, tie_word_embeddings=False),
        "as phi1.5 with partial rotary 0.4"),
    "phi3": Structure(make("Phi3ForCausalLM", "Phi3Config", **{**PHI3, "sliding_window": 24}),
                      "merged QKV and gate-up, window of 24", traits={"window": {"sliding_window": None}}),
    "phi3-long": Structure(make("Phi3ForCausalLM", "Phi3Config", **PHI3, **longrope(6, 32)),
                           "long rope, longer than the original length of 32",
                           traits={"long list": longrope(6, 4096)},
                           # The exporter keeps the list of the traced length only: trace a long one.
                           export={"sequence_length": 48}),
    "phi3-short": Structure(make("Phi3ForCausalLM", "Phi3Config", **PHI3, **longrope(6, 128)),
                            "long rope, within the original length of 128", traits={"short list": longrope(6, 32)}),
    "stablelm": Structure(make(
        "StableLmForCausalLM", "StableLmConfig", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=3, partial_rotary_factor=0.25, use_qkv_bias=True,
        max_position_embeddings=160), "LayerNorm, partial rotary 0.25, QKV bias"),
    "stablelm-12b": Structure(make(
        "StableLmForCausalLM", "StableLmConfig", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, partial_rotary_factor=0.5, qk_layernorm=True,
        use_parallel_residual=True, max_position_embeddings=160),
        "LayerNorm of q and k with weights per head, parallel block"),
    "gpt2": Structure(make(
        "GPT2LMHeadModel", "GPT2Config", n_positions=160, n_embd=48, n_layer=2, n_head=3),
        "learned positions, merged QKV, tied head", embedding=0.3),
    "gpt-neox": Structure(make(
        "GPTNeoXForCausalLM", "GPTNeoXConfig", hidden_size=48, intermediate_size=112, num_hidden_layers=2,
        num_attention_heads=3, rotary_pct=0.25, max_position_embeddings=160),
        "parallel block with two norms, QKV merged head by head, partial rotary 0.25"),
    "gpt-neox-serial": Structure(make(
        "GPTNeoXForCausalLM", "GPTNeoXConfig", hidden_size=48, intermediate_size=112, num_hidden_layers=2,
        num_attention_heads=3, rotary_pct=1.0, use_parallel_residual=False, max_position_embeddings=160),
        "as gpt-neox, serial residual", same_as="gpt-neox"),
    "opt": Structure(make(
        "OPTForCausalLM", "OPTConfig", hidden_size=48, ffn_dim=112, num_hidden_layers=2, num_attention_heads=3,
        word_embed_proj_dim=48, max_position_embeddings=160), "learned positions from 2, ReLU, tied head",
        embedding=0.3),
    "opt-350m": Structure(make(
        "OPTForCausalLM", "OPTConfig", hidden_size=48, ffn_dim=112, num_hidden_layers=2, num_attention_heads=3,
        word_embed_proj_dim=24, do_layer_norm_before=False, max_position_embeddings=160),
        "norm after the residual, projections around the body", embedding=0.3),
    "bloom": Structure(make("BloomForCausalLM", "BloomConfig", hidden_size=40, n_layer=2, n_head=5),
                       "ALiBi with 5 heads, norm of the embedding, QKV merged head by head", embedding=0.3),
    "falcon": Structure(make(
        "FalconForCausalLM", "FalconConfig", **FALCON, multi_query=True, parallel_attn=True, bias=False,
        new_decoder_architecture=False, alibi=False), "MQA, parallel block, one norm (7B)", embedding=0.3),
    "falcon-40b": Structure(make(
        "FalconForCausalLM", "FalconConfig", **FALCON, num_kv_heads=2, new_decoder_architecture=True, alibi=False),
        "GQA merged group by group, parallel block, two norms (40B)", embedding=0.3),
    "falcon-rw": Structure(make(
        "FalconForCausalLM", "FalconConfig", **FALCON, multi_query=False, parallel_attn=False, bias=True,
        new_decoder_architecture=False, alibi=True), "ALiBi divided by sqrt(head size), serial block (RW)",
        embedding=0.3),
    "olmo2": Structure(make(
        "Olmo2ForCausalLM", "Olmo2Config", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, tie_word_embeddings=False),
        "norms after attention and MLP, norm of all of q and k"),
    "starcoder2": Structure(make(
        "Starcoder2ForCausalLM", "Starcoder2Config", hidden_size=48, intermediate_size=112, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, sliding_window=24),
        "LayerNorm, biases, tanh-GELU, GQA, window of 24", embedding=0.3,
        traits={"window": {"sliding_window": None}}),
    "granite": Structure(make(
        "GraniteForCausalLM", "GraniteConfig", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, embedding_multiplier=3.0,
        residual_multiplier=0.4, attention_multiplier=0.15, logits_scaling=2.0, tie_word_embeddings=False),
        "embedding, residual, attention and logits multipliers", embedding=0.3,
        traits={"embedding multiplier": {"embedding_multiplier": 1.0}, "residual multiplier":
                {"residual_multiplier": 1.0}, "attention multiplier": {"attention_multiplier": 12 ** -0.5},
                "logits scaling": {"logits_scaling": 1.0}}),
    "cohere": Structure(make(
        "CohereForCausalLM", "CohereConfig", hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, logit_scale=0.6),
        "parallel block, LayerNorm without bias, interleaved rotary, logit scale, tied head", embedding=0.3,
        traits={"logit scale": {"logit_scale": 1.0}}),
    "cohere-plus": Structure(make(
        "CohereForCausalLM", "CohereConfig", hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, logit_scale=0.6, use_qk_norm=True),
        "as cohere with LayerNorm of q and k, weights per head", embedding=0.3),
}

# Structures that nothing here was written for: what converts without a change shows that computations are recognised
# and not names.
HOUSE = {
    "olmo1": Structure(make(
        "OlmoForCausalLM", "OlmoConfig", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, clip_qkv=1.5,
        tie_word_embeddings=False), "LayerNorm without weights, clipped q, k and v",
        traits={"clip": {"clip_qkv": None}}),
    "gptj": Structure(make(
        "GPTJForCausalLM", "GPTJConfig", n_embd=48, n_layer=2, n_head=3, rotary_dim=8, n_positions=160,
        tie_word_embeddings=False), "parallel block with one norm, interleaved rotary on half of the head"),
    "codegen": Structure(make(
        "CodeGenForCausalLM", "CodeGenConfig", n_embd=48, n_inner=96, n_layer=2, n_head=4, rotary_dim=4,
        n_positions=160, tie_word_embeddings=False), "as gptj, QKV merged in four blocks in the order q, v, k"),
    "mpt": Structure(make(
        "MptForCausalLM", "MptConfig", d_model=48, n_layers=2, n_heads=6, expansion_ratio=2, max_seq_len=160),
        "ALiBi, LayerNorm without bias, exact GELU", embedding=0.3),
    "nemotron": Structure(make(
        "NemotronForCausalLM", "NemotronConfig", hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=12, partial_rotary_factor=0.5,
        max_position_embeddings=160, tie_word_embeddings=False), "LayerNorm with 1+w, squared ReLU, partial rotary",
        gain=0.7),  # with 0.9, rounding the weights alone to f16 moves a row of logits by 0.4 %
    "smollm3": Structure(make(
        "SmolLM3ForCausalLM", "SmolLM3Config", hidden_size=48, intermediate_size=88, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=160, no_rope_layers=[1, 0, 1]),
        "one layer without rotary embedding", embedding=0.3, traits={"no rope": {"no_rope_layers": [1, 1, 1]}}),
    "helium": Structure(make(
        "HeliumForCausalLM", "HeliumConfig", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=12, max_position_embeddings=160,
        tie_word_embeddings=False), "interleaved rotary over the whole head"),
}
STRUCTURES |= HOUSE


def randomise(model: torch.nn.Module, seed: int, embedding: float, gain: float) -> None:
    """Linear weights get `gain / sqrt(fan_in)`: with HuggingFace's 0.02 all logits are alike, and well above 1 the
    softmax saturates and rounding weights to f16 alone moves the logits. Norm weights and biases are not 1 and 0."""
    draw = torch.Generator().manual_seed(seed)

    def normal(parameter, std, mean=0.0):
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * std + mean)

    seen = set()
    embeddings_first = sorted(model.named_modules(), key=lambda m: (not isinstance(m[1], torch.nn.Embedding), m[0]))
    for _, module in embeddings_first:
        kind = type(module).__name__
        for field, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if "Norm" in kind:
                from_zero = kind.startswith("Gemma") or field == "bias"
                normal(parameter, 0.2, 0.0 if from_zero else 1.0)
            elif isinstance(module, torch.nn.Embedding):
                normal(parameter, embedding if parameter.shape[0] == VOCAB else embedding / 2)  # else: positions
            elif field == "bias":
                normal(parameter, 0.2)
            else:
                fan_in = parameter.shape[0 if kind == "Conv1D" else 1]
                normal(parameter, gain / math.sqrt(fan_in))


@torch.no_grad()
def scale_logits(model: torch.nn.Module, ids: list[int], std: float) -> None:
    """Brings the logits to a standard deviation of `std` through the last norm or the head, whichever is not shared."""
    head = model.get_output_embeddings()
    tied = head.weight is model.get_input_embeddings().weight
    actual = float(model(input_ids=torch.tensor([ids]), use_cache=False).logits.std())
    if not tied:
        head.weight.mul_(std / actual)


def build(name: str, ids: list[int], changes: dict | None = None) -> torch.nn.Module:
    """The model with the weights that belong to the name; `changes` alter the configuration only."""
    structure = STRUCTURES[name]
    seed = sum(map(ord, name))

    def make_one(change: dict) -> torch.nn.Module:
        model = structure.build(change).eval()
        randomise(model, seed, structure.embedding, structure.gain)
        return model

    model = make_one({})
    scale_logits(model, ids, structure.head)
    if changes:
        weights = model.state_dict()
        model = make_one(changes)
        model.load_state_dict(weights)
    return model
