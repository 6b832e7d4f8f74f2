"""Makes tiny models with random weights, in the folders that transformers would read from the Hub.

Run with the interpreter whose transformers is to make them: `python make_models.py FOLDER`. Prints the names of
those that this transformers knows. The numbers of every model differ from one another, so that a mix-up shows.
"""

import json
import os
import sys

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

VOCABULARY = 97
LABELS = {"id2label": {0: "no", 1: "maybe", 2: "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2}}

BERT_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
ROBERTA = dict(BERT_LIKE, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2)
DEBERTA = dict(
    BERT_LIKE,
    relative_attention=True,
    position_buckets=8,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    pos_att_type=["p2c", "c2p"],
    position_biased_input=False,
    type_vocab_size=0,
)
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 40,
    "bos_token_id": 96,
    "eos_token_id": 96,
}
MODERNBERT = dict(BERT_LIKE, pad_token_id=3, local_attention=8, global_attn_every_n_layers=2, reference_compile=False)
DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 40,
}

# The mask token of tokenizers that have one; it is the last word of the vocabulary.
MASKS = {"RobertaTokenizerFast": "<mask>", "DistilBertTokenizerFast": "[MASK]", "PreTrainedTokenizerFast": "[MASK]"}

# Name: model class, configuration, tokenizer class.
MODELS = {
    "distilbert-feature-extraction": ("DistilBertModel", DISTILBERT, "DistilBertTokenizerFast"),
    "distilbert-question-answering": ("DistilBertForQuestionAnswering", DISTILBERT, "DistilBertTokenizerFast"),
    "distilbert-fill-mask": ("DistilBertForMaskedLM", DISTILBERT, "DistilBertTokenizerFast"),
    "roberta-fill-mask": ("RobertaForMaskedLM", ROBERTA, "RobertaTokenizerFast"),
    "roberta-text-classification": (
        "RobertaForSequenceClassification",
        dict(ROBERTA, **LABELS),
        "RobertaTokenizerFast",
    ),
    "albert-token-classification": (
        "AlbertForTokenClassification",
        dict(BERT_LIKE, embedding_size=16, **LABELS),
        "AlbertTokenizerFast",
    ),
    "mpnet-feature-extraction": ("MPNetModel", BERT_LIKE, "MPNetTokenizerFast"),
    "deberta-v2-text-classification": (
        "DebertaV2ForSequenceClassification",
        dict(DEBERTA, **LABELS),
        "DebertaV2TokenizerFast",
    ),
    "electra-token-classification": (
        "ElectraForTokenClassification",
        dict(BERT_LIKE, embedding_size=16, **LABELS),
        "ElectraTokenizerFast",
    ),
    "electra-question-answering": (
        "ElectraForQuestionAnswering",
        dict(BERT_LIKE, embedding_size=16),
        "ElectraTokenizerFast",
    ),
    "modernbert-fill-mask": ("ModernBertForMaskedLM", MODERNBERT, "PreTrainedTokenizerFast"),
    "gpt2-feature-extraction": ("GPT2Model", GPT2, "GPT2TokenizerFast"),
    "gpt2-text-classification": ("GPT2ForSequenceClassification", dict(GPT2, **LABELS), "GPT2TokenizerFast"),
}


def main(root):
    made = []
    for seed, (name, (kind, settings, tokenizer)) in enumerate(MODELS.items()):
        model_class = getattr(transformers, kind, None)
        if model_class is None:
            continue
        torch.manual_seed(seed)
        model = model_class(model_class.config_class(**settings)).eval()
        # Random models start near zero, where many mistakes make no difference.
        for parameter in model.parameters():
            parameter.data.add_(torch.randn(parameter.shape) * 0.1)
        folder = os.path.join(root, name)
        model.save_pretrained(folder)
        write_tokenizer(folder, tokenizer)
        made.append(name)
    print(json.dumps(made))


def write_tokenizer(folder, kind):
    words = {"w{}".format(index): index for index in range(VOCABULARY)}
    mask = MASKS.get(kind)
    if mask:
        words[mask] = words.pop("w{}".format(VOCABULARY - 1))
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w4"))
    if mask:
        tokenizer.add_special_tokens([AddedToken(mask, lstrip=True, normalized=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    settings = {"tokenizer_class": kind, "model_max_length": 1000000000000000019884624838656, "unk_token": "w4"}
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump(settings, file)


if __name__ == "__main__":
    main(sys.argv[1])
