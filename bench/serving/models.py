"""The model that all servers serve: Nerve's bundles, and the graphs of the peers."""

import dataclasses
import hashlib
import pathlib
import shutil
import subprocess
import sys

import nncf
import numpy
import onnxruntime
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification

from serving.texts import corpus

# Longer than every text of the corpus, so that all servers process the same tokens and none needs windows.
MAX_LENGTH = 512
# The number of calibration texts that NNCF uses by default.
CALIBRATION_TEXTS = 300


@dataclasses.dataclass
class Models:
    """The paths of the checkpoint, of the bundles by name and of the peers' graphs by precision. OpenVINO's graphs have a precision hint."""

    checkpoint: pathlib.Path
    bundles: dict[str, pathlib.Path]
    graphs: dict[str, pathlib.Path]
    openvino: dict[str, tuple[pathlib.Path, str]]


def prepare(checkpoint, data, work, binaries, graphs_from):
    """Exports the bundles, and the peers' graphs if there are none of this checkpoint."""

    def export(bundle, precision, *options):
        shutil.rmtree(bundle, ignore_errors=True)
        command = [
            binaries / "nerve-export", "--checkpoint", checkpoint, "--out", bundle, "--precision", precision,
            "--max-length", str(MAX_LENGTH), "--splitter", "bert", *options,
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=sys.stderr)
        return bundle

    bundles = {
        "fp32": export(work / "bundle-fp32", "fp32"),
        "int8": export(work / "bundle-int8", "int8", "--calibration", data / "train.conll"),
    }
    plain = export(work / "bundle-plain", "fp32", "--logits", "all") / "model.onnx"
    if graphs_from == "nerve":
        graphs = {precision: work / f"peer-{precision}.onnx" for precision in bundles}
        shutil.copyfile(plain, graphs["fp32"])
        quantize_dynamic(graphs["fp32"], graphs["int8"], weight_type=QuantType.QInt8)
    else:
        of = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()[:12]
        graphs = {precision: work / f"peer-{precision}-{of}.onnx" for precision in bundles}
        # The int8 graph is written last and renamed when it is complete, so its existence means that both are complete.
        if not graphs["int8"].exists():
            export_torch(checkpoint, graphs["fp32"])
            quantize_dynamic(graphs["fp32"], work / "unfinished.onnx", weight_type=QuantType.QInt8)
            (work / "unfinished.onnx").rename(graphs["int8"])
    quantized = work / "openvino-int8.xml"
    quantize_openvino(plain, checkpoint, data / "train.conll", quantized)
    graphs_of_openvino = {"int8": (quantized, "f32"), "bf16": (plain, "bf16"), "fp32": (plain, "f32")}
    return Models(checkpoint, bundles, graphs, graphs_of_openvino)


def quantize_openvino(graph, checkpoint, texts, out):
    """Quantizes a fp32 graph with NNCF's post-training quantization for transformers, calibrated on the first texts."""
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.no_padding()
    model = openvino.Core().read_model(graph)
    names = {name for port in model.inputs for name in port.names}

    def feeds(text):
        ids = numpy.array([tokenizer.encode(text).ids], numpy.int64)
        inputs = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
        return {name: array for name, array in inputs.items() if name in names}

    dataset = nncf.Dataset(corpus(texts)[:CALIBRATION_TEXTS], feeds)
    quantized = nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION_TEXTS)
    openvino.save_model(quantized, out, compress_to_fp16=False)


class Logits(torch.nn.Module):
    """A token classifier that returns only its logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def export_torch(checkpoint, graph):
    """Exports the checkpoint with torch.onnx, as Optimum does."""
    model = AutoModelForTokenClassification.from_pretrained(checkpoint, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.tensor([[101, 7592, 2088, 102], [101, 2088, 102, 0]])
    torch.onnx.export(
        Logits(model), (ids, (ids > 0).long(), torch.zeros_like(ids)), str(graph), input_names=names,
        output_names=["logits"], dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "logits"]},
        opset_version=17, dynamo=False,
    )  # fmt: skip


def largest_difference(models, texts):
    """The largest difference between the logits of the peers' fp32 graph and of Nerve's."""
    tokenizer = Tokenizer.from_file(str(models.checkpoint / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.no_padding()
    sessions = [onnxruntime.InferenceSession(path) for path in (models.graphs["fp32"], models.bundles["fp32"] / "model.onnx")]
    largest = 0.0
    for text in texts:
        ids = numpy.array([tokenizer.encode(text).ids], numpy.int64)
        feeds = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
        feeds["logits_indices"] = numpy.arange(ids.size)
        one, other = (
            session.run(None, {node.name: feeds[node.name] for node in session.get_inputs()})[0] for session in sessions
        )
        largest = max(largest, float(numpy.abs(one.reshape(other.shape) - other).max()))
    return largest
