//! Numbers as people read them; `words.js` says the same. Pure.

use serde_json::Value;

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut told = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// `94.2 %`; what is not known is a dash.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// `0.05 ms`, `12 ms`, `1.2 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`
pub(super) fn time(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "–".to_owned() };
    let ms = seconds * 1e3;
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3_600, whole / 86_400);
    if ms < 1.0 {
        format!("{ms:.2} ms")
    } else if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if whole < 60 {
        format!("{whole} s")
    } else if minutes < 60 {
        format!("{minutes} min {} s", whole % 60)
    } else if hours < 24 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{days} d {} h", hours % 24)
    }
}

/// `1.5 MiB`
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 || size >= 100.0 {
        format!("{size:.0} {}", UNITS[unit])
    } else {
        format!("{size:.1} {}", UNITS[unit])
    }
}

/// What a list holds; what is none holds nothing.
pub(super) fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_read_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([None, Some(0.0), Some(0.9421)].map(percent), ["–", "0.0 %", "94.2 %"]);
        let times = [0.000_05, 0.001_2, 0.012, 1.23, 12.0, 185.0, 7_500.0, 273_600.0];
        let told = ["0.05 ms", "1.2 ms", "12 ms", "1.2 s", "12 s", "3 min 5 s", "2 h 5 min", "3 d 4 h"];
        assert_eq!(times.map(|seconds| time(Some(seconds))), told);
        assert_eq!([0, 1_023, 1_536, 200 << 20].map(bytes), ["0 B", "1023 B", "1.5 KiB", "200 MiB"]);
    }
}
