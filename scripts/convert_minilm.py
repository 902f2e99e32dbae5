"""MiniLM (BERT) in safetensors to GGUF, Q8_0, with llama.cpp's own gguf package.

    convert_minilm.py DIRECTORY FILE.gguf

Run by models.py with gguf, numpy and safetensors on its path. Weights of the position and type
embeddings and all biases and norms stay F32, as in llama.cpp's own converter.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

CONTROL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD_START = "\u2581"  # how llama.cpp marks a piece that begins a word
KEPT_IN_F32 = ("position_embd", "token_types")
NORMAL, CONTROL = 1, 3

TOP = {
    "embeddings.LayerNorm": "token_embd_norm",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.word_embeddings": "token_embd",
}
BLOCK = {
    "attention.output.LayerNorm": "attn_output_norm",
    "attention.output.dense": "attn_output",
    "attention.self.key": "attn_k",
    "attention.self.query": "attn_q",
    "attention.self.value": "attn_v",
    "intermediate.dense": "ffn_up",
    "output.LayerNorm": "layer_output_norm",
    "output.dense": "ffn_down",
}


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    config = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(str(target), "bert")
    _describe(writer, config)
    _vocabulary(writer, (source / "vocab.txt").read_text(encoding="utf-8").splitlines(), config)
    for name, tensor in load_file(source / "model.safetensors").items():
        _tensor(writer, name.removeprefix("bert."), tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: "gguf.GGUFWriter", config: dict[str, int]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _vocabulary(writer: "gguf.GGUFWriter", tokens: list[str], config: dict[str, int]) -> None:
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([_piece(token) for token in tokens])
    writer.add_token_types([CONTROL if token in CONTROL_TOKENS else NORMAL for token in tokens])
    writer.add_token_type_count(config["type_vocab_size"])
    number = {token: index for index, token in enumerate(tokens)}
    writer.add_bos_token_id(number["[CLS]"])
    writer.add_eos_token_id(number["[SEP]"])
    writer.add_unk_token_id(number["[UNK]"])
    writer.add_sep_token_id(number["[SEP]"])
    writer.add_pad_token_id(number["[PAD]"])
    writer.add_mask_token_id(number["[MASK]"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _piece(token: str) -> str:
    if token in CONTROL_TOKENS:
        return token
    return token[2:] if token.startswith("##") else WORD_START + token


def _tensor(writer: "gguf.GGUFWriter", name: str, values: "np.ndarray") -> None:
    if name.startswith("pooler") or name.endswith("position_ids"):
        return
    base, suffix = name.rsplit(".", 1)
    if base in TOP:
        target = TOP[base]
    else:
        _, _, layer, rest = base.split(".", 3)
        target = f"blk.{layer}.{BLOCK[rest]}"
    if values.ndim == 2 and target not in KEPT_IN_F32:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(
            f"{target}.{suffix}", gguf.quants.quantize(values, kind), raw_dtype=kind
        )
    else:
        writer.add_tensor(f"{target}.{suffix}", values)


if __name__ == "__main__":
    main()
