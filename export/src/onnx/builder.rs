//! Builds an ONNX model node by node.

use std::collections::{BTreeMap, BTreeSet};

use half::f16;
use prost::Message;

use nerve_repository::onnx::proto::{
    AttributeProto, DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use nerve_repository::onnx::{CONTRIB, OPSET};

const IR_VERSION: i64 = 9;

/// An element type, with its number in `TensorProto.DataType`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    I32 = 6,
    I64 = 7,
    F16 = 10,
}

/// The value of a node attribute.
pub(crate) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
}

/// An axis of a graph input or output.
pub(crate) enum Axis<'a> {
    Dynamic(&'a str),
    Fixed(usize),
}

/// Collects nodes and weights. Every method that adds a value returns its name.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    graph: GraphProto,
    operators: BTreeSet<String>,
    /// The indices of the constants by their names.
    constants: BTreeMap<String, usize>,
}

impl GraphBuilder {
    /// Adds an operator of the standard domain whose one output is called `output`.
    pub(crate) fn op(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        output: &str,
    ) -> String {
        self.node("", op, inputs, attributes, output)
    }

    /// Adds an operator of ONNX Runtime's domain whose one output is called `output`.
    pub(crate) fn contrib(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        output: &str,
    ) -> String {
        self.node(CONTRIB, op, inputs, attributes, output)
    }

    fn node(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        output: &str,
    ) -> String {
        self.operators.insert(if domain.is_empty() {
            op.to_owned()
        } else {
            format!("{domain}.{op}")
        });
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes
                .iter()
                .map(|(name, value)| attribute(name, value))
                .collect(),
            domain: domain.to_owned(),
        });
        output.to_owned()
    }

    /// Adds an f32 constant.
    pub(crate) fn f32s(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        self.constant(
            name,
            shape,
            Element::F32,
            data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        )
    }

    /// Adds an f16 constant, rounded from these numbers.
    pub(crate) fn f16s(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        self.constant(
            name,
            shape,
            Element::F16,
            data.iter()
                .flat_map(|&x| f16::from_f32(x).to_le_bytes())
                .collect(),
        )
    }

    /// Adds an i64 vector constant.
    pub(crate) fn i64s(&mut self, name: &str, data: &[i64]) -> String {
        self.constant(
            name,
            &[data.len()],
            Element::I64,
            data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        )
    }

    /// Adds an i64 scalar constant.
    pub(crate) fn i64_scalar(&mut self, name: &str, value: i64) -> String {
        self.constant(name, &[], Element::I64, value.to_le_bytes().to_vec())
    }

    /// Adds an i32 constant.
    pub(crate) fn i32s(&mut self, name: &str, shape: &[usize], data: &[i32]) -> String {
        self.constant(
            name,
            shape,
            Element::I32,
            data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        )
    }

    /// Adds an i8 constant.
    pub(crate) fn i8s(&mut self, name: &str, shape: &[usize], data: &[i8]) -> String {
        self.constant(
            name,
            shape,
            Element::I8,
            data.iter().map(|x| x.to_le_bytes()[0]).collect(),
        )
    }

    /// Adds a u8 scalar constant.
    pub(crate) fn u8_scalar(&mut self, name: &str, value: u8) -> String {
        self.constant(name, &[], Element::U8, vec![value])
    }

    /// Adds a constant, unless there is the same one of this name, as in parts that share weights. ONNX Runtime refuses a graph in which
    /// others have one name.
    fn constant(&mut self, name: &str, shape: &[usize], element: Element, raw_data: Vec<u8>) -> String {
        let added = self
            .constants
            .get(name)
            .and_then(|&at| self.graph.initializer.get(at));
        if added.is_some_and(|added| added.data_type == element as i32 && added.raw_data == raw_data) {
            return name.to_owned();
        }
        self.constants
            .insert(name.to_owned(), self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&extent| extent as i64).collect(),
            data_type: element as i32,
            name: name.to_owned(),
            raw_data,
        });
        name.to_owned()
    }

    /// Declares a graph input.
    pub(crate) fn input(&mut self, name: &str, element: Element, shape: &[Axis]) -> String {
        self.graph.input.push(value_info(name, element, shape));
        name.to_owned()
    }

    /// Declares a graph output.
    pub(crate) fn output(&mut self, name: &str, element: Element, shape: &[Axis]) {
        self.graph.output.push(value_info(name, element, shape));
    }

    /// The operators used so far; those of another domain are prefixed with its name.
    pub(crate) fn operators(&self) -> Vec<String> {
        self.operators.iter().cloned().collect()
    }

    /// The finished model as protobuf bytes.
    pub(crate) fn finish(mut self, name: &str) -> Vec<u8> {
        self.graph.name = name.to_owned();
        let contrib = self.graph.node.iter().any(|node| node.domain == CONTRIB);
        let mut opset_import = vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }];
        if contrib {
            opset_import.push(OperatorSetIdProto {
                domain: CONTRIB.to_owned(),
                version: 1,
            });
        }
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import,
        }
        .encode_to_vec()
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    const FLOAT: i32 = 1;
    const INT: i32 = 2;
    const STRING: i32 = 3;
    const INTS: i32 = 7;
    let mut proto = AttributeProto {
        name: name.to_owned(),
        ..AttributeProto::default()
    };
    match *value {
        Attribute::Float(f) => (proto.f, proto.r#type) = (Some(f), FLOAT),
        Attribute::Int(i) => (proto.i, proto.r#type) = (Some(i), INT),
        Attribute::Text(s) => (proto.s, proto.r#type) = (Some(s.as_bytes().to_vec()), STRING),
        Attribute::Ints(ints) => (proto.ints, proto.r#type) = (ints.to_vec(), INTS),
    }
    proto
}

fn value_info(name: &str, element: Element, shape: &[Axis]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|axis| DimensionProto {
            value: Some(match axis {
                Axis::Dynamic(name) => DimensionValue::Param((*name).to_owned()),
                Axis::Fixed(extent) => DimensionValue::Value(*extent as i64),
            }),
        })
        .collect();
    let tensor_type = TensorTypeProto {
        elem_type: element as i32,
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor_type),
        }),
    }
}
