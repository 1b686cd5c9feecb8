//! Which files of a model are fetched.

/// What is wanted of a model. `config.json`, the tokenizer's files and `tokenizer_config.json` always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files<'a> {
    /// `config.json` and how the model reads text.
    Tokenizer,
    /// A checkpoint: the same and the weights, `model.safetensors` or its shards.
    Checkpoint,
    /// A prebuilt graph: the same and this ONNX file of the repository, such as `onnx/model.onnx`, with its external data.
    Onnx(&'a str),
}
