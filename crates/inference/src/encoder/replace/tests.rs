use nerve_kernels::Activation;
use nerve_repository::onnx::proto::TensorProto;

use super::*;

const SET: InstructionSet = InstructionSet::Portable;
const LAYER: &str = "bert.encoder.layer.0.";

fn read(path: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    std::fs::read(format!("{root}{path}")).unwrap()
}

/// A graph of two layers with one head of 32 dimensions.
fn small() -> ModelProto {
    seed("bert")
}

fn seed(name: &str) -> ModelProto {
    ModelProto::decode(read(&format!("fuzz/seeds/kernels/{name}")).as_slice()).unwrap()
}

/// The same layers without and with position biases.
fn all_small() -> [ModelProto; 2] {
    ["bert", "mpnet"].map(seed)
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn node<'m>(model: &'m mut ModelProto, output: &str) -> &'m mut NodeProto {
    let mut nodes = graph(model).node.iter_mut();
    nodes.find(|node| node.output[0] == output).unwrap()
}

fn constant<'m>(model: &'m mut ModelProto, name: &str) -> &'m mut TensorProto {
    let mut constants = graph(model).initializer.iter_mut();
    constants.find(|constant| constant.name == name).unwrap()
}

/// The message for a changed graph.
fn refused(change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = small();
    change(&mut model);
    replace_in(model, SET).err().expect("a changed graph").to_string()
}

#[test]
fn the_default_model_keeps_its_embeddings_and_classifier() {
    let replaced = replace_encoder(read("models/default/model.onnx"), SET).unwrap();
    let model = ModelProto::decode(replaced.model.as_slice()).unwrap();
    let graph = model.graph.unwrap();
    let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(operators[operators.len() - 2..], [OPERATOR, "Gemm"]);
    assert!(!operators.contains(&"QGemm") && !operators.contains(&"Softmax"));
    assert!(
        graph
            .initializer
            .iter()
            .all(|constant| !constant.name.contains("attention"))
    );
    let shape = replaced.encoder.shape();
    assert_eq!((shape.hidden, shape.heads, shape.inner), (384, 12, 1536));
}

#[test]
fn activation_and_epsilon_are_those_of_the_graph() {
    let of = |change: &dyn Fn(&mut NodeProto)| {
        let mut model = small();
        graph(&mut model).node.iter_mut().for_each(change);
        replace_in(model, SET).unwrap().encoder.shape()
    };
    let usual = of(&|_| {});
    assert_eq!((usual.activation, usual.epsilon), (Activation::Gelu, 1e-12));
    let tanh = of(&|node| {
        if node.op_type == "Gelu" {
            node.attribute.push(AttributeProto {
                name: "approximate".to_owned(),
                s: Some(b"tanh".to_vec()),
                r#type: 3,
                ..Default::default()
            });
        }
    });
    assert_eq!(tanh.activation, Activation::GeluTanh);
    let relu = of(&|node| {
        if node.op_type == "Gelu" {
            node.op_type = "Relu".to_owned();
        }
    });
    assert_eq!(relu.activation, Activation::Relu);
    let coarse = of(&|node| {
        for attribute in node.attribute.iter_mut().filter(|a| a.name == "epsilon") {
            attribute.f = Some(0.25);
        }
    });
    assert_eq!(coarse.epsilon, 0.25);
}

/// Each node of the models, with its number.
fn nodes(models: &[ModelProto]) -> impl Iterator<Item = (&ModelProto, usize, &NodeProto)> {
    models.iter().flat_map(|model| {
        let nodes = model.graph.as_ref().unwrap().node.iter().enumerate();
        nodes.map(move |(at, node)| (model, at, node))
    })
}

