//! A raw input and the verdict it must get, however it is split.

use std::borrow::Cow;

use larder::guard::{Asked, Fault, Framing, RequestGuard, ResponseGuard, Violation};

/// One raw input.
pub(crate) struct Case {
    pub(crate) input: Cow<'static, [u8]>,
    pub(crate) verdict: Verdict,
}

/// What must become of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every byte is dealt with, and exactly these are released.
    Passes(Vec<u8>),
    /// Exactly these are released, and the rest waits for more.
    Waits(Vec<u8>),
    /// Exactly these are released before the refusal (for requests; for responses: when they come byte by byte).
    Refused { released: Vec<u8>, status: u16, reason: &'static str },
}

pub(crate) fn passes(input: impl Into<Cow<'static, [u8]>>) -> Case {
    let input = input.into();
    Case { verdict: Verdict::Passes(input.to_vec()), input }
}

pub(crate) fn passes_as(released: &'static [u8], input: &'static [u8]) -> Case {
    Case { input: input.into(), verdict: Verdict::Passes(released.into()) }
}

/// `released` goes on, `held` waits.
pub(crate) fn waits(released: &'static [u8], held: &'static [u8]) -> Case {
    Case { input: [released, held].concat().into(), verdict: Verdict::Waits(released.into()) }
}

pub(crate) fn refused(status: u16, reason: &'static str, input: impl Into<Cow<'static, [u8]>>) -> Case {
    Case { input: input.into(), verdict: Verdict::Refused { released: Vec::new(), status, reason } }
}

/// `released` goes on, and then something in `rest` is refused.
pub(crate) fn refused_after(
    status: u16,
    reason: &'static str,
    released: impl AsRef<[u8]>,
    rest: impl AsRef<[u8]>,
) -> Case {
    let released = released.as_ref().to_vec();
    let input = [&released, rest.as_ref()].concat().into();
    Case { input, verdict: Verdict::Refused { released, status, reason } }
}

/// Feeds `input` in pieces that end at the offsets `cuts` (rising) and at its end.
pub(crate) fn run_request(input: &[u8], cuts: &[usize]) -> Verdict {
    let mut guard = RequestGuard::default();
    let (mut released, mut done) = (Vec::new(), 0);
    for &end in cuts.iter().chain([&input.len()]) {
        loop {
            let step = match guard.step(&input[done..end]) {
                Ok(step) => step,
                Err(fault) => {
                    let (Fault::Head(violation) | Fault::Body(violation)) = fault;
                    assert_eq!(
                        guard.step(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                        Err(fault),
                        "a refusal is final"
                    );
                    return refusal(released, violation);
                }
            };
            released.extend_from_slice(&input[done + step.swallowed..][..step.released]);
            done += step.swallowed + step.released;
            if step.swallowed + step.released == 0 {
                break;
            }
        }
    }
    if done == input.len() { Verdict::Passes(released) } else { Verdict::Waits(released) }
}

/// The same for what an origin sends to requests that ask in turn for `asked`, each begun when the one before is done.
pub(crate) fn run_response(framing: Framing, asked: &[Asked], input: &[u8], cuts: &[usize]) -> Verdict {
    let mut guard = ResponseGuard::new(framing);
    let mut asked = asked.iter();
    let (mut released, mut done) = (Vec::new(), 0);
    for &end in cuts.iter().chain([&input.len()]) {
        if guard.is_idle()
            && let Some(&asked) = asked.next()
        {
            guard.begin(asked);
        }
        match guard.feed(&input[done..end]) {
            Ok(taken) => {
                released.extend_from_slice(&input[done..done + taken]);
                done += taken;
            }
            Err(violation) => assert_eq!(guard.refusal(), Some(violation)),
        }
        if let Some(violation) = guard.refusal() {
            guard.begin(Asked::Content);
            assert_eq!(guard.feed(b"HTTP/1.1 200 OK\r\n\r\n"), Err(violation), "a refusal is final");
            assert_eq!(guard.eof(), Err(violation));
            return refusal(released, violation);
        }
    }
    if done == input.len() { Verdict::Passes(released) } else { Verdict::Waits(released) }
}

fn refusal(released: Vec<u8>, violation: Violation) -> Verdict {
    assert!(!violation.to_string().is_empty());
    Verdict::Refused { released, status: violation.status().as_u16(), reason: violation.reason() }
}

/// Cuts that differ from call to call and are the same in every run.
pub(crate) struct Cuts(pub(crate) u64);

impl Cuts {
    pub(crate) fn next(&mut self, len: usize) -> Vec<usize> {
        let (mut cuts, mut at) = (Vec::new(), 0);
        loop {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            at += 1 + (self.0 >> 33) as usize % 40;
            if at >= len {
                return cuts;
            }
            cuts.push(at);
        }
    }
}

/// Every offset: byte by byte.
pub(crate) fn every_byte(len: usize) -> Vec<usize> {
    (1..len).collect()
}
