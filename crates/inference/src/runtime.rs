//! ONNX Runtime, opened from its shared library.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use thiserror::Error;

/// Why ONNX Runtime cannot be used.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No library was named, and none lies where it is looked for.
    #[error(
        "no ONNX Runtime library: name it with --onnxruntime or ORT_DYLIB_PATH, or run `make onnxruntime`, which puts one into .onnxruntime/"
    )]
    NotFound,
    /// The library cannot be opened or is too old.
    #[error("cannot open ONNX Runtime: {reason}")]
    Open {
        /// What the loader said.
        reason: String,
    },
    /// Another library is open already; a process has one.
    #[error("ONNX Runtime is already open from {}, not {}", open.display(), asked.display())]
    Another {
        /// The library in use.
        open: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
}

/// Where a session computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device of this index.
    Cuda(i32),
}

/// A device name that is not `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a device: cpu, cuda or cuda:N")]
pub struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name.split_once(':') {
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => index
                .parse()
                .ok()
                .filter(|index| *index >= 0)
                .map(Self::Cuda)
                .ok_or_else(|| DeviceError(name.to_owned())),
            _ => Err(DeviceError(name.to_owned())),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// How a session computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// The device; one that is asked for and absent is an error, never another device.
    pub device: Device,
    /// Threads inside one operator. Several sessions of one thread each answer more texts than one of several.
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

/// The process's ONNX Runtime.
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

static OPEN: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

impl Runtime {
    /// The ONNX Runtime of `library`, else of `ORT_DYLIB_PATH`, else of the `.onnxruntime/` nearest above the executable.
    ///
    /// A process opens one library; asking again yields the same, asking for another is an error.
    pub fn load(library: Option<&Path>) -> Result<Arc<Self>, RuntimeError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = library.map(Path::to_owned);
        match (&*open, asked) {
            (Some(runtime), Some(asked)) if runtime.library != asked => Err(RuntimeError::Another {
                open: runtime.library.clone(),
                asked,
            }),
            (Some(runtime), _) => Ok(runtime.clone()),
            (None, asked) => {
                let path = asked.or_else(default_library).ok_or(RuntimeError::NotFound)?;
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

    /// Whether the library was built with CUDA; whether a device, its driver and the libraries it needs are there is not
    /// known before a session is opened.
    pub fn has_cuda(&self) -> bool {
        // Asked of the library that `load` opened.
        ep::CUDA::is_available().unwrap_or(false)
    }

    /// The library that is open.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// A builder of sessions with these options.
    pub(crate) fn builder(&self, options: &SessionOptions) -> ort::Result<SessionBuilder> {
        let builder = ort::session::Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(options.intra_threads)?
            .with_inter_threads(1)?
            // Every batch has another shape: a memory pattern would be planned anew for each and never freed.
            .with_memory_pattern(false)?;
        let builder = match options.intra_threads {
            1 => builder,
            // Threads wait for the next operator by spinning, and for the next run asleep.
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
    executable
        .ancestors()
        .map(|dir| dir.join(".onnxruntime/libonnxruntime.so"))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names() {
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        assert_eq!("cuda:3".parse::<Device>().unwrap().to_string(), "cuda:3");
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cpu:0"] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