#[test]
fn a_graph_that_differs_in_a_node_is_left_alone() {
    let models = all_small();
    let mut changed = 0;
    for (model, at, node) in nodes(&models) {
        // It is behind the encoder.
        if node.op_type == "Gemm" {
            continue;
        }
        for change in 0..=node.input.len() {
            let mut model = model.clone();
            let node = &mut graph(&mut model).node[at];
            match node.input.get_mut(change) {
                Some(input) => input.push('?'),
                None => node.op_type.push('?'),
            }
            let name = &node.output[0].clone();
            assert!(replace_in(model, SET).is_err(), "{name}, change {change}");
            changed += 1;
        }
    }
    assert!(changed > 400, "{changed}");
}

#[test]
fn a_graph_that_differs_in_an_attribute_is_left_alone() {
    let models = all_small();
    let mut changed = 0;
    for (model, at, node) in nodes(&models) {
        if node.op_type == "Gemm" {
            continue;
        }
        for name in [
            "axis",
            "keepdims",
            "noop_with_empty_axes",
            "exclusive",
            "reverse",
            "start",
            "allowzero",
            "stash_type",
            "saturate",
        ] {
            let mut model = model.clone();
            let node = &mut graph(&mut model).node[at];
            node.attribute.retain(|attribute| attribute.name != name);
            node.attribute.push(AttributeProto {
                name: name.to_owned(),
                i: Some(1),
                r#type: 2,
                ..Default::default()
            });
            let output = node.output[0].clone();
            assert!(replace_in(model, SET).is_err(), "{name} of {output}");
            changed += 1;
        }
    }
    assert!(changed > 600, "{changed}");
}

#[test]
fn a_graph_that_differs_in_a_constant_is_left_alone() {
    let models = all_small();
    let mut changed = 0;
    let constants = models.iter().flat_map(|model| {
        let constants = model.graph.as_ref().unwrap().initializer.iter().enumerate();
        constants.map(move |(at, constant)| (model, at, constant.name.clone()))
    });
    for (model, at, name) in constants {
        // ONNX Runtime computes the embeddings and the classifier.
        if !["bert.encoder.", "packed.", "mask", "shape.", "bias."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || name == "mask.axes"
        {
            continue;
        }
        for change in 0..5 {
            let mut model = model.clone();
            let constant = &mut graph(&mut model).initializer[at];
            match change {
                0 => constant.dims.push(2),
                1 => constant.data_type = 11,
                2 => constant.raw_data.truncate(constant.raw_data.len() - 1),
                3 => constant.dims = vec![i64::MAX; 2],
                _ => constant.dims.push(-1),
            }
            let message = replace_in(model, SET)
                .err()
                .unwrap_or_else(|| panic!("{name}, change {change}"));
            // The number of heads is derived from some of them.
            let is_named = message.to_string().contains(&name)
                || name.starts_with("packed")
                || name.starts_with("bias")
                || name == "mask.one"
                || name == "mask.value";
            assert!(is_named, "{name}: {message}");
            changed += 1;
        }
    }
    assert!(changed > 200, "{changed}");
}

/// The message for a changed graph with position biases.
fn refused_with_biases(change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = seed("mpnet");
    change(&mut model);
    replace_in(model, SET).err().expect("a changed graph").to_string()
}

#[test]
fn biases_of_other_distances_or_layers_are_refused() {
    let integer = |name: &'static str, value: i64| {
        refused_with_biases(|model| constant(model, name).raw_data = value.to_le_bytes().to_vec())
    };
    for (name, value) in [
        ("bias.longest", 127),
        ("bias.first_row", 1),
        ("bias.last_row", 255),
        ("bias.one", 2),
        ("bias.axis_1", 2),
    ] {
        let message = integer(name, value);
        assert!(message.contains("`bias.masked`"), "{name}: {message}");
    }
    let message = refused_with_biases(|model| {
        let order = &mut node(model, "bias.of_heads").attribute[0];
        order.ints = vec![3, 0, 2, 1];
    });
    assert!(message.contains("`bias.masked`"), "{message}");
    let message = refused_with_biases(|model| {
        node(model, "bert.encoder.layer.1.attention.self.masked").input[1] = "mask".to_owned();
    });
    assert!(
        message.contains("`mask` is not the bias of scores in the first layer"),
        "{message}"
    );
    for value in [f32::NAN, 1e31] {
        let message = refused_with_biases(|model| {
            constant(model, "bias.table").raw_data[..4].copy_from_slice(&value.to_le_bytes());
        });
        assert!(message.contains("position bias"), "{message}");
    }
    let message = refused_with_biases(|model| {
        let table = constant(model, "bias.table");
        table.dims[0] -= 1;
        table.raw_data.truncate(4 * table.dims[0] as usize);
    });
    assert!(message.contains("bias"), "{message}");
}

