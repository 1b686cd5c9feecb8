//! The event loop, which drives all connections in one thread.

use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::arguments::Plan;
use crate::arrivals::Arrivals;
use crate::connection::{Arrived, Connection};
use crate::response::Failure;
use crate::tally::{Report, Tally};

/// The token of the timer. The token of a connection is its slot.
const TIMER: Token = Token(usize::MAX);

/// Executes a plan and returns the measurements.
pub(crate) fn drive(plan: &Plan) -> io::Result<Report> {
    let mut drive = Drive::new(plan)?;
    drive.run()?;
    let now = Instant::now();
    let outstanding = drive
        .connections
        .iter()
        .flatten()
        .filter_map(|connection| connection.request);
    for request in outstanding.chain(drive.waiting.iter().copied()) {
        drive.tally.unfinished(request, now);
    }
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Ok(drive.tally.report(duration(cpu)))
}

struct Drive<'a> {
    plan: &'a Plan,
    poll: Poll,
    /// Wakes the loop with microsecond precision; the timeout of epoll has milliseconds.
    timer: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Slots without a request. A slot whose connection was closed is reopened before its next request.
    idle: Vec<usize>,
    /// Slots of a closed loop that pause, with the end of the pause.
    resting: VecDeque<(Instant, usize)>,
    /// Requests that have arrived and are not yet sent.
    waiting: VecDeque<Arrived>,
    arrivals: Option<Peekable<Arrivals>>,
    in_flight: usize,
    next_body: usize,
    began: Instant,
    phase: Phase,
    tally: Tally,
}

/// A phase of the run, with its earliest end.
#[derive(Clone, Copy)]
enum Phase {
    /// Warm-up: load without measuring. `ended` is the number of requests that had ended at the start of the phase.
    Warming { until: Instant, ended: u64 },
    /// Load with measuring. `ended` as above.
    Measuring { until: Instant, ended: u64 },
    /// No more requests are sent; outstanding responses are received.
    Draining { until: Instant },
}

