"""Creates a tiny random checkpoint of each model family, with the token ids and logits of transformers.

All parameters are random, including those of LayerNorm and biases, so that exchanging two of them changes the logits. Requires the
packages of requirements.txt:

    python tests/families/make_fixtures.py
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

OUT = Path(__file__).parent / "fixtures"
LABELS = ["O", "B-location", "I-location", "B-person", "I-person"]
LONGEST = 40
# Distances above 128 share a position bias.
LONG = 300
SENTENCES = [
    "Ann Lee went to São Paulo .",
    "In New York , I met Zoë today !",
    "Bob and Cy Dahl did n't see 京都 :) 😀",
    "@ida what's new in #rome (Port Ra) ?",
    "ok",
]


BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece(lowercase, specials=BERT_SPECIALS):
    """A BERT tokenizer whose vocabulary has all letters and the first three letters of each word."""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    words = []
    for sentence in SENTENCES:
        text = normalizer.normalize_str(sentence)
        words += [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]
    letters = sorted(set("".join(words)))
    pieces = specials + letters + ["##" + letter for letter in letters] + [word[:3] for word in words]
    vocab = {piece: id for id, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(specials)
    if specials is not BERT_SPECIALS:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        return tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return tokenizer


ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=ROBERTA_SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def sentencepiece():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, show_progress=False, special_tokens=ROBERTA_SPECIALS, unk_token="<unk>"
    )
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


BERT_SIZE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
# As in published models: one token type, a larger epsilon, and no use of the positions up to the id of the padding token.
ROBERTA_SIZE = dict(
    **BERT_SIZE,
    max_position_embeddings=LONGEST + 2,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
)


def bert():
    return BertConfig(**BERT_SIZE, max_position_embeddings=LONGEST, pad_token_id=0), wordpiece(False)


def distilbert():
    shape = dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=LONGEST)
    return DistilBertConfig(**shape, activation="relu", dropout=0.05, attention_dropout=0.15), wordpiece(True)


def roberta():
    return RobertaConfig(**ROBERTA_SIZE), byte_level()


def xlm_roberta():
    return XLMRobertaConfig(**ROBERTA_SIZE), sentencepiece()


def camembert():
    return CamembertConfig(**ROBERTA_SIZE, classifier_dropout=0.2), sentencepiece()


def mpnet(longest=LONGEST):
    shape = dict(**BERT_SIZE, max_position_embeddings=longest + 2, layer_norm_eps=1e-5)
    return MPNetConfig(**shape), wordpiece(True, ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])


def mpnet_long():
    return mpnet(LONG)


# Narrower than the hidden states, as in electra-small-discriminator and all ALBERTs.
NARROW = dict(**BERT_SIZE, embedding_size=12, max_position_embeddings=LONGEST)
# As wide as the hidden states, as in electra-base- and electra-large-discriminator; other values of options besides.
WIDE = dict(**BERT_SIZE, embedding_size=16, max_position_embeddings=LONGEST, type_vocab_size=3, layer_norm_eps=1e-5)


def electra():
    return ElectraConfig(**NARROW), wordpiece(True)


def electra_wide():
    options = dict(hidden_act="relu", classifier_dropout=0.2, hidden_dropout_prob=0.05, initializer_range=0.03)
    return ElectraConfig(**WIDE, **options), wordpiece(True)


ALBERT_SPECIALS = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]


def albert_sentencepiece():
    tokenizer = Tokenizer(models.Unigram())
    quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    tokenizer.normalizer = normalizers.Sequence(
        [*quotes, normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=80, show_progress=False, special_tokens=ALBERT_SPECIALS, unk_token="<unk>"
    )
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def albert():
    return AlbertConfig(**NARROW), albert_sentencepiece()


def albert_groups():
    # Layers 0 and 1 are the first group, layer 2 is the second; each applies two inner layers.
    shape = dict(WIDE, num_hidden_layers=3, num_hidden_groups=2, inner_group_num=2)
    options = dict(hidden_act="gelu", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    return AlbertConfig(**shape, **options, classifier_dropout_prob=0.3), albert_sentencepiece()


DEBERTA_SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
# What NFC, line ends and spaces make of given words.
DEBERTA_WORDS = [["Zoe\u0308", "a  b", "", "\tx\n", "\u200d", "\uff21"]]


def deberta_tokenizer():
    """A tokenizer as transformers 5 makes it of the pieces in any tokenizer.json."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=90, show_progress=False, special_tokens=DEBERTA_SPECIALS, unk_token="[UNK]"
    )
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def deberta_v2(positions=LONGEST, **options):
    """As published DeBERTa-v3 models but for the number of buckets."""
    shape = dict(**BERT_SIZE, max_position_embeddings=positions, layer_norm_eps=1e-7)
    published = dict(
        relative_attention=True,
        position_buckets=10,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type="p2c|c2p",
        max_relative_positions=-1,
        position_biased_input=False,
        type_vocab_size=0,
    )
    return DebertaV2Config(**shape, **(published | options)), deberta_tokenizer()


