//! What a write outdates once more when its answer ends long after it began, breaks off, or is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::client::{next, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};
use crate::writes::{cache, is_write};

const RULES: &str = "routes: { /a: 1h, /list: { ttl: 1h, tags: list } }\nwrites: { PUT /a: list }";
const APPLIED: &str = "larder_invalidations_total{source=\"write\",mode=\"hard\"}";

/// An origin with one value, whose writes begin to answer and go on when `gate` opens, as `rest` says; the test commits.
async fn committing(gate: &Gate, kind: &'static str, rest: Part) -> (Origin, Arc<AtomicUsize>) {
    let (value, held) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    let read = Arc::clone(&value);
    let origin = Origin::start(move |seen| {
        if is_write(seen) {
            let begun = Answer::new(200).header("content-type", kind).text("half");
            return begun.part(Part::Gate(held.clone())).part(rest.clone());
        }
        Answer::json(format!("v{}", read.load(Ordering::SeqCst)))
    })
    .await;
    (origin, value)
}

fn whole() -> Part {
    Part::Bytes("done".into())
}

/// Stores both targets while the write's answer is under way, long after it began.
async fn read_meanwhile(proxy: &Proxy) {
    proxy.pass_secs(1);
    for target in ["/a", "/list"] {
        proxy.get(target).reply().await;
        let kept = proxy.get(target).reply().await;
        assert_eq!((kept.text(), kept.cache()), ("v0", "HIT"), "{target}");
    }
}

async fn reads(proxy: &Proxy, value: &str) {
    for target in ["/a", "/list"] {
        assert_eq!(proxy.get(target).reply().await.text(), value, "{target}");
    }
}

#[test]
fn what_was_fetched_while_a_write_went_on_answering_is_outdated_before_its_last_byte_leaves() {
    play(async {
        let gate = Gate::default();
        let (origin, value) = committing(&gate, "application/json", whole()).await;
        let proxy = Proxy::start(&origin, RULES).await;
        let mut write = proxy.ask("PUT", "/a").head().await;
        assert_eq!(next(write.body_mut()).await, "half");
        read_meanwhile(&proxy).await;
        value.store(1, Ordering::SeqCst);
        gate.open();
        assert_eq!(read(write.into_body()).await, ("done".into(), true));
        reads(&proxy, "v1").await;
        assert_eq!(cache(&proxy, "/a").await, "HIT", "nothing is held back after a clean end");
    });
}

#[test]
fn a_write_whose_answer_breaks_off_is_one_of_which_nobody_knows() {
    play(async {
        let gate = Gate::default();
        let (origin, value) = committing(&gate, "application/json", Part::Cut).await;
        let proxy = Proxy::start(&origin, RULES).await;
        let mut write = proxy.ask("PUT", "/a").head().await;
        assert_eq!(next(write.body_mut()).await, "half");
        read_meanwhile(&proxy).await;
        gate.open();
        assert!(!read(write.into_body()).await.1, "it is cut for the client too");
        reads(&proxy, "v0").await;
        value.store(1, Ordering::SeqCst);
        reads(&proxy, "v1").await;
        proxy.pass_secs(31);
        reads(&proxy, "v1").await;
        assert_eq!(cache(&proxy, "/a").await, "HIT");
    });
}

#[test]
fn the_answer_of_a_write_is_read_to_its_end_though_its_client_has_left() {
    play(async {
        let gate = Gate::default();
        let (origin, value) = committing(&gate, "application/json", whole()).await;
        let proxy = Proxy::start(&origin, RULES).await;
        drop(proxy.ask("PUT", "/a").head().await);
        read_meanwhile(&proxy).await;
        value.store(1, Ordering::SeqCst);
        gate.open();
        proxy.counts(APPLIED, 2).await;
        reads(&proxy, "v1").await;
        assert_eq!(cache(&proxy, "/a").await, "HIT", "it is known to be done");
    });
}

#[test]
fn a_write_that_answers_with_events_is_let_go_with_its_client() {
    play(async {
        let gate = Gate::default();
        let (origin, value) = committing(&gate, "text/event-stream", whole()).await;
        let proxy = Proxy::start(&origin, RULES).await;
        let write = proxy.ask("PUT", "/a").head().await;
        read_meanwhile(&proxy).await;
        drop(write);
        proxy.counts(APPLIED, 2).await;
        reads(&proxy, "v0").await;
        value.store(1, Ordering::SeqCst);
        reads(&proxy, "v1").await;
    });
}

#[test]
fn an_answer_that_ends_soon_outdates_once() {
    play(async {
        let gate = Gate::default();
        gate.open();
        let (origin, _) = committing(&gate, "application/json", whole()).await;
        let proxy = Proxy::start(&origin, RULES).await;
        assert_eq!(proxy.ask("PUT", "/a").reply().await.text(), "halfdone");
        assert_eq!(proxy.metric(APPLIED).await, 1);
    });
}
