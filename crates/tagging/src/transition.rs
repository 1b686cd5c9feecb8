//! The transitions between labels that a scheme permits.

use crate::label::LabelSet;
use crate::scheme::TagScheme;
use crate::tag::{LabelId, Tag};

impl LabelSet {
    /// Whether the label `next` is permitted after the label `previous`, or on the first word of a text (`None`).
    ///
    /// In IOB2 and IOBES, `I-X` and `E-X` are only permitted after `B-X` or `I-X`. In IOBES, an entity that starts with `B-X`
    /// must end with `E-X`. If the set has no `B-X`, `I-X` and `E-X` may start an entity; if it has no `E-X`, an entity of
    /// type `X` may end anywhere. In IOB1, IO and bare types every transition is permitted.
    pub fn may_follow(&self, previous: Option<LabelId>, next: LabelId) -> bool {
        match self.scheme() {
            TagScheme::Iob1 | TagScheme::Io | TagScheme::Plain => return true,
            TagScheme::Iob2 | TagScheme::Iobes => {}
        }
        let open = match previous.and_then(|previous| self.tag(previous)) {
            Some(Tag::Begin(of) | Tag::Inside(of)) => Some(of),
            Some(Tag::Outside | Tag::End(_) | Tag::Single(_)) | None => None,
        };
        let continued = match self.tag(next) {
            Some(Tag::Inside(of) | Tag::End(of)) => Some(of),
            Some(Tag::Outside | Tag::Begin(_) | Tag::Single(_)) | None => None,
        };
        if open.is_some() && open == continued {
            return true;
        }
        let may_end = open.is_none_or(|of| self.id(Tag::End(of)).is_none());
        let may_begin = continued.is_none_or(|of| self.id(Tag::Begin(of)).is_none());
        may_end && may_begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{OrphanRule, entities};
    use proptest::prelude::*;

    /// Whether each label of a sequence may follow its predecessor.
    fn valid(labels: &LabelSet, sequence: &[LabelId]) -> bool {
        let previous = std::iter::once(None).chain(sequence.iter().copied().map(Some));
        previous
            .zip(sequence)
            .all(|(previous, &next)| labels.may_follow(previous, next))
    }

    fn is_valid(names: &[&str], sequence: &str) -> bool {
        let labels = LabelSet::learn(names.iter().copied()).unwrap();
        let ids: Vec<LabelId> = sequence
            .split(' ')
            .map(|name| labels.parse(name).unwrap())
            .collect();
        valid(&labels, &ids)
    }

    #[test]
    fn each_scheme_has_its_rule() {
        let iobes = ["O", "B-a", "I-a", "E-a", "S-a", "B-b", "I-b", "E-b", "S-b"];
        for allowed in [
            "O B-a E-a B-a I-a E-a S-b O",
            "S-a S-a",
            "B-a E-a S-b B-b I-b I-b E-b",
        ] {
            assert!(is_valid(&iobes, allowed), "{allowed}");
        }
        for forbidden in [
            "I-a",
            "E-a",
            "O E-a",
            "B-a O",
            "B-a S-b",
            "I-a",
            "B-a B-a",
            "B-a E-b",
            "S-a I-a",
            "B-a E-a E-a",
        ] {
            assert!(!is_valid(&iobes, forbidden), "{forbidden}");
        }
        let iob2 = ["O", "B-a", "I-a", "B-b", "I-b"];
        assert!(is_valid(&iob2, "B-a B-a I-a O B-b I-b B-a"));
        for forbidden in ["I-a", "O I-a", "B-b I-a"] {
            assert!(!is_valid(&iob2, forbidden), "{forbidden}");
        }
        assert!(is_valid(&["O", "I-a", "I-b"], "I-a I-b O I-a"));
        assert!(is_valid(&["O", "B-a", "I-a", "I-b"], "I-a B-a O I-b I-a"));
        assert!(is_valid(&["O", "a", "b"], "a b O b"));
        // Sets without `B-a` and without `E-a`, where an entity may start or end anywhere.
        assert!(is_valid(&["O", "I-a", "E-a"], "I-a E-a E-a O"));
        assert!(is_valid(&["O", "B-a", "I-a", "S-a"], "B-a I-a O B-a S-a"));
    }

    proptest! {
        #[test]
        fn what_is_allowed_has_no_orphans(raw in prop::collection::vec(0usize..9, 0..8)) {
            for names in [
                &["O", "B-a", "I-a", "E-a", "S-a", "B-b", "I-b", "E-b", "S-b"][..],
                &["B-a", "U-a", "L-a", "I-a", "O", "U-b"],
                &["O", "B-a", "I-a", "B-b", "I-b"],
            ] {
                let labels = LabelSet::learn(names.iter().copied()).unwrap();
                let sequence: Vec<LabelId> = raw.iter().map(|&id| LabelId(id % labels.len())).collect();
                let tags = || sequence.iter().map(|&id| labels.tag(id).unwrap());
                let orphans = entities(tags(), OrphanRule::Start) != entities(tags(), OrphanRule::Drop);
                prop_assert!(!(orphans && valid(&labels, &sequence)), "{:?}", sequence);
            }
        }
    }
}
