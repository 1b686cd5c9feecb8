//! Faults under load: what becomes of the requests, and how soon all is well again.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::config::KeySource;

/// Clients that send one text after another while a fault happens.
const CLIENTS: usize = 8;
/// How often each fault happens.
const TIMES: usize = 20;

/// What happens to a session, or to the version that is served, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A run gives an error.
    RunError,
    /// A run gives an error, and so does every other of the same session.
    BrokenSession,
    /// A run panics, and the next session is opened.
    RunPanic,
    /// A run panics, and the next session cannot be opened at first.
    PanicThenNoSession,
    /// A run takes longer than a request may.
    Stall,
    /// Another version takes long to load.
    SlowLoad,
    /// Another version is no good.
    BadVersion,
}

/// What became of the requests that were sent while a fault happened.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

impl Tally {
    /// Whether a request is answered; counts it.
    fn ask(&self, address: SocketAddr) -> bool {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let status = ask(address);
        self.count(status);
        status == 200
    }

    fn count(&self, status: u16) {
        let outcome = match status {
            200 => &self.answered,
            429 | 503 => &self.refused,
            500 | 504 => &self.failed,
            _ => &self.lost,
        };
        outcome.fetch_add(1, Ordering::SeqCst);
    }
}

/// The status of a request, 0 where no whole answer comes.
fn ask(address: SocketAddr) -> u16 {
    let body = "{\"text\": \"paul met paul in paris\"}";
    let request = format!(
        "POST /ner HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    let whole = asked.is_ok() && answer.contains("\r\n\r\n{") && answer.ends_with('}');
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    if whole { status.unwrap_or(0) } else { 0 }
}

/// Lets a fault happen `TIMES` times under load, and yields its line of the table.
fn inject(fault: Fault) -> String {
    let server = Server::start(Script::default(), |config| {
        config.engine.model.workers = Some(2);
        config.http.request_timeout_ms = if fault == Fault::Stall { 250 } else { 5_000 };
        config.admin_keys = Some(KeySource::Variable {
            name: "KEYS".to_owned(),
            value: "boss".to_owned(),
        });
    })
    .ready();
    let tally = Tally::default();
    let stop = AtomicBool::new(false);
    let mut recovery = Duration::ZERO;
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    tally.ask(server.address);
                }
            });
        }
        for time in 0..TIMES {
            recovery = recovery.max(happen(&server, &tally, fault, time));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let (answered, refused, failed) = (
        count(&tally.answered),
        count(&tally.refused),
        count(&tally.failed),
    );
    let lost = count(&tally.sent) - answered - refused - failed;
    assert_eq!(lost, 0, "{fault:?}");
    match fault {
        // Windows that share a batch with a failure run again; one that was alone fails.
        Fault::RunError | Fault::BrokenSession | Fault::RunPanic | Fault::PanicThenNoSession => {
            assert!(failed <= TIMES as u64, "{fault:?}: {failed}");
        }
        Fault::Stall => assert!(failed >= TIMES as u64, "{fault:?}: {failed}"),
        Fault::SlowLoad | Fault::BadVersion => assert_eq!((refused, failed), (0, 0), "{fault:?}"),
    }
    eventually(|| server.accounts());
    // The server counted what the clients saw.
    for (statuses, seen) in [
        (&[200][..], answered),
        (&[429, 503], refused),
        (&[500, 504], failed),
    ] {
        let counted = |status| {
            server.metric(&format!(
                "nerve_requests_total{{route=\"/ner\",status=\"{status}\"}}"
            ))
        };
        let counted: f64 = statuses.iter().map(counted).sum();
        assert_eq!(counted, seen as f64, "{fault:?}, {statuses:?}");
    }
    for (outcome, seen) in [("answered", answered), ("failed", failed)] {
        assert_eq!(server.tagged(outcome), seen as f64, "{fault:?}, {outcome}");
    }
    eventually(|| server.metric("nerve_workers_alive") == 2.0);
    format!(
        "{:20}{TIMES:>6}{:>10}{answered:>10}{refused:>9}{failed:>8}{lost:>6}{:>12.0}",
        format!("{fault:?}"),
        count(&tally.sent),
        recovery.as_secs_f64() * 1000.0
    )
}

/// Lets the next run meet a fault.
fn meet(server: &Server, fault: Fault) {
    server.script.faults.lock().unwrap().push(fault);
    eventually(|| !server.script.faults.lock().unwrap().contains(&fault));
}

/// Lets a fault happen once, and yields how long it was until both workers ran and a request was answered.
fn happen(server: &Server, tally: &Tally, fault: Fault, time: usize) -> Duration {
    let began = Instant::now();
    match fault {
        Fault::SlowLoad | Fault::BadVersion => {
            let version = if fault == Fault::BadVersion { "bad" } else { "slow" };
            server.offer(&format!("{version}{time}"));
            let expected = if fault == Fault::BadVersion { 409 } else { 200 };
            assert_eq!(server.order("/admin/reload").status, expected);
        }
        Fault::RunError | Fault::Stall => meet(server, fault),
        Fault::BrokenSession | Fault::RunPanic | Fault::PanicThenNoSession => {
            // A panic takes its time, above all where it is told with a backtrace: until then the worker seems alive.
            let restarts = server.metric("nerve_worker_restarts_total");
            meet(server, fault);
            eventually(|| server.metric("nerve_worker_restarts_total") > restarts);
        }
    }
    eventually(|| server.metric("nerve_workers_alive") == 2.0 && tally.ask(server.address));
    began.elapsed()
}

#[test]
fn no_fault_loses_a_request() {
    println!("fault                times  requests  answered  refused  failed  lost  recovery ms");
    for fault in [
        Fault::RunError,
        Fault::BrokenSession,
        Fault::RunPanic,
        Fault::PanicThenNoSession,
        Fault::Stall,
        Fault::SlowLoad,
        Fault::BadVersion,
    ] {
        println!("{}", inject(fault));
    }
}
