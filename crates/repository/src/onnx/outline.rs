//! The graph of an ONNX file without its weights: inputs, outputs, operators.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::proto::ValueInfoProto;

/// An ONNX model without its weights, which are skipped, so that memory grows with the graph and not with the file.
#[derive(Clone, PartialEq, Message)]
pub struct Outline {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphOutline>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphOutline {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeOutline>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorOutline>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionOutline {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeOutline {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeOutline {
    #[prost(message, optional, tag = "6")]
    g: Option<GraphOutline>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorOutline {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<EntryOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryOutline {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Outline {
    /// The outline of the bytes of a model file; an error message if they are not an ONNX model.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let outline = Self::decode(bytes).map_err(|error| error.to_string())?;
        match outline.graph {
            Some(_) => Ok(outline),
            None => Err("it holds no graph".to_owned()),
        }
    }

    /// The inputs that a run must be given: without those that declare the type of a weight.
    pub fn inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        let weights: BTreeSet<&str> = self.weights().map(|weight| weight.name.as_str()).collect();
        let inputs = self.graph.iter().flat_map(|graph| &graph.input);
        inputs.filter(move |input| !weights.contains(input.name.as_str()))
    }

    /// The outputs of a run.
    pub fn outputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        self.graph.iter().flat_map(|graph| &graph.output)
    }

    /// The names of all operators, including those of subgraphs and functions.
    pub fn operators(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut nodes: Vec<&NodeOutline> = Vec::new();
        nodes.extend(self.graph.iter().flat_map(|graph| &graph.node));
        nodes.extend(self.functions.iter().flat_map(|function| &function.node));
        while let Some(node) = nodes.pop() {
            found.insert(node.op_type.as_str());
            let subgraphs = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
            nodes.extend(subgraphs.flat_map(|graph| &graph.node));
        }
        found
    }

    /// The further files that hold weights.
    pub fn external_files(&self) -> BTreeSet<&str> {
        let entries = self.weights().flat_map(|weight| &weight.external_data);
        let locations = entries.filter(|entry| entry.key == "location");
        locations.map(|entry| entry.value.as_str()).collect()
    }

    /// The element types of the weights, by their numbers in `TensorProto.DataType`.
    pub fn weight_types(&self) -> BTreeSet<i32> {
        self.weights().map(|weight| weight.data_type).collect()
    }

    /// The rows of the embedding table that the input `ids` indexes; `None` if the graph does not show it.
    pub fn table_rows(&self, ids: &str) -> Option<usize> {
        let graph = self.graph.as_ref()?;
        let weights: BTreeMap<&str, &TensorOutline> = self.weights().map(|w| (w.name.as_str(), w)).collect();
        // Values that equal the ids, or a weight, apart from their element type.
        let mut same: BTreeMap<&str, &str> = BTreeMap::new();
        let mut rows = None;
        for node in &graph.node {
            let input = |at: usize| -> Option<&str> {
                let name = node.input.get(at)?.as_str();
                Some(same.get(name).copied().unwrap_or(name))
            };
            let looked_up = match node.op_type.as_str() {
                "Cast" | "Identity" | "DequantizeLinear" => {
                    if let (Some(from), Some(to)) = (input(0), node.output.first()) {
                        same.insert(to, from);
                    }
                    continue;
                }
                "Gather" => input(0).zip(input(1)),
                "EmbedLayerNormalization" => input(2).zip(input(0)),
                _ => continue,
            };
            let table = looked_up.filter(|(_, by)| *by == ids).map(|(table, _)| table);
            let extent = table.and_then(|table| weights.get(table)?.dims.first().copied());
            let found = extent.and_then(|extent| usize::try_from(extent).ok());
            rows = rows.into_iter().chain(found).min();
        }
        rows
    }

    fn weights(&self) -> impl Iterator<Item = &TensorOutline> {
        self.graph.iter().flat_map(|graph| &graph.initializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, input: &[&str], output: &str) -> NodeOutline {
        NodeOutline {
            input: input.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            op_type: op_type.to_owned(),
            attribute: Vec::new(),
        }
    }

    fn weight(name: &str, rows: i64) -> TensorOutline {
        TensorOutline {
            name: name.to_owned(),
            dims: vec![rows, 8],
            ..TensorOutline::default()
        }
    }

    fn outline(node: Vec<NodeOutline>) -> Outline {
        let graph = GraphOutline {
            node,
            initializer: vec![weight("words", 40), weight("positions", 20)],
            ..GraphOutline::default()
        };
        let written = Outline {
            graph: Some(graph),
            functions: Vec::new(),
        };
        Outline::parse(&written.encode_to_vec()).unwrap()
    }

    #[test]
    fn the_word_table_is_the_one_looked_up_by_the_ids() {
        let positions = node("Gather", &["positions", "where"], "b");
        let plain = outline(vec![
            node("Gather", &["words", "input_ids"], "a"),
            positions.clone(),
        ]);
        assert_eq!(plain.table_rows("input_ids"), Some(40));
        let cast = outline(vec![
            positions.clone(),
            node("Cast", &["input_ids"], "ids64"),
            node("DequantizeLinear", &["words", "scale"], "floats"),
            node("Gather", &["floats", "ids64"], "a"),
        ]);
        assert_eq!(cast.table_rows("input_ids"), Some(40));
        let fused = node(
            "EmbedLayerNormalization",
            &["input_ids", "", "words", "positions"],
            "a",
        );
        assert_eq!(outline(vec![fused]).table_rows("input_ids"), Some(40));
        assert_eq!(outline(vec![positions]).table_rows("input_ids"), None);
    }

    #[test]
    fn operators_of_subgraphs_and_functions_count() {
        let mut branch = node("If", &["c"], "d");
        branch.attribute.push(AttributeOutline {
            g: Some(GraphOutline {
                node: vec![node("DynamicQuantizeLinear", &["x"], "y")],
                ..GraphOutline::default()
            }),
            graphs: Vec::new(),
        });
        let mut outline = outline(vec![branch]);
        outline.functions.push(FunctionOutline {
            node: vec![node("Gelu", &["x"], "y")],
        });
        let operators: Vec<&str> = outline.operators().into_iter().collect();
        assert_eq!(operators, ["DynamicQuantizeLinear", "Gelu", "If"]);
    }

    #[test]
    fn what_is_no_model_has_a_reason() {
        assert!(Outline::parse(b"").unwrap_err().contains("no graph"));
        assert!(Outline::parse(b"not a graph").is_err());
    }
}
