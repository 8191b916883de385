//! Dates as messages write them (RFC 9110 §5.6.7): all three forms, read leniently where nothing depends on it.
//!
//! ```text
//! IMF-fixdate   Sun, 06 Nov 1994 08:49:37 GMT
//! rfc850-date   Sunday, 06-Nov-94 08:49:37 GMT
//! asctime-date  Sun Nov  6 08:49:37 1994
//! ```
//! Invariant: what decides the time is read to the letter; case does not count, and a wrong weekday does no harm. Any other
//! zone, order or number of digits is no date. It refuses to know what time it is: years of two digits want to be told.

use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderMap, HeaderName};
use smallvec::SmallVec;

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// 1970 to 2020: where nothing is known of the time, years of two digits are read from there on.
const FIFTY_YEARS: Duration = Duration::from_secs(50 * 31_556_952);

/// The date that a field holds, if there is one line of it and it can be read. `about`: when it was written, more or less.
pub(crate) fn field(headers: &HeaderMap, name: &HeaderName, about: SystemTime) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let only = lines.next()?;
    if lines.next().is_some() { None } else { parse(only.as_bytes(), about) }
}

/// When a message says that it was made, for reading the other dates of it.
pub(crate) fn made(headers: &HeaderMap) -> SystemTime {
    let unknown = SystemTime::UNIX_EPOCH + FIFTY_YEARS;
    field(headers, &DATE, unknown).unwrap_or(unknown)
}

