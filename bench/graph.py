"""Compares an exported CPU graph with variants of the same weights: fused operators, packed projections, no padding, first subwords only.

    bench/graph.py BUNDLE --texts test.conll [--compare BUNDLE] [--sizes 1,8] [--rounds 3] [--profile]

BUNDLE is an fp32 or int8 bundle of a BERT, exported with `--logits all`. The bundle of `--compare`, of the same checkpoint and
precision, runs unchanged: exported without `--logits all`, it has the padding-free graph that Nerve serves. All graphs run the
same batches in turn on one thread. Times are CPU times of the thread, which other load on the machine hardly affects. Needs
onnxruntime, onnx, numpy and tokenizers.
Prints texts per second, the ratio to the exported graph, and the largest difference of a logit from it.
"""

import argparse
import collections
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from tokenizers import Tokenizer

CONTRIB = "com.microsoft"


class Graph:
    """An exported graph that a variant rewrites."""

    def __init__(self, bundle):
        self.model = onnx.load(bundle / "model.onnx")
        config = json.loads((bundle / "config.json").read_text())
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.hidden = config["hidden_size"]
        self.head = self.hidden // self.heads
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        self.nodes = {node.output[0]: node for node in self.model.graph.node}
        self.is_int8 = any(node.op_type == "QGemm" for node in self.model.graph.node)

    def constant(self, name, array):
        if all(tensor.name != name for tensor in self.model.graph.initializer):
            array = np.ascontiguousarray(array)
            self.model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op, inputs, output, domain="", **attributes):
        return helper.make_node(op, inputs, [output], domain=domain, **attributes)

    def replace(self, groups):
        """Replaces nodes. Each group has the outputs of the nodes to remove, and nodes to insert in place of the first of them."""
        outputs = {output: number for number, (names, _) in enumerate(groups) for output in names}
        nodes, inserted = [], set()
        for node in self.model.graph.node:
            number = outputs.get(node.output[0])
            if number is None:
                nodes.append(node)
            elif number not in inserted:
                inserted.add(number)
                nodes.extend(groups[number][1])
        self.model.graph.ClearField("node")
        self.model.graph.node.extend(nodes)

    def attentions(self):
        for layer in range(self.layers):
            prefix = f"bert.encoder.layer.{layer}.attention.self"
            projections = [f"{prefix}.{part}" for part in ("query", "key", "value")]
            replaced = {f"{prefix}.{part}" for part in ("scores", "masked", "weights", "mixed", "merged")}
            replaced |= {f"{name}{suffix}" for name in projections for suffix in (".split", ".heads")}
            yield prefix, projections, replaced

    def shaped(self, name, last):
        """A node that computes the shape [batch, length, *last]."""
        return self.node("Concat", ["shape.batch_length", self.constant(f"{name}.last", np.array(last))], name, axis=0)

    def after(self, output, nodes):
        index = next(at for at, node in enumerate(self.model.graph.node) if node.output[0] == output)
        following = list(self.model.graph.node)
        following[index + 1 : index + 1] = nodes
        self.model.graph.ClearField("node")
        self.model.graph.node.extend(following)

    def session(self, profile=None):
        if all(opset.domain != CONTRIB for opset in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_mem_pattern = False
        options.log_severity_level = 4
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        model = self.model.SerializeToString()
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def exported(graph):
    del graph


def fused_transposition(graph):
    groups = []
    for prefix, (query, key, value), replaced in graph.attentions():
        nodes = []
        for name in (query, key, value):
            nodes.append(graph.node("Reshape", [name, "shape.heads"], f"{name}.split"))
            nodes.append(graph.node("Transpose", [f"{name}.split"], f"{name}.heads", perm=[0, 2, 1, 3]))
        scores = [f"{query}.heads", f"{key}.heads"]
        nodes.append(graph.node("FusedMatMul", scores, f"{prefix}.scores", CONTRIB, transB=1))
        nodes.append(graph.node("Add", [f"{prefix}.scores", "mask"], f"{prefix}.masked"))
        nodes.append(graph.node("Softmax", [f"{prefix}.masked"], f"{prefix}.weights", axis=-1))
        nodes.append(graph.node("MatMul", [f"{prefix}.weights", f"{value}.heads"], f"{prefix}.mixed"))
        nodes.append(graph.node("Transpose", [f"{prefix}.mixed"], f"{prefix}.merged", perm=[0, 2, 1, 3]))
        groups.append((replaced, nodes))
    graph.replace(groups)


def multi_head_attention(graph):
    groups = []
    for prefix, projections, replaced in graph.attentions():
        nodes = [graph.node("Reshape", [name, "shape.sequences"], f"{name}.sequences") for name in projections]
        inputs = [f"{name}.sequences" for name in projections] + ["", "mask.int"]
        attributes = {"num_heads": graph.heads, "scale": 1.0}
        nodes.append(graph.node("MultiHeadAttention", inputs, f"{prefix}.merged", CONTRIB, **attributes))
        groups.append((replaced, nodes))
    graph.replace(groups)
    cast = graph.node("Cast", ["attention_mask"], "mask.int", to=onnx.TensorProto.INT32)
    graph.after("shape.batch_length", [graph.shaped("shape.sequences", [graph.hidden]), cast])


def packed_attention(graph):
    """`Attention` or `QAttention`, which include the projections of queries, keys and values."""
    groups = []
    for prefix, projections, replaced in graph.attentions():
        first = graph.nodes[projections[0]]
        columns = lambda suffix: [graph.weights[name + suffix] for name in projections]  # noqa: E731
        weight = graph.constant(f"{prefix}.weight", np.concatenate(columns(".weight"), 1))
        nodes = [graph.node("Reshape", [first.input[0], "shape.sequences"], f"{prefix}.sequences")]
        if graph.is_int8:
            # QAttention divides the scores by the root of the head size, and the exported query weights already include it.
            root = np.float32(graph.head**0.5)
            scales, biases = columns(".weight.scales"), columns(".bias")
            biases = [bias * scale * graph.weights[first.input[1]] for bias, scale in zip(biases, scales)]
            scales, biases = [scales[0] * root, *scales[1:]], [biases[0] * root, *biases[1:]]
            zeros = graph.constant(f"{prefix}.zeros", np.concatenate(columns(".weight.zeros")))
            scales = graph.constant(f"{prefix}.scales", np.concatenate(scales))
            bias = graph.constant(f"{prefix}.bias", np.concatenate(biases).astype(np.float32))
            inputs = [f"{prefix}.sequences", weight, bias, first.input[1], scales, "mask.int", first.input[2], zeros]
            nodes.append(graph.node("QAttention", inputs, f"{prefix}.merged", CONTRIB, num_heads=graph.heads))
        else:
            bias = graph.constant(f"{prefix}.bias", np.concatenate(columns(".bias")))
            inputs = [f"{prefix}.sequences", weight, bias, "mask.int"]
            attributes = {"num_heads": graph.heads, "scale": 1.0}
            nodes.append(graph.node("Attention", inputs, f"{prefix}.merged", CONTRIB, **attributes))
        groups.append((replaced | set(projections), nodes))
    graph.replace(groups)
    cast = graph.node("Cast", ["attention_mask"], "mask.int", to=onnx.TensorProto.INT32)
    graph.after("shape.batch_length", [graph.shaped("shape.sequences", [graph.hidden]), cast])


def skip_layer_norm(graph):
    groups = []
    for layer in range(graph.layers):
        prefix = f"bert.encoder.layer.{layer}"
        for sum_name, norm_name in [
            (f"{prefix}.attention.sum", f"{prefix}.attention.output.LayerNorm"),
            (f"{prefix}.sum", f"{prefix}.output.LayerNorm"),
        ]:
            added, norm = graph.nodes[sum_name], graph.nodes[norm_name]
            epsilon = next(attribute.f for attribute in norm.attribute if attribute.name == "epsilon")
            inputs = [*added.input, *norm.input[1:]]
            fused = graph.node("SkipLayerNormalization", inputs, norm_name, CONTRIB, epsilon=epsilon)
            groups.append(({sum_name}, []))
            groups.append(({norm_name}, [fused]))
    graph.replace(groups)


def without_padding(graph):
    """Linear layers over real tokens only; attention over padded sequences. The inputs `real` and `places` map between the two."""
    groups = []
    real = graph.node("Gather", ["embeddings.rows", "real"], "embeddings.real", axis=0)
    norm = graph.nodes["bert.embeddings.LayerNorm"]
    norm.input[0] = "embeddings.real"
    graph.after("embeddings.rows", [real])
    for prefix, projections, _ in graph.attentions():
        for name in projections:
            padded = graph.node("Gather", [name, "places"], f"{name}.padded", axis=0)
            split = graph.node("Reshape", [f"{name}.padded", "shape.heads"], f"{name}.split")
            groups.append(({f"{name}.split"}, [padded, split]))
        merged = graph.node("Reshape", [f"{prefix}.merged", "shape.rows"], f"{prefix}.padded_rows")
        packed = graph.node("Gather", [f"{prefix}.padded_rows", "real"], f"{prefix}.rows", axis=0)
        groups.append(({f"{prefix}.rows"}, [merged, packed]))
    padded = graph.node("Gather", ["classifier", "places"], "classifier.padded", axis=0)
    logits = graph.node("Reshape", ["classifier.padded", "shape.logits"], "logits")
    groups.append(({"logits"}, [padded, logits]))
    graph.replace(groups)
    for name in ("real", "places"):
        graph.model.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [name]))