#[test]
fn numbers_that_no_kernel_computes_are_refused_by_name() {
    let query = format!("{LAYER}attention.self.query");
    let floats = |value: f32, count: usize| value.to_le_bytes().repeat(count);
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
        let name = format!("{LAYER}intermediate.dense");
        let message = refused(|model| {
            let scales = constant(model, &format!("{name}.weight.scales"));
            scales.raw_data = match scale {
                // A column may have steps so small, an input not, as it is divided by them.
                1e-45 => {
                    return constant(model, &format!("{LAYER}attention.output.LayerNorm.scale")).raw_data =
                        floats(scale, 1);
                }
                _ => floats(scale, scales.raw_data.len() / 4),
            };
        });
        assert!(
            message.contains(&name) && message.contains("scale"),
            "{scale}: {message}"
        );
    }
    let message = refused(|model| constant(model, &format!("{query}.weight")).raw_data[7] = 65);
    assert!(message.contains(&query) && message.contains("65"), "{message}");
    let message = refused(|model| constant(model, &format!("{query}.weight")).raw_data[7] = 0x80);
    assert!(message.contains(&query) && message.contains("-128"), "{message}");
    let message = refused(|model| constant(model, &format!("{query}.weight.zeros")).raw_data[3] = 1);
    assert!(message.contains(&format!("{query}.weight.zeros")), "{message}");
    for epsilon in [f32::NAN, f32::INFINITY, -1e-12] {
        let norm = format!("{LAYER}attention.output.LayerNorm");
        let message = refused(|model| {
            for attribute in node(model, &norm)
                .attribute
                .iter_mut()
                .filter(|a| a.name == "epsilon")
            {
                attribute.f = Some(epsilon);
            }
        });
        assert!(message.contains(&norm), "{message}");
    }
}

#[test]
fn a_head_of_another_size_is_named() {
    let message = refused(|model| {
        let parts = constant(model, "shape.parts");
        parts.raw_data = [-1i64, 16].iter().flat_map(|x| x.to_le_bytes()).collect();
    });
    assert!(message.contains("32 dimensions in 2 heads"), "{message}");
}

/// The names of the weights of layer 1 and of layer 0, by turns: what the first of each pair is replaced by if layers share them.
fn weights_of_layer_1(model: &ModelProto) -> Vec<[String; 2]> {
    let constants = model.graph.as_ref().unwrap().initializer.iter();
    let of_layer = constants.filter(|constant| constant.name.starts_with("bert.encoder.layer.1."));
    let names = of_layer.map(|constant| constant.name.clone());
    // Biases of products and quantizations are a layer's own; normalizations have no others.
    let shared = names.filter(|name| {
        let is_norm = name.contains("LayerNorm.weight") || name.contains("LayerNorm.bias");
        is_norm || name.contains(".weight")
    });
    shared
        .map(|name| [name.clone(), name.replace(".layer.1.", ".layer.0.")])
        .collect()
}

