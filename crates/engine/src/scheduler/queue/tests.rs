use super::*;
use futures_util::FutureExt;

fn queue(windows: usize, tokens: usize, max_batch: usize) -> Arc<Queue> {
    let batching = BatchLimits {
        batch_tokens: 100,
        max_batch,
        max_padding_percent: 10,
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let queue = Arc::new(Queue::new(QueueLimits { windows, tokens }, batching, metrics));
    queue.worker_up();
    queue
}

fn windows(lengths: &[usize]) -> Vec<WindowInput> {
    let window = |&length: &usize| WindowInput {
        ids: vec![7; length],
        reads: Vec::new(),
    };
    lengths.iter().map(window).collect()
}

fn submit(queue: &Arc<Queue>, lengths: &[usize]) -> Result<Vec<Waiter>, SubmitError> {
    queue.submit(windows(lengths), &Flow::default())
}

fn taken(queue: &Queue) -> Vec<usize> {
    queue.take().unwrap().jobs.iter().map(Job::tokens).collect()
}

#[test]
fn a_request_enters_whole_or_not_at_all() {
    let queue = queue(3, 30, 1);
    let _waiters = submit(&queue, &[5, 6]).unwrap();
    assert!(matches!(
        submit(&queue, &[5, 6]),
        Err(SubmitError::WindowsFull { .. })
    ));
    assert!(matches!(
        submit(&queue, &[20]),
        Err(SubmitError::TokensFull { .. })
    ));
    assert_eq!(submit(&queue, &[1; 4]).err(), Some(SubmitError::NeverFits));
    assert_eq!(submit(&queue, &[31]).err(), Some(SubmitError::NeverFits));
    assert_eq!((taken(&queue), taken(&queue)), (vec![5], vec![6]));
    assert_eq!(queue.metrics.queue_windows.get(), 0);
    assert_eq!(queue.metrics.queue_tokens.get(), 0);
}

#[test]
fn a_full_queue_says_so_before_the_work() {
    let queue = queue(2, 30, 1);
    let _first = submit(&queue, &[5]).unwrap();
    assert_eq!(queue.check_room(), Ok(()));
    let second = submit(&queue, &[6]).unwrap();
    assert!(matches!(queue.check_room(), Err(SubmitError::WindowsFull { .. })));
    drop(second);
    assert_eq!(queue.check_room(), Ok(()));
    let _third = submit(&queue, &[25]).unwrap();
    assert!(queue.check_room().is_err());
}

#[test]
fn a_client_that_left_makes_room_at_once() {
    let queue = queue(2, 30, 1);
    let leaving = submit(&queue, &[5, 6]).unwrap();
    let flow = Flow::default();
    let mut further = pin!(queue.submit_further(windows(&[7]), &flow));
    assert!(further.as_mut().now_or_never().is_none());
    drop(leaving);
    // Nothing was taken or refused meanwhile.
    assert_eq!(queue.metrics.queue_windows.get(), 0);
    assert_eq!(queue.metrics.queue_tokens.get(), 0);
    let _further = further.now_or_never().unwrap().unwrap();
    let _waiter = submit(&queue, &[9]).unwrap();
    assert_eq!((taken(&queue), taken(&queue)), (vec![7], vec![9]));
}

#[test]
fn a_window_that_left_the_queue_is_withdrawn_without_effect() {
    let queue = queue(2, 30, 2);
    let waiters = submit(&queue, &[5, 5]).unwrap();
    let running = queue.take().unwrap();
    assert_eq!(running.jobs.len(), 2);
    drop(waiters);
    assert_eq!(queue.metrics.queue_windows.get(), 0);
    assert!(queue.rerun(running.jobs).is_empty());
    assert_eq!(queue.metrics.queue_windows.get(), 0);
}

#[test]
fn windows_that_run_again_run_first_and_alone() {
    let queue = queue(10, 1000, 4);
    let _waiters: Vec<_> = (0..3).map(|_| submit(&queue, &[5]).unwrap()).collect();
    let failed = queue.take().unwrap();
    assert_eq!(failed.jobs.len(), 3);
    let _others = submit(&queue, &[6, 6, 6]).unwrap();
    assert!(queue.rerun(failed.jobs).is_empty());
    assert_eq!(queue.metrics.queue_tokens.get(), 33);
    let order: Vec<_> = (0..4).map(|_| taken(&queue)).collect();
    assert_eq!(order, [vec![5], vec![5], vec![5], vec![6, 6, 6]]);
}

#[test]
fn windows_that_run_again_outlive_the_last_worker() {
    let queue = queue(10, 1000, 4);
    let mut waiters = submit(&queue, &[5, 5]).unwrap();
    assert!(queue.rerun(queue.take().unwrap().jobs).is_empty());
    waiters.extend(submit(&queue, &[6]).unwrap());
    let kept = queue.worker_down();
    assert_eq!((kept.len(), queue.metrics.queue_tokens.get()), (2, 0));
    assert!(waiters.pop().unwrap().now_or_never().unwrap().is_err());
    queue.worker_up();
    assert!(queue.rerun(kept).is_empty());
    assert_eq!((taken(&queue), taken(&queue)), (vec![5], vec![5]));
}

#[test]
fn windows_that_run_again_need_a_worker() {
    let queue = queue(10, 1000, 4);
    let mut waiters = submit(&queue, &[5, 5]).unwrap();
    let failed = queue.take().unwrap();
    assert!(queue.worker_down().is_empty());
    let kept = queue.rerun(failed.jobs);
    assert_eq!(kept.len(), 2);
    queue.worker_up();
    waiters.truncate(1);
    assert!(queue.rerun(kept).is_empty());
    assert_eq!(taken(&queue), [5]);
}

#[test]
fn other_requests_run_between_a_long_documents_windows() {
    let queue = queue(10, 1000, 1);
    let _document = submit(&queue, &[50, 51, 52, 53]).unwrap();
    let _first = submit(&queue, &[1]).unwrap();
    let mut order = [taken(&queue), taken(&queue)].concat();
    let _second = submit(&queue, &[2]).unwrap();
    while order.len() < 6 {
        order.extend(taken(&queue));
    }
    assert_eq!(order, [50, 1, 51, 2, 52, 53]);
}

#[tokio::test]
async fn a_flow_of_submissions_has_the_share_of_one_request() {
    let queue = queue(10, 1000, 1);
    let (flow, mut wait) = (Flow::default(), WorkerWait::default());
    let mut waiters = Vec::new();
    for length in [50, 51, 52] {
        waiters.extend(
            queue
                .submit_patiently(windows(&[length]), &flow, &mut wait)
                .await
                .unwrap(),
        );
    }
    let _other = submit(&queue, &[1]).unwrap();
    let order = [taken(&queue), taken(&queue), taken(&queue), taken(&queue)].concat();
    assert_eq!(order, [50, 1, 51, 52]);
}

#[tokio::test]
async fn the_patient_wait_for_room_and_for_the_end() {
    let queue = queue(1, 1000, 1);
    let flow = Flow::default();
    let submit = async |lengths: &[usize]| {
        queue
            .submit_patiently(windows(lengths), &flow, &mut WorkerWait::default())
            .await
    };
    let _first = submit(&[5]).await.unwrap();
    let mut second = Box::pin(submit(&[6]));
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(taken(&queue), [5]);
    let _second = second.await.unwrap();
    let mut third = Box::pin(submit(&[7]));
    assert!(third.as_mut().now_or_never().is_none());
    queue.close();
    assert_eq!(third.await.err(), Some(SubmitError::Closed));
    let never = submit(&[1; 2]).await;
    assert_eq!(never.err(), Some(SubmitError::NeverFits));
}

#[tokio::test]
async fn work_that_waits_for_a_worker_in_turn_waits_once() {
    let queue = queue(10, 1000, 1);
    queue.worker_down();
    let (flow, mut wait) = (Flow::default(), WorkerWait::default());
    let refused = queue.submit_patiently(windows(&[5]), &flow, &mut wait).await;
    assert_eq!(refused.err(), Some(SubmitError::NoWorker));
    let second = queue.submit_patiently(windows(&[5]), &flow, &mut wait);
    assert_eq!(second.now_or_never().unwrap().err(), Some(SubmitError::NoWorker));
    queue.worker_up();
    let _accepted = queue
        .submit_patiently(windows(&[5]), &flow, &mut wait)
        .await
        .unwrap();
    queue.worker_down();
    let later = queue.submit_patiently(windows(&[5]), &flow, &mut wait);
    assert!(later.now_or_never().is_none(), "the wait begins again");
}

#[tokio::test]
async fn further_windows_keep_their_turn_behind_their_own() {
    let queue = queue(10, 1000, 1);
    let document = Flow::default();
    let _part = queue.submit(windows(&[50, 51, 52]), &document).unwrap();
    assert_eq!(taken(&queue), [50]);
    let _further = queue.submit_further(windows(&[53]), &document).await.unwrap();
    let _other = submit(&queue, &[1]).unwrap();
    let order: Vec<_> = (0..4).flat_map(|_| taken(&queue)).collect();
    assert_eq!(order, [51, 1, 52, 53]);
}

#[tokio::test]
async fn further_windows_have_room_before_what_is_new() {
    let queue = queue(2, 100, 1);
    let _waiters = submit(&queue, &[5, 6]).unwrap();
    let (one, other) = (Flow::default(), Flow::default());
    {
        let mut left = pin!(queue.submit_further(windows(&[9]), &one));
        assert!(left.as_mut().now_or_never().is_none());
    }
    let mut further = pin!(queue.submit_further(windows(&[7]), &one));
    let mut another = pin!(queue.submit_further(windows(&[8]), &other));
    assert!(further.as_mut().now_or_never().is_none());
    assert!(another.as_mut().now_or_never().is_none());
    assert_eq!(taken(&queue), [5]);
    assert!(matches!(
        submit(&queue, &[4]),
        Err(SubmitError::WindowsFull { .. })
    ));
    let _further = further.await.unwrap();
    assert_eq!((taken(&queue), taken(&queue)), (vec![6], vec![7]));
    let _another = another.await.unwrap();
    assert!(submit(&queue, &[4]).is_ok());
}

#[tokio::test]
async fn further_windows_that_wait_hear_of_the_end() {
    let queue = queue(1, 100, 1);
    let _waiters = submit(&queue, &[5]).unwrap();
    let flow = Flow::default();
    let mut further = pin!(queue.submit_further(windows(&[7]), &flow));
    assert!(further.as_mut().now_or_never().is_none());
    queue.close();
    assert_eq!(further.await.err(), Some(SubmitError::Closed));
}

#[test]
fn without_a_worker_nothing_waits() {
    let queue = queue(10, 100, 1);
    let mut waiters = submit(&queue, &[5]).unwrap();
    assert!(queue.worker_down().is_empty());
    assert!(waiters.remove(0).now_or_never().unwrap().is_err());
    assert_eq!(submit(&queue, &[5]).err(), Some(SubmitError::NoWorker));
}

#[test]
fn closed_it_serves_what_waits_and_aborted_it_does_not() {
    let queue = queue(10, 100, 1);
    let _waiters = submit(&queue, &[5]).unwrap();
    assert!(!queue.closed_within(Duration::ZERO));
    queue.close();
    assert!(queue.closed_within(Duration::from_secs(60)));
    assert_eq!(submit(&queue, &[5]).err(), Some(SubmitError::Closed));
    assert_eq!(taken(&queue), [5]);
    assert!(queue.take().is_none());
}

#[test]
fn a_window_is_lone_while_nothing_else_waits_or_runs() {
    let queue = queue(10, 1000, 1);
    let is_lone = || queue.take().unwrap().is_lone;
    let _first = submit(&queue, &[5]).unwrap();
    assert!(is_lone());
    let _two = submit(&queue, &[5, 6]).unwrap();
    assert!(!is_lone());
    assert!(is_lone());
    // A second worker that takes nothing is one that runs.
    queue.worker_up();
    let _third = submit(&queue, &[5]).unwrap();
    assert!(!is_lone());
}

#[test]
fn a_worker_that_waits_for_its_session_leaves_a_window_to_an_idle_worker() {
    let queue = queue(10, 100, 1);
    let moment = Duration::from_millis(50);
    std::thread::scope(|scope| {
        scope.spawn(|| queue.closed_within(Duration::from_secs(60)));
        // The longest waiter is the first to be notified.
        std::thread::sleep(moment);
        let (taken, took) = std::sync::mpsc::channel();
        scope.spawn({
            let queue = &queue;
            move || {
                while queue
                    .take()
                    .is_some_and(|batch| taken.send(batch.jobs.len()).is_ok())
                {}
            }
        });
        std::thread::sleep(moment);
        let _waiter = submit(&queue, &[5]).unwrap();
        let answered = took.recv_timeout(Duration::from_secs(10));
        queue.close();
        assert_eq!(answered, Ok(1));
    });
}
