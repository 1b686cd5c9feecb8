use std::time::Instant;

use super::*;
use crate::config::EngineConfig;
use crate::context::VersionContext;
use crate::models::source::Sessions;
use crate::scheduler::pool::all_started;
use crate::scheduler::queue::WORKER_WAIT;
use crate::scheduler::submit_error::SubmitError;
use crate::session::{LogitRows, ModelSession, ModelSessionError, OpenSession};
use crate::testing::text_model;

/// The token `error` of the test's vocabulary, at which the session fails.
const ERROR: u32 = 14;
const ZEROS: [f32; 5] = [0.0; 5];

struct FakeSession;

struct Zeros;

impl LogitRows for Zeros {
    fn row(&self, _window: usize, _position: usize) -> Option<&[f32]> {
        Some(&ZEROS)
    }
}

impl ModelSession for FakeSession {
    fn run(&mut self, windows: &[&WindowInput]) -> Result<Box<dyn LogitRows>, ModelSessionError> {
        match windows.iter().any(|window| window.ids.contains(&ERROR)) {
            true => Err("on purpose".into()),
            false => Ok(Box::new(Zeros)),
        }
    }
}

fn start(open: Arc<OpenSession>) -> (Tagger, Vec<crate::scheduler::pool::SessionReady>) {
    let mut config = EngineConfig::default();
    config.model.workers = Some(1);
    let sessions = Sessions {
        of_workers: open,
        lone: None,
    };
    let context = VersionContext::new(config).unwrap();
    Tagger::start(text_model(8), sessions, &context).unwrap()
}

async fn tag(tagger: &Tagger, texts: &[&str]) -> Vec<Result<TaggedText, TagError>> {
    let sources = texts
        .iter()
        .map(|text| TagInput::Text((*text).to_owned()))
        .collect();
    tagger
        .tag_patiently(sources, DecodingOptions::default(), &Flow::default())
        .await
}

#[tokio::test]
async fn without_a_worker_texts_of_many_windows_wait_for_one_together() {
    let (tagger, _started) = start(Arc::new(|| Err("no session".into())));
    let long = "in ".repeat(400);
    let began = Instant::now();
    let tagged = tag(&tagger, &[&long, "paul", &long]).await;
    assert!(began.elapsed() < 20 * WORKER_WAIT, "{:?}", began.elapsed());
    for text in tagged {
        assert!(
            matches!(text, Err(TagError::Queue(SubmitError::NoWorker))),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn a_text_stops_at_its_first_failed_window_and_the_others_go_on() {
    let (tagger, started) = start(Arc::new(|| Ok(Box::new(FakeSession))));
    all_started(started).await.unwrap();
    // More windows than wait at a time.
    let failing = format!("error {}", "in ".repeat(20_000));
    let tagged = tag(&tagger, &["paul", &failing, "paris"]).await;
    assert!(matches!(
        tagged[..],
        [Ok(_), Err(TagError::InferenceFailed), Ok(_)]
    ));
    let computed = tagger.metrics.exposition().unwrap();
    let computed = String::from_utf8(computed).unwrap();
    let windows = computed
        .lines()
        .find_map(|line| line.strip_prefix("nerve_batch_size_sum "))
        .unwrap();
    let windows: f64 = windows.parse().unwrap();
    assert!(windows < 2.0 * WINDOWS_AT_A_TIME as f64 + 10.0, "{windows}");
}