#[test]
fn layers_may_share_their_weights() {
    let (mut shared, mut copied) = (small(), small());
    let pairs = weights_of_layer_1(&shared);
    assert_eq!(pairs.len(), 6 * 3 + 2 * 2, "{pairs:?}");
    for [own, first] in &pairs {
        let data = constant(&mut copied, first).raw_data.clone();
        constant(&mut copied, own).raw_data = data;
        for node in &mut graph(&mut shared).node {
            let inputs = node.input.iter_mut().filter(|input| *input == own);
            inputs.for_each(|input| *input = first.clone());
        }
        graph(&mut shared)
            .initializer
            .retain(|constant| constant.name != *own);
    }
    let encoder = |model| format!("{:?}", replace_in(model, SET).unwrap().encoder);
    assert_eq!(encoder(shared.clone()), encoder(copied));
    let bias = format!("{LAYER}output.dense.bias");
    node(&mut shared, "bert.encoder.layer.1.output.dense").input[6] = bias.clone();
    let message = replace_in(shared, SET).err().unwrap().to_string();
    assert!(message.contains(&bias), "{message}");
}

#[test]
fn embeddings_may_be_projected() {
    let projected = |attribute: Vec<AttributeProto>| {
        let mut model = small();
        let states = "bert.embeddings.LayerNorm";
        node(&mut model, states).output[0] = "normalized".to_owned();
        let at = graph(&mut model)
            .node
            .iter()
            .position(|node| node.output[0] == "normalized");
        let project = NodeProto {
            input: ["normalized", "project.weight", "project.bias"]
                .map(str::to_owned)
                .to_vec(),
            output: vec![states.to_owned()],
            op_type: "Gemm".to_owned(),
            attribute,
            ..NodeProto::default()
        };
        graph(&mut model).node.insert(at.unwrap() + 1, project);
        for (name, dims) in [("project.weight", vec![32, 32]), ("project.bias", vec![32])] {
            graph(&mut model).initializer.push(TensorProto {
                raw_data: vec![0; 4 * dims.iter().product::<i64>() as usize],
                dims,
                data_type: 1,
                name: name.to_owned(),
            });
        }
        replace_in(model, SET)
    };
    let replaced = ModelProto::decode(projected(Vec::new()).unwrap().model.as_slice()).unwrap();
    let nodes = replaced.graph.unwrap().node;
    let at = nodes.iter().position(|node| node.op_type == OPERATOR).unwrap();
    assert_eq!(
        (nodes[at].input[0].as_str(), nodes[at - 1].op_type.as_str()),
        ("bert.embeddings.LayerNorm", "Gemm")
    );
    let transposed = AttributeProto {
        name: "transA".to_owned(),
        i: Some(1),
        r#type: 2,
        ..Default::default()
    };
    let message = projected(vec![transposed]).err().unwrap().to_string();
    assert!(message.contains("embeddings of the real tokens"), "{message}");
}

/// Otherwise a small file could describe an encoder of any size.
#[test]
fn layers_share_no_part_of_their_weights() {
    let shared = format!("{LAYER}output.dense.weight");
    let message = refused(|model| {
        node(model, "bert.encoder.layer.1.output.dense").input[3] = shared.clone();
    });
    assert!(message.contains(&shared), "{message}");
}

#[test]
fn names_are_unique_and_values_computed_before_they_are_read() {
    let message = refused(|model| {
        let copy = graph(model).initializer[0].clone();
        graph(model).initializer.push(copy);
    });
    assert!(message.contains("two values"), "{message}");
    // A second output could otherwise stand for an input of the graph.
    let message = refused(|model| {
        let last = graph(model).node.len() - 1;
        graph(model).node[last].output.push("attention_mask".to_owned());
    });
    assert!(message.contains("`attention_mask`"), "{message}");
    let message = refused(|model| {
        let first = graph(model).node[0].output[0].clone();
        graph(model).node[0].input[0] = first;
    });
    assert!(message.contains("before it is computed"), "{message}");
}

#[test]
fn what_is_read_outside_the_encoder_is_not_replaced() {
    let inside = format!("{LAYER}attention.self.query");
    let message = refused(|model| graph(model).node.last_mut().unwrap().input[0] = inside.clone());
    assert!(message.contains(&inside), "{message}");
    let message = refused(|model| {
        let mut output = graph(model).output[0].clone();
        output.name = inside.clone();
        graph(model).output.push(output);
    });
    assert!(message.contains(&inside), "{message}");
}

