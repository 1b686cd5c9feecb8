use super::*;
use crate::evaluate::evaluation::tests::corpus;

/// Rows in which, at this temperature, the frequency of each gold label equals its probability.
fn rows(temperature: f64) -> Vec<(Vec<f32>, usize)> {
    let mut rows = Vec::new();
    for strength in 0..20 {
        let gap = 0.3 * f64::from(strength);
        let probability = 1.0 / (1.0 + (-gap).exp());
        let logits = vec![(gap * temperature) as f32, 0.0];
        let right = (1000.0 * probability).round() as usize;
        rows.extend((0..1000).map(|at| (logits.clone(), usize::from(at >= right))));
    }
    rows
}

fn borrowed(rows: &[(Vec<f32>, usize)]) -> Vec<(&[f32], usize)> {
    rows.iter().map(|(row, gold)| (&row[..], *gold)).collect()
}

#[test]
fn the_temperature_that_made_the_logits_is_found() {
    for temperature in [0.4, 1.0, 3.0] {
        let rows = rows(temperature);
        let found = fit_temperature(&borrowed(&rows)).unwrap();
        assert!(
            (found.get() / temperature - 1.0).abs() < 2e-3,
            "{temperature}: {found:?}"
        );
        let nll = |at| mean_nll(&borrowed(&rows), Temperature::new(at).unwrap());
        // No temperature on a fine grid has a lower negative log-likelihood.
        let grid = (1..400).map(|step| nll(0.02 * f64::from(step)));
        assert!(nll(found.get()) <= grid.fold(f64::INFINITY, f64::min) + 1e-12);
        let before = word_reliability(&borrowed(&rows), Temperature::default()).ece;
        let after = word_reliability(&borrowed(&rows), found).ece;
        assert!(
            after < 2e-3 && (temperature == 1.0 || before > 0.05),
            "{before} {after}"
        );
    }
}

#[test]
fn what_has_no_best_temperature_stays_within_bounds() {
    let right: Vec<(Vec<f32>, usize)> = vec![(vec![4.0, 0.0], 0); 3];
    assert!((fit_temperature(&borrowed(&right)).unwrap().get() - LEAST).abs() < 1e-3);
    let wrong: Vec<(Vec<f32>, usize)> = vec![(vec![4.0, 0.0], 1); 3];
    assert!((fit_temperature(&borrowed(&wrong)).unwrap().get() - MOST).abs() < 1e-3);
    assert_eq!(fit_temperature(&[]), None);
    assert_eq!(fit_temperature(&[(&[f32::NAN, 0.0], 0)]), None);
    assert_eq!(fit_temperature(&[(&[1.0, 0.0], 2)]), None);
}

#[test]
fn the_calibration_error_is_the_weighted_gap_of_the_bins() {
    // Three predictions at 0.9, of which two are correct, and a correct one at 0.55. The confidence 1.0 falls into
    // the last bin.
    let samples = [(0.9, true), (0.9, true), (0.9, false), (0.55, true)];
    let found = ReliabilityDiagram::of(samples);
    let expected = 0.75 * (0.9 - 2.0 / 3.0) + 0.25 * 0.45;
    assert!((found.ece - expected).abs() < 1e-12);
    assert_eq!(found.bins.len(), BINS);
    let ends = ReliabilityDiagram::of([(0.0, false), (1.0, true)]);
    assert_eq!((ends.bins[0].count, ends.bins[BINS - 1].count), (1, 1));
    assert_eq!(ends.ece, 0.0);
    assert_eq!(ReliabilityDiagram::of([]).ece, 0.0);
}

#[test]
fn words_that_say_nothing_are_left_out_and_entities_are_scored_whole() {
    let labels = LabelSet::iob2(["per"]).unwrap();
    let corpus = corpus("Ann\tB-per\nLee\tI-per\n\u{200b}\tO\nRome\tB-loc\n");
    let logits = vec![vec![
        Some(vec![0.0, 2.0, 0.0]),
        Some(vec![0.0, 0.0, 1.0]),
        None,
        Some(vec![3.0, 0.0, 0.0]),
    ]];
    let report = calibration_report(&labels, &Decoder::new(&labels), &logits, &corpus).unwrap();
    assert_eq!(report.words, 2);
    let counts: usize = report.before.entities.bins.iter().map(|bin| bin.count).sum();
    assert_eq!(counts, 1);
    let mean = 0.5 * (1.0 / (1.0 + 2.0 * (-2_f64).exp()) + 1.0 / (1.0 + 2.0 * (-1_f64).exp()));
    assert!((report.before.entities.ece - (1.0 - mean)).abs() < 1e-6);
    assert!(report.after.nll <= report.before.nll);
    // Every word is tagged correctly, so the likelihood rises as the temperature falls to its lower bound.
    let error = report.to_calibration("dev").unwrap_err();
    assert_eq!((error.words, error.split.as_str()), (2, "dev"));
    assert!(
        error.to_string().contains("every word is tagged right")
            && error.to_string().contains("makes some errors on"),
        "{error}"
    );
    let all_are_wrong = vec![vec![
        Some(vec![4.0, 0.0, 0.0]),
        Some(vec![4.0, 0.0, 0.0]),
        None,
        Some(vec![3.0, 0.0, 0.0]),
    ]];
    let report = calibration_report(&labels, &Decoder::new(&labels), &all_are_wrong, &corpus).unwrap();
    let error = report.to_calibration("dev").unwrap_err().to_string();
    assert!(
        error.contains("highest") && error.contains("Train the model for longer"),
        "{error}"
    );
    assert!(!error.contains("makes some errors on"), "{error}");
    let one_is_wrong = vec![vec![
        Some(vec![0.0, 2.0, 0.0]),
        Some(vec![0.0, 0.5, 0.0]),
        None,
        Some(vec![3.0, 0.0, 0.0]),
    ]];
    let report = calibration_report(&labels, &Decoder::new(&labels), &one_is_wrong, &corpus).unwrap();
    let kept = report.to_calibration("dev").unwrap();
    assert_eq!((kept.words, kept.after.nll), (2, report.after.nll));
    let broken = vec![vec![Some(vec![f32::NAN; 3]), None, None, None]];
    assert_eq!(
        calibration_report(&labels, &Decoder::new(&labels), &broken, &corpus),
        None
    );
}
