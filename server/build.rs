//! Generates the gRPC code from `proto/inference.proto`, without the program `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

const PROTO: &str = "proto/inference.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    write_descriptors(&out.join("inference.bin"), &descriptors)?;
    tonic_prost_build::configure()
        .codec_path("crate::grpc::codec::BoundedCodec")
        // The client is for the tests.
        .client_mod_attribute(".", "#[cfg(test)]")
        .boxed(".inference.ModelInferRequest.InferInputTensor.contents")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Writes the description of the service that reflection answers with.
fn write_descriptors(
    path: &Path,
    descriptors: &tonic_prost_build::FileDescriptorSet,
) -> Result<(), Box<dyn Error>> {
    use protox::prost::Message;

    std::fs::write(path, descriptors.encode_to_vec())?;
    Ok(())
}
