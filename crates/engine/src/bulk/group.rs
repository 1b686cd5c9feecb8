//! A stream of chunks to groups of lines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::Stream;

use crate::bulk::limits::BulkLimits;
use crate::bulk::lines::{Line, LineSplitter};
use crate::turn::wake_after_others;

/// The work of a poll after which other tasks of the thread have their turn. A byte of input is one unit.
const POLL_WORK: usize = 64 << 10;
/// The work of taking a line, in units.
const LINE_WORK: usize = 64;

/// The lines of an input that are not blank, grouped as they arrive.
///
/// A group that has a line is never held back: a client that sends one line and waits is answered.
pub(crate) struct Groups<S> {
    input: Option<S>,
    splitter: LineSplitter,
    limits: BulkLimits,
    /// What the current poll has done.
    work: usize,
}

impl<S, E> Groups<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The groups of an input.
    pub(crate) fn new(input: S, limits: BulkLimits) -> Self {
        Self {
            input: Some(input),
            splitter: LineSplitter::new(limits.line_bytes),
            limits,
            work: 0,
        }
    }

    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Line, E>>> {
        loop {
            while self.work < POLL_WORK
                && let Some(line) = self.splitter.next_line()
            {
                self.work += LINE_WORK;
                if !is_blank(&line) {
                    return Poll::Ready(Some(Ok(line)));
                }
            }
            if self.work >= POLL_WORK {
                wake_after_others(context);
                return Poll::Pending;
            }
            let Some(input) = self.input.as_mut() else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(input).poll_next(context)) {
                Some(Ok(chunk)) => {
                    self.work += chunk.len();
                    self.splitter.feed(chunk);
                }
                Some(Err(error)) => {
                    self.input = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.input = None;
                    let last = self.splitter.finish().filter(|line| !is_blank(line));
                    return Poll::Ready(last.map(Ok));
                }
            }
        }
    }
}

impl<S, E> Stream for Groups<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Vec<Line>, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut group = Vec::new();
        let mut bytes = 0;
        self.work = 0;
        while self.limits.group_takes_more(group.len(), bytes) {
            match self.poll_line(context) {
                Poll::Ready(Some(Ok(line))) => {
                    bytes += line.bytes.as_ref().map_or(0, Bytes::len);
                    group.push(line);
                }
                Poll::Ready(Some(Err(error))) => {
                    // Complete lines before the failure are dropped: the client is gone.
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => break,
                Poll::Pending if group.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((!group.is_empty()).then_some(Ok(group)))
    }
}

fn is_blank(line: &Line) -> bool {
    line.bytes
        .as_ref()
        .is_ok_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use super::*;
    use crate::bulk::limits::GROUP_BYTES;
    use futures_util::stream;
    use futures_util::{FutureExt, StreamExt};

    const LIMITS: BulkLimits = BulkLimits {
        line_bytes: 100_000,
        group_lines: 3,
        groups: 1,
    };

    fn chunk(text: &str) -> Result<Bytes, &'static str> {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn numbers(group: Option<Result<Vec<Line>, &'static str>>) -> Vec<u64> {
        group.unwrap().unwrap().iter().map(|line| line.number).collect()
    }

    #[tokio::test]
    async fn what_is_there_goes_together_without_blank_lines() {
        let input = stream::iter([chunk("a\n \r\nb\nc"), chunk("\nd\n"), chunk("\n\ne")]);
        let mut groups = Groups::new(input, LIMITS);
        assert_eq!(numbers(groups.next().await), [1, 3, 4]);
        assert_eq!(numbers(groups.next().await), [5, 8]);
        assert!(groups.next().await.is_none() && groups.next().await.is_none());
    }

    #[tokio::test]
    async fn a_line_does_not_wait_for_the_next() {
        let input = stream::iter([chunk("a\nb")]).chain(stream::pending());
        let mut groups = Groups::new(input, LIMITS);
        let first = groups.next().now_or_never();
        assert_eq!(numbers(first.flatten()), [1]);
        assert!(groups.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_poll_does_bounded_work() {
        const CHUNK: usize = 8 << 10;
        for (line, lines_per_poll) in [("\n", POLL_WORK / LINE_WORK), (" ", usize::MAX)] {
            let taken = Cell::new(0);
            let input = stream::repeat_with(|| {
                taken.set(taken.get() + CHUNK);
                chunk(&line.repeat(CHUNK))
            });
            let mut groups = Groups::new(input.take(100), LIMITS);
            let (mut polls, mut before) = (0, 0);
            let last = poll_fn(|context| {
                let polled = groups.poll_next_unpin(context);
                polls += 1;
                assert!(taken.get() - before <= POLL_WORK + CHUNK);
                before = taken.get();
                polled
            });
            let last = last.await;
            assert_eq!(last.is_none(), line == "\n");
            let bytes = 100 * CHUNK;
            let least = (bytes / POLL_WORK).max(bytes / lines_per_poll);
            assert!(polls >= least, "{line:?}: {polls} polls");
        }
    }

    #[tokio::test]
    async fn long_lines_make_small_groups_and_a_failure_ends() {
        let long = "x".repeat(GROUP_BYTES);
        let input = stream::iter([
            chunk(&format!("{long}\n")),
            chunk("b\n"),
            Err("gone"),
            chunk("c\n"),
        ]);
        let mut groups = Groups::new(input, LIMITS);
        assert_eq!(numbers(groups.next().await), [1]);
        assert_eq!(groups.next().await.unwrap().unwrap_err(), "gone");
        assert!(groups.next().await.is_none());
    }
}
