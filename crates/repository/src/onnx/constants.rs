//! Constants of the graphs that Nerve writes.

/// The version of the standard operator set: the first with `Gelu`.
pub const OPSET: i64 = 20;
/// The domain of ONNX Runtime's own operators.
pub const CONTRIB: &str = "com.microsoft";
/// The optional input that selects the tokens whose logits a run yields: int64, `[tokens]`, each
/// `sequence * length + position` in the batch.
pub const SELECTION: &str = "logits_indices";
