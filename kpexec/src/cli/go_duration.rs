//! Durations as Go writes them, which kubectl takes.

use std::time::Duration;

use thiserror::Error;

/// What is wrong with it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a duration such as 30, 500ms or 1m30s")]
pub struct NotADuration;

/// Seconds, or numbers with their units; 0 means that there is no limit.
pub fn parse_timeout(text: &str) -> Result<Duration, NotADuration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| NotADuration);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration)?;
        let (number, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        seconds += number.parse::<f64>().map_err(|_| NotADuration)? * in_seconds(unit)?;
        rest = behind;
    }
    if text.is_empty() {
        return Err(NotADuration);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| NotADuration)
}

fn in_seconds(unit: &str) -> Result<f64, NotADuration> {
    Ok(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(NotADuration),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_is_taken() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30", 30_000),
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1500),
            (".5s", 500),
            ("1m30s", 90_000),
            ("1h2m3s", 3_723_000),
            ("1000000ns", 1),
            ("2000µs", 2),
        ] {
            assert_eq!(parse_timeout(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "s", "1x", "-1s", "1m30", "1.s.", "1..5s", "soon", "1 s", "99999999999h9"]
        {
            assert_eq!(parse_timeout(wrong), Err(NotADuration), "{wrong}");
        }
    }
}