/// Reads a date of the years 1970 to 9999. `about` is a time near which it was written: a year of two digits is taken
/// for the last one with these digits that is not more than fifty years after it.
pub(crate) fn parse(value: &[u8], about: SystemTime) -> Option<SystemTime> {
    let words: SmallVec<[&[u8]; 7]> = value.trim_ascii().split(|byte| *byte == b' ').take(7).collect();
    let seconds = match words[..] {
        [name, month, b"", day, clock, year] if is_day(name, "", 3) => {
            at(number(year, 4)?, month, number(day, 1)?, clock)
        }
        [name, month, day, clock, year] if is_day(name, "", 3) => {
            at(number(year, 4)?, month, number(day, 2)?, clock)
        }
        [name, day, month, year, clock, zone] if is_day(name, ",", 3) && is(zone, "GMT") => {
            at(number(year, 4)?, month, number(day, 2)?, clock)
        }
        [name, date, clock, zone] if is_day(name, ",", usize::MAX) && is(zone, "GMT") => {
            let mut parts = date.splitn(3, |byte| *byte == b'-');
            let (day, month, year) = (number(parts.next()?, 2)?, parts.next()?, number(parts.next()?, 2)?);
            let latest = about.checked_add(FIFTY_YEARS)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let readings =
                (1900..10_000).step_by(100).filter_map(|century| at(century + year, month, day, clock));
            readings.take_while(|seconds| *seconds <= latest.as_secs().cast_signed()).last()
        }
        _ => None,
    }?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn is(word: &[u8], known: &str) -> bool {
    word.eq_ignore_ascii_case(known.as_bytes())
}

/// Whether it is the name of a day, cut to so many letters, and `after` it.
fn is_day(word: &[u8], after: &str, letters: usize) -> bool {
    let name = word.strip_suffix(after.as_bytes());
    name.is_some_and(|name| DAYS.iter().any(|day| is(name, &day[..letters.min(day.len())])))
}

fn number(text: &[u8], digits: usize) -> Option<i64> {
    let is_one = text.len() == digits && text.iter().all(u8::is_ascii_digit);
    is_one.then(|| text.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

/// Seconds since 1970 began; `None` if there is no such time. A leap second is the one after it.
fn at(year: i64, month: &[u8], day: i64, clock: &[u8]) -> Option<i64> {
    let month = MONTHS.iter().position(|known| is(month, known))?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let odd_day = i64::from(is_leap && month >= 2);
    let next = DAYS_BEFORE.get(month + 1).copied().unwrap_or(365) + i64::from(is_leap && month == 1);
    let before = DAYS_BEFORE[month];
    let mut parts = clock.splitn(3, |byte| *byte == b':');
    let [hour, minute, second] = std::array::from_fn(|_| parts.next().and_then(|part| number(part, 2)));
    let (hour, minute, second) = (hour?, minute?, second?);
    if !(1..=next - before).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let whole = year - 1;
    let leap_days = whole / 4 - whole / 100 + whole / 400 - 477; // as many before 1970
    let days = (year - 1970) * 365 + leap_days + before + odd_day + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ABOUT: SystemTime = SystemTime::UNIX_EPOCH;
    /// Seconds from 1970 to 2070.
    const IN_2070: u64 = 3_155_760_000;

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 15 Jun 2025 00:00:00 GMT").unwrap()
    }

    fn read(text: &str) -> Option<SystemTime> {
        parse(text.as_bytes(), now())
    }

    fn written(text: &str) -> Option<SystemTime> {
        Some(httpdate::parse_http_date(text).unwrap())
    }

    #[test]
    fn all_three_forms_say_the_same() {
        let when = written("Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT\t",
        ] {
            assert_eq!(read(text), when, "{text}");
        }
    }

    #[test]
    fn case_and_a_wrong_weekday_change_nothing() {
        let when = written("Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "SUN, 06 NOV 1994 08:49:37 gmt",
            "sun, 06 nov 1994 08:49:37 Gmt",
            "Tue, 06 Nov 1994 08:49:37 GMT",
            "TUESDAY, 06-nOV-94 08:49:37 GMt",
            "mON Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(text), when, "{text}");
        }
    }

    #[test]
    fn what_leaves_the_time_in_doubt_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "now",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 GMT+1",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06\tNov 1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun, 06 November 1994 08:49:37 GMT",
            "Sol, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2100 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 23:60:00 GMT",
            "Sun, 06 Nov 1994 23:59:61 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_a_time() {
        assert_eq!(read("Sat, 31 Dec 2016 23:59:60 GMT"), written("Sun, 01 Jan 2017 00:00:00 GMT"));
    }

    #[test]
    fn a_year_of_two_digits_is_never_more_than_fifty_years_ahead() {
        for (two, four) in [
            ("Thursday, 18-Aug-50 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 GMT"),
            ("Saturday, 01-Jan-00 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"),
            ("Tuesday, 29-Feb-00 00:00:00 GMT", "Tue, 29 Feb 2000 00:00:00 GMT"),
            ("Friday, 14-Jun-75 00:00:00 GMT", "Fri, 14 Jun 2075 00:00:00 GMT"),
            ("Tuesday, 17-Jun-75 00:00:00 GMT", "Tue, 17 Jun 1975 00:00:00 GMT"),
            ("Friday, 31-Dec-99 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"),
        ] {
            assert_eq!(read(two), written(four), "{two}");
        }
        let next_century = written("Thu, 01 Jan 2093 00:00:00 GMT").unwrap();
        let read = parse(b"Saturday, 06-Nov-94 08:49:37 GMT", next_century);
        assert_eq!(read, written("Sat, 06 Nov 2094 08:49:37 GMT"));
    }

    #[test]
    fn a_message_s_other_dates_are_read_near_its_own() {
        let headers = crate::policy::testing::head(&[
            ("date", "Thu, 01 Jan 2093 00:00:00 GMT"),
            ("expires", "Saturday, 06-Nov-94 08:49:37 GMT"),
        ]);
        let expires = field(&headers, &http::header::EXPIRES, made(&headers));
        assert_eq!(expires, written("Sat, 06 Nov 2094 08:49:37 GMT"));
    }

    proptest! {
        #[test]
        fn every_second_that_can_be_written_is_read_back(second in 0..253_402_300_800_u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            prop_assert_eq!(parse(httpdate::fmt_http_date(time).as_bytes(), ABOUT), Some(time));
        }

        #[test]
        fn what_httpdate_reads_is_the_same_time_here(
            second in 0..IN_2070,
            damage in proptest::option::of((0..33_usize, b'0'..=b'9')),
        ) {
            // it takes years of two digits for those before 2070
            let about = ABOUT + Duration::from_secs(IN_2070 - 1) - FIFTY_YEARS;
            let imf = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            let (day, month, year, clock) = (&imf[5..7], &imf[8..11], &imf[12..16], &imf[17..25]);
            let name = DAYS.into_iter().find(|name| imf.starts_with(&name[..3])).unwrap();
            let rfc850 = format!("{name}, {day}-{month}-{} {clock} GMT", &year[2..]);
            let asctime = format!("{} {month} {:>2} {clock} {year}", &name[..3], day.trim_start_matches('0'));
            for form in [imf.clone(), rfc850, asctime] {
                let mut text = form.into_bytes();
                // a wrong number, as it does not look at every separator
                if let Some((at, digit)) = damage && text.get(at).is_some_and(u8::is_ascii_digit) {
                    text[at] = digit;
                }
                let theirs = httpdate::parse_http_date(std::str::from_utf8(&text).unwrap());
                prop_assert!(damage.is_some() || theirs.is_ok());
                if let Ok(time) = theirs {
                    prop_assert_eq!(parse(&text, about), Some(time));
                }
            }
        }

        #[test]
        fn no_value_makes_it_panic(value in proptest::collection::vec(any::<u8>(), 0..64), after in 0..u64::MAX) {
            let about = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(after));
            let _ = parse(&value, about.unwrap_or(ABOUT));
        }
    }
}
