//! Texts that take long to split and tokenize for their length.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use nerve_inference::{PipelineTokenizer, TextTokenizer};
use nerve_tagging::{ByteSpan, split_corpus, split_whitespace};

/// The length of a text, in bytes. Time that grows with the square of the length stands out.
const BYTES: usize = 1 << 16;
/// The longest pattern of which a text is made, in bytes.
const LONGEST_UNIT: usize = 256;
/// The time per byte that is a finding, as a multiple of that of ordinary words.
const MOST: u32 = 30;
/// A text is measured again before it is a finding, since other processes disturb the caches.
const RUNS: usize = 5;

/// Some systems count the time of a thread in ticks of this length.
const LEAST_MEASURABLE: Duration = Duration::from_millis(1);

const ORDINARY: &str =
    "We met Barack Obama in Paris, and he said that the new museum would be open by the end of next year. ";

/// A way in which a text becomes tokens, and the time it takes for ordinary words.
struct Way {
    name: &'static str,
    run: Box<dyn Fn(&str) + Send + Sync>,
    ordinary: Duration,
}

/// Repeats the bytes, as text, to a long text, and panics if that takes much longer than ordinary words of that length.
pub fn slow(bytes: &[u8]) {
    let unit = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_UNIT)]);
    if unit.is_empty() {
        return;
    }
    let text = unit.repeat(BYTES / unit.len());
    for way in ways() {
        let most = way.ordinary.max(LEAST_MEASURABLE) * MOST;
        let times = (0..RUNS).map(|_| processor_time(|| (way.run)(&text)));
        let is_slow = times.into_iter().all(|time| time > most);
        assert!(
            !is_slow,
            "{}: {unit:?} takes {MOST} times as long as ordinary words",
            way.name
        );
    }
}

fn ways() -> &'static [Way] {
    static WAYS: OnceLock<Vec<Way>> = OnceLock::new();
    WAYS.get_or_init(|| {
        let mut ways = Vec::new();
        let mut add = |name, run: Box<dyn Fn(&str) + Send + Sync>| {
            let text = ORDINARY.repeat(BYTES / ORDINARY.len());
            let ordinary = (0..RUNS)
                .map(|_| processor_time(|| run(&text)))
                .min()
                .unwrap_or_default();
            ways.push(Way { name, run, ordinary });
        };
        let splitters: [(&str, fn(&str) -> Vec<ByteSpan>); 2] =
            [("corpus", split_corpus), ("whitespace", split_whitespace)];
        for (name, split) in splitters {
            let tokenizer = open("models/default");
            let run = move |text: &str| {
                let words = split(text);
                let words: Vec<&str> = words.iter().filter_map(|span| span.slice(text)).collect();
                let _subwords = tokenizer.encode_words(&words);
            };
            add(name, Box::new(run));
        }
        for (name, dir) in [
            ("WordPiece", "models/default"),
            ("BPE", "tests/plain/fixtures/roberta"),
            ("Unigram", "tests/plain/fixtures/xlm-roberta"),
        ] {
            let tokenizer = open(dir);
            let pipeline = PipelineTokenizer::new(&tokenizer, 512);
            let run = move |text: &str| {
                let _words = tokenizer.encode_text(text);
                let _tokens = pipeline.encode(text);
            };
            add(name, Box::new(run));
        }
        ways
    })
}

fn open(dir: &str) -> TextTokenizer {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    TextTokenizer::open_dir(&root.join(dir)).expect("the tokenizer opens")
}

/// The time that this thread runs for the work.
fn processor_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is to a live `timespec`, which the function fills.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(failed, 0, "the clock of the thread");
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let began = now();
    work();
    now().saturating_sub(began)
}