def first_subwords_only(graph):
    """The last layer's attention output, feed-forward part and classifier for first subwords only, selected by `logits_indices`."""
    last = f"bert.encoder.layer.{graph.layers - 1}"
    mixed, before = f"{last}.attention.self.rows", f"bert.encoder.layer.{graph.layers - 2}.output.LayerNorm"
    product = f"{mixed}.quantized" if graph.is_int8 else f"{last}.attention.output.dense"
    for reader, whole in [(product, mixed), (f"{last}.attention.sum", before)]:
        node = graph.nodes[reader]
        node.input[list(node.input).index(whole)] = f"{whole}.words"
    selected = [graph.node("Gather", [name, "logits_indices"], f"{name}.words", axis=0) for name in (mixed, before)]
    graph.after(mixed, selected)
    graph.replace([({"logits"}, [graph.node("Identity", ["classifier"], "logits")])])
    labels = graph.model.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    graph.model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["words", labels]))
    graph.model.graph.input.append(helper.make_tensor_value_info("logits_indices", onnx.TensorProto.INT64, ["words"]))


VARIANTS = {
    "exported": exported,
    "FusedMatMul": fused_transposition,
    "MultiHeadAttention": multi_head_attention,
    "Attention or QAttention": packed_attention,
    "SkipLayerNormalization": skip_layer_norm,
    "no padding": without_padding,
    "first subwords only": first_subwords_only,
}


