//! W3C Trace Context: who called, and who is told that we call.
//!
//! Invariant: what is not exactly a `traceparent` is none; a `tracestate` that is none costs only itself.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Most bytes of a `tracestate` that go along (Trace Context §3.3.1.5 wants as many).
const STATE_BYTES: usize = 512;
/// `00-` 32 digits `-` 16 digits `-` 2 digits.
const LENGTH: usize = 55;

/// Who called, as these fields say.
pub(in crate::traces) fn parent(fields: &HeaderMap) -> Option<SpanContext> {
    let mut said = fields.get_all(TRACEPARENT).iter();
    let (one, None) = (said.next()?, said.next()) else { return None };
    let (trace, span, flags) = read(one.to_str().ok()?)?;
    let context = SpanContext::new(trace, span, flags, true, state(fields).unwrap_or_default());
    context.is_valid().then_some(context)
}

/// Trace Context §3.2. What a later version says behind these four parts is not understood, and left out.
fn read(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let version = text.get(..2)?;
    let (head, rest) = text.split_at_checked(LENGTH)?;
    let is_whole = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = head.split('-');
    let (Some(first), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let lengths = [first, trace, span, flags].map(str::len) == [2, 32, 16, 2];
    if !is_whole || !lengths || version == "ff" || ![first, trace, span, flags].into_iter().all(is_hex) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags))
}

/// Several lines are one list.
fn state(fields: &HeaderMap) -> Option<TraceState> {
    let lines: Option<Vec<&str>> = fields.get_all(TRACESTATE).iter().map(|line| line.to_str().ok()).collect();
    let text = lines?.join(",");
    (text.len() <= STATE_BYTES).then(|| text.parse().ok()).flatten()
}

/// Tells whoever gets these fields that `context` calls, in place of whatever they said.
pub(in crate::traces) fn announce(fields: &mut HeaderMap, context: &SpanContext) {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    if let Ok(parent) = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")) {
        fields.insert(TRACEPARENT, parent);
    }
    fields.remove(TRACESTATE);
    let state = context.trace_state().header();
    if let (false, Ok(state)) = (state.is_empty(), HeaderValue::try_from(state)) {
        fields.insert(TRACESTATE, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn what_is_read_is_what_is_told() {
        let context =
            parent(&fields(&[("traceparent", SOUND), ("tracestate", "a=1"), ("tracestate", "b=2")]));
        let context = context.unwrap();
        assert!(context.is_sampled() && context.is_remote());
        let mut told = fields(&[("traceparent", "x"), ("tracestate", "x"), ("tracestate", "y")]);
        announce(&mut told, &context);
        assert_eq!(told, fields(&[("traceparent", SOUND), ("tracestate", "a=1,b=2")]));
    }

    #[test]
    fn what_is_no_traceparent_is_nobody() {
        let later = format!("01{}-more", &SOUND[2..]);
        for sound in [SOUND, &SOUND.replace("-01", "-00"), &SOUND.replace("-01", "-ff"), &later] {
            assert!(parent(&fields(&[("traceparent", sound)])).is_some(), "{sound}");
        }
        let wrong = [
            "".to_owned(),
            "00".to_owned(),
            SOUND.to_uppercase(),
            SOUND.replacen("00-", "ff-", 1),
            SOUND.replacen("00-", "0x-", 1),
            SOUND.replace("-01", "-0"),
            SOUND.replace("-01", "-+1"),
            format!("{SOUND}-more"),
            format!("{later}x").replacen("-more", "more", 1),
            SOUND.replace("b7ad6b7169203331", "0000000000000000"),
            SOUND.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            SOUND.replacen("0af7", "-af7", 1),
            SOUND.replacen("0af7", "é7", 1),
        ];
        for text in wrong {
            assert!(parent(&fields(&[("traceparent", &text)])).is_none(), "{text}");
        }
        assert!(parent(&fields(&[("traceparent", SOUND), ("traceparent", SOUND)])).is_none());
        assert!(parent(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_state_that_is_none_or_too_long_costs_only_itself() {
        for state in ["no list", &format!("a={}", "x".repeat(600))] {
            let context = parent(&fields(&[("traceparent", SOUND), ("tracestate", state)])).unwrap();
            assert_eq!(context.trace_state().header(), "", "{state}");
        }
    }
}