def deberta_v2_long():
    """The published buckets, and sequences that reach the logarithmic ones."""
    return deberta_v2(512, position_buckets=256)


def deberta_v2_own():
    """Projections of relative positions, a position table, a token type, and distances beyond the longest."""
    options = dict(share_att_key=False, position_biased_input=True, type_vocab_size=2, norm_rel_ebd="none")
    return deberta_v2(**options, pos_att_type=["c2p", "p2c"], max_relative_positions=20)


def deberta_v2_c2p():
    """Position keys alone, with projections of their own and a row for each distance up to the longest."""
    return deberta_v2(share_att_key=False, pos_att_type=["c2p"], position_buckets=-1, max_relative_positions=9)


def deberta_v2_p2c():
    """Position queries alone."""
    return deberta_v2(pos_att_type=["p2c"], position_buckets=7, type_vocab_size=1)


def random_model(config):
    """A token classifier with random parameters."""
    model = AutoModelForTokenClassification.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(mean + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def cases(model, tokenizer, longest):
    """The token ids, word ids and logits of the sentences, and of words that fill the maximum length exactly."""
    made = [sentence.split(" ") for sentence in SENTENCES]
    if model.config.model_type == "deberta-v2":
        made += DEBERTA_WORDS
    words = " ".join(SENTENCES).split(" ") * (longest // 13)
    while len(tokenizer(words, is_split_into_words=True)["input_ids"]) > longest:
        words.pop()
    # ALBERT's tokenizer here makes two tokens of "a", one of "to".
    for word in ["a", "to"]:
        while len(tokenizer([*words, word], is_split_into_words=True)["input_ids"]) <= longest:
            words.append(word)
    for words in [*made, words]:
        encoding = tokenizer(words, is_split_into_words=True)
        ids = torch.tensor([encoding["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        yield {
            "words": words,
            "ids": encoding["input_ids"],
            "word_ids": encoding.word_ids(),
            "logits": [[round(float(x), 6) for x in row] for row in logits],
        }


def write(make, longest=LONGEST):
    config, tokenizer = make()
    folder = OUT / make.__name__.replace("_", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config.vocab_size = tokenizer.get_vocab_size()
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: id for id, label in enumerate(LABELS)}
    model = random_model(config)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    fields = model.config.to_dict()
    if make is deberta_v2:
        # As in published files; transformers writes a list.
        fields["pos_att_type"] = "p2c|c2p"
    (folder / "config.json").write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")
    # Options for input in words: RoBERTa needs the space before each word, and this BERT is cased.
    options = {"roberta": {"add_prefix_space": True}, "bert": {"do_lower_case": False}}
    loaded = AutoTokenizer.from_pretrained(folder, **options.get(config.model_type, {}))
    expected = list(cases(model, loaded, longest))
    assert max(len(case["ids"]) for case in expected) == longest
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_buckets():
    """The bucket of each distance from -600 to 600 in MPNet, in this order."""
    buckets = MPNetEncoder.relative_position_bucket(torch.arange(-600, 601)).tolist()
    (OUT.parent / "mpnet_buckets.json").write_text(json.dumps(buckets, separators=(",", ":")) + "\n")


def write_deberta_rows():
    """The row of the relative embeddings for each distance from -600 to 600 in DeBERTa, with several numbers of buckets."""
    found = []
    for buckets, longest in [(256, 512), (256, 1280), (10, 40), (7, 40), (32, 150), (2, 40), (-1, 9), (-1, 512)]:
        distances = torch.arange(-600, 601)
        if buckets > 0:
            distances = make_log_bucket_position(distances, buckets, longest).long()
        span = buckets if buckets > 0 else longest
        rows = torch.clamp(distances + span, 0, 2 * span - 1).tolist()
        found.append({"position_buckets": buckets, "max_relative_positions": longest, "rows": rows})
    (OUT.parent / "deberta_rows.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    families = [bert, distilbert, roberta, xlm_roberta, camembert, mpnet, electra, electra_wide, albert, albert_groups]
    families += [deberta_v2, deberta_v2_own, deberta_v2_c2p, deberta_v2_p2c]
    for make in families:
        write(make)
        print(make.__name__)
    write(mpnet_long, LONG)
    write(deberta_v2_long, LONG)
    write_buckets()
    write_deberta_rows()
    total = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{total} bytes")
