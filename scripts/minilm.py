"""Writes all-MiniLM-L6-v2 (safetensors) as a GGUF file of type Q8_0: minilm.py SOURCE TARGET.

SOURCE is a directory in Hugging Face's layout, TARGET the file to write. Needs gguf, safetensors
and numpy, no torch. Names of tensors, the phantom space before words and the pooling are those of
llama.cpp's own converter for BERT models; the file gives the same vectors as one made by it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import gguf
from safetensors.numpy import load_file

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTROL, NORMAL = 3, 1
EMBEDDINGS = {
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


def convert(source: Path, target: Path) -> None:
    """Write the whole model: parameters, vocabulary, tensors."""
    writer = gguf.GGUFWriter(str(target), "bert")
    config = json.loads((source / "config.json").read_text())
    _parameters(writer, config)
    _vocabulary(writer, (source / "vocab.txt").read_text(encoding="utf-8").split("\n"), config)
    for name, tensor in load_file(source / "model.safetensors").items():
        _tensor(writer, name.removeprefix("bert."), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _parameters(writer: Any, config: dict[str, Any]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _vocabulary(writer: Any, lines: list[str], config: dict[str, Any]) -> None:
    tokens = lines[:-1] if lines[-1] == "" else lines
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([_with_phantom_space(token) for token in tokens])
    writer.add_token_types([CONTROL if token in SPECIAL else NORMAL for token in tokens])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_eos_token_id(tokens.index("[SEP]"))
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_mask_token_id(tokens.index("[MASK]"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _with_phantom_space(token: str) -> str:
    """WordPiece marks the inside of a word with ##; llama.cpp marks its beginning with U+2581."""
    if token in SPECIAL:
        return token
    bracketed = token.startswith("[") and token.endswith("]")
    return token[2:] if token.startswith("##") and not bracketed else "\u2581" + token


def _tensor(writer: Any, name: str, tensor: Any) -> None:
    if name.startswith("pooler") or name.endswith("position_ids"):
        return
    base, suffix = name.rsplit(".", 1)
    target = EMBEDDINGS.get(base) or _block(base)
    values = tensor.astype("float32")
    if values.ndim == 2 and target not in ("position_embd", "token_types"):
        kind = gguf.GGMLQuantizationType.Q8_0
        quantized = gguf.quants.quantize(values, kind)
        writer.add_tensor(f"{target}.{suffix}", quantized, raw_dtype=kind)
    else:
        writer.add_tensor(f"{target}.{suffix}", values)


def _block(base: str) -> str:
    _, _, layer, rest = base.split(".", 3)
    return f"blk.{layer}.{BLOCK[rest]}"


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
