//! The session for a window that has the machine to itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::scheduler::job::WindowInput;
use crate::session::{LogitRows, ModelSession, ModelSessionError};

/// A session with several threads inside an operator, for a window while no other window waits or runs.
///
/// Sessions of one thread answer the most texts per second, but leave all cores except one idle when there is a
/// single text. Threads divide an operator's rows and columns and never a sum, so both kinds of session give the same
/// bits.
#[derive(Default)]
pub(crate) struct LoneSession(Mutex<Option<Box<dyn ModelSession>>>);

impl LoneSession {
    /// Installs the session.
    pub(crate) fn set(&self, session: Box<dyn ModelSession>) {
        *self.lock() = Some(session);
    }

    /// The logits of a lone window: from this session, or from the worker's own if there is none or it fails.
    ///
    /// The session is dropped if it fails on a window that the worker's own session runs.
    pub(crate) fn run(
        &self,
        own: &mut dyn ModelSession,
        windows: &[&WindowInput],
    ) -> Result<Box<dyn LogitRows>, ModelSessionError> {
        let mut place = self.lock();
        let Some(lone) = place.as_mut() else {
            drop(place);
            return own.run(windows);
        };
        match lone.run(windows) {
            Ok(logits) => Ok(logits),
            Err(error) => {
                let logits = own.run(windows)?;
                warn!(%error, "the session of lone windows failed; lone windows run in the sessions of the workers from now on");
                *place = None;
                Ok(logits)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn ModelSession>>> {
        self.0.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            // The lock was poisoned by a panic during a run: the session is dropped.
            self.0.clear_poison();
            let mut place = poisoned.into_inner();
            *place = None;
            place
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Answers with its name for a logit, or fails at what it is told to.
    struct Named {
        name: f32,
        fails_at: u32,
    }

    struct One([f32; 1]);

    impl LogitRows for One {
        fn row(&self, _window: usize, _position: usize) -> Option<&[f32]> {
            Some(&self.0)
        }
    }

    impl ModelSession for Named {
        fn run(&mut self, windows: &[&WindowInput]) -> Result<Box<dyn LogitRows>, ModelSessionError> {
            match windows[0].ids[0] {
                id if id == self.fails_at => Err("on purpose".into()),
                99 if self.name == 2.0 => panic!("on purpose"),
                _ => Ok(Box::new(One([self.name]))),
            }
        }
    }

    const OWN: f32 = 1.0;
    const LONE: f32 = 2.0;

    fn own() -> Named {
        Named {
            name: OWN,
            fails_at: 7,
        }
    }

    fn lone(fails_at: u32) -> LoneSession {
        let session = LoneSession::default();
        session.set(Box::new(Named { name: LONE, fails_at }));
        session
    }

    fn who(session: &LoneSession, id: u32) -> Option<f32> {
        let window = WindowInput {
            ids: vec![id],
            reads: vec![0],
        };
        let logits = session.run(&mut own(), &[&window]).ok()?;
        logits.row(0, 0).map(|row| row[0])
    }

    #[test]
    fn a_lone_window_runs_on_the_lone_session_if_there_is_one() {
        assert_eq!(who(&LoneSession::default(), 5), Some(OWN));
        assert_eq!(who(&lone(0), 5), Some(LONE));
    }

    #[test]
    fn it_is_given_up_for_its_own_failures_and_no_answer_is_lost() {
        let session = lone(5);
        assert_eq!(who(&session, 6), Some(LONE));
        assert_eq!(who(&session, 5), Some(OWN));
        assert_eq!(who(&session, 6), Some(OWN));
    }

    #[test]
    fn a_window_that_no_session_runs_costs_nobody_the_session() {
        let session = lone(7);
        assert_eq!(who(&session, 7), None);
        assert_eq!(who(&session, 6), Some(LONE));
    }

    #[test]
    fn it_is_given_up_after_a_panic() {
        let session = lone(0);
        assert!(catch_unwind(AssertUnwindSafe(|| who(&session, 99))).is_err());
        assert_eq!(who(&session, 6), Some(OWN));
    }
}
