//! Receivers that are absent, hang or refuse: what that costs is spans, and nothing else.

use crate::harness::{Orphan, free_port, get, successors, until};
use crate::origin::Origin;
use crate::receiver::{Mood, Receiver};
use crate::{CONFIG, ask, mentions, metric, traced, traced_by};

const COMPLAINT: &str = "traces are not received";
const RELIEF: &str = "traces are received";
/// Little room, and little patience.
const SMALL: [(&str, &str); 3] = [
    ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
];

fn spans(proxy: &crate::harness::Proxy, result: &str) -> u64 {
    metric(proxy, &format!("larder_trace_spans_total{{result=\"{result}\"}} "))
}

/// Every request is answered, spans are dropped, and the log says so once; when the receiver takes them again, it gets them.
#[track_caller]
fn suffers_and_recovers(mood: Option<Mood>) {
    let (origin, port) = (Origin::start(), free_port());
    let mut receiver = mood.map(|mood| Receiver::start_at(port, mood));
    let url = format!("http://127.0.0.1:{port}");
    let more = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let proxy = crate::harness::Proxy::start_with(origin.address, CONFIG, &[&SMALL[..], &more].concat());
    for number in 0..40 {
        assert_eq!(ask(proxy.listen, "GET", &format!("/api/projects/{number}"), &[]).status, 200);
    }
    assert!(spans(&proxy, "dropped") >= 80 - 8 - 4, "no more waits than the queue and a batch");
    until("the log says so", || (mentions(&proxy, COMPLAINT) > 0).then_some(()));
    assert_eq!((mentions(&proxy, COMPLAINT), mentions(&proxy, RELIEF)), (1, 0));
    match &receiver {
        Some(receiver) => receiver.become_(Mood::Takes),
        None => receiver = Some(Receiver::start_at(port, Mood::Takes)),
    }
    until("spans arrive again", || (mentions(&proxy, RELIEF) > 0).then_some(()));
    assert_eq!((mentions(&proxy, COMPLAINT), mentions(&proxy, RELIEF)), (1, 1));
    assert_eq!(mentions(&proxy, " WARN "), 1, "and nobody else complains:\n{}", proxy.stderr());
    let (receiver, before) = (receiver.expect("it is there by now"), spans(&proxy, "dropped"));
    ask(proxy.listen, "GET", "/api/missing", &[]);
    until("the newest arrives", || {
        receiver.spans().iter().any(|span| span.name == "GET /api/missing").then_some(())
    });
    assert_eq!(spans(&proxy, "dropped"), before);
    until("what arrived is counted", || {
        (spans(&proxy, "exported") as usize == receiver.spans().len()).then_some(())
    });
}

#[test]
fn a_receiver_that_is_absent_costs_spans_until_it_comes() {
    suffers_and_recovers(None);
}

#[test]
fn a_receiver_that_hangs_costs_spans_until_it_answers() {
    suffers_and_recovers(Some(Mood::Hangs));
}

#[test]
fn a_receiver_that_is_overloaded_is_asked_again() {
    suffers_and_recovers(Some(Mood::Refuses(503)));
}

#[test]
fn what_is_refused_for_good_is_given_up_at_once_and_complained_of_once() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Refuses(401)));
    let proxy = traced(origin.address, &receiver, &[]);
    for number in 0..5 {
        ask(proxy.listen, "GET", &format!("/api/projects/{number}"), &[]);
        let told = 2 * (number + 1);
        until("both spans are given up", || (spans(&proxy, "failed") == told).then_some(()));
    }
    assert_eq!((mentions(&proxy, COMPLAINT), mentions(&proxy, "received: it answered 401")), (1, 1));
    receiver.become_(Mood::Takes);
    ask(proxy.listen, "GET", "/api/projects/9", &[]);
    until("it is over", || (mentions(&proxy, RELIEF) == 1).then_some(()));
}

#[test]
fn what_a_receiver_does_not_want_is_counted_apart() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Choosy));
    let proxy = traced(origin.address, &receiver, &[("OTEL_BSP_SCHEDULE_DELAY", "200")]);
    for number in 0..3 {
        ask(proxy.listen, "GET", &format!("/api/projects/{number}"), &[]);
    }
    until("all is counted", || (spans(&proxy, "exported") + spans(&proxy, "rejected") == 6).then_some(()));
    assert_eq!(spans(&proxy, "rejected") as usize, receiver.posts().len());
    assert_eq!(mentions(&proxy, "spans are not wanted"), 1);
}

#[test]
fn what_is_left_is_sent_when_the_process_ends() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced(origin.address, &receiver, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]);
    for number in 0..600 {
        assert_eq!(get(proxy.listen, &format!("/api/projects/{}", number % 100)).status, 200);
    }
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
    assert_eq!(receiver.spans().len(), 700, "600 requests, 100 questions");
    assert_eq!(receiver.posts().len(), 2, "in batches of 512");
}

#[test]
fn a_receiver_that_hangs_holds_up_no_end() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Hangs));
    let proxy = traced(origin.address, &receiver, &[]);
    ask(proxy.listen, "GET", "/api/projects/1", &[]);
    until("it is asked", || (receiver.asked() > 0).then_some(()));
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
}

#[test]
fn another_configuration_and_another_process_go_on_telling() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced_by(CONFIG, origin.address, &receiver, &[]);
    ask(proxy.listen, "GET", "/api/projects/1", &[]);
    receiver.wait_for_requests(1);
    proxy.configure(&CONFIG.replace("/held: 1h", "/later/{x}: 1h"));
    proxy.signal("HUP");
    until("it is in force", || (mentions(&proxy, "is in force") > 0).then_some(()));
    ask(proxy.listen, "GET", "/later/1", &[]);
    let spans = receiver.wait_for_requests(2);
    assert!(spans.iter().any(|span| span.name == "GET /later/{x}"), "{spans:#?}");
    proxy.signal("USR2");
    let next = Orphan(until("the next process accepts", || successors(&proxy).first().copied()));
    until("the one before has ended", || (mentions(&proxy, "has ended") > 0).then_some(()));
    ask(proxy.listen, "GET", "/later/2", &[]);
    let spans = receiver.wait_for_requests(3);
    assert!(spans.iter().any(|span| span.said.get("url.path").is_some_and(|path| path == "/later/2")));
    drop(next);
}
