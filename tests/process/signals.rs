//! Ending: what is under way is finished, new work is turned away in time, and the exit code says so.

use std::thread;

use crate::harness::{Origin, Proxy, get, try_get, until};

const CONFIG: &str = "routes: {}\nshutdown: { delay: 1s, timeout: 10s }\n";

#[test]
fn sigterm_finishes_what_is_under_way_and_exits_0() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    let listen = proxy.listen;
    let held = thread::spawn(move || get(listen, "/held"));
    origin.wait_for_held();
    proxy.signal("TERM");
    until("/readyz says 503", || (try_get(proxy.admin, "/readyz")?.status == 503).then_some(()));
    assert_eq!(get(proxy.listen, "/").status, 200, "still accepting while load balancers look away");
    until("the door closes", || try_get(proxy.listen, "/").is_none().then_some(()));
    origin.release();
    let finished = held.join().expect("the client got its answer");
    assert_eq!((finished.status, finished.body.as_str()), (200, "ok"));
    assert_eq!(proxy.join().code(), Some(0));
}

#[test]
fn a_request_that_does_not_end_is_cut_after_shutdown_timeout() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, "routes: {}\nshutdown: { delay: 0s, timeout: 200ms }\n");
    let listen = proxy.listen;
    let held = thread::spawn(move || try_get(listen, "/held"));
    origin.wait_for_held();
    proxy.signal("TERM");
    assert!(proxy.join().code().is_some(), "it ended by itself");
    assert!(held.join().expect("the client ends").is_none_or(|answer| answer.status == 503));
}

#[test]
fn every_ending_signal_of_an_idle_proxy_is_exit_code_0() {
    for signal in ["TERM", "INT"] {
        let origin = Origin::start();
        let proxy = Proxy::start(origin.address, "routes: {}\nshutdown: { delay: 0s, timeout: 5s }\n");
        assert_eq!(get(proxy.listen, "/").status, 200);
        proxy.signal(signal);
        assert_eq!(proxy.join().code(), Some(0), "SIG{signal}");
    }
}
