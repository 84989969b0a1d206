"""A tiny BERT with random weights, the same every time, and its WordPiece vocabulary: what a folder of transformers looks like."""

from __future__ import annotations

import string
from pathlib import Path

import support

DIM = 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save(folder: Path, **settings: object) -> str:
    """The path of the folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    pieces = [*SPECIAL, *support.WORDS, *string.punctuation, *string.ascii_lowercase, *string.digits]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys([*pieces, *(f"##{c}" for c in string.ascii_lowercase)]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    sizes = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "initializer_range": 0.05}
    config = BertConfig(vocab_size=len(vocabulary), pad_token_id=0, **(sizes | settings))
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return str(folder)
