//! What `fuzz/` runs on hostile bytes: nothing may panic, and every answer must be true of its text.

pub use crate::http::fuzz::requests;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every file that the fuzz targets begin with, and every finding, which is one of them since.
    fn seeds(target: &str, run: impl Fn(&[u8])) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/seeds")
            .join(target);
        let mut tried = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            tried += 1;
        }
        assert!(tried > 0, "{}", dir.display());
    }

    #[test]
    fn hostile_requests_are_answered_or_refused() {
        seeds("requests", super::requests);
    }
}
