//! What a user should know of the splits of a corpus before training.

use std::collections::{BTreeMap, HashMap};

use nerve_corpus::Corpus;

use crate::summary::corpus::CorpusSummary;
use crate::train::notice::Notice;

/// The number of examples of a type from which a model may learn it.
const FEW: usize = 10;

/// The notices of a corpus with this summary, whose splits are those of the summary in the same order.
pub(crate) fn corpus_notices(summary: &CorpusSummary, splits: &[(&str, &Corpus)]) -> Vec<Notice> {
    let cases = cases(summary);
    let mut notices: Vec<Notice> = (!cases.is_empty())
        .then_some(Notice::LabelsDifferInCase { types: cases })
        .into_iter()
        .collect();
    let train = summary.splits.iter().find(|split| split.split == "train");
    let rare: Vec<(String, usize)> = train
        .into_iter()
        .flat_map(|train| &train.types)
        .filter(|(_, count)| **count < FEW)
        .map(|(name, count)| (name.clone(), *count))
        .collect();
    if !rare.is_empty() {
        notices.push(Notice::RareTypes { types: rare });
    }
    for split in &summary.splits {
        let types = summary.types().into_iter().map(str::to_owned);
        let missing: Vec<String> = types.filter(|name| !split.types.contains_key(name)).collect();
        // Of those that train lacks, and of a split without entities, other notices tell.
        if split.split != "train" && split.entities > 0 && !missing.is_empty() {
            notices.push(Notice::MissingTypes {
                split: split.split.clone(),
                types: missing,
            });
        }
        let cut = split.tokens.as_ref().filter(|tokens| tokens.cut > 0);
        notices.extend(cut.map(|tokens| Notice::LongSentences {
            split: split.split.clone(),
            sentences: tokens.cut,
            max_length: tokens.max_length,
        }));
    }
    for (at, first) in splits.iter().enumerate() {
        let later = splits.get(at + 1..).unwrap_or_default();
        notices.extend(later.iter().filter_map(|second| repeated(*first, *second)));
    }
    notices
}

/// The types that differ only in case, together.
fn cases(summary: &CorpusSummary) -> Vec<Vec<String>> {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in summary.types() {
        by_name
            .entry(name.to_lowercase())
            .or_default()
            .push(name.to_owned());
    }
    by_name.into_values().filter(|names| names.len() > 1).collect()
}

/// The sentences of a split that an earlier one has too, word for word.
fn repeated((first, earlier): (&str, &Corpus), (second, later): (&str, &Corpus)) -> Option<Notice> {
    let mut places: HashMap<&[String], usize> = HashMap::new();
    for (at, sentence) in earlier.sentences.iter().enumerate() {
        places.entry(&sentence.words).or_insert(at);
    }
    let mut found = later
        .sentences
        .iter()
        .enumerate()
        .filter_map(|(at, sentence)| Some((at, *places.get(sentence.words.as_slice())?)));
    let (example, original) = found.next()?;
    let place = |corpus: &Corpus, at: usize| format!("{}:{}", corpus.file(at).display(), corpus.line(at, 0));
    Some(Notice::RepeatedSentences {
        splits: (first.to_owned(), second.to_owned()),
        sentences: 1 + found.count(),
        example: (place(earlier, original), place(later, example)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(dir: &std::path::Path, name: &str, text: &str) -> Corpus {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        Corpus::read(&path).unwrap()
    }

    fn told(train: &str, dev: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let (train, dev) = (
            corpus(dir.path(), "train.conll", train),
            corpus(dir.path(), "dev.conll", dev),
        );
        let splits = [("train", &train), ("dev", &dev)];
        let summary = CorpusSummary::of(&splits, None).unwrap();
        let notices = corpus_notices(&summary, &splits);
        assert!(
            notices
                .iter()
                .all(|notice| notice.is_warning() || matches!(notice, Notice::MissingTypes { .. }))
        );
        let root = format!("{}/", dir.path().display());
        notices
            .iter()
            .map(|notice| notice.to_string().replace(&root, ""))
            .collect()
    }

    #[test]
    fn a_practitioner_is_warned() {
        let enough = "a\tB-per\n\n".repeat(10);
        assert_eq!(told(&enough, "b\tB-per\n"), Vec::<String>::new());
        let found = told(
            &(enough.clone() + "c\tB-PER\n\n" + "d\tB-loc\n"),
            "e\tO\n\na\tB-per\n\na\tO\n",
        );
        let [cases, rare, missing, repeated] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(
            cases.starts_with("entity types differ only in case: PER, per;"),
            "{cases}"
        );
        assert!(
            rare.contains("fewer than 10 training examples: PER (1), loc (1)"),
            "{rare}"
        );
        assert!(
            missing.contains("dev has no entity of 2 types: PER, loc"),
            "{missing}"
        );
        assert!(
            repeated.starts_with(
                "2 sentences of dev are in train too, the first on dev.conll:3 and train.conll:1"
            ),
            "{repeated}"
        );
    }
}