#[test]
fn a_file_that_the_schema_does_not_hold_whole_is_left_alone() {
    let mut bytes = small().encode_to_vec();
    assert!(replace_encoder(bytes.clone(), SET).is_ok());
    // `doc_string`, which the schema lacks.
    bytes.extend([0x32, 1, b'x']);
    assert!(matches!(
        replace_encoder(bytes, SET),
        Err(UnfitGraph::ForeignFields)
    ));
    for (domain, version) in [("", 13), ("com.microsoft", 2), (DOMAIN, 1)] {
        let message = refused(|model| {
            model.opset_import.push(OperatorSetIdProto {
                domain: domain.to_owned(),
                version,
            });
        });
        assert!(message.contains(&format!("version {version}")), "{message}");
    }
}

/// An extent of 0 lets a matrix without elements have any other extent.
#[test]
fn a_matrix_without_elements_allocates_nothing() {
    let query = format!("{LAYER}attention.self.query.weight");
    let inner = format!("{LAYER}intermediate.dense.weight");
    for (name, dims) in [(&query, [1 << 50, 0]), (&query, [32, 1]), (&inner, [0, 1 << 50])] {
        let message = refused(|model| {
            let constant = constant(model, name);
            constant.dims = dims.to_vec();
            constant.raw_data.truncate(dims.iter().product::<i64>() as usize);
        });
        assert!(message.contains(name), "{message}");
    }
}

/// ONNX Runtime takes 0 where a value is missing, and the operator's default where the attribute is missing.
#[test]
fn an_attribute_has_a_value_of_its_type() {
    let norm = format!("{LAYER}attention.output.LayerNorm");
    let changes: [fn(&mut Vec<AttributeProto>); 2] = [
        |attributes| attributes.iter_mut().for_each(|attribute| attribute.f = None),
        |attributes| attributes.iter_mut().for_each(|attribute| attribute.r#type = 4),
    ];
    for change in changes {
        let message = refused(|model| change(&mut node(model, &norm).attribute));
        assert!(message.contains(&norm), "{message}");
    }
}

#[test]
fn a_node_has_no_further_input() {
    let models = all_small();
    for (model, at, changed) in nodes(&models).filter(|(_, _, node)| node.op_type != "Gemm") {
        let mut model = model.clone();
        let extra = graph(&mut model).node[0].input[0].clone();
        graph(&mut model).node[at].input.push(extra);
        assert!(replace_in(model, SET).is_err(), "{}", changed.output[0]);
    }
}

/// A list of one number is longer by a byte if it is packed, which makes up for a byte of a foreign field.
#[test]
fn a_file_of_the_same_length_with_other_fields_is_left_alone() {
    let extents = [0x2a, 2, 0x08, 5];
    let mut bytes = vec![0x3a, 8];
    bytes.extend(extents.repeat(2));
    bytes.extend([0x78, 1]);
    let decoded = ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!(decoded.encoded_len(), bytes.len());
    assert!(matches!(
        replace_encoder(bytes, SET),
        Err(UnfitGraph::ForeignFields)
    ));
}

#[test]
fn what_is_no_int8_graph_has_a_reason() {
    assert!(matches!(
        replace_encoder(b"no graph".to_vec(), SET),
        Err(UnfitGraph::NotOnnx)
    ));
    let message = refused(|model| {
        graph(model)
            .node
            .retain(|node| node.op_type != "QuantizeLinear" && node.op_type == "Shape");
    });
    assert!(message.contains("before it is computed"), "{message}");
    let mut model = small();
    for node in &mut graph(&mut model).node {
        if node.op_type == "QuantizeLinear" {
            node.op_type = "Identity".to_owned();
        }
    }
    assert!(matches!(replace_in(model, SET), Err(UnfitGraph::NotQuantized)));
}
