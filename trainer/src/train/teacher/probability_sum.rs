//! The mean of the probabilities of several teachers.

/// The sum of the teachers' probabilities of each word.
pub(super) struct ProbabilitySum<'w> {
    first_words: &'w [usize],
    width: usize,
    temperature: f64,
    sums: Vec<f64>,
    /// For each word, the number of teachers that have a subword of it.
    teachers: Vec<u32>,
}

impl<'w> ProbabilitySum<'w> {
    pub(super) fn new(first_words: &'w [usize], width: usize, temperature: f64) -> Self {
        let words = first_words.last().copied().unwrap_or_default();
        Self {
            first_words,
            width,
            temperature,
            sums: vec![0.0; words * width],
            teachers: vec![0; words],
        }
    }

    /// Adds the probabilities of a teacher for the words of a sentence; `order` has the teacher's label for each of the student's.
    pub(super) fn add(&mut self, sentence: usize, rows: &[Option<Vec<f32>>], order: &[usize]) {
        let first = self.first_words[sentence];
        for (word, row) in (first..).zip(rows) {
            let Some(row) = row else {
                continue;
            };
            let scaled = |label: usize| f64::from(row[label]) / self.temperature;
            let highest = order
                .iter()
                .map(|&label| scaled(label))
                .fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = order
                .iter()
                .map(|&label| (scaled(label) - highest).exp())
                .collect();
            let total: f64 = powers.iter().sum();
            let sums = &mut self.sums[word * self.width..(word + 1) * self.width];
            for (sum, power) in sums.iter_mut().zip(powers) {
                *sum += power / total;
            }
            self.teachers[word] += 1;
        }
    }

    /// The mean over the teachers that have a subword of the word.
    pub(super) fn mean(self) -> Vec<f32> {
        let words = self.sums.chunks(self.width).zip(&self.teachers);
        words
            .flat_map(|(sums, &teachers)| {
                let count = f64::from(teachers.max(1));
                sums.iter().map(move |sum| (sum / count) as f32)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_at_the_temperature_are_averaged_in_the_students_order() {
        let first_words = [0, 1, 3];
        let mut sum = ProbabilitySum::new(&first_words, 3, 2.0);
        // ln 4 and ln 9 at temperature 2 are ln 2 and ln 3.
        let (four, nine) = (4f32.ln(), 9f32.ln());
        sum.add(0, &[Some(vec![0.0, four, nine])], &[2, 0, 1]);
        sum.add(1, &[None, Some(vec![four, 0.0, 0.0])], &[0, 1, 2]);
        sum.add(1, &[None, Some(vec![0.0, 0.0, four])], &[0, 1, 2]);
        sum.add(0, &[None], &[0, 1, 2]);
        let expected = [0.5, 1.0 / 6.0, 1.0 / 3.0, 0.0, 0.0, 0.0, 0.375, 0.25, 0.375];
        let found = sum.mean();
        assert_eq!(found.len(), 9);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
