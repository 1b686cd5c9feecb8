//! What `fuzz/` runs on hostile bytes: nothing may panic, and every answer must be true of its text.

pub use crate::bulk::fuzz::lines;

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn hostile_lines_are_answered_or_refused() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/lines");
        let mut tried = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            super::lines(&std::fs::read(entry.unwrap().path()).unwrap());
            tried += 1;
        }
        assert!(tried > 0, "{}", dir.display());
    }
}