def read_texts(path, tokenizer):
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    texts = [[line.split("\t")[0].split(" ")[0] for line in block.splitlines() if line] for block in blocks]
    return tokenizer.encode_batch([text for text in texts if text], is_pretokenized=True)


def first_subwords(text):
    """The position of the first subword of each word."""
    words = text.word_ids
    return [at for at, word in enumerate(words) if word is not None and (at == 0 or words[at - 1] != word)]


def batches(texts, size, by_length):
    texts = sorted(texts, key=len) if by_length else texts
    for start in range(0, len(texts), size):
        batch = texts[start : start + size]
        length = max(map(len, batch))
        mask = np.array([[1] * len(text) + [0] * (length - len(text)) for text in batch], np.int64)
        ids = np.array([text.ids + [0] * (length - len(text)) for text in batch], np.int64)
        firsts = np.array([row * length + at for row, text in enumerate(batch) for at in first_subwords(text)], np.int64)
        flat = mask.reshape(-1)
        places = np.where(flat == 1, np.cumsum(flat) - 1, 0)
        real = np.flatnonzero(flat)
        yield {"input_ids": ids, "attention_mask": mask, "real": real, "places": places, "logits_indices": firsts}


def compare(sessions, made, rounds):
    """The seconds of each session in each round, and the largest difference of its logits from those of the first session."""
    seconds = collections.defaultdict(list)
    difference = collections.defaultdict(float)
    for number in range(rounds + 1):
        spent = collections.Counter()
        for batch in made:
            reference = None
            for name, session in sessions.items():
                feeds = {value.name: batch[value.name] for value in session.get_inputs()}
                began = time.thread_time()
                logits = session.run(["logits"], feeds)[0]
                spent[name] += time.thread_time() - began
                reference = logits if reference is None else reference
                compared = reference.reshape(-1, reference.shape[-1])
                logits = logits.reshape(-1, logits.shape[-1])
                if logits.shape == compared.shape:
                    logits, compared = logits[batch["real"]], compared[batch["real"]]
                else:
                    compared = compared[batch["logits_indices"]]
                difference[name] = max(difference[name], float(np.abs(logits - compared).max()))
        # The first round is the warm-up.
        if number:
            for name in sessions:
                seconds[name].append(spent[name])
    return seconds, difference


def print_profile(bundle, made):
    """Prints the share of each operator in the run time of the exported graph."""
    with tempfile.TemporaryDirectory() as folder:
        session = Graph(bundle).session(profile=f"{folder}/profile")
        for batch in made:
            session.run(["logits"], {value.name: batch[value.name] for value in session.get_inputs()})
        events = json.loads(pathlib.Path(session.end_profiling()).read_text())
    spent = collections.Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    for op, microseconds in spent.most_common(10):
        print(f"    {op:<24}{100 * microseconds / spent.total():5.1f}%")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    parser.add_argument("--compare", type=pathlib.Path, help="another bundle, which runs unchanged")
    parser.add_argument("--sizes", default="1,8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-texts", type=int, default=480, help="largest number of texts to run")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.bundle / "tokenizer.json"))
    tokenizer.no_truncation()
    texts = read_texts(arguments.texts, tokenizer)
    texts = texts[:: -(-len(texts) // arguments.max_texts)]
    sessions = {}
    for name, rewrite in VARIANTS.items():
        graph = Graph(arguments.bundle)
        rewrite(graph)
        sessions[name] = graph.session()
    if arguments.compare:
        sessions[arguments.compare.name] = Graph(arguments.compare).session()
    for size in map(int, arguments.sizes.split(",")):
        orders = [("by length", True)] if size == 1 else [("by length", True), ("in corpus order", False)]
        for order, by_length in orders:
            made = list(batches(texts, size, by_length))
            seconds, difference = compare(sessions, made, arguments.rounds)
            base = statistics.median(seconds["exported"])
            print(f"batches of {size}, {order}")
            for name in sessions:
                median = statistics.median(seconds[name])
                line = f"  {name:<26}{len(texts) / median:7.0f} texts/s  x {base / median:.3f}"
                print(f"{line}  largest difference {difference[name]:.1e}")
            if arguments.profile:
                print_profile(arguments.bundle, made)


if __name__ == "__main__":
    main()
