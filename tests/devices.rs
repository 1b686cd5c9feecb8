//! Devices: bundles for CPUs and for GPUs, and devices that are unavailable.

use nerve_inference::{Device, Model, Runtime, SessionError, SessionOptions};
use nerve_repository::Manifest;

use crate::fixture::{binary, fail, tiny};
use crate::server::Server;

/// The error of opening a session of a bundle on CUDA.
fn refusal(precision: &str) -> SessionError {
    let model = Model::open(&tiny().bundle(precision)).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let on_cuda = SessionOptions {
        device: Device::Cuda(0),
        ..SessionOptions::default()
    };
    model
        .session(&runtime, &on_cuda)
        .err()
        .expect("the library does not support CUDA")
}

#[test]
fn a_bundle_for_processors_is_refused_by_other_devices_with_what_to_do() {
    for (precision, operator) in [("int8", "com.microsoft.QGemm"), ("fp32", "Shape")] {
        let refused = refusal(precision);
        assert!(
            matches!(&refused, SessionError::ProcessorGraph { operator: found, .. } if found == operator),
            "{refused}"
        );
        assert!(refused.to_string().contains("--precision fp16"), "{refused}");
    }
}

#[test]
fn a_library_without_cuda_is_named() {
    let refused = refusal("fp16");
    assert!(matches!(refused, SessionError::NoCuda { .. }), "{refused}");
    let said = fail(
        binary("nerve-server")
            .args(["--listen", "127.0.0.1:0", "--device", "cuda:0", "--model"])
            .arg(tiny().bundle("fp16")),
    );
    assert!(said.contains("has no CUDA execution provider"), "{said}");
}

/// ONNX Runtime places operators that compute shapes on the CPU, which sessions for a GPU refuse.
#[test]
fn the_fp16_graph_computes_no_shape() {
    let manifest = Manifest::read(&tiny().bundle("fp16")).unwrap();
    for operator in ["Shape", "Size", "ConstantOfShape", "Range", "com.microsoft.QGemm"] {
        assert!(
            !manifest.graph.operators.iter().any(|found| found == operator),
            "{operator}"
        );
    }
}

#[test]
fn auto_takes_the_processor_where_there_is_nothing_else_and_says_so() {
    let server = Server::start(&tiny().bundle("fp16"), &["--device", "auto"]);
    let info = server.get("/info").body;
    assert_eq!(info["device"], "cpu", "{info}");
}
