//! The `nerve-server` program.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use clap::Parser;
use nerve_server::{
    Command, Flags, Listeners, SERVING, ServeFlags, Stopped, TAGGING, TagFileError, TagFlags, healthcheck,
    openapi_json, prepare, run, start_logging, tag_file,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The exit status of a server that had unfinished work at the drain deadline.
const LATE: u8 = 3;
/// How long `tag` may take to end after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    quiet_panics();
    let flags = Flags::parse();
    let done = |()| Stopped::Drained;
    let outcome = match flags.command {
        Some(Command::Openapi) => openapi_json()
            .map(|text| println!("{text}"))
            .map(done)
            .map_err(Into::into),
        Some(Command::Tag(flags)) => tag(&flags).map(done),
        Some(Command::Healthcheck(flags)) => healthcheck(flags.listen).map(done).map_err(Into::into),
        None => serve(&flags.serve),
    };
    match outcome {
        Ok(Stopped::Drained) => ExitCode::SUCCESS,
        Ok(Stopped::Late) => {
            eprintln!("nerve-server: stopped at the drain deadline with work unfinished");
            ExitCode::from(LATE)
        }
        Err(error) => {
            // Every error of the library names its cause in its own text.
            eprintln!("nerve-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs a panic by its location only, since its message may quote a text.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // A literal message quotes nothing.
        let said = panic
            .payload()
            .downcast_ref::<&'static str>()
            .copied()
            .unwrap_or_default();
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, said, "a thread panicked");
    }));
}

fn serve(flags: &ServeFlags) -> anyhow::Result<Stopped> {
    let config = flags.config()?;
    // Dropped last, so that the end of the server is logged too.
    let _logging = start_logging(flags.log.format, SERVING, flags.otlp_endpoint.as_deref())?;
    let bind = |address: SocketAddr| {
        TcpListener::bind(address).map_err(|error| anyhow!("cannot listen on {address}: {error}"))
    };
    let listeners = Listeners {
        http: bind(flags.listen)?,
        grpc: flags.grpc_listen.map(bind).transpose()?,
    };
    let system = actix_web::rt::System::new();
    // A thread of the HTTP server may end after this one. Without a handle that outlives both, it would be the last to hold the
    // system, and wake a runtime while its own thread-local values are gone, which aborts the process.
    std::mem::forget(actix_web::rt::System::current());
    let served = system.block_on(async {
        // Registered before the model is opened, so that a signal during that time is not lost.
        let shutdown = stop_signal()?;
        Ok(run(listeners, config, shutdown).await?)
    });
    // Dropping it would wait for threads that read files, which a volume that hangs blocks forever.
    std::mem::forget(system);
    served
}

/// Completes when the process receives SIGTERM or SIGINT, and ends the process a few seconds later: a write to a full pipe, or a
/// pipe that nobody opens at its other end, blocks the thread that waits for this.
fn stop_signal_within_limit() -> anyhow::Result<impl Future<Output = ()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stop = {
        let _entered = runtime.enter();
        stop_signal()?
    };
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("nerve-stop".to_owned())
        .spawn(move || {
            runtime.block_on(stop);
            let _not_waited_for = tell.send(());
            thread::sleep(STOP_LIMIT);
            eprintln!("nerve-server: {}", TagFileError::Interrupted);
            std::process::exit(1);
        })?;
    Ok(async move {
        // The thread sends before it ends.
        let _told = told.await;
    })
}

/// Completes when the process receives SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = listen_for(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen_for(SignalKind::interrupt(), "SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn listen_for(kind: SignalKind, name: &str) -> anyhow::Result<Signal> {
    signal(kind).map_err(|error| anyhow!("cannot listen for {name}: {error}"))
}

fn tag(flags: &TagFlags) -> anyhow::Result<()> {
    let (config, work) = flags.work()?;
    let _logging = start_logging(flags.log.format, TAGGING, None)?;
    let tally = actix_web::rt::System::new().block_on(async {
        let mut interrupt = pin!(stop_signal_within_limit()?);
        let Some(config) = prepare(config, &flags.checkpoint, &mut interrupt).await? else {
            return Err(TagFileError::Interrupted.into());
        };
        Ok::<_, anyhow::Error>(tag_file(config, work, interrupt).await?)
    })?;
    anyhow::ensure!(
        tally.failed == 0,
        "{} of {} {}s failed",
        tally.failed,
        tally.texts,
        tally.unit
    );
    Ok(())
}
