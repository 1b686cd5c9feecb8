//! The client's deadline, `grpc-timeout`.

use std::time::Duration;

use tonic::Status;

/// The header of a call's timeout.
const TIMEOUT: &str = "grpc-timeout";
/// The maximum number of digits, by the specification.
const MAX_DIGITS: usize = 8;

/// The client's timeout, if it has one.
pub(crate) fn grpc_timeout(headers: &http::HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(parse) {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(Status::invalid_argument(
            "`grpc-timeout` must have at most 8 digits and one of the units H, M, S, m, u and n",
        )),
    }
}

fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (value, timeout) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(parse(value), Some(timeout), "{value}");
        }
        for wrong in ["", "S", "5", "5s", "+5S", "-5S", "1.5S", "100000000S", "5é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
