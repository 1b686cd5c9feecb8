use nerve_tagging::{Decoder, LabelSet};

use crate::evaluate::calibration::calibration_report;
use crate::evaluate::detail::{DetailedEvaluation, evaluate_in_detail};
use crate::evaluate::evaluation::tests::{Lexicon, corpus};
use crate::evaluate::{Evaluation, evaluate};
use crate::report::point::{EvaluationPoint, StepPoint};
use crate::report::run::page::RunReport;

const TEXT: &str = "Ann\tB-per\nLee\tI-per\n<b>&\tO\nRome\tB-loc\n\nBob\tB-per\nUlm\tO\n";

fn tagger() -> Lexicon {
    Lexicon {
        labels: LabelSet::iob2(["per", "loc"]).unwrap(),
        words: vec![
            ("Ann", "B-per"),
            ("Bob", "B-per"),
            ("Ulm", "B-per"),
            ("Rome", "B-per"),
        ],
    }
}

/// One of four entities right, of four predicted.
fn detailed() -> DetailedEvaluation {
    let corpus = corpus(TEXT);
    let mut tagger = tagger();
    let mut found = evaluate_in_detail(&mut tagger, &corpus).unwrap();
    let sure = |at: usize| Some((0..5).map(|label| if label == at { 2.0 } else { 0.0 }).collect());
    let logits = vec![vec![sure(1), sure(0), sure(0), sure(1)], vec![sure(1), sure(1)]];
    found.calibration = calibration_report(&tagger.labels, &Decoder::new(&tagger.labels), &logits, &corpus);
    found
}

/// An evaluation with an entity F1 of a half.
pub(crate) fn evaluation() -> Evaluation {
    let mut tagger = Lexicon {
        words: vec![
            ("Ann", "B-per"),
            ("Lee", "I-per"),
            ("Rome", "B-per"),
            ("Ulm", "B-per"),
            ("Bob", "B-per"),
        ],
        ..tagger()
    };
    let corpus = corpus(&TEXT.replace("Ulm\tO", "Ulm\tB-loc"));
    evaluate(&mut tagger, &corpus.sentences).unwrap()
}

fn report() -> RunReport {
    let step = |step: usize| StepPoint {
        step,
        loss: if step == 70 { f64::NAN } else { 3.0 / step as f64 },
        learning_rate: 2e-4,
        gradient_norm: (step > 1).then_some(f64::INFINITY),
    };
    let evaluation = |epoch: usize| EvaluationPoint {
        step: 50 * epoch,
        epoch: epoch as f64,
        loss: 1.0 / epoch as f64,
        f1: 0.2 * epoch as f64,
        dev_loss: (epoch > 1).then_some(0.5),
        type_f1: [("<per>".to_owned(), 0.1 * epoch as f64)].into(),
        ..EvaluationPoint::default()
    };
    RunReport {
        data: None,
        name: "runs/<first>".to_owned(),
        facts: vec![("took".to_owned(), "9 min".to_owned())],
        steps: (1..=100).map(step).collect(),
        evaluations: (1..=2).map(evaluation).collect(),
        dev: Some(detailed()),
        test: Some(self::evaluation()),
        configuration: vec![("seed".to_owned(), "1".to_owned())],
    }
}

#[test]
fn a_page_shows_every_section_and_no_value_that_is_not_finite() {
    let dir = tempfile::tempdir().unwrap();
    let path = report().write(dir.path()).unwrap();
    let html = std::fs::read_to_string(path).unwrap();
    for heading in [
        "Results",
        "Training",
        "Entity types (x)",
        "Confusion (x)",
        "Errors (x)",
        "Calibration (x)",
        "Configuration",
    ] {
        assert!(html.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    // Loss, scores, scores by type, learning rate, gradient norm and two reliability diagrams.
    assert_eq!(html.matches("<svg ").count(), 7);
    assert!(html.contains("Dev entity F1 by type") && !html.contains("<per>"));
    for heading in ["Invented (1)", "Wrong boundary (1)", "Wrong type (1)"] {
        assert!(html.contains(heading), "{heading}");
    }
    assert!(!html.contains("Missed ("));
    assert!(html.contains("runs/&lt;first&gt;") && html.contains("&lt;b&gt;&amp;"));
    assert!(!html.contains("NaN") && !html.contains(">inf") && !html.contains("<b>"));
    assert_eq!(html, report().html());
}

#[test]
fn a_boundary_error_marks_both_spans_and_names_both_types() {
    let html = report().html();
    let expected = "<span class=\"gold found\">Ann</span><small class=\"found\" title=\"predicted\">per</small> \
                    <span class=\"gold\">Lee</span><small class=\"gold\" title=\"gold\">per</small> &lt;b&gt;&amp;";
    assert!(html.contains(expected), "{html}");
}

#[test]
fn what_is_absent_is_left_out() {
    let empty = RunReport::default().html();
    assert!(!empty.contains("<svg") && !empty.contains("<h2>Training"));
    let epochs_only = RunReport {
        steps: Vec::new(),
        dev: None,
        ..report()
    };
    let html = epochs_only.html();
    assert_eq!(html.matches("<svg ").count(), 4);
    assert!(html.contains("Best dev entity F1 40.00, after step 100."));
}
