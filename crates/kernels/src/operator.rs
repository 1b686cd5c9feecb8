//! The encoder as an operator of ONNX Runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use crate::arena::Arena;
use crate::encoder::{Encoder, Sequences};
use crate::threads::SessionThreads;

/// The domain of the operator.
pub const DOMAIN: &str = "ai.nerve";
/// The operator's name.
pub const OPERATOR: &str = "Encoder";

/// The domain with the operator [`OPERATOR`], which runs this encoder in a session of so many threads.
///
/// Inputs: the first hidden states of the real tokens, f32 `[tokens, hidden]`; the attention mask, int64 `[batch, length]`, 1 for real
/// tokens; and the ascending numbers of the wanted tokens among the real ones, int64 `[selected]`. Output: their last hidden states, f32
/// `[selected, hidden]`.
pub fn operator_domain(encoder: Arc<Encoder>, threads: usize) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?.add(EncoderOperator {
        encoder,
        threads: threads.max(1),
    })
}

struct EncoderOperator {
    encoder: Arc<Encoder>,
    threads: usize,
}

impl Operator for EncoderOperator {
    type Kernel<'attr> = EncoderKernel;

    fn name(&self) -> &str {
        OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            TensorElementType::Float32,
            TensorElementType::Int64,
            TensorElementType::Int64,
        ]
        .map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> ort::Result<EncoderKernel> {
        Ok(EncoderKernel {
            encoder: Arc::clone(&self.encoder),
            threads: self.threads,
            arena: Arena::default(),
            lengths: Vec::new(),
            selected: Vec::new(),
        })
    }
}

/// The operator in one session, with the buffers of its runs.
struct EncoderKernel {
    encoder: Arc<Encoder>,
    threads: usize,
    arena: Arena,
    lengths: Vec<usize>,
    selected: Vec<usize>,
}

impl Kernel for EncoderKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // A panic must not pass through ONNX Runtime.
        let result = catch_unwind(AssertUnwindSafe(|| self.run(context)));
        result.unwrap_or_else(|_| Err(ort::Error::new("the encoder panicked")))
    }
}

impl EncoderKernel {
    fn run(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("an input of the encoder is missing");
        let states = context.input(0)?.ok_or_else(missing)?;
        let (_, states) = states.try_extract_tensor::<f32>()?;
        let mask = context.input(1)?.ok_or_else(missing)?;
        let (shape, mask) = mask.try_extract_tensor::<i64>()?;
        let selected = context.input(2)?.ok_or_else(missing)?;
        let (_, selected) = selected.try_extract_tensor::<i64>()?;
        let length = shape
            .last()
            .and_then(|&length| usize::try_from(length).ok())
            .unwrap_or(0);
        self.lengths.clear();
        self.lengths.extend(
            mask.chunks_exact(length.max(1))
                .map(|row| row.iter().filter(|&&real| real != 0).count()),
        );
        self.selected.clear();
        // A negative number fails the check of the selection.
        self.selected.extend(
            selected
                .iter()
                .map(|&token| usize::try_from(token).unwrap_or(usize::MAX)),
        );
        let sequences = Sequences {
            lengths: &self.lengths,
            selected: &self.selected,
        };
        let shape = [self.selected.len(), self.encoder.shape().hidden];
        let output = context.output(0, shape)?;
        let mut output = output.ok_or_else(|| ort::Error::new("the output of the encoder is missing"))?;
        let (_, outputs) = output.try_extract_tensor_mut::<f32>()?;
        let threads = SessionThreads {
            context,
            count: self.threads,
        };
        let result = self
            .encoder
            .run_on(&threads, states, sequences, &mut self.arena, outputs);
        result.map_err(|error| ort::Error::new(error.to_string()))
    }
}
