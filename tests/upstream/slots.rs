//! How many requests are at the origin at once.

use std::time::Duration;

use larder::upstream::{Error, How, Priority, Settings, Upstream};

use crate::harness::{OK, accept, get, how, listen, read, within};

#[tokio::test]
async fn no_more_requests_than_slots_reach_the_origin_and_clients_go_before_warming() {
    let (listener, origin) = listen().await;
    let upstream = Upstream::new(Settings { concurrency: 1, ..Settings::new(vec![origin]) }).unwrap();
    let named = |path: &'static str, priority| {
        let upstream = upstream.clone();
        async move {
            let mut request = get();
            *request.uri_mut() = http::Uri::from_static(path);
            read(within(upstream.send(request, How { priority, ..how() })).await.unwrap()).await
        }
    };
    let script = async {
        let mut peer = accept(&listener).await;
        let mut order = Vec::new();
        for _ in 0..3 {
            let head = peer.answer(OK).await;
            order.push(head.split(' ').nth(1).unwrap().to_owned());
        }
        order
    };
    let (order, ..) = tokio::join!(
        script,
        named("/first", Priority::Client),
        named("/warm", Priority::Warm),
        named("/client", Priority::Client),
    );
    assert_eq!(order, ["/first", "/client", "/warm"]);
}

#[tokio::test]
async fn a_request_that_finds_no_slot_in_time_is_told_so() {
    let (listener, origin) = listen().await;
    let upstream = Upstream::new(Settings { concurrency: 1, ..Settings::new(vec![origin]) }).unwrap();
    let script = async {
        let mut peer = accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
        peer
    };
    let (mut peer, held) = tokio::join!(script, upstream.send(get(), how()));
    let short = How { timeout: Duration::from_millis(50), ..how() };
    let error = within(upstream.send(get(), short.clone())).await.err().unwrap();
    assert!(matches!(error, Error::Saturated) && error.never_sent());
    peer.write("ok").await;
    read(held.unwrap()).await;
    let (_, response) = tokio::join!(peer.answer(OK), upstream.send(get(), short));
    assert_eq!(read(response.unwrap()).await, "ok");
}
