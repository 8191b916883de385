//! Every raw input of [`table`], one after the other, against one proxy and one origin that writes down what it gets.

use super::client::{HalfClose, get, talk};
use super::origin::{Recorder, Seen, body_of};
use super::table::{Case, Right, cases};
use super::wire::Message;
use crate::harness::Proxy;

pub(crate) const CONFIG: &str =
    "routes: { '/{case}/c': 1h }\nshutdown: { delay: 0s, timeout: 5s }\nlog: { access: off }\n";
/// Tells the fetch of a check from that of a case.
const CHECK: &str = "X-Check: 1\r\n";

/// The four digits that stand for `NNNN`.
pub(crate) fn numbered(bytes: &[u8], number: usize) -> Vec<u8> {
    let digits = format!("{number:04}").into_bytes();
    let mut numbered = bytes.to_vec();
    for at in 0..numbered.len().saturating_sub(3) {
        if numbered[at..].starts_with(b"NNNN") {
            numbered[at..at + 4].copy_from_slice(&digits);
        }
    }
    numbered
}

/// The names under which Larder may know itself here.
pub(crate) fn authorities(proxy: &Proxy) -> Vec<String> {
    let own = format!("localhost:{}", proxy.listen.port());
    vec![own, "api.example".into()]
}

/// What a right answer to `case` fails in; then the cached route is looked at from a new connection.
fn try_case(proxy: &Proxy, number: usize, case: &Case, faults: &mut Vec<String>) {
    let mut fault = |what: String| faults.push(format!("#{number} {}\n      {what}", case.name));
    let bytes = numbered(&case.bytes, number);
    let half_close = if case.right == Right::Unfinished { HalfClose::AtOnce } else { HalfClose::Never };
    let talk = talk(proxy.listen, &bytes, half_close);
    if !talk.ended {
        fault(format!("it hangs after {}", talk.bytes.escape_ascii()));
    }
    let http2 = bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let bare = bytes.starts_with(b"HEAD");
    match talk.answers(bare) {
        Ok(answers) => {
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.head.status()).collect();
            let right = match &case.right {
                Right::Answers(right, _) => statuses == *right,
                Right::Spoilt => matches!(statuses[..], [400 | 431]),
                Right::Unfinished => statuses.is_empty() || matches!(statuses[..], [400..=499]),
            };
            if !right {
                fault(format!("answered {statuses:?}, not {:?}", case.right));
            }
            let refusals = answers
                .iter()
                .filter(|answer| answer.head.status() >= 400 && case.right != Right::Unfinished);
            refusals.filter_map(|answer| problem_of(answer, bare)).for_each(&mut fault);
        }
        Err(_) if http2 => {}
        Err(why) => fault(why),
    }
    let target = format!("/{number:04}/c");
    match get(proxy.listen, &target, CHECK) {
        Err(why) => fault(format!("afterwards: {why}")),
        Ok(answer) => {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            if (answer.head.status(), &body) != (200, &body_of(&target, &authorities(proxy)[0])) {
                fault(format!("afterwards {} {body}", answer.head.line));
            }
        }
    }
}

/// A refusal says so as a problem (RFC 9457), closes, and is stored by nobody; `bare`: it answers a HEAD.
fn problem_of(answer: &Message, bare: bool) -> Option<String> {
    let head = &answer.head;
    let good = head.all("content-type") == ["application/problem+json"]
        && head.all("connection") == ["close"]
        && head.one("cache-control").is_some_and(|value| value.contains("no-store"))
        && (bare || String::from_utf8_lossy(&answer.body).contains(&format!("\"status\":{}", head.status())));
    (!good).then(|| format!("no problem, or open: {head:?} {}", answer.body.escape_ascii()))
}

/// What the origin must not have seen.
fn try_origin(seen: &[Seen], cases: &[Case], authorities: &[String], faults: &mut Vec<String>) {
    for (number, case) in cases.iter().enumerate() {
        let mut fault = |what: String| faults.push(format!("#{number} {}\n      {what}", case.name));
        let of_case = seen.iter().filter(|seen| seen.case() == Some(number));
        let of_case: Vec<&Seen> = of_case.filter(|seen| !is_check(seen)).collect();
        for seen in &of_case {
            seen.faults(authorities).into_iter().for_each(&mut fault);
            if seen.head().is_some_and(|head| head.target().contains("smuggled")) {
                fault(format!("smuggled: {seen:?}"));
            }
        }
        let whole = of_case.iter().filter(|seen| matches!(seen, Seen::Whole(_))).count();
        let (right, cut) = match &case.right {
            Right::Answers(_, right) => (*right, 0),
            Right::Spoilt | Right::Unfinished => (0, 1),
        };
        if whole != right || of_case.len() > whole + cut {
            fault(format!(
                "{} requests at the origin, {whole} of them whole; should be {right}",
                of_case.len()
            ));
        }
    }
    for stray in seen.iter().filter(|seen| seen.case().is_none_or(|number| number >= cases.len())) {
        faults.push(format!("at the origin, of no case: {stray:?}"));
    }
}

fn is_check(seen: &Seen) -> bool {
    seen.head().is_some_and(|head| head.one("x-check").is_some())
}

#[test]
fn no_raw_input_reaches_the_origin_but_as_the_one_canonical_request_it_is() {
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    let (cases, mut faults) = (cases(), Vec::new());
    assert!(cases.len() >= 200, "{}", cases.len());
    for (number, case) in cases.iter().enumerate() {
        try_case(&proxy, number, case, &mut faults);
    }
    let authorities = authorities(&proxy);
    let stderr = proxy.stderr();
    // What was still under way ends before the process does.
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
    try_origin(&origin.seen(), &cases, &authorities, &mut faults);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(faults.is_empty(), "{} of {} inputs:\n{}", faults.len(), cases.len(), faults.join("\n"));
}
