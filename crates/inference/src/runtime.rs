//! ONNX Runtime: the shared library and the devices on which it runs.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use thiserror::Error;

use crate::device::Device;

/// Why ONNX Runtime cannot be used.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No library is specified, and none is in the default locations.
    #[error(
        "no ONNX Runtime library found; name one with --onnxruntime or ORT_DYLIB_PATH, or download one to .onnxruntime/ with `make onnxruntime`"
    )]
    NotFound,
    /// The library cannot be loaded or is too old.
    #[error("cannot open ONNX Runtime: {reason}")]
    Open {
        /// The error of the loader.
        reason: String,
    },
    /// The process has already loaded another library; it can load only one.
    #[error("ONNX Runtime is already loaded from {}; this process cannot load {} too", open.display(), requested.display())]
    AlreadyLoaded {
        /// The loaded library.
        open: PathBuf,
        /// The library requested.
        requested: PathBuf,
    },
}

/// The device and threads of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// The device. If it is not available, opening the session is an error; no other device is used instead.
    pub device: Device,
    /// The number of threads in one operator. Several sessions with one thread each have a higher throughput than one
    /// session with several threads.
    pub intra_threads: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            intra_threads: 1,
        }
    }
}

/// The ONNX Runtime of this process.
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

static OPEN: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

impl Runtime {
    /// Loads `library`, or else the library named by `ORT_DYLIB_PATH`, or else the one in the nearest `.onnxruntime/`
    /// above the executable.
    ///
    /// A process loads one library. Later calls return the same one; a call for another library is an error.
    pub fn load(library: Option<&Path>) -> Result<Arc<Self>, RuntimeError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let requested = library.map(Path::to_owned);
        match (&*open, requested) {
            (Some(runtime), Some(requested)) if runtime.library != requested => {
                Err(RuntimeError::AlreadyLoaded {
                    open: runtime.library.clone(),
                    requested,
                })
            }
            (Some(runtime), _) => Ok(runtime.clone()),
            (None, requested) => {
                let path = requested.or_else(default_library).ok_or(RuntimeError::NotFound)?;
                let reason = |error: &dyn std::fmt::Display| RuntimeError::Open {
                    reason: error.to_string(),
                };
                let environment = ort::init_from(&path)
                    .map_err(|error| reason(&error))?
                    .with_name("nerve")
                    .build()
                    .map_err(|error| reason(&error))?;
                environment.set_log_level(ort::logging::LogLevel::Error);
                let runtime = Arc::new(Self {
                    environment,
                    library: path,
                });
                *open = Some(runtime.clone());
                Ok(runtime)
            }
        }
    }

    /// Whether the library was built with CUDA. Whether a device, its driver and its libraries are available is known
    /// only when a session is opened.
    pub fn has_cuda(&self) -> bool {
        ep::CUDA::is_available().unwrap_or(false)
    }

    /// The path of the library.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// A builder for sessions with these options.
    pub(crate) fn builder(&self, options: &SessionOptions) -> ort::Result<SessionBuilder> {
        let builder = ort::session::Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(options.intra_threads)?
            .with_inter_threads(1)?
            // Batches have different shapes, and ONNX Runtime would keep a memory pattern for each shape.
            .with_memory_pattern(false)?;
        let builder = match options.intra_threads {
            1 => builder,
            // Threads spin while they wait for the next operator and sleep while they wait for the next run.
            _ => builder.with_config_entry("session.force_spinning_stop", "1")?,
        };
        Ok(match options.device {
            Device::Cpu => {
                let provider = ep::CPU::default().with_arena_allocator(true).build();
                builder.with_execution_providers([provider])?
            }
            Device::Cuda(index) => {
                let provider = ep::CUDA::default()
                    .with_device_id(index)
                    .build()
                    .error_on_failure();
                builder
                    .with_execution_providers([provider])?
                    .with_disable_cpu_fallback()?
            }
        })
    }
}

fn default_library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let executable = std::env::current_exe().ok()?;
    let name = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    executable
        .ancestors()
        .map(|dir| dir.join(".onnxruntime").join(&name))
        .find(|path| path.exists())
}
