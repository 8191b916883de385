//! Who is believed about traces, and who decides what is exported.

use crate::origin::Origin;
use crate::receiver::{Mood, Receiver};
use crate::{CONFIG, ask, below, lines, of_path, traced, traced_by};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn trusting() -> String {
    format!("{CONFIG}trusted_proxies: 127.0.0.0/8\n")
}

#[test]
fn a_trusted_proxys_trace_goes_on_and_a_strangers_is_nobodys() {
    for (config, is_trusted) in [(trusting(), true), (CONFIG.to_owned(), false)] {
        let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
        let proxy = traced_by(&config, origin.address, &receiver, &[]);
        let fields = [("traceparent", parent("01")), ("tracestate", "vendor=word".to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        ask(proxy.listen, "GET", "/api/projects/1", &fields);
        ask(proxy.listen, "GET", "/api/projects/1", &fields);
        let spans = receiver.wait_for_requests(2);
        let above: Vec<_> = spans.iter().filter(|span| span.said.contains_key("url.path")).collect();
        for span in &above {
            assert_eq!(span.trace == TRACE, is_trusted, "{span:#?}");
            assert_eq!(span.parent, if is_trusted { CALLER } else { "" });
            assert_eq!(span.state, if is_trusted { "vendor=word" } else { "" });
        }
        assert_ne!(above[0].id, above[1].id);
        let [Some(told)] = &origin.told("/api/projects/1", "traceparent")[..] else {
            panic!("it is told once")
        };
        assert_eq!(told.contains(TRACE), is_trusted);
        assert!(!told.contains(CALLER), "the origin was called by Larder: {told}");
        let state = origin.told("/api/projects/1", "tracestate");
        assert_eq!(state, [is_trusted.then(|| "vendor=word".to_owned())]);
    }
}

#[test]
fn what_a_trusted_caller_does_not_want_exported_is_not_and_the_origin_hears_so() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced_by(&trusting(), origin.address, &receiver, &[]);
    ask(proxy.listen, "GET", "/api/projects/1", &[("traceparent", &parent("00"))]);
    ask(proxy.listen, "GET", "/api/projects/2", &[("traceparent", &parent("01"))]);
    ask(proxy.listen, "GET", "/api/projects/3", &[("traceparent", "no such thing")]);
    let lines = lines(&proxy, 3);
    assert!(lines["none"].get("trace_id").is_none(), "there is no trace to be found");
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
    let spans = receiver.spans();
    assert!(spans.iter().all(|span| span.said.get("url.path").is_none_or(|path| path != "/api/projects/1")));
    let told = |path: &str| origin.told(path, "traceparent")[0].clone().expect("it is told");
    assert!(
        told("/api/projects/1").starts_with(&format!("00-{TRACE}-"))
            && told("/api/projects/1").ends_with("-00")
    );
    assert!(
        told("/api/projects/2").starts_with(&format!("00-{TRACE}-"))
            && told("/api/projects/2").ends_with("-01")
    );
    let anew = of_path(&spans, "/api/projects/3");
    assert_eq!((anew.trace == TRACE, anew.parent.as_str(), below(&spans, anew).len()), (false, "", 1));
}

#[test]
fn a_share_of_nothing_exports_nothing_and_one_of_everything_all_of_it() {
    for (sampler, share, exported) in [
        ("traceidratio", "0", 0),
        ("parentbased_traceidratio", "0.0", 0),
        ("always_off", "1", 0),
        ("parentbased_traceidratio", "1", 20),
        ("always_on", "0", 20),
    ] {
        let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
        let more = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", share)];
        let proxy = traced(origin.address, &receiver, &more);
        for number in 0..10 {
            ask(proxy.listen, "GET", &format!("/api/projects/{number}"), &[]);
        }
        proxy.signal("TERM");
        assert_eq!(proxy.join().code(), Some(0));
        assert_eq!(receiver.spans().len(), exported, "{sampler} {share}");
        assert_eq!(receiver.asked() > 0, exported > 0, "nobody is bothered with nothing");
        let flags = if exported > 0 { "-01" } else { "-00" };
        let told = origin.told("/api/projects/1", "traceparent");
        assert!(told[0].as_ref().is_some_and(|told| told.ends_with(flags)), "{sampler}: {told:?}");
    }
}

#[test]
fn half_of_all_traces_is_whole_traces() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let more = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let proxy = traced(origin.address, &receiver, &more);
    for number in 0..100 {
        ask(proxy.listen, "GET", &format!("/api/projects/{number}"), &[]);
    }
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
    let spans = receiver.spans();
    let above: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    // Chance would leave this once in ten million runs.
    assert!((24..=76).contains(&above.len()), "{}", above.len());
    assert!(above.iter().all(|span| below(&spans, span).len() == 1) && spans.len() == 2 * above.len());
}

#[test]
fn without_an_endpoint_nothing_is_told_and_what_a_trusted_proxy_says_passes() {
    for (more, is_quiet) in [
        (None, true),
        (Some(("OTEL_SDK_DISABLED", "true")), true),
        (Some(("OTEL_TRACES_EXPORTER", "none")), true),
    ] {
        let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
        let proxy = match more {
            Some(more) => traced_by(&trusting(), origin.address, &receiver, &[more]),
            None => crate::harness::Proxy::start(origin.address, &trusting()),
        };
        ask(proxy.listen, "GET", "/api/projects/1", &[("traceparent", &parent("01"))]);
        ask(proxy.listen, "GET", "/api/projects/2", &[]);
        assert!(lines(&proxy, 2)["none"].get("trace_id").is_none());
        proxy.signal("TERM");
        assert_eq!(proxy.join().code(), Some(0));
        assert_eq!(receiver.asked() == 0, is_quiet);
        assert_eq!(origin.told("/api/projects/1", "traceparent"), [Some(parent("01"))]);
        assert_eq!(origin.told("/api/projects/2", "traceparent"), [None]);
    }
}
