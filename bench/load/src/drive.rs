//! The event loop: one thread, all connections.

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
use crate::connection::{Arrived, Connection, Failure};
use crate::tally::{Report, Tally};

/// Of the timer; a connection's token is its place.
const TIMER: Token = Token(usize::MAX);

/// Carries a plan out.
pub(crate) fn drive(plan: &Plan) -> io::Result<Report> {
    let mut drive = Drive::new(plan)?;
    drive.run()?;
    let now = Instant::now();
    let carried = drive
        .connections
        .iter()
        .flatten()
        .filter_map(|connection| connection.carries);
    for request in carried.chain(drive.waiting.iter().copied()) {
        drive.tally.unfinished(request, now);
    }
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Ok(drive.tally.report(duration(cpu)))
}

struct Drive<'a> {
    plan: &'a Plan,
    poll: Poll,
    /// Wakes the loop to the microsecond, where epoll's own timeout counts milliseconds.
    timer: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Places that carry nothing; one whose connection has ended is opened again when it is needed.
    idle: Vec<usize>,
    /// Places of a closed loop that rest, and until when.
    resting: VecDeque<(Instant, usize)>,
    /// Requests of an open loop that have arrived.
    waiting: VecDeque<Arrived>,
    arrivals: Option<Peekable<Arrivals>>,
    in_flight: usize,
    next_body: usize,
    began: Instant,
    phase: Phase,
    tally: Tally,
}

/// What goes on, and until when at least.
#[derive(Clone, Copy)]
enum Phase {
    /// Load is on; `ended` requests had come to an end when the phase began.
    Warming { until: Instant, ended: u64 },
    /// The same, and it counts.
    Measuring { until: Instant, ended: u64 },
    /// Nothing more is sent.
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
            let place = drive.open()?;
            drive.idle.push(place);
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

    /// Goes on to the next phase when this one is over.
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

    /// Whether a phase has had its time and, in a closed loop, an answer for each connection: of a server that answers a
    /// whole round of them in more than that time, a shorter one would show nothing. Even so it has an end.
    fn is_over(&self, now: Instant, until: Instant, ended: u64) -> bool {
        let round = self.tally.ended() - ended >= self.plan.connections as u64;
        now >= until && (self.plan.rate.is_some() || round || now >= until + self.plan.drain)
    }

    /// Makes the requests that are due.
    fn arrive(&mut self, now: Instant) {
        while let Some(&(until, place)) = self.resting.front()
            && until <= now
        {
            self.resting.pop_front();
            self.idle.push(place);
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

    /// Sends what has arrived as far as there are connections for it.
    fn dispatch(&mut self) -> io::Result<()> {
        while let Some(&request) = self.waiting.front() {
            let place = match self.idle.pop() {
                Some(place) => place,
                None if self.connections.len() < self.plan.max_connections => self.open()?,
                None => return Ok(()),
            };
            self.waiting.pop_front();
            if self.connections[place].is_none() {
                self.reopen(place)?;
            }
            if let Some(connection) = &mut self.connections[place] {
                connection.carry(request);
                self.in_flight += 1;
                if let Err(failure) = connection.write(&self.plan.requests[request.body]) {
                    self.lose(place, failure);
                }
            }
        }
        Ok(())
    }

    /// Writes and reads what a connection is ready for.
    fn proceed(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let Some(request) = connection.carries else {
            // Not asked: the server ends a connection that was idle, which costs no request.
            if connection.read() != Ok(None) {
                self.close(place);
            }
            return;
        };
        let written = connection.write(&self.plan.requests[request.body]);
        match written.and_then(|()| connection.read()) {
            Ok(None) => {}
            Ok(Some(response)) => {
                connection.carries = None;
                self.in_flight -= 1;
                self.tally.answered(request, response, Instant::now());
                if response.last {
                    self.close(place);
                }
                self.rest(place, response.status == 200);
            }
            Err(failure) => self.lose(place, failure),
        }
    }

    /// Gives up a connection that failed, and the request it carried.
    fn lose(&mut self, place: usize, failure: Failure) {
        if let Some(request) = self.connections[place]
            .as_mut()
            .and_then(|connection| connection.carries.take())
        {
            self.in_flight -= 1;
            self.tally.failed(request, failure);
        }
        self.close(place);
        self.rest(place, false);
    }

    /// Has a place take requests again: at once after an answer and in an open loop, else after a pause.
    fn rest(&mut self, place: usize, answered: bool) {
        if answered || self.plan.rate.is_some() {
            self.idle.push(place);
        } else {
            self.resting.push_back((Instant::now() + self.plan.rest, place));
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(mut connection) = self.connections[place].take() {
            // A descriptor that is closed leaves the poll with it.
            let _ = self.poll.registry().deregister(&mut connection.stream);
        }
    }

    /// A new place with a connection.
    fn open(&mut self) -> io::Result<usize> {
        let place = self.connections.len();
        self.connections.push(None);
        self.reopen(place)?;
        Ok(place)
    }

    fn reopen(&mut self, place: usize) -> io::Result<()> {
        let mut connection = Connection::open(self.plan.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, Token(place), interest)?;
        self.connections[place] = Some(connection);
        Ok(())
    }

    /// When there is something to do even if no connection is ready.
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
        // Zero would turn the timer off.
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

    /// A server that answers the nth request of a connection with `respond(n)`, or leaves it unanswered.
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
            // The requests below fit one segment.
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
        // 200 are expected, with a standard deviation of 14.
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
        // Four connections, an answer each 0.4 s.
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