impl<'a> Drive<'a> {
    fn new(plan: &'a Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        poll.registry()
            .register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let began = Instant::now();
        let mut drive = Self {
            plan,
            poll,
            timer,
            connections: Vec::new(),
            idle: Vec::new(),
            resting: VecDeque::new(),
            waiting: VecDeque::new(),
            arrivals: plan.rate.map(|rate| Arrivals::new(rate, plan.seed).peekable()),
            in_flight: 0,
            next_body: 0,
            began,
            phase: Phase::Warming {
                until: began + plan.warmup,
                ended: 0,
            },
            tally: Tally::new(plan.requests.len()),
        };
        for _ in 0..plan.connections {
            let slot = drive.open()?;
            drive.idle.push(slot);
        }
        Ok(drive)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            self.advance(now);
            if !matches!(self.phase, Phase::Draining { .. }) {
                self.arrive(now);
            }
            self.dispatch()?;
            if let Phase::Draining { until } = self.phase
                && (now >= until || (self.in_flight == 0 && self.waiting.is_empty()))
            {
                return Ok(());
            }
            let moment = self.next_moment(now);
            self.wake_at(moment)?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                if event.token() != TIMER {
                    self.proceed(event.token().0);
                }
            }
        }
    }

    /// Enters the next phase if the current one is over.
    fn advance(&mut self, now: Instant) {
        if let Phase::Warming { until, ended } = self.phase
            && self.is_over(now, until, ended)
        {
            self.tally.begin(now);
            self.phase = Phase::Measuring {
                until: now + self.plan.measured,
                ended: self.tally.ended(),
            };
        }
        if let Phase::Measuring { until, ended } = self.phase
            && self.is_over(now, until, ended)
        {
            self.tally.end(now);
            self.phase = Phase::Draining {
                until: now + self.plan.drain,
            };
        }
    }

    /// Whether a phase is over: its time has passed and, in a closed loop, as many requests have ended as there are
    /// connections. Without this condition, a slow server could have no response in the measured period. The extension is
    /// limited by the duration of the drain.
    fn is_over(&self, now: Instant, until: Instant, ended: u64) -> bool {
        let round = self.tally.ended() - ended >= self.plan.connections as u64;
        now >= until && (self.plan.rate.is_some() || round || now >= until + self.plan.drain)
    }

    /// Adds the requests that are due to the waiting ones.
    fn arrive(&mut self, now: Instant) {
        while let Some(&(until, slot)) = self.resting.front()
            && until <= now
        {
            self.resting.pop_front();
            self.idle.push(slot);
        }
        if let Some(arrivals) = &mut self.arrivals {
            while let Some(at) = arrivals.next_if(|after| self.began + *after <= now) {
                let at = self.began + at;
                self.waiting.push_back(Arrived {
                    body: self.next_body,
                    at,
                });
                self.next_body = (self.next_body + 1) % self.plan.requests.len();
            }
        } else {
            for _ in 0..self.idle.len() {
                self.waiting.push_back(Arrived {
                    body: self.next_body,
                    at: now,
                });
                self.next_body = (self.next_body + 1) % self.plan.requests.len();
            }
        }
    }

    /// Sends waiting requests while connections are available.
    fn dispatch(&mut self) -> io::Result<()> {
        while let Some(&request) = self.waiting.front() {
            let slot = match self.idle.pop() {
                Some(slot) => slot,
                None if self.connections.len() < self.plan.max_connections => self.open()?,
                None => return Ok(()),
            };
            self.waiting.pop_front();
            if self.connections[slot].is_none() {
                self.reopen(slot)?;
            }
            if let Some(connection) = &mut self.connections[slot] {
                connection.start(request, &self.plan.requests[request.body]);
                self.in_flight += 1;
                if let Err(failure) = connection.write() {
                    self.lose(slot, failure);
                }
            }
        }
        Ok(())
    }

    /// Writes to and reads from a connection that is ready.
    fn proceed(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let Some(request) = connection.request else {
            // The server closed an idle connection, or sent something without a request. No request is lost.
            if connection.read() != Ok(None) {
                self.close(slot);
            }
            return;
        };
        let written = connection.write();
        match written.and_then(|()| connection.read()) {
            Ok(None) => {}
            Ok(Some(response)) => {
                connection.request = None;
                self.in_flight -= 1;
                self.tally.answered(request, response, Instant::now());
                if response.last {
                    self.close(slot);
                }
                self.rest(slot, response.status == 200);
            }
            Err(failure) => self.lose(slot, failure),
        }
    }

    /// Closes a connection that failed and counts its request as failed.
    fn lose(&mut self, slot: usize, failure: Failure) {
        if let Some(request) = self.connections[slot]
            .as_mut()
            .and_then(|connection| connection.request.take())
        {
            self.in_flight -= 1;
            self.tally.failed(request, failure);
        }
        self.close(slot);
        self.rest(slot, false);
    }

    /// Makes a slot available again: immediately after status 200 and in an open loop, otherwise after a pause.
    fn rest(&mut self, slot: usize, answered: bool) {
        if answered || self.plan.rate.is_some() {
            self.idle.push(slot);
        } else {
            self.resting.push_back((Instant::now() + self.plan.rest, slot));
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(mut connection) = self.connections[slot].take() {
            // An error can be ignored, because closing the descriptor deregisters it as well.
            let _ = self.poll.registry().deregister(&mut connection.stream);
        }
    }

    /// A new slot with a connection.
    fn open(&mut self) -> io::Result<usize> {
        let slot = self.connections.len();
        self.connections.push(None);
        self.reopen(slot)?;
        Ok(slot)
    }

    fn reopen(&mut self, slot: usize) -> io::Result<()> {
        let mut connection = Connection::open(self.plan.address, self.plan.is_grpc)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, Token(slot), interest)?;
        self.connections[slot] = Some(connection);
        Ok(())
    }

    /// The time of the next action that does not depend on a connection.
    fn next_moment(&mut self, now: Instant) -> Instant {
        let end = match self.phase {
            Phase::Draining { until } => return until,
            Phase::Warming { until, .. } | Phase::Measuring { until, .. } if now < until => until,
            Phase::Warming { until, .. } | Phase::Measuring { until, .. } => until + self.plan.drain,
        };
        let arrival = self
            .arrivals
            .as_mut()
            .and_then(|arrivals| arrivals.peek())
            .map(|after| self.began + *after);
        let rested = self.resting.front().map(|&(until, _)| until);
        arrival.into_iter().chain(rested).fold(end, Instant::min)
    }

    fn wake_at(&self, moment: Instant) -> io::Result<()> {
        // Zero would disarm the timer.
        let wait = moment
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let value = Timespec::try_from(wait).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

fn duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    /// A server that answers the nth request of a connection with `respond(n)`; `None` means no response.
    fn serve(respond: fn(usize) -> Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || answer(stream, respond));
            }
        });
        address
    }

    fn answer(mut stream: TcpStream, respond: fn(usize) -> Option<&'static str>) {
        let mut buffer = [0; 4096];
        for number in 0.. {
            // Each request of these tests fits into one segment.
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if let Some(response) = respond(number) {
                stream.write_all(response.as_bytes()).unwrap();
            }
        }
    }

    fn plan(address: SocketAddr, rate: Option<f64>) -> Plan {
        Plan {
            address,
            requests: vec![b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nx".to_vec(); 3],
            connections: 4,
            max_connections: 64,
            rate,
            warmup: Duration::from_millis(50),
            measured: Duration::from_millis(500),
            drain: Duration::from_millis(300),
            rest: Duration::from_millis(10),
            seed: 1,
            is_grpc: false,
        }
    }

    fn report(plan: &Plan) -> serde_json::Value {
        serde_json::to_value(drive(plan).unwrap()).unwrap()
    }

    #[test]
    fn a_closed_loop_keeps_its_connections_asking() {
        let found = report(&plan(
            serve(|_| Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
            None,
        ));
        assert!(found["throughput"].as_f64().unwrap() > 100.0, "{found}");
        assert_eq!(
            (found["unfinished"].as_u64(), found["differing"].as_u64()),
            (Some(0), Some(0))
        );
        assert!(
            found["hashes"]
                .as_array()
                .unwrap()
                .iter()
                .all(serde_json::Value::is_string)
        );
    }

    #[test]
    fn an_open_loop_sends_at_its_rate_whatever_the_answers_are() {
        let refuse = |number| {
            let refused = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
            Some(if number % 2 == 0 {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            } else {
                refused
            })
        };
        let found = report(&plan(serve(refuse), Some(400.0)));
        let count = |status: &str| found["statuses"][status].as_u64().unwrap();
        // The expected number of requests is 200, with a standard deviation of 14.
        assert!((130..270).contains(&(count("200") + count("429"))), "{found}");
        assert!(
            count("429") > 0 && found["refusal_ms"]["p50"].as_f64().unwrap() < 100.0,
            "{found}"
        );
    }

    #[test]
    fn a_closed_loop_measures_a_whole_round_of_slow_answers() {
        let slow = |_| {
            std::thread::sleep(Duration::from_millis(400));
            Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        };
        let mut plan = plan(serve(slow), None);
        plan.measured = Duration::from_millis(100);
        plan.drain = Duration::from_secs(5);
        let found = report(&plan);
        let throughput = found["throughput"].as_f64().unwrap();
        // Four connections with one response per 0.4 s each.
        assert!((5.0..=11.0).contains(&throughput), "{found}");
        assert!(found["latency_ms"]["p50"].as_f64().unwrap() >= 400.0, "{found}");
    }

    #[test]
    fn a_server_that_never_answers_ends_with_the_drain_and_counts() {
        let began = Instant::now();
        let found = report(&plan(serve(|_| None), Some(100.0)));
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(found["throughput"].as_f64(), Some(0.0));
        assert!(found["unfinished"].as_u64().unwrap() > 20, "{found}");
        assert!(found["latency_ms"]["p50"].as_f64().unwrap() > 250.0, "{found}");
    }

    #[test]
    fn connections_that_end_are_opened_again() {
        let found = report(&plan(
            serve(|number| {
                (number == 0).then_some("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            }),
            None,
        ));
        assert!(found["statuses"]["200"].as_u64().unwrap() > 20, "{found}");
        assert_eq!(found["failures"]["closed"].as_u64(), Some(0));
    }

    #[test]
    fn a_server_that_is_not_there_is_told() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let found = report(&plan(free, None));
        assert!(found["failures"]["broken"].as_u64().unwrap() > 0, "{found}");
    }
}
