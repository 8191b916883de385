//! The grammar of single lines: byte classes, field lines, request targets, authorities (RFC 9110 §5, RFC 9112 §3, RFC 3986).
//!
//! Invariant: what passes holds no byte that two parsers could read differently. Everything here is a pure function of one slice.
//! It refuses to know what the lines add up to.

use crate::guard::violation::Violation;

/// Longest request target, in bytes.
pub(crate) const TARGET_MAX: usize = 8 * 1024;

/// A byte of a token: `tchar` (RFC 9110 §5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// A byte of a path: what RFC 3986 allows, and brackets, which real paths hold.
const PATH: u8 = 2;
/// A byte of a query: as in a path, and `{|}`, which real queries hold.
const QUERY: u8 = 4;
/// A byte of a registered name or IPv4 address; no percent, no sub-delimiters: no host needs them.
const NAME: u8 = 8;
/// A byte of an address in brackets.
const ADDRESS: u8 = 16;

/// The classes of every byte; one look-up in place of many comparisons.
pub(crate) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() {
            class |= TOKEN | NAME;
        }
        if matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            class |= TOKEN;
        }
        if matches!(b, b'-' | b'.' | b'_' | b'~') {
            class |= NAME;
        }
        if b.is_ascii_hexdigit() || matches!(b, b':' | b'.') {
            class |= ADDRESS;
        }
        if !matches!(b, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`') {
            class |= QUERY;
            if !matches!(b, b'{' | b'|' | b'}') {
                class |= PATH;
            }
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

/// Whether every byte is of `class`; true of nothing.
pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |so_far, &b| so_far & CLASS[b as usize]) != 0
}

/// Whether a control byte other than HTAB is among `bytes`. Without an early exit, so that the compiler makes vectors of it.
pub(crate) fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, &b| found | ((b < b' ') & (b != b'\t')) | (b == 0x7f))
}

/// What is wrong with a line that is known to be wrong: a control byte says more than `otherwise`.
pub(crate) fn fault_of(line: &[u8], otherwise: Violation) -> Violation {
    if line.contains(&b'\r') {
        Violation::BareCr
    } else if has_control(line) {
        Violation::ControlByte
    } else {
        otherwise
    }
}

/// `value` without the optional white space around it.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Splits a field line (without its CRLF) into name and untrimmed value, both checked (RFC 9112 §5.1).
pub(crate) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let Some(end) = line.iter().position(|&b| CLASS[b as usize] & TOKEN == 0) else {
        return Err(Violation::MissingColon);
    };
    let (name, rest) = line.split_at(end);
    match rest[0] {
        b':' if end > 0 => {}
        b' ' | b'\t' if end == 0 => return Err(Violation::Fold),
        b' ' | b'\t' if trim(rest).first() == Some(&b':') => return Err(Violation::SpaceBeforeColon),
        _ if !line.contains(&b':') => return Err(fault_of(line, Violation::MissingColon)),
        _ => return Err(fault_of(line, Violation::BadFieldName)),
    }
    let value = &rest[1..];
    if has_control(value) {
        return Err(fault_of(value, Violation::ControlByte));
    }
    Ok((name, value))
}

/// Checks a request target of `method` (RFC 9112 §3.2): origin-form, absolute-form of http and https, `*` with OPTIONS.
pub(crate) fn check_target(method: &[u8], target: &[u8]) -> Result<(), Violation> {
    if target.len() > TARGET_MAX {
        return Err(Violation::TargetTooLong);
    }
    if method == b"CONNECT" {
        return Err(Violation::Connect);
    }
    let local = match target {
        [b'/', ..] => target,
        b"*" if method == b"OPTIONS" => return Ok(()),
        _ => {
            let rest = without_scheme(target).ok_or(Violation::BadTarget)?;
            let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return Err(Violation::BadTarget);
            }
            &rest[end..]
        }
    };
    let (path, query) = local.split_at(memchr::memchr(b'?', local).unwrap_or(local.len()));
    if all(path, PATH) && all(query, QUERY) { Ok(()) } else { Err(Violation::BadTarget) }
}

fn without_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Whether `authority` is a host name, an IPv4 address or a bracketed IPv6 address, with or without a port; no userinfo.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = match authority {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
            if !all(&rest[..end], ADDRESS) {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        _ => {
            let end = authority.iter().position(|&b| b == b':').unwrap_or(authority.len());
            if !all(&authority[..end], NAME) {
                return false;
            }
            authority.split_at(end)
        }
    };
    !host.is_empty() && is_port(port)
}

/// Whether `port` is nothing, or a colon and up to five digits that make no more than 65535.
fn is_port(port: &[u8]) -> bool {
    let digits = match port {
        [] => return true,
        [b':', digits @ ..] => digits,
        _ => return false,
    };
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0')) <= 65_535
}
